//! Collections of a bucket, on a directory in memory and a backend that stops where a test says.

mod fixture;
mod scene;

pub(crate) use fixture::InBucket;
