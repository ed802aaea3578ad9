//! What the collector reads: every index, every digest (I6).

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::bucket::BucketStore;

use super::{Datastore, run_blocking};
use crate::file::{Context as _, Found, look};
use crate::index::{IndexError, IndexReader};
use crate::mirror::{ContentKey, Place};
use crate::refresh::{RefreshError, Source, fetch_all, is_same};
use crate::tree::{self, IndexFile, IndexPlace, Layout, TreeError};

/// How the reading of an index ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexRead {
    /// All of it was read, or as much as the reader wanted.
    Read {
        /// Number of its entries.
        references: u64,
        /// Size of the archive that it describes.
        data_bytes: u64,
    },
    /// It is gone, and so is its snapshot, or the manifest that would make it one.
    Gone,
}

/// References that cannot be found out: the collection must stop (I6).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// An index cannot be read or is malformed.
    #[error(
        "index {} cannot be read, so nothing may be collected; repair the disk, or forget its snapshot",
        path.display()
    )]
    Index {
        /// The index.
        path: std::path::PathBuf,
        /// What is wrong with it.
        #[source]
        source: IndexError,
    },
    /// An index vanished while its snapshot is still there.
    #[error(
        "index {} vanished from a snapshot that is still there, so nothing may be collected; forget the snapshot",
        path.display()
    )]
    Vanished {
        /// The index.
        path: std::path::PathBuf,
    },
    /// An index cannot be fetched from the bucket.
    #[error("an index cannot be fetched from the bucket, so nothing may be collected")]
    Fetch(#[from] RefreshError),
    /// A folder or the bucket cannot be listed.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl Datastore {
    /// Lists every index file: those of all snapshots, finished or not, and any other outside hidden folders.
    ///
    /// In a bucket it is the bucket's own listing that counts (R10): an index whose local copy is not provably the same is
    /// fetched into a folder of its own, which the next call empties. One collection runs at a time.
    ///
    /// # Errors
    /// [`ReferenceError::Tree`] for any folder that cannot be read and for symbolic links to folders;
    /// [`ReferenceError::Fetch`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn index_files(&self) -> Result<Vec<IndexFile>, ReferenceError> {
        match self.chunks().as_bucket() {
            Some(bucket) => self.index_objects(bucket).await,
            None => Ok(self.blocking(|tree| tree::index_files(&tree.layout)).await?),
        }
    }

    /// Lists the indexes of the bucket, each with a file that has its content.
    async fn index_objects(&self, bucket: &Arc<BucketStore>) -> Result<Vec<IndexFile>, ReferenceError> {
        let objects = bucket.list_objects(Layout::CONTENT).await.map_err(TreeError::from)?;
        let (layout, looking) = (self.tree().layout.clone(), Arc::clone(bucket));
        let fetched = layout.state().join("mark");
        let target = fetched.clone();
        let sort = move |_: &super::Tree| {
            match std::fs::remove_dir_all(&target) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.context("remove", &target)?,
            }
            let (mut indexes, mut missing) = (Vec::new(), Vec::new());
            for (number, object) in objects.into_iter().enumerate() {
                let Some(kind) = tree::kind_of(Path::new(object.key.as_str())) else { continue };
                let (ours, place) = match ContentKey::parse(&object.key) {
                    Some(ContentKey { ns, place: Place::Snapshot(snapshot), file }) => {
                        let path = layout.snapshot(&ns, &snapshot).join(file);
                        (Some(path), IndexPlace::Snapshot(ns, snapshot))
                    }
                    // Whatever it is, it may be an index (I6).
                    _ => (None, IndexPlace::Unexpected),
                };
                let key = Some(object.key.clone());
                match ours {
                    Some(path) if is_same(&path, looking.backend(), &object)? => {
                        indexes.push(IndexFile { path, kind, place, key });
                    }
                    _ => {
                        let name = PathBuf::from(number.to_string());
                        indexes.push(IndexFile { path: target.join(&name), kind, place, key });
                        missing.push((name, object));
                    }
                }
            }
            Ok((indexes, missing))
        };
        let (indexes, missing) = self.blocking(sort).await?;
        let source = Source { bucket: Arc::clone(bucket), tree: fetched.clone(), target: fetched };
        fetch_all(source, missing, |_| ()).await?;
        Ok(indexes)
    }

    /// Tells whether an index whose file vanished is gone for good.
    async fn is_gone(&self, index: &IndexFile) -> Result<bool, ReferenceError> {
        if let (Some(bucket), Some(key)) = (self.chunks().as_bucket(), &index.key) {
            // Only a fresh listing says so (I6).
            let listed = bucket.list_objects(key.as_str()).await.map_err(TreeError::from)?;
            return Ok(!listed.iter().any(|object| object.key == *key));
        }
        let (layout, place) = (self.tree().layout.clone(), index.place.clone());
        let look = move |_: &super::Tree| match &place {
            // Its folder may be that of a new session with the same time; what has no manifest was never committed, and
            // loses it first when it is removed.
            IndexPlace::Snapshot(ns, snapshot) => Ok(look(&layout.manifest(ns, snapshot))? == Found::Nothing),
            // It belonged to no snapshot, so nothing restores from it.
            IndexPlace::Unexpected => Ok(true),
        };
        Ok(self.blocking(look).await?)
    }

    /// Reads an index sequentially and gives its digests to `sink`, some thousand at a time; `Break` ends the reading.
    ///
    /// `sink` runs on a blocking thread, with the digests as they come from the file.
    ///
    /// # Errors
    /// [`ReferenceError::Index`], [`ReferenceError::Vanished`]; digests may have been given already.
    ///
    /// # Cancel safety
    /// Read-only; the reading goes on until the sink breaks or the index ends.
    pub async fn read_index(
        &self,
        index: &IndexFile,
        mut sink: impl FnMut(&[Digest]) -> ControlFlow<()> + Send + 'static,
    ) -> Result<IndexRead, ReferenceError> {
        let (path, kind) = (index.path.clone(), index.kind);
        let read = move || {
            let reader = IndexReader::open(&path, kind)?;
            reader.for_each_block(&mut sink)?;
            Ok::<_, IndexError>((reader.chunk_count(), reader.size()))
        };
        match run_blocking(read).await.ok_or(TreeError::ShuttingDown)? {
            Ok((references, data_bytes)) => Ok(IndexRead::Read { references, data_bytes }),
            Err(error) if error.is_not_found() => {
                if cfg!(coldkeep_off = "i6") || self.is_gone(index).await? {
                    Ok(IndexRead::Gone)
                } else {
                    Err(ReferenceError::Vanished { path: index.path.clone() })
                }
            }
            Err(source) => Err(ReferenceError::Index { path: index.path.clone(), source }),
        }
    }
}
