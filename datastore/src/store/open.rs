//! Creating and opening a datastore.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldkeep_chunk_store::dir::{DirError, FsChunkDir};
use coldkeep_chunk_store::{AnyStore, ChunkStore, StoreOptions};

use super::{Datastore, Tree, run_blocking};
use crate::file::{Found, list, look, make_folders};
use crate::lock::LockTable;
use crate::name::StoreName;
use crate::tree::{Layout, Metadata, remove_leftovers};

/// A datastore that cannot be created or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder is not that of a datastore.
    #[error("{} is no datastore: it has no folder .chunks", folder.display())]
    NotADatastore {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder for a new datastore is not empty.
    #[error("{} is not empty; a datastore is created in a new or empty folder", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// The filesystem does not keep file times, so that nothing could ever be collected safely (R12).
    #[error("the filesystem of {} does not keep file times as they are set; choose another one", folder.display())]
    TimesNotKept {
        /// The folder.
        folder: PathBuf,
    },
    /// The chunk store cannot be opened.
    #[error(transparent)]
    Chunks(#[from] coldkeep_chunk_store::OpenError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] DirError),
    /// The server is shutting down.
    #[error("could not open the datastore while shutting down")]
    ShuttingDown,
}

impl OpenError {
    /// Tells whether another process has the datastore open: waiting may help.
    pub fn is_owned(&self) -> bool {
        matches!(self, Self::Chunks(error) if error.is_owned())
    }
}

impl Datastore {
    /// Creates a datastore in `folder`, which is made or must be empty, and opens it.
    ///
    /// # Errors
    /// [`OpenError`]; `NotEmpty` if there is anything in the folder but the `lost+found` of a filesystem's root,
    /// `TimesNotKept` if no collection could ever run there.
    ///
    /// # Cancel safety
    /// Dropping the future may leave an empty datastore behind, which [`Self::open`] opens.
    pub async fn create(
        folder: &Path,
        name: StoreName,
        options: StoreOptions,
    ) -> Result<Arc<Self>, OpenError> {
        let target = folder.to_owned();
        let prepare = move || {
            let entries = list(&target)?.unwrap_or_default();
            if entries.iter().any(|(name, _)| name != "lost+found") {
                return Err(OpenError::NotEmpty { folder: target });
            }
            make_folders(&target)?;
            // Before anything is made that would open as a datastore.
            if !FsChunkDir::would_keep_times(&target)? {
                return Err(OpenError::TimesNotKept { folder: target });
            }
            Ok(())
        };
        run_blocking(prepare).await.unwrap_or(Err(OpenError::ShuttingDown))?;
        Self::open_prepared(folder, name, options).await
    }

    /// Opens the datastore in `folder`, also one that a stock server wrote and has closed.
    ///
    /// Removes what sessions that never ended left behind: folders called like a snapshot, without a manifest and not
    /// protected, in groups with a readable owner. Nothing else is changed. What cannot be removed stays and is told by
    /// [`Self::leftover_errors`].
    ///
    /// # Errors
    /// [`OpenError`]; see [`OpenError::is_owned`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the datastore closed.
    pub async fn open(folder: &Path, name: StoreName, options: StoreOptions) -> Result<Arc<Self>, OpenError> {
        let target = folder.to_owned();
        let check = move || match look(&Layout::new(target.clone()).chunks())? {
            Found::Folder => Ok(()),
            _ => Err(OpenError::NotADatastore { folder: target }),
        };
        run_blocking(check).await.unwrap_or(Err(OpenError::ShuttingDown))?;
        Self::open_prepared(folder, name, options).await
    }

    async fn open_prepared(
        folder: &Path,
        name: StoreName,
        options: StoreOptions,
    ) -> Result<Arc<Self>, OpenError> {
        let chunks = ChunkStore::open(folder, options).await?;
        let layout = Layout::new(folder.to_owned());
        let tree = Tree { layout, locks: Arc::new(LockTable::default()), metadata: Metadata::default() };
        let tree = Arc::new(tree);
        let clear = {
            let tree = Arc::clone(&tree);
            move || remove_leftovers(&tree.layout)
        };
        let leftover_errors = run_blocking(clear).await.ok_or(OpenError::ShuttingDown)?;
        Ok(Arc::new(Self { name, chunks: AnyStore::Folder(chunks), tree, leftover_errors }))
    }
}
