//! Fetching objects into a folder, many at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::backend::ObjectInfo;
use coldkeep_chunk_store::bucket::BucketStore;
use coldkeep_chunk_store::dir::DirError;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::compare::{is_same, tags_agree};
use super::{RefreshError, blocking, kept};
use crate::file::{Context as _, remove_if_there};

/// Objects that are fetched at once.
const FETCHES: usize = 32;

/// Most MiB of objects that are in memory at once; one larger than that comes alone.
const MIB_MAX: u32 = 256;

/// How often an object is fetched that is not what the listing says.
const TRIES: usize = 3;

/// Where objects come from and go to.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) bucket: Arc<BucketStore>,
    /// A folder that may have the same files.
    pub(crate) tree: PathBuf,
    pub(crate) target: PathBuf,
    /// Whether what is fetched is recorded beside it, for [`super::kept`].
    pub(crate) records: bool,
}

/// What was fetched.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    /// Places in the list of what was wanted: objects that are gone, or not what the listing says.
    pub(crate) differing: Vec<usize>,
}

/// Brings every object to its path inside the target, not synced; files that are there already stay. Objects that changed
/// since they were listed are told, for a fresh listing to decide. `told` hears how many are done.
pub(crate) async fn fetch_all(
    source: Source,
    files: Vec<(PathBuf, ObjectInfo)>,
    told: impl Fn(u64),
) -> Result<Fetched, RefreshError> {
    let memory = Arc::new(Semaphore::new(MIB_MAX as usize));
    let (mut outcome, mut done, mut tasks) = (Ok(Fetched::default()), 0, JoinSet::new());
    let mut files = files.into_iter().enumerate();
    loop {
        while tasks.len() < FETCHES
            && outcome.is_ok()
            && let Some((place, (path, object))) = files.next()
        {
            let fetching = fetch(source.clone(), Arc::clone(&memory), path, object);
            tasks.spawn(async move { fetching.await.map(|fetched| (place, fetched)) });
        }
        // After an error too: whoever is told of it finds nobody at work on the store any more.
        let Some(joined) = tasks.join_next().await else { return outcome };
        let fetched = match joined {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(RefreshError::ShuttingDown),
        };
        match (&mut outcome, fetched) {
            (Ok(total), Ok((place, one))) => {
                match one {
                    One::There => {}
                    One::Fetched(bytes) => {
                        total.objects += 1;
                        total.bytes += bytes;
                    }
                    One::Differs => total.differing.push(place),
                }
                done += 1;
                told(done);
            }
            (Ok(_), Err(error)) => outcome = Err(error),
            (Err(_), _) => {}
        }
    }
}

/// What became of one object.
#[derive(Debug, Clone, Copy)]
enum One {
    /// There was a file with its content.
    There,
    /// This many bytes were fetched.
    Fetched(u64),
    /// It is gone, or not what the listing says, time and again.
    Differs,
}

/// Brings one object to its path.
async fn fetch(
    source: Source,
    memory: Arc<Semaphore>,
    path: PathBuf,
    object: ObjectInfo,
) -> Result<One, RefreshError> {
    let mib = u32::try_from(object.len >> 20).unwrap_or(MIB_MAX).saturating_add(1).min(MIB_MAX);
    let _memory = memory.acquire_many(mib).await.map_err(|_| RefreshError::ShuttingDown)?;
    let target = source.target.join(&path);
    let (at, from, bucket, wanted) =
        (target.clone(), source.tree.join(&path), Arc::clone(&source.bucket), object.clone());
    if blocking(move || Ok(reuse(&from, &at, &bucket, &wanted)?)).await? {
        return Ok(One::There);
    }
    let mut before: Option<Bytes> = None;
    for _ in 0..TRIES {
        let Some((info, content)) = source.bucket.read_object(&object.key).await? else { continue };
        let (at, bucket, wanted) = (target.clone(), Arc::clone(&source.bucket), object.clone());
        let is_listed_one = info.etag == object.etag;
        let again = before.replace(content.clone());
        let write = move || {
            // Tags of objects that the server encrypts look like those of a content and are not (S3 API reference, ETag): then
            // the object is the listed one if the server says so, and if it is read twice with the same content.
            let is_right = || {
                tags_agree(bucket.backend(), &content, &wanted) != Some(false)
                    || (is_listed_one && again.as_ref() == Some(&content))
            };
            let is_whole = content.len() as u64 == wanted.len && is_right();
            if is_whole {
                write(&at, &content)?;
            }
            if is_whole && is_listed_one && source.records {
                kept::record(&at, &content)?;
            }
            Ok(is_whole)
        };
        if blocking(write).await? {
            return Ok(One::Fetched(object.len));
        }
    }
    Ok(One::Differs)
}

/// Takes a file that is there already, from an earlier attempt or in the tree; returns whether there is one.
fn reuse(from: &Path, at: &Path, bucket: &BucketStore, object: &ObjectInfo) -> Result<bool, DirError> {
    // Whoever waits for this waits for whole files.
    let is_same = |path| is_same(path, bucket.backend(), object, &|| false);
    if is_same(at) {
        return Ok(true);
    }
    if from == at || !is_same(from) {
        return Ok(false);
    }
    link(from, at)
}

/// Gives a file another name; returns whether the filesystem can.
fn link(from: &Path, at: &Path) -> Result<bool, DirError> {
    make_parent(at)?;
    remove_if_there(at)?;
    // Files of the tree are only ever replaced, never written in place, so two names of one file are no harm. Some
    // filesystems have no such links, and none has them across its end: the object is fetched then.
    Ok(fs::hard_link(from, at).is_ok())
}

/// Writes a file in one step as seen by others, not synced. A write that nobody waits for any more may still be under way,
/// so each has a temporary file of its own.
pub(super) fn write(at: &Path, content: &[u8]) -> Result<(), DirError> {
    make_parent(at)?;
    let mut number = [0; 8];
    getrandom::fill(&mut number).map_err(std::io::Error::other).context("name a temporary file for", at)?;
    let temporary = at.with_file_name(format!("{:016x}.tmp", u64::from_ne_bytes(number)));
    fs::write(&temporary, content).context("write", &temporary)?;
    fs::rename(&temporary, at).context("rename to", at)
}

fn make_parent(at: &Path) -> Result<(), DirError> {
    let folder = at.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).context("create the folder", folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a filesystem that refuses a link does not stop a refresh.
    /// Method: folders cannot be linked anywhere.
    #[test]
    fn what_cannot_be_linked_is_left_to_be_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let (file, at) = (folder.path().join("file"), folder.path().join("new/vm/1/owner"));
        fs::write(&file, "content").unwrap();
        assert!(link(&file, &at).unwrap());
        assert!(!link(folder.path(), &at).unwrap());
        assert!(!at.exists(), "nothing in the way of what is fetched");
    }
}
