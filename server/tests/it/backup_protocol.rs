//! The backup protocol, request by request: the round trip, and every line of the table "What the server insists on".

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{Blob, Compression, CryptKey};
use http::Method;
use serde_json::json;

use crate::harness::TestServer;
use crate::material::{
    BACKUP, Chunk, IMAGE_CHUNK, append, backup, backup_path, begin, dynamic_csum, eventually, finish,
    fixed_csum, manifest, noise, open, open_dynamic, open_fixed, put_blob, task_end, triple, write_blob,
    write_dynamic, write_fixed,
};
use crate::wire::{FORM, Wire};

const TIME: i64 = 1_700_000_000;
const SNAPSHOTS: &str = "/api2/json/admin/datastore/default/snapshots?";

#[tokio::test]
async fn a_backup_comes_back_byte_for_byte() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let stream: Vec<Chunk> = (0..5).map(|seed| Chunk::of(noise(seed, 100_000 + seed as usize))).collect();
    let stream: Vec<&Chunk> = stream.iter().collect();
    let (zeros, tail) = (Chunk::of(vec![0; IMAGE_CHUNK]), Chunk::of(noise(9, 1000)));

    let session = begin(&root, "h1", TIME).await;
    assert!(session.get("/previous_backup_time").await.data().is_null());
    let files = [
        write_dynamic(&session, "a.bin.didx", &stream, true).await,
        write_fixed(&session, "d.img.fidx", &[&zeros, &zeros, &tail]).await,
        write_blob(&session, "y.conf.blob", b"key = value\n").await,
    ];
    finish(&session, "h1", TIME, &files).await.ok();
    session.drop_connection().await;
    assert_eq!(task_end(&root, "backup").await, "OK");

    let reader = open(&root, "h1", TIME).await;
    let index = reader.get("/download?file-name=a.bin.didx").await;
    assert!(index.headers.get("content-length").is_none());
    assert_eq!(index.headers["content-type"], "application/octet-stream");
    let mut restored = Vec::new();
    for entry in index.ok().body[4096..].chunks(40) {
        let digest = Digest::from_bytes(entry[8..].try_into().unwrap());
        let chunk = reader.get(&format!("/chunk?digest={digest}")).await;
        assert_eq!(chunk.headers["content-length"].to_str().unwrap(), chunk.body.len().to_string());
        restored.extend_from_slice(&Blob::parse(chunk.ok().body.clone()).unwrap().decode(1 << 24).unwrap());
    }
    assert!(restored == stream.iter().flat_map(|chunk| chunk.plain.to_vec()).collect::<Vec<_>>());
    let image = reader.get("/download?file-name=d.img.fidx").await;
    let digests: Vec<u8> =
        [&zeros, &zeros, &tail].iter().flat_map(|chunk| *chunk.digest.as_bytes()).collect();
    assert_eq!(image.ok().body[4096..], digests);
    let conf = Blob::parse(reader.get("/download?file-name=y.conf.blob").await.body).unwrap();
    assert_eq!(conf.decode(100).unwrap(), "key = value\n");
}

#[tokio::test]
async fn a_second_backup_names_the_chunks_of_the_first_without_sending_them() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let (old, new) = (Chunk::of(noise(1, 5000)), Chunk::of(noise(2, 5000)));
    backup(&root, "h1", TIME, &[&old]).await;

    let session = begin(&root, "h1", TIME + 1).await;
    assert_eq!(session.get("/previous_backup_time").await.data(), TIME);
    session.get("/previous?archive-name=index.json.blob").await.ok();
    let index = session.get("/previous?archive-name=a.bin.didx").await;
    assert_eq!(index.ok().body[4096 + 8..], *old.digest.as_bytes());
    let wid = open_dynamic(&session, "a.bin.didx").await;
    new.upload(&session, "dynamic", wid).await.ok();
    session.put_json("/dynamic_index", &append(wid, &[&old, &new, &old], &[0, 5000, 10_000])).await.ok();
    let csum = dynamic_csum(&[&old, &new, &old]);
    session.post(&format!("/dynamic_close?chunk-count=3&csum={csum}&size=15000&wid={wid}")).await.ok();
    finish(&session, "h1", TIME + 1, &[("a.bin.didx", csum, 15_000)]).await.ok();
    session.drop_connection().await;

    let listed = root.get(&format!("{SNAPSHOTS}backup-id=h1&backup-type=host")).await.data();
    assert_eq!(listed.as_array().unwrap().len(), 2);
}

// R17, hazard H34: an index may name only chunks that the session uploaded or that an index of the same group names.
// Method: another group's chunk, which the store has, is named without `previous`; then this group's, before and after.
#[tokio::test]
async fn h34_an_index_names_only_chunks_that_the_session_possesses() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let (own, foreign) = (Chunk::of(noise(1, 5000)), Chunk::of(noise(2, 5000)));
    backup(&root, "own", TIME, &[&own]).await;
    backup(&root, "foreign", TIME, &[&foreign]).await;

    let session = begin(&root, "own", TIME + 1).await;
    let wid = open_dynamic(&session, "a.bin.didx").await;
    let named = |chunk: &Chunk| append(wid, &[chunk], &[0]);
    session.put_json("/dynamic_index", &named(&foreign)).await.refused(400, &foreign.digest.to_string());
    session.put_json("/dynamic_index", &named(&own)).await.refused(400, &own.digest.to_string());
    session.get("/previous?archive-name=index.json.blob").await.ok();
    session.put_json("/dynamic_index", &named(&own)).await.refused(400, &own.digest.to_string());
    session.get("/previous?archive-name=a.bin.didx").await.ok();
    session.put_json("/dynamic_index", &named(&foreign)).await.refused(400, &foreign.digest.to_string());
    session.put_json("/dynamic_index", &named(&own)).await.ok();
}

#[tokio::test]
async fn an_upgrade_is_refused_with_the_right_code() {
    let server = TestServer::start().await;
    let root = server.root().await;
    root.get(&backup_path("h1", TIME, "")).await.refused(400, "upgrade");
    let refused =
        async |path: &str, protocol: &str| root.upgrade(path, protocol).await.expect_err("was upgraded");
    refused(&backup_path("h1", TIME, ""), "proxmox-backup-protocol-v2").await.refused(400, "upgrade");
    let unknown = backup_path("h1", TIME, "").replace("store=default", "store=nosuch");
    refused(&unknown, BACKUP).await.refused(400, "nosuch");
    refused(&backup_path("h1", TIME, "&ns=no%2Fsuch"), BACKUP).await.refused(404, "no/such");
    refused(&backup_path("h1", 0, ""), BACKUP).await.refused(400, "backup-time");
    refused(&backup_path("..", TIME, ""), BACKUP).await.refused(400, "backup-id");
    refused(&backup_path("a%2Fb", TIME, ""), BACKUP).await.refused(400, "backup-id");
    refused(&backup_path(&"x".repeat(300), TIME, ""), BACKUP).await.refused(400, "backup-id");
    refused(&backup_path("h1", TIME, "&unknown=1"), BACKUP).await.refused(400, "unknown");
    refused(&backup_path("h1", TIME, "").replace("benchmark=false", "benchmark=true"), BACKUP)
        .await
        .refused(400, "benchmark");
    refused(&backup_path("benchmark", TIME, ""), BACKUP).await.refused(400, "benchmark");
    let nobody = Wire::nobody(root.address);
    assert_eq!(nobody.upgrade(&backup_path("h1", TIME, ""), BACKUP).await.unwrap_err().status, 401);
    assert_eq!(root.get(SNAPSHOTS).await.data(), json!([]), "a refused upgrade left something");
}

#[tokio::test]
async fn a_group_takes_one_writer_and_only_newer_times() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let chunk = Chunk::of(noise(1, 5000));
    backup(&root, "h1", TIME, &[&chunk]).await;
    for time in [TIME, TIME - 1] {
        let refused = root.upgrade(&backup_path("h1", time, ""), BACKUP).await.unwrap_err();
        refused.refused(400, "h1");
    }
    let session = begin(&root, "h1", TIME + 10).await;
    root.upgrade(&backup_path("h1", TIME + 20, ""), BACKUP).await.unwrap_err().refused(400, "h1");
    // Another group is free.
    begin(&root, "h2", TIME).await.drop_connection().await;
    session.drop_connection().await;
    // The lock goes with the session.
    eventually(&root, SNAPSHOTS, |answer| answer.data().as_array().unwrap().len() == 1).await;
    backup(&root, "h1", TIME + 5, &[&chunk]).await;
}

#[tokio::test]
async fn a_group_belongs_to_who_made_it() {
    let server = TestServer::start().await;
    let (root, al, bo) = (
        server.root().await,
        server.user("al@pbs", "DatastoreBackup").await,
        server.user("bo@pbs", "DatastoreBackup").await,
    );
    let chunk = Chunk::of(noise(1, 5000));
    backup(&al, "h1", TIME, &[&chunk]).await;
    for other in [&root, &bo] {
        other
            .upgrade(&backup_path("h1", TIME + 1, ""), BACKUP)
            .await
            .unwrap_err()
            .refused(400, "owned by al@pbs");
    }
    backup(&al, "h1", TIME + 1, &[&chunk]).await;
    let reader = server.user("cy@pbs", "DatastoreReader").await;
    reader
        .upgrade(&backup_path("h2", TIME, ""), BACKUP)
        .await
        .unwrap_err()
        .refused(403, "/datastore/default");
}

#[tokio::test]
async fn a_chunk_must_be_what_it_is_said_to_be() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    let wid = open_dynamic(&session, "a.bin.didx").await;
    let chunk = Chunk::of(noise(1, 5000));
    let post = async |query: String, body: bytes::Bytes| {
        session.post_bytes(&format!("/dynamic_chunk?{query}"), body).await
    };
    let good = chunk.query(wid);
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from));
        good.replace(from, to)
    };
    let body = || chunk.encoded.clone();

    let other = Digest::of(b"other").to_string();
    post(changed(&chunk.digest.to_string(), &other), body()).await.refused(400, &other);
    post(changed("size=5000", "size=4999"), body()).await.refused(400, "");
    post(changed("encoded-size=5012", "encoded-size=5013"), body()).await.refused(400, "5012");
    post(changed("encoded-size=5012", "encoded-size=5011"), body()).await.refused(400, "");
    post(changed("wid=1", "wid=2"), body()).await.refused(400, "2");
    post(changed("wid=1", "wid=257"), body()).await.refused(400, "wid");
    post(changed("size=5000", "size=16777217"), body()).await.refused(400, "size");
    post(changed("encoded-size=5012", "encoded-size=16777261"), body()).await.refused(400, "encoded-size");
    post(changed("size=5000", "size=0"), body()).await.refused(400, "size");
    post(changed(&chunk.digest.to_string(), "../../x"), body()).await.refused(400, "digest");
    post(good.replace("&wid=1", ""), body()).await.refused(400, "wid");
    session.post_bytes(&format!("/fixed_chunk?{good}"), body()).await.refused(400, "1");
    let mut unknown = chunk.encoded.to_vec();
    unknown[0] ^= 1;
    post(good.clone(), unknown.into()).await.refused(400, "magic");

    // What is wrong with a CRC of a chunk does not matter: it is made right.
    let mut wrong_crc = chunk.encoded.to_vec();
    wrong_crc[8..12].fill(0);
    post(good.clone(), wrong_crc.into()).await.ok();
    let tiny = Chunk::of(&b"0123456789"[..]);
    tiny.upload(&session, "dynamic", wid).await.ok();
    // The digest of an encrypted chunk cannot be checked.
    let key = CryptKey::new([7; 32]);
    let encrypted = Blob::encode_with(b"secret", Compression::None, &key, [9; 16]).unwrap().into_bytes();
    let query = format!("digest={other}&encoded-size={}&size=6&wid={wid}", encrypted.len());
    post(query, encrypted).await.ok();

    // The session is as good as new after all that.
    session.put_json("/dynamic_index", &append(wid, &[&chunk, &tiny], &[0, 5000])).await.ok();
    let csum = dynamic_csum(&[&chunk, &tiny]);
    session.post(&format!("/dynamic_close?chunk-count=2&csum={csum}&size=5010&wid={wid}")).await.ok();
    finish(&session, "h1", TIME, &[("a.bin.didx", csum, 5010)]).await.ok();
    session.drop_connection().await;
    let reader = open(&root, "h1", TIME).await;
    reader.get("/download?file-name=a.bin.didx").await.ok();
    let stored = reader.get(&format!("/chunk?digest={}", chunk.digest)).await;
    assert_eq!(stored.ok().body, chunk.encoded, "the CRC was not made right");
}

#[tokio::test]
async fn names_must_have_the_suffix_of_their_kind() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    for name in [
        "a.fidx",
        "a.blob",
        "a",
        "a%2Fb.didx",
        "..%2Fa.didx",
        ".didx",
        "a%00.didx",
        "%C3%BC.didx",
        &format!("{}.didx", "a".repeat(300)),
    ] {
        session.post(&format!("/dynamic_index?archive-name={name}")).await.refused(400, "");
    }
    for name in ["a.didx", "a.blob", "a"] {
        session.post(&format!("/fixed_index?archive-name={name}&size=1")).await.refused(400, "");
    }
    let blob = Blob::encode(b"x", Compression::None).unwrap().into_bytes();
    for name in ["a.fidx", "a.didx", "a.conf", "a%2Fb.blob"] {
        put_blob(&session, name, blob.clone()).await.refused(400, "");
    }
    session.post("/dynamic_index").await.refused(400, "archive-name");
}

#[tokio::test]
async fn appends_keep_what_stands_before_the_bad_entry() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    let wid = open_dynamic(&session, "a.bin.didx").await;
    let chunks = [Chunk::of(noise(1, 100)), Chunk::of(noise(2, 100)), Chunk::of(noise(3, 100))];
    for chunk in &chunks[..2] {
        chunk.upload(&session, "dynamic", wid).await.ok();
    }
    let [a, b, missing] = &chunks;
    session.put_json("/dynamic_index", &append(wid, &[a], &[1])).await.refused(400, "");
    session.put_json("/dynamic_index", &append(wid, &[a, b], &[0])).await.refused(400, "offset-list");
    session
        .put_json("/dynamic_index", &append(wid, &[a, missing], &[0, 100]))
        .await
        .refused(400, &missing.digest.to_string());
    session.put_json("/dynamic_index", &append(9, &[a], &[0])).await.refused(400, "9");
    session.put_json("/fixed_index", &append(wid, &[a], &[0])).await.refused(400, "");
    // The first entry of the refused request stays: the next one follows it.
    session.put_json("/dynamic_index", &append(wid, &[b], &[100])).await.ok();
    let csum = dynamic_csum(&[a, b]);
    session.post(&format!("/dynamic_close?chunk-count=2&csum={csum}&size=200&wid={wid}")).await.ok();
    session.put_json("/dynamic_index", &append(wid, &[a], &[200])).await.refused(400, "1");
}

#[tokio::test]
async fn a_wrong_close_ends_the_writer() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    let chunk = Chunk::of(noise(1, 100));
    let (csum, other) = (dynamic_csum(&[&chunk]), Digest::of(b"other"));
    for (i, query) in [
        format!("chunk-count=2&csum={csum}&size=100"),
        format!("chunk-count=1&csum={csum}&size=101"),
        format!("chunk-count=1&csum={other}&size=100"),
    ]
    .iter()
    .enumerate()
    {
        let wid = open_dynamic(&session, &format!("a{i}.bin.didx")).await;
        chunk.upload(&session, "dynamic", wid).await.ok();
        session.put_json("/dynamic_index", &append(wid, &[&chunk], &[0])).await.ok();
        session.post(&format!("/dynamic_close?{query}&wid={wid}")).await.refused(400, "");
        let good = format!("/dynamic_close?chunk-count=1&csum={csum}&size=100&wid={wid}");
        session.post(&good).await.refused(400, &wid.to_string());
    }
    // Nothing is open and nothing complete: a new writer makes the session good.
    session.post("/finish").await.refused(400, "");
    let listed = write_dynamic(&session, "b.bin.didx", &[&chunk], true).await;
    finish(&session, "h1", TIME, &[listed]).await.ok();
}

#[tokio::test]
async fn images_have_chunks_of_one_size() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    let (zeros, short, shorter) =
        (Chunk::of(vec![0; IMAGE_CHUNK]), Chunk::of(noise(1, 1000)), Chunk::of(noise(2, 999)));
    let size = 2 * IMAGE_CHUNK as u64 + 1000;
    let wid = open_fixed(&session, "d.img.fidx", size).await;
    zeros.upload(&session, "fixed", wid).await.ok();
    short.upload(&session, "fixed", wid).await.ok();
    shorter.upload(&session, "fixed", wid).await.refused(400, "");
    Chunk::of(vec![1; IMAGE_CHUNK + 1]).upload(&session, "fixed", wid).await.refused(400, "");
    let step = IMAGE_CHUNK as u64;
    let append_at = async |chunk: &Chunk, offset: u64| {
        session.put_json("/fixed_index", &append(wid, &[chunk], &[offset])).await
    };
    append_at(&short, 0).await.refused(400, "");
    append_at(&zeros, 1).await.refused(400, "");
    append_at(&zeros, 3 * step).await.refused(400, "");
    // Any order, and twice.
    for (chunk, offset) in [(&short, 2 * step), (&zeros, step), (&zeros, 0)] {
        append_at(chunk, offset).await.ok();
    }
    let csum = fixed_csum(&[&zeros, &zeros, &short]);
    session.post(&format!("/fixed_close?chunk-count=3&csum={csum}&size={size}&wid={wid}")).await.ok();
    finish(&session, "h1", TIME, &[("d.img.fidx", csum, size)]).await.ok();
}

#[tokio::test]
async fn reuse_needs_the_previous_index_of_that_checksum() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let (zeros, tail, new) =
        (Chunk::of(vec![0; IMAGE_CHUNK]), Chunk::of(noise(1, 1000)), Chunk::of(noise(2, 1000)));
    let size = IMAGE_CHUNK as u64 + 1000;
    let old = fixed_csum(&[&zeros, &tail]);
    let open = |csum: Digest| format!("/fixed_index?archive-name=d.img.fidx&reuse-csum={csum}&size={size}");

    let session = begin(&root, "h1", TIME).await;
    session.post(&open(old)).await.refused(400, "");
    let listed = write_fixed(&session, "d.img.fidx", &[&zeros, &tail]).await;
    finish(&session, "h1", TIME, &[listed]).await.ok();
    session.drop_connection().await;

    let session = begin(&root, "h1", TIME + 1).await;
    session.post(&open(Digest::of(b"other"))).await.refused(400, "");
    let wid = session.post(&open(old)).await.data().as_u64().unwrap();
    new.upload(&session, "fixed", wid).await.ok();
    session.put_json("/fixed_index", &append(wid, &[&new], &[IMAGE_CHUNK as u64])).await.ok();
    let csum = fixed_csum(&[&zeros, &new]);
    session.post(&format!("/fixed_close?chunk-count=1&csum={csum}&size=1000&wid={wid}")).await.ok();
    finish(&session, "h1", TIME + 1, &[("d.img.fidx", csum, size)]).await.ok();
}

#[tokio::test]
async fn blobs_are_checked_and_may_be_sent_again() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    let blob = Blob::encode(b"some configuration", Compression::None).unwrap().into_bytes();
    let mut wrong_crc = blob.to_vec();
    wrong_crc[8] ^= 1;
    put_blob(&session, "y.conf.blob", wrong_crc.into()).await.refused(400, "CRC");
    let short = format!("/blob?encoded-size={}&file-name=y.conf.blob", blob.len() + 1);
    session.post_bytes(&short, blob.clone()).await.refused(400, "");
    put_blob(&session, "y.conf.blob", blob.clone()).await.ok();
    let again = Blob::encode(b"another configuration", Compression::None).unwrap().into_bytes();
    put_blob(&session, "y.conf.blob", again.clone()).await.ok();
    finish(&session, "h1", TIME, &[("y.conf.blob", Digest::of(&again), again.len() as u64)]).await.ok();
    session.drop_connection().await;
    let reader = open(&root, "h1", TIME).await;
    assert_eq!(reader.get("/download?file-name=y.conf.blob").await.body, again);
}

#[tokio::test]
async fn finish_wants_everything_in_place_and_comes_once() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    session.post("/finish").await.refused(400, "");
    let chunk = Chunk::of(noise(1, 100));
    let listed = write_dynamic(&session, "a.bin.didx", &[&chunk], true).await;
    session.post("/finish").await.refused(400, "index.json.blob");
    // A stock server gives a second writer for the same name, and then the stale one stands in the way of finish; here
    // the second is refused.
    open_dynamic(&session, "b.bin.didx").await;
    session.post("/dynamic_index?archive-name=b.bin.didx").await.refused(400, "b.bin.didx");
    session.post("/dynamic_index?archive-name=a.bin.didx").await.refused(400, "a.bin.didx");
    finish(&session, "h1", TIME, &[listed]).await.refused(400, "");
    session.drop_connection().await;
    eventually(&root, SNAPSHOTS, |answer| answer.data() == json!([])).await;
    assert_ne!(task_end(&root, "backup").await, "OK");

    let session = begin(&root, "h1", TIME).await;
    // A manifest may name what was never uploaded.
    write_blob(&session, "y.conf.blob", b"x").await;
    finish(&session, "h1", TIME, &[("never.didx", Digest::of(b""), 1)]).await.ok();
    session.post("/finish").await.refused(400, "finished");
    session.post("/dynamic_index?archive-name=a.bin.didx").await.refused(400, "finished");
    put_blob(&session, "index.json.blob", manifest("h1", TIME, &[])).await.refused(400, "finished");
    session.drop_connection().await;
    assert_eq!(task_end(&root, "backup").await, "OK");
}

#[tokio::test]
async fn previous_needs_an_earlier_snapshot_that_has_the_file() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    session.get("/previous?archive-name=a.bin.didx").await.refused(400, "");
    session.drop_connection().await;
    backup(&root, "h2", TIME, &[&Chunk::of(noise(1, 100))]).await;
    let session = begin(&root, "h2", TIME + 1).await;
    session.get("/previous?archive-name=b.bin.didx").await.refused(400, "b.bin.didx");
    session.get("/previous?archive-name=b.bin").await.refused(400, "archive-name");
}

#[tokio::test]
async fn a_session_that_drops_leaves_no_snapshot_and_no_lock() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    write_dynamic(&session, "a.bin.didx", &[&Chunk::of(noise(1, 100))], true).await;
    let during = root.get(SNAPSHOTS).await.data();
    assert_eq!((during[0]["backup-time"].as_i64(), during[0].get("size")), (Some(TIME), None));
    let triple = triple("h1", TIME);
    root.get(&format!("/api2/json/admin/datastore/default/files?{triple}")).await.refused(400, "");
    root.delete(&format!("/api2/json/admin/datastore/default/snapshots?{triple}")).await.refused(400, "");
    session.drop_connection().await;
    eventually(&root, SNAPSHOTS, |answer| answer.data() == json!([])).await;
    assert!(task_end(&root, "backup").await.contains("connection"));
    // The chunk is still in the store, but no index names it: the next session must bring it again.
    let session = begin(&root, "h1", TIME).await;
    let wid = open_dynamic(&session, "a.bin.didx").await;
    session
        .put_json("/dynamic_index", &append(wid, &[&Chunk::of(noise(1, 100))], &[0]))
        .await
        .refused(400, "");
}

#[tokio::test]
async fn stopping_the_task_ends_the_session() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    let tasks = "/api2/json/nodes/localhost/tasks";
    let running = root
        .get(&format!("{tasks}?limit=50&running=true&start=0&store=default&userfilter=root@pam"))
        .await
        .json();
    let upid = running["data"][0]["upid"].as_str().unwrap();
    assert!(upid.contains(":backup:default\\x3ahost-h1:root@pam:"), "{upid}");
    let escaped = upid.replace(':', "%3A").replace('\\', "%5C").replace('@', "%40");
    root.delete(&format!("{tasks}/{escaped}")).await.ok();
    eventually(&root, SNAPSHOTS, |answer| answer.data() == json!([])).await;
    assert!(task_end(&root, "backup").await.contains("stopped"));
    session.drop_connection().await;
}

#[tokio::test]
async fn a_benchmark_leaves_nothing() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let path = backup_path("benchmark", TIME, "").replace("benchmark=false", "benchmark=true");
    let session = root.upgrade(&path, BACKUP).await.unwrap();
    for _ in 0..3 {
        // Form content type, 4 MiB, no size in the query.
        assert!(
            session.call(Method::POST, "/speedtest", FORM, vec![0; 4 << 20].into()).await.data().is_null()
        );
    }
    session.drop_connection().await;
    eventually(&root, SNAPSHOTS, |answer| answer.data() == json!([])).await;
    assert_eq!(task_end(&root, "benchmark").await, "OK");
}

#[tokio::test]
async fn paths_of_a_session_are_listed_and_others_unknown() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    let paths = session.get("/").await.data();
    assert_eq!(paths[0], json!({ "subdir": "blob" }));
    session.get("/nosuch").await.refused(404, "nosuch");
    session.get("/finish").await.refused(404, "finish");
    session.post("/previous_backup_time?x=1").await.refused(404, "");
    session.get("/previous_backup_time?x=1").await.refused(400, "x");
}

#[tokio::test]
async fn appends_of_half_a_mebibyte_are_taken_and_larger_ones_refused() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    let wid = open_dynamic(&session, "a.bin.didx").await;
    let chunk = Chunk::of(noise(1, 10));
    chunk.upload(&session, "dynamic", wid).await.ok();
    let starts: Vec<u64> = (0..7000).map(|i| i * 10).collect();
    let many = append(wid, &vec![&chunk; starts.len()], &starts);
    assert!((500_000..524_288).contains(&many.to_string().len()), "{}", many.to_string().len());
    session.put_json("/dynamic_index", &many).await.ok();
    let starts: Vec<u64> = (0..7500).map(|i| 70_000 + i * 10).collect();
    session
        .put_json("/dynamic_index", &append(wid, &vec![&chunk; starts.len()], &starts))
        .await
        .refused(400, "");
}
