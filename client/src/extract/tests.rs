use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::directory::{DirectoryOptions, DirectorySource};
use crate::pattern::Pattern;
use crate::pxar::{AclEntry, DecodeError, DefaultAcl, Encoder, FileName, Metadata, Xattr};

fn archive(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    DirectorySource::open(folder, DirectoryOptions::default()).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn restore(archive: &[u8], target: &Path, options: &ExtractOptions) -> Result<Extracted, ExtractError> {
    extract(archive, None, target, options)
}

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn metadata(mode: u32) -> Metadata {
    // Whoever runs the tests must be able to give files to somebody.
    let me = fs::metadata("/proc/self").unwrap();
    let (uid, gid) = (me.uid(), me.gid());
    Metadata { mode, uid, gid, ..Metadata::default() }
}

fn file(mode: u32) -> Metadata {
    metadata(0o100_000 | mode)
}

fn folder(mode: u32) -> Metadata {
    metadata(0o040_000 | mode)
}

/// Makes an archive of what `fill` puts into it; contents are taken as they come.
fn made(fill: impl FnOnce(&mut Encoder, &mut Vec<u8>)) -> Vec<u8> {
    let mut encoder = Encoder::unified(&folder(0o755)).unwrap();
    let mut bytes = Vec::new();
    fill(&mut encoder, &mut bytes);
    encoder.finish().unwrap();
    bytes.append(&mut encoder.take());
    bytes
}

fn add_file(encoder: &mut Encoder, bytes: &mut Vec<u8>, text: &str, contents: &[u8]) {
    encoder.begin_file(&name(text), &file(0o644), contents.len() as u64).unwrap();
    bytes.append(&mut encoder.take());
    bytes.extend_from_slice(contents);
}

/// Lists everything below a folder: path, mode, owner, size, time, content or target.
fn list(root: &Path) -> Vec<String> {
    fn walk(root: &Path, at: &Path, lines: &mut Vec<String>) {
        let mut entries: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let stat = fs::symlink_metadata(&path).unwrap();
            let content = if stat.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else if stat.is_file() {
                format!("{:?}", coldkeep_chunk_store::Digest::of(&fs::read(&path).unwrap()))
            } else {
                String::new()
            };
            let shown = path.strip_prefix(root).unwrap().display();
            let size = if stat.is_dir() { 0 } else { stat.size() };
            lines.push(format!(
                "{shown} {:o} {}:{} {size} {}.{} {} {content}",
                stat.mode(),
                stat.uid(),
                stat.gid(),
                stat.mtime(),
                stat.mtime_nsec(),
                stat.rdev(),
            ));
            if stat.is_dir() {
                walk(root, &path, lines);
            }
        }
    }
    let mut lines = Vec::new();
    walk(root, root, &mut lines);
    lines
}

#[test]
fn what_was_archived_is_restored_as_it_was() {
    let (source, target) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let at = |name: &str| source.path().join(name);
    fs::create_dir_all(at("a/b/c")).unwrap();
    fs::write(at("a/b/file"), b"contents").unwrap();
    fs::write(at("empty"), b"").unwrap();
    fs::hard_link(at("a/b/file"), at("link")).unwrap();
    symlink("../nowhere", at("a/symlink")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let mut sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(20 << 20).unwrap();
    sparse.write_all(b"begin").unwrap();
    for (path, seconds) in [("a/b/file", -5), ("a/b/c", 77), ("a/b", 88), ("a", 99)] {
        filetime::set_file_mtime(at(path), filetime::FileTime::from_unix_time(seconds, 123_456_789)).unwrap();
    }
    let target = target.path().join("new/folder");
    let done = restore(&archive(source.path()), &target, &ExtractOptions::default()).unwrap();
    assert_eq!(list(&target), list(source.path()));
    assert_eq!(
        fs::metadata(target.join("link")).unwrap().ino(),
        fs::metadata(target.join("a/b/file")).unwrap().ino()
    );
    assert!(fs::metadata(target.join("sparse")).unwrap().blocks() * 512 < 1 << 20);
    assert!(fs::symlink_metadata(target.join("socket")).unwrap().file_type().is_socket());
    assert_eq!((done.files, done.folders, done.others, done.bytes), (3, 4, 4, (20 << 20) + 8));
    assert_eq!(fs::metadata(&target).unwrap().mode(), fs::metadata(source.path()).unwrap().mode());
}

#[test]
fn only_what_patterns_match_is_restored_with_the_directories_on_the_way() {
    let (source, target) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for path in ["etc/ssh", "etc/x", "usr/share"] {
        fs::create_dir_all(source.path().join(path)).unwrap();
        fs::write(source.path().join(path).join("conf"), path).unwrap();
    }
    fs::write(source.path().join("etc/ssh/key"), "below what matches").unwrap();
    filetime::set_file_mtime(source.path().join("etc"), filetime::FileTime::from_unix_time(5, 0)).unwrap();
    let archive = archive(source.path());
    let patterns =
        ["etc/ssh", "share/conf", "!etc/ssh/conf"].map(|text| Pattern::new(text).unwrap()).to_vec();
    let options = ExtractOptions { patterns, ..ExtractOptions::default() };
    restore(&archive, target.path(), &options).unwrap();
    let paths: Vec<_> =
        list(target.path()).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(paths, ["etc", "etc/ssh", "etc/ssh/key", "usr", "usr/share", "usr/share/conf"]);
    assert_eq!(fs::metadata(target.path().join("etc")).unwrap().mtime(), 5);
}

#[test]
fn what_exists_is_overwritten_only_where_that_is_allowed() {
    let (source, target) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::create_dir(source.path().join("d")).unwrap();
    fs::write(source.path().join("d/file"), b"new").unwrap();
    fs::hard_link(source.path().join("d/file"), source.path().join("d/hard")).unwrap();
    symlink("new", source.path().join("d/soft")).unwrap();
    let archive = archive(source.path());
    let mut options = ExtractOptions::default();
    restore(&archive, target.path(), &options).unwrap();
    fs::write(target.path().join("d/file"), b"older and longer").unwrap();
    let refused = |options: &ExtractOptions, expected: &str| {
        let error = restore(&archive, target.path(), options).unwrap_err();
        assert!(matches!(&error, ExtractError::Exists { path } if path == expected), "{error}");
    };
    refused(&options, "/d");
    options.allow_existing_dirs = true;
    refused(&options, "/d/file");
    options.overwrite_files = true;
    refused(&options, "/d/hard");
    options.overwrite_hard_links = true;
    refused(&options, "/d/soft");
    options.overwrite_symlinks = true;
    restore(&archive, target.path(), &options).unwrap();
    assert_eq!(list(target.path()), list(source.path()));
    // A directory is never replaced, nor anything by one.
    fs::remove_file(target.path().join("d/file")).unwrap();
    fs::create_dir(target.path().join("d/file")).unwrap();
    refused(&options, "/d/file");
    fs::remove_dir_all(target.path().join("d")).unwrap();
    fs::write(target.path().join("d"), b"").unwrap();
    refused(&options, "/d");
}

#[test]
fn files_that_share_their_content_in_the_target_are_told_apart() {
    let (source, target, outside) =
        (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    for name in ["a", "b"] {
        fs::write(source.path().join(name), name).unwrap();
    }
    let archive = archive(source.path());
    fs::write(outside.path().join("theirs"), b"old").unwrap();
    for name in ["a", "b"] {
        fs::hard_link(outside.path().join("theirs"), target.path().join(name)).unwrap();
    }
    restore(&archive, target.path(), &ExtractOptions::default().overwriting()).unwrap();
    assert_eq!(list(target.path()), list(source.path()));
    assert_eq!(fs::read(outside.path().join("theirs")).unwrap(), b"old");
}

#[test]
fn without_its_owner_no_file_runs_as_whoever_restores_it() {
    let archive = made(|encoder, bytes| {
        encoder.begin_file(&name("tool"), &file(0o6755), 0).unwrap();
        bytes.append(&mut encoder.take());
    });
    let mode = |ignore_ownership| {
        let target = TempDir::new().unwrap();
        let options = ExtractOptions { ignore_ownership, ..ExtractOptions::default() };
        restore(&archive, target.path(), &options).unwrap();
        fs::metadata(target.path().join("tool")).unwrap().mode() & 0o7777
    };
    assert_eq!((mode(false), mode(true)), (0o6755, 0o755));
}

#[test]
fn nothing_outside_of_the_target_is_written() {
    let place = TempDir::new().unwrap();
    let (outside, target) = (place.path().join("outside"), place.path().join("target"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), b"mine").unwrap();
    fs::create_dir(&target).unwrap();
    let all = ExtractOptions { allow_existing_dirs: true, ..ExtractOptions::default() }.overwriting();
    // Links that lie in the target lead out of it.
    symlink(&outside, target.join("folder")).unwrap();
    symlink(outside.join("file"), target.join("file")).unwrap();
    let through_folder = made(|encoder, bytes| {
        encoder.begin_directory(&name("folder"), &folder(0o777)).unwrap();
        add_file(encoder, bytes, "file", b"theirs");
        encoder.end_directory().unwrap();
    });
    let through_file = made(|encoder, bytes| add_file(encoder, bytes, "file", b"theirs"));
    for archive in [&through_folder, &through_file] {
        let error = restore(archive, &target, &all).unwrap_err();
        assert!(matches!(error, ExtractError::Exists { .. }), "{error}");
    }
    // A link of the archive itself, and then what is below it: an archive has no two entries of a name, but a crafted one may.
    let fresh = place.path().join("fresh");
    let crafted = made(|encoder, bytes| {
        encoder
            .add_symlink(&name("x"), &metadata(0o120_777), outside.as_os_str().as_encoded_bytes())
            .unwrap();
        encoder.begin_directory(&name("x"), &folder(0o777)).unwrap();
        add_file(encoder, bytes, "file", b"theirs");
        encoder.end_directory().unwrap();
    });
    let error = restore(&crafted, &fresh, &all).unwrap_err();
    assert!(matches!(error, ExtractError::Exists { .. }), "{error}");
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn hard_links_lead_to_files_of_the_target_only() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("secret"), b"mine").unwrap();
    symlink(place.path(), place.path().join("out")).unwrap();
    let good = made(|encoder, bytes| {
        let target = encoder.begin_file(&name("longer"), &file(0o644), 0).unwrap().unwrap();
        bytes.append(&mut encoder.take());
        encoder.add_hard_link(&name("z"), &target).unwrap();
    });
    let at = good.windows(6).rposition(|window| window == b"longer").unwrap();
    for path in ["/etc/p", "../sec", "./long", "a//b/c", "z\0\0\0\0\0", "nofile"] {
        let mut bad = good.clone();
        bad[at..at + 6].copy_from_slice(path.as_bytes());
        let target = TempDir::new_in(place.path()).unwrap();
        let refused = restore(&bad, target.path(), &ExtractOptions::default());
        let is_refused = matches!(
            refused,
            Err(ExtractError::LinkTarget { .. } | ExtractError::Decode(DecodeError::Value { .. }))
        );
        assert!(is_refused && !target.path().join("z").exists(), "{path}");
    }
    let target = TempDir::new().unwrap();
    restore(&good, target.path(), &ExtractOptions::default()).unwrap();
    assert_eq!(fs::metadata(target.path().join("z")).unwrap().nlink(), 2);
}

#[test]
fn contents_that_are_cut_short_and_split_archives_without_contents_are_errors() {
    let target = TempDir::new().unwrap();
    let whole = made(|encoder, bytes| add_file(encoder, bytes, "file", &[7; 1000]));
    let cut = &whole[..whole.len() - 500];
    assert!(matches!(restore(cut, target.path(), &ExtractOptions::default()), Err(ExtractError::Io { .. })));
    let mut split = Encoder::split(&folder(0o755), None).unwrap();
    let mut payload = split.take_payload();
    split.begin_file(&name("other"), &file(0o644), 4).unwrap();
    payload.append(&mut split.take_payload());
    payload.extend_from_slice(b"here");
    split.finish().unwrap();
    payload.append(&mut split.take_payload());
    let archive = split.take();
    let fresh = TempDir::new().unwrap();
    let refused = restore(&archive, fresh.path(), &ExtractOptions::default());
    assert!(matches!(refused, Err(ExtractError::NoPayload { .. })));
    let fresh = TempDir::new().unwrap();
    extract(&archive[..], Some(&&payload[..]), fresh.path(), &ExtractOptions::default()).unwrap();
    assert_eq!(fs::read(fresh.path().join("other")).unwrap(), b"here");
}

#[test]
fn deep_trees_take_few_descriptors_and_come_back_up() {
    let archive = made(|encoder, bytes| {
        for _ in 0..1500 {
            encoder.begin_directory(&name("d"), &folder(0o750)).unwrap();
        }
        for _ in 0..1500 {
            add_file(encoder, bytes, "z", b"");
            encoder.end_directory().unwrap();
        }
    });
    let target = TempDir::new().unwrap();
    let done = restore(&archive, target.path(), &ExtractOptions::default()).unwrap();
    assert_eq!((done.files, done.folders), (1500, 1501));
    let mut bytes = Vec::new();
    DirectorySource::open(target.path(), DirectoryOptions::default())
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes.len(), archive.len());
}

#[test]
fn attributes_and_access_lists_come_back() {
    let mut with = file(0o654);
    with.xattrs = vec![Xattr { name: b"user.a".to_vec(), value: b"1".to_vec() }];
    with.acl.users = vec![AclEntry { id: 1000, permissions: 5 }];
    with.acl.group_obj = Some(4);
    let mut within = folder(0o755);
    within.acl.default = Some(DefaultAcl { owner: Some(7), group: Some(5), others: Some(0), mask: None });
    let archive = made(|encoder, bytes| {
        encoder.begin_directory(&name("d"), &within).unwrap();
        encoder.begin_file(&name("file"), &with, 0).unwrap();
        bytes.append(&mut encoder.take());
        encoder.end_directory().unwrap();
    });
    let target = TempDir::new().unwrap();
    let probe = target.path().join("probe");
    fs::write(&probe, b"").unwrap();
    if rustix::fs::setxattr(&probe, "user.a", b"1", rustix::fs::XattrFlags::empty()).is_err() {
        // This filesystem has none.
        return;
    }
    fs::remove_file(probe).unwrap();
    restore(&archive, target.path(), &ExtractOptions::default()).unwrap();
    let again = self::archive(target.path());
    let mut decoder = crate::pxar::Decoder::new(&again[..]).unwrap();
    let mut found = Vec::new();
    while let Some(event) = decoder.next_event().unwrap() {
        if let crate::pxar::Event::Entry(entry) = event {
            found.push(entry.node.metadata().unwrap().clone());
        }
    }
    assert_eq!(found[0].acl, within.acl);
    assert_eq!((found[1].mode, &found[1].xattrs, &found[1].acl), (with.mode, &with.xattrs, &with.acl));
    let bare = TempDir::new().unwrap();
    let options = ExtractOptions { ignore_acls: true, ignore_xattrs: true, ..ExtractOptions::default() };
    restore(&archive, bare.path(), &options).unwrap();
    let mut value = [0; 64];
    let path = bare.path().join("d/file");
    for attribute in ["user.a", "system.posix_acl_access"] {
        let missing = rustix::fs::getxattr(&path, attribute, &mut value[..]);
        assert_eq!(missing, Err(rustix::io::Errno::NODATA), "{attribute}");
    }
}
