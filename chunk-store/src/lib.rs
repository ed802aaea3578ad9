//! A content-addressed chunk store with safe concurrent insert and sweep.

pub mod backend;
pub mod blob;
mod checked;
mod digest;
mod digest_set;
pub mod dir;
pub mod durable;
mod locks;
mod owner;
mod session;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;

pub use checked::{CheckError, CheckedChunk};
pub use digest::{DIGEST_BYTES, Digest, DigestBuilder, ParseDigestError};
pub use digest_set::DigestSet;
pub use locks::{DigestGuard, DigestLocks};
pub use owner::{OwnerError, OwnerLock};
pub use session::{Run, Session, SessionFailed};
pub use store::{
    ChunkStore, InsertError, Inserted, ListedEntry, LoadError, OpenError, Quarantined, RunError, StoreError,
    StoreOptions, SyncLevel, TouchError,
};
pub use time::{Clock, StoreClock, StoreTime, SystemClock};
