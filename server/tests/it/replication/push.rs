//! Push: the same from the other side, with the target's own protocol for backups.

use coldkeep_client::{NewRemote, PushRequest, RemoteUpdate, Secret};
use coldkeep_datastore::SnapshotName;
use coldkeep_server::auth::AclEntry;
use serde_json::{Value, json};

use super::{
    Pair, REMOTE, TIME, back_up, content, count, errors, give_away, large, names, ns, remote, report,
};
use crate::harness::{PASSWORD, TestServer};
use crate::site::{Site, assert_restores, collect, group, small, snapshot};

/// Pushes from the pair's source; the pair's target is the remote.
pub(super) async fn push_with(
    pair: &Pair,
    change: impl FnOnce(&mut PushRequest),
) -> Result<Value, (String, Value)> {
    let client = pair.source.client();
    let default = || "default".parse().unwrap();
    let mut request = PushRequest::new(default(), REMOTE.to_owned(), default());
    change(&mut request);
    let upid = client.start_push(&request).await.unwrap();
    let mut log = String::new();
    let ended = client.wait_task(&upid, |line| log.extend([line, "\n"])).await;
    println!("{log}");
    let report = report(&client, &upid).await;
    ended.map(|_| report.clone()).map_err(|error| (error.to_string(), report))
}

async fn push(pair: &Pair) -> Result<Value, (String, Value)> {
    push_with(pair, |_| {}).await
}

/// A pair whose source knows its target.
pub(super) async fn pair(target: Site) -> Pair {
    let pair = Pair::with_target(target).await;
    pair.source.client().add_remote(&remote(&pair.target)).await.unwrap();
    pair
}

async fn a_push_sends_what_is_new(mut pair: Pair) {
    let first = pair.back_up("web", 1, &large(64)).await;
    let other = pair.back_up("db", 2, &[20, 21]).await;
    pair.source.store().set_notes(&first, "of the source").await.unwrap();
    let report = push(&pair).await.unwrap();
    assert_eq!([count(&report, "groups"), count(&report, "snapshots")], [2, 2], "{report}");
    pair.assert_here(&[&first, &other]).await;
    assert_eq!(pair.target.store().notes(&first).await.unwrap(), "of the source");

    let report = push(&pair).await.unwrap();
    assert_eq!([count(&report, "snapshots"), count(&report, "unchanged")], [0, 2], "{report}");
    assert!(count(&report, "requests") <= 3, "{report}");

    let second = pair.back_up("web", 3, &large(70)).await;
    let report = push(&pair).await.unwrap();
    assert_eq!(count(&report, "snapshots"), 1, "{report}");
    assert!(
        count(&report, "chunks_reused") > 0 && count(&report, "bytes_transferred") < 12 << 20,
        "{report}"
    );
    pair.assert_here(&[&first, &other, &second]).await;
    collect(&pair.target.store()).await.unwrap();
    pair.assert_here(&[&first, &other, &second]).await;
}

#[tokio::test]
async fn a_push_into_a_filesystem_sends_what_is_new() {
    a_push_sends_what_is_new(pair(Site::on_filesystem()).await).await;
}

#[tokio::test]
async fn a_push_into_a_bucket_sends_what_is_new() {
    let target = Site::in_bucket(crate::live::Live::any(), crate::site::CACHE_BYTES);
    a_push_sends_what_is_new(pair(target).await).await;
}

/// Goal: what a push copied is the same snapshot to a pull from where it came from: nothing is fetched or refused.
#[tokio::test]
async fn what_was_pushed_is_the_same_snapshot_to_a_pull() {
    let mut pair = pair(Site::on_filesystem()).await;
    let name = pair.back_up("web", 1, &[0, 1]).await;
    push(&pair).await.unwrap();
    let report = pair.pull().await.unwrap();
    assert_eq!([count(&report, "snapshots"), count(&report, "chunks_transferred")], [0, 0], "{report}");
    pair.assert_here(&[&name]).await;
}

#[tokio::test]
async fn namespaces_are_made_and_removed_in_the_target() {
    let pair = pair(Site::on_filesystem()).await;
    let default = || "default".parse().unwrap();
    let (source, target) = (pair.source.client(), pair.target.client());
    source.store(default(), ns("")).create_namespace("a").await.unwrap();
    let name = snapshot("x", TIME);
    back_up(&source.store(default(), ns("a")), &name, &content(&[1])).await;
    let report = push_with(&pair, |request| request.remote_ns = ns("copies/here")).await.unwrap();
    assert_eq!([count(&report, "namespaces"), count(&report, "snapshots")], [2, 1], "{report}");
    let copied = target.store(default(), ns("copies/here/a"));
    assert_eq!(names(&copied).await, std::slice::from_ref(&name));
    let reader = copied.open_snapshot(&name, small()).await.unwrap();
    assert_restores(&reader, super::STREAM, &content(&[1])).await;
    drop(reader);

    source.store(default(), ns("a")).remove_namespace(true).await.unwrap();
    let vanished = |request: &mut PushRequest| {
        (request.remote_ns, request.selection.remove_vanished) = (ns("copies/here"), true);
    };
    let dry = push_with(&pair, |request| {
        vanished(request);
        request.selection.dry_run = true;
    });
    assert_eq!(count(&dry.await.unwrap(), "removed_namespaces"), 1);
    assert_eq!(names(&copied).await, std::slice::from_ref(&name));
    push_with(&pair, vanished).await.unwrap();
    let left = target.store(default(), ns("")).namespaces(None).await.unwrap();
    assert!(left.iter().all(|item| item.ns != ns("copies/here/a")), "{left:?}");
}

#[tokio::test]
async fn what_vanished_here_goes_there_unless_it_is_protected() {
    let mut pair = pair(Site::on_filesystem()).await;
    let gone = pair.back_up("web", 1, &[0]).await;
    let kept = pair.back_up("web", 2, &[1]).await;
    let stays = pair.back_up("web", 3, &[2]).await;
    pair.back_up("db", 4, &[3]).await;
    push(&pair).await.unwrap();
    // Of somebody else in the target, who has a newer snapshot than the group of the same name here.
    pair.back_up("other", -10, &[5]).await;
    let other = snapshot("other", TIME);
    back_up(&pair.target.store(), &other, &content(&[4])).await;
    pair.made.insert(other.clone(), content(&[4]));
    give_away(&mut pair.target, "other").await;
    moved(&pair).await;
    for name in [&gone, &kept, &snapshot("db", TIME + 4)] {
        pair.source.store().forget(name).await.unwrap();
    }
    pair.target.store().set_protected(&kept, true).await.unwrap();
    let report = push_with(&pair, |request| request.selection.remove_vanished = true).await.unwrap();
    assert_eq!([count(&report, "removed_snapshots"), count(&report, "removed_groups")], [2, 1], "{report}");
    pair.assert_here(&[&kept, &stays, &other]).await;
}

/// Tells the source where the target is by now.
async fn moved(pair: &Pair) {
    let update = RemoteUpdate { port: Some(pair.target.port()), ..RemoteUpdate::default() };
    pair.source.client().update_remote(&REMOTE.parse().unwrap(), &update).await.unwrap();
}

/// Goal: whoever pushes needs rights here and on the remote, sees only their own groups with less, and removes nothing of others.
#[tokio::test]
async fn whoever_pushes_needs_rights_on_both_sides() {
    let (target, source) = (Site::on_filesystem(), TestServer::start().await);
    source.client().add_remote(&remote(&target)).await.unwrap();
    let default = || "default".parse().unwrap();
    let root = source.client().store(default(), ns(""));
    back_up(&root, &snapshot("roots", TIME), &content(&[0])).await;
    let joe = source.user("joe@pbs", "DatastoreBackup").await;
    back_up(&root, &snapshot("joes", TIME), &content(&[1])).await;
    root.change_owner(&group("joes"), &"joe@pbs".parse().unwrap()).await.unwrap();
    back_up(&target.store(), &snapshot("there", TIME), &content(&[2])).await;
    let body = json!({ "store": "default", "remote": "source", "remote-store": "default" });
    let push = async |more: Value| {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        joe.post_json("/api2/json/push", &body).await
    };
    push(json!({})).await.refused(403, "/remote/source/default");
    let grant = async |role: &str| {
        let (who, path) = ("joe@pbs".parse().unwrap(), "/remote/source/default".parse().unwrap());
        let entry = AclEntry { path, who, role: role.parse().unwrap(), propagate: true };
        source.server.identities().grant(entry).await.unwrap();
    };
    grant("RemoteSyncPushOperator").await;
    push(json!({ "remove-vanished": true })).await.refused(403, "/remote/source/default");
    let run = async |more: Value| {
        let upid = push(more).await.data().as_str().unwrap().to_owned();
        let ended = source.client().wait_task(&upid, |_| {}).await;
        (ended.is_ok(), report(&source.client(), &upid).await)
    };
    let (ended_well, report) = run(json!({ "remote-ns": "a" })).await;
    assert!(!ended_well && errors(&report).contains("no right to make or remove namespace"), "{report}");
    grant("RemoteDatastorePrune").await;
    let (ended_well, report) = run(json!({ "remove-vanished": true })).await;
    assert!(ended_well && count(&report, "snapshots") == 1, "{report}");
    let mut there = names(&target.store()).await;
    there.sort_unstable();
    assert_eq!(there, [snapshot("joes", TIME), snapshot("there", TIME)]);
    source.client().sync_report("UPID:x").await.unwrap_err();
    source.end().await;
}

/// Goal: of a target whose account has rights in one inner namespace alone, that one can be pushed into.
/// Method: the account sees nothing of the namespaces around it.
#[tokio::test]
async fn an_account_with_rights_in_one_namespace_can_be_pushed_to() {
    let (source, target) = (Site::on_filesystem(), TestServer::start().await);
    let default = || "default".parse().unwrap();
    let outer = target.client().store(default(), ns(""));
    outer.create_namespace("a").await.unwrap();
    target.client().store(default(), ns("a")).create_namespace("b").await.unwrap();
    let joe = || "joe@pbs".parse().unwrap();
    let identities = target.server.identities();
    identities.add_user(joe(), PASSWORD.to_owned().into(), None).await.unwrap();
    let (path, role) = ("/datastore/default/a/b".parse().unwrap(), "DatastoreAdmin".parse().unwrap());
    let who = "joe@pbs".parse().unwrap();
    identities.grant(AclEntry { path, who, role, propagate: true }).await.unwrap();
    let there = NewRemote {
        name: REMOTE.parse().unwrap(),
        host: "127.0.0.1".to_owned(),
        port: Some(target.address.port()),
        auth_id: "joe@pbs".parse().unwrap(),
        secret: Secret::new(PASSWORD),
        fingerprint: Some(target.fingerprint.parse().unwrap()),
        comment: None,
    };
    source.client().add_remote(&there).await.unwrap();
    let name = snapshot("x", TIME);
    source.store().create_namespace("c").await.unwrap();
    back_up(&source.client().store(default(), ns("c")), &name, &content(&[1])).await;
    let mut request = PushRequest::new(default(), REMOTE.to_owned(), default());
    request.remote_ns = ns("a/b");
    let client = source.client();
    let upid = client.start_push(&request).await.unwrap();
    client.wait_task(&upid, |_| {}).await.unwrap();
    assert_eq!(names(&target.client().store(default(), ns("a/b/c"))).await, [name]);
    target.end().await;
}

/// Goal: a target that goes away in the middle is an error, shows nothing half, and the next push comes to its end.
#[tokio::test]
async fn a_target_that_is_restarted_is_no_harm() {
    let mut pair = pair(Site::on_filesystem()).await;
    let mut names = Vec::new();
    for number in 0..4 {
        let pieces: Vec<usize> = (0..12).map(|piece| 12 * number + piece).collect();
        names.push(pair.back_up("web", number as i64, &pieces).await);
    }
    let client = pair.source.client();
    let default = || "default".parse().unwrap();
    let mut request = PushRequest::new(default(), REMOTE.to_owned(), default());
    request.rate_out = Some(4 << 20);
    let upid = client.start_push(&request).await.unwrap();
    super::faults::wait_for_line(&client, &upid, ": copied").await;
    pair.target.kill();
    client.wait_task(&upid, |_| {}).await.unwrap_err();
    let report = report(&client, &upid).await;
    assert!(!errors(&report).is_empty(), "{report}");
    pair.target.start();
    assert!((1..4).contains(&pair.here().await.len()));
    moved(&pair).await;
    push(&pair).await.unwrap();
    let all: Vec<&SnapshotName> = names.iter().collect();
    pair.assert_here(&all).await;
}

#[tokio::test]
async fn the_command_pushes() {
    let mut pair = pair(Site::on_filesystem()).await;
    let name = pair.back_up("web", 1, &[0]).await;
    let push = ["push", "default", "source:default", "--output", "json"];
    let output = pair.source.command_on_server(&push).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["report"]["snapshots"], 1);
    pair.assert_here(&[&name]).await;
    // The group is somebody else's there: a clear error.
    give_away(&mut pair.target, "web").await;
    moved(&pair).await;
    pair.back_up("web", 2, &[1]).await;
    let (_, report) = self::push(&pair).await.unwrap_err();
    assert!(errors(&report).contains("owned by joe@pbs"), "{report}");
}
