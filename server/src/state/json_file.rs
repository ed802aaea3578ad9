//! Small files of JSON, replaced as a whole and durably.

use std::io;
use std::path::Path;

use coldkeep_chunk_store::durable::replace_file;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StateError;

/// Largest file read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Access rights of files that hold secrets, or hashes of them.
pub(crate) const SECRET_MODE: u32 = 0o600;
/// Access rights of other files.
pub(crate) const PUBLIC_MODE: u32 = 0o644;

/// Reads a file; one that does not exist gives the default. Blocks.
pub(crate) fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, StateError> {
    match read_bytes(path)? {
        Some(text) => serde_json::from_slice(&text)
            .map_err(|source| StateError::Malformed { path: path.to_owned(), source }),
        None => Ok(T::default()),
    }
}

/// Replaces a file. Blocks.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<(), StateError> {
    let malformed = |source| StateError::Malformed { path: path.to_owned(), source };
    let mut text = serde_json::to_vec_pretty(value).map_err(malformed)?;
    text.push(b'\n');
    write_bytes(path, &text, mode)
}

/// Reads a file of any content, or `None` if there is none. Blocks.
pub(crate) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let failed = |source| StateError::Io { action: "read", path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => Err(failed(io::ErrorKind::FileTooLarge.into())),
        Ok(_) => std::fs::read(path).map(Some).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Replaces a file of any content. Blocks.
pub(crate) fn write_bytes(path: &Path, content: &[u8], mode: u32) -> Result<(), StateError> {
    replace_file(path, content, mode).map_err(|source| StateError::Write { source })
}
