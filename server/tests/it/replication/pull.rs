//! What a pull copies, and what it leaves alone.

use coldkeep_client::{VerifyOptions, VerifyScope};
use coldkeep_datastore::SnapshotName;
use coldkeep_server::auth::AclEntry;
use serde_json::{Value, json};

use super::{
    Pair, TIME, back_up, content, count, errors, give_away, large, names, ns, remote, report, request,
};
use crate::harness::TestServer;
use crate::site::{Site, archive, collect, group, small, snapshot};

/// Pulls groups of two kinds into a pair's target, twice.
async fn a_pull_copies_everything_and_then_nothing(mut pair: Pair) {
    let first = pair.back_up("web", 1, &large(64)).await;
    let second = pair.back_up("web", 2, &large(70)).await;
    let other = pair.back_up("db", 3, &[20, 21, 22]).await;
    pair.source.store().set_notes(&second, "of the source").await.unwrap();

    let report = pair.pull().await.unwrap();
    assert_eq!([count(&report, "groups"), count(&report, "snapshots")], [2, 3], "{report}");
    let (source, target) = (files(&pair, &second, true), files(&pair, &second, false));
    assert!(source == target, "a copy has every byte of its original");
    pair.assert_here(&[&first, &second, &other]).await;
    assert_eq!(pair.target.store().notes(&second).await.unwrap(), "of the source");

    // Unchanged: what is asked for grows with snapshots, not with chunks.
    let report = pair.pull().await.unwrap();
    assert_eq!([count(&report, "snapshots"), count(&report, "unchanged")], [0, 2], "{report}");
    assert_eq!(count(&report, "chunks_transferred"), 0);
    assert!(count(&report, "requests") <= 2 + 2 * 5, "{report}");

    // Only what is new travels.
    let third = pair.back_up("web", 4, &large(76)).await;
    let report = pair.pull().await.unwrap();
    assert_eq!(count(&report, "snapshots"), 1);
    assert!(
        count(&report, "chunks_reused") > 0 && count(&report, "bytes_transferred") < 12 << 20,
        "{report}"
    );
    let copy = pair.target.store().open_stored(&third).await.unwrap();
    let chunks = copy.index(&archive(super::STREAM), usize::MAX).await.unwrap().spans().len() as u64;
    assert_eq!(count(&report, "chunks_reused") + count(&report, "chunks_transferred"), chunks, "{report}");
    drop(copy);
    pair.assert_here(&[&first, &second, &other, &third]).await;
}

fn files(pair: &Pair, snapshot: &SnapshotName, source: bool) -> Vec<(String, Vec<u8>)> {
    let site = if source { &pair.source } else { &pair.target };
    let folder = std::fs::read_dir(site.store_folder().join(snapshot.to_string())).unwrap();
    let mut files: Vec<_> = folder
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_pull_into_a_filesystem_copies_everything_and_then_nothing() {
    a_pull_copies_everything_and_then_nothing(Pair::new().await).await;
}

#[tokio::test]
async fn a_pull_into_a_bucket_copies_everything_and_then_nothing() {
    a_pull_copies_everything_and_then_nothing(Pair::into_bucket().await).await;
}

#[tokio::test]
async fn namespaces_come_to_lie_below_the_target() {
    let pair = Pair::new().await;
    let source = pair.source.client();
    let default = || "default".parse().unwrap();
    let root = source.store(default(), ns(""));
    root.create_namespace("a").await.unwrap();
    source.store(default(), ns("a")).create_namespace("b").await.unwrap();
    let (outer, inner) = (snapshot("x", TIME), snapshot("y", TIME));
    back_up(&source.store(default(), ns("a")), &outer, &content(&[1])).await;
    back_up(&source.store(default(), ns("a/b")), &inner, &content(&[2])).await;

    let target = pair.target.client();
    let report =
        pair.pull_with(|request| (request.remote_ns, request.ns) = (ns("a"), ns("copy"))).await.unwrap();
    assert_eq!(count(&report, "namespaces"), 2);
    assert_eq!(names(&target.store(default(), ns("copy"))).await, std::slice::from_ref(&outer));
    assert_eq!(names(&target.store(default(), ns("copy/b"))).await, [inner]);

    // A namespace that is gone from the source goes, but not while something protected is in it.
    source.store(default(), ns("a/b")).remove_namespace(true).await.unwrap();
    let copied = target.store(default(), ns("copy/b"));
    copied.set_protected(&snapshot("y", TIME), true).await.unwrap();
    let vanished = |request: &mut coldkeep_client::PullRequest| {
        (request.remote_ns, request.ns, request.selection.remove_vanished) = (ns("a"), ns("copy"), true);
    };
    let report = pair.pull_with(vanished).await.unwrap();
    assert_eq!(count(&report, "removed_namespaces"), 0, "{report}");
    copied.set_protected(&snapshot("y", TIME), false).await.unwrap();
    let report = pair.pull_with(vanished).await.unwrap();
    assert_eq!([count(&report, "removed_groups"), count(&report, "removed_namespaces")], [1, 1], "{report}");
    assert_eq!(names(&target.store(default(), ns("copy"))).await, std::slice::from_ref(&outer));

    // What is no namespace of the source says nothing about what has vanished from it.
    let misspelt = |request: &mut coldkeep_client::PullRequest| {
        (request.remote_ns, request.ns, request.selection.remove_vanished) = (ns("aa"), ns(""), true);
    };
    let (_, report) = pair.pull_with(misspelt).await.unwrap_err();
    assert!(errors(&report).contains("cannot list namespace \"aa\""), "{report}");
    assert_eq!(count(&report, "removed_groups"), 0, "{report}");
    assert_eq!(names(&target.store(default(), ns("copy"))).await, std::slice::from_ref(&outer));

    // Namespaces around the target are made.
    pair.pull_with(|request| (request.remote_ns, request.ns) = (ns("a"), ns("copies/of/a"))).await.unwrap();
    assert_eq!(names(&target.store(default(), ns("copies/of/a"))).await, [outer]);

    // Too deep as a whole: nothing is begun.
    let (error, _) = pair.pull_with(|request| request.ns = ns("1/2/3/4/5/6/7")).await.unwrap_err();
    assert!(error.to_string().contains("does not fit below the target"), "{error}");
}

#[tokio::test]
async fn filters_and_the_newest_only() {
    let mut pair = Pair::new().await;
    pair.back_up("web", 1, &[0]).await;
    let newest = pair.back_up("web", 2, &[1]).await;
    pair.back_up("db", 3, &[2]).await;
    let dry = |request: &mut coldkeep_client::PullRequest| {
        request.selection.group_filter = vec!["group:host/web".to_owned()];
        request.selection.transfer_last = Some(1);
        request.selection.dry_run = true;
    };
    let report = pair.pull_with(dry).await.unwrap();
    assert_eq!([count(&report, "snapshots"), count(&report, "skipped")], [1, 1], "{report}");
    assert_eq!(pair.here().await, []);
    pair.pull_with(|request| {
        dry(request);
        request.selection.dry_run = false;
    })
    .await
    .unwrap();
    pair.assert_here(&[&newest]).await;
    // What is older than the last one stays away, though nothing limits the number any more.
    let report = pair
        .pull_with(|request| request.selection.group_filter = vec!["regex:^host/w".to_owned()])
        .await
        .unwrap();
    assert_eq!([count(&report, "snapshots"), count(&report, "skipped")], [0, 1], "{report}");
    let verified = pair.pull_with(|request| request.selection.verified_only = true).await.unwrap();
    assert_eq!(count(&verified, "snapshots"), 0, "nothing is verified there: {verified}");
    pair.source
        .client()
        .wait_task(
            &pair
                .source
                .store()
                .start_verify(&VerifyScope::Group(group("db")), &VerifyOptions::default())
                .await
                .unwrap(),
            |_| {},
        )
        .await
        .unwrap();
    let verified = pair.pull_with(|request| request.selection.verified_only = true).await.unwrap();
    assert_eq!(count(&verified, "snapshots"), 1, "{verified}");
}

#[tokio::test]
async fn what_vanished_goes_unless_it_is_protected_or_somebody_elses() {
    let mut pair = Pair::new().await;
    let gone = pair.back_up("web", 1, &[0]).await;
    let kept = pair.back_up("web", 2, &[1]).await;
    let stays = pair.back_up("web", 3, &[2]).await;
    let group_gone = pair.back_up("db", 4, &[3]).await;
    pair.pull().await.unwrap();
    // In the same place, but nobody's business here: of another owner, and kept out by the filter.
    let (own, other) = (snapshot("own", TIME), snapshot("other", TIME));
    back_up(&pair.target.store(), &own, &content(&[4])).await;
    back_up(&pair.target.store(), &other, &content(&[5])).await;
    give_away(&mut pair.target, "other").await;
    for name in [&gone, &kept, &group_gone] {
        pair.source.store().forget(name).await.unwrap();
    }
    pair.target.store().set_protected(&kept, true).await.unwrap();
    let report = pair.pull().await.unwrap();
    assert_eq!(count(&report, "removed_snapshots"), 0);
    let report = pair
        .pull_with(|request| {
            request.selection.remove_vanished = true;
            request.selection.group_filter = vec!["exclude:group:host/own".to_owned()];
        })
        .await
        .unwrap();
    assert_eq!([count(&report, "removed_snapshots"), count(&report, "removed_groups")], [2, 1], "{report}");
    let mut left = pair.here().await;
    left.sort_unstable();
    let mut expected = [own, other, kept, stays];
    expected.sort_unstable();
    assert_eq!(left, expected);
}

/// Goal: errors of one group do not stop the others, and the command fails with them.
/// Method: the target has a snapshot of the same time and another content in one of the groups.
#[tokio::test]
async fn a_group_that_fails_fails_alone() {
    let mut pair = Pair::new().await;
    let name = pair.back_up("mine", 1, &[0]).await;
    let taken = pair.back_up("a", 2, &[1]).await;
    back_up(&pair.target.store(), &taken, &content(&[2])).await;
    let (_, report) = pair.pull().await.unwrap_err();
    assert_eq!(report["failures"][0]["group"], "host/a", "{report}");
    assert!(pair.here().await.contains(&name));

    let pull = &["pull", "source:default", "default", "--parallel-groups", "2", "--output", "json"];
    let output = pair.target.command_on_server(pull).output().unwrap();
    assert!(!output.status.success());
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["report"]["failures"][0]["group"], "host/a");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("group host/a: "), "{stderr}");
}

/// Goal: a backup that runs here is not disturbed: its group is refused, and the others are copied.
#[tokio::test]
async fn a_group_that_is_being_backed_up_is_refused() {
    let mut pair = Pair::new().await;
    let busy = pair.back_up("busy", 1, &[0]).await;
    let other = pair.back_up("other", 2, &[1]).await;
    let (name, made) = (snapshot("busy", TIME), content(&[2]));
    let session = pair.target.store().begin_backup(&name, small()).await.unwrap();
    let (_, report) = pair.pull().await.unwrap_err();
    let expected =
        "cannot begin to copy: group host/busy is in use by a running backup or removal; try again later";
    assert_eq!(errors(&report), expected, "{report}");
    assert_eq!(count(&report, "snapshots"), 1, "{report}");
    session.upload_stream(&archive(super::STREAM), made.reader()).await.unwrap();
    session.upload_blob(&archive(super::BLOB), name.to_string().into()).await.unwrap();
    session.finish().await.unwrap();
    pair.made.insert(name.clone(), made);
    pair.pull().await.unwrap();
    pair.assert_here(&[&name, &busy, &other]).await;
}

#[tokio::test]
async fn the_command_shows_what_was_done() {
    let mut pair = Pair::new().await;
    let name = pair.back_up("web", 1, &[0, 1, 2]).await;
    let mut command = pair.target.command_on_server(&["pull", "source:default", "default", "--dry-run"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("would be copied"));
    assert_eq!(pair.here().await, []);
    let output = pair.target.command_on_server(&["pull", "source:default", "default"]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.contains("1 snapshot"), "{shown}");
    pair.assert_here(&[&name]).await;
    for (bad, said) in [
        (&["pull", "default", "default"][..], "expected the name of a remote"),
        (&["pull", "nobody:default", "default"], "nobody"),
        (&["pull", "source:default", "nothing"], "nothing"),
        (&["pull", "source:default", "default", "--ns", "a"], "leave out --ns"),
        (&["pull", "source:nothing", "default"], "cannot list the namespaces of the other server"),
    ] {
        let output = pair.target.command_on_server(bad).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(said), "{bad:?}: {stderr}");
    }
    // The same without a server.
    pair.target.store().forget(&name).await.unwrap();
    pair.target.stop();
    let shown = pair.target.command(&["pull", "source:default", "default"]);
    assert!(shown.contains("1 snapshot"), "{shown}");
    pair.target.start();
    pair.assert_here(&[&name]).await;
}

/// Goal: notes that changed in the source follow, a verification here stays, and no file is written for it.
#[tokio::test]
async fn the_last_snapshot_is_looked_at_again() {
    let mut pair = Pair::new().await;
    let name = pair.back_up("web", 1, &[0, 1]).await;
    pair.pull().await.unwrap();
    let store = pair.target.store();
    let upid = store.start_verify(&VerifyScope::All, &VerifyOptions::default()).await.unwrap();
    store.client().wait_task(&upid, |_| {}).await.unwrap();
    let report = pair.pull().await.unwrap();
    assert_eq!(count(&report, "unchanged"), 1, "a verification here is no difference: {report}");
    pair.source.store().set_notes(&name, "new notes").await.unwrap();
    let report = pair.pull().await.unwrap();
    assert_eq!(count(&report, "repaired"), 1, "{report}");
    assert_eq!(store.notes(&name).await.unwrap(), "new notes");
    let listed = store.snapshots(None, None).await.unwrap();
    assert_eq!(listed[0].verification.as_ref().unwrap().state, "ok");

    // The same time with another content is refused, not overwritten.
    pair.source.store().forget(&name).await.unwrap();
    back_up(&pair.source.store(), &name, &content(&[5])).await;
    let (_, report) = pair.pull().await.unwrap_err();
    assert!(errors(&report).contains("not the snapshot that this datastore has of that time"), "{report}");
    pair.assert_here(&[&name]).await;
}

/// Goal: a chunk that lies in the store for somebody else is fetched; with a trusted remote it is not (R17).
#[tokio::test]
async fn h34_what_only_others_have_here_is_fetched() {
    let mut pair = Pair::new().await;
    let name = pair.back_up("web", 1, &[0, 1, 2, 3]).await;
    back_up(&pair.target.store(), &snapshot("other", TIME), &content(&[0, 1, 2, 3])).await;
    let report = pair.pull().await.unwrap();
    let chunks = count(&report, "chunks_transferred");
    assert!(chunks > 0 && count(&report, "chunks_reused") == 0, "{report}");
    pair.target.store().forget(&name).await.unwrap();
    let report = pair.pull_with(|request| request.trusted_remote = true).await.unwrap();
    assert_eq!(
        [count(&report, "chunks_transferred"), count(&report, "chunks_reused")],
        [0, chunks],
        "{report}"
    );
    pair.target.store().forget(&snapshot("other", TIME)).await.unwrap();
    pair.assert_here(&[&name]).await;
}

/// Goal: collections without grace take nothing from a pull, though what it uses of the last snapshot loses its last reference
/// while it runs (H7, R5, R13).
/// Method: they run one after the other; when the first of four new snapshots is here, all others of the group are removed.
async fn collections_beside_pulls_lose_nothing(mut pair: Pair) {
    let mut names = Vec::new();
    for time in 0..3 {
        names.push(pair.back_up("web", time, &large(60 + 6 * time as usize)).await);
    }
    pair.pull().await.unwrap();
    for time in 3..7 {
        names.push(pair.back_up("web", time, &large(60 + 6 * (time as usize % 6))).await);
    }
    let store = pair.target.store();
    let stop = tokio_util::sync::CancellationToken::new();
    let collecting = tokio::spawn({
        let (store, stop) = (pair.target.store(), stop.clone());
        async move {
            let mut runs = 0;
            while !stop.is_cancelled() {
                collect(&store).await.unwrap();
                runs += 1;
            }
            runs
        }
    });
    let upid = super::faults::until_one_is_copied(&pair).await;
    for name in &names[..3] {
        store.forget(name).await.unwrap();
    }
    store.client().wait_task(&upid, |_| {}).await.unwrap();
    let report = report(store.client(), &upid).await;
    assert_eq!(count(&report, "snapshots"), 4, "{report}");
    assert!(count(&report, "chunks_reused") > 0, "{report}");
    stop.cancel();
    let runs: u64 = collecting.await.unwrap();
    assert!(runs > 1, "only {runs} collections");
    let left: Vec<&SnapshotName> = names[3..].iter().collect();
    pair.assert_here(&left).await;
    collect(&store).await.unwrap();
    pair.assert_here(&left).await;
}

#[tokio::test]
async fn h07_collections_beside_pulls_into_a_filesystem_lose_nothing() {
    collections_beside_pulls_lose_nothing(Pair::new().await).await;
}

#[tokio::test]
async fn h07_collections_beside_pulls_into_a_bucket_lose_nothing() {
    collections_beside_pulls_lose_nothing(Pair::into_bucket().await).await;
}

/// Goal: a backup that uploads the same chunks at the same time fails neither (R3).
#[tokio::test]
async fn h05_a_backup_of_the_same_chunks_does_not_fail_a_pull_into_a_bucket() {
    let mut pair = Pair::into_bucket().await;
    let pieces: Vec<usize> = (0..40).collect();
    let name = pair.back_up("web", 1, &pieces).await;
    let (store, other) = (pair.target.store(), snapshot("here", TIME));
    let (pieces, backup) = (content(&pieces), async |pieces| back_up(&store, &other, &pieces).await);
    let (pulled, ()) = tokio::join!(pair.pull(), backup(pieces.clone()));
    pulled.unwrap();
    pair.made.insert(other.clone(), pieces);
    pair.assert_here(&[&name, &other]).await;
}

/// Goal: a pull needs rights here and on the remote, and more of them for what it may be asked to do beyond copying.
#[tokio::test]
async fn whoever_pulls_needs_rights_on_both_sides() {
    let (source, target) = (Site::on_filesystem(), TestServer::start().await);
    back_up(&source.store(), &snapshot("web", TIME), &content(&[0])).await;
    target.client().add_remote(&remote(&source)).await.unwrap();
    let joe = target.user("joe@pbs", "DatastoreBackup").await;
    let body = json!({ "store": "default", "remote": "source", "remote-store": "default" });
    let pull = async |body: &Value| joe.post_json("/api2/json/pull", body).await;
    pull(&body).await.refused(403, "/remote/source/default");
    let (who, path) = ("joe@pbs".parse().unwrap(), "/remote/source/default".parse().unwrap());
    let entry = AclEntry { path, who, role: "RemoteSyncOperator".parse().unwrap(), propagate: true };
    target.server.identities().grant(entry).await.unwrap();
    for more in [
        json!({ "remove-vanished": true }),
        json!({ "trusted-remote": true }),
        json!({ "owner": "root@pam" }),
    ] {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pull(&body).await.refused(403, "/datastore/default");
    }
    let upid = pull(&body).await.data().as_str().unwrap().to_owned();
    target.client().wait_task(&upid, |_| {}).await.unwrap();
    let groups = target.client().store("default".parse().unwrap(), ns("")).groups().await.unwrap();
    assert_eq!(groups[0].owner.as_ref().unwrap().to_string(), "joe@pbs");
    // Now it is joe's: root's own pull leaves it alone.
    let upid = target.client().start_pull(&request(|_| {})).await.unwrap();
    target.client().wait_task(&upid, |_| {}).await.unwrap_err();
    let report = report(&target.client(), &upid).await;
    assert!(errors(&report).contains("is owned by joe@pbs, not by root@pam"), "{report}");
    target.end().await;
}
