//! What goes wrong with a directory in memory, and what can be seen of it from outside.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;

use super::memory_dir::{MemoryDir, State};
use crate::dir::{DirError, EntryName, StateFile};

/// What a disk in memory has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Room {
    /// Everything.
    #[default]
    Plenty,
    /// Empty files only.
    EmptyFiles,
    /// No new file at all, until one with content is emptied or removed.
    Nothing,
}

/// Which methods fail.
#[derive(Debug, Default)]
pub(super) struct Failing {
    before: BTreeSet<&'static str>,
    after: BTreeSet<&'static str>,
}

impl Failing {
    /// Fails a call that is to have no effect.
    pub(super) fn check(&self, method: &'static str) -> Result<(), DirError> {
        if self.before.contains(method) { Err(told_to_fail(method)) } else { Ok(()) }
    }

    /// Ends a call that has had its effect.
    pub(super) fn done<T>(&self, method: &'static str, value: T) -> Result<T, DirError> {
        if self.after.contains(method) { Err(told_to_fail(method)) } else { Ok(value) }
    }
}

fn told_to_fail(method: &'static str) -> DirError {
    DirError::new(method, "memory", io::Error::other("told to fail"))
}

impl State {
    /// Notes that `len` bytes of content are gone.
    pub(super) fn make_room(&mut self, len: u64) {
        if len > 0 && self.room == Room::Nothing {
            self.room = Room::EmptyFiles;
        }
    }
}

impl MemoryDir {
    /// Says what chunks, markers and their content still have room on the disk; small state files always do.
    pub fn leave_room(&self, room: Room) {
        self.lock().room = room;
    }

    /// Lets every later call of the named methods fail without effect, until called again with other names.
    pub fn fail(&self, methods: &[&'static str]) {
        self.lock().failing.before = methods.iter().copied().collect();
    }

    /// Lets every later call of the named methods fail once it has had its effect, as where only the last of several
    /// operations on the disk fails. Methods that change nothing, and syncs, do not.
    pub fn fail_late(&self, methods: &[&'static str]) {
        self.lock().failing.after = methods.iter().copied().collect();
    }

    /// Turns over a bit of the last byte of a file, as a bad disk may do; returns whether there was one.
    pub fn corrupt(&self, name: EntryName) -> bool {
        self.lock().now.files.corrupt(name)
    }

    /// Returns the content of a file, behind the back of whoever uses the directory.
    pub fn content(&self, name: EntryName) -> Option<Bytes> {
        self.lock().now.files.get(&name).map(|file| file.content.clone())
    }

    /// Returns a state file, behind the back of whoever uses the directory.
    pub fn state_file(&self, file: StateFile) -> Option<Bytes> {
        self.lock().now.state.get(&file).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::dir::{ChunkDir, Durability, MarkerDir, NewEntry, Shard};
    use crate::locks::DigestLocks;
    use crate::time::StoreTime;

    const SHARD: Shard = Shard(0x0707);

    fn entry(content: &'static str) -> NewEntry {
        let name = EntryName::chunk(Digest::from_bytes([7; 32]));
        NewEntry { name, content: content.into(), at: StoreTime::EPOCH }
    }

    #[tokio::test]
    async fn a_call_fails_without_effect_or_after_it() {
        let (dir, held) = (MemoryDir::new(), DigestLocks::new().lock_every().await);
        dir.fail(&["put", "names"]);
        dir.put(&held, entry("content"), Durability::Deferred).await.unwrap_err();
        dir.names(vec![SHARD]).await.unwrap_err();
        assert!(dir.list(vec![SHARD]).await.unwrap().is_empty());
        dir.fail(&[]);
        dir.fail_late(&["put"]);
        dir.put(&held, entry("content"), Durability::Deferred).await.unwrap_err();
        assert_eq!(dir.names(vec![SHARD]).await.unwrap().len(), 1);
        dir.fail_late(&["switch_to_fresh"]);
        dir.begin_fresh(false).await.unwrap();
        dir.switch_to_fresh().await.unwrap_err();
        assert!(dir.entries().is_empty());
    }

    #[tokio::test]
    async fn a_full_disk_takes_no_chunk_until_there_is_room() {
        let (dir, held) = (MemoryDir::new(), DigestLocks::new().lock_every().await);
        let put = async |content| dir.put(&held, entry(content), Durability::Deferred).await;
        put("content").await.unwrap();
        dir.leave_room(Room::Nothing);
        assert!(put("").await.unwrap_err().is_storage_full());
        dir.remove_unused(
            &held,
            vec![entry("").name],
            StoreTime::EPOCH.plus(std::time::Duration::from_secs(1)),
        )
        .await
        .unwrap();
        assert!(put("content").await.unwrap_err().is_storage_full());
        put("").await.unwrap();
        dir.leave_room(Room::Plenty);
        put("content").await.unwrap();
    }
}
