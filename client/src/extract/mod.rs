//! Restoring archives into directories (spec `client.md` §6).
//!
//! Nothing outside of the target is written, whatever the archive says and whatever lies in the target: each entry is made in its
//! directory, which is held open, and no symbolic link is followed on the way.

mod attributes;
mod error;
mod extractor;
mod options;

pub use self::error::ExtractError;
pub use self::extractor::extract;
pub use self::options::{ExtractOptions, Extracted};

#[cfg(test)]
mod tests;
