//! The order of the cache over restarts.
//!
//! The file `.coldkeep/recency`: 8 bytes magic; a byte, 1 if the store was closed cleanly when this was written, else 0;
//! for each chunk with cached content, the least recently used first, its digest (32 bytes) and the length of its
//! content (`u32`, little endian); CRC-32 of all that (little endian). It is a hint: a file that is missing, damaged or
//! older than the markers costs a scan of them, nothing else.

use std::sync::atomic::Ordering;

use super::BucketStore;
use super::lru::End;
use crate::backend::ObjectBackend;
use crate::digest::{DIGEST_BYTES, Digest};
use crate::dir::{DirError, MarkerDir, StateFile};

/// The first bytes of the file: its name and version.
const MAGIC: [u8; 8] = *b"CKRCNT\x001";

/// A digest and a length.
const ENTRY_BYTES: usize = DIGEST_BYTES + 4;

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Saves the order of the cache if it has changed; to be called about once a minute.
    pub(super) async fn save_recency(&self) -> Result<(), DirError> {
        let _turn = self.cache.saving.lock().await;
        match self.cache.unsaved() {
            Some(changes) => self.write_recency(changes, false).await,
            None => Ok(()),
        }
    }

    /// Saves the order of the cache for good: the store is closed cleanly, and nothing changes it any more.
    pub(super) async fn end_recency(&self) -> Result<(), DirError> {
        let _turn = self.cache.saving.lock().await;
        let changes = self.cache.changes();
        self.write_recency(changes, !self.needs_cache_scan()).await
    }

    /// Reads the order of the cache as the last owner left it, and evicts what is over a bound that was lowered; part of
    /// every open.
    pub(super) async fn load_recency(&self) -> Result<(), DirError> {
        let content = self.dir.load_state(StateFile::Recency).await?;
        let Some((is_clean, entries)) = content.as_deref().and_then(decode) else { return Ok(()) };
        for (digest, len) in entries {
            // Nobody else is there yet, so that no lock(d) is needed.
            self.cache.record(&digest, u64::from(len), End::Newest);
        }
        if is_clean {
            self.cache.needs_scan.store(false, Ordering::Release);
            // From here on the list is out of date whenever the process ends before it says otherwise.
            self.write_recency(self.cache.changes(), false).await?;
        }
        self.evict_excess().await;
        Ok(())
    }

    /// Returns whether [`Self::scan_cache`] has something to do: the store was not closed cleanly when it was last open.
    pub fn needs_cache_scan(&self) -> bool {
        self.cache.needs_scan.load(Ordering::Acquire)
    }

    /// On a full disk the order is given up, which costs a scan: it must keep no store from opening or ending (hazard H14).
    async fn write_recency(&self, changes: u64, is_clean: bool) -> Result<(), DirError> {
        let content = encode(&self.cache.all(), is_clean);
        match self.dir.save_state(StateFile::Recency, content.into()).await {
            Err(error) if error.is_storage_full() => {
                self.dir.save_state(StateFile::Recency, encode(&[], false).into()).await
            }
            saved => {
                saved?;
                self.cache.saved(changes);
                Ok(())
            }
        }
    }
}

pub(super) fn encode(entries: &[(Digest, u32)], is_clean: bool) -> Vec<u8> {
    let mut file = Vec::with_capacity(MAGIC.len() + 1 + entries.len() * ENTRY_BYTES + 4);
    file.extend(MAGIC);
    file.push(u8::from(is_clean));
    for (digest, len) in entries {
        file.extend(digest.as_bytes());
        file.extend(len.to_le_bytes());
    }
    let crc = crc32fast::hash(&file);
    file.extend(crc.to_le_bytes());
    file
}

/// Returns whether the store was closed cleanly, and the entries; `None` if the file is damaged.
pub(super) fn decode(file: &[u8]) -> Option<(bool, Vec<(Digest, u32)>)> {
    let (body, crc) = file.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (is_clean, entries) = body.strip_prefix(&MAGIC)?.split_first()?;
    if entries.len() % ENTRY_BYTES != 0 || *is_clean > 1 {
        return None;
    }
    let entry = |entry: &[u8]| {
        let (digest, len) = entry.split_first_chunk::<DIGEST_BYTES>()?;
        Some((Digest::from_bytes(*digest), u32::from_le_bytes(len.try_into().ok()?)))
    };
    let entries: Option<Vec<_>> = entries.chunks_exact(ENTRY_BYTES).map(entry).collect();
    Some((*is_clean == 1, entries?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_order_survives_the_round_trip(
            entries in prop::collection::vec((any::<[u8; 32]>(), any::<u32>()), 0..20),
            is_clean: bool,
        ) {
            let entries: Vec<_> =
                entries.into_iter().map(|(bytes, len)| (Digest::from_bytes(bytes), len)).collect();
            prop_assert_eq!(decode(&encode(&entries, is_clean)), Some((is_clean, entries)));
        }

        #[test]
        fn a_damaged_file_is_no_order(at in 0..85_usize, bit in 0..8_u8) {
            let mut file = encode(&[(Digest::of(b"a"), 1), (Digest::of(b"b"), 2)], true);
            prop_assert_eq!(file.len(), 85);
            file[at] ^= 1 << bit;
            prop_assert_eq!(decode(&file), None);
        }

        #[test]
        fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let file = encode(&[(Digest::from_bytes([7; 32]), 0x0102_0304)], true);
        assert_eq!(&file[..9], b"CKRCNT\x001\x01");
        assert_eq!((&file[9..41], &file[41..45]), (&[7; 32][..], &[4, 3, 2, 1][..]));
        assert_eq!(file.len(), 49);
    }
}
