//! Archives made by a stock tool, in `docs/vectors/pxar`.

use std::io::{self, Read as _};

use coldkeep_chunk_store::Digest;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NAMES: [&str; 8] = ["empty-root", "files", "types", "names", "dirs", "meta", "sparse", "exclude"];

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../docs/vectors/pxar/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn listing(name: &str) -> Value {
    serde_json::from_slice(&vector(&format!("{name}.json"))).unwrap()
}

/// An entry as it was decoded: where, what, and the contents of a file.
struct Found {
    path: Vec<Vec<u8>>,
    node: Node,
    contents: Vec<u8>,
}

/// Decodes everything; contents of split archives come from `payload`.
fn decode(archive: &[u8], payload: &[u8]) -> (Metadata, Option<Vec<u8>>, Vec<Found>) {
    let mut decoder = Decoder::new(archive).unwrap();
    let (root, prelude) = (decoder.root().clone(), decoder.prelude().map(<[u8]>::to_vec));
    let (mut path, mut found) = (Vec::new(), Vec::new());
    while let Some(event) = decoder.next_event().unwrap() {
        let Event::Entry(entry) = event else {
            path.pop();
            continue;
        };
        path.push(entry.name.as_bytes().to_vec());
        let mut contents = Vec::new();
        if let Node::File(_, place) = &entry.node {
            match place {
                Contents::Here { at, size } => {
                    decoder.contents().read_to_end(&mut contents).unwrap();
                    assert_eq!(contents, archive[*at as usize..(*at + *size) as usize]);
                }
                Contents::Elsewhere(PayloadRef { offset, size }) => {
                    let start = *offset as usize + 16;
                    contents.extend_from_slice(&payload[start..start + *size as usize]);
                }
            }
            assert_eq!(contents.len() as u64, place.size());
        }
        found.push(Found { path: path.clone(), node: entry.node.clone(), contents });
        if !matches!(entry.node, Node::Directory(_)) {
            path.pop();
        }
    }
    assert!(decoder.next_event().unwrap().is_none());
    (root, prelude, found)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Describes an entry as the listings do.
fn describe(path: &[u8], node: &Node, contents: &[u8]) -> Value {
    let mut item = json!({ "path_hex": hex(path) });
    if let Ok(path) = std::str::from_utf8(path) {
        item["path"] = path.into();
    }
    if let Some(metadata) = node.metadata() {
        item["mode"] = format!("{:o}", metadata.mode).into();
        item["uid"] = metadata.uid.into();
        item["gid"] = metadata.gid.into();
        item["mtime_sec"] = metadata.mtime.seconds.into();
        item["mtime_nsec"] = metadata.mtime.nanoseconds.into();
        item["flags"] = metadata.flags.into();
        describe_attributes(&mut item, metadata);
    }
    let kind = match node {
        Node::Directory(_) => "dir",
        Node::File(..) => {
            item["size"] = contents.len().into();
            item["sha256"] = Digest::of(contents).to_string().into();
            "file"
        }
        Node::Symlink(_, target) => {
            item["target_hex"] = hex(target).into();
            "symlink"
        }
        Node::Device(metadata, (major, minor)) => {
            item["device"] = json!([major, minor]);
            if metadata.file_type() == Some(FileType::CharDevice) { "chardev" } else { "blockdev" }
        }
        Node::Special(metadata) => {
            if metadata.file_type() == Some(FileType::Fifo) {
                "fifo"
            } else {
                "socket"
            }
        }
        Node::HardLink(link) => {
            item["target"] = String::from_utf8(link.path.clone()).unwrap().into();
            "hardlink"
        }
    };
    item["type"] = kind.into();
    item
}

fn describe_attributes(item: &mut Value, metadata: &Metadata) {
    if !metadata.xattrs.is_empty() {
        let name = |xattr: &Xattr| String::from_utf8(xattr.name.clone()).unwrap();
        let all = metadata.xattrs.iter().map(|xattr| (name(xattr), Value::from(hex(&xattr.value))));
        item["xattrs_hex"] = Value::Object(all.collect());
    }
    if let Some(fcaps) = &metadata.fcaps {
        item["fcaps_hex"] = hex(fcaps).into();
    }
    if let Some(id) = metadata.project_id {
        item["projid"] = id.into();
    }
    let Acl { users, groups, group_obj, default, default_users, default_groups } = &metadata.acl;
    let mut acl = serde_json::Map::new();
    let lists = [
        ("users", users),
        ("groups", groups),
        ("default_users", default_users),
        ("default_groups", default_groups),
    ];
    for (name, entries) in lists {
        if !entries.is_empty() {
            let pairs: Vec<_> = entries.iter().map(|entry| json!([entry.id, entry.permissions])).collect();
            acl.insert(name.to_owned(), pairs.into());
        }
    }
    if let Some(permissions) = group_obj {
        acl.insert("group_obj".to_owned(), (*permissions).into());
    }
    if let Some(default) = default {
        acl.insert("default".to_owned(), json!([default.owner, default.group, default.others, default.mask]));
    }
    if !acl.is_empty() {
        item["acl"] = acl.into();
    }
}

fn describe_all(root: &Metadata, found: &[Found]) -> Vec<Value> {
    let root = describe(b"", &Node::Directory(root.clone()), b"");
    let entries = found.iter().map(|entry| describe(&entry.path.join(&b'/'), &entry.node, &entry.contents));
    std::iter::once(root).chain(entries).collect()
}

#[track_caller]
fn assert_same(name: &str, got: &[Value], expected: &Value) {
    let expected = expected.as_array().unwrap();
    assert_eq!(got.len(), expected.len(), "{name}");
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got, expected, "{name}");
    }
}

/// Encodes what was decoded; returns the archive and the payload stream.
fn encode(found: &[Found], mut encoder: Encoder) -> (Vec<u8>, Vec<u8>) {
    let (mut archive, mut payload) = (Vec::new(), Vec::new());
    let mut targets = std::collections::BTreeMap::new();
    let mut depth = 0;
    for entry in found {
        let (name, parents) = entry.path.split_last().unwrap();
        for _ in parents.len()..depth {
            encoder.end_directory().unwrap();
        }
        depth = parents.len();
        let name = FileName::new(name.clone()).unwrap();
        match &entry.node {
            Node::Directory(metadata) => {
                encoder.begin_directory(&name, metadata).unwrap();
                depth += 1;
            }
            Node::File(metadata, _) => {
                let size = entry.contents.len() as u64;
                let target = encoder.begin_file(&name, metadata, size).unwrap();
                targets.insert(entry.path.join(&b'/'), target.unwrap());
                archive.append(&mut encoder.take());
                payload.append(&mut encoder.take_payload());
                let stream = if encoder.payload_position().is_some() { &mut payload } else { &mut archive };
                stream.extend_from_slice(&entry.contents);
            }
            Node::Symlink(metadata, target) => encoder.add_symlink(&name, metadata, target).unwrap(),
            Node::Device(metadata, numbers) => encoder.add_device(&name, metadata, *numbers).unwrap(),
            Node::Special(metadata) => encoder.add_special(&name, metadata).unwrap(),
            Node::HardLink(link) => encoder.add_hard_link(&name, &targets[&link.path]).unwrap(),
        }
    }
    for _ in 0..depth {
        encoder.end_directory().unwrap();
    }
    assert!(encoder.entries_held() <= found.len());
    encoder.finish().unwrap();
    archive.append(&mut encoder.take());
    payload.append(&mut encoder.take_payload());
    (archive, payload)
}

#[test]
fn stock_archives_decode_to_their_listings() {
    for name in NAMES.into_iter().chain(["handmade-projid", "handmade-entry-v1"]) {
        let (root, prelude, found) = decode(&vector(&format!("{name}.pxar")), b"");
        assert_eq!(prelude, None);
        let mut got = describe_all(&root, &found);
        let expected = listing(name);
        if let Some(extra) = expected.get("only_unified") {
            let of = |item: &Value| item["path_hex"].clone();
            let extra: Vec<_> = extra.as_array().unwrap().iter().map(of).collect();
            let all = got.len();
            got.retain(|item| !extra.contains(&of(item)));
            assert_eq!(got.len() + extra.len(), all);
        }
        assert_same(name, &got, &expected["entries"]);
    }
}

#[test]
fn stock_split_archives_decode_to_their_listings() {
    for name in NAMES.into_iter().chain(["handmade-reuse"]) {
        let (archive, payload) = (vector(&format!("{name}.mpxar")), vector(&format!("{name}.ppxar")));
        assert!(Decoder::new(&archive[..]).unwrap().is_split());
        let (root, prelude, found) = decode(&archive, &payload);
        let expected = listing(name);
        assert_same(name, &describe_all(&root, &found), &expected["entries"]);
        let prelude = prelude.map(|prelude| Value::from(String::from_utf8(prelude).unwrap()));
        assert_eq!(prelude.as_ref(), expected.get("prelude"), "{name}");
    }
}

#[test]
fn stock_archives_encode_byte_for_byte() {
    for name in NAMES.into_iter().chain(["handmade-projid"]) {
        let archive = vector(&format!("{name}.pxar"));
        let (root, _, found) = decode(&archive, b"");
        let (encoded, payload) = encode(&found, Encoder::unified(&root).unwrap());
        assert!(encoded == archive && payload.is_empty(), "{name}");
    }
}

#[test]
fn stock_split_archives_encode_byte_for_byte() {
    for name in NAMES {
        let (archive, payload) = (vector(&format!("{name}.mpxar")), vector(&format!("{name}.ppxar")));
        let (root, prelude, found) = decode(&archive, &payload);
        let encoder = Encoder::split(&root, prelude.as_deref()).unwrap();
        let (encoded, encoded_payload) = encode(&found, encoder);
        assert!(encoded == archive && encoded_payload == payload, "{name}");
    }
}

/// Lists everything as [`decode`] does, through the tables.
fn walk<S: ReadAt>(
    archive: &Archive<S>,
    directory: &Directory,
    path: &mut Vec<Vec<u8>>,
    found: &mut Vec<Found>,
) {
    for place in archive.places(directory).unwrap() {
        let entry = archive.entry(place).unwrap();
        assert_eq!(entry.at, place.at());
        let (found_at, same) = archive.find(directory, &entry.name).unwrap().unwrap();
        assert_eq!((found_at.at(), &same), (place.at(), &entry));
        path.push(entry.name.as_bytes().to_vec());
        found.push(Found { path: path.clone(), node: entry.node.clone(), contents: Vec::new() });
        match entry.node {
            Node::Directory(metadata) => {
                walk(archive, &archive.directory(place, metadata).unwrap(), path, found);
            }
            Node::HardLink(link) => {
                let (_, target) = archive.follow(&link).unwrap();
                assert_eq!(target.name.as_bytes(), link.path.rsplit(|byte| *byte == b'/').next().unwrap());
            }
            _ => {}
        }
        path.pop();
    }
    for name in ["no such name", "\u{e9}"] {
        let name = FileName::new(name).unwrap();
        assert_eq!(archive.find(directory, &name).unwrap(), None);
    }
}

#[test]
fn tables_lead_to_what_stands_in_order() {
    let unified = NAMES.iter().map(|name| format!("{name}.pxar"));
    let split = NAMES.iter().chain(&["handmade-reuse"]).map(|name| format!("{name}.mpxar"));
    for name in unified.chain(split).chain(["handmade-projid.pxar".to_owned()]) {
        let bytes = vector(&name);
        let payload = vec![0; 1 << 20];
        let (root, prelude, expected) = decode(&bytes, &payload);
        let archive = Archive::open(&bytes[..]).unwrap();
        assert_eq!((&archive.root().metadata, archive.prelude()), (&root, prelude.as_deref()));
        assert_eq!(archive.is_split(), name.contains("mpxar"));
        let mut found = Vec::new();
        walk(&archive, archive.root(), &mut Vec::new(), &mut found);
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((&found.path, &found.node), (&expected.path, &expected.node), "{name}");
        }
    }
}

#[test]
fn a_payload_stream_with_reused_chunks_encodes_byte_for_byte() {
    // As in the vector: an old stream stands in the new one from byte 16 on, whole; `c` is new.
    let (expected, expected_payload) = (vector("handmade-reuse.mpxar"), vector("handmade-reuse.ppxar"));
    let (root, prelude, found) = decode(&expected, &expected_payload);
    let mut encoder = Encoder::split(&root, prelude.as_deref()).unwrap();
    let mut payload = encoder.take_payload();
    for entry in &found {
        let name = FileName::new(entry.path.last().unwrap().clone()).unwrap();
        let Node::File(metadata, Contents::Elsewhere(place)) = &entry.node else {
            panic!("{name} is no file")
        };
        let end = encoder.payload_position().unwrap();
        if entry.path == [b"c"] {
            encoder.begin_file(&name, metadata, place.size).unwrap();
            payload.append(&mut encoder.take_payload());
            payload.extend_from_slice(&entry.contents);
        } else {
            let needed = place.offset + 16 + place.size;
            if needed > end {
                let is_last = entry.path == [b"d"];
                let upto = if is_last { expected_payload.len() as u64 - 16 } else { new_file_at(&found) };
                payload.extend_from_slice(&expected_payload[end as usize..upto as usize]);
                encoder.skip_payload(upto - end).unwrap();
            }
            encoder.add_reused_file(&name, metadata, *place).unwrap();
        }
    }
    encoder.finish().unwrap();
    payload.append(&mut encoder.take_payload());
    assert!(payload == expected_payload);
    assert!(encoder.take() == expected);
}

/// Returns where the chunks before the new file `c` end.
fn new_file_at(found: &[Found]) -> u64 {
    let new = found.iter().find(|entry| entry.path == [b"c"]).unwrap();
    let Node::File(_, Contents::Elsewhere(place)) = &new.node else { panic!("c is no file") };
    place.offset
}

#[test]
fn payloads_are_used_again_only_where_they_can_be() {
    let file = Metadata { mode: 0o100_644, ..Metadata::default() };
    let root = Metadata { mode: 0o040_755, ..Metadata::default() };
    let name = FileName::new("a").unwrap();
    let refused = |encoder: &mut Encoder, offset, size| {
        let before = encoder.pending_len();
        let added = encoder.add_reused_file(&name, &file, PayloadRef { offset, size });
        assert_eq!(added, Err(EncodeError::Payload { offset }));
        assert_eq!(encoder.pending_len(), before);
    };
    refused(&mut Encoder::unified(&root).unwrap(), 16, 0);
    let mut encoder = Encoder::split(&root, None).unwrap();
    refused(&mut encoder, 16, 0);
    encoder.skip_payload(100).unwrap();
    for (offset, size) in [(0, 0), (15, 0), (16, 85), (16, u64::MAX), (u64::MAX, 1)] {
        refused(&mut encoder, offset, size);
    }
    encoder.add_reused_file(&name, &file, PayloadRef { offset: 40, size: 60 }).unwrap();
    refused(&mut encoder, 40, 60);
    refused(&mut encoder, 16, 8);
    encoder.begin_file(&name, &file, 5).unwrap();
    refused(&mut encoder, 100, 0);
}

#[test]
fn entries_that_are_no_such_files_are_refused() {
    let mut root = Metadata { mode: 0o040_755, ..Metadata::default() };
    let file = Metadata { mode: 0o100_644, ..Metadata::default() };
    let name = FileName::new("a").unwrap();
    assert!(matches!(Encoder::unified(&file), Err(EncodeError::Mode { .. })));
    let mut encoder = Encoder::unified(&root).unwrap();
    let before = encoder.pending_len();
    assert!(matches!(encoder.begin_directory(&name, &file), Err(EncodeError::Mode { .. })));
    assert!(matches!(encoder.begin_file(&name, &root, 1), Err(EncodeError::Mode { .. })));
    assert!(matches!(encoder.add_symlink(&name, &file, b"x"), Err(EncodeError::Mode { .. })));
    assert!(matches!(encoder.add_device(&name, &file, (1, 2)), Err(EncodeError::Mode { .. })));
    assert!(matches!(encoder.add_special(&name, &file), Err(EncodeError::Mode { .. })));
    let link = Metadata { mode: 0o120_777, ..Metadata::default() };
    for target in [&b"a\0b"[..], &[b'a'; 4097]] {
        let refused = encoder.add_symlink(&name, &link, target);
        assert_eq!(refused, Err(EncodeError::Target { len: target.len() }));
    }
    for (attribute, len) in [(&b""[..], 0), (b"user.\0", 0), (&[b'a'; 256], 0), (b"user.a", 65537)] {
        root.xattrs = vec![Xattr { name: attribute.to_vec(), value: vec![0; len] }];
        assert!(matches!(encoder.begin_directory(&name, &root), Err(EncodeError::Xattr { .. })));
    }
    assert_eq!(encoder.pending_len(), before);
    assert_eq!(encoder.end_directory(), Err(EncodeError::Nesting));
    root.xattrs.clear();
    encoder.begin_directory(&name, &root).unwrap();
    assert_eq!(encoder.finish(), Err(EncodeError::Nesting));
    encoder.end_directory().unwrap();
    encoder.finish().unwrap();
    assert_eq!(encoder.begin_directory(&name, &root), Err(EncodeError::Nesting));
}

#[test]
fn damaged_archives_are_errors() {
    let bytes = vector("types.pxar");
    for len in 0..bytes.len() {
        let cut = &bytes[..len];
        let decoded = Decoder::new(cut).and_then(|mut decoder| {
            while decoder.next_event()?.is_some() {}
            Ok(())
        });
        assert!(matches!(decoded, Err(DecodeError::Read { .. })), "{len}");
        assert!(Archive::open(cut).is_err(), "{len}");
    }
    let mut longer = Decoder::new(io::Read::chain(&bytes[..], &bytes[..])).unwrap();
    let trailing = loop {
        match longer.next_event() {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(matches!(trailing, Err(DecodeError::Trailing { at }) if at == bytes.len() as u64));
    let payload = vector("types.ppxar");
    assert!(matches!(Decoder::new(&payload[..]), Err(DecodeError::Misplaced { at: 0 })));
    let mut version = vector("types.mpxar");
    version[16] = 3;
    assert!(matches!(Decoder::new(&version[..]), Err(DecodeError::Version { version: 3 })));
}

/// Reads an archive in every way; nothing may panic or go on for ever.
fn read_all(bytes: &[u8]) {
    if let Ok(mut decoder) = Decoder::new(bytes) {
        let mut events = 0;
        while let Ok(Some(_)) = decoder.next_event() {
            events += 1;
            assert!(events <= bytes.len());
        }
    }
    if let Ok(archive) = Archive::open(bytes) {
        let (mut open, mut seen) = (vec![archive.root().clone()], 0);
        while let Some(directory) = open.pop() {
            let Ok(places) = archive.places(&directory) else { continue };
            for place in places {
                seen += 1;
                assert!(seen <= bytes.len());
                let Ok(entry) = archive.entry(place) else { continue };
                let _ = archive.find(&directory, &entry.name);
                match entry.node {
                    Node::Directory(metadata) => open.extend(archive.directory(place, metadata)),
                    Node::HardLink(link) => drop(archive.follow(&link)),
                    _ => {}
                }
            }
        }
    }
}

/// A tree to be archived.
#[derive(Debug, Clone)]
enum Tree {
    Directory(std::collections::BTreeMap<Vec<u8>, Tree>),
    File(Vec<u8>),
    Symlink(Vec<u8>),
    Device(u64, u64),
    Fifo,
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Tree::File),
        proptest::collection::vec(1_u8.., 0..40).prop_map(Tree::Symlink),
        any::<(u64, u64)>().prop_map(|(major, minor)| Tree::Device(major, minor)),
        Just(Tree::Fifo),
    ];
    let name = proptest::collection::vec(any::<u8>(), 1..6)
        .prop_filter("no name", |name| FileName::new(name.clone()).is_ok());
    leaf.prop_recursive(5, 60, 12, move |tree| {
        proptest::collection::btree_map(name.clone(), tree, 0..12).prop_map(Tree::Directory)
    })
}

fn metadata_of(tree: &Tree) -> Metadata {
    let mode = match tree {
        Tree::Directory(_) => 0o040_755,
        Tree::File(_) => 0o100_644,
        Tree::Symlink(_) => 0o120_777,
        Tree::Device(..) => 0o020_600,
        Tree::Fifo => 0o010_600,
    };
    Metadata { mode, ..Metadata::default() }
}

fn flatten(tree: &Tree, path: &mut Vec<Vec<u8>>, found: &mut Vec<Found>) {
    let Tree::Directory(entries) = tree else { return };
    for (name, tree) in entries {
        path.push(name.clone());
        let metadata = metadata_of(tree);
        let (node, contents) = match tree {
            Tree::Directory(_) => (Node::Directory(metadata), Vec::new()),
            Tree::File(contents) => {
                let place = Contents::Here { at: 0, size: contents.len() as u64 };
                (Node::File(metadata, place), contents.clone())
            }
            Tree::Symlink(target) => (Node::Symlink(metadata, target.clone()), Vec::new()),
            Tree::Device(major, minor) => (Node::Device(metadata, (*major, *minor)), Vec::new()),
            Tree::Fifo => (Node::Special(metadata), Vec::new()),
        };
        found.push(Found { path: path.clone(), node, contents });
        flatten(tree, path, found);
        path.pop();
    }
}

proptest! {
    #[test]
    fn what_was_archived_is_found_again(entries in proptest::collection::btree_map("[a-z]{1,3}", tree(), 0..20)) {
        let entries = entries.into_iter().map(|(name, tree)| (name.into_bytes(), tree)).collect();
        let mut expected = Vec::new();
        let all = Tree::Directory(entries);
        flatten(&all, &mut Vec::new(), &mut expected);
        let root = metadata_of(&all);
        for encoder in [Encoder::unified(&root).unwrap(), Encoder::split(&root, Some(b"{}")).unwrap()] {
            let (archive, payload) = encode(&expected, encoder);
            let (_, _, found) = decode(&archive, &payload);
            let of = |entry: &Found| describe(&entry.path.join(&b'/'), &entry.node, &entry.contents);
            prop_assert_eq!(found.iter().map(of).collect::<Vec<_>>(), expected.iter().map(of).collect::<Vec<_>>());
            let opened = Archive::open(&archive[..]).unwrap();
            let mut walked = Vec::new();
            walk(&opened, opened.root(), &mut Vec::new(), &mut walked);
            prop_assert_eq!(
                walked.iter().map(|entry| (&entry.path, &entry.node)).collect::<Vec<_>>(),
                found.iter().map(|entry| (&entry.path, &entry.node)).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn any_bytes_are_an_archive_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn changed_archives_are_archives_or_errors(
        name in proptest::sample::select(vec!["types.pxar", "dirs.mpxar", "meta.pxar", "names.mpxar"]),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = vector(name);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_all(&bytes);
    }
}
