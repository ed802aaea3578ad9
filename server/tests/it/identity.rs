//! Users, tokens, roles and the access list, through REST and from the command line; guessed passwords.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::testing::ManualClock;
use coldkeep_server::auth::AclEntry;
use serde_json::{Value, json};

use crate::cli::Place;
use crate::harness::{PASSWORD, TestServer, limits};
use crate::process::Serve;
use crate::wire::{Auth, Wire};

const USERS: &str = "/api2/json/config/user";
const ACL: &str = "/api2/json/config/acl";
const VERSION: &str = "/api2/json/version";
const NOW: i64 = 1_700_000_000;

async fn grant(server: &TestServer, who: &str, path: &str, role: &str) {
    let (path, role) = (path.parse().unwrap(), role.parse().unwrap());
    let entry = AclEntry { path, who: who.parse().unwrap(), role, propagate: true };
    server.server.identities().grant(entry).await.unwrap();
}

fn token(server: &TestServer, made: &Value) -> Wire {
    let (id, secret) = (made["tokenid"].as_str().unwrap(), made["value"].as_str().unwrap());
    Wire { address: server.address, auth: Auth::Token(format!("{id}:{secret}")) }
}

fn login(user: &str, password: &str) -> Value {
    json!({ "username": user, "password": password })
}

#[tokio::test]
async fn users_are_added_shown_changed_and_removed_and_their_passwords_never_shown() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let root_item = json!({ "userid": "root@pam", "enable": true, "expire": 0 });
    assert_eq!(root.get(USERS).await.data(), json!([root_item]));
    let added = json!({ "userid": "joe@pbs", "password": PASSWORD, "comment": "a person", "expire": 4_000_000_000_i64 });
    assert!(root.post_json(USERS, &added).await.data().is_null());
    root.post_json(USERS, &added).await.refused(400, "joe@pbs exists already");
    let one = format!("{USERS}/joe%40pbs");
    let item =
        json!({ "userid": "joe@pbs", "enable": true, "expire": 4_000_000_000_i64, "comment": "a person" });
    assert_eq!(root.get(&one).await.data(), item);
    assert_eq!(root.get(USERS).await.data(), json!([item, root_item]));
    Wire::login(server.address, "joe@pbs", PASSWORD).await;

    assert!(root.put(&format!("{one}?enable=0&delete=comment&delete=expire")).await.data().is_null());
    let item = json!({ "userid": "joe@pbs", "enable": false, "expire": 0 });
    assert_eq!(root.get(&one).await.data(), item);
    let nobody = Wire::nobody(server.address);
    let ticket = "/api2/json/access/ticket";
    nobody.post_json(ticket, &login("joe@pbs", PASSWORD)).await.refused(401, "");
    root.put(&format!("{one}?enable=1&password=another+password")).await.ok();
    nobody.post_json(ticket, &login("joe@pbs", PASSWORD)).await.refused(401, "");
    nobody.post_json(ticket, &login("joe@pbs", "another password")).await.ok();
    root.put(&format!("{one}?password=short")).await.refused(400, "password");

    root.delete(&one).await.ok();
    for answer in [root.get(&one).await, root.delete(&one).await, root.put(&format!("{one}?comment=x")).await]
    {
        answer.refused(400, "there is no joe@pbs");
    }
}

#[tokio::test]
async fn root_cannot_be_shut_out() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let one = format!("{USERS}/root%40pam");
    for change in ["enable=false", "expire=4000000000"] {
        root.put(&format!("{one}?{change}")).await.refused(400, "root@pam cannot be removed or disabled");
    }
    root.delete(&one).await.refused(400, "root@pam cannot be removed or disabled");
    root.put(&format!("{one}?comment=me&expire=0&enable=true")).await.ok();
    assert_eq!(root.get(&one).await.data()["comment"], "me");
    server.root().await;
}

#[tokio::test]
async fn a_token_shows_its_secret_once_and_ends_with_its_validity() {
    let clock = Arc::new(ManualClock::at(StoreTime::from_unix(NOW, 0)));
    let server = TestServer::start_at(limits(), Arc::clone(&clock) as _).await;
    let root = server.root().await;
    server.user("joe@pbs", "DatastoreAudit").await;
    let one = format!("{USERS}/joe%40pbs/token/ci");
    let made = root.post_json(&one, &json!({ "comment": "for tests", "expire": NOW + 60 })).await.data();
    assert_eq!(made["tokenid"], "joe@pbs!ci");
    root.post_json(&one, &json!({})).await.refused(400, "joe@pbs!ci exists already");
    let item = json!({ "tokenid": "joe@pbs!ci", "enable": true, "expire": NOW + 60, "comment": "for tests" });
    assert_eq!(root.get(&one).await.data(), item);
    assert_eq!(root.get(&format!("{USERS}/joe%40pbs/token")).await.data(), json!([item]));
    let listed = root.get("/api2/json/access/users?include_tokens=1").await.data();
    assert_eq!((&listed[0]["tokens"], &listed[1]["tokens"]), (&json!([item]), &json!([])));
    assert!(root.get("/api2/json/access/users").await.data()[0].get("tokens").is_none());

    let ci = token(&server, &made);
    ci.get(VERSION).await.ok();
    clock.advance(Duration::from_mins(1));
    ci.get(VERSION).await.refused(401, "");
    root.put(&format!("{one}?expire=0")).await.ok();
    ci.get(VERSION).await.ok();
    root.put(&format!("{one}?enable=no")).await.ok();
    ci.get(VERSION).await.refused(401, "");
    root.put(&format!("{one}?enable=yes")).await.ok();
    // Nothing but rights of its own that its user has too.
    let status = "/api2/json/admin/datastore/default/status";
    ci.get(status).await.refused(403, "/datastore/default");
    root.put(&format!("{ACL}?path=/datastore&role=DatastoreAdmin&auth-id=joe@pbs!ci")).await.ok();
    ci.get(status).await.ok();
    ci.post("/api2/json/admin/datastore/default/gc").await.refused(403, "/datastore/default");
    root.put(&format!("{USERS}/joe%40pbs?enable=0")).await.ok();
    ci.get(status).await.refused(401, "");
    root.put(&format!("{USERS}/joe%40pbs?enable=1")).await.ok();
    root.delete(&one).await.ok();
    ci.get(VERSION).await.refused(401, "");
    root.delete(&one).await.refused(400, "there is no joe@pbs!ci");
    assert!(!root.get(ACL).await.text().contains("joe@pbs!ci"), "rights outlived their token");
    root.post_json(&format!("{USERS}/no%40pbs/token/ci"), &json!({}))
        .await
        .refused(400, "there is no no@pbs");
}

#[tokio::test]
async fn the_access_list_is_changed_entry_by_entry() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let joe = server.user("joe@pbs", "NoAccess").await;
    let entry = |path: &str, role: &str, propagate: bool| json!({ "path": path, "auth-id": "joe@pbs", "role": role, "propagate": propagate });
    let put = async |query: &str| root.put(&format!("{ACL}?auth-id=joe%40pbs&{query}")).await;
    put("path=/datastore/default&role=NoAccess&delete=1").await.ok();
    put("path=/datastore&role=DatastoreAudit").await.ok();
    put("path=/&role=Audit&propagate=0").await.ok();
    let listed = json!([entry("/", "Audit", false), entry("/datastore", "DatastoreAudit", true)]);
    assert_eq!(root.get(ACL).await.data(), listed);
    joe.get("/api2/json/admin/datastore/default/status").await.ok();
    put("path=/datastore&role=DatastoreAudit&delete=true").await.ok();
    put("path=/datastore&role=DatastoreAudit&delete=true").await.refused(400, "has no role DatastoreAudit");
    joe.get("/api2/json/admin/datastore/default/status").await.refused(403, "");
    root.put(&format!("{ACL}?auth-id=no%40pbs&path=/&role=Audit")).await.refused(400, "there is no no@pbs");
    let roles = root.get("/api2/json/config/role").await.data();
    let power =
        json!({ "role": "DatastorePowerUser", "privileges": ["Datastore.Backup", "Datastore.Prune"] });
    assert!(roles.as_array().unwrap().contains(&power), "{roles}");
}

#[tokio::test]
async fn bad_values_are_refused_and_change_nothing() {
    let server = TestServer::start().await;
    let root = server.root().await;
    server.user("joe@pbs", "DatastoreAudit").await;
    let files = || {
        ["users", "tokens", "acl"]
            .map(|name| std::fs::read(server.folder().join(format!("data/config/{name}.json"))).ok())
    };
    let before = files();
    let long = "x".repeat(2000);
    for (name, value) in [
        ("userid", json!("al")),
        ("userid", json!("al@pbs!ci")),
        ("userid", json!(".al@pbs")),
        ("userid", json!("a/l@pbs")),
        ("userid", Value::Null),
        ("password", json!("short")),
        ("password", json!(long)),
        ("password", Value::Null),
        ("enable", json!("perhaps")),
        ("expire", json!(-1)),
        ("expire", json!(253_402_300_800_i64)),
        ("expire", json!("never")),
        ("comment", json!(long)),
        ("groups", json!("unknown")),
    ] {
        let mut user = json!({ "userid": "al@pbs", "password": PASSWORD });
        user[name] = value;
        root.post_json(USERS, &user).await.refused(400, name);
    }
    let joe = format!("{USERS}/joe%40pbs");
    for change in ["enable=2", "expire=x", "delete=password", "delete=enable", "userid=al@pbs"] {
        let name = change.split_once('=').unwrap().0;
        root.put(&format!("{joe}?{change}")).await.refused(400, name);
    }
    for name in ["a!b", "-x", "a b", "%2e", &"x".repeat(65)] {
        let answer = root.post_json(&format!("{joe}/token/{}", name.replace(' ', "%20")), &json!({})).await;
        answer.refused(400, if name == "%2e" { "dot" } else { "token-name" });
    }
    for query in ["path=x", "path=/..", "role=admin", "auth-id=joe", "propagate=5", "delete=5", "digest=1"] {
        let (name, _) = query.split_once('=').unwrap();
        let good = [("path", "/"), ("role", "Audit"), ("auth-id", "joe@pbs")];
        let rest = good.iter().filter(|(known, _)| *known != name);
        let rest = rest.fold(String::new(), |rest, (name, value)| rest + "&" + name + "=" + value);
        root.put(&format!("{ACL}?{query}{rest}")).await.refused(400, name);
    }
    assert_eq!(files(), before);
}

#[tokio::test]
async fn everybody_sees_and_manages_themselves_and_others_need_a_privilege() {
    let server = TestServer::start().await;
    let joe = server.user("joe@pbs", "DatastoreBackup").await;
    let auditor = server.user("bo@pbs", "DatastoreAudit").await;
    let manager = server.user("cy@pbs", "DatastoreAudit").await;
    grant(&server, "bo@pbs", "/access", "Audit").await;
    grant(&server, "cy@pbs", "/access/users", "Admin").await;
    let names = async |wire: &Wire, path: &str, key: &str| {
        let listed = wire.get(path).await.data();
        listed
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item[key].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for path in [USERS, "/api2/json/access/users"] {
        assert_eq!(names(&joe, path, "userid").await, ["joe@pbs"]);
        assert_eq!(names(&auditor, path, "userid").await, ["bo@pbs", "cy@pbs", "joe@pbs", "root@pam"]);
    }
    assert_eq!(names(&joe, ACL, "auth-id").await, ["joe@pbs"]);
    assert_eq!(names(&auditor, ACL, "auth-id").await.len(), 5);
    let (own, others, nosuch) =
        (format!("{USERS}/joe%40pbs"), format!("{USERS}/bo%40pbs"), format!("{USERS}/no%40pbs"));
    joe.get(&own).await.ok();
    auditor.get(&own).await.ok();
    let denied = "failed on /access/users";
    for path in [&others, &nosuch] {
        joe.get(path).await.refused(403, denied);
        joe.get(&format!("{path}/token")).await.refused(403, denied);
        joe.put(&format!("{path}?password=a+new+password")).await.refused(403, denied);
        joe.post_json(&format!("{path}/token/ci"), &json!({})).await.refused(403, denied);
        joe.delete(&format!("{path}/token/ci")).await.refused(403, denied);
    }
    joe.delete(&own).await.refused(403, denied);
    joe.post_json(USERS, &json!({ "userid": "al@pbs", "password": PASSWORD })).await.refused(403, denied);
    auditor.put(&format!("{own}?comment=x")).await.refused(403, denied);
    for more in ["comment=x", "enable=1", "expire=0", "delete=expire"] {
        joe.put(&format!("{own}?password=a+new+password&{more}")).await.refused(403, denied);
    }
    joe.put(&format!("{own}?password=a+new+password")).await.ok();
    joe.get("/api2/json/version").await.refused(401, "authentication failed");
    let joe = Wire::login(server.address, "joe@pbs", "a new password").await;

    // Own tokens, with no more rights than their user.
    let made = joe.post_json(&format!("{own}/token/ci"), &json!({})).await.data();
    let ci = token(&server, &made);
    joe.put(&format!("{ACL}?path=/&role=Admin&auth-id=joe@pbs!ci")).await.ok();
    for (wire, who) in [(&joe, "joe@pbs"), (&joe, "bo@pbs"), (&ci, "joe@pbs!ci"), (&auditor, "joe@pbs!ci")] {
        let answer = wire.put(&format!("{ACL}?path=/&role=Admin&auth-id={who}")).await;
        answer.refused(403, "failed on /access/acl");
    }
    // A token that could set the password of its user would have all its rights.
    ci.put(&format!("{own}?password=of+the+token")).await.refused(403, denied);
    ci.post_json(&format!("{own}/token/more"), &json!({})).await.refused(403, denied);
    assert_eq!(names(&ci, USERS, "userid").await, ["joe@pbs"]);
    joe.put(&format!("{ACL}?path=/&role=Admin&auth-id=joe@pbs!ci&delete=1")).await.ok();
    joe.delete(&format!("{own}/token/ci")).await.ok();

    // Who manages users manages all but root.
    manager.post_json(USERS, &json!({ "userid": "al@pbs", "password": PASSWORD })).await.ok();
    manager.put(&format!("{own}?enable=0")).await.ok();
    joe.get(VERSION).await.refused(401, "");
    manager
        .put(&format!("{ACL}?path=/&role=Admin&auth-id=cy@pbs"))
        .await
        .refused(403, "failed on /access/acl");
    let root = format!("{USERS}/root%40pam");
    for answer in [
        manager.put(&format!("{root}?password=of+the+manager")).await,
        manager.post_json(&format!("{root}/token/ci"), &json!({})).await,
        manager.delete(&format!("{root}/token/ci")).await,
    ] {
        answer.refused(403, "by root@pam alone");
    }
    Wire::nobody(server.address).get(USERS).await.refused(401, "");
}

#[tokio::test]
async fn a_user_cannot_fill_the_lists_with_tokens() {
    let server = TestServer::start().await;
    let joe = server.user("joe@pbs", "DatastoreBackup").await;
    let identities = server.server.identities();
    for i in 0..64 {
        identities.add_token(format!("joe@pbs!t{i}").parse().unwrap(), None).await.unwrap();
    }
    for i in 0..256 {
        grant(&server, &format!("joe@pbs!t{}", i % 64), &format!("/datastore/s{i}"), "Audit").await;
    }
    joe.post_json(&format!("{USERS}/joe%40pbs/token/more"), &json!({}))
        .await
        .refused(400, "has 64 tokens already");
    let more = format!("{ACL}?path=/datastore/more&role=Audit&auth-id=joe@pbs!t0");
    joe.put(&more).await.refused(400, "the tokens of joe@pbs have 256 roles already");
    // A role that is there can be changed all the same, and others are not affected, the user itself among them.
    joe.put(&format!("{ACL}?path=/datastore/s0&role=Audit&auth-id=joe@pbs!t0&propagate=0")).await.ok();
    grant(&server, "joe@pbs", "/datastore/more", "Audit").await;
}

// Goal: guessing ends soon, however many connections guess, and nobody else notices.
// Method: a server with low bounds and a clock of its own; forty guesses at once.
#[tokio::test]
async fn guesses_are_refused_unseen_until_the_window_has_passed() {
    let clock = Arc::new(ManualClock::at(StoreTime::from_unix(NOW, 0)));
    let mut limits = limits();
    limits.logins.failures_per_user_and_address = 3;
    limits.logins.window = Duration::from_mins(5);
    let server = TestServer::start_at(limits, Arc::clone(&clock) as _).await;
    let (root, joe) = (server.root().await, server.user("joe@pbs", "DatastoreAudit").await);
    let nobody = Wire::nobody(server.address);
    let log_in = |password: &'static str| {
        nobody.post_json_owned("/api2/json/access/ticket", login("joe@pbs", password))
    };
    let guesses = futures_util::future::join_all((0..40).map(|_| log_in("a wrong password"))).await;
    let text = guesses[0].text();
    assert!(guesses.iter().all(|answer| answer.status == 401 && answer.text() == text));
    let refused = log_in(PASSWORD).await;
    assert_eq!((refused.status.as_u16(), refused.text()), (401, text), "the password was looked at");
    // What is there goes on: tickets, their renewal, other users.
    joe.get(VERSION).await.ok();
    let Auth::Ticket { ticket, .. } = &joe.auth else { panic!("no ticket") };
    nobody.post_json("/api2/json/access/ticket", &login("joe@pbs", ticket)).await.ok();
    root.get(VERSION).await.ok();
    server.root().await;
    clock.advance(Duration::from_mins(5));
    log_in(PASSWORD).await.ok();
}

/// Runs a command with something on its standard input.
#[track_caller]
fn with_input(place: &Place, arguments: &[&str], input: &str) {
    use std::io::Write as _;
    let mut command = place.command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{arguments:?}");
}

/// Manages users, tokens and rights as an operator does.
fn manage(place: &Place) {
    with_input(
        place,
        &["user", "add", "joe@pbs", "--comment", "a person", "--expire", "4000000000"],
        "a long password\n",
    );
    let find = |place: &Place, list: &[&str], name: &str| {
        let listed = place.json(list);
        listed.as_array().unwrap().iter().find(|item| item["name"] == name).cloned().unwrap_or_default()
    };
    let joe = find(place, &["user", "list"], "joe@pbs");
    assert_eq!(
        joe,
        json!({ "name": "joe@pbs", "enabled": true, "expire-at": 4_000_000_000_i64, "comment": "a person" })
    );
    place.text(&["user", "update", "joe@pbs", "--expire", "never", "--comment", "", "--disable"]);
    assert_eq!(find(place, &["user", "list"], "joe@pbs"), json!({ "name": "joe@pbs", "enabled": false }));
    place.text(&["user", "update", "joe@pbs", "--enable"]);
    assert!(place.failure(&["user", "update", "joe@pbs"]).contains("say what to change"));
    assert!(place.failure(&["user", "update", "no@pbs", "--enable"]).contains("there is no no@pbs"));
    with_input(place, &["user", "passwd", "joe@pbs"], "another long password\n");
    assert!(place.failure(&["user", "update", "root@pam", "--disable"]).contains("root@pam"));

    let made = place.json(&["token", "add", "joe@pbs!ci", "--comment", "for tests"]);
    assert_eq!((&made["token"], made["secret"].as_str().unwrap().len()), (&json!("joe@pbs!ci"), 36));
    place.text(&["token", "update", "joe@pbs!ci", "--disable", "--expire", "2999-01-31T00:00:00Z"]);
    let ci = json!({ "name": "joe@pbs!ci", "enabled": false, "expire-at": 32_474_736_000_i64, "comment": "for tests" });
    assert_eq!(place.json(&["token", "list"]), json!([ci]));
    assert_eq!(place.json(&["token", "list", "joe@pbs"]), json!([ci]));
    assert!(place.text(&["token", "list"]).contains("2999-01-31T00:00:00Z"));
    assert!(place.failure(&["token", "add", "joe@pbs"]).contains("joe@pbs!NAME"));

    let entry =
        json!({ "path": "/datastore", "who": "joe@pbs!ci", "role": "DatastoreBackup", "propagate": false });
    assert_eq!(
        place.json(&["acl", "set", "/datastore", "joe@pbs!ci", "DatastoreBackup", "--no-propagate"]),
        entry
    );
    assert_eq!(place.json(&["acl", "list"]), json!([entry]));
    place.text(&["acl", "remove", "/datastore", "joe@pbs!ci", "DatastoreBackup"]);
    assert_eq!(place.text(&["acl", "list"]), "no entries; root@pam may do everything\n");
    assert!(place.text(&["acl", "roles"]).contains("DatastorePowerUser"));
    place.text(&["token", "remove", "joe@pbs!ci"]);
    place.text(&["user", "remove", "joe@pbs"]);
    assert!(place.failure(&["user", "remove", "joe@pbs"]).contains("there is no joe@pbs"));
}

#[test]
fn the_command_line_manages_a_folder_and_a_server() {
    manage(&Place::folder());
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(&folder.path().join("data"));
    manage(&Place::server(&serve));
}
