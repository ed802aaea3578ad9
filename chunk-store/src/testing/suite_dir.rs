//! What every chunk directory must do.

use bytes::Bytes;

use crate::blob::{Blob, BlobKind, Compression};
use crate::digest::Digest;
use crate::dir::{ChunkDir, Durability, EntryKind, EntryName, NewEntry, Shard, StateFile};
use crate::locks::DigestLocks;
use crate::time::StoreTime;

fn at(seconds: i64) -> StoreTime {
    StoreTime::from_unix(seconds, 987_654_321)
}

fn new_entry(name: EntryName, content: &Bytes, seconds: i64) -> NewEntry {
    NewEntry { name, content: content.clone(), at: at(seconds) }
}

/// Checks an empty chunk directory against the contract of [`ChunkDir`].
///
/// # Panics
/// If something does not hold.
pub async fn check_chunk_dir<D: ChunkDir>(dir: &D) {
    check_files(dir).await;
    check_removal(dir).await;
    check_state(dir).await;
    dir.sync().await.expect("sync of a healthy directory");
    assert!(dir.keeps_times(at(77)).await.expect("probe of a healthy directory"), "set times are not kept");
}

async fn check_files<D: ChunkDir>(dir: &D) {
    let locks = DigestLocks::new();
    let digest = Digest::of(b"abc");
    let name = EntryName::chunk(digest);
    let held = locks.lock(&digest).await;
    let content = Blob::encode(b"abc", Compression::None).expect("small blob").into_bytes();

    assert_eq!(dir.shards().await.expect("shards"), [], "a new directory has shards");
    assert_eq!(dir.list(vec![name.shard()]).await.expect("list"), [], "a missing shard is not empty");
    assert_eq!(dir.read(name).await.expect("read"), None, "a missing file was read");
    assert_eq!(dir.stat(&held, name).await.expect("stat"), None, "a missing file has facts");
    assert_eq!(
        dir.touch(&held, vec![name], at(1)).await.expect("touch"),
        [None],
        "a missing file was touched"
    );

    for durability in [Durability::Deferred, Durability::Immediate] {
        dir.put(&held, new_entry(name, &content, 1000), durability).await.expect("put");
    }
    let (stat, kind) = dir.stat(&held, name).await.expect("stat").expect("the file that was put");
    assert_eq!((stat.len, kind), (15, Some(BlobKind::Plain)));
    assert_eq!((stat.used_at, stat.written_at), (at(1000), at(1000)), "times are not kept exactly");

    let before = dir.touch(&held, vec![name, EntryName::new(digest, EntryKind::Bad(3))], at(2000)).await;
    assert_eq!(before.expect("touch"), [Some(stat), None], "touch tells the facts as they were before");
    assert_eq!(dir.read(name).await.expect("read"), Some(content), "other content than was put");
    let (touched, _) = dir.stat(&held, name).await.expect("stat").expect("the touched file");
    assert_eq!(touched.used_at, at(2000), "reading moved the atime, or touch did not set it");
    assert_eq!(touched.written_at, at(1000), "touch moved the mtime");
    dir.set_times(&held, name, at(3000)).await.expect("set times");
    let (renewed, _) = dir.stat(&held, name).await.expect("stat").expect("the renewed file");
    assert_eq!((renewed.used_at, renewed.written_at), (at(3000), at(3000)));

    let bad = EntryName::new(digest, EntryKind::Bad(0));
    assert!(dir.rename(&held, name, bad).await.expect("rename"), "there was a file to rename");
    assert!(!dir.rename(&held, name, bad).await.expect("rename"), "there was no file to rename");
    let empty = Bytes::new();
    dir.put(&held, new_entry(name, &empty, 10), Durability::Deferred).await.expect("put");
    assert_eq!(dir.read(name).await.expect("read"), Some(empty), "an empty marker is a file");
    let (_, kind) = dir.stat(&held, name).await.expect("stat").expect("the empty marker");
    assert_eq!(kind, None, "an empty file names no kind of blob");
    let listed = dir.list(vec![name.shard()]).await.expect("list");
    let names: Vec<_> = listed.iter().map(|entry| entry.name).collect();
    assert_eq!(names, [name, bad], "the listing is not complete and ascending");
    let absent = Shard(name.shard().0 ^ 1);
    let twice = dir.names(vec![name.shard(), absent, name.shard()]).await.expect("names");
    assert_eq!(twice, [name, bad, name, bad], "the names are not those of the listing, shard by shard");
    assert_eq!(dir.shards().await.expect("shards"), [name.shard()]);
}

async fn check_removal<D: ChunkDir>(dir: &D) {
    let locks = DigestLocks::new();
    let names: Vec<_> = (0..3_u8).map(|i| EntryName::chunk(Digest::of(&[i]))).collect();
    let held = locks.lock_all(names.iter().map(|name| &name.digest)).await;
    let content = Bytes::from_static(b"content");
    for (name, seconds) in names.iter().zip([100, 200]) {
        dir.put(&held, new_entry(*name, &content, seconds), Durability::Deferred).await.expect("put");
    }
    let gone = dir.remove_unused(&held, names.clone(), at(200)).await.expect("remove");
    assert_eq!(gone, [true, false, true], "older: removed; at the cutoff: kept; missing: gone");
    assert_eq!(dir.read(names[0]).await.expect("read"), None);
    assert_eq!(dir.read(names[1]).await.expect("read"), Some(content));
}

async fn check_state<D: ChunkDir>(dir: &D) {
    assert_eq!(dir.load_state(StateFile::Clock).await.expect("load"), None, "a new directory has state");
    for content in ["one", "two"] {
        dir.save_state(StateFile::Clock, Bytes::from_static(content.as_bytes())).await.expect("save");
        assert_eq!(
            dir.load_state(StateFile::Clock).await.expect("load").as_deref(),
            Some(content.as_bytes())
        );
    }
}
