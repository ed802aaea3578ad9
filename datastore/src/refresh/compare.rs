//! Is the tree as the bucket has it? Blocking.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use coldkeep_chunk_store::backend::{AnyBackend, ObjectBackend as _, ObjectInfo};
use coldkeep_chunk_store::dir::DirError;

use super::plan::Plan;
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

/// Tells whether a file has the content of an object, as far as the backend's tags prove it; without proof it has not.
pub(crate) fn is_same(path: &Path, backend: &AnyBackend, object: &ObjectInfo) -> Result<bool, DirError> {
    let is_as_long = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.is_file() && metadata.len() == object.len,
        Err(_) => false,
    };
    if !is_as_long {
        return Ok(false);
    }
    let content = read_if_there(path)?.unwrap_or_default();
    Ok(tags_agree(backend, &content, object) == Some(true))
}

/// Compares a content with an object's tag; `None` if the tag is not one that can be computed.
pub(super) fn tags_agree(backend: &AnyBackend, content: &[u8], object: &ObjectInfo) -> Option<bool> {
    let tag = backend.tag_of(content)?;
    // Objects that came in several parts, from whichever tool, have longer tags.
    (tag.0.len() == object.etag.0.len()).then(|| tag == object.etag)
}
