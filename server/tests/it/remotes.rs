//! Remotes: other servers that this one knows, through REST and from the command line.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use coldkeep_server::auth::AclEntry;
use serde_json::{Value, json};

use crate::cli::Place;
use crate::harness::{PASSWORD, TestServer};
use crate::process::Serve;
use crate::wire::Wire;

const REMOTES: &str = "/api2/json/config/remote";
const SECRET: &str = "geheim und läng+er";

/// A server with the user `joe@pbs`, who may see its datastore, and the remote of another one that leads there.
async fn far_server() -> (TestServer, Value) {
    let far = TestServer::start().await;
    far.user("joe@pbs", "DatastoreAudit").await;
    let remote = json!({
        "name": "off-site",
        "host": "127.0.0.1",
        "port": far.address.port(),
        "auth-id": "joe@pbs",
        "password": PASSWORD,
        "fingerprint": far.fingerprint.to_uppercase(),
    });
    (far, remote)
}

/// The same with some members replaced; null removes one.
fn with(remote: &Value, changes: &Value) -> Value {
    let mut changed = remote.as_object().unwrap().clone();
    changed.extend(changes.as_object().unwrap().clone());
    changed.retain(|_, value| !value.is_null());
    changed.into()
}

fn remotes_file(server: &TestServer) -> std::path::PathBuf {
    server.folder().join("data/config/remotes.json")
}

async fn grant(server: &TestServer, who: &str, path: &str, role: &str) {
    let (path, role) = (path.parse().unwrap(), role.parse().unwrap());
    let entry = AclEntry { path, who: who.parse().unwrap(), role, propagate: true };
    server.server.identities().grant(entry).await.unwrap();
}

#[tokio::test]
async fn remotes_are_added_shown_changed_and_removed_and_their_secrets_never_shown() {
    let server = TestServer::start().await;
    let root = server.root().await;
    assert_eq!(root.get(REMOTES).await.data(), json!([]));
    let fingerprint = server.fingerprint.clone();
    let added = json!({
        "name": "off-site",
        "host": "[fd00::7]",
        "auth-id": "joe@pbs!pull",
        "password": SECRET,
        "fingerprint": fingerprint.to_uppercase(),
        "comment": "in the other town",
    });
    assert!(root.post_json(REMOTES, &added).await.data().is_null());
    root.post_json(REMOTES, &added).await.refused(400, "off-site exists already");
    let item = with(&added, &json!({ "host": "fd00::7", "password": null, "fingerprint": fingerprint }));
    assert_eq!(root.get(REMOTES).await.data(), json!([item]));
    let one = format!("{REMOTES}/off-site");
    assert_eq!(root.get(&one).await.data(), item);
    let mode = remotes_file(&server).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // As stock clients do it: everything in the query, lists as repeated keys.
    let changes = "host=far.example.com&port=443&delete=fingerprint&delete=comment";
    assert!(root.put(&format!("{one}?{changes}")).await.data().is_null());
    let changed = json!({ "host": "far.example.com", "port": 443, "fingerprint": null, "comment": null });
    assert_eq!(root.get(&one).await.data(), with(&item, &changed));
    root.put(&format!("{one}?delete=port&comment=back&auth-id=al@pbs")).await.ok();
    let shown = root.get(&one).await;
    assert_eq!(shown.data()["comment"], "back");
    assert!(shown.data().get("port").is_none() && !shown.text().contains("geheim"), "{}", shown.text());
    assert_eq!(server.server.remotes().list()[0].secret.reveal(), SECRET);
    root.put(&format!("{one}?password=other")).await.ok();
    assert_eq!(server.server.remotes().list()[0].secret.reveal(), "other");

    root.put(&format!("{REMOTES}/nosuch?comment=x")).await.refused(400, "no remote nosuch");
    root.get(&format!("{REMOTES}/nosuch")).await.refused(400, "no remote nosuch");
    assert!(root.delete(&one).await.data().is_null());
    root.delete(&one).await.refused(400, "no remote off-site");
    assert_eq!(root.get(REMOTES).await.data(), json!([]));
}

#[tokio::test]
async fn bad_values_are_refused_and_change_nothing() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let good = json!({ "name": "off-site", "host": "far", "auth-id": "joe@pbs", "password": SECRET });
    root.post_json(REMOTES, &good).await.ok();
    let before = std::fs::read(remotes_file(&server)).unwrap();
    let other = with(&good, &json!({ "name": "other" }));
    for (name, value) in [
        ("name", json!("ab")),
        ("name", json!("../x")),
        ("name", json!("a".repeat(33))),
        ("name", Value::Null),
        ("host", json!("a b")),
        ("host", json!("far:8007")),
        ("host", json!("")),
        ("host", Value::Null),
        ("port", json!(0)),
        ("port", json!(65536)),
        ("port", json!("http")),
        ("auth-id", json!("joe")),
        ("auth-id", json!("joe@pbs!")),
        ("auth-id", Value::Null),
        ("password", json!("")),
        ("password", json!("x".repeat(100_000))),
        ("password", Value::Null),
        ("fingerprint", json!("ab:cd")),
        ("fingerprint", json!(server.fingerprint.replace(':', ""))),
        ("comment", json!("x".repeat(1000))),
        ("digest", json!("unknown")),
    ] {
        let bad = with(&other, &json!({ name: value }));
        root.post_json(REMOTES, &bad).await.refused(400, name);
    }
    for change in [
        "name=other",
        "host=a/b",
        "port=0",
        "auth-id=joe",
        "password=",
        "fingerprint=x",
        "delete=host",
        "delete=password",
    ] {
        let name = change.split_once('=').unwrap().0;
        root.put(&format!("{REMOTES}/off-site?{change}")).await.refused(400, name);
    }
    root.get(&format!("{REMOTES}/..")).await.refused(400, "dot");
    root.get(&format!("{REMOTES}/a%2Fb")).await.refused(400, "name");
    assert_eq!(std::fs::read(remotes_file(&server)).unwrap(), before);
    assert_eq!(server.server.remotes().list().len(), 1);
}

#[tokio::test]
async fn who_may_see_and_change_remotes_is_said_by_the_access_list() {
    let server = TestServer::start().await;
    let root = server.root().await;
    for name in ["near", "off-site"] {
        let remote = json!({ "name": name, "host": "far", "auth-id": "joe@pbs", "password": SECRET });
        root.post_json(REMOTES, &remote).await.ok();
    }
    let stranger = server.user("al@pbs", "DatastoreAdmin").await;
    let auditor = server.user("bo@pbs", "DatastoreAudit").await;
    let admin = server.user("cy@pbs", "DatastoreAudit").await;
    grant(&server, "bo@pbs", "/remote/off-site", "RemoteAudit").await;
    grant(&server, "cy@pbs", "/remote", "RemoteAdmin").await;
    grant(&server, "cy@pbs", "/remote/near", "RemoteAudit").await;

    let names = async |caller: &Wire| {
        let listed = caller.get(REMOTES).await.data();
        listed.as_array().unwrap().iter().map(|item| item["name"].clone()).collect::<Vec<_>>()
    };
    assert!(names(&stranger).await.is_empty());
    assert_eq!(names(&auditor).await, ["off-site"]);
    assert_eq!(names(&admin).await, ["near", "off-site"]);
    auditor.get(&format!("{REMOTES}/off-site")).await.ok();

    let one = json!({ "name": "new", "host": "far", "auth-id": "joe@pbs", "password": SECRET });
    for (caller, path) in [(&stranger, "off-site"), (&stranger, "nosuch"), (&auditor, "near")] {
        // The same for remotes that are there and those that are not.
        let denied = format!("failed on /remote/{path}");
        caller.get(&format!("{REMOTES}/{path}")).await.refused(403, &denied);
        caller.get(&format!("{REMOTES}/{path}/scan")).await.refused(403, &denied);
    }
    for (caller, path) in [(&stranger, "off-site"), (&auditor, "off-site"), (&admin, "near")] {
        let denied = format!("failed on /remote/{path}");
        caller.put(&format!("{REMOTES}/{path}?comment=x")).await.refused(403, &denied);
        caller.delete(&format!("{REMOTES}/{path}")).await.refused(403, &denied);
    }
    for caller in [&stranger, &auditor] {
        caller.post_json(REMOTES, &one).await.refused(403, "failed on /remote");
    }
    Wire::nobody(server.address).get(REMOTES).await.refused(401, "");
    admin.post_json(REMOTES, &one).await.ok();
    admin.put(&format!("{REMOTES}/off-site?comment=x")).await.ok();
    admin.delete(&format!("{REMOTES}/off-site")).await.ok();
    assert_eq!(names(&root).await, ["near", "new"]);
}

#[tokio::test]
async fn a_scan_lists_what_the_remote_shows() {
    let (far, remote) = far_server().await;
    let server = TestServer::start().await;
    let root = server.root().await;
    root.post_json(REMOTES, &remote).await.ok();
    let scan = format!("{REMOTES}/off-site/scan");
    assert_eq!(
        root.get(&scan).await.data(),
        json!([{ "store": "default", "comment": null, "backend-type": "filesystem" }])
    );

    let token = "joe@pbs!pull".parse().unwrap();
    let secret = far.server.identities().add_token(token, None).await.unwrap();
    let one = format!("{REMOTES}/off-site");
    root.put(&format!("{one}?auth-id=joe@pbs!pull&password={}", &*secret)).await.ok();
    assert_eq!(root.get(&scan).await.data(), json!([]), "a token has no rights of its own yet");
    grant(&far, "joe@pbs!pull", "/datastore/default", "DatastoreAudit").await;
    assert_eq!(root.get(&scan).await.data()[0]["store"], "default");
}

#[tokio::test]
async fn a_scan_that_fails_says_why_and_is_no_refusal_of_the_caller() {
    let (far, remote) = far_server().await;
    let server = TestServer::start().await;
    let root = server.root().await;
    let scan = async |name: &str, changes: Value| {
        let named = with(&with(&remote, &json!({ "name": name })), &changes);
        root.post_json(REMOTES, &named).await.ok();
        let answer = root.get(&format!("{REMOTES}/{name}/scan")).await;
        answer.refused(400, &format!("cannot list the datastores of the remote {name}: "));
        assert!(!answer.text().contains(PASSWORD), "{}", answer.text());
        answer
    };
    let wrong = scan("wrong-certificate", json!({ "fingerprint": server.fingerprint })).await;
    wrong.refused(400, &format!("has fingerprint {}, expected {}", far.fingerprint, server.fingerprint));
    let unpinned = scan("no-certificate", json!({ "fingerprint": null })).await;
    // On a machine with authorities, and on one without.
    assert!(["is not trusted", "no certificate authorities"].iter().any(|why| unpinned.text().contains(why)));
    scan("wrong-password", json!({ "password": SECRET })).await.refused(400, "401");
    scan("no-such-user", json!({ "auth-id": "al@pbs" })).await.refused(400, "401");
    scan("no-such-token", json!({ "auth-id": "joe@pbs!nosuch" })).await.refused(400, "401");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gone = scan("gone", json!({ "port": closed })).await;
    gone.refused(400, &format!("cannot connect to 127.0.0.1:{closed}: "));
}

/// The secret as a file, and the arguments that add a remote which leads to `far`.
fn arguments(folder: &Path, far: &Serve) -> Vec<String> {
    let file = folder.join("far-password");
    std::fs::write(&file, format!("{}\nmore\n", far.value_of("password").unwrap())).unwrap();
    let port = far.address.port().to_string();
    let file = file.display().to_string();
    let fingerprint = far.value_of("fingerprint").unwrap();
    let given = ["--host", "127.0.0.1", "--auth-id", "root@pam", "--port", &port, "--password-file", &file];
    given.into_iter().chain(["--fingerprint", fingerprint]).map(str::to_owned).collect()
}

/// Adds, lists, scans, changes and removes.
fn manage(place: &Place, far: &Serve) {
    let arguments = arguments(&place.path("."), far);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let password = far.value_of("password").unwrap();

    // What is logged at the finest level, and what is printed, has no secret in it.
    let mut command = place.command(&[&["remote", "add", "off-site"], &arguments[..]].concat());
    let Output { status, stdout, stderr } = command.env("COLDKEEP_LOG", "trace").output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success() && !printed.contains(password), "{printed}");

    let listed = place.json(&["remote", "list"]);
    let item = json!({
        "name": "off-site",
        "host": "127.0.0.1",
        "port": far.address.port(),
        "auth-id": "root@pam",
        "fingerprint": far.value_of("fingerprint").unwrap(),
    });
    assert_eq!(listed, json!([item]));
    let text = place.text(&["remote", "list"]);
    assert!(text.contains("off-site") && text.contains("pinned") && !text.contains(password), "{text}");
    let scanned = place.json(&["remote", "scan", "off-site"]);
    assert_eq!(scanned[0]["store"], "default");
    assert!(place.text(&["remote", "scan", "off-site"]).contains("default"));

    let twice = place.failure(&[&["remote", "add", "off-site"], &arguments[..]].concat());
    assert!(twice.contains("cannot add the remote off-site") && twice.contains("exists already"), "{twice}");
    assert_eq!(
        place.json(&[
            "remote",
            "update",
            "off-site",
            "--comment",
            "two words",
            "--delete",
            "fingerprint,port"
        ]),
        json!({ "changed": "off-site" })
    );
    let changed = with(&item, &json!({ "port": null, "fingerprint": null, "comment": "two words" }));
    assert_eq!(place.json(&["remote", "list"]), json!([changed]));
    assert!(place.failure(&["remote", "update", "off-site"]).contains("say what to change"));
    assert!(place.failure(&["remote", "update", "nosuch", "--comment", "x"]).contains("no remote nosuch"));

    assert_eq!(place.json(&["remote", "remove", "off-site"]), json!({ "removed": "off-site" }));
    assert!(place.failure(&["remote", "remove", "off-site"]).contains("no remote off-site"));
    assert_eq!(place.text(&["remote", "list"]), "no remotes\n");
}

#[test]
fn the_command_line_manages_the_remotes_of_a_folder_and_of_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let far = Serve::start(folder.path());
    manage(&Place::folder(), &far);
    let near_folder = tempfile::tempdir().unwrap();
    let near = Serve::start(near_folder.path());
    manage(&Place::server(&near), &far);
}

#[test]
fn what_a_command_added_to_a_folder_a_server_on_it_knows() {
    let far_folder = tempfile::tempdir().unwrap();
    let far = Serve::start(far_folder.path());
    let place = Place::folder();
    let arguments = arguments(&place.path("."), &far);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    place.text(&[&["remote", "add", "off-site"], &arguments[..]].concat());
    let file = place.path("data/config/remotes.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = place.json(&["remote", "list"]);

    let near = Serve::start(&place.path("data"));
    let server = Place::server(&near);
    assert_eq!(server.json(&["remote", "list"]), before);
    assert_eq!(server.json(&["remote", "scan", "off-site"])[0]["store"], "default");
}

#[test]
fn the_secret_comes_from_a_file_or_the_environment() {
    let place = Place::folder();
    let add = |name: &str| place.command(&["remote", "add", name, "--host", "far", "--auth-id", "joe@pbs"]);
    let secret_of = |name: &str| {
        let remotes = std::fs::read(place.path("data/config/remotes.json")).unwrap();
        let remotes: Value = serde_json::from_slice(&remotes).unwrap();
        let found = remotes.as_array().unwrap().iter().find(|remote| remote["name"] == name).unwrap();
        found["password"].as_str().unwrap().to_owned()
    };
    let none = place.failure(&["remote", "add", "off-site", "--host", "far", "--auth-id", "joe@pbs"]);
    assert!(none.contains("COLDKEEP_REMOTE_PASSWORD") && none.contains("--password-file"), "{none}");
    // The password of the server that the command talks to is another one.
    assert!(!add("other").env("PBS_PASSWORD", "not this").output().unwrap().status.success());

    assert!(add("variable").env("COLDKEEP_REMOTE_PASSWORD", SECRET).output().unwrap().status.success());
    assert_eq!(secret_of("variable"), SECRET);
    let file = place.write("secret", b"from file\nmore\n");
    assert!(add("by-file").env("COLDKEEP_REMOTE_PASSWORD_FILE", &file).output().unwrap().status.success());
    assert_eq!(secret_of("by-file"), "from file");
    let file = file.display().to_string();
    place.text(&["remote", "update", "variable", "--password-file", &file]);
    assert_eq!(secret_of("variable"), "from file");
    // Nobody asked for a new one, so the variable does not count.
    let update = |more: &[&str]| {
        let mut command = place.command(&[&["remote", "update", "variable"], more].concat());
        assert!(command.env("COLDKEEP_REMOTE_PASSWORD", "new").output().unwrap().status.success());
    };
    update(&["--comment", "x"]);
    assert_eq!(secret_of("variable"), "from file");
    update(&["--password"]);
    assert_eq!(secret_of("variable"), "new");
    let missing = place.failure(&["remote", "update", "variable", "--password-file", "nosuch"]);
    assert!(missing.contains("cannot read the password from nosuch"), "{missing}");
}
