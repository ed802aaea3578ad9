//! What stops the backup of a directory.

use std::io;

use crate::pattern::PatternError;
use crate::pxar::EncodeError;

/// A directory cannot be read; what was sent of it is no archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The system refused something that is not usual.
    #[error("cannot {what} {path:?}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Where, from the root of the archive; the root itself is empty.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is the root of a file system that has no files, such as `/proc`.
    #[error("{path:?} is on a filesystem without files of its own; there is nothing to back up")]
    Pseudo {
        /// The directory.
        path: String,
    },
    /// Directories have more entries than fit into the memory that was allowed.
    #[error(
        "there are more than {max} entries in the directories on the way to {path:?}; allow more, or leave some out"
    )]
    TooManyEntries {
        /// Where there was one too many.
        path: String,
        /// How many are allowed.
        max: usize,
    },
    /// A directory was moved elsewhere while its content was read.
    #[error("the directory {path:?} was moved while it was read")]
    Moved {
        /// Where it was.
        path: String,
    },
    /// The archive could not be written; not for anything in the directory.
    #[error("cannot archive {path:?}")]
    Encode {
        /// Which entry.
        path: String,
        /// What is wrong.
        #[source]
        source: EncodeError,
    },
    /// A pattern has no meaning.
    #[error("a pattern has no meaning")]
    Pattern {
        /// What is wrong with it.
        #[from]
        source: PatternError,
    },
}
