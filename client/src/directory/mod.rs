//! Directories of this machine, as the archives that they become (spec `client.md` §3).

mod acl;
mod attributes;
mod error;
mod report;
mod source;

pub(crate) use self::acl::{access_value as access_acl_value, default_value as default_acl_value};
pub(crate) use self::attributes::bits_of as attribute_bits;
pub use self::error::DirectoryError;
pub use self::report::{DirectoryReport, DirectoryWarning, WarningKind};
pub use self::source::{DirectoryOptions, DirectorySource, Filesystems};

#[cfg(test)]
mod tests;
