use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::pattern::Pattern;
use crate::pxar::{Decoder, Event, Metadata, Node};

/// What an archive has: path, what it is, contents.
type Found = Vec<(String, Node, Vec<u8>)>;

fn read(source: &mut DirectorySource) -> Vec<u8> {
    let mut archive = Vec::new();
    source.read_to_end(&mut archive).unwrap();
    archive
}

fn decode(archive: &[u8]) -> (Metadata, Found) {
    let mut decoder = Decoder::new(archive).unwrap();
    let root = decoder.root().clone();
    let (mut path, mut found) = (Vec::new(), Vec::new());
    while let Some(event) = decoder.next_event().unwrap() {
        let Event::Entry(entry) = event else {
            path.pop();
            continue;
        };
        path.push(entry.name.to_string());
        let mut contents = Vec::new();
        if let Node::File(..) = entry.node {
            decoder.contents().read_to_end(&mut contents).unwrap();
        }
        found.push((path.join("/"), entry.node.clone(), contents));
        if !matches!(entry.node, Node::Directory(_)) {
            path.pop();
        }
    }
    (root, found)
}

fn archive(folder: &Path, options: DirectoryOptions) -> (Found, Vec<DirectoryWarning>) {
    let mut source = DirectorySource::open(folder, options).unwrap();
    let (root, found) = decode(&read(&mut source));
    assert_eq!(root.mode, fs::metadata(folder).unwrap().mode());
    let report = source.report();
    let warnings = report.take_warnings();
    assert_eq!(report.warning_count(), warnings.len() as u64);
    (found, warnings)
}

fn paths(found: &Found) -> Vec<&str> {
    found.iter().map(|(path, ..)| path.as_str()).collect()
}

#[test]
fn everything_in_a_directory_is_archived() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("b")).unwrap();
    fs::write(at("b/empty"), b"").unwrap();
    fs::write(at("b/file"), b"contents").unwrap();
    fs::set_permissions(at("b/file"), Permissions::from_mode(0o4750)).unwrap();
    filetime::set_file_mtime(at("b/file"), filetime::FileTime::from_unix_time(-5, 7)).unwrap();
    fs::hard_link(at("b/file"), at("link")).unwrap();
    symlink("b/nowhere", at("symlink")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::create_dir(at("a!")).unwrap();
    let (found, warnings) = archive(folder.path(), DirectoryOptions::default());
    assert_eq!(warnings, []);
    assert_eq!(paths(&found), ["a!", "b", "b/empty", "b/file", "link", "pipe", "socket", "symlink"]);
    for (path, node, contents) in &found {
        let stat = fs::symlink_metadata(at(path)).unwrap();
        match node {
            Node::File(..) => assert_eq!(*contents, fs::read(at(path)).unwrap()),
            Node::Symlink(_, target) => assert_eq!(target, b"b/nowhere"),
            Node::HardLink(link) => assert_eq!(link.path, b"b/file"),
            Node::Special(_) => assert!(stat.file_type().is_fifo() || stat.file_type().is_socket()),
            Node::Directory(_) => assert!(stat.is_dir()),
            Node::Device(..) => panic!("{path} is no device"),
        }
        let Some(metadata) = node.metadata() else { continue };
        assert_eq!(
            (metadata.mode, metadata.uid, metadata.gid),
            (stat.mode(), stat.uid(), stat.gid()),
            "{path}"
        );
        let mtime = (metadata.mtime.seconds, i64::from(metadata.mtime.nanoseconds));
        assert_eq!(mtime, (stat.mtime(), stat.mtime_nsec()), "{path}");
    }
}

#[test]
fn reads_of_any_length_give_one_archive() {
    let folder = TempDir::new().unwrap();
    for number in 0..20 {
        fs::write(folder.path().join(number.to_string()), vec![number; 100 * usize::from(number)]).unwrap();
    }
    let whole = read(&mut DirectorySource::open(folder.path(), DirectoryOptions::default()).unwrap());
    for step in [1, 7, 4096] {
        let mut source = DirectorySource::open(folder.path(), DirectoryOptions::default()).unwrap();
        let (mut archive, mut buffer) = (Vec::new(), vec![0; step]);
        loop {
            let len = source.read(&mut buffer).unwrap();
            if len == 0 {
                break;
            }
            archive.extend_from_slice(&buffer[..len]);
        }
        assert!(archive == whole, "{step}");
    }
}

/// The tree of the vector `exclude`.
fn make_tree(folder: &Path, files: &serde_json::Value) {
    let paths: Vec<_> = files.as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    for path in &paths[1..] {
        if paths.iter().any(|other| other.starts_with(&format!("{path}/"))) {
            fs::create_dir(folder.join(path)).unwrap();
        } else {
            fs::write(folder.join(path), b"").unwrap();
        }
    }
}

#[test]
fn patterns_of_files_and_options_leave_out_what_a_stock_client_does() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors/pxar");
    let listing: serde_json::Value =
        serde_json::from_slice(&fs::read(vectors.join("exclude.json")).unwrap()).unwrap();
    let folder = TempDir::new().unwrap();
    make_tree(folder.path(), &listing["source_files"]);
    // The files with patterns, as the stock archive has them.
    let mut excludes = Vec::new();
    let mut split = Decoder::new(File::open(vectors.join("exclude.pxar")).unwrap()).unwrap();
    let mut path = PathBuf::new();
    while let Some(event) = split.next_event().unwrap() {
        let Event::Entry(entry) = event else {
            path.pop();
            continue;
        };
        path.push(entry.name.to_string());
        if entry.name.as_bytes() == b".pxarexclude" {
            let mut text = Vec::new();
            split.contents().read_to_end(&mut text).unwrap();
            fs::write(folder.path().join(&path), text).unwrap();
        } else if entry.name.as_bytes() == b".pxarexclude-cli" {
            split.contents().read_to_end(&mut excludes).unwrap();
        }
        if !matches!(entry.node, Node::Directory(_)) {
            path.pop();
        }
    }
    let patterns = excludes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let patterns: Vec<_> = patterns.map(|line| Pattern::new(line).unwrap()).collect();
    assert_eq!(patterns.len(), 2);
    let options = DirectoryOptions { excludes: patterns, ..DirectoryOptions::default() };
    let (found, warnings) = archive(folder.path(), options);
    assert_eq!(warnings, []);
    let expected: Vec<_> =
        listing["entries"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    let (last, rest) = found.split_last().unwrap();
    assert_eq!((last.0.as_str(), &last.2), (".pxarexclude-cli", &excludes));
    // The first one is the root.
    assert_eq!(paths(&rest.to_vec()), expected[1..]);
}

#[test]
fn files_that_change_meanwhile_keep_the_length_that_they_had() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a"), vec![1; 100_000]).unwrap();
    fs::write(at("b"), vec![2; 100_000]).unwrap();
    fs::write(at("c"), b"here").unwrap();
    let mut source = DirectorySource::open(folder.path(), DirectoryOptions::default()).unwrap();
    // Far enough for `a` to be open, and not to its end.
    let mut archive = vec![0; 50_000];
    source.read_exact(&mut archive).unwrap();
    File::options().append(true).open(at("a")).unwrap().write_all(b"more").unwrap();
    let mut rest = vec![0; 100_000];
    source.read_exact(&mut rest).unwrap();
    File::options().write(true).open(at("b")).unwrap().set_len(10_000).unwrap();
    fs::remove_file(at("c")).unwrap();
    archive.append(&mut rest);
    source.read_to_end(&mut archive).unwrap();
    let (_, found) = decode(&archive);
    assert_eq!(paths(&found), ["a", "b"]);
    assert!(found[0].2 == vec![1; 100_000] && found[1].2.len() == 100_000);
    assert!(found[1].2.ends_with(&[0; 10_000]));
    let warning = |path: &str, kind| DirectoryWarning { path: path.as_bytes().to_vec(), kind };
    assert_eq!(
        source.report().take_warnings(),
        [
            warning("/a", WarningKind::Grew),
            warning("/b", WarningKind::Shrank),
            warning("/c", WarningKind::Vanished)
        ]
    );
}

#[test]
fn deep_trees_take_few_descriptors_and_come_back_up() {
    let folder = TempDir::new().unwrap();
    let mut at = rustix::fs::openat(
        rustix::fs::CWD,
        folder.path(),
        rustix::fs::OFlags::RDONLY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o755);
    for depth in 0..1500 {
        for name in ["d", "z"] {
            rustix::fs::mkdirat(&at, name, mode).unwrap();
        }
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())
            .unwrap_or_else(|error| panic!("{depth}: {error}"));
    }
    let (found, warnings) = archive(folder.path(), DirectoryOptions::default());
    assert_eq!(warnings, []);
    assert_eq!(found.len(), 3000);
    assert_eq!(found.last().unwrap().0, "z");
}

#[test]
fn more_entries_than_allowed_are_an_error() {
    let folder = TempDir::new().unwrap();
    for number in 0..10 {
        fs::create_dir_all(folder.path().join(format!("d/{number}"))).unwrap();
    }
    let options = |entries_max| DirectoryOptions { entries_max, ..DirectoryOptions::default() };
    read(&mut DirectorySource::open(folder.path(), options(11)).unwrap());
    let error =
        DirectorySource::open(folder.path(), options(9)).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
    let error = error.get_ref().and_then(|error| error.downcast_ref::<DirectoryError>());
    assert!(matches!(error, Some(DirectoryError::TooManyEntries { max: 9, .. })), "{error:?}");
}

#[test]
fn what_is_no_directory_of_files_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for path in [file.path(), Path::new("/no/such/directory")] {
        let refused = DirectorySource::open(path, DirectoryOptions::default());
        assert!(matches!(refused, Err(DirectoryError::Io { .. })));
    }
    let proc = DirectorySource::open(Path::new("/proc"), DirectoryOptions::default());
    assert!(matches!(proc, Err(DirectoryError::Pseudo { .. })));
}

#[test]
fn attributes_and_access_lists_are_archived() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"").unwrap();
    let set =
        |name: &str, value: &[u8]| rustix::fs::setxattr(&path, name, value, rustix::fs::XattrFlags::empty());
    match set("user.first", b"1") {
        // This filesystem has none.
        Err(rustix::io::Errno::NOTSUP) => return,
        done => done.unwrap(),
    }
    set("user.second", &[7; 1000]).unwrap();
    let (found, _) = archive(folder.path(), DirectoryOptions::default());
    let metadata = found[0].1.metadata().unwrap();
    let mut names: Vec<_> =
        metadata.xattrs.iter().map(|xattr| (xattr.name.as_slice(), xattr.value.len())).collect();
    names.sort_unstable();
    assert_eq!(names, [(&b"user.first"[..], 1), (b"user.second", 1000)]);
}

#[test]
fn an_error_of_a_read_names_the_file() {
    let error = io::Error::other(DirectoryError::Moved { path: "/a".to_owned() });
    assert_eq!(error.to_string(), "the directory \"/a\" was moved while it was read");
}
