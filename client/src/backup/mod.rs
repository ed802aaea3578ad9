//! Making backups, and pushing those that are stored elsewhere.

mod budget;
mod chunker;
mod copy;
mod error;
mod known;
mod pipeline;
mod pool;
mod push;
mod session;
mod sink;
mod source;
mod writer;

pub use copy::LoadChunk;
pub use error::BackupError;
pub use push::PushSession;
pub use session::{BackupSession, Uploaded};
pub use source::ImageSource;
