//! The files of a directory in memory, and what power loss makes of them.

use std::collections::BTreeMap;

use super::memory_dir::File;
use crate::dir::EntryName;

/// Files, and what each of them was since it was last made durable.
#[derive(Debug, Default, Clone)]
pub(super) struct Files {
    now: BTreeMap<EntryName, File>,
    /// Of each file that was changed since the last sync what it was before each change, the oldest first; `None`: not there.
    earlier: BTreeMap<EntryName, Vec<Option<File>>>,
}

impl Files {
    pub(super) fn get(&self, name: &EntryName) -> Option<&File> {
        self.now.get(name)
    }

    pub(super) fn contains_key(&self, name: &EntryName) -> bool {
        self.now.contains_key(name)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &EntryName> {
        self.now.keys()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &File> {
        self.now.values()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&EntryName, &File)> {
        self.now.iter()
    }

    /// Returns a file to be changed.
    pub(super) fn get_mut(&mut self, name: &EntryName) -> Option<&mut File> {
        if self.now.contains_key(name) {
            self.note(*name);
        }
        self.now.get_mut(name)
    }

    pub(super) fn insert(&mut self, name: EntryName, file: File) {
        self.note(name);
        self.now.insert(name, file);
    }

    pub(super) fn remove(&mut self, name: &EntryName) -> Option<File> {
        if self.now.contains_key(name) {
            self.note(*name);
        }
        self.now.remove(name)
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) {
        self.earlier.clear();
    }

    /// Makes one file durable.
    pub(super) fn sync_one(&mut self, name: &EntryName) {
        self.earlier.remove(name);
    }

    /// Cuts a file, durably.
    pub(super) fn tear(&mut self, name: EntryName, len: usize) -> bool {
        let file = self.now.get_mut(&name).filter(|file| file.content.len() >= len);
        file.is_some_and(|file| {
            file.tear(len);
            true
        })
    }

    /// Turns over a bit of the last byte of a file, durably; returns whether there was one.
    pub(super) fn corrupt(&mut self, name: EntryName) -> bool {
        let Some(file) = self.now.get_mut(&name) else { return false };
        let good = file.content.clone();
        let mut content = good.to_vec();
        let Some(last) = content.last_mut() else { return false };
        *last ^= 1;
        file.content = content.into();
        // The same bytes on the disk: else power loss would take them for new content, and cut them.
        let bad = file.content.clone();
        let earlier = self.earlier.get_mut(&name).into_iter().flatten().flatten();
        earlier.filter(|file| file.content == good).for_each(|file| file.content = bad.clone());
        true
    }

    /// Brings each file back as `choose` says; see [`MemoryDir::lose_power_in_part`](super::MemoryDir::lose_power_in_part).
    pub(super) fn lose_power(&mut self, mut choose: impl FnMut(usize) -> usize) {
        for (name, mut states) in std::mem::take(&mut self.earlier) {
            let synced = states.first().cloned().flatten();
            states.push(self.now.remove(&name));
            let Some(mut file) = states.swap_remove(choose(states.len())) else { continue };
            let is_new = synced.is_none_or(|synced| synced.content != file.content);
            if is_new && !file.content.is_empty() {
                file.tear(choose(file.content.len() + 1));
            }
            self.now.insert(name, file);
        }
    }

    fn note(&mut self, name: EntryName) {
        let before = self.now.get(&name).cloned();
        self.earlier.entry(name).or_default().push(before);
    }
}

impl File {
    fn tear(&mut self, len: usize) {
        self.content.truncate(len);
        self.stat.len = self.content.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::digest::Digest;
    use crate::dir::EntryStat;
    use crate::time::StoreTime;

    const NAME: EntryName = EntryName::chunk(Digest::from_bytes([7; 32]));

    fn file(content: &'static [u8]) -> File {
        let at = StoreTime::EPOCH;
        let stat = EntryStat { len: content.len() as u64, used_at: at, written_at: at };
        File { content: Bytes::from_static(content), stat, class: None }
    }

    /// What a file that was synced, removed and written again comes back as.
    fn content_after(choices: &[usize]) -> Option<Bytes> {
        let mut files = Files::default();
        files.insert(NAME, file(b"old"));
        files.sync();
        files.remove(&NAME);
        files.insert(NAME, file(b"new one"));
        let mut choices = choices.iter();
        files.lose_power(|_| *choices.next().unwrap());
        files.get(&NAME).map(|file| file.content.clone())
    }

    #[test]
    fn a_file_comes_back_in_any_state_since_the_last_sync_and_new_content_torn() {
        assert_eq!(content_after(&[0]).unwrap(), "old", "what was synced is not torn");
        assert_eq!(content_after(&[1]), None);
        assert_eq!(content_after(&[2, 7]).unwrap(), "new one");
        assert_eq!(content_after(&[2, 3]).unwrap(), "new");
    }

    #[test]
    fn what_was_synced_stays() {
        let mut files = Files::default();
        files.insert(NAME, file(b"old"));
        files.sync_one(&NAME);
        files.lose_power(|_| panic!("there is nothing to choose"));
        assert!(files.contains_key(&NAME));
    }
}
