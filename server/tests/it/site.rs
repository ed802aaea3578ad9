//! A data folder in memory, the real binary on it, and clients of the library that reach it over TLS.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use coldkeep_client::{
    BackupSession, Client, Credentials, ReaderSession, Secret, Store, TlsConnector, TransferLimits, Trust,
    VerifyOptions, VerifyScope,
};
use coldkeep_datastore::{ArchiveName, BackupTime, GroupName, Namespace, SnapshotName};
use coldkeep_powercut::{Loss, PowerDisk};
use http::StatusCode;

use crate::in_bucket;
use crate::live::{self, Live};
use crate::material::noise;
use crate::process::Serve;
use crate::wire::Wire;

/// A cache that holds all that a test makes.
pub(crate) const CACHE_BYTES: u64 = 1 << 30;
/// What a damaged chunk holds.
const ROTTEN: &[u8] = b"rotten";
/// Longest time for a rebuild of a store in a bucket.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// A server whose collections take everything that nothing refers to, and what is needed to come back to it.
pub(crate) struct Site {
    folder: PathBuf,
    password: String,
    serve: Option<Serve>,
    // Removed last, when nothing writes into it any more.
    guard: Option<tempfile::TempDir>,
}

impl Site {
    /// A new data folder, in memory where the machine has that. Its store is in a bucket if the environment names a server.
    pub(crate) fn new() -> Self {
        match Live::named() {
            Some(live) => Self::in_bucket(live, CACHE_BYTES),
            None => Self::on_filesystem(),
        }
    }

    /// A new data folder in memory, whatever the environment names.
    pub(crate) fn on_filesystem() -> Self {
        Self::in_memory(|_| {})
    }

    /// A new data folder, whose store is at a place of its own in this bucket, with a cache of so many bytes.
    pub(crate) fn in_bucket(live: &Live, cache_bytes: u64) -> Self {
        Self::in_memory(|folder| in_bucket::create(folder, live, cache_bytes))
    }

    /// A new data folder in this place.
    pub(crate) fn at(folder: &Path) -> Self {
        let serve = start(folder);
        let password = serve.value_of("password").unwrap().to_owned();
        Self { folder: folder.to_owned(), password, serve: Some(serve), guard: None }
    }

    /// A new data folder in this place, whose store is in a bucket as for [`Site::in_bucket`].
    pub(crate) fn in_bucket_at(folder: &Path, live: &Live, cache_bytes: u64) -> Self {
        in_bucket::create(folder, live, cache_bytes);
        let site = Self::at(folder);
        site.wait_until_ready();
        site
    }

    fn in_memory(prepare: impl FnOnce(&Path)) -> Self {
        let owned = in_memory_folder();
        let folder = owned.path().join("data");
        prepare(&folder);
        let mut site = Self::at(&folder);
        site.guard = Some(owned);
        site.wait_until_ready();
        site
    }

    /// Ends the server without a chance to do anything.
    pub(crate) fn kill(&mut self) {
        self.serve = None;
    }

    /// Ends the server and takes the power away from the disk that its folder is on, both at one instant; the disk then has
    /// what the seed leaves.
    pub(crate) fn lose_power(&mut self, disk: &mut PowerDisk, seed: u64) -> Loss {
        disk.cut();
        self.serve.as_mut().unwrap().send_kill();
        // What the server waits for on the disk keeps it from ending; what it is answered it no longer sees.
        disk.let_go();
        self.kill();
        disk.restore(seed).unwrap()
    }

    /// Ends the server in order.
    pub(crate) fn stop(&mut self) {
        let serve = self.serve.take().unwrap();
        assert!(live::block_on(serve.terminate()), "the server did not end well");
    }

    /// Starts the server again.
    pub(crate) fn start(&mut self) {
        assert!(self.serve.is_none(), "the server runs");
        self.serve = Some(start(&self.folder));
        self.wait_until_ready();
    }

    /// Stores in buckets are opened in the background, and rebuilt if their folder was lost.
    fn wait_until_ready(&self) {
        let store = self.store();
        let ready = async move {
            let mut last = None;
            let ready = tokio::time::timeout(READY_WITHIN, async {
                while let Err(error) = store.status().await {
                    last = Some(error);
                    tokio::time::sleep(Duration::from_millis(25)).await;
                }
            });
            let is_ready = ready.await.is_ok();
            assert!(is_ready, "the store is not ready: {last:?}");
        };
        live::block_on(ready);
    }

    /// Runs a command on the data folder, which no server may have open.
    #[track_caller]
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        assert!(self.serve.is_none(), "the server runs");
        let mut command = Command::new(env!("CARGO_BIN_EXE_coldkeep"));
        command.args(arguments).arg("--repository").arg(&self.folder);
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command for what is not part of the protocol on the data folder, which no server may have open.
    #[track_caller]
    pub(crate) fn command_on_folder(&self, arguments: &[&str], input: &str) {
        assert!(self.serve.is_none(), "the server runs");
        let mut command = Command::new(env!("CARGO_BIN_EXE_coldkeep"));
        command.args(arguments).arg("--data-dir").arg(&self.folder).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{arguments:?}");
    }

    /// A command line that works on the running server.
    pub(crate) fn command_on_server(&self, arguments: &[&str]) -> Command {
        let serve = self.serve.as_ref().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coldkeep"));
        command
            .args(arguments)
            .args(["--repository", &format!("127.0.0.1:{}:default", serve.address.port())]);
        command.env("PBS_PASSWORD", &self.password).env("PBS_FINGERPRINT", self.fingerprint());
        command
    }

    /// The port that the server listens on as it runs now.
    pub(crate) fn port(&self) -> u16 {
        self.serve.as_ref().unwrap().address.port()
    }

    /// The most memory that the server took so far, in bytes, as the system counts it.
    pub(crate) fn peak_rss_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.serve.as_ref().unwrap().id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Opens a connection and says nothing.
    pub(crate) async fn idle_connection(&self) -> impl Send + use<> {
        crate::wire::connect(self.serve.as_ref().unwrap().address).await
    }

    /// The fingerprint of its certificate.
    pub(crate) fn fingerprint(&self) -> &str {
        self.serve.as_ref().unwrap().value_of("fingerprint").unwrap()
    }

    /// The password of `root@pam`.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// A logged-in client that knows nothing but HTTP.
    pub(crate) async fn wire(&self) -> Wire {
        Wire::login(self.serve.as_ref().unwrap().address, "root@pam", &self.password).await
    }

    /// A new client of the server as it runs now.
    pub(crate) fn client(&self) -> Client {
        let serve = self.serve.as_ref().unwrap();
        let trust = Trust::Pinned(serve.value_of("fingerprint").unwrap().parse().unwrap());
        let connector = TlsConnector::new("127.0.0.1", serve.address.port(), trust);
        let user = "root@pam".parse().unwrap();
        Client::new(connector, Credentials::new(user, Secret::new(self.password.clone())))
    }

    pub(crate) fn store(&self) -> Store {
        self.client().store("default".parse().unwrap(), Namespace::root())
    }

    /// The digests of all chunks that are stored, in the bucket `live` if the store is in one.
    pub(crate) async fn stored_chunks(&self, live: Option<&Live>) -> BTreeSet<String> {
        let names = match live {
            Some(live) => self.chunk_keys(live).await,
            None => chunk_files(self).iter().map(|path| path.display().to_string()).collect(),
        };
        names.iter().filter_map(|name| Some(name.rsplit_once('/')?.1.to_owned())).collect()
    }

    /// Damages all chunks that are stored, also those in the bucket `live` if the store is in one.
    pub(crate) async fn damage_chunks(&self, live: Option<&Live>) {
        for file in chunk_files(self) {
            std::fs::write(&file, ROTTEN).unwrap();
        }
        let Some(live) = live else { return };
        for key in self.chunk_keys(live).await {
            live.put(&key, ROTTEN).await;
        }
    }

    /// The keys of all chunks of the store in the bucket `live`.
    async fn chunk_keys(&self, live: &Live) -> Vec<String> {
        let stores = std::fs::read(self.folder.join("config/datastores.json")).unwrap();
        let stores: serde_json::Value = serde_json::from_slice(&stores).unwrap();
        let prefix = stores[0]["backend"]["prefix"].as_str().unwrap();
        live.keys(&format!("{prefix}/.chunks/")).await
    }

    /// The folder of the store `default`.
    pub(crate) fn store_folder(&self) -> PathBuf {
        self.folder.join("stores/default")
    }
}

fn start(folder: &Path) -> Serve {
    Serve::start_with(folder, &["--gc-grace", "0", "--gc-margin", "0"])
}

/// A folder in memory where the machine has that: tests move gigabytes, and a killed server needs no disk to lose data.
pub(crate) fn in_memory_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn group(id: &str) -> GroupName {
    format!("host/{id}").parse().unwrap()
}

pub(crate) fn snapshot(id: &str, time: i64) -> SnapshotName {
    SnapshotName::new(group(id), BackupTime::from_unix(time).unwrap())
}

pub(crate) fn archive(name: &str) -> ArchiveName {
    name.parse().unwrap()
}

/// Limits of one of several clients on a small machine.
pub(crate) fn small() -> TransferLimits {
    TransferLimits::default().with_memory_bytes(16 << 20).with_requests(4).with_workers(1)
}

/// Checks every chunk of every snapshot of the store.
pub(crate) async fn assert_verifies(store: &Store) {
    if let Err(what) = verify(store, false).await {
        panic!("{what}");
    }
}

/// As [`assert_verifies`], right after a crash: the outcome is not noted beside a snapshot in a bucket before all that was
/// sent for it by then has expired (R19), so it is asked for again until then.
pub(crate) async fn assert_verifies_in_time(store: &Store) {
    let until = Instant::now() + READY_WITHIN;
    let mut last = verify(store, false).await;
    while let Err(what) = &last
        && what.contains("cannot be used yet")
        && Instant::now() < until
    {
        tokio::time::sleep(Duration::from_secs(1)).await;
        last = verify(store, true).await;
    }
    if let Err(what) = last {
        panic!("{what}");
    }
}

/// Verifies the store, or what has not been verified yet; an error says what the task said.
async fn verify(store: &Store, ignore_verified: bool) -> Result<(), String> {
    let options = VerifyOptions { ignore_verified, ..VerifyOptions::default() };
    let upid = store.start_verify(&VerifyScope::All, &options).await.unwrap();
    let mut log = String::new();
    let end = store.client().wait_task(&upid, |line| log.extend([line, "\n"])).await;
    end.map(drop).map_err(|error| format!("{error:?}\n{log}"))
}

/// Runs a collection to its end, however it ends.
pub(crate) async fn collect(store: &Store) -> Result<(), coldkeep_client::TaskError> {
    let upid = store.start_gc().await?;
    store.client().wait_task(&upid, |_| {}).await.map(drop)
}

/// Begins a backup in a group whose last session was dropped: its end is seen by the server a moment later.
pub(crate) async fn begin_when_free(store: &Store, name: &SnapshotName) -> BackupSession {
    for _ in 0..200 {
        match store.begin_backup(name, small()).await {
            Ok(session) => return session,
            Err(error) => assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the group of {name} was not free within 5 s");
}

/// Everything in the folders of a store's chunks, temporary files included.
pub(crate) fn chunk_files(site: &Site) -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let mut folders = entries(&site.store_folder().join(".chunks"));
    // A crash may have left the file that probes times (R12) beside them, until the next run.
    folders.retain(|path| path.is_dir());
    folders.iter().flat_map(|folder| entries(folder)).collect()
}

/// Bytes that do not compress, of which [`Content`]s are cut.
static POOL: LazyLock<Vec<u8>> = LazyLock::new(|| noise(42, Content::POOL_BYTES));

/// Data made of pieces of one pool: contents that share pieces share chunks. Kept as a recipe, so that a test can
/// remember hundreds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Start and length in the pool.
    pub(crate) pieces: Vec<(usize, usize)>,
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(|(_, len)| len).sum()
    }

    pub(crate) fn reader(&self) -> impl Read + Send + 'static {
        ContentReader { pieces: self.pieces.clone().into_iter(), rest: 0..0 }
    }

    pub(crate) const POOL_BYTES: usize = 24 << 20;
}

struct ContentReader {
    pieces: std::vec::IntoIter<(usize, usize)>,
    rest: Range<usize>,
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            let Some((start, len)) = self.pieces.next() else { return Ok(0) };
            self.rest = start..start + len;
        }
        let len = buffer.len().min(self.rest.len());
        buffer[..len].copy_from_slice(&POOL[self.rest.start..self.rest.start + len]);
        self.rest.start += len;
        Ok(len)
    }
}

/// Restores an archive and compares it with what it was made of.
pub(crate) async fn assert_restores(reader: &ReaderSession, name: &str, content: &Content) {
    let compare = Comparison { content: content.reader(), got: 0, scratch: Vec::new() };
    let compare = reader.restore_to_writer(&archive(name), compare).await;
    let compare = compare.unwrap_or_else(|error| panic!("{} of {}: {error:?}", name, reader.snapshot()));
    assert_eq!(compare.got, content.len(), "{} of {} is cut", name, reader.snapshot());
}

/// A writer that fails on the first byte that is not the expected one.
struct Comparison<R> {
    content: R,
    got: usize,
    scratch: Vec<u8>,
}

impl<R: Read> Write for Comparison<R> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.scratch.resize(data.len(), 0);
        self.content.read_exact(&mut self.scratch)?;
        if self.scratch != data {
            return Err(std::io::Error::other(format!(
                "other data within {} bytes from {}",
                data.len(),
                self.got
            )));
        }
        self.got += data.len();
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
