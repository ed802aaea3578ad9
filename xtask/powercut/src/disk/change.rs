//! Everything that changes what is visible. Nothing of it is durable before it is synced.

use rustix::io::Errno;

use super::{Disk, NAME_MAX, Owner};
use crate::content::Content;
use crate::inode::{Attributes, Inode, InodeId, Kind, Names};
use crate::names::{NameChange, Slot};

impl Disk {
    /// Makes an empty file.
    ///
    /// # Errors
    /// `EEXIST`, `ENAMETOOLONG`, `ENOENT`, `ENOTDIR`.
    pub fn create(&mut self, slot: Slot, owner: Owner) -> Result<InodeId, Errno> {
        self.add(slot, Kind::File(Content::default()), owner)
    }

    /// Makes an empty folder.
    ///
    /// # Errors
    /// As for [`Disk::create`].
    pub fn make_folder(&mut self, slot: Slot, owner: Owner) -> Result<InodeId, Errno> {
        self.add(slot, Kind::Folder { now: Names::new(), disk: Names::new() }, owner)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As for [`Disk::create`].
    pub fn make_link(&mut self, slot: Slot, target: &[u8], owner: Owner) -> Result<InodeId, Errno> {
        self.add(slot, Kind::Link(target.to_vec()), owner)
    }

    /// Gives a file one more name.
    ///
    /// # Errors
    /// As for [`Disk::create`]; `EPERM` for a folder.
    pub fn link(&mut self, id: InodeId, slot: Slot) -> Result<(), Errno> {
        if self.inode(id)?.is_folder() {
            return Err(Errno::PERM);
        }
        self.need_free(&slot)?;
        self.rename_now(NameChange {
            sets: vec![(slot, Some(id))],
            inodes: vec![id],
            removes: None,
            moves_folder: false,
        });
        Ok(())
    }

    /// Removes a name of a file or symbolic link.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EISDIR`.
    pub fn unlink(&mut self, slot: Slot) -> Result<(), Errno> {
        let id = self.lookup(&slot)?;
        if self.inode(id)?.is_folder() {
            return Err(Errno::ISDIR);
        }
        self.rename_now(NameChange {
            sets: vec![(slot, None)],
            inodes: vec![id],
            removes: None,
            moves_folder: false,
        });
        Ok(())
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`.
    pub fn remove_folder(&mut self, slot: Slot) -> Result<(), Errno> {
        let id = self.lookup(&slot)?;
        if !self.names(id)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.rename_now(NameChange {
            sets: vec![(slot, None)],
            inodes: vec![id],
            removes: Some(id),
            moves_folder: false,
        });
        Ok(())
    }

    /// Gives something another name, whose holder goes; both in one step.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EISDIR`, `ENOTEMPTY`, `ENAMETOOLONG`.
    pub fn rename(&mut self, from: Slot, to: Slot) -> Result<(), Errno> {
        let id = self.lookup(&from)?;
        let replaced = match self.lookup(&to) {
            Err(Errno::NOENT) => None,
            found => Some(found?),
        };
        if replaced == Some(id) {
            return Ok(());
        }
        check_name(&to)?;
        let is_folder = self.inode(id)?.is_folder();
        let mut removes = None;
        if let Some(replaced) = replaced {
            match (is_folder, self.inode(replaced)?.is_folder()) {
                (true, true) if !self.names(replaced)?.is_empty() => return Err(Errno::NOTEMPTY),
                (true, true) => removes = Some(replaced),
                (true, false) => return Err(Errno::NOTDIR),
                (false, true) => return Err(Errno::ISDIR),
                (false, false) => {}
            }
        }
        let moves_folder = is_folder && from.folder != to.folder;
        let inodes = [id].into_iter().chain(replaced).collect();
        self.rename_now(NameChange {
            sets: vec![(from, None), (to, Some(id))],
            inodes,
            removes,
            moves_folder,
        });
        Ok(())
    }

    /// Writes into a file; where it ends before, zeros come between.
    ///
    /// # Errors
    /// `ENOENT`, `EINVAL`, `ENOSPC`.
    pub fn write(&mut self, id: InodeId, at: usize, bytes: &[u8]) -> Result<(), Errno> {
        let end = at.checked_add(bytes.len()).ok_or(Errno::FBIG)?;
        self.grow(id, end)?;
        self.content(id)?.write(at, bytes);
        self.was_written(id)
    }

    /// Cuts a file, or fills it up with zeros.
    ///
    /// # Errors
    /// As for [`Disk::write`].
    pub fn resize(&mut self, id: InodeId, len: usize) -> Result<(), Errno> {
        self.grow(id, len)?;
        let content = self.content(id)?;
        let before = content.len();
        content.resize(len);
        self.bytes -= before.saturating_sub(len);
        self.was_written(id)
    }

    /// Changes attributes.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn change_attributes(
        &mut self,
        id: InodeId,
        change: impl FnOnce(&mut Attributes),
    ) -> Result<(), Errno> {
        let now = self.now;
        self.inode_mut(id)?.change_attributes(|attributes| {
            attributes.changed = now;
            change(attributes);
        });
        Ok(())
    }

    fn add(&mut self, slot: Slot, kind: Kind, owner: Owner) -> Result<InodeId, Errno> {
        self.need_free(&slot)?;
        let now = self.now;
        let Owner { mode, uid, gid } = owner;
        let attributes = Attributes { mode, uid, gid, accessed: now, modified: now, changed: now };
        self.last_id += 1;
        let id = InodeId(self.last_id);
        self.inodes.insert(id, Inode::new(kind, attributes));
        self.rename_now(NameChange {
            sets: vec![(slot, Some(id))],
            inodes: vec![id],
            removes: None,
            moves_folder: false,
        });
        Ok(id)
    }

    fn need_free(&self, slot: &Slot) -> Result<(), Errno> {
        check_name(slot)?;
        match self.lookup(slot) {
            Ok(_) => Err(Errno::EXIST),
            // A folder that has been removed takes no new names.
            Err(Errno::NOENT) if self.inode(slot.folder)?.names_now > 0 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes room for a file that is to be so long, if it is shorter.
    fn grow(&mut self, id: InodeId, len: usize) -> Result<(), Errno> {
        let more = len.saturating_sub(self.content(id)?.len());
        if self.bytes_max - self.bytes < more {
            return Err(Errno::NOSPC);
        }
        self.bytes += more;
        Ok(())
    }

    fn content(&mut self, id: InodeId) -> Result<&mut Content, Errno> {
        match &mut self.inode_mut(id)?.kind {
            Kind::File(content) => Ok(content),
            _ => Err(Errno::INVAL),
        }
    }

    fn was_written(&mut self, id: InodeId) -> Result<(), Errno> {
        let now = self.now;
        self.change_attributes(id, |attributes| attributes.modified = now)
    }

    /// Makes a change visible, and keeps it in mind until it is durable.
    fn rename_now(&mut self, change: NameChange) {
        let now = self.now;
        for (slot, holder) in &change.sets {
            let Some(folder) = self.inodes.get_mut(&slot.folder) else { continue };
            folder.change_attributes(|attributes| (attributes.modified, attributes.changed) = (now, now));
            let Kind::Folder { now: names, .. } = &mut folder.kind else { continue };
            let before = match holder {
                Some(id) => names.insert(slot.name.clone(), *id),
                None => names.remove(&slot.name),
            };
            if let Some(before) = before.and_then(|id| self.inodes.get_mut(&id)) {
                before.names_now -= 1;
            }
            if let Some(holder) = holder.and_then(|id| self.inodes.get_mut(&id)) {
                holder.names_now += 1;
            }
        }
        for id in &change.inodes {
            if let Some(inode) = self.inodes.get_mut(id) {
                inode.changes += 1;
                inode.change_attributes(|attributes| attributes.changed = now);
            }
        }
        self.changes.push(change);
    }
}

fn check_name(slot: &Slot) -> Result<(), Errno> {
    if slot.name.len() > NAME_MAX { Err(Errno::NAMETOOLONG) } else { Ok(()) }
}
