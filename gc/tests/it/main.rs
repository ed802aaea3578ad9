//! Collections of whole stores, in memory, on a disk and in a bucket.

#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside test functions")]

mod bucket;
mod cancel;
mod fixture;
mod hazards;
mod interleave;
mod missing;
mod rate;
mod runs;
