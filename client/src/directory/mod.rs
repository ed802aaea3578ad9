//! Directories of this machine, as the archives that they become (spec `client.md` §3).

mod acl;
mod attributes;
mod error;
mod report;
mod source;

pub use self::error::DirectoryError;
pub use self::report::{DirectoryReport, DirectoryWarning, WarningKind};
pub use self::source::{DirectoryOptions, DirectorySource, Filesystems};

#[cfg(test)]
mod tests;
