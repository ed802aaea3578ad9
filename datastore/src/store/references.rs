//! What the collector reads: every index, every digest (I6).

use std::ops::ControlFlow;

use coldkeep_chunk_store::Digest;

use super::{Datastore, run_blocking};
use crate::file::{Found, look};
use crate::index::{IndexError, IndexReader};
use crate::tree::{self, IndexFile, IndexPlace, TreeError};

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
    /// A folder cannot be listed.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl Datastore {
    /// Lists every index file: those of all snapshots, finished or not, and any other outside hidden folders.
    ///
    /// # Errors
    /// [`ReferenceError::Tree`] for any folder that cannot be read and for symbolic links to folders.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn index_files(&self) -> Result<Vec<IndexFile>, ReferenceError> {
        Ok(self.blocking(|tree| tree::index_files(&tree.layout)).await?)
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
        let index = index.clone();
        let layout = self.tree().layout.clone();
        let read = move || {
            let failed = |source| ReferenceError::Index { path: index.path.clone(), source };
            let reader = match IndexReader::open(&index.path, index.kind) {
                Err(error) if error.is_not_found() => {
                    let snapshot_is_gone = match &index.place {
                        // Its folder may be that of a new session with the same time; what has no manifest was never
                        // committed, and loses it first when it is removed.
                        IndexPlace::Snapshot(ns, snapshot) => {
                            look(&layout.manifest(ns, snapshot)).map_err(TreeError::from)? == Found::Nothing
                        }
                        // It belonged to no snapshot, so nothing restores from it.
                        IndexPlace::Unexpected => true,
                    };
                    return if snapshot_is_gone || cfg!(coldkeep_off = "i6") {
                        Ok(IndexRead::Gone)
                    } else {
                        Err(ReferenceError::Vanished { path: index.path })
                    };
                }
                opened => opened.map_err(failed)?,
            };
            reader.for_each_block(&mut sink).map_err(failed)?;
            Ok(IndexRead::Read { references: reader.chunk_count(), data_bytes: reader.size() })
        };
        run_blocking(read).await.unwrap_or(Err(ReferenceError::Tree(TreeError::ShuttingDown)))
    }
}
