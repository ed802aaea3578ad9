//! A content-addressed chunk store with safe concurrent insert and sweep.

pub mod blob;
mod checked;
mod digest;
mod digest_set;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;

pub use checked::{CheckError, CheckedChunk};
pub use digest::{DIGEST_BYTES, Digest, DigestBuilder, ParseDigestError};
pub use digest_set::DigestSet;
pub use time::{Clock, StoreClock, StoreTime, SystemClock};
