//! Pulls that meet trouble: a clear error, nothing half visible, and the next one comes to its end.

use std::path::Path;
use std::time::Duration;

use coldkeep_client::{Client, Fingerprint, NewRemote, RemoteUpdate, Secret};
use coldkeep_datastore::SnapshotName;
use coldkeep_s3_testbed::Fault;
use coldkeep_server::auth::AclEntry;

use super::{BLOB, Pair, REMOTE, STREAM, TIME, content, count, errors, report, request};
use crate::disk_full::SmallDisk;
use crate::harness::TestServer;
use crate::live::Live;
use crate::material::noise;
use crate::site::{CACHE_BYTES, Site, archive, chunk_files, small, snapshot};

/// Snapshots of which some are not looked at yet when the first one is here: more than are got ready at once.
const MANY: usize = 10;

/// Several snapshots that share nothing.
async fn with_snapshots(mut pair: Pair, count: usize) -> (Pair, Vec<SnapshotName>) {
    let mut names = Vec::new();
    for number in 0..count {
        let pieces: Vec<usize> = (0..8).map(|piece| 8 * number + piece).collect();
        names.push(pair.back_up("web", number as i64, &pieces).await);
    }
    (pair, names)
}

fn refs(names: &[SnapshotName]) -> Vec<&SnapshotName> {
    names.iter().collect()
}

#[tokio::test]
async fn who_the_source_is_and_who_asks_it_must_be_right() {
    let (pair, names) = with_snapshots(Pair::new().await, 1).await;
    let (client, remote) = (pair.target.client(), REMOTE.parse().unwrap());
    let update = async |update: RemoteUpdate| client.update_remote(&remote, &update).await.unwrap();
    let other: Fingerprint = ["00"; 32].join(":").parse().unwrap();
    update(RemoteUpdate { fingerprint: Some(other), ..RemoteUpdate::default() }).await;
    let (error, _) = pair.pull().await.unwrap_err();
    assert!(error.to_string().contains("has fingerprint"), "{error}");
    update(RemoteUpdate {
        fingerprint: Some(pair.source.fingerprint().parse().unwrap()),
        ..RemoteUpdate::default()
    })
    .await;
    update(RemoteUpdate { secret: Some(Secret::new("wrong")), ..RemoteUpdate::default() }).await;
    let (error, _) = pair.pull().await.unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    let gone = Some("root@pam!gone".parse().unwrap());
    update(RemoteUpdate { auth_id: gone, ..RemoteUpdate::default() }).await;
    let (error, _) = pair.pull().await.unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    assert_eq!(pair.here().await, []);
    let right = RemoteUpdate {
        auth_id: Some("root@pam".parse().unwrap()),
        secret: Some(Secret::new(pair.source.password())),
        ..RemoteUpdate::default()
    };
    update(right).await;
    pair.pull().await.unwrap();
    pair.assert_here(&refs(&names)).await;
}

/// Lets the source say something else than its manifest, for its second snapshot of three.
async fn a_source_that_lies_is_refused(lie: impl Fn(&Path, &Path), expected: &str) {
    let (pair, names) = with_snapshots(Pair::new().await, 3).await;
    let folder = pair.source.store_folder();
    let (first, second) = (folder.join(names[0].to_string()), folder.join(names[1].to_string()));
    let kept: Vec<(std::path::PathBuf, Vec<u8>)> = [STREAM, BLOB, "index.json.blob"]
        .map(|file| second.join(file))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .into();
    lie(&first, &second);
    let (_, report) = pair.pull().await.unwrap_err();
    assert!(errors(&report).contains(expected), "{report}");
    assert!(errors(&report).contains(&names[1].to_string()), "{report}");
    // What came before is whole, nothing else is visible.
    pair.assert_here(&[&names[0]]).await;
    for (path, content) in kept {
        std::fs::write(path, content).unwrap();
    }
    pair.pull().await.unwrap();
    pair.assert_here(&refs(&names)).await;
}

fn copy(from: &Path, to: &Path, file: &str) {
    std::fs::copy(from.join(file), to.join(file)).unwrap();
}

#[tokio::test]
async fn an_index_of_another_snapshot_is_refused() {
    let swap = |first: &Path, second: &Path| copy(first, second, STREAM);
    a_source_that_lies_is_refused(swap, "the manifest says").await;
}

#[tokio::test]
async fn a_truncated_index_is_refused() {
    let cut = |_: &Path, second: &Path| {
        let file = std::fs::File::options().write(true).open(second.join(STREAM)).unwrap();
        file.set_len(file.metadata().unwrap().len() - 40).unwrap();
    };
    a_source_that_lies_is_refused(cut, "index a.bin.didx").await;
}

#[tokio::test]
async fn a_blob_of_another_snapshot_is_refused() {
    let swap = |first: &Path, second: &Path| copy(first, second, BLOB);
    a_source_that_lies_is_refused(swap, BLOB).await;
}

#[tokio::test]
async fn a_manifest_of_another_snapshot_is_refused() {
    let swap = |first: &Path, second: &Path| {
        copy(first, second, "index.json.blob");
    };
    a_source_that_lies_is_refused(swap, "does not give the snapshot").await;
}

#[tokio::test]
async fn a_file_that_the_source_lacks_is_an_error() {
    let remove = |_: &Path, second: &Path| std::fs::remove_file(second.join(BLOB)).unwrap();
    a_source_that_lies_is_refused(remove, BLOB).await;
}

#[tokio::test]
async fn a_chunk_that_the_source_lacks_is_an_error() {
    let (pair, names) = with_snapshots(Pair::new().await, 1).await;
    let lost = chunk_files(&pair.source).pop().unwrap();
    let content = std::fs::read(&lost).unwrap();
    std::fs::remove_file(&lost).unwrap();
    let (_, report) = pair.pull().await.unwrap_err();
    let digest = lost.file_name().unwrap().to_str().unwrap();
    assert!(errors(&report).contains(&format!("chunk {digest} of {STREAM} is refused")), "{report}");
    assert_eq!(pair.here().await, []);
    std::fs::write(lost, content).unwrap();
    pair.pull().await.unwrap();
    pair.assert_here(&refs(&names)).await;
}

/// Starts a pull that takes its time, and waits until its log says that a snapshot was copied.
pub(super) async fn until_one_is_copied(pair: &Pair) -> String {
    let client = pair.target.client();
    let slowly = request(|request| request.rate_in = Some(4 << 20));
    let upid = client.start_pull(&slowly).await.unwrap();
    wait_for_line(&client, &upid, ": copied").await;
    upid
}

/// Waits until the log of a task has a line with this text.
pub(super) async fn wait_for_line(client: &Client, upid: &str, text: &'static str) {
    let (seen, first) = tokio::sync::oneshot::channel();
    let mut seen = Some(seen);
    let (client, upid) = (client.clone(), upid.to_owned());
    tokio::spawn(async move {
        let watch = |line: &str| {
            if line.contains(text)
                && let Some(seen) = seen.take()
            {
                seen.send(()).unwrap();
            }
        };
        // However it ends.
        let _ = client.wait_task(&upid, watch).await;
    });
    tokio::time::timeout(Duration::from_mins(1), first).await.unwrap().unwrap();
}

/// Goal: a source that goes away in the middle is an error, and the next pull goes on where this one stopped.
async fn a_source_that_is_restarted_is_no_harm(pair: Pair) {
    let (mut pair, names) = with_snapshots(pair, MANY).await;
    let upid = until_one_is_copied(&pair).await;
    pair.source.kill();
    let client = pair.target.client();
    client.wait_task(&upid, |_| {}).await.unwrap_err();
    let here = pair.here().await.len();
    assert!((1..MANY).contains(&here), "{here} snapshots are here");
    pair.source.start();
    pair.update_remote().await;
    let report = pair.pull().await.unwrap();
    assert_eq!(count(&report, "snapshots") as usize, MANY - here, "{report}");
    pair.assert_here(&refs(&names)).await;
}

#[tokio::test]
async fn a_source_that_is_restarted_is_no_harm_on_a_filesystem() {
    a_source_that_is_restarted_is_no_harm(Pair::new().await).await;
}

#[tokio::test]
async fn a_source_that_is_restarted_is_no_harm_in_a_bucket() {
    a_source_that_is_restarted_is_no_harm(Pair::into_bucket().await).await;
}

/// Goal: a target that is killed in the middle shows nothing half, and the next pull comes to its end.
async fn a_target_that_is_killed_is_no_harm(pair: Pair) {
    let (mut pair, names) = with_snapshots(pair, MANY).await;
    until_one_is_copied(&pair).await;
    pair.target.kill();
    pair.target.start();
    let here = pair.here().await.len();
    assert!((1..MANY).contains(&here), "{here} snapshots are here");
    pair.pull().await.unwrap();
    pair.assert_here(&refs(&names)).await;
}

#[tokio::test]
async fn a_target_that_is_killed_is_no_harm_on_a_filesystem() {
    a_target_that_is_killed_is_no_harm(Pair::new().await).await;
}

#[tokio::test]
async fn a_target_that_is_killed_is_no_harm_in_a_bucket() {
    a_target_that_is_killed_is_no_harm(Pair::into_bucket().await).await;
}

#[tokio::test]
async fn a_pull_that_is_stopped_leaves_nothing_half() {
    let (pair, names) = with_snapshots(Pair::new().await, MANY).await;
    let upid = until_one_is_copied(&pair).await;
    let client = pair.target.client();
    client.stop_task(&upid).await.unwrap();
    let error = client.wait_task(&upid, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("stopped by request"), "{error}");
    let here = pair.here().await.len();
    assert!((1..MANY).contains(&here), "{here} snapshots are here");
    pair.pull().await.unwrap();
    pair.assert_here(&refs(&names)).await;
}

/// Goal: a snapshot that is removed from the source after it was listed is passed over.
/// Method: the last of many is removed when they are listed; at this rate it is not opened before seconds later.
#[tokio::test]
async fn a_snapshot_that_vanishes_in_the_middle_is_passed_over() {
    let (pair, names) = with_snapshots(Pair::new().await, MANY).await;
    let client = pair.target.client();
    let upid = client.start_pull(&request(|request| request.rate_in = Some(2 << 20))).await.unwrap();
    wait_for_line(&client, &upid, "snapshots to look at").await;
    pair.source.store().forget(&names[MANY - 1]).await.unwrap();
    client.wait_task(&upid, |_| {}).await.unwrap();
    let report = report(&client, &upid).await;
    assert_eq!([count(&report, "snapshots"), count(&report, "vanished")], [MANY as u64 - 1, 1], "{report}");
    pair.assert_here(&refs(&names[..MANY - 1])).await;
}

/// Goal: a bucket that cannot be reached is an error, and the next pull comes to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_down_is_no_harm() {
    let (live, proxy) = Live::any().through_proxy();
    let (pair, names) =
        with_snapshots(Pair::with_target(Site::in_bucket(&live, CACHE_BYTES)).await, MANY).await;
    let upid = until_one_is_copied(&pair).await;
    proxy.always(|_| true, Fault::ResetAtHead);
    let client = pair.target.client();
    let error = client.wait_task(&upid, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("could not be copied whole"), "{error}");
    proxy.clear();
    let here = pair.here().await.len();
    assert!((1..MANY).contains(&here), "{here} snapshots are here");
    pair.pull().await.unwrap();
    pair.assert_here(&refs(&names)).await;
}

/// Goal: a disk that is full is a clear error; what was there stays, nothing half is visible, and a pull with room comes to its end.
/// Method: once there is no room for the files of a snapshot whose chunks are here, once too little for chunks. What the server
/// removes meanwhile gives it some room, so both need more than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_no_harm() {
    let Some(disk) = SmallDisk::mount(64) else {
        println!("SKIPPED replication: no right to mount a file system");
        return;
    };
    let mut pair = Pair::with_target(Site::at(&disk.path().join("data"))).await;
    let few: Vec<usize> = (0..4).collect();
    let first = pair.back_up("web", 1, &few).await;
    pair.pull().await.unwrap();
    let second = snapshot("web", TIME + 2);
    let session = pair.source.store().begin_backup(&second, small()).await.unwrap();
    session.upload_stream(&archive(STREAM), content(&few).reader()).await.unwrap();
    session.upload_blob(&archive(BLOB), second.to_string().into()).await.unwrap();
    session.upload_blob(&archive("c.conf.blob"), noise(7, 4 << 20).into()).await.unwrap();
    session.finish().await.unwrap();
    pair.made.insert(second.clone(), content(&few));
    let refused = async |pair: &Pair, room: u64, expected: &str| {
        disk.fill();
        disk.give_back(room);
        let (error, report) = pair.pull().await.unwrap_err();
        assert!(error.to_string().contains("1 groups or namespaces could not be copied whole"), "{error}");
        let errors = errors(&report).to_lowercase();
        assert!(errors.contains("no space left") && errors.contains(expected), "{report}");
    };
    refused(&pair, 0, "/default/host/web/").await;
    pair.assert_restores(&[&first]).await;
    assert!(!pair.target.store_folder().join(second.to_string()).exists());
    // The log of the task has no room either: the command is told by the report.
    let output = pair.target.command_on_server(&["pull", "source:default", "default"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(!output.status.success() && stderr.contains("no space left"), "{stderr}");
    disk.clear();
    pair.pull().await.unwrap();
    pair.assert_here(&[&first, &second]).await;

    let large = pair.back_up("db", 3, &(4..64).collect::<Vec<_>>()).await;
    refused(&pair, 4 << 20, "/.chunks/").await;
    pair.assert_restores(&[&first, &second]).await;
    assert!(!pair.target.store_folder().join("host/db").exists());
    disk.clear();
    let report = pair.pull().await.unwrap();
    assert_eq!(count(&report, "snapshots"), 1, "{report}");
    pair.assert_here(&[&first, &second, &large]).await;
}

/// Goal: a token that has expired is refused by the source, and says so.
#[tokio::test]
async fn a_token_that_has_expired_is_refused() {
    let (source, target) = (TestServer::start().await, Site::on_filesystem());
    let identities = source.server.identities();
    let token: coldkeep_server::auth::AuthId = "root@pam!pull".parse().unwrap();
    let secret = identities.add_token(token.clone(), None).await.unwrap();
    let entry = AclEntry {
        path: "/".parse().unwrap(),
        who: token.clone(),
        role: "Admin".parse().unwrap(),
        propagate: true,
    };
    identities.grant(entry).await.unwrap();
    let new = NewRemote {
        name: REMOTE.parse().unwrap(),
        host: "127.0.0.1".to_owned(),
        port: Some(source.address.port()),
        auth_id: token.to_string().parse().unwrap(),
        secret: Secret::new(secret.as_str()),
        fingerprint: Some(source.fingerprint.parse().unwrap()),
        comment: None,
    };
    let client = target.client();
    client.add_remote(&new).await.unwrap();
    let pull = async || {
        let upid = client.start_pull(&request(|_| {})).await.unwrap();
        client.wait_task(&upid, |_| {}).await
    };
    pull().await.unwrap();
    identities.set_validity(&token, true, Some(1)).await.unwrap();
    let error = pull().await.unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    source.end().await;
}
