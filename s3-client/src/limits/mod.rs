//! Limits that all clones of a client share: requests at once, requests per second, bytes per second.

mod rate;

pub use rate::Rate;
pub(crate) use rate::{Bucket, Pace};
