//! A disk as processes see it, and as a power cut would leave it.

mod change;
mod cut;
mod sync;

use std::collections::BTreeMap;

use rustix::io::Errno;

use crate::inode::{Attributes, Inode, InodeId, Kind, Names, Time};
use crate::names::{NameChange, Slot};

pub use self::cut::Loss;

/// Files, folders and symbolic links: what is visible, what is durable, and every change that is not durable yet.
///
/// Operations are those of Linux, on inodes; errors are the numbers that Linux uses. Nothing here waits or does any
/// input or output.
#[derive(Debug)]
pub struct Disk {
    inodes: BTreeMap<InodeId, Inode>,
    changes: Vec<NameChange>,
    last_id: u64,
    /// Of all inodes that are kept in mind, those too whose removal is not durable.
    bytes: usize,
    bytes_max: usize,
    now: Time,
}

/// What `stat` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// File, folder or symbolic link.
    pub kind: FileKind,
    /// Bytes of content; of a symbolic link, those of its target.
    pub len: usize,
    /// How many names there are; of a folder always 2.
    pub links: u32,
    /// All the rest.
    pub attributes: Attributes,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
}

/// Permission bits and owner of something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
}

/// Longest name in bytes, as on other filesystems of Linux.
pub(crate) const NAME_MAX: usize = 255;

impl Disk {
    /// An empty disk for so many bytes, durable as it is.
    pub fn new(bytes_max: usize) -> Self {
        let now = Time::default();
        let attributes =
            Attributes { mode: 0o755, uid: 0, gid: 0, accessed: now, modified: now, changed: now };
        let mut root = Inode::folder(attributes);
        (root.names_now, root.names_disk) = (1, 1);
        let inodes = BTreeMap::from([(InodeId::ROOT, root)]);
        Self { inodes, changes: Vec::new(), last_id: InodeId::ROOT.0, bytes: 0, bytes_max, now }
    }

    /// Sets the time of what happens from now on.
    pub fn set_time(&mut self, now: Time) {
        self.now = now;
    }

    /// Finds what a name stands for.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn lookup(&self, slot: &Slot) -> Result<InodeId, Errno> {
        self.names(slot.folder)?.get(&slot.name).copied().ok_or(Errno::NOENT)
    }

    /// Lists the names in a folder, in order.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn list(&self, folder: InodeId) -> Result<Vec<(Vec<u8>, InodeId)>, Errno> {
        Ok(self.names(folder)?.iter().map(|(name, id)| (name.clone(), *id)).collect())
    }

    /// Tells what something is.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn stat(&self, id: InodeId) -> Result<Stat, Errno> {
        let inode = self.inode(id)?;
        let (kind, len, links) = match &inode.kind {
            Kind::File(content) => (FileKind::File, content.len(), inode.names_now),
            Kind::Folder { .. } => (FileKind::Folder, 0, 2),
            Kind::Link(target) => (FileKind::Link, target.len(), inode.names_now),
        };
        Ok(Stat { kind, len, links, attributes: *inode.attributes() })
    }

    /// Reads from a file, up to its end.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EINVAL`.
    pub fn read(&self, id: InodeId, at: usize, len: usize) -> Result<&[u8], Errno> {
        match &self.inode(id)?.kind {
            Kind::File(content) => Ok(content.read(at, len)),
            Kind::Folder { .. } => Err(Errno::ISDIR),
            Kind::Link(_) => Err(Errno::INVAL),
        }
    }

    /// Reads where a symbolic link leads.
    ///
    /// # Errors
    /// `ENOENT`, `EINVAL`.
    pub fn target(&self, id: InodeId) -> Result<&[u8], Errno> {
        match &self.inode(id)?.kind {
            Kind::Link(target) => Ok(target),
            _ => Err(Errno::INVAL),
        }
    }

    /// How many bytes there are, and how many there may be.
    pub fn usage(&self) -> (usize, usize) {
        (self.bytes, self.bytes_max)
    }

    /// Remembers that the kernel knows an inode, which therefore stays without a name too.
    pub(crate) fn hold(&mut self, id: InodeId) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.lookups += 1;
        }
    }

    /// The kernel has forgotten so many of the times that it was told of an inode.
    pub(crate) fn forget(&mut self, id: InodeId, times: u64) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.lookups = inode.lookups.saturating_sub(times);
            self.drop_if_gone(id);
        }
    }

    fn inode(&self, id: InodeId) -> Result<&Inode, Errno> {
        self.inodes.get(&id).ok_or(Errno::NOENT)
    }

    fn inode_mut(&mut self, id: InodeId) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&id).ok_or(Errno::NOENT)
    }

    fn names(&self, folder: InodeId) -> Result<&Names, Errno> {
        match &self.inode(folder)?.kind {
            Kind::Folder { now, .. } => Ok(now),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn drop_if_gone(&mut self, id: InodeId) {
        if self.inodes.get(&id).is_some_and(Inode::is_gone)
            && let Some(Inode { kind: Kind::File(content), .. }) = self.inodes.remove(&id)
        {
            self.bytes -= content.len();
        }
    }
}
