//! The name of a file in a snapshot.

use std::str::FromStr;

use super::error::excerpt;
use super::{FILE_NAME_BYTES_MAX, NameError, check_safe_id, text_newtype};
use crate::index::IndexKind;

/// Server name of a file in a snapshot: a safe id of at most 200 characters that ends in `.fidx`, `.didx` or `.blob`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveName(String);

text_newtype!(ArchiveName);

/// What the suffix says about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArchiveKind {
    /// An index (`.fidx`, `.didx`).
    Index(IndexKind),
    /// A blob (`.blob`).
    Blob,
}

impl ArchiveName {
    /// File name of the manifest (spec `formats.md` §6).
    pub const MANIFEST: &str = "index.json.blob";
    /// File name of the client's log, uploaded after the backup (spec `formats.md` §6.2).
    pub const CLIENT_LOG: &str = "client.log.blob";

    /// Returns the manifest's name.
    pub fn manifest() -> Self {
        Self(Self::MANIFEST.to_owned())
    }

    /// Returns the client log's name.
    pub fn client_log() -> Self {
        Self(Self::CLIENT_LOG.to_owned())
    }

    /// Tells whether this names the manifest.
    pub fn is_manifest(&self) -> bool {
        self.0 == Self::MANIFEST
    }

    /// Returns what the suffix says.
    pub fn kind(&self) -> ArchiveKind {
        // Unreachable alternative: the constructor checked the suffix.
        kind_of(&self.0).unwrap_or(ArchiveKind::Blob)
    }
}

fn kind_of(name: &str) -> Option<ArchiveKind> {
    match name.rsplit_once('.')?.1 {
        "fidx" => Some(ArchiveKind::Index(IndexKind::Fixed)),
        "didx" => Some(ArchiveKind::Index(IndexKind::Dynamic)),
        "blob" => Some(ArchiveKind::Blob),
        _ => None,
    }
}

impl FromStr for ArchiveName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_safe_id("archive name", text, 1..=FILE_NAME_BYTES_MAX)?;
        if kind_of(text).is_some() {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Suffix { text: excerpt(text) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_decides_the_kind() {
        for (text, kind) in [
            ("drive-scsi0.img.fidx", ArchiveKind::Index(IndexKind::Fixed)),
            ("root.pxar.didx", ArchiveKind::Index(IndexKind::Dynamic)),
            ("index.json.blob", ArchiveKind::Blob),
        ] {
            assert_eq!(text.parse::<ArchiveName>().unwrap().kind(), kind);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for text in [".fidx", "a.tmp_fidx", "a", "../a.fidx", "a/b.blob", "a\0.blob", "owner", ".protected"] {
            assert!(text.parse::<ArchiveName>().is_err(), "{text:?}");
        }
        assert!(format!("{}.blob", "a".repeat(300)).parse::<ArchiveName>().is_err());
    }
}
