//! `/config/job` and what lies below it.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::testing::ManualClock;
use coldkeep_server::auth::AclEntry;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Hook;
use crate::harness::{TestServer, limits};
use crate::wire::Wire;

const JOBS: &str = "/api2/json/config/job";
const USERS: &str = "/api2/json/config/user";
const GC: &str = "/api2/json/admin/datastore/default/gc";

fn prune(id: &str) -> Value {
    json!({ "id": id, "store": "default", "kind": "prune", "keep-last": 3 })
}

/// The same with some members replaced; null removes one.
fn with(job: &Value, changes: &Value) -> Value {
    let mut changed = job.as_object().unwrap().clone();
    changed.extend(changes.as_object().unwrap().clone());
    changed.retain(|_, value| !value.is_null());
    changed.into()
}

async fn grant(server: &TestServer, who: &str, path: &str, role: &str) {
    let (path, role) = (path.parse().unwrap(), role.parse().unwrap());
    let entry = AclEntry { path, who: who.parse().unwrap(), role, propagate: true };
    server.server.identities().grant(entry).await.unwrap();
}

#[tokio::test]
async fn users_and_tokens_that_jobs_run_as_are_not_removed() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let al = server.user("al@pbs", "DatastoreAdmin").await;
    al.post_json(&format!("{USERS}/al@pbs/token/ci"), &json!({})).await.ok();
    grant(&server, "al@pbs!ci", "/datastore", "DatastoreAdmin").await;
    root.post_json(JOBS, &with(&prune("of-token"), &json!({ "run-as": "al@pbs!ci" }))).await.ok();
    for path in ["al@pbs", "al@pbs/token/ci"] {
        root.delete(&format!("{USERS}/{path}")).await.refused(400, "of-token");
    }
    al.get("/api2/json/version").await.ok();
    root.put(&format!("{JOBS}/of-token?run-as=al@pbs")).await.ok();
    root.delete(&format!("{USERS}/al@pbs/token/ci")).await.ok();
    root.delete(&format!("{USERS}/al@pbs")).await.refused(400, "of-token");
    root.delete(&format!("{JOBS}/of-token")).await.ok();
    root.delete(&format!("{USERS}/al@pbs")).await.ok();
}

#[tokio::test]
async fn jobs_are_added_shown_changed_and_removed_and_their_secrets_never_shown() {
    let server = TestServer::start().await;
    let root = server.root().await;
    assert_eq!(root.get(JOBS).await.data(), json!([]));
    let added = with(
        &prune("nightly"),
        &json!({
            "ns": "a/b", "keep-weekly": 4, "max-depth": 2, "schedule": "2199-1-1", "retries": 3, "retry-wait": 5,
            "notify-url": "https://alerts.example.com/x", "notify": "always", "notify-secret": "Bearer hush",
            "comment": "at night", "enabled": true,
        }),
    );
    assert!(root.post_json(JOBS, &added).await.data().is_null());
    root.post_json(JOBS, &added).await.refused(400, "nightly exists already");
    let mut item = with(&added, &json!({ "run-as": "root@pam", "notify-secret": null, "retries-done": 0 }));
    let mut shown = root.get(JOBS).await.data();
    let next = shown[0].as_object_mut().unwrap().remove("next-run").unwrap();
    assert!(next.as_i64().unwrap() > 7_226_000_000, "{next}");
    assert_eq!(shown, json!([item]));
    let one = format!("{JOBS}/nightly");
    let file = server.folder().join("data/config/jobs.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&file).unwrap().contains("hush"));

    // As stock clients do it: everything in the query, lists as repeated keys.
    let changes = "keep-last=5&delete=schedule&delete=keep-weekly&delete=comment&enabled=0&notify=failure";
    assert!(root.put(&format!("{one}?{changes}")).await.data().is_null());
    let changed = json!({
        "keep-last": 5, "schedule": null, "keep-weekly": null, "comment": null, "enabled": false,
        "notify": "failure",
    });
    item = with(&item, &changed);
    assert_eq!(root.get(&one).await.data(), item);
    // Another URL does not get the secret of the first.
    root.put(&format!("{one}?notify-url=http://other.example.com/")).await.ok();
    assert!(!std::fs::read_to_string(&file).unwrap().contains("hush"));
    root.put(&format!("{one}?notify-secret=Bearer+quiet")).await.ok();
    server.server.audit().flush().await;
    let audit = std::fs::read_to_string(server.folder().join("data/log/audit.log")).unwrap();
    assert!(audit.contains("/config/job/{id}"), "{audit}");
    for secret in ["hush", "quiet", "alerts.example.com", "other.example.com"] {
        assert!(!audit.contains(secret), "{secret} stands in {audit}");
    }
    root.put(&format!("{one}?delete=keep-last")).await.refused(400, "'keep-last'");
    root.put(&format!("{JOBS}/nosuch?comment=x")).await.refused(400, "no job nosuch");
    assert!(root.delete(&one).await.data().is_null());
    root.delete(&one).await.refused(400, "no job nightly");
    assert_eq!(root.get(JOBS).await.data(), json!([]));
}

#[tokio::test]
async fn bad_values_are_refused_and_change_nothing() {
    let server = TestServer::start().await;
    let root = server.root().await;
    root.post_json(JOBS, &prune("nightly")).await.ok();
    let file = server.folder().join("data/config/jobs.json");
    let before = std::fs::read(&file).unwrap();
    let pull = json!({
        "id": "other", "store": "default", "kind": "pull", "remote": "far", "remote-store": "tank",
    });
    for (good, name, value) in [
        (prune("other"), "id", json!("ab")),
        (prune("other"), "id", json!("../x")),
        (prune("other"), "id", Value::Null),
        (prune("other"), "store", json!("../x")),
        (prune("other"), "store", Value::Null),
        (prune("other"), "kind", json!("shred")),
        (prune("other"), "kind", Value::Null),
        (prune("other"), "schedule", json!("now and then")),
        (prune("other"), "schedule", json!("")),
        (prune("other"), "enabled", json!("perhaps")),
        (prune("other"), "run-as", json!("joe")),
        (prune("other"), "retries", json!(11)),
        (prune("other"), "retry-wait", json!(0)),
        (prune("other"), "notify-url", json!("ftp://a/")),
        (prune("other"), "notify-url", json!("http://joe@a/")),
        (prune("other"), "notify", json!("often")),
        (prune("other"), "notify-secret", json!("a\r\nb: c")),
        (prune("other"), "notify-secret", json!("for nobody")),
        (prune("other"), "comment", json!("x".repeat(1000))),
        (prune("other"), "keep-last", json!(0)),
        (prune("other"), "keep-last", Value::Null),
        (prune("other"), "max-depth", json!(8)),
        (prune("other"), "ns", json!("a//b")),
        (prune("other"), "max-delete-rate", json!(1)),
        (prune("other"), "remote", json!("far")),
        (prune("other"), "what", json!(1)),
        (pull.clone(), "remote", Value::Null),
        (pull.clone(), "remote-store", Value::Null),
        (pull.clone(), "keep-last", json!(1)),
        (pull.clone(), "rate-out", json!(1000)),
        (pull.clone(), "rate-in", json!(1)),
        (pull.clone(), "group-filter", json!(["what"])),
        (pull.clone(), "worker-threads", json!(33)),
        (pull, "owner", json!("joe")),
    ] {
        let bad = with(&good, &json!({ name: value }));
        root.post_json(JOBS, &bad).await.refused(400, name);
    }
    let nowhere = with(&prune("other"), &json!({ "store": "nosuch" }));
    root.post_json(JOBS, &nowhere).await.refused(400, "no datastore nosuch");
    let nobody = with(&prune("other"), &json!({ "run-as": "joe@pbs" }));
    root.post_json(JOBS, &nobody).await.refused(400, "no user or token joe@pbs");
    for change in ["kind=gc", "store=other", "delete=kind", "schedule=x", "rate-in=5000", "retries=-1"] {
        let name = change.split_once('=').unwrap().0;
        root.put(&format!("{JOBS}/nightly?{change}")).await.refused(400, name);
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn who_may_see_change_and_run_jobs_is_said_by_the_access_list() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let verify = json!({ "id": "verify", "store": "default", "kind": "verify" });
    root.post_json(JOBS, &prune("nightly")).await.ok();
    root.post_json(JOBS, &verify).await.ok();
    let stranger = server.user("al@pbs", "NoAccess").await;
    let auditor = server.user("bo@pbs", "DatastoreAudit").await;
    let reader = server.user("cy@pbs", "DatastoreReader").await;
    let admin = server.user("di@pbs", "DatastoreAdmin").await;
    let ids = async |caller: &Wire| {
        let listed = caller.get(JOBS).await.data();
        listed.as_array().unwrap().iter().map(|item| item["id"].clone()).collect::<Vec<_>>()
    };
    assert!(ids(&stranger).await.is_empty());
    for caller in [&auditor, &reader, &admin] {
        assert_eq!(ids(caller).await, ["nightly", "verify"]);
    }
    for id in ["nightly", "nosuch"] {
        // The same for jobs that are there and those that are not.
        let denied = format!("failed on job {id}");
        stranger.get(&format!("{JOBS}/{id}")).await.refused(403, &denied);
        stranger.put(&format!("{JOBS}/{id}?comment=x")).await.refused(403, &denied);
        stranger.delete(&format!("{JOBS}/{id}")).await.refused(403, &denied);
        stranger.post(&format!("/api2/json/admin/job/{id}/run")).await.refused(403, &denied);
    }
    for (caller, id) in [(&auditor, "nightly"), (&auditor, "verify"), (&reader, "nightly")] {
        let denied = "failed on /datastore/default";
        caller.put(&format!("{JOBS}/{id}?comment=x")).await.refused(403, denied);
        caller.delete(&format!("{JOBS}/{id}")).await.refused(403, denied);
        caller.post(&format!("/api2/json/admin/job/{id}/run")).await.refused(403, denied);
    }
    auditor.post_json(JOBS, &prune("mine")).await.refused(403, "failed on /datastore/default");
    Wire::nobody(server.address).get(JOBS).await.refused(401, "");
    reader.post("/api2/json/admin/job/verify/run").await.ok();

    // Root's job does what root may do: only who can act as root decides what that is.
    admin.put(&format!("{JOBS}/nightly?keep-last=1")).await.refused(403, "the job runs as root@pam");
    admin.put(&format!("{JOBS}/nightly?keep-last=1&run-as=di@pbs")).await.ok();
    admin.put(&format!("{JOBS}/nightly?run-as=root@pam")).await.refused(403, "the job runs as root@pam");
    admin.post_json(JOBS, &prune("mine")).await.ok();
    assert_eq!(admin.get(&format!("{JOBS}/mine")).await.data()["run-as"], "di@pbs");
    let url = "notify-url=http://127.0.0.1/token";
    admin.put(&format!("{JOBS}/mine?{url}")).await.refused(403, "failed on /system");
    root.put(&format!("{JOBS}/mine?{url}")).await.ok();
    // Who may not set it sees where it leads, and not the secret in it.
    for (caller, shown) in [(&admin, "http://127.0.0.1"), (&root, "http://127.0.0.1/token")] {
        assert_eq!(caller.get(&format!("{JOBS}/mine")).await.data()["notify-url"], shown);
        let listed = caller.get(JOBS).await.text();
        assert_eq!(listed.contains("/token"), shown.contains("/token"), "{listed}");
    }

    // A pull asks for what `/pull` does.
    let pull =
        json!({ "id": "pull", "store": "default", "kind": "pull", "remote": "far", "remote-store": "tank" });
    admin.post_json(JOBS, &pull).await.refused(403, "failed on /remote/far/tank");
    grant(&server, "di@pbs", "/remote/far", "RemoteSyncOperator").await;
    admin.post_json(JOBS, &pull).await.ok();
    grant(&server, "bo@pbs", "/remote/far", "RemoteSyncOperator").await;
    auditor.delete(&format!("{JOBS}/pull")).await.refused(403, "failed on /datastore/default");
    admin.delete(&format!("{JOBS}/pull")).await.ok();
}

#[tokio::test]
async fn a_job_is_run_by_hand_and_the_status_of_collections_tells_when_the_next_is() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let mut hook = Hook::start(&[]).await;
    assert!(root.get(GC).await.data().get("schedule").is_none());
    let gc = json!({
        "id": "collect", "store": "default", "kind": "gc", "schedule": "2199-1-1 00:00", "max-delete-rate": 5,
        "notify": "always", "notify-url": hook.url,
    });
    root.post_json(JOBS, &gc).await.ok();
    let status = root.get(GC).await.data();
    assert_eq!(status["schedule"], "2199-1-1 00:00");
    assert!(status["next-run"].as_i64().unwrap() > 7_226_000_000, "{status}");
    let upid = root.post("/api2/json/admin/job/collect/run").await.data();
    let item = root.get(&format!("{JOBS}/collect")).await.data();
    assert_eq!(item["last-run-upid"], upid);
    let news = hook.next().await;
    assert_eq!((&news["upid"], &news["status"], &news["job"]), (&upid, &"ok".into(), &"collect".into()));
    let item = root.get(&format!("{JOBS}/collect")).await.data();
    assert_eq!((&item["last-run-state"], &item["last-run-endtime"]), (&"OK".into(), &news["ended"]));
    let log = root.get(&format!("/api2/json/nodes/localhost/tasks/{}/log", encode(&upid))).await.text();
    assert!(
        log.contains("job collect: started by hand") && log.contains("starting garbage collection"),
        "{log}"
    );
    root.put(&format!("{JOBS}/collect?enabled=0")).await.ok();
    assert!(root.get(GC).await.data().get("schedule").is_none());
    root.post("/api2/json/admin/job/nosuch/run").await.refused(400, "no job nosuch");
    server.end().await;
}

/// Goal: jobs wait for what somebody started by hand, and start when it has ended; but not for those who manage only what is theirs.
/// Method: a pull that waits for the other server until that is gone.
#[tokio::test]
async fn jobs_wait_for_what_was_started_by_hand() {
    let clock = Arc::new(ManualClock::at(StoreTime::from_unix(1_700_000_040, 0)));
    let server = TestServer::start_at(limits(), Arc::clone(&clock) as _).await;
    let root = server.root().await;
    let mut hook = Hook::start(&[]).await;
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = json!({
        "name": "far", "host": "127.0.0.1", "port": far.local_addr().unwrap().port(), "auth-id": "joe@pbs",
        "password": "x", "fingerprint": server.fingerprint,
    });
    root.post_json("/api2/json/config/remote", &remote).await.ok();
    let gc = json!({
        "id": "collect", "store": "default", "kind": "gc", "schedule": "hourly UTC", "notify": "always",
        "notify-url": hook.url,
    });
    root.post_json(JOBS, &gc).await.ok();
    let pull = json!({ "store": "default", "remote": "far", "remote-store": "tank" });
    let client = server.user("al@pbs", "DatastoreBackup").await;
    grant(&server, "al@pbs", "/remote/far", "RemoteSyncOperator").await;
    root.post_json("/api2/json/pull", &pull).await.ok();
    let (stream, _) = far.accept().await.unwrap();
    let stop = CancellationToken::new();
    let scheduler = {
        let (server, stop) = (Arc::clone(&server.server), stop.clone());
        tokio::spawn(async move { server.run_jobs(&stop).await })
    };
    clock.sleeping(1).await;
    clock.advance(Duration::from_mins(50));
    // All of this is on one thread: the scheduler starts what it does before anything else is waited for.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.server.tasks().list().len(), 1, "a job runs beside the pull");
    drop(stream);
    assert_eq!(hook.next().await["job"], "collect");

    client.post_json("/api2/json/pull", &pull).await.ok();
    clock.sleeping(1).await;
    clock.advance(Duration::from_hours(1));
    assert_eq!(hook.next().await["job"], "collect");
    let pulls = server.server.tasks().list().into_iter().filter(|task| task.upid.worker_type == "sync");
    assert_eq!(pulls.filter(|task| task.finished.is_none()).count(), 1);
    drop(far);
    stop.cancel();
    scheduler.await.unwrap();
    server.end().await;
}

fn encode(upid: &Value) -> String {
    let text = upid.as_str().unwrap();
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
