//! The small files in a store's folder, and the objects beside the chunks in a bucket.

use std::time::Duration;

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::bucket::fuzzing;
use coldkeep_chunk_store::bucket::{InUse, RequestLifetimes};

use crate::seal::with_crc;

/// A week: as long as any request can last (`docs/FORMAT.md`), with an hour for what is added to it.
const WAIT_MAX: Duration = Duration::from_hours(7 * 24 + 1);

/// Longest text that is shown of somebody else's object.
const SHOWN_BYTES_MAX: usize = 512;

/// Most spans of time in which files are suspect.
const SPANS_MAX: usize = 32;

/// The order of the cache is read as it was written, or not at all.
pub fn check_recency(input: &[u8]) {
    for file in [input, &with_crc(input)] {
        let Some((entries, written)) = fuzzing::recency(file) else { continue };
        assert_eq!(written, file);
        assert_eq!(file.len(), 8 + 1 + 36 * entries + 4);
    }
}

/// The input is a generation file, a NUL byte, and the object.
pub fn check_generation(input: &[u8]) {
    let split = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (file, object) = (&input[..split], input.get(split + 1..).unwrap_or_default());

    let written = fuzzing::generation_file(file);
    assert_eq!(fuzzing::generation_file(&written), written);
    if let Some(wait) = fuzzing::rebuild_wait(file, &RequestLifetimes::default()) {
        assert!(wait <= WAIT_MAX, "a rebuild waits for {wait:?}");
    }
    let (token, lasts) = fuzzing::generation_object(object);
    assert!(lasts <= WAIT_MAX, "a successor waits for {lasts:?}");
    if token.is_empty() {
        assert!(!fuzzing::owns(file, &token), "a damaged object was taken for ours");
    }
}

/// Whoever has a bucket open is shown in one line, whatever stands in the object.
pub fn check_in_use(input: &[u8]) {
    let in_use = InUse::parse(input);
    let shown = in_use.holder.to_string();
    assert!(shown.len() <= SHOWN_BYTES_MAX && !shown.contains(char::is_control), "{shown:?}");
    let written = serde_json::to_vec(&in_use).expect("texts and numbers have a JSON form");
    assert_eq!(InUse::parse(&written), in_use);
}

/// What a clock file says is suspect stays so, in few spans that do not meet.
pub fn check_clock(input: &[u8]) {
    let now = StoreTime::from_unix(1_700_000_000, 0);
    let Some(read) = fuzzing::clock_file(input, now) else { return };
    assert!(read.suspects.len() <= SPANS_MAX);
    assert!(read.suspects.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", read.suspects);
    for (from, to) in read.saved {
        let (from, to) = (StoreTime::from_unix_nanos(from), StoreTime::from_unix_nanos(to));
        let covers = |span: &(StoreTime, StoreTime)| span.0 <= from && to <= span.1;
        assert!(to < from || read.suspects.iter().any(covers), "{from:?} to {to:?} is trusted");
    }
    if !read.is_clean {
        assert!(read.suspects.iter().any(|span| span.1 >= now && span.1 > read.clock));
    }
}
