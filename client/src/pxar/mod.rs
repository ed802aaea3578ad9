//! Archives of directories, in the format that stock clients use (spec `pxar.md`).
//!
//! An archive is a stream of items. Of its two forms, the unified one has names, metadata and contents in one stream, and the split one
//! has the contents in a stream of their own, so that unchanged files need not be read again.
//!
//! - [`Encoder`] writes either form: values in, bytes out.
//! - [`Decoder`] reads either form from front to back.
//! - [`Archive`] finds single entries, by the tables at the ends of directories.
//!
//! Names are bytes ([`FileName`]); they are checked where they come in, and cannot lead out of their directory. What the path of a
//! [`HardLink`] leads to is for its reader to check.

mod archive;
mod decoder;
mod encoder;
mod error;
mod goodbye;
mod item;
mod metadata;
mod name;

pub use self::archive::{Archive, Directory, Place, ReadAt};
pub use self::decoder::{Contents, Decoder, Entry, Event, HardLink, Node};
pub use self::encoder::{Encoder, LinkTarget, PayloadRef};
pub use self::error::{DecodeError, EncodeError};
pub use self::metadata::{Acl, AclEntry, DefaultAcl, FILE_TYPE_MASK, FileTime, FileType, Metadata, Xattr};
pub use self::name::FileName;

#[cfg(test)]
mod tests;
