//! Collections of a bucket, on a directory in memory and a backend that stops where a test says.
//!
//! The hazards of DESIGN §5, by number, with the collector stopped at every step of its run: [`stops`] has the method.

mod clocks;
mod ends;
mod fixture;
mod interleave;
mod late;
mod scene;
mod sessions;
mod stops;
mod uses;
mod views;

pub(crate) use fixture::InBucket;
