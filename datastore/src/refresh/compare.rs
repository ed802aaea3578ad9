//! Is the tree as the bucket has it? Blocking.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use coldkeep_chunk_store::backend::{AnyBackend, ObjectBackend as _, ObjectInfo};
use coldkeep_chunk_store::dir::DirError;

use super::plan::Plan;
use super::tag::Tagging;
use crate::file::{Context as _, Found, list_all, read_if_there};
use crate::tree::Layout;

/// Larger files are written once; only small ones are ever replaced, by others that may be as long.
const REPLACED_BYTES_MAX: u64 = 1 << 20;

/// Tells whether the tree has the planned files, and no others.
pub(super) fn is_as_planned(layout: &Layout, backend: &AnyBackend, plan: &Plan) -> Result<bool, DirError> {
    let mut found = BTreeMap::new();
    for top in Layout::TOPS {
        if !collect(layout.base(), Path::new(top), &mut found)? {
            return Ok(false);
        }
    }
    if !found.keys().eq(plan.files.keys()) {
        return Ok(false);
    }
    for (path, object) in &plan.files {
        if found[path] != object.len {
            return Ok(false);
        }
        if object.len <= REPLACED_BYTES_MAX {
            let content = read_if_there(&layout.base().join(path))?.unwrap_or_default();
            if tags_agree(backend, &content, object) == Some(false) {
                return Ok(false);
            }
        }
    }
    Ok(plan.folders.iter().all(|folder| layout.base().join(folder).is_dir()))
}

/// Gathers the files below a folder with their lengths; `false` if there is anything but files and folders.
fn collect(base: &Path, inside: &Path, found: &mut BTreeMap<PathBuf, u64>) -> Result<bool, DirError> {
    let folder = base.join(inside);
    for (name, entry) in list_all(&folder)?.unwrap_or_default() {
        let path = inside.join(name);
        match entry {
            Found::Folder if !collect(base, &path, found)? => return Ok(false),
            Found::Folder => {}
            Found::File => {
                let file = base.join(&path);
                let len = fs::metadata(&file).context("read the length of", &file)?.len();
                found.insert(path, len);
            }
            Found::Nothing | Found::Other => return Ok(false),
        }
    }
    Ok(true)
}

/// Tells whether a file has the content of an object, as far as the backend's tags prove it; without proof it has not. Nor
/// has a file that cannot be read: the bucket has its content.
///
/// `is_abandoned` ends the reading of a long file early; the answer is no then.
pub(super) fn is_same(
    path: &Path,
    backend: &AnyBackend,
    object: &ObjectInfo,
    is_abandoned: &dyn Fn() -> bool,
) -> bool {
    let Some(mut file) = open_as_long(path, object) else { return false };
    let Some(tagging) = Tagging::of(backend) else { return false };
    // Whatever was read, it is the content only if it has the tag.
    tagging.tag(&mut file, is_abandoned).is_ok_and(|tag| tag.as_ref() == Some(&object.etag))
}

/// Opens a file that is as long as an object.
pub(super) fn open_as_long(path: &Path, object: &ObjectInfo) -> Option<File> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() != object.len {
        return None;
    }
    File::open(path).ok()
}

/// Compares a content with an object's tag; `None` if the tag is not one that can be computed.
pub(super) fn tags_agree(backend: &AnyBackend, content: &[u8], object: &ObjectInfo) -> Option<bool> {
    let tag = backend.tag_of(content)?;
    // Objects that came in several parts, from whichever tool, have longer tags.
    (tag.0.len() == object.etag.0.len()).then(|| tag == object.etag)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coldkeep_chunk_store::StoreTime;
    use coldkeep_chunk_store::backend::{ETag, ObjectKey};
    use coldkeep_chunk_store::testing::{ManualClock, MemoryBackend};

    use super::*;

    const NOW: StoreTime = StoreTime::from_unix(1_700_000_000, 0);

    fn object(backend: &AnyBackend, content: &[u8]) -> ObjectInfo {
        let key = ObjectKey::new(".cnt/host/x/a.didx").unwrap();
        let etag = backend.tag_of(content).unwrap();
        ObjectInfo { key, len: content.len() as u64, etag, modified_at: NOW }
    }

    /// Goal: a local copy that the disk does not give back is no copy, and no error: the bucket has the index.
    /// Method: the kernel refuses to read this file with EIO, and calls it a regular one of no length.
    #[test]
    fn what_cannot_be_read_is_not_the_same() {
        let backend = AnyBackend::new(MemoryBackend::new(Arc::new(ManualClock::at(NOW))));
        let broken = Path::new("/proc/self/mem");
        assert!(fs::read(broken).is_err(), "the test needs a file that cannot be read");
        assert!(!is_same(broken, &backend, &object(&backend, b""), &|| false));
    }

    #[test]
    fn a_file_is_the_same_if_length_and_tag_are() {
        let backend = AnyBackend::new(MemoryBackend::new(Arc::new(ManualClock::at(NOW))));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.didx");
        fs::write(&path, b"one").unwrap();
        let one = object(&backend, b"one");
        assert!(is_same(&path, &backend, &one, &|| false));
        assert!(!is_same(&path, &backend, &one, &|| true), "abandoned");
        assert!(!is_same(&path, &backend, &object(&backend, b"two"), &|| false));
        assert!(!is_same(&path, &backend, &object(&backend, b"three"), &|| false));
        assert!(!is_same(&path, &backend, &ObjectInfo { etag: ETag("x-2".into()), ..one }, &|| false));
    }
}
