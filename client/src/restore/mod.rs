//! Reading snapshots back.

mod cache;
mod error;
mod fetch;
mod pipe;
mod session;
mod stored;
mod target;

pub use error::{ChunkError, RestoreError};
pub use session::ReaderSession;
pub use stored::StoredSnapshot;
