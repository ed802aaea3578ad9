//! Replication between two real servers: `pull`, its unhappy paths, and `push`, into a filesystem and into a bucket.

mod depth;
mod encrypted;
mod faults;
mod lies;
mod owners;
mod pull;
mod push;
mod relay;
mod repair;

use std::collections::BTreeMap;

use coldkeep_client::{
    BackupSession, Client, NewRemote, PullRequest, RemoteUpdate, Secret, Store, TaskError,
};
use coldkeep_datastore::{Namespace, SnapshotName};
use serde_json::Value;

use crate::live::Live;
use crate::site::{
    CACHE_BYTES, Content, Site, archive, assert_restores, assert_verifies, group, small, snapshot,
};

/// Time of the first backup.
const TIME: i64 = 1_700_000_000;
/// Name of the source in the configuration of the target.
const REMOTE: &str = "source";
const STREAM: &str = "a.bin.didx";
const BLOB: &str = "b.conf.blob";

/// A server with backups and one that pulls from it.
struct Pair {
    source: Site,
    target: Site,
    /// What every snapshot of the source was made of.
    made: BTreeMap<SnapshotName, Content>,
}

impl Pair {
    async fn new() -> Self {
        Self::with_target(Site::on_filesystem()).await
    }

    async fn into_bucket() -> Self {
        Self::with_target(Site::in_bucket(Live::any(), CACHE_BYTES)).await
    }

    async fn with_target(target: Site) -> Self {
        let pair = Self { source: Site::on_filesystem(), target, made: BTreeMap::new() };
        pair.add_remote().await;
        pair
    }

    /// Tells the target of the source.
    async fn add_remote(&self) {
        self.target.client().add_remote(&remote(&self.source)).await.unwrap();
    }

    /// Tells the target where the source is by now.
    async fn update_remote(&self) {
        let update = RemoteUpdate { port: Some(self.source.port()), ..RemoteUpdate::default() };
        self.target.client().update_remote(&REMOTE.parse().unwrap(), &update).await.unwrap();
    }

    /// Backs up into the source; pieces of the pool start at multiples of `PIECE`.
    async fn back_up(&mut self, id: &str, time: i64, pieces: &[usize]) -> SnapshotName {
        let content = content(pieces);
        let name = snapshot(id, TIME + time);
        back_up(&self.source.store(), &name, &content).await;
        self.made.insert(name.clone(), content);
        name
    }

    /// Pulls everything into the root namespace.
    async fn pull(&self) -> Result<Value, (TaskError, Value)> {
        self.pull_with(|_| {}).await
    }

    async fn pull_with(&self, change: impl FnOnce(&mut PullRequest)) -> Result<Value, (TaskError, Value)> {
        let client = self.target.client();
        let request = request(change);
        let upid = client.start_pull(&request).await.unwrap();
        let mut log = String::new();
        let ended = client.wait_task(&upid, |line| log.extend([line, "\n"])).await;
        println!("{log}");
        let report = report(&client, &upid).await;
        ended.map(|_| report.clone()).map_err(|error| (error, report))
    }

    /// Snapshots of the target, sorted.
    async fn here(&self) -> Vec<SnapshotName> {
        names(&self.target.store()).await
    }

    /// Checks that the target has these snapshots, whole, and no others.
    async fn assert_here(&self, expected: &[&SnapshotName]) {
        self.assert_restores(expected).await;
        assert_verifies(&self.target.store()).await;
    }

    /// The same without a verification, which writes.
    async fn assert_restores(&self, expected: &[&SnapshotName]) {
        let store = self.target.store();
        let mut expected: Vec<SnapshotName> = expected.iter().copied().cloned().collect();
        expected.sort_unstable();
        assert_eq!(names(&store).await, expected);
        for name in &expected {
            let reader = store.open_snapshot(name, small()).await.unwrap();
            assert_restores(&reader, STREAM, &self.made[name]).await;
            assert_eq!(reader.load_blob(&archive(BLOB)).await.unwrap(), name.to_string());
        }
    }
}

fn remote(source: &Site) -> NewRemote {
    NewRemote {
        name: REMOTE.parse().unwrap(),
        host: "127.0.0.1".to_owned(),
        port: Some(source.port()),
        auth_id: "root@pam".parse().unwrap(),
        secret: Secret::new(source.password()),
        fingerprint: Some(source.fingerprint().parse().unwrap()),
        comment: None,
    }
}

fn request(change: impl FnOnce(&mut PullRequest)) -> PullRequest {
    let default = || "default".parse().unwrap();
    let mut request = PullRequest::new(default(), Some(REMOTE.to_owned()), default());
    change(&mut request);
    request
}

/// What a replication came to, as it is told.
async fn report(client: &Client, upid: &str) -> Value {
    serde_json::to_value(client.sync_report(upid).await.unwrap()).unwrap()
}

async fn names(store: &Store) -> Vec<SnapshotName> {
    let listed = store.snapshots(None, None).await.unwrap();
    assert!(listed.iter().all(|item| item.size.is_some()), "something half is visible: {listed:?}");
    let mut names: Vec<_> = listed.iter().map(coldkeep_client::SnapshotItem::name).collect();
    names.sort_unstable();
    names
}

const PIECE: usize = 256 << 10;

fn content(pieces: &[usize]) -> Content {
    Content { pieces: pieces.iter().map(|piece| (piece * PIECE, PIECE)).collect() }
}

/// Makes another user; the server comes back on another port.
fn add_joe(site: &mut Site) {
    site.stop();
    site.command_on_folder(&["user", "add", "joe@pbs"], "a password for joe\n");
    site.start();
}

/// Gives a group of a server to that user, whom it makes.
async fn give_away(site: &mut Site, id: &str) {
    add_joe(site);
    let store = site.store();
    store.change_owner(&group(id), &"joe@pbs".parse().unwrap()).await.unwrap();
}

/// Pieces of a content of several chunks, of which the first are the same whatever it ends with.
fn large(end: usize) -> Vec<usize> {
    (0..56).chain(end..end + 6).collect()
}

/// Makes a snapshot with a stream of this content, and a blob.
async fn back_up(store: &Store, name: &SnapshotName, content: &Content) {
    let session: BackupSession = store.begin_backup(name, small()).await.unwrap();
    session.upload_stream(&archive(STREAM), content.reader()).await.unwrap();
    session.upload_blob(&archive(BLOB), name.to_string().into()).await.unwrap();
    session.finish().await.unwrap();
}

fn ns(text: &str) -> Namespace {
    text.parse().unwrap()
}

fn count(report: &Value, what: &str) -> u64 {
    report[what].as_u64().unwrap_or_else(|| panic!("no {what} in {report}"))
}

/// The errors that a report tells of.
fn errors(report: &Value) -> String {
    report["failures"].as_array().unwrap().iter().map(|failure| failure["error"].as_str().unwrap()).collect()
}
