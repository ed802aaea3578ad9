//! One restore: the files of a snapshot, and the chunks that its indexes name.

use std::sync::{Arc, Mutex, PoisonError};

use coldkeep_chunk_store::blob::Blob;
use coldkeep_chunk_store::{Digest, DigestSet, LoadError};

use crate::file::is_missing;
use crate::index::{IndexError, IndexReader};
use crate::lock::LockGuard;
use crate::name::{ArchiveKind, ArchiveName, Namespace, SnapshotName};
use crate::store::{Datastore, run_blocking};
use crate::stored_file::StoredFile;
use crate::tree::{TreeError, check_snapshot};

/// An open snapshot; it cannot be removed while this exists.
#[derive(Debug)]
pub struct SnapshotReader {
    store: Arc<Datastore>,
    ns: Namespace,
    snapshot: SnapshotName,
    /// Chunks of the indexes downloaded so far. The set is keyed with a secret, so nobody can aim at a false match.
    allowed: Arc<Mutex<DigestSet>>,
    _lock: LockGuard,
}

/// A file or chunk that a reader session does not get.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No index that was downloaded in this session names the chunk.
    #[error("chunk {digest} is in no index that was downloaded in this session")]
    NotAllowed {
        /// The chunk.
        digest: Digest,
    },
    /// The index is damaged.
    #[error("index {name} is damaged")]
    Index {
        /// The index.
        name: ArchiveName,
        /// What is wrong with it.
        #[source]
        source: IndexError,
    },
    /// The chunk is missing, damaged or cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is no such file, or it cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl ReadError {
    /// Tells whether the file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Tree(error) if error.is_not_found())
    }

    /// Tells whether the chunk is outside what this session may read.
    pub fn is_not_allowed(&self) -> bool {
        matches!(self, Self::NotAllowed { .. })
    }
}

impl Datastore {
    /// Opens a snapshot for reading; any number of readers may.
    ///
    /// # Errors
    /// [`TreeError::NoSnapshot`], [`TreeError::SnapshotInUse`] while it is made or removed.
    ///
    /// # Cancel safety
    /// Dropping the future opens nothing.
    pub async fn open_snapshot(
        self: &Arc<Self>,
        ns: &Namespace,
        snapshot: &SnapshotName,
    ) -> Result<SnapshotReader, TreeError> {
        let lock = self.share_snapshot(ns, snapshot).await?;
        let (store, ns, snapshot) = (Arc::clone(self), ns.clone(), snapshot.clone());
        let open = move || {
            check_snapshot(&store.tree().layout, &ns, &snapshot)?;
            let mut key = [0; 8];
            // Without randomness the set works all the same; only its key is then known.
            let _ = getrandom::fill(&mut key);
            let allowed = Arc::new(Mutex::new(DigestSet::with_key(u64::from_le_bytes(key))));
            Ok(SnapshotReader { store, ns, snapshot, allowed, _lock: lock })
        };
        run_blocking(open).await.unwrap_or(Err(TreeError::ShuttingDown))
    }
}

impl SnapshotReader {
    /// Returns the snapshot.
    pub const fn snapshot(&self) -> &SnapshotName {
        &self.snapshot
    }

    /// Opens a file, to be sent as it is stored. The chunks of an index may be read from then on.
    ///
    /// # Errors
    /// [`ReadError::Tree`] ([`TreeError::NoFile`]), [`ReadError::Index`].
    ///
    /// # Cancel safety
    /// Chunks may or may not be allowed if the future is dropped.
    pub async fn download(&self, name: &ArchiveName) -> Result<StoredFile, ReadError> {
        let path = self.store.tree().layout.file(&self.ns, &self.snapshot, name);
        let (name, snapshot, allowed) = (name.clone(), self.snapshot.clone(), Arc::clone(&self.allowed));
        let open = move || {
            let file = StoredFile::open(&path).map_err(|error| {
                if is_missing(&error) {
                    TreeError::NoFile { snapshot: snapshot.clone(), file: name.clone() }
                } else {
                    error.into()
                }
            })?;
            if let ArchiveKind::Index(kind) = name.kind() {
                let damaged = |source| ReadError::Index { name: name.clone(), source };
                let index = IndexReader::open(&path, kind).map_err(damaged)?;
                let mut allow = |digests: &[Digest]| {
                    allowed.lock().unwrap_or_else(PoisonError::into_inner).insert_all(digests);
                    std::ops::ControlFlow::Continue(())
                };
                index.for_each_block(&mut allow).map_err(damaged)?;
            }
            Ok(file)
        };
        run_blocking(open).await.unwrap_or(Err(ReadError::Tree(TreeError::ShuttingDown)))
    }

    /// Opens an index to read its entries, which block.
    ///
    /// # Errors
    /// [`ReadError::Index`] if it is missing or damaged, [`ReadError::Tree`] if the name is not that of an index.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn index(&self, name: &ArchiveName) -> Result<IndexReader, ReadError> {
        let ArchiveKind::Index(kind) = name.kind() else {
            let (snapshot, file) = (self.snapshot.clone(), name.clone());
            return Err(TreeError::NoFile { snapshot, file }.into());
        };
        let path = self.store.tree().layout.file(&self.ns, &self.snapshot, name);
        let name = name.clone();
        let open = move || IndexReader::open(&path, kind).map_err(|source| ReadError::Index { name, source });
        run_blocking(open).await.unwrap_or(Err(ReadError::Tree(TreeError::ShuttingDown)))
    }

    /// Reads a chunk that a downloaded index names; its CRC and, where that is possible without a key, its digest are checked.
    ///
    /// # Errors
    /// [`ReadError::NotAllowed`], [`ReadError::Load`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn chunk(&self, digest: &Digest) -> Result<Blob, ReadError> {
        self.check_allowed(digest)?;
        Ok(self.store.chunks().load(digest).await?)
    }

    /// Reads such a chunk for a client, which checks the digest itself as every restore does (spec `backup-protocol.md` §5): see
    /// [`AnyStore::load_encoded`](coldkeep_chunk_store::AnyStore::load_encoded).
    ///
    /// # Errors
    /// As for [`Self::chunk`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn encoded_chunk(&self, digest: &Digest) -> Result<Blob, ReadError> {
        self.check_allowed(digest)?;
        Ok(self.store.chunks().load_encoded(digest).await?)
    }

    fn check_allowed(&self, digest: &Digest) -> Result<(), ReadError> {
        let is_allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner).contains(digest);
        if is_allowed { Ok(()) } else { Err(ReadError::NotAllowed { digest: *digest }) }
    }
}
