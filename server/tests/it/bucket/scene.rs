//! An S3 server in memory, a proxy before it, servers that keep their stores there, and the one clock of all.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_chunk_store::{Clock, Sleep, StoreTime, SystemClock};
use coldkeep_client::{
    Client, Connect, Connecting, Credentials as Login, ImageSource, Store, TransferLimits,
};
use coldkeep_datastore::{Namespace, StoreName};
use coldkeep_s3_client::Credentials;
use coldkeep_s3_testbed::{Answer, Fault, FaultProxy, MemoryS3, Options, RequestHead};
use coldkeep_server::ServerOptions;
use coldkeep_server::api::chain;
use coldkeep_server::bucket::S3Config;
use coldkeep_server::embedded::Embedded;
use coldkeep_server::state::{CreatedBucket, NewBucket, StoresError};

use crate::harness::limits;
use crate::site::{Content, archive, assert_restores, snapshot};

pub(super) const BUCKET: &str = "backups";
pub(super) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(super) const SECRET_KEY: &str = "geheim-secret-key-4711";

/// The system's clock, but waits pass at once, for the S3 server too: requests expire without anybody waiting.
pub(super) struct SkippingClock {
    system: SystemClock,
    skipped: Mutex<Duration>,
    origin: coldkeep_s3_testbed::TestClock,
}

impl SkippingClock {
    fn skipped(&self) -> Duration {
        *self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SkippingClock {
    fn wall(&self) -> StoreTime {
        self.system.wall().plus(self.skipped())
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic() + self.skipped()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        *self.skipped.lock().unwrap_or_else(PoisonError::into_inner) += duration;
        self.origin.advance(duration);
        // Others get their turn, as they would.
        Box::pin(tokio::task::yield_now())
    }
}

pub(super) struct Scene {
    pub(super) origin: MemoryS3,
    pub(super) proxy: FaultProxy,
    clock: Arc<SkippingClock>,
    folder: tempfile::TempDir,
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(super) async fn with(options: Options) -> Self {
        let origin_clock = options.clock.clone();
        let origin = MemoryS3::start_with(options).await;
        origin.create_bucket(BUCKET);
        let proxy = FaultProxy::start(origin.address()).await;
        let clock =
            SkippingClock { system: SystemClock::new(), skipped: Mutex::default(), origin: origin_clock };
        Self { origin, proxy, clock: Arc::new(clock), folder: tempfile::tempdir().unwrap() }
    }

    /// The data folder of a server.
    pub(super) fn data_dir(&self, server: &str) -> PathBuf {
        self.folder.path().join(server)
    }

    /// For how long somebody has waited by the clock of all.
    pub(super) fn skipped(&self) -> Duration {
        self.clock.skipped()
    }

    /// Opens a server on its data folder.
    pub(super) async fn open(&self, server: &str) -> Arc<Embedded> {
        let options = ServerOptions::new(self.data_dir(server), self.clock.clone(), limits());
        Arc::new(Embedded::open(options).await.unwrap())
    }

    /// A store `tank`, not checked, with keys of its own.
    pub(super) fn new_bucket(&self) -> NewBucket {
        let text = format!(
            r#"{{"endpoint":"{}","bucket":"{BUCKET}","region":"us-east-1","prefix":"tank","cache-size":1073741824}}"#,
            self.proxy.endpoint()
        );
        let config: S3Config = serde_json::from_str(&text).unwrap();
        NewBucket {
            config,
            path: None,
            comment: None,
            credentials: Some(Credentials::new(ACCESS_KEY, SECRET_KEY).unwrap()),
            is_checked: false,
            takeover: Takeover::Refuse,
        }
    }

    /// Makes the store on a server.
    pub(super) async fn create(
        &self,
        server: &Embedded,
        change: impl FnOnce(&mut NewBucket),
    ) -> Result<CreatedBucket, StoresError> {
        let mut new = self.new_bucket();
        change(&mut new);
        server.server().create_bucket_datastore(tank(), new, |_| {}).await
    }

    /// Makes the store on a server, and expects a refusal.
    pub(super) async fn refusal(&self, change: impl FnOnce(&mut NewBucket)) -> String {
        let server = self.open("refused").await;
        let error = self.create(&server, change).await.unwrap_err();
        assert!(server.server().datastore_configs().iter().all(|config| config.name != tank()));
        end(server).await;
        let text = chain(&error);
        assert!(!text.contains(SECRET_KEY), "{text}");
        text
    }

    /// Lets the proxy answer all requests that match with an error.
    pub(super) fn refuse(
        &self,
        matcher: impl Fn(&RequestHead) -> bool + Send + 'static,
        status: u16,
        code: &str,
    ) {
        self.proxy.always(matcher, Fault::Answer(Answer::error(status, code)));
    }

    /// How many chunks were put so far.
    pub(super) fn chunks_put(&self) -> usize {
        let log = self.origin.log();
        log.iter().filter(|request| request.method == "PUT" && request.path.contains("/.chunks/")).count()
    }
}

pub(super) fn tank() -> StoreName {
    "tank".parse().unwrap()
}

/// Ends a server; its clients must be gone.
pub(super) async fn end(server: Arc<Embedded>) {
    Arc::into_inner(server).expect("a client is still there").close().await;
}

struct InMemory(Arc<Embedded>);

impl Connect for InMemory {
    fn connect(&self) -> Connecting<'_> {
        let stream = self.0.connect();
        Box::pin(async move { Ok(Box::new(stream) as _) })
    }

    fn authority(&self) -> &'static str {
        "localhost"
    }
}

/// A client of the store `tank`.
pub(super) fn store(server: &Arc<Embedded>) -> Store {
    Client::new(InMemory(Arc::clone(server)), Login::Local).store(tank(), Namespace::root())
}

/// Data of some chunks; those of equal numbers share all but the last.
pub(super) fn content(number: usize) -> Content {
    Content { pieces: vec![(0, 9 << 20), (10 << 20, 3_000_000 + number)] }
}

/// Backs the content up as the snapshot of this time.
pub(super) async fn back_up(store: &Store, time: i64, content: &Content) -> Result<(), String> {
    let failed = |error: &dyn std::error::Error| chain(error);
    let session = store.begin_backup(&snapshot("h1", time), TransferLimits::default()).await;
    let session = session.map_err(|error| failed(&error))?;
    let image = ImageSource::reader(content.reader(), content.len() as u64);
    session.upload_image(&archive("d.img.fidx"), image).await.map_err(|error| failed(&error))?;
    session.finish().await.map_err(|error| failed(&error))?;
    Ok(())
}

/// Restores the snapshot of this time and compares it.
pub(super) async fn assert_holds(store: &Store, time: i64, content: &Content) {
    let reader = store.open_snapshot(&snapshot("h1", time), TransferLimits::default()).await.unwrap();
    assert_restores(&reader, "d.img.fidx", content).await;
}

/// All files below a folder.
pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let target = if entry.file_type().unwrap().is_dir() { &mut pending } else { &mut files };
            target.push(entry.path());
        }
    }
    files
}
