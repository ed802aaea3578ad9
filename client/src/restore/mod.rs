//! Reading snapshots back.

mod cache;
mod error;
mod fetch;
mod session;
mod target;

pub use error::{ChunkError, RestoreError};
pub use session::ReaderSession;
