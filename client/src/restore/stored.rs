//! A snapshot as it is stored, over a reader session (spec `backup-protocol.md` §5).

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob};
use coldkeep_datastore::manifest::FileInfo;
use coldkeep_datastore::{ArchiveKind, ArchiveName, Manifest, SnapshotName};
use http::StatusCode;

use super::error::RestoreError;
use super::fetch::ChunkSource;
use crate::api::Store;
use crate::encoding::Parameters;
use crate::error::RequestError;
use crate::http::{Session, Upgrade};
use crate::index::{INDEX_BYTES_MAX, IndexMismatch, StoredIndex};

/// A snapshot open for reading as it is stored: encoded, and encrypted if it was made with a key.
///
/// No key is needed. Indexes and blobs are checked against the manifest; chunks are not checked, since only their reader
/// knows what index they belong to. All calls may run at the same time, and any number of them. Dropping it closes the
/// connection.
#[derive(Debug)]
pub struct StoredSnapshot {
    session: Session,
    snapshot: SnapshotName,
    encoded_manifest: Bytes,
    manifest: Manifest,
}

impl Store {
    /// Opens a snapshot to read it as it is stored, and fetches its manifest; the snapshot cannot be removed while it is
    /// open.
    ///
    /// # Errors
    /// - [`RestoreError::Vanished`]: there is no such snapshot, or it is not finished. Servers refuse the upgrade with 400
    ///   for this as for missing rights (spec `backup-protocol.md` §5), so one more call asks for the group's snapshots.
    /// - [`RestoreError::Request`]: no right to read it, or the server cannot be asked.
    /// - [`RestoreError::Manifest`] and [`RestoreError::Snapshot`]: the manifest is damaged or misplaced.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn open_stored(&self, snapshot: &SnapshotName) -> Result<StoredSnapshot, RestoreError> {
        let refused = match StoredSnapshot::open(self, snapshot).await {
            Err(RestoreError::Request(refused)) => refused,
            result => return result,
        };
        let is_vanished = match refused.status() {
            Some(StatusCode::NOT_FOUND) => true,
            Some(StatusCode::BAD_REQUEST) => !self.lists(snapshot).await,
            _ => false,
        };
        if is_vanished {
            return Err(RestoreError::Vanished { snapshot: snapshot.clone(), source: Box::new(refused) });
        }
        Err(refused.into())
    }

    /// Tells whether the snapshot is among the finished ones of its group; yes if the server does not say.
    async fn lists(&self, snapshot: &SnapshotName) -> bool {
        let group = &snapshot.group;
        match self.snapshots(Some(group.ty), Some(&group.id)).await {
            Ok(list) => list.iter().any(|item| item.is_finished() && item.name() == *snapshot),
            Err(error) => {
                tracing::debug!(%error, %snapshot, "cannot ask whether the snapshot is still there");
                true
            }
        }
    }
}

impl StoredSnapshot {
    /// Starts the session and fetches the manifest.
    pub(super) async fn open(store: &Store, snapshot: &SnapshotName) -> Result<Self, RestoreError> {
        let parameters = store.snapshot(snapshot).with("store", store.name().to_string());
        let session = store.client().upgrade(Upgrade::Reader, &parameters).await?;
        let bytes = download(&session, &ArchiveName::manifest(), BLOB_ENCODED_BYTES_MAX).await?;
        let manifest = Blob::parse(bytes.clone()).map_err(Into::into);
        let manifest = manifest
            .and_then(|blob| Manifest::from_blob(&blob))
            .map_err(|source| RestoreError::Manifest { snapshot: snapshot.clone(), source })?;
        let got = manifest.snapshot();
        if got != *snapshot {
            return Err(RestoreError::Snapshot { expected: snapshot.clone(), got });
        }
        Ok(Self { session, snapshot: snapshot.clone(), encoded_manifest: bytes, manifest })
    }

    /// Returns the snapshot's name.
    pub const fn snapshot(&self) -> &SnapshotName {
        &self.snapshot
    }

    /// Returns the snapshot's manifest.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the manifest as it is stored.
    pub fn encoded_manifest(&self) -> Bytes {
        self.encoded_manifest.clone()
    }

    /// Fetches an index of at most `bytes_max` bytes, which also allows this session to fetch its chunks; kind, size and checksum
    /// are those in the manifest. No index is longer than 512 MiB.
    ///
    /// # Errors
    /// [`RestoreError::Index`]: the server sent something else. [`RestoreError::NoArchive`]: the manifest has no such
    /// file. [`RestoreError::Kind`]: this is no index. [`RestoreError::Request`]: it cannot be fetched; 404 means
    /// that the snapshot is damaged, not that it vanished.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn index(&self, archive: &ArchiveName, bytes_max: usize) -> Result<StoredIndex, RestoreError> {
        let ArchiveKind::Index(kind) = archive.kind() else {
            return Err(RestoreError::Kind { archive: archive.clone(), what: "an index" });
        };
        let entry = self.entry(archive)?.clone();
        let bytes = self.download(archive, bytes_max.min(INDEX_BYTES_MAX)).await?;
        let parse = move || -> Result<StoredIndex, IndexMismatch> {
            let index = StoredIndex::parse(kind, bytes)?;
            index.check(&entry)?;
            Ok(index)
        };
        let parsed = tokio::task::spawn_blocking(parse).await.map_err(RestoreError::Worker)?;
        parsed.map_err(|source| RestoreError::Index { archive: archive.clone(), source })
    }

    /// Fetches a blob as it is stored; its length and SHA-256 are those in the manifest. It may be encrypted.
    ///
    /// # Errors
    /// [`RestoreError::BlobMismatch`]: the server sent something else. [`RestoreError::NoArchive`],
    /// [`RestoreError::Kind`] and [`RestoreError::Request`] as for [`index`](Self::index).
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn blob(&self, archive: &ArchiveName) -> Result<Bytes, RestoreError> {
        if archive.kind() != ArchiveKind::Blob {
            return Err(RestoreError::Kind { archive: archive.clone(), what: "a blob" });
        }
        let entry = self.entry(archive)?.clone();
        // One byte more, so that one which is too long is told from one that cannot be fetched.
        let bytes_max = usize::try_from(entry.size).unwrap_or(usize::MAX).saturating_add(1);
        let bytes = self.download(archive, bytes_max.min(BLOB_ENCODED_BYTES_MAX)).await?;
        let check = move || check_blob(&entry, bytes);
        tokio::task::spawn_blocking(check).await.map_err(RestoreError::Worker)?
    }

    /// Fetches the client's log as it is stored; `None` if there is none. No manifest lists it, so it is not checked.
    ///
    /// # Errors
    /// [`RestoreError::Request`]: it cannot be fetched, for another reason than that it is missing.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn client_log(&self) -> Result<Option<Bytes>, RestoreError> {
        match self.download(&ArchiveName::client_log(), BLOB_ENCODED_BYTES_MAX).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Fetches a chunk as it is stored, at most `encoded_max` bytes of it; an index fetched before must name it. Only the
    /// length is checked.
    ///
    /// # Errors
    /// [`RequestError::TooLong`]: it is longer. [`RequestError::Refused`]: the server does not have it (400), or no index
    /// fetched in this session names it (401).
    ///
    /// # Cancel safety
    /// Read-only: dropping the future ends the transfer.
    pub async fn chunk(&self, digest: &Digest, encoded_max: usize) -> Result<Bytes, RequestError> {
        let parameters = Parameters::new().with("digest", digest.to_string());
        self.session.download("/chunk", &parameters, encoded_max.min(BLOB_ENCODED_BYTES_MAX)).await
    }

    /// Fetches a file, unchecked.
    pub(super) async fn download(&self, archive: &ArchiveName, limit: usize) -> Result<Bytes, RequestError> {
        download(&self.session, archive, limit).await
    }

    /// Returns an archive's entry in the manifest.
    pub(super) fn entry(&self, archive: &ArchiveName) -> Result<&FileInfo, RestoreError> {
        let missing =
            || RestoreError::NoArchive { snapshot: self.snapshot.clone(), archive: archive.clone() };
        self.manifest.file(archive).ok_or_else(missing)
    }
}

impl ChunkSource for StoredSnapshot {
    async fn fetch(&self, digest: Digest) -> Result<Bytes, RequestError> {
        self.chunk(&digest, BLOB_ENCODED_BYTES_MAX).await
    }
}

/// Compares a blob with its entry in the manifest and returns it.
fn check_blob(entry: &FileInfo, bytes: Bytes) -> Result<Bytes, RestoreError> {
    let (got_bytes, got) = (bytes.len() as u64, Digest::of(&bytes));
    if (got_bytes, got) != (entry.size, entry.csum) {
        let (archive, expected_bytes, expected) = (entry.filename.clone(), entry.size, entry.csum);
        return Err(RestoreError::BlobMismatch { archive, expected_bytes, expected, got_bytes, got });
    }
    Ok(bytes)
}

async fn download(session: &Session, archive: &ArchiveName, limit: usize) -> Result<Bytes, RequestError> {
    session.download("/download", &Parameters::new().with("file-name", archive.as_str()), limit).await
}

#[cfg(test)]
mod tests {
    use coldkeep_datastore::manifest::CryptMode;

    use super::*;

    #[test]
    fn a_blob_must_be_the_one_in_the_manifest() {
        let bytes = Bytes::from_static(b"any bytes, encrypted or not");
        let name: ArchiveName = "a.conf.blob".parse().unwrap();
        let entry = |size, csum| FileInfo::new(name.clone(), CryptMode::Encrypt, size, csum);
        let good = entry(bytes.len() as u64, Digest::of(&bytes));
        assert_eq!(check_blob(&good, bytes.clone()).unwrap(), bytes);
        for bad in [entry(good.size + 1, good.csum), entry(good.size, Digest::of(b"x"))] {
            let result = check_blob(&bad, bytes.clone());
            assert!(matches!(result, Err(RestoreError::BlobMismatch { .. })));
        }
    }

    #[test]
    fn snapshots_are_shared_between_threads() {
        fn check<T: Send + Sync>() {}
        check::<StoredSnapshot>();
        check::<StoredIndex>();
    }
}
