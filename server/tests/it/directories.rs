//! Directories from the command line: backed up, restored whole and in part, onto what is there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use serde_json::json;

use crate::cli::Place;
use crate::material::noise;
use crate::process::Serve;

/// What is below a folder: mode, owner, time, and content or target.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            let content = if stat.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else if stat.is_file() {
                format!("{} {}", stat.size(), coldkeep_chunk_store::Digest::of(&fs::read(&path).unwrap()))
            } else {
                open.push(path.clone());
                String::new()
            };
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let facts = format!(
                "{:o} {} {} {}.{}",
                stat.mode(),
                stat.uid(),
                stat.gid(),
                stat.mtime(),
                stat.mtime_nsec()
            );
            found.insert(name, format!("{facts} {content}"));
        }
    }
    found
}

fn names(root: &Path) -> Vec<String> {
    tree(root).into_keys().collect()
}

fn make(place: &Place) {
    for folder in ["tree/etc/ssh", "tree/var/cache"] {
        fs::create_dir_all(place.path(folder)).unwrap();
    }
    place.write("tree/etc/hosts", b"127.0.0.1 localhost\n");
    place.write("tree/etc/ssh/key", b"secret");
    place.write("tree/var/large", &noise(5, 9_000_000));
    place.write("tree/var/cache/x.tmp", b"passing");
    fs::hard_link(place.path("tree/etc/hosts"), place.path("tree/var/hosts")).unwrap();
    symlink("../etc/hosts", place.path("tree/var/link")).unwrap();
}

fn round_trip(place: &Place) {
    make(place);
    let first = place.json(&["backup", "--backup-id", "h1", "root.pxar:tree"]);
    let archive = &first["archives"][0];
    assert_eq!(archive["archive"], "root.pxar.didx");
    let counts =
        ["files", "folders", "others", "excluded", "warnings"].map(|name| archive[name].as_u64().unwrap());
    assert_eq!(counts, [4, 4, 2, 0, 0]);
    // Nothing changed, so nothing is sent again.
    let second = place.json(&["backup", "--backup-id", "h1", "root.pxar:tree"]);
    assert_eq!((&second["new-bytes"], &second["archives"][0]["incremental"]), (&json!(0), &json!(true)));

    let done = place.json(&["restore", "host/h1", "root.pxar", "out"]);
    assert_eq!((&done["files"], &done["others"]), (&json!(4), &json!(2)));
    assert_eq!(tree(&place.path("out")), tree(&place.path("tree")));

    let error = place.failure(&["restore", "host/h1", "root.pxar", "out"]);
    assert!(error.contains("exists already"), "{error}");
    place.write("out/etc/ssh/key", b"changed since, and longer");
    place.text(&["restore", "host/h1", "root.pxar", "out", "--overwrite"]);
    assert_eq!(tree(&place.path("out")), tree(&place.path("tree")));

    place.text(&["restore", "host/h1", "root.pxar", "part", "--include", "etc/ssh", "--include", "*.tmp"]);
    assert_eq!(
        names(&place.path("part")),
        ["etc", "etc/ssh", "etc/ssh/key", "var", "var/cache", "var/cache/x.tmp"]
    );

    let error = place.failure(&["restore", "host/h1", "root.pxar", "-", "--include", "etc"]);
    assert!(error.contains("--include"), "{error}");

    // As it is stored, for other tools.
    let raw = place.command(&["restore", "host/h1", "root.pxar", "-"]).output().unwrap();
    assert!(raw.status.success() && raw.stdout.len() as u64 == first["size"].as_u64().unwrap());
}

#[test]
fn a_directory_comes_back_as_it_was_from_a_folder() {
    round_trip(&Place::folder());
}

#[test]
fn a_directory_comes_back_as_it_was_from_a_server() {
    let folder = tempfile::tempdir().unwrap();
    round_trip(&Place::server(&Serve::start(folder.path())));
}

#[test]
fn patterns_leave_out_and_are_kept_for_later_readers() {
    let place = Place::folder();
    make(&place);
    place.write("tree/etc/.pxarexclude", b"# not these\n/ssh\n");
    let done = place.json(&[
        "backup",
        "--backup-id",
        "h1",
        "root.pxar:tree",
        "--exclude",
        "*.tmp",
        "--exclude",
        "/var/large",
    ]);
    assert_eq!(done["archives"][0]["excluded"], 3);
    place.text(&["restore", "host/h1", "root.pxar", "out"]);
    let expected = [
        ".pxarexclude-cli",
        "etc",
        "etc/.pxarexclude",
        "etc/hosts",
        "var",
        "var/cache",
        "var/hosts",
        "var/link",
    ];
    assert_eq!(names(&place.path("out")), expected);
    assert_eq!(fs::read(place.path("out/.pxarexclude-cli")).unwrap(), b"*.tmp\n/var/large\n");
    let error = place.failure(&["backup", "root.pxar:tree", "--exclude", "[a"]);
    assert!(error.contains("'\\['"), "{error}");
}

#[test]
fn what_is_not_stored_as_it_is_is_told() {
    let place = Place::folder();
    make(&place);
    place.write("tree/.pxarexclude", b"[\n");
    let output = place
        .command(&["backup", "--backup-id", "h1", "root.pxar:tree", "--output", "json"])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && told.contains("tree/.pxarexclude has a line that is no pattern"),
        "{told}"
    );
    let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["archives"][0]["warnings"], 1);
}
