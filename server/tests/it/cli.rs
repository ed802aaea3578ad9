//! The command line as people and scripts use it: the real binary, on a folder and against a server.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::material::noise;
use crate::process::Serve;

/// Exit code of every failure.
const FAILURE: i32 = 255;
/// Chunk size of images.
const CHUNK: usize = 4 << 20;

/// Where commands work, with the environment that they get: nothing else of this process's.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
}

impl Place {
    /// A data folder that the first backup makes.
    pub(crate) fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("data").display().to_string();
        Self { folder, arguments: vec!["--repository".to_owned(), repository], variables: Vec::new() }
    }

    /// A running server, pinned by the fingerprint that it printed.
    pub(crate) fn server(serve: &Serve) -> Self {
        let repository = format!("root@pam@127.0.0.1:{}:default", serve.address.port());
        let variables = vec![
            ("PBS_REPOSITORY", repository),
            ("PBS_PASSWORD", serve.value_of("password").unwrap().to_owned()),
            ("PBS_FINGERPRINT", serve.value_of("fingerprint").unwrap().to_owned()),
        ];
        Self { folder: tempfile::tempdir().unwrap(), arguments: Vec::new(), variables }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coldkeep"));
        command.env_clear().env("HOME", self.folder.path()).envs(self.variables.clone());
        command.args(arguments).args(&self.arguments).current_dir(self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that succeeds in silence but for its result, which is returned.
    #[track_caller]
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.output(arguments);
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(status.success(), "{arguments:?}: {stderr}");
        assert_eq!(stderr, "", "{arguments:?} is not silent in a pipe");
        String::from_utf8(stdout).unwrap()
    }

    /// As [`text`](Self::text), for exactly one JSON value.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// Runs a command that fails with nothing on standard output, and returns its message.
    #[track_caller]
    pub(crate) fn failure(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.output(arguments);
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(FAILURE), "{arguments:?}: {stderr}");
        assert!(stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&stdout));
        assert!(stderr.to_lowercase().contains("error: "), "{arguments:?}: {stderr}");
        stderr
    }

    #[track_caller]
    fn backup(&self, items: &[&str], more: &[&str]) -> Value {
        self.json(&[&["backup", "--backup-id", "h1"], items, more].concat())
    }
}

#[track_caller]
fn assert_same(a: &Path, b: &Path) {
    assert!(
        std::fs::read(a).unwrap() == std::fs::read(b).unwrap(),
        "{} and {} differ",
        a.display(),
        b.display()
    );
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Backs up, lists, backs up unchanged, restores, compares, forgets, collects and verifies.
fn round_trip(place: &Place, collect: &[&str]) {
    let image = [noise(1, 2 * CHUNK + 12_345), vec![0; CHUNK], noise(2, 1)].concat();
    place.write("disk", &image);
    place.write("stream", &noise(3, 9_000_000));
    place.write("conf", b"key = value\n");
    let items = ["d.img:disk", "s.bin:stream", "c.conf:conf"];

    let first = place.backup(&items, &[]);
    let archives: Vec<&str> =
        first["archives"].as_array().unwrap().iter().map(|one| one["archive"].as_str().unwrap()).collect();
    assert_eq!(archives, ["d.img.fidx", "s.bin.didx", "c.conf.blob"]);
    assert_eq!(number(&first["size"]), image.len() as u64 + 9_000_000 + 12);
    assert_eq!(first["archives"][0]["incremental"], false);
    assert!(number(&first["new-bytes"]) > 9_000_000);

    let second = place.backup(&items, &[]);
    assert_ne!(first["snapshot"], second["snapshot"], "two backups within a second");
    for archive in &second["archives"].as_array().unwrap()[..2] {
        assert_eq!(archive["reused-bytes"], archive["size"], "{archive}");
        assert_eq!((&archive["new-bytes"], &archive["stored-bytes"]), (&json!(0), &json!(0)), "{archive}");
        assert_eq!(archive["incremental"], true);
    }

    let listed = place.json(&["snapshots", "host/h1"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["backup-time"], first["backup-time"]);
    assert_eq!(place.json(&["snapshots", "host/other"]), json!([]));
    let files = place.json(&["ls", "host/h1"]);
    let names: Vec<&str> =
        files.as_array().unwrap().iter().map(|file| file["filename"].as_str().unwrap()).collect();
    assert!(archives.iter().all(|name| names.contains(name)), "{names:?}");

    let snapshot = first["snapshot"].as_str().unwrap();
    for (archive, source) in
        [("d.img", "disk"), ("s.bin", "stream"), ("c.conf", "conf"), ("s.bin.didx", "stream")]
    {
        let target = format!("{archive}.restored");
        let summary = place.json(&["restore", snapshot, archive, &target]);
        assert_eq!(number(&summary["size"]), place.path(source).metadata().unwrap().len());
        assert_same(&place.path(source), &place.path(&target));
        let piped = place.output(&["restore", "host/h1", archive, "-"]);
        assert!(piped.status.success() && piped.stderr.is_empty());
        assert!(piped.stdout == std::fs::read(place.path(source)).unwrap(), "{archive} in a pipe");
    }
    place.failure(&["restore", snapshot, "d.img", "d.img.restored"]);
    place.text(&["restore", snapshot, "c.conf", "d.img.restored", "--overwrite"]);
    assert_same(&place.path("conf"), &place.path("d.img.restored"));

    assert_eq!(place.json(&["verify"])["exitstatus"], "OK");
    assert_eq!(place.json(&["verify", snapshot])["exitstatus"], "OK");
    assert_eq!(place.json(&["verify", "host/h1", "--ignore-verified"])["exitstatus"], "OK");
    let status = place.json(&["status"]);
    assert_eq!(status["counts"]["host"], json!({ "groups": 1, "snapshots": 2 }));

    place.text(&["forget", snapshot]);
    let collected = place.json(&[&["gc"], collect].concat());
    let report = &collected["report"];
    assert_eq!((number(&report["indexes"]), number(&report["removed"]["count"])), (2, 0));
    let target = place.path("after.restored").display().to_string();
    place.text(&["restore", "host/h1", "d.img", &target]);
    assert_same(&place.path("disk"), &place.path("after.restored"));
    let rest = second["snapshot"].as_str().unwrap();
    assert_eq!(place.json(&["forget", rest])["removed-snapshots"], 1);
    let dry = place.json(&[&["gc", "--dry-run"], collect].concat());
    let collected = place.json(&[&["gc", "--max-delete-rate", "100000"], collect].concat());
    assert_eq!((&dry["report"]["dry_run"], &dry["report"]["end"]), (&json!(true), &json!("completed")));
    assert_eq!(dry["report"]["removed"], collected["report"]["removed"]);
    assert_eq!(number(&collected["report"]["kept"]["count"]), 0, "{collected}");
    assert!(number(&collected["report"]["removed"]["bytes"]) > 9_000_000, "{collected}");
    let history = place.json(&["gc", "--history"]);
    assert_eq!(history.as_array().unwrap().len(), 3);
    assert_eq!((&history[0]["upid"], &history[0]["report"]), (&collected["upid"], &collected["report"]));
    assert_eq!(history[1]["report"]["dry_run"], true);
    assert!(place.text(&["gc", "--history"]).contains("OK (dry run)"));
    assert_eq!(number(&place.json(&["status"])["gc-status"]["disk-chunks"]), 0);
    assert_eq!(place.json(&["snapshots"]), json!([]));
}

#[test]
fn a_folder_holds_backups_without_a_server() {
    let place = Place::folder();
    round_trip(&place, &["--grace", "0", "--margin", "0"]);
}

#[test]
fn a_server_holds_backups_of_the_same_commands() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start_with(&folder.path().join("data"), &["--gc-grace", "0", "--gc-margin", "0"]);
    let place = Place::server(&serve);
    round_trip(&place, &[]);
    assert!(place.failure(&["gc", "--grace", "0"]).contains("--gc-grace"));
    let answer = place.json(&["login"]);
    assert_eq!(answer["server"], format!("127.0.0.1:{}", serve.address.port()));
}

#[test]
fn a_server_that_is_not_trusted_or_does_not_trust_us_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(&folder.path().join("data"));
    let mut place = Place::server(&serve);
    let fingerprint = serve.value_of("fingerprint").unwrap().to_owned();
    place.variables.pop();
    let error = place.failure(&["snapshots"]);
    assert!(error.contains("PBS_FINGERPRINT"), "{error}");
    place.variables.push(("PBS_FINGERPRINT", fingerprint.replace(&fingerprint[..2], "zz")));
    assert!(place.failure(&["snapshots"]).contains("PBS_FINGERPRINT"));
    let other = if fingerprint.starts_with("00") { "11" } else { "00" };
    place.variables.push(("PBS_FINGERPRINT", format!("{other}{}", &fingerprint[2..])));
    let error = place.failure(&["snapshots"]);
    assert!(error.contains(&fingerprint), "{error}");
    place.variables.push(("PBS_FINGERPRINT", fingerprint));
    place.text(&["snapshots"]);
    place.variables.push(("PBS_PASSWORD", "wrong".to_owned()));
    let error = place.failure(&["login"]);
    assert!(error.contains("PBS_PASSWORD") && error.contains("401"), "{error}");
    place.variables.push(("PBS_PASSWORD", String::new()));
    assert!(place.failure(&["login"]).contains("no password"));
    let secret = serve.value_of("password").unwrap();
    place.write("secret", format!("{secret}\nsecond line\n").as_bytes());
    place.variables.push(("PBS_PASSWORD_FILE", place.path("secret").display().to_string()));
    place.text(&["login"]);
}

#[test]
fn lengths_at_the_edges_of_chunks_come_back() {
    let place = Place::folder();
    for len in [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK] {
        let name = format!("f{len}");
        place.write(&name, &noise(len as u64, len));
        place.backup(&[&format!("d.img:{name}"), &format!("s.bin:{name}")], &[]);
        for archive in ["d.img", "s.bin"] {
            let target = format!("{archive}.{len}");
            place.text(&["restore", "host/h1", archive, &target]);
            assert_same(&place.path(&name), &place.path(&target));
        }
    }
    place.write("empty", b"");
    assert!(place.failure(&["backup", "d.img:empty"]).contains("empty"));
    let empty = place.backup(&["e.conf:empty", "s.bin:empty"], &[]);
    assert_eq!(empty["size"], 0);
    for archive in ["e.conf", "s.bin"] {
        let target = format!("{archive}.empty");
        place.text(&["restore", "host/h1", archive, &target]);
        assert_same(&place.path("empty"), &place.path(&target));
    }
}

#[test]
fn a_sparse_image_of_10_gib_is_neither_read_nor_written_in_full() {
    const SIZE: u64 = 10 << 30;
    let place = Place::folder();
    let mut file = File::create(place.path("sparse")).unwrap();
    file.set_len(SIZE).unwrap();
    let marks = [(0_u64, "first"), (SIZE / 2 + 12_345, "middle"), (SIZE - 4, "last")];
    for (offset, text) in marks {
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(&text.as_bytes()[..4]).unwrap();
    }
    let summary = place.backup(&["d.img:sparse"], &[]);
    assert_eq!(number(&summary["size"]), SIZE);
    assert!(number(&summary["stored-bytes"]) < 1 << 20, "{summary}");
    place.text(&["restore", "host/h1", "d.img", "out"]);
    let mut restored = File::open(place.path("out")).unwrap();
    let metadata = restored.metadata().unwrap();
    assert_eq!(metadata.len(), SIZE);
    assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 < 64 << 20, "the holes were filled");
    for (offset, text) in marks {
        let mut found = [0; 4];
        restored.seek(SeekFrom::Start(offset)).unwrap();
        restored.read_exact(&mut found).unwrap();
        assert_eq!(found, text.as_bytes()[..4]);
    }
}

#[test]
fn a_pipe_is_backed_up_as_a_stream() {
    let place = Place::folder();
    let content = noise(5, 6_000_000);
    let mut command = place.command(&["backup", "--backup-id", "h1", "in.bin:-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&content).unwrap();
    assert!(child.wait().unwrap().success());
    let restored = place.output(&["restore", "host/h1", "in.bin", "-"]);
    assert!(restored.stdout == content);
}

#[test]
fn bad_items_are_refused_before_anything_is_made() {
    let place = Place::folder();
    place.write("x", b"x");
    for (items, named) in [
        (&["x"][..], "NAME.img:PATH"),
        (&["a.img:missing"], "missing"),
        (&["a.img:x", "a.img:x"], "twice"),
        (&["a.img:."], "write NAME.pxar:PATH"),
        (&["a.pxar:x"], "open the directory"),
        (&["../a.img:x"], "../a.img"),
    ] {
        let error = place.failure(&[&["backup"], items].concat());
        assert!(error.contains(named), "{error}");
    }
    assert!(!place.path("data").exists());
}

#[test]
fn what_is_not_there_is_named() {
    let place = Place::folder();
    let error = place.failure(&["snapshots"]);
    assert!(error.contains("no data folder") && !place.path("data").exists(), "{error}");
    place.write("x", b"x");
    let snapshot = place.backup(&["a.conf:x"], &[])["snapshot"].as_str().unwrap().to_owned();
    let missing = "host/h1/2001-01-01T00:00:00Z";
    for (arguments, named) in [
        (&["restore", "host/h1", "b.conf", "y"][..], "a.conf.blob"),
        (&["restore", "host/h1", "b.xyz", "y"], "b.xyz"),
        (&["restore", "host/other", "a.conf", "y"], "host/other"),
        (&["restore", missing, "a.conf", "y"], missing),
        (&["restore", "host/h1", "a.conf", "no/y"], "no directory no"),
        (&["restore", "host/h1", "a.conf", "."], "is a directory"),
        (&["forget", missing], missing),
        (&["forget", "host/h1"], "--group"),
        (&["forget", "host/other", "--group"], "host/other"),
        (&["ls", missing], missing),
        (&["notes", "show", missing], missing),
        (&["protect", missing], missing),
        (&["prune"], "--keep-last"),
        (&["change-owner", "host/h1", "nobody@pbs"], "nobody@pbs"),
        (&["snapshots", "--ns", "no/such"], "no/such"),
        (&["namespace", "create", "no/such"], "no"),
        (&["backup", "a.conf:x", "--backup-id", "h1", "--backup-time", "1"], "h1"),
        (&["task", "log", "UPID:x"], "UPID:x"),
        (&["snapshots", "host"], "host"),
    ] {
        let error = place.failure(arguments);
        assert!(error.contains(named), "{arguments:?}: {error}");
    }
    assert!(!place.path("y").exists(), "a failed restore left its target");
    let mut other_store = Place::folder();
    other_store.arguments[1] = format!("{}:tank", place.path("data").display());
    assert!(other_store.failure(&["snapshots"]).contains("tank"));
    place.text(&["ls", &snapshot]);
}

#[test]
fn a_restore_that_fails_half_way_leaves_no_file() {
    let place = Place::folder();
    place.write("disk", &noise(7, 3 * CHUNK));
    place.backup(&["d.img:disk"], &[]);
    let chunks = place.path("data/stores/default/.chunks");
    std::fs::rename(&chunks, place.path("elsewhere")).unwrap();
    std::fs::create_dir(&chunks).unwrap();
    let error = place.failure(&["restore", "host/h1", "d.img", "out"]);
    assert!(error.contains("d.img"), "{error}");
    assert!(!place.path("out").exists());
    let error = place.failure(&["verify"]);
    assert!(error.contains("the verification failed"), "{error}");
}

#[test]
fn notes_protection_namespaces_and_pruning() {
    let place = Place::folder();
    place.write("x", b"x");
    let times = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"];
    for time in times {
        place.backup(&["a.conf:x"], &["--backup-time", time]);
    }
    let oldest = format!("host/h1/{}", times[0]);
    place.text(&["notes", "set", &oldest, "before the upgrade\nsecond line"]);
    assert_eq!(place.text(&["notes", "show", &oldest]), "before the upgrade\nsecond line\n");
    place.text(&["notes", "set", "host/h1", "a group"]);
    assert_eq!(place.json(&["notes", "show", "host/h1"])["notes"], "a group");
    assert_eq!(place.json(&["snapshots"])[0]["comment"], "before the upgrade");
    place.text(&["protect", &oldest]);
    place.failure(&["forget", &oldest]);
    let plan = place.json(&["prune", "host/h1", "--keep-last", "1", "--dry-run"]);
    let kept: Vec<bool> = plan.as_array().unwrap().iter().map(|one| one["keep"].as_bool().unwrap()).collect();
    assert_eq!(kept, [true, false, true]);
    assert_eq!((&plan[0]["reason"], &plan[2]["reason"]), (&json!("protected"), &json!("keep-last")));
    assert_eq!(place.json(&["snapshots"]).as_array().unwrap().len(), 3);
    let pruned = place.text(&["prune", "--keep-last", "1"]);
    let words: Vec<Vec<&str>> =
        pruned.lines().map(|line| line.split_whitespace().skip(1).collect()).collect();
    assert_eq!(
        words,
        [
            ["verdict", "decided", "by"].as_slice(),
            &["kept", "protected"],
            &["removed", "no-rule-left"],
            &["kept", "keep-last"]
        ]
    );
    assert_eq!(place.json(&["snapshots"]).as_array().unwrap().len(), 2);
    place.text(&["protect", &oldest, "--off"]);
    assert_eq!(place.json(&["forget", "host/h1", "--group"])["removed-snapshots"], 2);

    place.text(&["namespace", "create", "a"]);
    assert_eq!(place.json(&["namespace", "create", "a/b"])["ns"], "a/b");
    place.backup(&["a.conf:x"], &["--ns", "a/b"]);
    assert_eq!(place.json(&["snapshots"]), json!([]));
    assert_eq!(place.json(&["snapshots", "--ns", "a/b"]).as_array().unwrap().len(), 1);
    let listed = place.json(&["namespace", "list"]);
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|one| one["ns"].as_str().unwrap()).collect();
    assert_eq!(names, ["", "a", "a/b"]);
    place.failure(&["namespace", "delete", "a/b"]);
    assert_eq!(place.json(&["namespace", "delete", "a", "--delete-groups"])["removed-snapshots"], 1);
}

#[test]
fn pruning_goes_on_after_a_group_that_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(&folder.path().join("data"));
    let place = Place::server(&serve);
    place.write("x", b"x");
    for group in ["h1", "h2", "h3"] {
        for time in ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"] {
            place.json(&["backup", "--backup-id", group, "--backup-time", time, "a.conf:x"]);
        }
    }
    for group in ["h1", "h2"] {
        let snapshot = folder.path().join(format!("data/stores/default/host/{group}/2026-01-01T00:00:00Z"));
        std::fs::remove_file(snapshot.join("index.json.blob")).unwrap();
        std::fs::create_dir(snapshot.join("index.json.blob")).unwrap();
    }
    let error = place.failure(&["prune", "host/h1", "--keep-last", "1"]);
    assert!(error.contains("cannot prune host/h1\n"), "{error}");
    let Output { status, stdout, stderr } = place.output(&["prune", "--keep-last", "1", "--output", "json"]);
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(FAILURE), "{stderr}");
    assert!(stderr.contains("cannot prune host/h1 and 1 other\n"), "{stderr}");
    let pruned: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(pruned[0]["snapshot"], "host/h3/2026-01-01T00:00:00Z");
    assert_eq!((pruned.as_array().unwrap().len(), &pruned[0]["keep"]), (2, &json!(false)));
}

#[test]
fn users_tokens_rights_and_datastores_of_a_folder() {
    let mut place = Place::folder();
    place.arguments[0] = "--data-dir".to_owned();
    let mut add = place.command(&["user", "add", "joe@pbs", "--comment", "a person"]);
    let mut child = add.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a long password\n").unwrap();
    assert!(child.wait().unwrap().success());
    let users = place.json(&["user", "list"]);
    assert_eq!(users, json!([{ "name": "joe@pbs", "enabled": true, "comment": "a person" }]));
    let secret = place.json(&["token", "create", "joe@pbs!ci1"])["secret"].as_str().unwrap().to_owned();
    place.failure(&["token", "create", "jane@pbs!ci1"]);
    for who in ["joe@pbs", "joe@pbs!ci1"] {
        place.text(&["acl", "set", "/datastore/default", who, "DatastoreBackup"]);
    }
    assert_eq!(place.json(&["acl", "list"]).as_array().unwrap().len(), 2);
    place.text(&["datastore", "create", "tank", "elsewhere"]);
    assert!(place.path("elsewhere/.chunks").exists(), "a relative folder is below the current one");
    assert_eq!(place.json(&["datastore", "list"]).as_array().unwrap().len(), 2);

    let serve = Serve::start(&place.path("data"));
    let mut remote = Place::server(&serve);
    remote.write("x", b"x");
    let port = serve.address.port();
    remote.variables.push(("PBS_REPOSITORY", format!("joe@pbs!ci1@127.0.0.1:{port}:default")));
    remote.variables.push(("PBS_PASSWORD", secret));
    remote.backup(&["a.conf:x"], &[]);
    remote.failure(&["gc"]);
    remote.variables.push(("PBS_REPOSITORY", format!("joe@pbs@127.0.0.1:{port}:default")));
    remote.variables.push(("PBS_PASSWORD", "a long password".to_owned()));
    remote.text(&["login"]);
    drop(serve);

    place.text(&["acl", "remove", "/datastore/default", "joe@pbs", "DatastoreBackup"]);
    place.text(&["token", "remove", "joe@pbs!ci1"]);
    assert_eq!(place.json(&["token", "list"]), json!([]));
    place.text(&["datastore", "remove", "tank"]);
    place.text(&["user", "remove", "joe@pbs"]);
    place.failure(&["user", "remove", "joe@pbs"]);
}

#[test]
fn tasks_are_listed_and_their_logs_printed() {
    let place = Place::folder();
    place.write("x", b"x");
    place.backup(&["a.conf:x"], &[]);
    let tasks = place.json(&["task", "list"]);
    let upid = tasks[0]["upid"].as_str().unwrap();
    assert_eq!((&tasks[0]["worker_type"], &tasks[0]["status"]), (&json!("backup"), &json!("OK")));
    assert!(place.text(&["task", "log", upid]).contains("TASK OK"));
    assert!(place.json(&["task", "log", upid]).as_array().unwrap().iter().all(Value::is_string));
    assert_eq!(place.json(&["task", "list", "--running"]), json!([]));
}

#[test]
fn a_folder_in_use_is_an_error_that_names_the_process_and_a_way() {
    let place = Place::folder();
    let serve = Serve::start(&place.path("data"));
    let began_at = Instant::now();
    let error = place.failure(&["snapshots"]);
    assert!(began_at.elapsed() >= Duration::from_secs(9), "it did not wait");
    assert!(error.contains(&format!("process {}", serve.id())), "{error}");
    assert!(error.contains("PBS_FINGERPRINT"), "{error}");
}

// Goal: a command waits for another that works on the same folder, instead of failing.
// Method: several start at once; each has the folder for itself in turn.
#[test]
fn commands_on_one_folder_take_turns() {
    let place = Place::folder();
    place.write("x", b"x");
    place.backup(&["a.conf:x"], &[]);
    let commands: Vec<_> =
        (0..4).map(|_| place.command(&["snapshots"]).stdout(Stdio::null()).spawn().unwrap()).collect();
    for mut command in commands {
        assert!(command.wait().unwrap().success());
    }
}

// Goal: a signal ends a backup at once, without a snapshot, and the folder is usable after it.
// Method: standard input stays open, so the backup cannot end by itself.
#[test]
fn an_interrupted_backup_leaves_no_snapshot() {
    for signal in ["-INT", "-TERM"] {
        let place = Place::folder();
        let mut command = place.command(&["backup", "--backup-id", "h1", "in.bin:-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // More than the pipes hold: when it is written, the backup is under way.
        input.write_all(&noise(6, 40_000_000)).unwrap();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let began_at = Instant::now();
        assert_eq!(child.wait().unwrap().code(), Some(FAILURE));
        assert!(began_at.elapsed() < Duration::from_secs(20));
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert_eq!(error, "Error: interrupted\n");
        drop(input);
        assert_eq!(place.json(&["snapshots"]), json!([]));
        place.write("x", b"x");
        place.backup(&["a.conf:x"], &[]);
    }
}

#[test]
fn text_is_for_people() {
    let mut place = Place::folder();
    place.arguments.clear();
    place.variables.push(("COLDKEEP_DATA_DIR", place.path("data").display().to_string()));
    place.write("x", &noise(1, 100_000));
    let text = place.text(&["backup", "a.img:x", "--backup-id", "h1"]);
    assert!(text.lines().next().unwrap().starts_with("archive"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("snapshot host/h1/2"), "{text}");
    let listed = place.text(&["snapshots"]);
    assert!(
        listed.starts_with("snapshot") && listed.contains("a.img") && listed.contains("97.9 KiB"),
        "{listed}"
    );
    assert!(place.text(&["gc"]).contains("removed:"));
    assert_eq!(place.text(&["verify"]), "verified: OK\n");
    assert!(place.text(&["status"]).contains("hosts:"));
}

/// Finds the chunks of a data folder.
fn chunks_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            found.extend(chunks_below(&path));
        } else if name.len() == 64 {
            found.push(path);
        }
    }
    found
}

/// Goal: whoever looks at nothing but the exit status learns that data is lost.
/// Method: take a chunk away and collect.
#[test]
fn a_collection_that_finds_chunks_missing_has_an_exit_status_of_its_own() {
    let place = Place::folder();
    place.write("x", &noise(1, 100_000));
    place.backup(&["a.img:x"], &[]);
    place.text(&["gc"]);
    std::fs::remove_file(&chunks_below(&place.path("data"))[0]).unwrap();
    for arguments in [&["gc", "--dry-run"][..], &["gc"]] {
        let Output { status, stdout, stderr } = place.output(arguments);
        assert_eq!(status.code(), Some(2));
        let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert!(stdout.contains("MISSING:") && stdout.contains("1 chunk; broken: 1 index"), "{stdout}");
        assert!(stderr.starts_with("Error: 1 chunks that snapshots refer to are missing"), "{stderr}");
    }
    let history = place.json(&["gc", "--history"]);
    assert_eq!((&history[0]["state"], &history[2]["state"]), (&json!("WARNINGS: 2"), &json!("OK")));
}

#[test]
fn bad_usage_fails_like_everything_else_and_help_does_not() {
    let place = Place::folder();
    for bad in
        [&["nonsense"][..], &["backup"], &["snapshots", "--output", "xml"], &["snapshots", "--ns", "a//b"]]
    {
        place.failure(bad);
    }
    let help = place.text(&["--help"]);
    for verb in ["serve", "backup", "restore", "snapshots", "forget", "gc", "verify", "status"] {
        assert!(help.contains(verb), "{help}");
    }
    assert!(place.text(&["--version"]).starts_with("coldkeep "));
}
