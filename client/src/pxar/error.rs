//! What is wrong with an archive, or with what shall become one.

use std::io;

/// An archive cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Reading the stream failed; an archive that was cut short is [`io::ErrorKind::UnexpectedEof`].
    #[error("cannot read the archive at byte {at}")]
    Read {
        /// Where, in the stream.
        at: u64,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// There is no such item, or this is no archive.
    #[error("the archive is damaged: unknown item {code:016x} at byte {at}")]
    UnknownItem {
        /// Where the item begins.
        at: u64,
        /// The number that stands for its kind.
        code: u64,
    },
    /// An item is shorter or longer than its kind can be.
    #[error("the archive is damaged: the item at byte {at} has an impossible size of {size} bytes")]
    ItemSize {
        /// Where the item begins.
        at: u64,
        /// Its size as it stands there.
        size: u64,
    },
    /// An item stands where none of its kind can stand, or twice where there can be one.
    #[error("the archive is damaged: the item at byte {at} is out of place")]
    Misplaced {
        /// Where the item begins.
        at: u64,
    },
    /// The content of an item has no meaning.
    #[error("the archive is damaged: the item at byte {at} has an impossible {what}")]
    Value {
        /// Where the item begins.
        at: u64,
        /// What of it is meant.
        what: &'static str,
    },
    /// The archive is of a version that this program does not know.
    #[error("the archive has the unknown format version {version}; a newer program may read it")]
    Version {
        /// The version.
        version: u64,
    },
    /// Something follows the end.
    #[error("the archive is damaged: data follows its end at byte {at}")]
    Trailing {
        /// Where the archive ends.
        at: u64,
    },
    /// An entry has more attributes than any real one.
    #[error("the entry at byte {at} has more than {max} bytes of attributes")]
    TooManyAttributes {
        /// Where the last attribute begins.
        at: u64,
        /// How many bytes are taken.
        max: usize,
    },
    /// A directory has more entries than are read at once.
    #[error("the directory that ends at byte {at} has more than {max} entries")]
    TooManyEntries {
        /// Where its table begins.
        at: u64,
        /// How many are taken.
        max: u64,
    },
}

/// An entry cannot be put into an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The name of a file is empty, too long, `.` or `..`, or has a slash or a zero byte.
    #[error("{name:?} cannot be the name of a file in an archive")]
    Name {
        /// The name, as far as it is text.
        name: String,
    },
    /// The target of a symbolic link is longer than 4,096 bytes, or has a zero byte.
    #[error("the target of a symbolic link has {len} bytes or a zero in it; at most 4096 bytes are possible")]
    Target {
        /// Length of the target in bytes.
        len: usize,
    },
    /// An extended attribute has no name, one longer than 255 bytes or with a zero byte, or a value longer than 64 KiB.
    #[error("the extended attribute {name:?} with {value_len} bytes does not fit into an archive")]
    Xattr {
        /// The attribute's name, as far as it is text.
        name: String,
        /// Length of its value in bytes.
        value_len: usize,
    },
    /// The mode of an entry says that it is something else.
    #[error("an entry with mode {mode:o} cannot be stored as a {what}")]
    Mode {
        /// The mode, with the bits of the file's type.
        mode: u32,
        /// As what it was to be stored.
        what: &'static str,
    },
    /// There is no directory to end but the root, which ends with the archive, or one was not ended.
    #[error("directories were begun and ended in a way that makes no tree")]
    Nesting,
    /// Payloads can be shared in a split archive only, and must come in the order of the stream that has them.
    #[error("the payload at byte {offset} cannot be used again here")]
    Payload {
        /// Where it begins.
        offset: u64,
    },
}
