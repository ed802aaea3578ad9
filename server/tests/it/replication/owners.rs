//! Whose the groups are that a pull makes, and those that it finds.

use std::collections::BTreeMap;

use coldkeep_client::PullRequest;
use coldkeep_server::auth::AclEntry;
use serde_json::{Value, json};

use super::{Pair, TIME, add_joe, back_up, content, count, errors, give_away, names, ns, remote};
use crate::harness::TestServer;
use crate::site::{Site, snapshot};

fn for_joe(request: &mut PullRequest) {
    request.owner = Some("joe@pbs".parse().unwrap());
}

/// The owners of the groups of the target, by the ids of these.
async fn owners(pair: &Pair) -> BTreeMap<String, String> {
    let groups = pair.target.store().groups().await.unwrap();
    groups.into_iter().map(|item| (item.group.id.to_string(), item.owner.unwrap().to_string())).collect()
}

/// Goal: new groups get the owner that a pull names; only pulls for the same owner go on with them, and remove what vanished.
#[tokio::test]
async fn groups_belong_to_the_owner_that_a_pull_names() {
    let mut pair = Pair::new().await;
    let first = pair.back_up("web", 1, &[0]).await;
    let gone = pair.back_up("gone", 2, &[1]).await;
    add_joe(&mut pair.target);
    pair.pull_with(for_joe).await.unwrap();
    let of = |owner: &str, ids: &[&str]| -> BTreeMap<String, String> {
        ids.iter().map(|id| ((*id).to_owned(), owner.to_owned())).collect()
    };
    assert_eq!(owners(&pair).await, of("joe@pbs", &["gone", "web"]));

    let second = pair.back_up("web", 3, &[2]).await;
    let report = pair.pull_with(for_joe).await.unwrap();
    assert_eq!([count(&report, "snapshots"), count(&report, "unchanged")], [1, 2], "{report}");
    pair.assert_here(&[&first, &second, &gone]).await;

    // For its own caller it makes new groups, and leaves those of the other one alone.
    pair.source.store().forget(&gone).await.unwrap();
    let third = pair.back_up("web", 4, &[3]).await;
    let roots = pair.back_up("db", 5, &[4]).await;
    let (_, report) = pair.pull_with(|request| request.selection.remove_vanished = true).await.unwrap_err();
    assert_eq!(report["failures"].as_array().unwrap().len(), 1, "{report}");
    assert!(errors(&report).contains("group host/web is owned by joe@pbs, not by root@pam"), "{report}");
    let mut expected = of("joe@pbs", &["gone", "web"]);
    expected.extend(of("root@pam", &["db"]));
    assert_eq!(owners(&pair).await, expected);
    pair.assert_here(&[&first, &second, &gone, &roots]).await;

    let vanished = |request: &mut PullRequest| {
        for_joe(request);
        request.selection.remove_vanished = true;
    };
    let (_, report) = pair.pull_with(vanished).await.unwrap_err();
    assert!(errors(&report).contains("group host/db is owned by root@pam, not by joe@pbs"), "{report}");
    assert_eq!([count(&report, "snapshots"), count(&report, "removed_groups")], [1, 1], "{report}");
    expected.remove("gone");
    assert_eq!(owners(&pair).await, expected);
    pair.assert_here(&[&first, &second, &third, &roots]).await;
}

/// Goal: a dry run tells of groups that the pull would refuse, in the same words, and counts nothing of them.
/// Method: one of two groups is somebody else's here, and has a new snapshot in the source.
#[tokio::test]
async fn a_dry_run_refuses_the_groups_of_others_like_a_pull() {
    let mut pair = Pair::new().await;
    let first = pair.back_up("web", 1, &[0]).await;
    pair.pull().await.unwrap();
    give_away(&mut pair.target, "web").await;
    pair.back_up("web", 2, &[1]).await;
    let other = pair.back_up("db", 3, &[2]).await;
    let (_, foreseen) = pair.pull_with(|request| request.selection.dry_run = true).await.unwrap_err();
    pair.assert_here(&[&first]).await;
    assert_eq!([count(&foreseen, "snapshots"), count(&foreseen, "unchanged")], [1, 0], "{foreseen}");
    assert!(errors(&foreseen).contains("group host/web is owned by joe@pbs, not by root@pam"), "{foreseen}");
    let (_, report) = pair.pull().await.unwrap_err();
    assert_eq!(report["failures"], foreseen["failures"]);
    assert_eq!(count(&report, "snapshots"), 1, "{report}");
    pair.assert_here(&[&first, &other]).await;

    // Where nothing is yet, nobody has anything.
    let elsewhere = |request: &mut PullRequest| (request.selection.dry_run, request.ns) = (true, ns("a"));
    let foreseen = pair.pull_with(elsewhere).await.unwrap();
    assert_eq!([count(&foreseen, "groups"), count(&foreseen, "snapshots")], [2, 3], "{foreseen}");
    assert_eq!(pair.target.store().namespaces(None).await.unwrap().len(), 1);
}

/// Goal: the rights of whoever pulls are asked for in each namespace, since deeper entries of the access list replace those above;
/// a dry run says the same.
#[tokio::test]
async fn each_namespace_of_the_target_has_rights_of_its_own() {
    let (source, target) = (Site::on_filesystem(), TestServer::start().await);
    let default = || "default".parse().unwrap();
    let (there, here) = (source.client(), target.client());
    for name in ["locked", "kept", "new"] {
        there.store(default(), ns("")).create_namespace(name).await.unwrap();
        back_up(&there.store(default(), ns(name)), &snapshot("x", TIME), &content(&[0])).await;
    }
    for name in ["locked", "kept"] {
        here.store(default(), ns("")).create_namespace(name).await.unwrap();
    }
    here.add_remote(&remote(&source)).await.unwrap();
    let joe = target.user("joe@pbs", "DatastorePowerUser").await;
    for (path, role) in [
        ("/remote/source/default", "RemoteSyncOperator"),
        ("/datastore/default/locked", "DatastoreReader"),
        ("/datastore/default/kept", "DatastoreBackup"),
    ] {
        let (path, who) = (path.parse().unwrap(), "joe@pbs".parse().unwrap());
        let entry = AclEntry { path, who, role: role.parse().unwrap(), propagate: true };
        target.server.identities().grant(entry).await.unwrap();
    }
    let pull = async |more: Value| {
        let mut body = json!({ "store": "default", "remote": "source", "remote-store": "default" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let upid = joe.post_json("/api2/json/pull", &body).await.data().as_str().unwrap().to_owned();
        here.wait_task(&upid, |_| {}).await.unwrap_err();
        super::report(&here, &upid).await
    };
    let denied = json!([
        { "ns": "new", "error": "joe@pbs has no right to make namespaces in namespace \"\" of the target" },
        { "ns": "locked", "error": "joe@pbs has no right to back up into namespace \"locked\" of the target" },
    ]);
    for dry_run in [true, false] {
        let report = pull(json!({ "dry-run": dry_run })).await;
        assert_eq!(report["failures"], denied, "{dry_run}");
        assert_eq!(count(&report, "snapshots"), 1, "{report}");
    }
    let kept = here.store(default(), ns("kept"));
    assert_eq!(names(&kept).await, [snapshot("x", TIME)]);

    // Of what vanished nothing goes where they may only add.
    let there = there.store(default(), ns("kept"));
    back_up(&there, &snapshot("x", TIME + 1), &content(&[1])).await;
    there.forget(&snapshot("x", TIME)).await.unwrap();
    let report = pull(json!({ "remove-vanished": true, "group-filter": ["type:host"] })).await;
    let failure = json!({
        "ns": "kept", "group": "host/x", "error": "joe@pbs has no right to remove snapshots from namespace \"kept\" of the target",
    });
    assert!(report["failures"].as_array().unwrap().contains(&failure), "{report}");
    assert_eq!(names(&kept).await, [snapshot("x", TIME), snapshot("x", TIME + 1)]);
    target.end().await;
}
