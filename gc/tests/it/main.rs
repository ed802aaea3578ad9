//! Collections of whole stores, in memory and on a disk.

#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside test functions")]

mod fixture;
mod hazards;
mod interleave;
mod missing;
mod rate;
mod runs;
