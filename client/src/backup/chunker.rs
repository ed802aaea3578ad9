//! Content-defined chunking of a byte stream.
//!
//! `FastCDC` (2020) with its usual sizes. The stream is scanned window by window as it is read, while its bytes are
//! still in the processor's cache; the rolling hash starts afresh at every window, counted from the start of the
//! chunk. So cut points depend on nothing but the chunk's own bytes, whatever sizes the reader returns, and equal
//! data meets the same cut points again after the next common one.

use std::io::{self, Read};

use fastcdc::v2020::{Normalization, cut, select_masks};

/// Smallest chunk but for the last of a stream.
pub(super) const CHUNK_BYTES_MIN: usize = 1 << 20;

/// Aim for the average chunk.
pub(super) const CHUNK_BYTES_AVERAGE: usize = 4 << 20;

/// Largest chunk (spec `formats.md` §2.4).
pub(super) const CHUNK_BYTES_MAX: usize = 16 << 20;

/// Bytes read and scanned at once; divides all three sizes.
const WINDOW_BYTES: usize = 256 << 10;

/// Cuts a stream into chunks.
#[derive(Debug)]
pub(super) struct Chunker<R> {
    reader: R,
    masks: Masks,
    /// What was read behind the last cut.
    carried: Vec<u8>,
    is_at_end: bool,
}

#[derive(Debug, Clone, Copy)]
struct Masks {
    strict: u64,
    relaxed: u64,
}

impl<R: Read> Chunker<R> {
    pub(super) fn new(reader: R) -> Self {
        let (strict, relaxed) = select_masks(CHUNK_BYTES_AVERAGE, Normalization::Level1);
        Self { reader, masks: Masks { strict, relaxed }, carried: Vec::new(), is_at_end: false }
    }

    /// Returns the next chunk; `None` at the end of the stream. `chunk` is an empty buffer to fill.
    pub(super) fn next_chunk(&mut self, mut chunk: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        chunk.append(&mut self.carried);
        let mut scanned = 0;
        loop {
            let window_end = scanned + WINDOW_BYTES;
            self.fill(&mut chunk, window_end)?;
            let end = window_end.min(chunk.len());
            if let Some(length) = self.cut(&chunk, scanned, end) {
                self.carried.extend_from_slice(&chunk[length..]);
                chunk.truncate(length);
                return Ok(Some(chunk));
            }
            if chunk.len() < window_end {
                // The stream ended inside the window.
                return Ok((!chunk.is_empty()).then_some(chunk));
            }
            scanned = window_end;
            if scanned == CHUNK_BYTES_MAX {
                self.carried.extend_from_slice(&chunk[scanned..]);
                chunk.truncate(scanned);
                return Ok(Some(chunk));
            }
        }
    }

    /// Reads until the chunk has `target` bytes or the stream ends.
    fn fill(&mut self, chunk: &mut Vec<u8>, target: usize) -> io::Result<()> {
        if chunk.len() >= target || self.is_at_end {
            return Ok(());
        }
        let missing = target - chunk.len();
        // Some spare room keeps `read_to_end` from probing for the end with a small read.
        chunk.reserve(missing + 64);
        self.reader.by_ref().take(missing as u64).read_to_end(chunk)?;
        self.is_at_end = chunk.len() < target;
        Ok(())
    }

    /// Returns the length of the chunk if the window holds a cut point.
    fn cut(&self, chunk: &[u8], start: usize, end: usize) -> Option<usize> {
        if start < CHUNK_BYTES_MIN {
            return None;
        }
        let window = &chunk[start..end];
        let mask = if start < CHUNK_BYTES_AVERAGE { self.masks.strict } else { self.masks.relaxed };
        // Without a smallest size and with one mask for the whole window, `cut` is the bare scan; it returns the
        // window's length if it finds nothing.
        let (_, length) = cut(window, 0, WINDOW_BYTES, WINDOW_BYTES, mask, mask, mask << 1, mask << 1);
        (length < window.len()).then_some(start + length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns `len` bytes that look random and are the same for the same seed.
    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut data = Vec::with_capacity(len + 8);
        while data.len() < len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            data.extend_from_slice(&state.to_le_bytes());
        }
        data.truncate(len);
        data
    }

    /// Reads at most `step` bytes at once.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = buffer.len().min(self.1).min(self.0.len());
            let (now, later) = self.0.split_at(len);
            buffer[..len].copy_from_slice(now);
            self.0 = later;
            Ok(len)
        }
    }

    fn split(reader: impl Read) -> Vec<Vec<u8>> {
        let mut chunker = Chunker::new(reader);
        let mut chunks = Vec::new();
        while let Some(chunk) = chunker.next_chunk(Vec::new()).unwrap() {
            chunks.push(chunk);
        }
        chunks
    }

    #[test]
    fn an_empty_stream_has_no_chunk() {
        assert!(split(&b""[..]).is_empty());
    }

    #[test]
    fn short_streams_are_one_chunk() {
        for len in [1, WINDOW_BYTES - 1, WINDOW_BYTES, WINDOW_BYTES + 1, CHUNK_BYTES_MIN] {
            assert_eq!(split(&noise(len, 1)[..]), [noise(len, 1)], "{len}");
        }
    }

    #[test]
    fn zeros_are_cut_at_the_largest_size() {
        let lengths: Vec<_> = split(&vec![0; 2 * CHUNK_BYTES_MAX + 5][..]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, 5]);
    }

    #[test]
    fn chunks_keep_their_sizes_on_average() {
        let data = noise(96 << 20, 7);
        let chunks = split(&data[..]);
        let (_, whole) = chunks.split_last().unwrap();
        assert!(whole.iter().all(|chunk| (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk.len())));
        let average = data.len() / chunks.len();
        assert!((2 << 20..8 << 20).contains(&average), "{average}");
        assert_eq!(chunks.concat(), data);
    }

    // Goal: inserting bytes changes few chunks. Method: cut twice, count the chunks that only one side has.
    #[test]
    fn an_insertion_leaves_later_chunks_alone() {
        let data = noise(64 << 20, 3);
        let mut longer = data.clone();
        longer.splice(5_000_000..5_000_000, *b"inserted");
        let before: std::collections::BTreeSet<_> = split(&data[..]).into_iter().collect();
        let after = split(&longer[..]);
        let new = after.iter().filter(|chunk| !before.contains(*chunk)).count();
        assert!(new <= 3, "{new} of {} chunks are new", after.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn what_was_split_joins_again_whatever_the_reads(
            len in 0_usize..12_000_000, seed: u64, step in 1000_usize..3_000_000, zeros in 0_usize..3_000_000,
        ) {
            let mut data = noise(len, seed);
            data.splice(len / 2..len / 2, vec![0; zeros]);
            let whole = split(&data[..]);
            prop_assert_eq!(&split(Dribble(&data, step)), &whole);
            prop_assert!(whole.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_BYTES_MAX));
            prop_assert_eq!(whole.concat(), data);
        }
    }
}
