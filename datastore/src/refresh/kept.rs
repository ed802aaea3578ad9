//! Copies of indexes that are kept from one collection to the next, for backends whose tags prove nothing of a content
//! (objects that the server encrypts, objects in several parts): else each run would fetch each index.
//!
//! A copy is named by the version of its object, key, length, tag and time, so that a changed object has another name. Beside
//! it, a record has the SHA-256 of what was fetched. The record is written only if the answer had the listed tag and the
//! index agrees with its own checksum; it vouches for a file, the copy or the one in the tree, only if the file, read to its
//! end, has that hash. In any doubt the object is fetched again (I6). So nothing here needs to be durable: what a crash tears
//! has another hash.
//!
//! There is at most one copy and one record for each listed index: whatever belongs to no listed one goes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use coldkeep_chunk_store::backend::ObjectInfo;
use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::{Digest, DigestBuilder};

use super::compare::open_as_long;
use super::fetch::write;
use super::tag::for_each_piece;
use crate::file::{Found, list_all, remove_if_there};
use crate::index::agrees_with_csum;

/// Suffix of records.
const RECORD: &str = ".sha256";

/// Returns the name of the copy of an object as it is now.
pub(crate) fn name_of(object: &ObjectInfo) -> String {
    let ObjectInfo { key, len, etag, modified_at } = object;
    // The key last: it may hold anything.
    let version = format!("{len}\n{}\n{}\n{}\n{key}", modified_at.unix_nanos(), etag.0.len(), etag.0);
    Digest::of(version.as_bytes()).to_string()
}

/// Removes what belongs to none of these copies from their folder.
pub(crate) fn forget_others(folder: &Path, names: &BTreeSet<String>) -> Result<(), DirError> {
    let is_kept = |name: &OsString| {
        let name = name.to_str().map(|name| name.strip_suffix(RECORD).unwrap_or(name));
        name.is_some_and(|name| names.contains(name))
    };
    for (name, found) in list_all(folder)?.unwrap_or_default() {
        if found != Found::Folder && !is_kept(&name) {
            remove_if_there(&folder.join(name))?;
        }
    }
    Ok(())
}

/// Records that the object that `copy` is named after has this content, unless its own checksum says otherwise.
pub(super) fn record(copy: &Path, content: &[u8]) -> Result<(), DirError> {
    if !agrees_with_csum(content) {
        return Ok(());
    }
    write(&record_of(copy), Digest::of(content).to_string().as_bytes())
}

/// Returns the hash that a file with the content of the copy's object has; `None`: nothing is recorded.
pub(super) fn recorded(copy: &Path) -> Option<Digest> {
    fs::read_to_string(record_of(copy)).ok()?.parse().ok()
}

/// Tells whether a file has the recorded content. One that cannot be read has not.
pub(super) fn has_content(
    path: &Path,
    object: &ObjectInfo,
    recorded: &Digest,
    is_abandoned: &dyn Fn() -> bool,
) -> bool {
    let Some(mut file) = open_as_long(path, object) else { return false };
    hash(&mut file, is_abandoned).is_ok_and(|hash| hash.as_ref() == Some(recorded))
}

fn hash(content: &mut impl Read, is_abandoned: &dyn Fn() -> bool) -> io::Result<Option<Digest>> {
    let mut hash = DigestBuilder::new();
    let is_whole = for_each_piece(content, is_abandoned, |piece| hash.update(piece))?;
    Ok(is_whole.then(|| hash.finish()))
}

fn record_of(copy: &Path) -> PathBuf {
    let mut name = copy.as_os_str().to_owned();
    name.push(RECORD);
    name.into()
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::StoreTime;
    use coldkeep_chunk_store::backend::{ETag, ObjectKey};

    use super::*;

    fn object(key: &str, etag: &str, len: u64, second: i64) -> ObjectInfo {
        let key = ObjectKey::new(key).unwrap();
        ObjectInfo { key, len, etag: ETag(etag.to_owned()), modified_at: StoreTime::from_unix(second, 0) }
    }

    #[test]
    fn each_version_of_an_object_has_a_name_of_its_own() {
        let one = object(".cnt/a.didx", "tag", 10, 1);
        assert_eq!(name_of(&one), name_of(&one.clone()));
        for other in [
            object(".cnt/b.didx", "tag", 10, 1),
            object(".cnt/a.didx", "gat", 10, 1),
            object(".cnt/a.didx", "tag", 11, 1),
            object(".cnt/a.didx", "tag", 10, 2),
        ] {
            assert_ne!(name_of(&one), name_of(&other), "{other:?}");
        }
    }

    #[test]
    fn what_does_not_agree_with_its_own_checksum_is_not_vouched_for() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        let mut content = vec![7; 4096 + 40];
        record(&copy, &content).unwrap();
        assert_eq!(recorded(&copy), None);
        let csum = *Digest::of(&content[4096..]).as_bytes();
        content[32..64].copy_from_slice(&csum);
        record(&copy, &content).unwrap();
        assert_eq!(recorded(&copy), Some(Digest::of(&content)));
        // As a crash may leave it.
        fs::write(record_of(&copy), [0; 64]).unwrap();
        assert_eq!(recorded(&copy), None);
    }
}
