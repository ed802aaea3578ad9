//! Plain calls: what goes out, login, errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use coldkeep_client::{
    Client, Credentials, PruneKeep, PullRequest, PushRequest, RequestError, Secret, TaskError,
    TransferLimits, VerifyOptions, VerifyScope,
};
use coldkeep_datastore::{GroupName, Namespace, SnapshotName};
use http::StatusCode;
use serde_json::json;

use super::server::{GONE, Server, data, error, ok};

fn user() -> Credentials {
    Credentials::new("test@pbs".parse().unwrap(), Secret::new("a b&c"))
}

fn ticket(number: usize) -> serde_json::Value {
    json!({ "username": "test@pbs", "ticket": format!("PBS:test@pbs:{number:08X}::sig+/"), "CSRFPreventionToken": "6B:x" })
}

fn snapshot() -> SnapshotName {
    "host/demo/2023-11-14T22:13:20Z".parse().unwrap()
}

#[tokio::test]
async fn calls_go_out_as_stock_clients_send_them() {
    let server = Server::new(|seen| match seen.path() {
        "/api2/json/admin/datastore/tank/gc" => data(&json!("UPID:x")),
        "/api2/json/admin/datastore/tank/verify" => data(&json!("UPID:y")),
        "/api2/json/admin/datastore/tank/notes" => data(&json!(null)),
        "/api2/json/admin/datastore/tank/namespace" => data(&json!("a/b/c")),
        "/api2/json/admin/datastore/tank/status" => data(&json!({"total": 1, "used": 2, "avail": 3})),
        _ => data(&json!([])),
    });
    let client = Client::new(server.clone(), Credentials::Local);
    let root = client.store("tank".parse().unwrap(), Namespace::root());
    let nested = client.store("tank".parse().unwrap(), "a/b".parse().unwrap());
    let group: GroupName = "host/demo".parse().unwrap();
    nested.groups().await.unwrap();
    root.snapshots(Some(group.ty), Some(&group.id)).await.unwrap();
    root.set_notes(&snapshot(), "two words").await.unwrap();
    assert_eq!(root.start_gc().await.unwrap(), "UPID:x");
    root.start_verify(&VerifyScope::Snapshot(snapshot()), &VerifyOptions::unverified()).await.unwrap();
    let keep = PruneKeep { keep_last: Some(1), ..PruneKeep::default() };
    nested.prune(&group, &keep, true).await.unwrap();
    assert_eq!(nested.create_namespace("c").await.unwrap().to_string(), "a/b/c");
    assert_eq!(root.status().await.unwrap().avail, 3);
    let base = "/api2/json/admin/datastore/tank";
    assert_eq!(
        server.log(),
        [
            format!("GET {base}/groups?ns=a%2Fb"),
            format!("GET {base}/snapshots?backup-id=demo&backup-type=host"),
            format!(
                "PUT {base}/notes?backup-id=demo&backup-time=1700000000&backup-type=host&notes=two+words"
            ),
            format!("POST {base}/gc"),
            format!("POST {base}/verify"),
            format!("POST {base}/prune"),
            format!("POST {base}/namespace"),
            format!("GET {base}/status?verbose=true"),
        ]
    );
    let seen = server.seen();
    assert_eq!(seen[0].header("host"), "localhost:8007");
    assert_eq!(seen[0].header("cookie"), "");
    assert_eq!(seen[3].header("content-type"), "application/x-www-form-urlencoded");
    assert!(seen[3].body.is_empty());
    assert_eq!(seen[5].header("content-type"), "application/json");
    let body: serde_json::Value = serde_json::from_slice(&seen[5].body).unwrap();
    let expected =
        json!({ "backup-type": "host", "backup-id": "demo", "ns": "a/b", "keep-last": 1, "dry-run": true });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn the_first_call_logs_in_and_the_next_use_the_ticket() {
    let server = Server::new(|seen| match seen.path() {
        "/api2/json/access/ticket" => data(&ticket(1)),
        _ => data(&json!({ "version": "4.0", "release": "0", "repoid": "" })),
    });
    let client = Client::new(server.clone(), user());
    client.version().await.unwrap();
    client.clone().version().await.unwrap();
    assert_eq!(
        server.log(),
        ["POST /api2/json/access/ticket", "GET /api2/json/version", "GET /api2/json/version"]
    );
    let seen = server.seen();
    let login: serde_json::Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(login, json!({ "username": "test@pbs", "password": "a b&c" }));
    assert_eq!(seen[1].header("cookie"), "PBSAuthCookie=PBS:test@pbs:00000001::sig+/");
    assert_eq!(seen[2].header("csrfpreventiontoken"), "6B:x");
}

#[tokio::test]
async fn a_ticket_that_is_no_longer_taken_is_replaced_with_the_password() {
    let logins = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&logins);
    let server = Server::new(move |seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        match seen.path() {
            // Tickets are not taken as passwords: the server has new keys.
            "/api2/json/access/ticket" if body.contains("PBS:") => error(401, "authentication failed"),
            "/api2/json/access/ticket" => data(&ticket(counter.fetch_add(1, Ordering::SeqCst))),
            _ if seen.header("cookie").contains(":00000000:") => error(401, "permission check failed"),
            _ => data(&json!([])),
        }
    });
    let client = Client::new(server, user());
    client.datastores().await.unwrap();
    assert_eq!(logins.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_wrong_password_is_unauthorized_and_not_tried_again() {
    let server = Server::new(|_| error(401, "authentication failed"));
    let client = Client::new(server.clone(), user());
    let refused = client.datastores().await.unwrap_err();
    assert!(refused.is_unauthorized());
    assert_eq!(refused.to_string(), "authentication failed (401 Unauthorized)");
    assert_eq!(server.log().len(), 1);
}

#[tokio::test]
async fn a_second_factor_is_not_supported() {
    let answer =
        json!({ "username": "test@pbs", "ticket": "PBS:!tfa!%7B%7D:0::x", "CSRFPreventionToken": "invalid" });
    let server = Server::new(move |_| data(&answer));
    let refused = Client::new(server, user()).login().await.unwrap_err();
    assert!(matches!(refused, RequestError::SecondFactor { .. }));
}

#[tokio::test]
async fn tokens_are_shown_with_every_call_and_need_no_login() {
    let server = Server::new(|_| data(&json!([])));
    let token = Credentials::new("test@pbs!tok1".parse().unwrap(), Secret::new("1-2:3"));
    Client::new(server.clone(), token).datastores().await.unwrap();
    assert_eq!(server.log(), ["GET /api2/json/admin/datastore"]);
    assert_eq!(server.seen()[0].header("authorization"), "PBSAPIToken=test@pbs!tok1:1-2%3A3");
}

#[tokio::test]
async fn refusals_bear_status_and_message() {
    let server = Server::new(|_| error(400, "no such datastore 'x'"));
    let client = Client::new(server, Credentials::Local);
    let refused = client.datastores().await.unwrap_err();
    assert_eq!(refused.status().unwrap(), 400);
    assert_eq!(refused.to_string(), "no such datastore 'x' (400 Bad Request)");
}

#[tokio::test]
async fn answers_that_are_no_json_are_errors() {
    for body in ["", "<html>", "{}", r#"{"data":5}"#] {
        let client = Client::new(Server::new(move |_| ok(body)), Credentials::Local);
        assert!(matches!(client.version().await.unwrap_err(), RequestError::Answer { .. }), "{body}");
    }
}

/// Goal: a list of other groups is not taken for one of this group.
#[tokio::test]
async fn a_list_with_what_was_not_asked_for_is_an_error() {
    let server = Server::new(|_| {
        let item = |id: &str| {
            json!({
                "backup-type": "host", "backup-id": id, "backup-time": 1_700_000_000, "files": []
            })
        };
        data(&json!([item("demo"), item("other")]))
    });
    let store = Client::new(server, Credentials::Local).store("tank".parse().unwrap(), Namespace::root());
    let group = snapshot().group;
    let refused = store.snapshots(Some(group.ty), Some(&group.id)).await.unwrap_err();
    assert!(matches!(refused, RequestError::Answer { .. }), "{refused:?}");
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert_eq!(cause, "it lists host/other/2023-11-14T22:13:20Z, which was not asked for");
    assert!(store.snapshots(Some(coldkeep_datastore::BackupType::Vm), None).await.is_err());
    assert_eq!(store.snapshots(Some(group.ty), None).await.unwrap().len(), 2);
    assert_eq!(store.snapshots(None, None).await.unwrap().len(), 2);
}

/// A task whose log grows by 300 lines with every poll, up to 900, and then ends.
fn task(exit: &'static str) -> Server {
    let polls = AtomicUsize::new(0);
    Server::new(move |seen| {
        if seen.path().ends_with("/status") {
            return data(
                &json!({ "upid": "UPID:x", "node": "n", "pid": 1, "pstart": 1, "starttime": 1, "type": "t",
                "id": null, "user": "root@pam", "status": "stopped", "exitstatus": exit }),
            );
        }
        let total = (polls.fetch_add(1, Ordering::SeqCst) + 1).min(3) * 300;
        let start: usize =
            seen.target.split("start=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
        let lines: Vec<_> = (start..=total)
            .take(500)
            .map(|n| json!({ "n": n, "t": format!("2023-11-14T22:13:20+00:00: line {n}") }))
            .collect();
        ok(json!({ "data": lines, "total": total, "success": 1, "active": total < 900 }).to_string())
    })
}

#[tokio::test]
async fn waiting_for_a_task_gives_every_line_once() {
    let server = task("OK");
    let client = Client::new(server.clone(), Credentials::Local);
    let mut lines = Vec::new();
    let status = client.wait_task("UPID:a_b", |line| lines.push(line.to_owned())).await.unwrap();
    assert!(status.is_success());
    assert_eq!(lines, (1..=900).map(|n| format!("line {n}")).collect::<Vec<_>>());
    assert!(
        server.log()[0]
            .starts_with("GET /api2/json/nodes/localhost/tasks/UPID%3Aa%5Fb/log?limit=500&start=1&")
    );
}

#[tokio::test]
async fn a_task_that_failed_is_an_error() {
    let client = Client::new(task("disk full"), Credentials::Local);
    let failed = client.wait_task("UPID:x", |_| ()).await.unwrap_err();
    assert!(matches!(&failed, TaskError::Failed { status, .. } if status == "disk full"), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_end_is_not_recorded_is_waited_for_half_a_minute() {
    let server = Server::new(|seen| match seen.path().rsplit('/').next() {
        Some("log") => ok(json!({ "data": [], "total": 0, "success": 1, "active": false }).to_string()),
        _ => {
            data(&json!({ "upid": "UPID:x", "node": "n", "pid": 1, "pstart": 1, "starttime": 1, "type": "t",
            "id": null, "user": "root@pam", "status": "running" }))
        }
    });
    let client = Client::new(server, Credentials::Local);
    let begun = tokio::time::Instant::now();
    let lost = client.wait_task("UPID:x", |_| ()).await.unwrap_err();
    assert!(matches!(&lost, TaskError::Lost { upid } if upid == "UPID:x"), "{lost:?}");
    let waited = begun.elapsed().as_secs();
    assert!((30..33).contains(&waited), "{waited} s");
}

#[tokio::test]
async fn replication_is_asked_for_with_what_is_set_and_nothing_else() {
    let server = Server::new(|seen| match seen.path() {
        "/api2/json/sync-report" => data(&json!({ "groups": 3, "later": [] })),
        _ => data(&json!("UPID:x")),
    });
    let client = Client::new(server.clone(), Credentials::Local);
    let name = |text: &str| text.parse().unwrap();
    let mut pull = PullRequest::new(name("tank"), None, name("other"));
    assert_eq!(client.start_pull(&pull).await.unwrap(), "UPID:x");
    pull.ns = "a/b".parse().unwrap();
    pull.remote = Some("pbs1".to_owned());
    pull.remote_ns = "c".parse().unwrap();
    pull.owner = Some("joe@pbs!t".parse().unwrap());
    let what = &mut pull.selection;
    (what.max_depth, what.transfer_last, what.worker_threads) = (Some(0), Some(3), Some(4));
    what.group_filter = vec!["type:vm".to_owned(), "exclude:regex:^vm/1".to_owned()];
    (what.remove_vanished, what.encrypted_only, what.verified_only, what.dry_run) = (true, true, true, true);
    (pull.resync_corrupt, pull.rate_in, pull.trusted_remote) = (true, Some(1 << 20), true);
    client.start_pull(&pull).await.unwrap();
    let mut push = PushRequest::new(name("tank"), "pbs1".to_owned(), name("other"));
    client.start_push(&push).await.unwrap();
    (push.ns, push.remote_ns) = ("a".parse().unwrap(), "b".parse().unwrap());
    let what = &mut push.selection;
    (what.max_depth, what.transfer_last, what.worker_threads) = (Some(7), Some(1), Some(2));
    what.group_filter = vec!["group:vm/100".to_owned()];
    (what.remove_vanished, what.encrypted_only, what.verified_only, what.dry_run) = (true, true, true, true);
    push.rate_out = Some(5);
    client.start_push(&push).await.unwrap();
    let report = client.sync_report("UPID:x").await.unwrap();
    assert_eq!((report.groups, report.failures.len()), (3, 0));
    assert_eq!(
        server.log(),
        [
            "POST /api2/json/pull",
            "POST /api2/json/pull",
            "POST /api2/json/push",
            "POST /api2/json/push",
            "GET /api2/json/sync-report?upid=UPID%3Ax",
        ]
    );
    let bodies: Vec<serde_json::Value> =
        server.seen()[..4].iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect();
    assert_eq!(bodies[0], json!({ "store": "tank", "remote-store": "other" }));
    assert_eq!(
        bodies[1],
        json!({
            "store": "tank", "ns": "a/b", "remote": "pbs1", "remote-store": "other", "remote-ns": "c",
            "owner": "joe@pbs!t", "remove-vanished": true, "max-depth": 0,
            "group-filter": ["type:vm", "exclude:regex:^vm/1"], "transfer-last": 3, "resync-corrupt": true,
            "encrypted-only": true, "verified-only": true, "worker-threads": 4, "rate-in": 1_048_576,
            "dry-run": true, "trusted-remote": true,
        })
    );
    assert_eq!(bodies[2], json!({ "store": "tank", "remote": "pbs1", "remote-store": "other" }));
    assert_eq!(
        bodies[3],
        json!({
            "store": "tank", "ns": "a", "remote": "pbs1", "remote-store": "other", "remote-ns": "b",
            "remove-vanished": true, "max-depth": 7, "group-filter": ["group:vm/100"], "transfer-last": 1,
            "encrypted-only": true, "verified-only": true, "worker-threads": 2, "rate-out": 5, "dry-run": true,
        })
    );
}

// Goal: a server that closes an idle connection just when it is used again fails no call that may be made twice.
// Method: every second request loses its connection; the first one on a fresh connection never does.
#[tokio::test]
async fn what_changes_nothing_is_tried_again_when_an_idle_connection_ends() {
    let number = AtomicUsize::new(0);
    let server = Server::new(move |_| {
        if number.fetch_add(1, Ordering::Relaxed) % 2 == 1 { (GONE, Bytes::new()) } else { data(&json!([])) }
    });
    let client = Client::new(server.clone(), Credentials::Local);
    let store = client.store("tank".parse().unwrap(), Namespace::root());
    store.groups().await.unwrap();
    // The second one is lost, and comes again as the third.
    store.groups().await.unwrap();
    assert_eq!((server.connections(), server.log().len()), (2, 3));
    let removed = store.forget(&snapshot()).await;
    assert!(matches!(removed, Err(RequestError::Transport { .. })), "{removed:?}");
    assert_eq!((server.connections(), server.log().len()), (2, 4));
}

#[tokio::test]
async fn sessions_begin_again_when_an_idle_connection_ends_but_backups_do_not() {
    let is_lost = Arc::new(AtomicUsize::new(0));
    let losing = Arc::clone(&is_lost);
    let server = Server::new(move |seen| match seen.path() {
        "/api2/json/reader" | "/api2/json/backup" if losing.swap(0, Ordering::Relaxed) == 1 => {
            (GONE, Bytes::new())
        }
        "/api2/json/reader" => (StatusCode::SWITCHING_PROTOCOLS, Bytes::new()),
        "/download" => error(404, "no such file"),
        _ => data(&json!([])),
    });
    let client = Client::new(server.clone(), Credentials::Local);
    let store = client.store("tank".parse().unwrap(), Namespace::root());
    for path in ["reader", "backup"] {
        store.groups().await.unwrap();
        let connections = server.connections();
        is_lost.store(1, Ordering::Relaxed);
        let (is_reader, limits) = (path == "reader", TransferLimits::default());
        let failed = if is_reader {
            store.open_snapshot(&snapshot(), limits).await.err().map(|error| error.to_string())
        } else {
            store.begin_backup(&snapshot(), limits).await.err().map(|error| error.to_string())
        };
        assert!(failed.is_some());
        let asked = server.log().iter().filter(|line| line.contains(&format!("/{path}?"))).count();
        let more = server.connections() - connections;
        assert_eq!((asked, more), if is_reader { (2, 1) } else { (1, 0) }, "{path}: {failed:?}");
    }
}
