//! A backup session with the server (spec `backup-protocol.md` §2–§4).

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob, Compression, ENCODE_BYTES_MAX};
use coldkeep_datastore::index::IndexKind;
use coldkeep_datastore::manifest::{CryptMode, FileInfo};
use coldkeep_datastore::{ArchiveKind, ArchiveName, BackupTime, Manifest, SnapshotName};
use http::Method;

use super::chunker::Chunker;
use super::error::BackupError;
use super::pipeline::{Chunk, ChunkSink, Pipeline, Shared, Written};
use super::source::{ImageSource, Pieces};
use crate::api::Store;
use crate::encoding::Parameters;
use crate::error::RequestError;
use crate::http::{JSON, OCTETS, Session, Upgrade};
use crate::index::{INDEX_BYTES_MAX, IndexMismatch, StoredIndex};
use crate::limits::TransferLimits;
use crate::progress::Progress;

/// A running backup: archives are uploaded one by one or at the same time, then the session is finished.
///
/// Dropping it without [`finish`](Self::finish) aborts: the server removes the unfinished snapshot.
#[derive(Debug)]
pub struct BackupSession {
    session: Arc<Session>,
    snapshot: SnapshotName,
    previous_time: Option<BackupTime>,
    previous: Option<Manifest>,
    shared: Arc<Shared>,
    limits: TransferLimits,
    files: Mutex<Files>,
}

/// Archives of this backup.
#[derive(Debug, Default)]
struct Files {
    started: Vec<ArchiveName>,
    done: Vec<FileInfo>,
}

/// What became of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its name on the server.
    pub archive: ArchiveName,
    /// Plain bytes of an image or stream, encoded bytes of a blob.
    pub size: u64,
    /// Index checksum, or SHA-256 of the encoded blob.
    pub csum: Digest,
    /// Chunks referenced; 0 for a blob.
    pub chunk_count: u64,
    /// Whether the previous snapshot's index of this archive could be used.
    pub is_incremental: bool,
}

impl Store {
    /// Starts a backup of `snapshot`, whose time must be later than the newest snapshot of its group.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the server's reason: another backup of the group runs, the time is taken, the
    /// group belongs to somebody else, the datastore does not exist (400, 403, 404).
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection; the server removes what it began.
    pub async fn begin_backup(
        &self,
        snapshot: &SnapshotName,
        limits: TransferLimits,
    ) -> Result<BackupSession, RequestError> {
        let parameters = self.snapshot(snapshot).with("store", self.name().to_string());
        let session = self.client().upgrade(Upgrade::Backup, &parameters).await?;
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
                    Ok(blob) => parse_manifest(blob),
                    Err(error) => {
                        tracing::warn!(%error, "cannot fetch the previous manifest, everything is sent");
                        None
                    }
                };
        }
        Ok(BackupSession {
            session: Arc::new(session),
            snapshot: snapshot.clone(),
            previous_time,
            previous,
            shared: Arc::default(),
            limits,
            files: Mutex::default(),
        })
    }
}

impl BackupSession {
    /// Returns the snapshot that is being made.
    pub const fn snapshot(&self) -> &SnapshotName {
        &self.snapshot
    }

    /// Returns the time of the previous finished snapshot of the group.
    pub const fn previous_backup_time(&self) -> Option<BackupTime> {
        self.previous_time
    }

    /// Returns the manifest of the previous finished snapshot, if the server gave it.
    pub const fn previous_manifest(&self) -> Option<&Manifest> {
        self.previous.as_ref()
    }

    /// Returns the counters of this session, for another thread to read.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.shared.progress)
    }

    /// Uploads an image as a fixed index of 4 MiB chunks (`NAME.img.fidx`).
    ///
    /// # Errors
    /// See [`BackupError`]; the session cannot be finished afterwards.
    ///
    /// # Cancel safety
    /// Dropping the future stops the upload; the session cannot be finished then.
    pub async fn upload_image(
        &self,
        archive: &ArchiveName,
        source: ImageSource,
    ) -> Result<Uploaded, BackupError> {
        self.begin(archive, ArchiveKind::Index(IndexKind::Fixed), "an image")?;
        let size = source.size();
        if size == 0 {
            return Err(BackupError::Empty { archive: archive.clone() });
        }
        let parameters = Parameters::new().with("archive-name", archive.as_str()).with("size", size);
        self.upload_index(archive, IndexKind::Fixed, parameters, source).await
    }

    /// Uploads a stream as a dynamic index of content-defined chunks, 4 MiB on average (`NAME.bin.didx`).
    ///
    /// The reader runs on a thread of its own, which may outlive a failed upload until its read returns. An empty stream
    /// gives an empty index, which stock servers refuse (spec `backup-protocol.md` §3.1).
    ///
    /// # Errors
    /// See [`BackupError`]; the session cannot be finished afterwards.
    ///
    /// # Cancel safety
    /// Dropping the future stops the upload; the session cannot be finished then.
    pub async fn upload_stream(
        &self,
        archive: &ArchiveName,
        reader: impl Read + Send + 'static,
    ) -> Result<Uploaded, BackupError> {
        self.begin(archive, ArchiveKind::Index(IndexKind::Dynamic), "a stream")?;
        let parameters = Parameters::new().with("archive-name", archive.as_str());
        self.upload_index(archive, IndexKind::Dynamic, parameters, Chunker::new(reader)).await
    }

    /// Uploads data as one blob (`NAME.conf.blob`), compressed if that helps; at most 16 MiB encoded.
    ///
    /// # Errors
    /// See [`BackupError`]; after [`BackupError::BlobTooLarge`] the session can go on without this archive.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the server has the blob; the manifest will not name it.
    pub async fn upload_blob(&self, archive: &ArchiveName, data: Bytes) -> Result<Uploaded, BackupError> {
        self.begin(archive, ArchiveKind::Blob, "a blob")?;
        let plain_len = data.len();
        let too_large = |bytes| BackupError::BlobTooLarge {
            archive: archive.clone(),
            bytes,
            max: BLOB_ENCODED_BYTES_MAX,
        };
        if plain_len > ENCODE_BYTES_MAX {
            self.leave_out(archive);
            return Err(too_large(plain_len));
        }
        let encoded = tokio::task::spawn_blocking(move || Blob::encode(&data, Compression::Zstd)).await;
        let blob = encoded
            .map_err(BackupError::Worker)?
            .map_err(|source| BackupError::Encode { archive: archive.clone(), source })?
            .into_bytes();
        if blob.len() > BLOB_ENCODED_BYTES_MAX {
            self.leave_out(archive);
            return Err(too_large(blob.len()));
        }
        let (size, csum) = (blob.len() as u64, Digest::of(&blob));
        self.send_blob(archive, blob).await?;
        self.shared.progress.add_read(plain_len as u64);
        self.shared.progress.add_transferred_blob(plain_len as u64, size);
        self.finish_file(archive, size, csum);
        Ok(Uploaded { archive: archive.clone(), size, csum, chunk_count: 0, is_incremental: false })
    }

    /// Writes the manifest, commits the snapshot and closes the connection; returns the manifest as sent.
    ///
    /// # Errors
    /// [`BackupError::Incomplete`]: the upload of an archive failed or was dropped. [`BackupError::Request`]: the server
    /// refused. No snapshot exists then; only a connection that broke while the answer was awaited leaves it open
    /// whether it does.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the snapshot was committed.
    pub async fn finish(self) -> Result<Manifest, BackupError> {
        let mut manifest = Manifest::new(&self.snapshot);
        let files = self.files.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Without this the snapshot would look like a whole one: the server knows only of archives that it was told of.
        if let Some(missing) =
            files.started.iter().find(|&name| !files.done.iter().any(|file| file.filename == *name))
        {
            return Err(BackupError::Incomplete { archive: missing.clone() });
        }
        for file in files.done {
            manifest.push(file);
        }
        let blob = manifest.to_blob()?.into_bytes();
        send_blob(&self.session, &ArchiveName::manifest(), blob).await?;
        let () = self.session.json(Method::POST, "/finish", &Parameters::new()).await?;
        Ok(manifest)
    }

    /// Gives the backup up: the server removes the unfinished snapshot. The same as dropping the session.
    pub fn abort(self) {}

    /// Notes that an archive is under way.
    fn begin(&self, archive: &ArchiveName, kind: ArchiveKind, what: &'static str) -> Result<(), BackupError> {
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

    /// Forgets an archive of which nothing was sent, and that the backup may do without.
    fn leave_out(&self, archive: &ArchiveName) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.started.retain(|name| name != archive);
    }

    fn finish_file(&self, archive: &ArchiveName, size: u64, csum: Digest) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.done.push(FileInfo::new(archive.clone(), CryptMode::None, size, csum));
    }

    async fn upload_index(
        &self,
        archive: &ArchiveName,
        kind: IndexKind,
        parameters: Parameters,
        source: impl Pieces,
    ) -> Result<Uploaded, BackupError> {
        let is_incremental = self.load_previous(archive, kind).await;
        let paths = Paths::of(kind);
        let wid: u64 = self.session.json(Method::POST, paths.index, &parameters).await?;
        let writer = IndexWriter { session: Arc::clone(&self.session), paths, wid };
        let pipeline = Pipeline {
            archive: archive.clone(),
            kind,
            sink: Arc::new(writer),
            shared: Arc::clone(&self.shared),
            limits: self.limits,
        };
        let Written { size, chunk_count, csum } = pipeline.run(source).await?;
        let parameters = Parameters::new()
            .with("wid", wid)
            .with("chunk-count", chunk_count)
            .with("size", size)
            .with("csum", csum.to_string());
        let () = self.session.json(Method::POST, paths.close, &parameters).await?;
        self.finish_file(archive, size, csum);
        Ok(Uploaded { archive: archive.clone(), size, csum, chunk_count, is_incremental })
    }

    /// Makes the chunks of the previous snapshot's index known, to the server and to us. Without it everything is
    /// sent, which is slower but right: so a failure is only a warning.
    async fn load_previous(&self, archive: &ArchiveName, kind: IndexKind) -> bool {
        let Some(entry) = self.previous.as_ref().and_then(|manifest| manifest.file(archive)) else {
            return false;
        };
        if entry.crypt_mode != CryptMode::None {
            return false;
        }
        let bytes = match download_previous(&self.session, archive, INDEX_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%archive, %error, "cannot fetch the previous index, everything is sent");
                return false;
            }
        };
        let expected = entry.clone();
        let shared = Arc::clone(&self.shared);
        let load = move || -> Result<(), IndexMismatch> {
            let index = StoredIndex::parse(kind, bytes)?;
            index.check(&expected)?;
            shared.known.extend(index.spans().map(|span| span.digest));
            Ok(())
        };
        match tokio::task::spawn_blocking(load).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%archive, %error, "the previous index is not usable, everything is sent");
                false
            }
            Err(_) => false,
        }
    }

    async fn send_blob(&self, archive: &ArchiveName, blob: Bytes) -> Result<(), RequestError> {
        send_blob(&self.session, archive, blob).await
    }
}

async fn send_blob(session: &Session, archive: &ArchiveName, blob: Bytes) -> Result<(), RequestError> {
    let parameters = Parameters::new().with("file-name", archive.as_str()).with("encoded-size", blob.len());
    session.upload(Method::POST, "/blob", &parameters, (OCTETS, blob)).await
}

async fn download_previous(
    session: &Session,
    archive: &ArchiveName,
    limit: usize,
) -> Result<Bytes, RequestError> {
    let parameters = Parameters::new().with("archive-name", archive.as_str());
    session.download("/previous", &parameters, limit).await
}

fn parse_manifest(blob: Bytes) -> Option<Manifest> {
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
struct IndexWriter {
    session: Arc<Session>,
    paths: Paths,
    wid: u64,
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
