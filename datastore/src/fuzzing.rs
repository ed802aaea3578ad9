//! The readers of keys and small files, for the fuzz targets and nothing else.

use std::path::PathBuf;

use coldkeep_chunk_store::backend::ObjectKey;

use crate::mirror::ContentKey;
use crate::store::{StoredBytes, Usage};
use crate::tree::Layout;

/// Returns where the file that an object mirrors stands in the datastore's folder, and the key that this file has; `None` if the
/// object is none of ours.
pub fn mirrored_file(key: &ObjectKey) -> Option<(PathBuf, ObjectKey)> {
    let path = ContentKey::parse(key)?.path();
    let key = Layout::new(PathBuf::new()).key(&path);
    Some((path, key))
}

/// Reads the counter of stored bytes, and returns what the datastore would say of its room.
pub fn usage(content: &[u8]) -> Usage {
    Usage::of_bucket(StoredBytes::parse(content))
}
