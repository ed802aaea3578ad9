//! Making backups.

mod budget;
mod chunker;
mod error;
mod known;
mod pipeline;
mod pool;
mod session;
mod source;

pub use error::BackupError;
pub use session::{BackupSession, Uploaded};
pub use source::ImageSource;
