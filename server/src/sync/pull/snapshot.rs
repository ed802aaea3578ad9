//! One snapshot: fetched ahead as far as it is small, then stored whole or not at all (spec `pull.md` §6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use coldkeep_client::{RestoreError, Store, StoredIndex, StoredSnapshot};
use coldkeep_datastore::manifest::FileInfo;
use coldkeep_datastore::{
    ArchiveKind, ArchiveName, CopyError, LocalCopy, Manifest, SnapshotCopy, SnapshotName, TreeError,
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::fetch::{self, Fetcher, Shared, Underway};
use super::turn::Turn;
use crate::api::chain;
use crate::sync::SyncOptions;
use crate::sync::error::SyncError;
use crate::sync::report::add;
use crate::sync::select::Traits;
use crate::tasks::TaskHandle;

/// Most bytes of indexes and blobs of one snapshot that are fetched before it is its turn; larger ones wait.
const AHEAD_BYTES: u64 = 4 << 20;
/// Shortest chunk that is usual; the length of an index is guessed by it.
const SHORT_CHUNK_BYTES: u64 = 512 << 10;
/// Length of the longer kind of entry of an index.
const ENTRY_BYTES: u64 = 40;
/// Length of the header of an index.
const HEADER_BYTES: u64 = 4096;
/// What a file counts for at least.
const FILE_BYTES_MIN: u64 = 4096;
/// How much longer an index may be than guessed to be fetched ahead.
const GUESS_FACTOR: u64 = 4;
/// Files of a snapshot that are fetched at the same time; each may take the server that sends it some memory.
const FILES_AT_ONCE: usize = 4;

/// A snapshot of the source that is ready to be stored.
pub(super) struct Ready {
    source: Arc<StoredSnapshot>,
    files: BTreeMap<ArchiveName, File>,
    log: Option<Bytes>,
}

enum File {
    Index(StoredIndex),
    Blob(Bytes),
}

/// What there was to be got ready.
pub(super) enum Found {
    Ready(Box<Ready>),
    /// The source has removed it.
    Vanished,
    /// It is no longer what the options ask for.
    Excluded,
}

/// Opens a snapshot and, if it is `new` here, fetches what is small of it, and when it is its `turn` the chunks of those indexes.
///
/// # Cancel safety
/// Dropping the future gives up what is under way.
pub(super) async fn get_ready(
    fetcher: &Arc<Fetcher>,
    (store, snapshot): (&Store, &SnapshotName),
    options: &SyncOptions,
    new: bool,
    mut turn: Turn,
) -> Result<Found, SyncError> {
    let figures = &fetcher.shared.figures;
    // The upgrade and the manifest.
    add(&figures.requests, 2);
    let source = match store.open_stored(snapshot).await {
        Err(error) if error.is_vanished() => return Ok(Found::Vanished),
        opened => Arc::new(opened?),
    };
    fetcher.shared.received(source.encoded_manifest().len()).await;
    if !Traits::from(source.manifest()).are_as_asked(options) {
        return Ok(Found::Excluded);
    }
    let mut names = BTreeSet::new();
    for file in source.manifest().files() {
        let name = &file.filename;
        if name.is_manifest() || name.as_str() == ArchiveName::CLIENT_LOG || !names.insert(name.as_str()) {
            return Err(SyncError::Listed { name: name.clone() });
        }
    }
    drop(names);
    if !new {
        return Ok(Found::Ready(Box::new(Ready { source, files: BTreeMap::new(), log: None })));
    }
    let mut room = AHEAD_BYTES;
    let is_small = |file: &&FileInfo| {
        let bytes = bytes_of(file);
        let fits = bytes <= room;
        room -= if fits { bytes } else { 0 };
        fits
    };
    let mut fetches = Vec::new();
    for file in source.manifest().files().iter().filter(is_small) {
        fetches.push(fetch_ahead(&source, file, &fetcher.shared));
    }
    add(&figures.requests, fetches.len() as u64 + 1);
    let fetched = stream::iter(fetches).buffered(FILES_AT_ONCE).try_collect::<Vec<_>>();
    let (files, log) = tokio::join!(fetched, fetch_log(&source, &fetcher.shared));
    let files: BTreeMap<ArchiveName, File> = files?.into_iter().flatten().collect();
    let mut underway = Underway::new();
    turn.comes().await;
    for entry in source.manifest().files() {
        if let Some(File::Index(index)) = files.get(&entry.filename) {
            fetcher.begin(&source, entry, index, &mut underway).await?;
        }
    }
    drop(turn);
    fetch::finish(&mut underway).await?;
    Ok(Found::Ready(Box::new(Ready { source, files, log })))
}

/// Fetches the client's log. One that cannot be had is no reason to do without the snapshot (spec `pull.md` §6).
async fn fetch_log(source: &StoredSnapshot, shared: &Shared) -> Option<Bytes> {
    let log = source.client_log().await.ok().flatten();
    shared.received(log.as_ref().map_or(0, Bytes::len)).await;
    log
}

/// Guesses the length of a file.
fn bytes_of(file: &FileInfo) -> u64 {
    match file.filename.kind() {
        ArchiveKind::Index(_) => {
            HEADER_BYTES + file.size.div_ceil(SHORT_CHUNK_BYTES).saturating_mul(ENTRY_BYTES)
        }
        ArchiveKind::Blob => file.size.max(FILE_BYTES_MIN),
    }
}

async fn fetch_file(
    source: &StoredSnapshot,
    file: &FileInfo,
    index_bytes_max: usize,
    shared: &Shared,
) -> Result<File, RestoreError> {
    let name = &file.filename;
    let (fetched, bytes) = match name.kind() {
        ArchiveKind::Index(_) => {
            let index = source.index(name, index_bytes_max).await?;
            let bytes = index.bytes().len();
            (File::Index(index), bytes)
        }
        ArchiveKind::Blob => {
            let blob = source.blob(name).await?;
            let bytes = blob.len();
            (File::Blob(blob), bytes)
        }
    };
    shared.received(bytes).await;
    Ok(fetched)
}

/// Fetches a file that should be small; none if it is not after all, and waits for its turn.
async fn fetch_ahead(
    source: &StoredSnapshot,
    file: &FileInfo,
    shared: &Shared,
) -> Result<Option<(ArchiveName, File)>, SyncError> {
    let index_bytes_max = bytes_of(file).saturating_mul(GUESS_FACTOR) as usize;
    match fetch_file(source, file, index_bytes_max, shared).await {
        Err(error) if error.is_too_long() && matches!(file.filename.kind(), ArchiveKind::Index(_)) => {
            Ok(None)
        }
        fetched => Ok(Some((file.filename.clone(), fetched?))),
    }
}

impl Ready {
    /// Stores a snapshot that is new here.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing of it.
    pub(super) async fn store(
        mut self,
        fetcher: &Arc<Fetcher>,
        making: SnapshotCopy,
        task: &TaskHandle,
    ) -> Result<(), SyncError> {
        match self.put_files(fetcher, &making, task).await {
            Ok(()) => Ok(making.finish(self.source.encoded_manifest()).await?),
            Err(error) => {
                // The first error says more than one of this clean-up would; a collection removes what it leaves.
                let _ = making.abort().await;
                Err(error)
            }
        }
    }

    async fn put_files(
        &mut self,
        fetcher: &Arc<Fetcher>,
        making: &SnapshotCopy,
        task: &TaskHandle,
    ) -> Result<(), SyncError> {
        let source = Arc::clone(&self.source);
        for entry in source.manifest().files() {
            match self.file(fetcher, entry).await? {
                File::Index(index) => making.put_index(&entry.filename, index.bytes().clone()).await?,
                File::Blob(blob) => making.put_blob(&entry.filename, blob).await?,
            }
        }
        if let Some(log) = self.log.take()
            && let Err(error) = making.put_blob(&ArchiveName::client_log(), log).await
        {
            task.warn(format!("{}: the client's log is left out: {}", making.snapshot(), chain(&error)));
        }
        Ok(())
    }

    /// Returns a file; one that was not fetched ahead is fetched, with its chunks.
    async fn file(&mut self, fetcher: &Arc<Fetcher>, entry: &FileInfo) -> Result<File, SyncError> {
        if let Some(file) = self.files.remove(&entry.filename) {
            return Ok(file);
        }
        add(&fetcher.shared.figures.requests, 1);
        // Chunks have at least a byte each.
        let index_bytes_max = HEADER_BYTES.saturating_add(entry.size.saturating_mul(ENTRY_BYTES)) as usize;
        let file = fetch_file(&self.source, entry, index_bytes_max, &fetcher.shared).await?;
        if let File::Index(index) = &file {
            let mut underway = Underway::new();
            fetcher.begin(&self.source, entry, index, &mut underway).await?;
            fetch::finish(&mut underway).await?;
        }
        Ok(file)
    }

    /// Compares a snapshot that is here already, and puts right what differs; returns whether anything did. With `repairs` it is
    /// known to be damaged here: all its chunks are looked up again, and its manifest is replaced.
    ///
    /// # Cancel safety
    /// Files may or may not be replaced if the future is dropped; each is whole.
    pub(super) async fn compare(
        mut self,
        fetcher: &Arc<Fetcher>,
        local: LocalCopy,
        repairs: bool,
    ) -> Result<bool, SyncError> {
        let source = Arc::clone(&self.source);
        let log = ArchiveName::client_log();
        match local.manifest() {
            None if !repairs => return Err(SyncError::Damaged),
            Some(known) if !is_same_content(known, source.manifest()) => return Err(SyncError::Differs),
            Some(known) if !repairs && is_same_but_for_verification(known, source.manifest()) => {
                return self.add_log(fetcher, &local, &log).await;
            }
            _ => {}
        }
        // All of it is here before the first file is replaced. Of a damaged snapshot the chunks are what is missing, so its
        // indexes are always gone through.
        let mut files = Vec::new();
        for entry in source.manifest().files() {
            let is_here = local.has_file(entry).await?;
            if repairs || !is_here {
                let file = self.file(fetcher, entry).await?;
                files.extend((!is_here).then_some((&entry.filename, file)));
            }
        }
        for (name, file) in files {
            match file {
                File::Index(index) => local.replace_index(name, index.bytes().clone()).await?,
                File::Blob(blob) => local.replace_blob(name, blob).await?,
            }
        }
        self.add_log(fetcher, &local, &log).await?;
        local.finish(source.encoded_manifest(), repairs).await?;
        Ok(true)
    }

    /// Adds the client's log if it is missing here; returns whether it did.
    async fn add_log(
        &self,
        fetcher: &Arc<Fetcher>,
        local: &LocalCopy,
        log: &ArchiveName,
    ) -> Result<bool, SyncError> {
        if local.has_client_log().await? {
            return Ok(false);
        }
        add(&fetcher.shared.figures.requests, 1);
        let Some(content) = fetch_log(&self.source, &fetcher.shared).await else { return Ok(false) };
        // One that cannot be used is left out, too.
        match local.replace_blob(log, content).await {
            Err(CopyError::Tree(TreeError::Blob { .. })) => Ok(false),
            added => Ok(added.map(|()| true)?),
        }
    }
}

/// Tells whether two manifests name the same files with the same content, encrypted with the same key.
fn is_same_content(a: &Manifest, b: &Manifest) -> bool {
    a.key_fingerprint() == b.key_fingerprint() && a.snapshot() == b.snapshot() && a.files() == b.files()
}

/// Tells whether two manifests say the same, but for results of verifications.
fn is_same_but_for_verification(a: &Manifest, b: &Manifest) -> bool {
    let plain = |manifest: &Manifest| {
        let mut manifest = manifest.clone();
        manifest.clear_verify_state();
        manifest
    };
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::Digest;
    use coldkeep_datastore::manifest::{CryptMode, VerifyResult, VerifyState};

    use super::*;

    fn manifest() -> Manifest {
        let mut manifest = Manifest::new(&"vm/1/2026-01-01T00:00:00Z".parse().unwrap());
        let name = "a.img.fidx".parse().unwrap();
        manifest.push(FileInfo::new(name, CryptMode::None, 5, Digest::of(b"x")));
        manifest
    }

    #[test]
    fn notes_and_verifications_are_no_other_content() {
        let (a, mut b) = (manifest(), manifest());
        b.set_verify_state(&VerifyState { state: VerifyResult::Ok, upid: "UPID:x".into() });
        assert!(is_same_content(&a, &b) && is_same_but_for_verification(&a, &b));
        b.set_notes("other");
        assert!(is_same_content(&a, &b) && !is_same_but_for_verification(&a, &b));
        b.push(FileInfo::new("b.conf.blob".parse().unwrap(), CryptMode::None, 1, Digest::of(b"y")));
        assert!(!is_same_content(&a, &b));
    }

    #[test]
    fn the_length_of_an_index_is_not_underestimated_by_much() {
        let file =
            |name: &str, size| FileInfo::new(name.parse().unwrap(), CryptMode::None, size, Digest::of(b""));
        assert_eq!(bytes_of(&file("a.conf.blob", 77_777)), 77_777);
        assert_eq!(bytes_of(&file("a.conf.blob", 0)), FILE_BYTES_MIN);
        assert!(bytes_of(&file("a.bin.didx", 200 << 20)) < 64 << 10);
        assert!(bytes_of(&file("a.img.fidx", 1 << 40)) > AHEAD_BYTES);
    }
}
