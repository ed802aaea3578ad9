//! Who may do what: each endpoint of the server for each role, on what is their own and on what is not.
//!
//! Goal: the server lets nobody do what the specification does not allow, and no endpoint is forgotten. Method: the table in
//! `table.rs` says who gets how far; each subject asks each endpoint for its own group and for that of another. What is let
//! through mostly fails later, because the requests name snapshots that do not exist: that is no matter here.

mod namespaces;
mod table;

use std::collections::BTreeSet;

use coldkeep_server::api::{Description, description};
use coldkeep_server::auth::AclEntry;
use serde_json::json;
use zeroize::Zeroizing;

use crate::ask::{Ask, Style};
use crate::harness::{PASSWORD, TestServer};
use crate::material::{BACKUP, backup_path, finish, write_blob};
use crate::wire::{Answer, Auth, Wire};
use table::{Row, Rule, SUBJECTS, TABLE};

const TIME: i64 = 1_700_000_000;
const STORE: &str = "/api2/json/admin/datastore/default";

/// Someone who asks.
struct Subject {
    letter: char,
    /// The name of the user or token.
    name: String,
    wire: Wire,
}

impl Subject {
    /// The id of the group that belongs to it.
    fn group(&self) -> String {
        own_group(self.letter)
    }
}

fn own_group(letter: char) -> String {
    // Letters differ by case, which some filesystems do not.
    format!("own-{}-{}", letter, u32::from(letter))
}

async fn grant(server: &TestServer, who: &str, path: &str, role: &str, propagate: bool) {
    let (path, who) = (path.parse().unwrap(), who.parse().unwrap());
    let entry = AclEntry { path, who, role: role.parse().unwrap(), propagate };
    server.server.identities().grant(entry).await.unwrap();
}

async fn add_user(server: &TestServer, name: &str) {
    let password = Zeroizing::new(PASSWORD.to_owned());
    server.server.identities().add_user(name.parse().unwrap(), password, None).await.unwrap();
}

/// Makes a snapshot in a group that nobody can remove.
async fn back_up(root: &Wire, id: &str) {
    let session = root.upgrade(&backup_path(id, TIME, ""), BACKUP).await.unwrap();
    let listed = write_blob(&session, "a.conf.blob", b"x").await;
    finish(&session, id, TIME, &[listed]).await.ok();
    session.drop_connection().await;
    let protect = format!("{STORE}/protected?backup-id={id}&backup-time={TIME}&backup-type=host&protected=1");
    root.put(&protect).await.ok();
}

/// Makes a subject with its group.
async fn subject(server: &TestServer, root: &Wire, letter: char, roles: &[&str]) -> Subject {
    let user = format!("u-{letter}@pbs");
    add_user(server, &user).await;
    for role in roles {
        grant(server, &user, "/", role, true).await;
    }
    let (name, wire) = if letter == 't' {
        let token = format!("{user}!ci1");
        let secret = server.server.identities().add_token(token.parse().unwrap(), None).await.unwrap();
        grant(server, &token, "/", "DatastoreAdmin", true).await;
        let auth = Auth::Token(format!("{token}:{}", *secret));
        (token, Wire { address: server.address, auth })
    } else {
        let wire = Wire::login(server.address, &user, PASSWORD).await;
        (user, wire)
    };
    let id = own_group(letter);
    back_up(root, &id).await;
    let to_subject = json!({ "backup-id": id, "backup-type": "host", "new-owner": name });
    root.post_json(&format!("{STORE}/change-owner"), &to_subject).await.ok();
    Subject { letter, name, wire }
}

/// A remote that exists.
async fn add_remote(root: &Wire) {
    let remote =
        json!({ "name": "off-site", "host": "127.0.0.1", "auth-id": "joe@pbs", "password": "secret" });
    root.post_json("/api2/json/config/remote", &remote).await.ok();
}

#[test]
fn each_endpoint_has_one_line_and_each_line_an_endpoint() {
    let endpoints: BTreeSet<String> =
        description::rest().iter().map(|one| format!("{} {}", one.method, one.path)).collect();
    let mut lines = BTreeSet::new();
    for row in TABLE {
        assert!(lines.insert(row.name()), "{} has two lines", row.name());
    }
    let without: Vec<_> = endpoints.difference(&lines).collect();
    assert!(without.is_empty(), "{without:?}: say in authorisation/table.rs who may call them");
    let gone: Vec<_> = lines.difference(&endpoints).collect();
    assert!(gone.is_empty(), "{gone:?}: there are no such endpoints");
}

/// A job that exists.
async fn add_job(root: &Wire) {
    let job = json!({ "id": "nightly", "kind": "gc", "store": "default" });
    root.post_json("/api2/json/config/job", &job).await.ok();
}

/// What a subject asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Own,
    Theirs,
}

fn request<'e>(endpoint: &'e Description, rule: Rule, subject: &Subject, target: Target) -> Ask<'e> {
    let (group, who) = match target {
        Target::Own => (subject.group(), subject.name.as_str()),
        Target::Theirs => ("theirs".to_owned(), "root@pam"),
    };
    let upid = format!("UPID:pbs1:000004D2:0000A1B2:00000001:6553F100:sync:store1:{who}:");
    let mut ask = Ask::required(endpoint).with_known("backup-type", "host").with_known("backup-id", &group);
    if endpoint.params.iter().any(|param| param.name == "upid" && endpoint.path != GC_HISTORY) {
        ask = ask.with("upid", upid);
    }
    if rule == Rule::Private {
        // A token is never its user.
        let user = subject.name.split('!').next().unwrap_or_default();
        ask = ask.with_known("userid", if target == Target::Own { user } else { THEY });
    }
    // Only root changes what is root's.
    let entitled = if endpoint.path == "/config/acl" && target == Target::Theirs { THEY } else { who };
    ask.with_known("auth-id", entitled).with_known("new-owner", who).upgrading()
}

/// A user who has a role and nothing else.
const THEY: &str = "theirs@pbs";
const GC_HISTORY: &str = "/admin/datastore/{store}/gc-history";

/// What is wrong with an answer, if anything.
fn fault(row: &Row, letter: char, target: Target, answer: &Answer) -> Option<String> {
    let text = answer.text();
    let is_denied = answer.status == 403 || text.contains("permission check failed");
    let is_foreign = answer.status == 400 && (text.contains("owner check") || text.contains("owned by"));
    let is_let_through = !is_denied && !is_foreign && answer.status != 401;
    let (is_right, expected) = if row.is_full(letter) {
        (is_let_through, "be let through")
    } else if !row.is_own(letter) {
        match row.rule {
            Rule::Reader => (answer.status == 400 && is_denied, "get 400 for lack of privileges"),
            // A user hands groups over, a token never does, whatever it may back up.
            Rule::HandedOver if letter == 't' => (answer.status == 401, "get 401"),
            _ => (answer.status == 403, "get 403"),
        }
    } else {
        match (row.rule, target) {
            (Rule::Listed(shown), _) => {
                (answer.status == 200 && !text.contains(shown), "get a list without it")
            }
            (_, Target::Own) => (is_let_through, "be let through"),
            (Rule::Owned | Rule::Reader, _) => (is_foreign, "get 400 for the owner"),
            (Rule::HandedOver, _) => (answer.status == 401, "get 401"),
            (Rule::Private, _) => (answer.status == 403, "get 403"),
            (Rule::Open | Rule::Whole, _) => (false, "have a line with another rule"),
        }
    };
    let is_shown = match (row.rule, target) {
        (Rule::Listed(shown), Target::Theirs) if row.is_full(letter) => text.contains(shown),
        _ => true,
    };
    let what =
        || format!("{letter}: {} of {target:?} should {expected}: {} {text:.200}", row.name(), answer.status);
    (!is_right || !is_shown).then(what)
}

#[tokio::test]
async fn each_role_gets_as_far_as_the_table_says() {
    let server = TestServer::start().await;
    let root = server.root().await;
    add_remote(&root).await;
    add_job(&root).await;
    add_user(&server, THEY).await;
    grant(&server, THEY, "/access", "NoAccess", true).await;
    back_up(&root, "theirs").await;
    let endpoints = description::rest();
    let mut faults = Vec::new();
    for (letter, roles) in SUBJECTS {
        let subject = subject(&server, &root, *letter, roles).await;
        let mut line = subject.wire.line().await;
        for row in TABLE.iter().filter(|row| row.rule != Rule::Open) {
            let found = endpoints.iter().find(|one| format!("{} {}", one.method, one.path) == row.name());
            // That it has one is the other test's matter.
            let Some(endpoint) = found else { continue };
            for target in [Target::Own, Target::Theirs] {
                let ask = request(endpoint, row.rule, &subject, target);
                let answer = line.send(ask.request(&subject.wire, Style::stock(endpoint))).await;
                faults.extend(fault(row, *letter, target, &answer));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn open_endpoints_ask_for_no_credentials_and_all_others_do() {
    let server = TestServer::start().await;
    let nobody = Wire::nobody(server.address);
    for endpoint in description::rest() {
        let name = format!("{} {}", endpoint.method, endpoint.path);
        let is_open = TABLE.iter().any(|row| row.name() == name && row.rule == Rule::Open);
        let request = Ask::required(&endpoint).request(&nobody, Style::stock(&endpoint));
        let answer = nobody.send(request).await;
        let is_asked = answer.status == 401 && answer.text().contains("no credentials");
        assert_eq!(is_asked, !is_open, "{name}: {} {}", answer.status, answer.text());
    }
}
