//! One step through a key range: what its listing and its local folders have between them.

use std::collections::BTreeMap;

use super::{SweepEntry, SweepObject, SweepShard};
use crate::backend::ObjectBackend;
use crate::bucket::BucketStore;
use crate::bucket::batch::LOCKED_MAX;
use crate::digest::Digest;
use crate::dir::{EntryKind, EntryName, MarkerDir, Marks, Shard};
use crate::store::StoreError;

/// Most local folders of one step, so that a step stays small where the bucket has little and the folder has much.
const FOLDERS_MAX: usize = 32;

/// What one step through a key range came upon.
#[derive(Debug)]
pub struct SweepPage {
    /// In ascending order of their names. May be empty although more is to come.
    pub entries: Vec<SweepEntry>,
    /// What is left of the range.
    pub rest: Option<SweepShard>,
}

impl SweepShard {
    /// Takes out the folders that can be handed out: listed completely, and with an object or a local folder.
    fn take_folders(&mut self) -> (Vec<Shard>, Vec<(EntryName, SweepObject)>) {
        let in_reach = |shard: &Shard| u32::from(shard.0) >= self.next && u32::from(shard.0) < self.listed_to;
        let local = self.folders.partition_point(|shard| u32::from(shard.0) < self.next);
        let local = self.folders[local..].iter().copied().take_while(in_reach);
        let mut listed: Vec<Shard> =
            self.objects.iter().map(|(name, _)| name.shard()).take_while(in_reach).collect();
        listed.dedup();
        let mut folders: Vec<Shard> = listed.into_iter().chain(local.take(FOLDERS_MAX)).collect();
        folders.sort_unstable();
        folders.dedup();
        // What the folders reach is complete only as far as the local ones were taken.
        folders.truncate(FOLDERS_MAX);
        self.next = match folders.last() {
            Some(last) if folders.len() == FOLDERS_MAX => u32::from(last.0) + 1,
            _ => self.listed_to,
        };
        let taken = self.objects.partition_point(|(name, _)| u32::from(name.shard().0) < self.next);
        let left = self.objects.split_off(taken);
        (folders, std::mem::replace(&mut self.objects, left))
    }
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Takes one step through a key range: at most one request, or some local folders.
    ///
    /// # Errors
    /// [`StoreError`]: the run must stop (I6).
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn sweep_page(&self, mut shard: SweepShard) -> Result<SweepPage, StoreError> {
        self.check_open()?;
        if shard.next >= shard.listed_to {
            let page = self.next_entries(&mut shard.listing).await?;
            shard.take(page, self.clock.now());
        }
        let (folders, objects) = shard.take_folders();
        let mut entries =
            if folders.is_empty() { Vec::new() } else { merge(objects, self.dir.names(folders).await?) };
        self.inspect(&mut entries).await?;
        let is_over = shard.next >= shard.end;
        Ok(SweepPage { entries, rest: (!is_over).then_some(shard) })
    }

    /// Adds the last use where the verdict needs it: of markers without object, and of upload markers. Few, but for a
    /// bucket that has lost its objects.
    async fn inspect(&self, entries: &mut [SweepEntry]) -> Result<(), StoreError> {
        let needs_it = |entry: &SweepEntry| match entry.name.kind {
            EntryKind::Chunk => entry.object.is_none(),
            EntryKind::UploadMarker => true,
            EntryKind::Bad(_) | EntryKind::Temporary => false,
        };
        let digests: Vec<Digest> =
            entries.iter().filter(|entry| needs_it(entry)).map(|entry| entry.name.digest).collect();
        let mut known: BTreeMap<Digest, Marks> = BTreeMap::new();
        for group in digests.chunks(LOCKED_MAX) {
            let held = self.locks.lock_all(group).await;
            known.extend(group.iter().copied().zip(self.dir.marks(&held, group.to_vec()).await?));
        }
        for entry in entries.iter_mut().filter(|entry| needs_it(entry)) {
            let marks = known.get(&entry.name.digest).copied().unwrap_or_default();
            entry.used_at = match entry.name.kind {
                EntryKind::UploadMarker => marks.upload_started_at,
                _ => marks.marker.map(|marker| marker.used_at),
            };
        }
        Ok(())
    }
}

/// Merges what the bucket and the local folders have, both ascending.
fn merge(objects: Vec<(EntryName, SweepObject)>, names: Vec<EntryName>) -> Vec<SweepEntry> {
    let mut entries = Vec::with_capacity(objects.len().max(names.len()));
    let (mut objects, mut names) = (objects.into_iter().peekable(), names.into_iter().peekable());
    loop {
        let name = match (objects.peek(), names.peek()) {
            (None, None) => return entries,
            (Some((listed, _)), None) => *listed,
            (None, Some(local)) => *local,
            (Some((listed, _)), Some(local)) => *listed.min(local),
        };
        let object = objects.next_if(|(listed, _)| *listed == name).map(|(_, object)| object);
        let is_local = names.next_if_eq(&name).is_some();
        entries.push(SweepEntry { name, object, is_local, used_at: None });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bucket::listing::Listing;
    use crate::time::StoreTime;

    const OBJECT: SweepObject = SweepObject { len: 7, written_at: StoreTime::EPOCH };

    fn name(first: u16, last: u8) -> EntryName {
        let mut bytes = [last; 32];
        bytes[..2].copy_from_slice(&first.to_be_bytes());
        EntryName::chunk(Digest::from_bytes(bytes))
    }

    #[test]
    fn what_both_have_is_one_entry_and_nothing_is_left_out() {
        let (one, two, three) = (name(1, 1), name(1, 2), name(2, 1));
        let upload = EntryName::new(two.digest, EntryKind::UploadMarker);
        let entries = merge(vec![(one, OBJECT), (two, OBJECT)], vec![two, upload, three]);
        let seen: Vec<_> =
            entries.iter().map(|entry| (entry.name, entry.object.is_some(), entry.is_local)).collect();
        assert_eq!(
            seen,
            [(one, true, false), (two, true, true), (upload, false, true), (three, false, true)]
        );
    }

    fn shard(objects: &[EntryName], folders: impl IntoIterator<Item = u16>, listed_to: u32) -> SweepShard {
        let folders: Vec<Shard> = folders.into_iter().map(Shard).collect();
        let folders: Arc<[Shard]> = folders.into();
        let mut shard = SweepShard::new(Listing::of(""), (0, 0x1_0000), &folders);
        shard.objects = objects.iter().map(|name| (*name, OBJECT)).collect();
        shard.listed_to = listed_to;
        shard
    }

    #[test]
    fn folders_are_handed_out_only_when_their_listing_is_complete() {
        let mut shard = shard(&[name(1, 1), name(3, 1), name(3, 2)], [1, 2, 3, 9], 3);
        let (folders, objects) = shard.take_folders();
        assert_eq!(folders, [Shard(1), Shard(2)]);
        assert_eq!(objects, [(name(1, 1), OBJECT)]);
        assert_eq!((shard.next, shard.objects.len()), (3, 2));
        shard.listed_to = 0x1_0000;
        let (folders, objects) = shard.take_folders();
        assert_eq!((folders, objects.len(), shard.next), (vec![Shard(3), Shard(9)], 2, 0x1_0000));
    }

    #[test]
    fn very_many_folders_are_handed_out_in_steps() {
        let mut shard = shard(&[name(5, 1), name(300, 1), name(900, 1)], (0..600).map(|n| 2 * n), 0x1_0000);
        let (mut folders, mut objects) = (Vec::new(), Vec::new());
        while shard.next < 0x1_0000 {
            let (more, with) = shard.take_folders();
            assert!(more.len() <= FOLDERS_MAX);
            assert!(with.iter().all(|(name, _)| more.contains(&name.shard())));
            folders.extend(more);
            objects.extend(with);
        }
        // One of the objects is in a folder that is not there.
        assert_eq!((folders.len(), objects.len()), (601, 3));
        assert!(folders.is_sorted());
    }
}
