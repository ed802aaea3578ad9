//! Access lists and namespaces, and what refusals tell: for every endpoint that takes a namespace or a store.

use coldkeep_server::api::{Description, Presence, description};

use super::{STORE, add_remote, add_user, back_up, grant};
use crate::ask::{Ask, Style};
use crate::harness::{PASSWORD, TestServer};
use crate::wire::{Answer, Line, Wire};

const STORE_PATH: &str = "/datastore/default";

/// Makes the namespaces `open`, `open/deep` and `other`.
async fn make_namespaces(root: &Wire) {
    for (parent, name) in [("", "open"), ("open", "deep"), ("", "other")] {
        root.post_json(&format!("{STORE}/namespace"), &serde_json::json!({ "parent": parent, "name": name }))
            .await
            .ok();
    }
}

/// A user with these entries of the access list: path, role, whether it propagates.
async fn user(server: &TestServer, name: &str, entries: &[(&str, &str, bool)]) -> Wire {
    add_user(server, name).await;
    for (path, role, propagate) in entries {
        grant(server, name, path, role, *propagate).await;
    }
    Wire::login(server.address, name, PASSWORD).await
}

/// The parameter that names the namespace whose privileges count.
fn namespace_param(endpoint: &Description) -> Option<&'static str> {
    endpoint.params.iter().map(|param| param.name).find(|name| ["ns", "parent"].contains(name))
}

/// Asks an endpoint about a namespace.
async fn ask_about(line: &mut Line, wire: &Wire, endpoint: &Description, ns: &str) -> Answer {
    let param = namespace_param(endpoint).unwrap();
    let is_target = endpoint.params.iter().any(|one| one.name == "ns" && one.presence == Presence::Required);
    let mut ask = Ask::required(endpoint);
    // What is removed is named, and the privilege is needed around it.
    ask =
        if is_target { ask.with(param, format!("{ns}/gone").trim_matches('/')) } else { ask.with(param, ns) };
    if endpoint.path == "/reader" {
        // Decided behind the check of the header; there is no such snapshot.
        ask = ask.upgrading();
    }
    line.send(ask.request(wire, Style::stock(endpoint))).await
}

fn is_denied(answer: &Answer) -> bool {
    answer.text().contains("permission check failed")
}

/// Goal: entries hold at their namespace, with propagation also below it, and a deeper one replaces those above. Method:
/// three users with such entries ask each endpoint that takes a namespace about four of them.
#[tokio::test]
async fn every_endpoint_heeds_the_access_list_of_the_namespace() {
    let server = TestServer::start().await;
    let root = server.root().await;
    make_namespaces(&root).await;
    let open = format!("{STORE_PATH}/open");
    let inner = user(&server, "inner@pbs", &[(&open, "Admin", true), ("/remote", "Admin", true)]).await;
    let flat = user(&server, "flat@pbs", &[(&open, "Admin", false), ("/remote", "Admin", true)]).await;
    let holed = user(&server, "holed@pbs", &[("/", "Admin", true), (&open, "NoAccess", true)]).await;
    let users: [(&str, &Wire, &[&str]); 3] = [
        ("inner", &inner, &["open", "open/deep"]),
        ("flat", &flat, &["open"]),
        ("holed", &holed, &["", "other"]),
    ];
    let mut faults = Vec::new();
    let endpoints = description::rest();
    // What jobs and moves ask for at more than one place is shown by their own tests.
    let is_elsewhere = |path: &str| path.contains("/job") || path.contains("/move-");
    let asked = endpoints.iter().filter(|one| namespace_param(one).is_some() && !is_elsewhere(one.path));
    let with_namespace: Vec<_> = asked.collect();
    assert!(with_namespace.len() > 20, "{with_namespace:?}");
    for (name, wire, allowed) in users {
        let mut line = wire.line().await;
        for endpoint in &with_namespace {
            for ns in ["", "open", "open/deep", "other"] {
                // Whoever sees a namespace inside it is shown that one.
                let is_list = endpoint.path.ends_with("/namespace") && endpoint.method.as_str() == "GET";
                if is_list && ns.is_empty() {
                    continue;
                }
                let answer = ask_about(&mut line, wire, endpoint, ns).await;
                if is_denied(&answer) == allowed.contains(&ns) {
                    let text = answer.text();
                    faults.push(format!("{name}, {ns:?}: {endpoint:?}: {} {text:.200}", answer.status));
                }
            }
        }
        let seen = wire.get(&format!("{STORE}/namespace")).await.data();
        let mut seen: Vec<_> =
            seen.as_array().unwrap().iter().map(|one| one["ns"].as_str().unwrap()).collect();
        // But for those that the requests made.
        seen.retain(|ns| !ns.ends_with("made"));
        assert!(
            seen.iter().all(|ns| allowed.contains(ns)) && seen.len() == allowed.len(),
            "{name}: {seen:?}"
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Goal: who lacks privileges does not learn what exists. Method: a user without any, and one with privileges elsewhere, ask
/// about things that exist and about such that do not, and are answered the same.
#[tokio::test]
async fn refusals_do_not_tell_what_exists() {
    let server = TestServer::start().await;
    let root = server.root().await;
    make_namespaces(&root).await;
    add_remote(&root).await;
    back_up(&root, "theirs").await;
    let nobody = user(&server, "no@pbs", &[]).await;
    let elsewhere = user(&server, "else@pbs", &[(&format!("{STORE_PATH}/open"), "Admin", true)]).await;
    // Parameter, a value that exists, one that does not, and who must not be able to tell them apart.
    let pairs = [
        ("store", "default", "nothing", &nobody),
        ("backup-id", "theirs", "nosuch", &nobody),
        ("ns", "other", "nones", &nobody),
        ("ns", "other", "nones", &elsewhere),
        ("parent", "other", "nones", &elsewhere),
        ("name", "off-site", "off-none", &nobody),
        ("remote", "off-site", "off-none", &nobody),
    ];
    let mut faults = Vec::new();
    let mut compared = 0;
    for (name, there, missing, wire) in pairs {
        let mut line = wire.line().await;
        for endpoint in description::rest() {
            let is_named = endpoint.params.iter().any(|param| param.name == name);
            // A new namespace has a name, too.
            if !is_named || (name == "name" && !endpoint.path.starts_with("/config/remote/")) {
                continue;
            }
            compared += 1;
            let mut answers = Vec::new();
            for value in [there, missing] {
                let ask = Ask::required(&endpoint).with(name, value).upgrading();
                let answer = line.send(ask.request(wire, Style::stock(&endpoint))).await;
                answers.push((answer.status, answer.text().replace(value, "*")));
            }
            // Lists are empty either way.
            let is_denied = answers[0].0 == 200 || answers[0].1.contains("permission check failed");
            if answers[0] != answers[1] || !is_denied {
                faults.push(format!("{name}: {endpoint:?}: {answers:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(compared > 80, "{compared}");
}
