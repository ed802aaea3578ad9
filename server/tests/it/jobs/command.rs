//! `coldkeep job`.

use serde_json::json;

use crate::cli::Place;
use crate::process::Serve;

/// Adds, lists, shows, runs, changes and removes.
fn manage(place: &Place) {
    place.write("secret", b"Bearer hush\nmore\n");
    let added = place.json(&[
        "job",
        "add",
        "prune",
        "nightly",
        "default",
        "--keep-last",
        "3",
        "--schedule",
        "mon..fri 02:30",
        "--retries",
        "2",
        "--notify-url",
        "https://alerts.example.com/",
        "--notify-secret-file",
        "secret",
    ]);
    assert_eq!(added, json!({ "added": "nightly" }));
    place.text(&["job", "add", "gc", "collect", "default"]);
    place.text(&["job", "add", "verify", "check", "default", "--outdated-after", "30", "--comment", "x"]);
    let pull =
        ["job", "add", "pull", "copy", "far:tank/a", "default/b", "--rate-limit", "20M", "--remove-vanished"];
    place.text(&pull);
    place.text(&["job", "add", "push", "send", "default", "far:tank", "--rate-limit", "20M"]);
    let listed = place.json(&["job", "list"]);
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["check", "collect", "copy", "nightly", "send"]);
    let pull = &listed[2];
    assert_eq!((&pull["remote"], &pull["remote-ns"], &pull["ns"]), (&"far".into(), &"a".into(), &"b".into()));
    assert_eq!((&pull["rate-in"], &pull["remove-vanished"]), (&(20 << 20).into(), &true.into()));
    assert_eq!(listed[4]["rate-out"], 20 << 20);
    let text = place.text(&["job", "list"]);
    assert!(text.contains("mon..fri 02:30") && text.contains("by hand"), "{text}");
    let text = place.text(&["job", "show", "nightly"]);
    assert!(text.contains("keep-last:") && !text.contains("hush"), "{text}");

    let ran = place.json(&["job", "run", "collect", "--follow"]);
    assert_eq!(ran["state"], "OK");
    let shown = place.json(&["job", "show", "collect"]);
    assert_eq!((&shown["last-run-upid"], &shown["last-run-state"]), (&ran["upid"], &"OK".into()));
    let failed = place.failure(&["job", "run", "copy", "--follow"]);
    assert!(failed.contains("the job copy failed") && failed.contains("no remote far"), "{failed}");

    let changed = ["job", "update", "copy", "--rate-limit", "10M", "--delete", "remote-ns,remove-vanished"];
    assert_eq!(place.json(&changed), json!({ "changed": "copy" }));
    let shown = place.json(&["job", "show", "copy"]);
    assert_eq!((&shown["rate-in"], shown.get("remote-ns")), (&(10 << 20).into(), None));
    assert!(shown.get("remove-vanished").is_none());
    place.text(&["job", "update", "nightly", "--enabled", "false"]);
    assert!(place.text(&["job", "list"]).contains("mon..fri 02:30 (off)"));
    assert!(place.failure(&["job", "update", "copy"]).contains("say what to change"));
    assert!(place.failure(&["job", "update", "copy", "--keep-last", "1"]).contains("keep-last"));
    assert!(place.failure(&["job", "add", "prune", "other", "default"]).contains("keep-last"));
    let twice = place.failure(&["job", "add", "gc", "collect", "default"]);
    assert!(twice.contains("cannot add the job collect") && twice.contains("exists already"), "{twice}");
    for id in ids {
        assert_eq!(place.json(&["job", "remove", id]), json!({ "removed": id }));
    }
    assert!(place.failure(&["job", "run", "collect"]).contains("no job collect"));
    assert_eq!(place.text(&["job", "list"]), "no jobs\n");
}

#[test]
fn the_command_line_manages_the_jobs_of_a_folder_and_of_a_server() {
    manage(&Place::folder());
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path());
    manage(&Place::server(&serve));
}

/// Goal: `coldkeep serve` runs jobs, also those that it missed while it was away.
/// Method: a job that a command added to the folder long ago, by the file.
#[test]
fn a_server_catches_up_with_what_a_folder_missed() {
    let place = Place::folder();
    place.text(&["job", "add", "verify", "check", "default", "--schedule", "daily"]);
    let states = place.path("data/tasks/jobs.json");
    std::fs::write(&states, r#"{"check":{"changed-at":1700000000}}"#).unwrap();
    let serve = Serve::start(&place.path("data"));
    let server = Place::server(&serve);
    let shown = std::iter::repeat_with(|| server.json(&["job", "show", "check"]));
    let mut ended = shown.take(200).filter(|job| job["last-run-state"] == "OK");
    assert!(ended.next().is_some(), "it did not run");
}
