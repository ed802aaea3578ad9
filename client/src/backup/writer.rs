//! What every session that writes a snapshot is made of (spec `backup-protocol.md` §2–§4).

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob};
use coldkeep_datastore::index::IndexKind;
use coldkeep_datastore::manifest::FileInfo;
use coldkeep_datastore::{ArchiveKind, ArchiveName, BackupTime, Manifest, SnapshotName};
use http::Method;

use super::error::BackupError;
use super::sink::{Chunk, ChunkSink, Written};
use crate::api::Store;
use crate::encoding::Parameters;
use crate::error::RequestError;
use crate::http::{JSON, OCTETS, Session, Upgrade};
use crate::index::{INDEX_BYTES_MAX, IndexMismatch, StoredIndex};

/// A session with the server, the previous snapshot's manifest, and the files written so far.
#[derive(Debug)]
pub(super) struct WriterSession {
    session: Arc<Session>,
    pub(super) snapshot: SnapshotName,
    pub(super) previous_time: Option<BackupTime>,
    pub(super) previous: Option<Manifest>,
    files: Mutex<Files>,
}

/// Files of this snapshot.
#[derive(Debug, Default)]
struct Files {
    started: Vec<ArchiveName>,
    done: Vec<FileInfo>,
}

impl WriterSession {
    /// Starts the session and fetches the manifest of the previous snapshot, as far as the server gives it.
    pub(super) async fn open(store: &Store, snapshot: &SnapshotName) -> Result<Self, RequestError> {
        let parameters = store.snapshot(snapshot).with("store", store.name().to_string());
        let session = store.client().upgrade(Upgrade::Backup, &parameters).await?;
        let previous_time = match session.json(Method::GET, "/previous_backup_time", &Parameters::new()).await
        {
            // A server without this call is tolerated; everything is sent then.
            Err(RequestError::Refused { .. }) => None,
            answer => answer?,
        };
        let mut previous = None;
        if previous_time.is_some() {
            previous =
                match download_previous(&session, &ArchiveName::manifest(), BLOB_ENCODED_BYTES_MAX).await {
                    Ok(blob) => parse_previous(blob),
                    Err(error) => {
                        tracing::warn!(%error, "cannot fetch the previous manifest, everything is sent");
                        None
                    }
                };
        }
        Ok(Self {
            session: Arc::new(session),
            snapshot: snapshot.clone(),
            previous_time,
            previous,
            files: Mutex::default(),
        })
    }

    /// Notes that an archive is under way.
    pub(super) fn begin(
        &self,
        archive: &ArchiveName,
        kind: ArchiveKind,
        what: &'static str,
    ) -> Result<(), BackupError> {
        if archive.kind() != kind || archive.is_manifest() {
            return Err(BackupError::Kind { archive: archive.clone(), what });
        }
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.started.contains(archive) {
            return Err(BackupError::Twice { archive: archive.clone() });
        }
        files.started.push(archive.clone());
        Ok(())
    }

    /// Forgets an archive of which nothing was sent, and that the snapshot may do without.
    pub(super) fn leave_out(&self, archive: &ArchiveName) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.started.retain(|name| name != archive);
    }

    /// Notes that an archive is on the server.
    pub(super) fn finish_file(&self, file: FileInfo) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).done.push(file);
    }

    /// Returns what was written, if nothing that was begun is missing.
    ///
    /// Without this the snapshot would look like a whole one: the server knows only of archives that it was told of.
    pub(super) fn complete_files(&self) -> Result<Vec<FileInfo>, BackupError> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let is_missing = |name: &&ArchiveName| !files.done.iter().any(|file| file.filename == **name);
        match files.started.iter().find(is_missing) {
            Some(missing) => Err(BackupError::Incomplete { archive: missing.clone() }),
            None => Ok(files.done.clone()),
        }
    }

    /// Fetches the previous snapshot's index of an archive, which makes its chunks known to the server. Without it
    /// everything is sent, which is slower but right: so a failure is only a warning.
    pub(super) async fn previous_index(&self, archive: &ArchiveName) -> Option<StoredIndex> {
        let expected = self.previous.as_ref()?.file(archive)?.clone();
        let ArchiveKind::Index(kind) = archive.kind() else { return None };
        let bytes = match download_previous(&self.session, archive, INDEX_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%archive, %error, "cannot fetch the previous index, everything is sent");
                return None;
            }
        };
        let parse = move || -> Result<StoredIndex, IndexMismatch> {
            let index = StoredIndex::parse(kind, bytes)?;
            index.check(&expected)?;
            Ok(index)
        };
        match tokio::task::spawn_blocking(parse).await {
            Ok(Ok(index)) => Some(index),
            Ok(Err(error)) => {
                tracing::warn!(%archive, %error, "the previous index is not usable, everything is sent");
                None
            }
            Err(_) => None,
        }
    }

    /// Opens an index writer; a fixed index has its size from the start.
    pub(super) async fn create_index(
        &self,
        archive: &ArchiveName,
        kind: IndexKind,
        size: Option<u64>,
    ) -> Result<IndexWriter, RequestError> {
        let parameters = Parameters::new().with("archive-name", archive.as_str()).with_some("size", size);
        let paths = Paths::of(kind);
        let wid = self.session.json(Method::POST, paths.index, &parameters).await?;
        Ok(IndexWriter { session: Arc::clone(&self.session), paths, wid })
    }

    /// Sends an encoded blob.
    pub(super) async fn send_blob(&self, archive: &ArchiveName, blob: Bytes) -> Result<(), RequestError> {
        let parameters =
            Parameters::new().with("file-name", archive.as_str()).with("encoded-size", blob.len());
        self.session.upload(Method::POST, "/blob", &parameters, (OCTETS, blob)).await
    }

    /// Sends the encoded manifest and commits the snapshot.
    pub(super) async fn commit(&self, manifest: Bytes) -> Result<(), RequestError> {
        self.send_blob(&ArchiveName::manifest(), manifest).await?;
        self.session.json(Method::POST, "/finish", &Parameters::new()).await
    }
}

async fn download_previous(
    session: &Session,
    archive: &ArchiveName,
    limit: usize,
) -> Result<Bytes, RequestError> {
    let parameters = Parameters::new().with("archive-name", archive.as_str());
    session.download("/previous", &parameters, limit).await
}

fn parse_previous(blob: Bytes) -> Option<Manifest> {
    let parsed = Blob::parse(blob).map_err(Into::into).and_then(|blob| Manifest::from_blob(&blob));
    parsed
        .inspect_err(|error| tracing::warn!(%error, "the previous manifest is damaged, everything is sent"))
        .ok()
}

/// The calls that differ between the two kinds of index.
#[derive(Debug, Clone, Copy)]
struct Paths {
    index: &'static str,
    chunk: &'static str,
    close: &'static str,
}

impl Paths {
    const fn of(kind: IndexKind) -> Self {
        match kind {
            IndexKind::Fixed => Self { index: "/fixed_index", chunk: "/fixed_chunk", close: "/fixed_close" },
            IndexKind::Dynamic => {
                Self { index: "/dynamic_index", chunk: "/dynamic_chunk", close: "/dynamic_close" }
            }
        }
    }
}

/// An index writer of the server.
#[derive(Debug)]
pub(super) struct IndexWriter {
    session: Arc<Session>,
    paths: Paths,
    wid: u64,
}

impl IndexWriter {
    /// Completes the index; the server compares count, size and checksum with its own.
    pub(super) async fn close(&self, written: &Written) -> Result<(), RequestError> {
        let parameters = Parameters::new()
            .with("wid", self.wid)
            .with("chunk-count", written.chunk_count)
            .with("size", written.size)
            .with("csum", written.csum.to_string());
        self.session.json(Method::POST, self.paths.close, &parameters).await
    }
}

impl ChunkSink for IndexWriter {
    async fn send(&self, chunk: Chunk) -> Result<(), RequestError> {
        let parameters = Parameters::new()
            .with("wid", self.wid)
            .with("digest", chunk.digest.to_string())
            .with("size", chunk.plain_len)
            .with("encoded-size", chunk.blob.len());
        let _digest: serde::de::IgnoredAny =
            self.session.upload(Method::POST, self.paths.chunk, &parameters, (OCTETS, chunk.blob)).await?;
        Ok(())
    }

    async fn append(&self, entries: &[(Digest, u64)]) -> Result<(), RequestError> {
        let body = append_body(self.wid, entries);
        self.session.upload(Method::PUT, self.paths.index, &Parameters::new(), (JSON, body)).await
    }
}

/// Writes the body of an append (vector `append-request.json`).
fn append_body(wid: u64, entries: &[(Digest, u64)]) -> Bytes {
    let digests: Vec<Digest> = entries.iter().map(|(digest, _)| *digest).collect();
    let offsets: Vec<u64> = entries.iter().map(|(_, offset)| *offset).collect();
    serde_json::json!({ "wid": wid, "digest-list": digests, "offset-list": offsets }).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_of_an_append_is_that_of_the_sample() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors/json/append-request.json");
        let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let body = append_body(1, &[(Digest::of(b"abc"), 0), (Digest::of(b"hello"), 3)]);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap(), expected);
    }
}
