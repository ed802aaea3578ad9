//! One snapshot on its way to the target: files as they are stored here, chunks that the target's last one lacks.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use coldkeep_chunk_store::blob::Blob;
use coldkeep_client::{BoxError, LoadChunk, PushSession, Store, TransferLimits};
use coldkeep_datastore::manifest::{FileInfo, ManifestError};
use coldkeep_datastore::{
    ArchiveKind, ArchiveName, ChunkSpan, Datastore, Manifest, Namespace, SnapshotName, SnapshotReader,
};

use crate::sync::SyncOptions;
use crate::sync::error::SyncError;
use crate::sync::rate::RateLimit;
use crate::sync::report::{Figures, add};
use crate::sync::select::Traits;

/// What the groups of a push share.
pub(super) struct Shared {
    pub(super) figures: Arc<Figures>,
    pub(super) rate: RateLimit,
    pub(super) limits: TransferLimits,
}

/// Chunks of a snapshot of this server.
struct Chunks {
    reader: SnapshotReader,
    shared: Arc<Shared>,
}

impl LoadChunk for Chunks {
    async fn load(&self, span: ChunkSpan) -> Result<Bytes, BoxError> {
        let encoded = self.reader.chunk(&span.digest).await?.into_bytes();
        self.shared.rate.pass(encoded.len()).await;
        let figures = &self.shared.figures;
        add(&figures.chunks_transferred, 1);
        add(&figures.bytes_transferred, encoded.len() as u64);
        add(&figures.requests, 1);
        Ok(encoded)
    }
}

/// What became of a snapshot.
pub(super) enum Pushed {
    Whole,
    /// It was removed here after it was listed.
    Vanished,
    /// It is no longer what the options ask for.
    Excluded,
}

/// Pushes a snapshot.
///
/// # Cancel safety
/// Dropping the future lets the target give up what it has of the snapshot.
pub(super) async fn push(
    store: &Arc<Datastore>,
    (ns, snapshot): (&Namespace, &SnapshotName),
    target: &Store,
    (shared, options): (&Arc<Shared>, &SyncOptions),
) -> Result<Pushed, SyncError> {
    let reader = match store.open_snapshot(ns, snapshot).await {
        Err(error) if error.is_not_found() => return Ok(Pushed::Vanished),
        reader => reader?,
    };
    let encoded = read(&reader, &ArchiveName::manifest()).await?;
    let mut manifest = Manifest::from_blob(&Blob::parse(encoded).map_err(ManifestError::from)?)?;
    if !Traits::from(&manifest).are_as_asked(options) {
        return Ok(Pushed::Excluded);
    }
    let log = match read(&reader, &ArchiveName::client_log()).await {
        Err(SyncError::Read(error)) if error.is_not_found() => None,
        log => Some(log?),
    };
    let session = target.begin_push(snapshot, shared.limits).await.map_err(SyncError::BeginThere)?;
    // The upgrade, its time, its manifest; the manifest sent and the end.
    add(&shared.figures.requests, 5);
    let chunks = Arc::new(Chunks { reader, shared: Arc::clone(shared) });
    for entry in manifest.files() {
        let name = &entry.filename;
        match name.kind() {
            ArchiveKind::Index(_) => push_index(&session, &chunks, entry).await?,
            ArchiveKind::Blob => push_blob(&session, &chunks, name).await?,
        }
    }
    if let Some(log) = log {
        add(&shared.figures.requests, 1);
        session.upload_encoded_blob(&ArchiveName::client_log(), log).await?;
    }
    // What a verification found here says nothing about the chunks of the target.
    manifest.clear_verify_state();
    let progress = session.progress().snapshot();
    session.finish(manifest.to_blob()?.into_bytes()).await?;
    add(&shared.figures.chunks_reused, progress.reused_chunks);
    add(&shared.figures.bytes_reused, progress.reused_bytes);
    Ok(Pushed::Whole)
}

async fn push_index(session: &PushSession, chunks: &Arc<Chunks>, entry: &FileInfo) -> Result<(), SyncError> {
    let (name, figures) = (&entry.filename, &chunks.shared.figures);
    // Opened, so that its chunks may be read.
    drop(chunks.reader.download(name).await?);
    if session.previous_manifest().is_some_and(|previous| previous.file(name).is_some()) {
        add(&figures.requests, 1);
        session.previous_chunks(name).await;
    }
    let index = chunks.reader.index(name).await?;
    let read = move || index.spans().collect::<Result<Vec<ChunkSpan>, _>>();
    let spans = tokio::task::spawn_blocking(read).await.map_err(SyncError::Worker)?;
    let spans = spans.map_err(|source| SyncError::Index { name: name.clone(), source })?;
    // Opening and closing.
    add(&figures.requests, 2);
    Ok(session.upload_index(entry, spans.into_iter(), Arc::clone(chunks)).await?)
}

async fn push_blob(session: &PushSession, chunks: &Chunks, name: &ArchiveName) -> Result<(), SyncError> {
    let blob = read(&chunks.reader, name).await?;
    add(&chunks.shared.figures.requests, 1);
    Ok(session.upload_encoded_blob(name, blob).await?)
}

/// Reads a small file as it is stored.
async fn read(reader: &SnapshotReader, name: &ArchiveName) -> Result<Bytes, SyncError> {
    let mut file = reader.download(name).await?;
    let mut content = BytesMut::new();
    let failed = |source| SyncError::File { name: name.clone(), source };
    while let Some(block) = file.next_block().await.map_err(failed)? {
        content.extend_from_slice(&block);
    }
    Ok(content.freeze())
}
