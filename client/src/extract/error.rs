//! What stops the restore of a directory.

use std::io;

use crate::pxar::DecodeError;

/// An archive cannot be restored into a directory. What was restored before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The archive is damaged or cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The system refused something.
    #[error("cannot {what} {path:?}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Where, from the root of the archive.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is something already, which may not be overwritten.
    #[error("{path:?} exists already; restore elsewhere, or allow to overwrite it")]
    Exists {
        /// What is there.
        path: String,
    },
    /// A hard link leads out of the directory, or to something that was not restored.
    #[error("the hard link {path:?} leads to {target:?}, which is no file that was restored")]
    LinkTarget {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// The archive has no contents of files: they are in a payload stream, which was not given.
    #[error("the contents of {path:?} are in the payload stream of a split archive")]
    NoPayload {
        /// The first file.
        path: String,
    },
    /// A directory was moved elsewhere while it was restored into.
    #[error("the directory {path:?} was moved while it was restored into")]
    Moved {
        /// Where it was.
        path: String,
    },
}
