//! A datastore in a temporary folder, and the shortest way to a snapshot in it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::backend::{AnyBackend, ObjectBackend as _, ObjectKey, Put, PutCondition, Validity};
use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::bucket::{BucketOptions, Holder};
use coldkeep_chunk_store::testing::{ManualClock, StagedBackend};
use coldkeep_chunk_store::{
    CheckedChunk, Clock as _, Digest, DigestBuilder, StoreOptions, StoreTime, SyncLevel, SystemRandom,
};
use coldkeep_datastore::index::{DynamicIndex, FixedIndex};
use coldkeep_datastore::manifest::{CryptMode, FileInfo};
use coldkeep_datastore::{
    ArchiveKind, ArchiveName, BackupRequest, BackupWriter, BucketParts, Datastore, IndexKind, IndexRead,
    IndexTotals, Manifest, Namespace, OpenError, SnapshotName, VerifyOutcome, VerifyTask,
};
use tempfile::TempDir;

/// What the store clock shows at first.
pub(crate) const START: StoreTime = StoreTime::from_unix(1_790_000_000, 0);

pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<Datastore>,
    /// None on a filesystem.
    pub(crate) backend: Option<StagedBackend>,
}

pub(crate) fn temporary_folder() -> TempDir {
    // On a memory filesystem where there is one: syncs cost nothing there.
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let folder = temporary_folder();
        let clock = Arc::new(ManualClock::at(START));
        let path = folder.path().join("store");
        let store = Datastore::create(&path, "default".parse().unwrap(), options(&clock)).await.unwrap();
        Self { folder, clock, store, backend: None }
    }

    /// A datastore in a new bucket; its clock skips waits.
    pub(crate) async fn in_bucket() -> Self {
        Self::in_bucket_with(ManualClock::skipping(START)).await
    }

    /// A datastore in a new bucket.
    pub(crate) async fn in_bucket_with(clock: ManualClock) -> Self {
        let folder = temporary_folder();
        let clock = Arc::new(clock);
        let backend = StagedBackend::new(clock.clone());
        let path = folder.path().join("store");
        let parts = bucket_parts(&clock, AnyBackend::new(backend.clone()));
        let store = Datastore::create_bucket(&path, "default".parse().unwrap(), parts).await.unwrap();
        Self { folder, clock, store, backend: Some(backend) }
    }

    pub(crate) fn backend(&self) -> &StagedBackend {
        self.backend.as_ref().unwrap()
    }

    /// Opens the datastore of the bucket in a folder that has nothing of it, as if the local side had been lost; this one
    /// is over then.
    pub(crate) async fn with_bucket_alone(&self) -> Self {
        let folder = temporary_folder();
        let (clock, backend) = (Arc::clone(&self.clock), self.backend().clone());
        let parts = bucket_parts(&clock, AnyBackend::new(backend.clone()));
        let path = folder.path().join("store");
        let store = Datastore::open_bucket(&path, "default".parse().unwrap(), parts).await.unwrap();
        Self { folder, clock, store, backend: Some(backend) }
    }

    /// Copies the folder as it is now: an image of the disk.
    pub(crate) fn image(&self) -> TempDir {
        let image = temporary_folder();
        let mut open = vec![std::path::PathBuf::new()];
        while let Some(inside) = open.pop() {
            std::fs::create_dir_all(image.path().join("store").join(&inside)).unwrap();
            for entry in std::fs::read_dir(self.store.folder().join(&inside)).unwrap() {
                let entry = entry.unwrap();
                let name = inside.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    open.push(name);
                } else {
                    std::fs::copy(entry.path(), image.path().join("store").join(name)).unwrap();
                }
            }
        }
        image
    }

    /// Opens an image in place of the folder, as a machine that was set back does; this one is over then.
    pub(crate) async fn restored(&self, image: TempDir) -> Self {
        let (clock, backend) = (Arc::clone(&self.clock), self.backend().clone());
        let store = open(&image.path().join("store"), &clock, Some(&backend)).await.unwrap();
        Self { folder: image, clock, store, backend: Some(backend) }
    }

    /// Keys of the bucket that begin with a text, without the chunks.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        let bucket = self.store.chunks().as_bucket().unwrap();
        let objects = bucket.list_objects(prefix).await.unwrap();
        objects.into_iter().map(|object| object.key.to_string()).collect()
    }

    /// Damages a stored chunk for good: its file, or its object.
    pub(crate) async fn damage(&self, digest: &Digest) {
        let shard = &digest.to_string()[..4];
        match &self.backend {
            None => std::fs::write(self.path(&format!(".chunks/{shard}/{digest}")), b"short").unwrap(),
            Some(backend) => {
                let key = ObjectKey::new(format!(".chunks/{shard}/{digest}")).unwrap();
                let condition = PutCondition::Always;
                let put = Put { key, content: "short".into(), condition, validity: None };
                backend.inner().put(put).await.unwrap();
            }
        }
    }

    /// Removes a stored chunk behind the store's back.
    pub(crate) async fn lose(&self, digest: &Digest) {
        let inside = format!(".chunks/{}/{digest}", &digest.to_string()[..4]);
        std::fs::remove_file(self.path(&inside)).unwrap();
        if self.backend.is_some() {
            self.remove_object(&ObjectKey::new(inside).unwrap()).await;
        }
    }

    /// Removes an object behind the store's back.
    pub(crate) async fn remove_object(&self, key: &ObjectKey) {
        let validity = Validity { signed_at: self.clock.wall(), lasts: Duration::from_secs(1) };
        self.backend().inner().delete(std::slice::from_ref(key), validity).await.unwrap();
    }

    /// Lets everything that was sent so far expire.
    pub(crate) fn expire(&self) {
        self.clock.advance(Duration::from_mins(10));
    }

    /// Checks that every snapshot that shows as whole can be restored; returns how many there are.
    pub(crate) async fn check_whole(&self) -> usize {
        let root = Namespace::root();
        let all = self.store.snapshots(&root, None, None).await.unwrap();
        for found in &all {
            assert!(found.is_finished(), "a half snapshot is shown: {found:?}");
            self.restore(&found.name, "stream.bin.didx").await;
            let mut task = VerifyTask::new("UPID:test".into(), Arc::default());
            let outcome = self.store.verify_snapshot(&root, &found.name, &mut task).await.unwrap();
            assert!(matches!(outcome, VerifyOutcome::Whole), "{}: {outcome:?}", found.name);
        }
        all.len()
    }

    /// Opens the datastore again, as after the end of the process.
    pub(crate) async fn reopen(self) -> Self {
        let Self { folder, clock, store, backend } = self;
        assert_eq!(Arc::strong_count(&store), 1, "someone still uses the store");
        let path = store.folder().to_owned();
        drop(store);
        let store = open(&path, &clock, backend.as_ref()).await.unwrap();
        Self { folder, clock, store, backend }
    }

    /// Opens the datastore while it is open.
    pub(crate) async fn open_again(&self) -> Result<Arc<Datastore>, OpenError> {
        open(self.store.folder(), &self.clock, self.backend.as_ref()).await
    }

    pub(crate) fn path(&self, inside: &str) -> std::path::PathBuf {
        self.store.folder().join(inside)
    }

    pub(crate) async fn begin(&self, text: &str) -> BackupWriter {
        self.store.begin_backup(request(text)).await.unwrap()
    }

    /// Makes a snapshot with one dynamic index of these chunks.
    pub(crate) async fn backup(&self, text: &str, chunks: &[&[u8]]) -> SnapshotName {
        let writer = self.begin(text).await;
        upload_stream(&writer, "stream.bin.didx", chunks).await;
        upload_manifest(&writer, &["stream.bin.didx"], self.store.folder()).await;
        writer.finish().await.unwrap();
        snapshot(text)
    }

    /// Collects without grace and margin: whatever no index names and no session relies on goes.
    pub(crate) async fn collect(&self) -> usize {
        let chunks = self.store.chunks().as_folder().unwrap();
        let run = chunks.begin_run(Duration::ZERO, Duration::ZERO).await.unwrap();
        let referenced = self.references().await;
        let mut removed = 0;
        for shard in chunks.shards().await.unwrap() {
            let listed = chunks.list(vec![shard]).await.unwrap();
            let names: Vec<_> = listed
                .iter()
                .map(|entry| entry.name)
                .filter(|name| !referenced.contains(&name.digest))
                .collect();
            removed +=
                chunks.remove(&run, &names).await.into_iter().filter(|gone| matches!(gone, Ok(true))).count();
        }
        removed
    }

    pub(crate) async fn references(&self) -> std::collections::BTreeSet<Digest> {
        let mut all = std::collections::BTreeSet::new();
        for index in self.store.index_files().await.unwrap() {
            let (send, receive) = std::sync::mpsc::channel();
            let sink = move |digests: &[Digest]| {
                send.send(digests.to_vec()).unwrap();
                ControlFlow::Continue(())
            };
            let read = self.store.read_index(&index, sink).await.unwrap();
            assert!(matches!(read, IndexRead::Read { .. }), "{index}");
            all.extend(receive.into_iter().flatten());
        }
        all
    }

    /// Reads a snapshot's stream back through a reader session.
    pub(crate) async fn restore(&self, snapshot: &SnapshotName, file: &str) -> Vec<u8> {
        let reader = self.store.open_snapshot(&Namespace::root(), snapshot).await.unwrap();
        let index = read_all(reader.download(&name(file)).await.unwrap()).await;
        let digests: Vec<Digest> = if name(file).kind() == ArchiveKind::Index(IndexKind::Fixed) {
            FixedIndex::parse(&index).unwrap().digests().to_vec()
        } else {
            DynamicIndex::parse(&index).unwrap().spans().iter().map(|span| span.digest).collect()
        };
        let mut data = Vec::new();
        for digest in digests {
            data.extend(reader.chunk(&digest).await.unwrap().decode(16 << 20).unwrap());
        }
        data
    }
}

/// Opens a datastore of either kind.
async fn open(
    path: &Path,
    clock: &Arc<ManualClock>,
    backend: Option<&StagedBackend>,
) -> Result<Arc<Datastore>, OpenError> {
    let name = "default".parse().unwrap();
    match backend {
        None => Datastore::open(path, name, options(clock)).await,
        Some(backend) => {
            let parts = bucket_parts(clock, AnyBackend::new(backend.clone()));
            Datastore::open_bucket(path, name, parts).await
        }
    }
}

pub(crate) fn options(clock: &Arc<ManualClock>) -> StoreOptions {
    StoreOptions::new(clock.clone()).with_sync_level(SyncLevel::None)
}

pub(crate) fn bucket_parts(clock: &Arc<ManualClock>, backend: AnyBackend) -> BucketParts {
    let holder = Holder { host: "here".into(), process: 1, id: "test".into() };
    let random = Arc::new(SystemRandom::new().unwrap());
    BucketParts { backend, options: BucketOptions::new(clock.clone(), random, holder) }
}

pub(crate) async fn read_all(mut file: coldkeep_datastore::StoredFile) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(block) = file.next_block().await.unwrap() {
        content.extend(block);
    }
    assert_eq!(content.len() as u64, file.len());
    content
}

pub(crate) fn name(text: &str) -> ArchiveName {
    text.parse().unwrap()
}

pub(crate) fn snapshot(text: &str) -> SnapshotName {
    text.parse().unwrap()
}

pub(crate) fn request(text: &str) -> BackupRequest {
    BackupRequest {
        ns: Namespace::root(),
        snapshot: snapshot(text),
        caller: "root@pam".parse().unwrap(),
        benchmark: false,
        no_cache: false,
    }
}

pub(crate) fn chunk(data: &[u8]) -> CheckedChunk {
    let body = Blob::encode(data, Compression::Zstd).unwrap().into_bytes();
    CheckedChunk::check(Digest::of(data), data.len() as u64, body).unwrap()
}

/// What a client computes of a dynamic index: entries with start offsets, and the totals.
pub(crate) fn stream(chunks: &[&[u8]]) -> (Vec<(Digest, u64)>, IndexTotals) {
    let (mut end, mut csum, mut entries) = (0, DigestBuilder::new(), Vec::new());
    for data in chunks {
        entries.push((Digest::of(data), end));
        end += data.len() as u64;
        csum.update(&end.to_le_bytes());
        csum.update(Digest::of(data).as_bytes());
    }
    let totals = IndexTotals { chunk_count: chunks.len() as u64, size: end, csum: csum.finish() };
    (entries, totals)
}

/// What a client computes of a fixed index over whole chunks.
pub(crate) fn image_csum(digests: &[Digest]) -> Digest {
    let mut csum = DigestBuilder::new();
    for digest in digests {
        csum.update(digest.as_bytes());
    }
    csum.finish()
}

pub(crate) async fn upload_stream(writer: &BackupWriter, file: &str, chunks: &[&[u8]]) {
    let wid = writer.create_dynamic(&name(file)).await.unwrap();
    for data in chunks {
        writer.upload_chunk(wid, IndexKind::Dynamic, chunk(data)).await.unwrap();
    }
    let (entries, totals) = stream(chunks);
    writer.append(wid, IndexKind::Dynamic, &entries).await.unwrap();
    writer.close_dynamic(wid, totals).await.unwrap();
}

/// Uploads a manifest that names indexes which are complete in the snapshot's folder below `base`.
pub(crate) async fn upload_manifest(writer: &BackupWriter, files: &[&str], base: &Path) {
    let mut manifest = Manifest::new(writer.snapshot());
    for file in files {
        let path = base.join(writer.snapshot().to_string()).join(file);
        let content = std::fs::read(path).unwrap();
        let (size, csum) = match file.rsplit_once('.').unwrap().1 {
            "fidx" => {
                let index = FixedIndex::parse(&content).unwrap();
                (index.size(), index.compute_csum())
            }
            "didx" => {
                let index = DynamicIndex::parse(&content).unwrap();
                (index.size(), index.compute_csum())
            }
            _ => (content.len() as u64, Digest::of(&content)),
        };
        manifest.push(FileInfo::new(name(file), CryptMode::None, size, csum));
    }
    writer.upload_blob(&ArchiveName::manifest(), manifest.to_blob().unwrap().into_bytes()).await.unwrap();
}
