//! The journal of a store in a bucket.

use std::collections::BTreeMap;

use coldkeep_chunk_store::bucket::fuzzing::ReadJournal;
use coldkeep_chunk_store::{Digest, StoreTime};

use crate::seal::with_crc;

const CHUNKS: u8 = 1;

/// A journal that is read keeps its meaning through writing and reading, and frees no digest before all its deletes have
/// expired (R9).
pub fn check(input: &[u8]) {
    read(input);
    read(&with_crc(input));
}

fn read(file: &[u8]) {
    let Ok(journal) = ReadJournal::parse(file) else { return };
    let written = journal.encode();
    assert!(written.len() <= file.len(), "a journal grew by being read");
    let again = ReadJournal::parse(&written).expect("what was written is read");
    assert_eq!(again.encode(), written);

    let expiries = Fields(&file[8..file.len() - 4]).expiries();
    let mut digests = journal.replay(StoreTime::EPOCH);
    digests.sort_unstable();
    assert!(digests.iter().eq(expiries.keys()), "an open removes the markers of all digests, and no other");
    assert_eq!(journal.counts().in_limbo, digests.len());
    let mut dates: Vec<StoreTime> = expiries.values().copied().collect();
    dates.sort_unstable();
    for date in dates {
        journal.expire(date);
        for (digest, expires_at) in &expiries {
            assert_eq!(journal.is_free(digest), *expires_at < date, "{digest} at {date:?}");
        }
    }
}

/// A second reader of the layout in `docs/FORMAT.md`, for files that the first one took.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// Returns each digest with the latest expiry of an entry that names it.
    fn expiries(mut self) -> BTreeMap<Digest, StoreTime> {
        let mut expiries = BTreeMap::new();
        while !self.0.is_empty() {
            let [kind, _] = self.take();
            let expires_at = StoreTime::from_unix_nanos(i64::from_le_bytes(self.take()));
            let text_bytes = u16::from_le_bytes(self.take());
            self.0 = &self.0[usize::from(text_bytes)..];
            let count = if kind == CHUNKS { u32::from_le_bytes(self.take()) } else { 0 };
            for _ in 0..count {
                let latest = expiries.entry(Digest::from_bytes(self.take())).or_insert(expires_at);
                *latest = expires_at.max(*latest);
            }
        }
        expiries
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("the first reader found it whole");
        self.0 = rest;
        *taken
    }
}
