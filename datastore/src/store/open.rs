//! Creating and opening a datastore.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldkeep_chunk_store::backend::AnyBackend;
use coldkeep_chunk_store::bucket::{BucketOpenError, BucketOptions, BucketStore};
use coldkeep_chunk_store::dir::{DirError, FsChunkDir};
use coldkeep_chunk_store::{AnyStore, ChunkStore, OwnerLock, StoreOptions};

use super::usage::StoredBytes;
use super::{Datastore, Tree, run_blocking};
use crate::file::{Found, list, look, make_folders};
use crate::mirror::Parts;
use crate::name::StoreName;
use crate::refresh::{self, RefreshError, Settled};
use crate::tree::{KeptInfos, Layout, Turns};

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
    /// The folder is the local side of a datastore in a bucket: its chunk files may be empty.
    #[error("{} is the local side of a datastore in a bucket; it cannot be opened without the bucket", folder.display())]
    InABucket {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder holds chunks or snapshots and is not the local side of a datastore in a bucket; a rebuild would remove
    /// them.
    #[error(
        "{} holds chunks or snapshots that belong to no bucket; choose an empty folder, or empty it",
        folder.display()
    )]
    NotInABucket {
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
    /// The chunk store in the bucket cannot be opened.
    #[error(transparent)]
    Bucket(#[from] BucketOpenError),
    /// The snapshot tree could not be made as the bucket has it.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] DirError),
    /// The server is shutting down.
    #[error("could not open the datastore while shutting down")]
    ShuttingDown,
}

/// The bucket side of a datastore.
#[derive(Debug, Clone)]
pub struct BucketParts {
    /// The bucket, or the part of it that is the datastore's.
    pub backend: AnyBackend,
    /// How its chunk store is opened.
    pub options: BucketOptions,
}

impl OpenError {
    /// Tells whether another process has the datastore open: waiting may help.
    pub fn is_owned(&self) -> bool {
        match self {
            Self::Chunks(error) | Self::Bucket(BucketOpenError::Local(error)) => error.is_owned(),
            _ => false,
        }
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
        run_blocking(move || prepare_new(target)).await.unwrap_or(Err(OpenError::ShuttingDown))?;
        Self::open_prepared(folder, name, options).await
    }

    /// Opens the datastore in `folder`, also one that a stock server wrote and has closed.
    ///
    /// Removes what sessions and removals that never ended left behind: folders called like a snapshot, without a manifest
    /// and not protected, in groups with a readable owner, and hidden ones. Nothing else is changed. What cannot be removed
    /// stays and is told by [`Self::leftover_errors`].
    ///
    /// # Errors
    /// [`OpenError`]; see [`OpenError::is_owned`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the datastore closed.
    pub async fn open(folder: &Path, name: StoreName, options: StoreOptions) -> Result<Arc<Self>, OpenError> {
        let target = folder.to_owned();
        let check = move || {
            let layout = Layout::new(target.clone());
            if look(&layout.chunks())? != Found::Folder {
                return Err(OpenError::NotADatastore { folder: target });
            }
            if look(&layout.generation())? != Found::Nothing {
                return Err(OpenError::InABucket { folder: target });
            }
            Ok(())
        };
        run_blocking(check).await.unwrap_or(Err(OpenError::ShuttingDown))?;
        Self::open_prepared(folder, name, options).await
    }

    /// Creates the local side of a datastore in a bucket, in a folder that is made or must be empty, and opens it. What
    /// the bucket holds already is taken over, once its in-use object lets it (R11).
    ///
    /// # Errors
    /// As [`Self::create`] and [`Self::open_bucket`].
    ///
    /// # Cancel safety
    /// As [`Self::open_bucket`].
    pub async fn create_bucket(
        folder: &Path,
        name: StoreName,
        parts: BucketParts,
    ) -> Result<Arc<Self>, OpenError> {
        let target = folder.to_owned();
        run_blocking(move || prepare_new(target)).await.unwrap_or(Err(OpenError::ShuttingDown))?;
        Self::open_bucket(folder, name, parts).await
    }

    /// Opens a datastore in a bucket; `folder` is its local side, which may be empty or gone.
    ///
    /// If the local state is not that of the bucket's generation, or lost, it is rebuilt from the bucket first (R10);
    /// that takes a while, see [`BucketOptions::progress`]. Then the objects of snapshots without manifest are deleted, and
    /// those of groups without snapshots, as far as no request for them can still take effect.
    ///
    /// # Errors
    /// [`OpenError`]; see [`OpenError::is_owned`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the datastore closed; the next open goes on with a rebuild.
    pub async fn open_bucket(
        folder: &Path,
        name: StoreName,
        BucketParts { backend, options }: BucketParts,
    ) -> Result<Arc<Self>, OpenError> {
        let target = folder.to_owned();
        let take = move || {
            make_folders(&target)?;
            let dir = FsChunkDir::create(&target)?;
            let owner = OwnerLock::take(&target).map_err(coldkeep_chunk_store::OpenError::from)?;
            check_cache(target)?;
            Ok::<_, OpenError>((dir, owner))
        };
        let (dir, owner) = run_blocking(take).await.unwrap_or(Err(OpenError::ShuttingDown))?;
        let progress = options.progress.clone();
        let bucket = Arc::new(BucketStore::open(dir, backend, options, Some(owner)).await?);
        let tree = make_tree(folder).await?;
        let parts = Parts { tree: Arc::clone(&tree), bucket: Some(Arc::clone(&bucket)) };
        let Settled { report, leftover_errors } = refresh::settle(&parts, &bucket, progress).await?;
        let chunks = AnyStore::Bucket(bucket);
        Ok(Arc::new(Self {
            name,
            chunks,
            tree,
            leftover_errors,
            refresh_report: report,
            writing_results: Arc::default(),
        }))
    }

    async fn open_prepared(
        folder: &Path,
        name: StoreName,
        options: StoreOptions,
    ) -> Result<Arc<Self>, OpenError> {
        let chunks = AnyStore::Folder(ChunkStore::open(folder, options).await?);
        let tree = make_tree(folder).await?;
        // Of any age: no session can have made it, for there is none yet (R11).
        let parts = Parts { tree: Arc::clone(&tree), bucket: None };
        let leftover_errors = parts.clear_leftovers(None, &|| false).await.errors;
        Ok(Arc::new(Self {
            name,
            chunks,
            tree,
            leftover_errors,
            refresh_report: None,
            writing_results: Arc::default(),
        }))
    }
}

/// Refuses a folder that has what a rebuild would remove, unless a bucket is known to have it too.
fn check_cache(folder: PathBuf) -> Result<(), OpenError> {
    let layout = Layout::new(folder.clone());
    if look(&layout.generation())? != Found::Nothing {
        return Ok(());
    }
    let has_tree = || -> Result<bool, DirError> {
        for top in Layout::TOPS {
            if look(&folder.join(top))? != Found::Nothing {
                return Ok(true);
            }
        }
        Ok(list(&layout.chunks())?.is_some_and(|entries| !entries.is_empty()))
    };
    if has_tree()? { Err(OpenError::NotInABucket { folder }) } else { Ok(()) }
}

/// Checks and makes the folder of a new datastore.
fn prepare_new(folder: PathBuf) -> Result<(), OpenError> {
    let entries = list(&folder)?.unwrap_or_default();
    if entries.iter().any(|(name, _)| name != "lost+found") {
        return Err(OpenError::NotEmpty { folder });
    }
    make_folders(&folder)?;
    // Before anything is made that would open as a datastore.
    if !FsChunkDir::would_keep_times(&folder)? {
        return Err(OpenError::TimesNotKept { folder });
    }
    Ok(())
}

async fn make_tree(folder: &Path) -> Result<Arc<Tree>, OpenError> {
    let layout = Layout::new(folder.to_owned());
    let make = move || {
        let stored_bytes = StoredBytes::load(&layout)?;
        Ok(Arc::new(Tree {
            layout,
            locks: Arc::default(),
            turns: Turns::default(),
            kept_infos: KeptInfos::default(),
            stored_bytes,
        }))
    };
    run_blocking(make).await.unwrap_or(Err(OpenError::ShuttingDown))
}
