//! The one place that maps a digest to a file name and back.

use std::fmt;

use crate::digest::{DIGEST_BYTES, Digest};

/// Most set-aside copies of one chunk (`.0.bad` to `.9.bad`, spec `formats.md` §10).
pub const BAD_COPIES_MAX: u8 = 10;

/// What a file beside a digest's name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// The chunk; in an S3-backed store its marker.
    Chunk,
    /// A corrupt copy that was set aside (R15), numbered 0 to 9.
    Bad(u8),
    /// A write that is under way or was cut short.
    Temporary,
    /// The upload marker (R1).
    UploadMarker,
}

/// Names one file of a chunk directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName {
    /// The chunk it belongs to.
    pub digest: Digest,
    /// What it is for.
    pub kind: EntryKind,
}

impl EntryName {
    /// Names the chunk file of `digest`.
    pub const fn chunk(digest: Digest) -> Self {
        Self { digest, kind: EntryKind::Chunk }
    }

    /// Names the file of `kind` that belongs to `digest`.
    pub const fn new(digest: Digest, kind: EntryKind) -> Self {
        Self { digest, kind }
    }

    /// Recognises a file name within a shard's folder.
    pub fn parse(file_name: &str) -> Option<Self> {
        let (digest, suffix) = file_name.split_at_checked(2 * DIGEST_BYTES)?;
        let digest = digest.parse().ok()?;
        let kind = match suffix {
            "" => EntryKind::Chunk,
            ".tmp" => EntryKind::Temporary,
            ".uploading" => EntryKind::UploadMarker,
            _ => match suffix.strip_prefix('.')?.strip_suffix(".bad")?.as_bytes() {
                [digit @ b'0'..=b'9'] => EntryKind::Bad(digit - b'0'),
                _ => return None,
            },
        };
        Some(Self { digest, kind })
    }

    /// Returns the shard that holds the file.
    pub const fn shard(&self) -> Shard {
        Shard(self.digest.prefix())
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.digest)?;
        match self.kind {
            EntryKind::Chunk => Ok(()),
            EntryKind::Bad(number) => write!(f, ".{number}.bad"),
            EntryKind::Temporary => f.write_str(".tmp"),
            EntryKind::UploadMarker => f.write_str(".uploading"),
        }
    }
}

/// One prefix folder: all digests with the same first two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u16);

impl Shard {
    /// Recognises the name of a prefix folder: four lower-case hexadecimal digits.
    pub fn parse(folder_name: &str) -> Option<Self> {
        let digits = folder_name.as_bytes();
        let lower_hex = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 4 || !digits.iter().all(lower_hex) {
            return None;
        }
        u16::from_str_radix(folder_name, 16).ok().map(Self)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_survives_the_round_trip() {
        let digest = Digest::of(b"abc");
        let kinds = [EntryKind::Chunk, EntryKind::Temporary, EntryKind::UploadMarker];
        for kind in kinds.into_iter().chain((0..BAD_COPIES_MAX).map(EntryKind::Bad)) {
            let name = EntryName::new(digest, kind);
            assert_eq!(EntryName::parse(&name.to_string()), Some(name));
        }
    }

    #[test]
    fn names_without_meaning_are_not_recognised() {
        let digest = Digest::of(b"abc").to_string();
        for suffix in ["x", ".", ".bad", ".10.bad", ".x.bad", ".tmp2", ".TMP"] {
            assert_eq!(EntryName::parse(&format!("{digest}{suffix}")), None, "{suffix}");
        }
        assert_eq!(EntryName::parse(&digest[1..]), None);
        assert_eq!(EntryName::parse(&digest.to_uppercase()), None);
        assert_eq!(EntryName::parse("é".repeat(40).as_str()), None);
    }

    #[test]
    fn shards_are_four_lower_case_digits() {
        assert_eq!(Shard::parse("00ff"), Some(Shard(255)));
        assert_eq!(Shard(255).to_string(), "00ff");
        for name in ["", "0", "00FF", "+0ff", "00fff", "zzzz"] {
            assert_eq!(Shard::parse(name), None, "{name}");
        }
    }
}
