use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use coldkeep_chunk_store::testing::ManualClock;
use serde_json::{Value, json};

use super::*;
use crate::api::Watch as _;
use crate::auth::Caller;

fn open(folder: &Path, limits: &AuditLimits) -> AuditLog {
    let clock = ManualClock::at(StoreTime::from_unix(1_700_000_000, 0));
    AuditLog::open(folder.to_owned(), limits, Arc::new(clock)).unwrap()
}

fn note(log: &AuditLog, name: &str) {
    log.note("test", &BTreeMap::from([("name", name.to_owned())]), None);
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[tokio::test]
async fn lines_are_json_for_their_owner_alone_and_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(AUDIT_FILE);
    let log = open(folder.path(), &AuditLimits::default());
    log.note("datastore remove", &BTreeMap::from([("name", "a\nb".to_owned())]), Some(&"ü".repeat(1000)));
    log.close().await;
    note(&log, "too late");
    let text = "ü".repeat(ERROR_BYTES_MAX / 2);
    let line = json!({
        "time": "2023-11-14T22:13:20Z", "who": "root@pam", "method": "LOCAL", "path": "datastore remove",
        "params": { "name": "a\nb" }, "error": text,
    });
    assert_eq!(lines(&path), [line]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // A line that a crash cut short is ended, so that it spoils no other.
    let mut cut = std::fs::read(&path).unwrap();
    cut.extend_from_slice(b"{\"time\":\"2023");
    std::fs::write(&path, &cut).unwrap();
    let log = open(folder.path(), &AuditLimits::default());
    note(&log, "next");
    log.flush().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((text.lines().count(), &last["params"]["name"]), (3, &json!("next")));
}

#[tokio::test]
async fn files_are_bounded_in_size_and_number() {
    let folder = tempfile::tempdir().unwrap();
    // Left from a time when more were kept.
    std::fs::write(folder.path().join("audit.log.3"), "old").unwrap();
    let limits = AuditLimits { file_bytes: 300, files: 3, ..AuditLimits::default() };
    let log = open(folder.path(), &limits);
    for i in 0..20 {
        note(&log, &i.to_string());
        log.flush().await;
    }
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["audit.log", "audit.log.1", "audit.log.2"]);
    let kept: Vec<Value> = ["audit.log.2", "audit.log.1", "audit.log"]
        .into_iter()
        .flat_map(|name| {
            let path = folder.path().join(name);
            assert!(path.metadata().unwrap().len() <= 300, "{name}");
            lines(&path)
        })
        .collect();
    // What is kept is the newest, without a gap.
    let numbers: Vec<u32> =
        kept.iter().map(|line| line["params"]["name"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(*numbers.last().unwrap(), 19);
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
}

// Goal: a full disk stops nothing, and what is lost is counted in the log itself.
// Method: /dev/full takes the place of the file, then goes away.
#[tokio::test]
async fn a_full_disk_loses_lines_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(AUDIT_FILE);
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let log = open(folder.path(), &AuditLimits::default());
    for name in ["a", "b"] {
        note(&log, name);
        log.flush().await;
    }
    std::fs::remove_file(&path).unwrap();
    note(&log, "c");
    log.flush().await;
    let lines = lines(&path);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!((&lines[0]["lost"], &lines[1]["params"]["name"]), (&json!(2), &json!("c")));
}

// Goal: a writer that does not keep up bounds what waits, and nobody waits for it.
// Method: the file is a pipe that nobody reads, until somebody does.
#[tokio::test]
async fn a_writer_that_is_stuck_holds_nobody_up() {
    const LINES: u64 = 5000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(AUDIT_FILE);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let log = open(folder.path(), &AuditLimits { queue_lines: 4, ..AuditLimits::default() });
    for _ in 0..LINES {
        note(&log, "x");
    }
    let reading = std::thread::spawn(move || {
        let lines = BufReader::new(File::open(path).unwrap()).lines();
        let (mut written, mut lost) = (0, 0);
        for line in lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()) {
            match (line["lost"].as_u64(), line["params"]["name"].as_str()) {
                (Some(count), _) => lost += count,
                (None, Some("last")) => break,
                (None, _) => written += 1,
            }
        }
        (written, lost)
    });
    log.flush().await;
    note(&log, "last");
    log.close().await;
    let (written, lost) = reading.join().unwrap();
    assert!(lost > 0 && written + lost == LINES, "{written} {lost}");
}

#[tokio::test]
async fn a_change_whose_client_went_away_has_a_line_and_a_read_or_a_stranger_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(open(folder.path(), &AuditLimits::default()));
    let caller = Caller::authenticated("joe@pbs".parse().unwrap(), Arc::default());
    for (method, is_known) in [("POST", true), ("GET", true), ("POST", false)] {
        let request = http::Request::builder().method(method).uri("/api2/json/x?y=z").body(()).unwrap();
        let mut record = Record::begin(Arc::clone(&log), &request, Some("::ffff:10.0.0.1".parse().unwrap()));
        if is_known {
            record.admitted(&caller);
        }
        drop(record);
    }
    log.flush().await;
    let line = json!({
        "time": "2023-11-14T22:13:20Z", "who": "joe@pbs", "address": "10.0.0.1", "method": "POST",
        "path": "/api2/json/x", "error": "the client went away before the answer",
    });
    assert_eq!(lines(&folder.path().join(AUDIT_FILE)), [line]);
}
