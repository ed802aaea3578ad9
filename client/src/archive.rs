//! Names of archives as people write them, and what to do with each.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use coldkeep_datastore::{ArchiveName, NameError};

/// How the data of an archive is read and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArchiveContent {
    /// A disk image: `NAME.img`, stored as `NAME.img.fidx`.
    Image,
    /// Any file or stream: `NAME.bin`, stored as `NAME.bin.didx`.
    Stream,
    /// A directory: `NAME.pxar`, stored as `NAME.pxar.didx`.
    Directory,
    /// A small file: `NAME.conf`, `NAME.log`, …, stored as `NAME.conf.blob`.
    Blob,
}

/// An item of the command line, `NAME.TYPE:PATH`.
///
/// # Examples
/// ```
/// use coldkeep_client::{ArchiveContent, BackupItem};
///
/// let item = BackupItem::parse("disk.img:/dev/vda".as_ref())?;
/// assert_eq!(item.archive.as_str(), "disk.img.fidx");
/// assert_eq!(item.content, ArchiveContent::Image);
/// # Ok::<(), coldkeep_client::ParseArchiveError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupItem {
    /// The name on the server.
    pub archive: ArchiveName,
    /// What to do with the data.
    pub content: ArchiveContent,
    /// Where the data is.
    pub path: PathBuf,
}

/// A text is no archive or item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseArchiveError {
    /// There is no colon, or nothing on one side of it.
    #[error("{text:?} is not written as NAME.TYPE:PATH")]
    Form {
        /// The text, as far as it is readable.
        text: String,
    },
    /// The type is unknown.
    #[error("{text:?} has none of the types img, bin, pxar, conf, json, key and log")]
    Type {
        /// The name.
        text: String,
    },
    /// The name breaks the rules for names.
    #[error("bad archive name")]
    Name(#[from] NameError),
}

impl BackupItem {
    /// Parses `NAME.img:PATH`, `NAME.bin:PATH`, `NAME.pxar:PATH`, `NAME.conf:PATH` and their like; the path may hold colons.
    ///
    /// # Errors
    /// See [`ParseArchiveError`].
    pub fn parse(text: &OsStr) -> Result<Self, ParseArchiveError> {
        let malformed = || ParseArchiveError::Form { text: text.to_string_lossy().into_owned() };
        let bytes = text.as_bytes();
        let colon = bytes.iter().position(|byte| *byte == b':').ok_or_else(malformed)?;
        let name = std::str::from_utf8(&bytes[..colon]).map_err(|_| malformed())?;
        let path = OsStr::from_bytes(&bytes[colon + 1..]);
        if name.is_empty() || path.is_empty() {
            return Err(malformed());
        }
        let unknown = || ParseArchiveError::Type { text: name.to_owned() };
        let content = match local_type(name).ok_or_else(unknown)? {
            "img" => ArchiveContent::Image,
            "bin" => ArchiveContent::Stream,
            "pxar" => ArchiveContent::Directory,
            "conf" | "json" | "key" | "log" => ArchiveContent::Blob,
            _ => return Err(unknown()),
        };
        Ok(Self { archive: server_name(name)?, content, path: path.into() })
    }
}

/// Maps a local name to the name on the server by its last extension; a name of the server stays as it is (spec
/// `formats.md` §6.2).
///
/// # Errors
/// [`ParseArchiveError::Type`]: the extension is unknown. [`ParseArchiveError::Name`]: the name is not allowed.
pub fn server_name(name: &str) -> Result<ArchiveName, ParseArchiveError> {
    let suffix = match local_type(name) {
        Some("fidx" | "didx" | "blob") => "",
        Some("img") => ".fidx",
        Some("bin" | "pxar" | "mpxar" | "ppxar" | "pcat1") => ".didx",
        Some("conf" | "json" | "key" | "log") => ".blob",
        _ => return Err(ParseArchiveError::Type { text: name.to_owned() }),
    };
    Ok(format!("{name}{suffix}").parse()?)
}

/// Returns the last extension of a name that has something before it.
fn local_type(name: &str) -> Option<&str> {
    let (stem, ty) = name.rsplit_once('.')?;
    (!stem.is_empty()).then_some(ty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names_map_by_their_last_extension() {
        for (local, server) in [
            ("disk.img", "disk.img.fidx"),
            ("disk.img.fidx", "disk.img.fidx"),
            ("data.bin", "data.bin.didx"),
            ("root.pxar", "root.pxar.didx"),
            ("root.mpxar", "root.mpxar.didx"),
            ("root.ppxar", "root.ppxar.didx"),
            ("catalog.pcat1", "catalog.pcat1.didx"),
            ("qemu-server.conf", "qemu-server.conf.blob"),
            ("index.json", "index.json.blob"),
            ("rsa-encrypted.key", "rsa-encrypted.key.blob"),
            ("client.log", "client.log.blob"),
        ] {
            assert_eq!(server_name(local).unwrap().as_str(), server);
        }
        for bad in ["disk", "disk.xyz", ".img", "", "a/b.img", "../x.img"] {
            assert!(server_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn items_are_split_at_the_first_colon() {
        let item = BackupItem::parse("a.conf:/x:y".as_ref()).unwrap();
        assert_eq!((item.archive.as_str(), item.content), ("a.conf.blob", ArchiveContent::Blob));
        assert_eq!(item.path, PathBuf::from("/x:y"));
        let item = BackupItem::parse("s.bin:-".as_ref()).unwrap();
        assert_eq!((item.archive.as_str(), item.content), ("s.bin.didx", ArchiveContent::Stream));
        let item = BackupItem::parse("root.pxar:/".as_ref()).unwrap();
        assert_eq!((item.archive.as_str(), item.content), ("root.pxar.didx", ArchiveContent::Directory));
    }

    #[test]
    fn malformed_items_are_refused() {
        use ParseArchiveError as E;
        let parse = |text: &[u8]| BackupItem::parse(OsStr::from_bytes(text)).unwrap_err();
        assert!(matches!(parse(b"a.img"), E::Form { .. }));
        assert!(matches!(parse(b"a.img:"), E::Form { .. }));
        assert!(matches!(parse(b":/x"), E::Form { .. }));
        assert!(matches!(parse(b"\xff.img:/x"), E::Form { .. }));
        assert!(matches!(parse(b"a.mpxar:/x"), E::Type { .. }));
        assert!(matches!(parse(b"a.fidx:/x"), E::Type { .. }));
        assert!(matches!(parse(b"-a.img:/x"), E::Name(_)));
        assert!(matches!(parse(b"a b.img:/x"), E::Name(_)));
    }
}
