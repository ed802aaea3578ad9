//! How many levels of namespaces are copied, and removed.

use coldkeep_client::{Client, PullRequest, PushRequest, Store};
use coldkeep_datastore::SnapshotName;
use serde_json::Value;

use super::push::push_with;
use super::{Pair, TIME, back_up, content, count, names, ns};
use crate::site::{Site, snapshot};

/// Namespaces within the source, each with a snapshot in a group of its own.
const LEVELS: [&str; 4] = ["s", "s/a", "s/a/b", "s/c"];
/// Where they come to lie.
const COPIES: [&str; 4] = ["t/here", "t/here/a", "t/here/a/b", "t/here/c"];

fn store(client: &Client, namespace: &str) -> Store {
    client.store("default".parse().unwrap(), ns(namespace))
}

fn name_in(namespace: &str) -> SnapshotName {
    snapshot(&namespace.replace('/', "-"), TIME)
}

async fn make_namespaces(client: &Client, all: &[&str]) {
    for namespace in all {
        let (outer, name) = namespace.rsplit_once('/').unwrap_or(("", namespace));
        store(client, outer).create_namespace(name).await.unwrap();
    }
}

/// Fills the source, and makes what is around the copies in the target.
async fn prepare(pair: &Pair) {
    let source = pair.source.client();
    make_namespaces(&source, &LEVELS).await;
    for level in LEVELS {
        back_up(&store(&source, level), &name_in(level), &content(&[level.len()])).await;
    }
    // Around the source, and of no interest.
    back_up(&store(&source, ""), &name_in("outside"), &content(&[9])).await;
    make_namespaces(&pair.target.client(), &["t", "t/here"]).await;
}

/// Tells which of the copies are there, and checks that each has its snapshot.
async fn copies(pair: &Pair) -> Vec<&'static str> {
    let target = pair.target.client();
    let listed = store(&target, "t").namespaces(None).await.unwrap();
    let mut found = Vec::new();
    for (level, copy) in LEVELS.into_iter().zip(COPIES) {
        if listed.iter().any(|item| item.ns == ns(copy)) && !names(&store(&target, copy)).await.is_empty() {
            assert_eq!(names(&store(&target, copy)).await, [name_in(level)]);
            found.push(copy);
        }
    }
    assert_eq!(names(&store(&target, "")).await, []);
    found
}

/// Copies ever deeper, from 0 levels to all; `copy` is told the depth, and whether what vanished is removed.
async fn deeper_and_deeper(pair: &Pair, copy: impl AsyncFn(Option<u64>, bool) -> Value) {
    prepare(pair).await;
    let mut before = 0;
    for (depth, expected) in
        [(Some(0), &COPIES[..1]), (Some(1), &["t/here", "t/here/a", "t/here/c"]), (None, &COPIES)]
    {
        let report = copy(depth, false).await;
        let new = (expected.len() - before) as u64;
        before = expected.len();
        assert_eq!(
            [count(&report, "namespaces"), count(&report, "snapshots")],
            [expected.len() as u64, new],
            "{depth:?}: {report}"
        );
        assert_eq!(copies(pair).await, expected, "{depth:?}");
    }
    // What vanished deeper than that is nobody's business.
    let source = pair.source.client();
    store(&source, "s/a/b").remove_namespace(true).await.unwrap();
    store(&source, "s/c").remove_namespace(true).await.unwrap();
    for (depth, expected) in [
        (Some(0), &COPIES[..]),
        (Some(1), &["t/here", "t/here/a", "t/here/a/b"]),
        (None, &["t/here", "t/here/a"]),
    ] {
        copy(depth, true).await;
        assert_eq!(copies(pair).await, expected, "{depth:?}");
    }
}

#[tokio::test]
async fn a_pull_goes_as_deep_as_it_is_told() {
    let pair = Pair::new().await;
    let pull = async |depth, removes| {
        let change = |request: &mut PullRequest| {
            (request.remote_ns, request.ns) = (ns("s"), ns("t/here"));
            (request.selection.max_depth, request.selection.remove_vanished) = (depth, removes);
        };
        pair.pull_with(change).await.unwrap()
    };
    deeper_and_deeper(&pair, pull).await;
}

#[tokio::test]
async fn a_push_goes_as_deep_as_it_is_told() {
    let pair = super::push::pair(Site::on_filesystem()).await;
    let push = async |depth, removes| {
        let change = |request: &mut PushRequest| {
            (request.ns, request.remote_ns) = (ns("s"), ns("t/here"));
            (request.selection.max_depth, request.selection.remove_vanished) = (depth, removes);
        };
        push_with(&pair, change).await.unwrap()
    };
    deeper_and_deeper(&pair, push).await;
}

/// Goal: for the root alone no namespaces are listed: servers from before there were any have none to list (spec `pull.md` §2).
#[tokio::test]
async fn a_pull_of_the_root_alone_lists_no_namespaces() {
    let mut pair = Pair::new().await;
    let name = pair.back_up("web", 1, &[0]).await;
    pair.pull().await.unwrap();
    let all = count(&pair.pull().await.unwrap(), "requests");
    let root =
        count(&pair.pull_with(|request| request.selection.max_depth = Some(0)).await.unwrap(), "requests");
    assert_eq!(root + 1, all);
    pair.assert_here(&[&name]).await;
}
