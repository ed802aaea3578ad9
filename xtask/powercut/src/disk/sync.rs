//! What makes things durable.

use rustix::io::Errno;

use super::Disk;
use crate::inode::{InodeId, Kind};
use crate::names::{NameChange, with_foundations};

impl Disk {
    /// Makes content, size and attributes of a file durable (`fsync`). Its name is not: POSIX promises that of the
    /// folder's `fsync` only.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn sync_file(&mut self, id: InodeId) -> Result<(), Errno> {
        self.inode_mut(id)?.sync();
        Ok(())
    }

    /// Makes content and size of a file durable (`fdatasync`).
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn sync_data(&mut self, id: InodeId) -> Result<(), Errno> {
        self.inode_mut(id)?.sync_data();
        Ok(())
    }

    /// Makes the names in a folder durable, and its attributes (`fsync` of a folder). Neither the content of what is
    /// named, nor the folder's own name is.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn sync_folder(&mut self, id: InodeId) -> Result<(), Errno> {
        self.names(id)?;
        self.inode_mut(id)?.sync();
        let marked = with_foundations(&self.changes, |change| change.happens_in(id));
        self.make_durable(&marked);
        Ok(())
    }

    /// Makes everything durable (`syncfs`).
    pub fn sync_all(&mut self) {
        self.make_durable(&vec![true; self.changes.len()]);
        for inode in self.inodes.values_mut() {
            inode.sync();
        }
    }

    /// Carries out the marked changes of names on the disk, in order; the others still wait.
    pub(super) fn make_durable(&mut self, marked: &[bool]) {
        let mut waiting = Vec::new();
        for (change, is_durable) in std::mem::take(&mut self.changes).into_iter().zip(marked) {
            if *is_durable {
                self.rename_on_disk(change);
            } else {
                waiting.push(change);
            }
        }
        self.changes = waiting;
    }

    fn rename_on_disk(&mut self, change: NameChange) {
        for (slot, holder) in change.sets {
            let Some(folder) = self.inodes.get_mut(&slot.folder) else { continue };
            let Kind::Folder { disk: names, .. } = &mut folder.kind else { continue };
            let before = match holder {
                Some(id) => names.insert(slot.name, id),
                None => names.remove(&slot.name),
            };
            if let Some(before) = before.and_then(|id| self.inodes.get_mut(&id)) {
                before.names_disk -= 1;
            }
            if let Some(holder) = holder.and_then(|id| self.inodes.get_mut(&id)) {
                holder.names_disk += 1;
            }
        }
        for id in change.inodes {
            if let Some(inode) = self.inodes.get_mut(&id) {
                inode.changes -= 1;
            }
            self.drop_if_gone(id);
        }
    }
}
