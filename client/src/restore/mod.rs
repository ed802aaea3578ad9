//! Reading snapshots back.

mod cache;
mod error;
mod fetch;
mod session;
mod stored;
mod target;

pub use error::{ChunkError, RestoreError};
pub use session::ReaderSession;
pub use stored::StoredSnapshot;
