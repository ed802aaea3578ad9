//! What a sweep of a bucket comes upon: its chunks, and the local files beside them, key range by key range (R7).
//!
//! A key range is listed page by page. As soon as the listing has passed all digests of a prefix folder, the names in that
//! folder are read, and both are merged: what one of them lacks is seen, and no file is inspected for an object that has
//! its marker. Nothing here decides anything: whoever removes or heals looks again under lock(d).
//!
//! The objects are listed before the folder is read. So a marker without object is either wrong or of a chunk that was
//! uploaded in these few milliseconds; the HEAD of R14 tells.

mod page;
mod remove;

use std::sync::Arc;
use std::time::Duration;

pub use page::SweepPage;
pub use remove::Outcome;

use super::BucketStore;
use super::listing::{ListedEntries, Listing};
use crate::backend::{CHUNKS, ObjectBackend};
use crate::dir::{EntryName, MarkerDir, Shard};
use crate::store::StoreError;
use crate::time::StoreTime;

/// What clocks that should agree may differ by, rounding to whole seconds included (R7).
const SKEW: Duration = Duration::from_secs(2);

/// Prefix folders of a store.
const FOLDERS: u32 = 1 << 16;

/// Objects of a full page (S3 API reference, `ListObjectsV2`, `max-keys`).
const PAGE_OBJECTS: u64 = 1000;

/// One thing that a sweep comes upon: an object, a local file, or both under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepEntry {
    /// What it is. A chunk has its object and its marker in one entry, and its upload marker in another.
    pub name: EntryName,
    /// The object, if it was listed.
    pub object: Option<SweepObject>,
    /// Whether there is a local file of this name.
    pub is_local: bool,
    /// Last use by the local file; known only where there is no object, or more than one sign of life.
    pub used_at: Option<StoreTime>,
}

/// An object as it was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepObject {
    /// Its length in bytes.
    pub len: u64,
    /// The latest instant of the store clock at which it can have been written: now less its age by the backend's own
    /// clock, and 2 s on top for what clocks and rounding may differ by (R7).
    pub written_at: StoreTime,
}

/// A range of prefix folders, with as much of its listing as was not handed out yet.
#[derive(Debug)]
pub struct SweepShard {
    listing: Listing,
    /// Objects of folders that were not handed out, ascending; with repeats if the backend repeats keys.
    objects: Vec<(EntryName, SweepObject)>,
    /// The first folder that was not handed out.
    next: u32,
    /// The first folder that the listing may go on with.
    listed_to: u32,
    /// The first folder after the range.
    end: u32,
    /// Local folders at the start of the sweep, ascending.
    folders: Arc<[Shard]>,
}

impl SweepShard {
    fn new(listing: Listing, (next, end): (u32, u32), folders: &Arc<[Shard]>) -> Self {
        Self { listing, objects: Vec::new(), next, listed_to: next, end, folders: Arc::clone(folders) }
    }

    /// Takes in a page that was fetched at `now`, or the end of the listing.
    fn take(&mut self, page: Option<ListedEntries>, now: StoreTime) {
        if let Some(ListedEntries { entries, date }) = page {
            let written_at = |modified_at| now.minus(date.since(modified_at)).plus(SKEW);
            self.objects.extend(entries.iter().map(|entry| {
                (entry.name, SweepObject { len: entry.len, written_at: written_at(entry.modified_at) })
            }));
            // Pages come in ascending order, so only the folder of the last object can go on.
            self.listed_to =
                self.objects.last().map_or(self.listed_to, |(name, _)| u32::from(name.shard().0));
        }
        if self.listing.has_ended() {
            self.listed_to = self.end;
        }
    }
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Divides the store into key ranges that cover all of it and can be listed at the same time.
    ///
    /// The first page tells how many objects there are, about: digests are spread evenly, unless a client that encrypts
    /// chooses them. That costs time, and memory for the longest prefix folder, which is looked at whole. A bucket of one
    /// page needs no further request.
    ///
    /// # Errors
    /// [`StoreError`]: the run must stop (I6).
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn sweep_shards(&self) -> Result<Vec<SweepShard>, StoreError> {
        self.check_open()?;
        let folders: Arc<[Shard]> = self.dir.shards().await?.into();
        let mut whole = SweepShard::new(Listing::of(CHUNKS), (0, FOLDERS), &folders);
        let page = self.next_entries(&mut whole.listing).await?;
        whole.take(page, self.clock.now());
        if whole.listing.has_ended() {
            return Ok(vec![whole]);
        }
        let digits = prefix_digits(whole.objects.len() as u64, whole.listed_to);
        let folders_each = FOLDERS >> (4 * digits);
        let shard = |number: u32| {
            let listing = Listing::of(format!("{CHUNKS}{number:0width$x}", width = digits as usize));
            SweepShard::new(listing, (number * folders_each, (number + 1) * folders_each), &folders)
        };
        Ok((0..1 << (4 * digits)).map(shard).collect())
    }
}

/// Returns how many digits of a digest are to divide a store whose first page of `count` objects ends in folder `last`:
/// few enough that most pages are full, many enough that no range is left when all others are done.
fn prefix_digits(count: u64, last: u32) -> u32 {
    let objects = count * u64::from(FOLDERS) / (u64::from(last) + 1);
    match objects / PAGE_OBJECTS {
        0..32 => 1,
        32..16_384 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_divided_by_how_much_it_holds() {
        // What the first thousand of so many evenly spread objects reach.
        let digits = |objects: u64| prefix_digits(1000, (1000 * u64::from(FOLDERS) / objects) as u32);
        assert_eq!([2_000, 20_000].map(digits), [1, 1]);
        assert_eq!([100_000, 1_000_000, 10_000_000].map(digits), [2, 2, 2]);
        assert_eq!([30_000_000, 100_000_000, 1_000_000_000].map(digits), [3, 3, 3]);
        // Nothing but keys that are no chunks.
        assert_eq!(prefix_digits(0, 0), 1);
    }
}
