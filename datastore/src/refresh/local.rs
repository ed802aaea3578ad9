//! Which objects of a listing have a local file with their content: found out by a few threads, since each file is read.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use coldkeep_chunk_store::backend::ObjectInfo;
use coldkeep_chunk_store::bucket::BucketStore;
use tokio::task::JoinSet;

use super::compare::is_same;
use super::{RefreshError, kept};
use crate::file::remove_if_there;
use crate::store::run_blocking;

/// Files that are read at once. Each costs one piece of memory, and reading from a disk overlaps with computing.
const THREADS: usize = 4;

/// An object, and where its content may be.
#[derive(Debug, Clone)]
pub(crate) struct Sought {
    pub(crate) object: ObjectInfo,
    /// The file of the tree that mirrors it, if one does.
    pub(crate) in_tree: Option<PathBuf>,
    /// Where a copy of it is kept, if one is.
    pub(crate) copy: PathBuf,
}

impl Sought {
    /// Returns the file that has the content; `None`: none does for certain.
    fn find(&self, bucket: &BucketStore, is_abandoned: &dyn Fn() -> bool) -> Option<PathBuf> {
        let recorded = kept::recorded(&self.copy);
        let is_it = |path: &&PathBuf| match &recorded {
            Some(recorded) => kept::has_content(path, &self.object, recorded, is_abandoned),
            None => is_same(path, bucket.backend(), &self.object, is_abandoned),
        };
        if let Some(file) = self.in_tree.as_ref().filter(is_it) {
            // The record alone says as much. What cannot be removed only takes space.
            let _ = remove_if_there(&self.copy);
            return Some(file.clone());
        }
        Some(&self.copy).filter(is_it).cloned()
    }
}

/// Returns for each object the file that has its content; `None`: none does for certain.
///
/// Removes copies that are no longer needed, and nothing else; the threads end soon if the future is dropped.
pub(crate) async fn find_local(
    bucket: &Arc<BucketStore>,
    sought: Vec<Sought>,
) -> Result<Vec<Option<PathBuf>>, RefreshError> {
    let mut files = vec![None; sought.len()];
    let (sought, next, end) = (Arc::new(sought), Arc::new(AtomicUsize::new(0)), EndOfSearch::default());
    let mut threads = JoinSet::new();
    for _ in 0..THREADS.min(sought.len()) {
        let (bucket, sought, next) = (Arc::clone(bucket), Arc::clone(&sought), Arc::clone(&next));
        let has_ended = Arc::clone(&end.0);
        threads.spawn(run_blocking(move || {
            let is_abandoned = || has_ended.load(Ordering::Relaxed);
            let mut found = Vec::new();
            while let place = next.fetch_add(1, Ordering::Relaxed)
                && let Some(one) = sought.get(place)
                && !is_abandoned()
            {
                found.push((place, one.find(&bucket, &is_abandoned)));
            }
            found
        }));
    }
    while let Some(joined) = threads.join_next().await {
        let found = match joined {
            Ok(Some(found)) => found,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Ok(None) | Err(_) => return Err(RefreshError::ShuttingDown),
        };
        for (place, file) in found {
            files[place] = file;
        }
    }
    Ok(files)
}

/// Tells the threads of a search that nobody waits for them any more.
#[derive(Debug, Default)]
struct EndOfSearch(Arc<AtomicBool>);

impl Drop for EndOfSearch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
