//! Making the cache's order agree with the markers after an unclean end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use super::BucketStore;
use crate::backend::ObjectBackend;
use crate::digest::Digest;
use crate::dir::{EntryKind, MarkerDir, Shard};
use crate::store::StoreError;

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Compares the cache's order with the markers and makes it right: content that it does not know is adopted as least
    /// recently used, what has no content is forgotten, and what is over the bound is evicted.
    ///
    /// To be run in the background after an open if [`Self::needs_cache_scan`] says so; until then such content is served
    /// but takes its place on the disk beyond the bound. Inserts, loads and evictions may go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Dir`], and [`StoreError::Closed`] once the store takes no more work. What was found so far counts;
    /// a later scan starts anew.
    ///
    /// # Cancel safety
    /// As after an error.
    pub async fn scan_cache(&self) -> Result<(), StoreError> {
        let mut known: BTreeMap<Shard, BTreeMap<Digest, u64>> = BTreeMap::new();
        for (digest, len) in self.cache.all() {
            known.entry(Shard(digest.prefix())).or_default().insert(digest, u64::from(len));
        }
        let mut shards: BTreeSet<Shard> = self.dir.shards().await?.into_iter().collect();
        shards.extend(known.keys());
        for shard in shards {
            self.check_open()?;
            let known = known.remove(&shard).unwrap_or_default();
            self.scan_shard(shard, known).await?;
        }
        self.cache.needs_scan.store(false, Ordering::Release);
        self.evict_excess().await;
        Ok(())
    }

    /// Compares one shard; `known` was read before the shard is listed.
    async fn scan_shard(&self, shard: Shard, mut known: BTreeMap<Digest, u64>) -> Result<(), StoreError> {
        let mut differing = Vec::new();
        for entry in self.dir.list(vec![shard]).await? {
            if entry.name.kind == EntryKind::Chunk {
                let known = known.remove(&entry.name.digest).unwrap_or(0);
                if known != entry.stat.len {
                    differing.push(entry.name.digest);
                }
            }
        }
        differing.extend(known.into_keys());
        for digest in differing {
            // What was seen so far is a hint: both sides are looked at again where nobody changes them.
            let held = self.locks.lock(&digest).await;
            let marks = self.dir.marks(&held, vec![digest]).await?;
            let len = marks.first().and_then(|marks| marks.marker).map_or(0, |marker| marker.len);
            if self.cache.len_of(&digest).unwrap_or(0) != len {
                self.cache.correct(&digest, len);
            }
        }
        Ok(())
    }
}
