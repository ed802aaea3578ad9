//! Pulls from a source that lies on the wire, where nothing is checked before it is sent: a clear error, nothing half here, and the
//! next pull, with the truth, comes to its end.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob, CHUNK_BYTES_MAX, Compression, CryptKey};
use coldkeep_client::{PullRequest, RemoteUpdate};
use coldkeep_datastore::SnapshotName;
use coldkeep_datastore::index::HEADER_BYTES;
use serde_json::{Value, json};

use super::faults::wait_for_line;
use super::relay::{Lie, Relay};
use super::{BLOB, Pair, REMOTE, STREAM, TIME, count, errors, request};
use crate::live::Live;
use crate::site::archive;

/// What is asked for the list of snapshots.
const LIST: &str = "/api2/json/admin/datastore/default/snapshots";
/// Most of an endless body that is on its way when its reader has enough: buffers of the relay, the sockets and the reader.
const UNDERWAY_BYTES_MAX: u64 = 64 << 20;

/// A source with three snapshots that share nothing, a relay to it, and a target that only knows the relay.
struct Liar {
    pair: Pair,
    relay: Relay,
    names: Vec<SnapshotName>,
}

impl Liar {
    async fn new(pair: Pair) -> Self {
        Self::with_second(pair, 4).await
    }

    /// So many pieces in the second snapshot, which is the one that will be lied about.
    async fn with_second(mut pair: Pair, pieces: usize) -> Self {
        let mut names = Vec::new();
        for (time, pieces) in [(0, 0..4), (1, 4..4 + pieces), (2, 4 + pieces..8 + pieces)] {
            names.push(pair.back_up("web", time, &pieces.collect::<Vec<_>>()).await);
        }
        let relay = Relay::to(SocketAddr::from((Ipv4Addr::LOCALHOST, pair.source.port()))).await;
        let (port, fingerprint) = (Some(relay.port), Some(relay.fingerprint));
        let update = RemoteUpdate { port, fingerprint, ..RemoteUpdate::default() };
        pair.target.client().update_remote(&REMOTE.parse().unwrap(), &update).await.unwrap();
        Self { pair, relay, names }
    }

    /// A part of what is asked in a session of the second snapshot only.
    fn second(&self) -> String {
        format!("backup-time={}", self.names[1].time.unix_seconds())
    }

    /// The digest of the first chunk of the second snapshot, and how long its data is.
    async fn chunk(&self) -> (Digest, u64) {
        let stored = self.pair.source.store().open_stored(&self.names[1]).await.unwrap();
        let index = stored.index(&archive(STREAM), usize::MAX).await.unwrap();
        let span = index.spans().next().unwrap();
        (span.digest, span.plain_len())
    }

    fn lie_about_file(&self, file: &str, lie: Lie) {
        self.relay.lie_about(&[&self.second(), &format!("/download?file-name={file}")], lie);
    }

    /// Checks that a pull fails with all of this in its error, that the relay lied to it, and that only `here` is here.
    async fn fails(&self, expected: &[&str], here: &[&SnapshotName]) {
        let (error, report) = self.pair.pull().await.unwrap_err();
        assert!(error.to_string().contains("could not be copied whole"), "{error}");
        for part in expected {
            assert!(errors(&report).contains(part), "{report} does not say {part:?}");
        }
        assert!(self.relay.be_honest() > 0, "nothing was lied about");
        self.pair.assert_here(here).await;
        let half = self.names.iter().filter(|name| !here.contains(name));
        for name in half.map(|name| self.pair.target.store_folder().join(name.to_string())) {
            assert!(!name.exists(), "{} is there", name.display());
        }
    }

    /// The same for a lie about the second snapshot, which the error names, too.
    async fn fails_at_second(&self, expected: &[&str]) {
        let snapshot = format!("snapshot {}", self.names[1]);
        self.fails(&[&[&*snapshot], expected].concat(), &[&self.names[0]]).await;
    }

    /// Checks that a pull of the truth comes to its end.
    async fn ends_well(self) {
        self.pair.pull().await.unwrap();
        self.pair.assert_here(&self.names.iter().collect::<Vec<_>>()).await;
    }
}

/// Where the target has its store.
#[derive(Clone, Copy)]
enum Target {
    Filesystem,
    Bucket,
}

impl Target {
    async fn pair(self) -> Pair {
        match self {
            Self::Filesystem => Pair::new().await,
            Self::Bucket => Pair::into_bucket().await,
        }
    }

    fn live(self) -> Option<&'static Live> {
        matches!(self, Self::Bucket).then(Live::any)
    }
}

fn data_of(chunk: Bytes) -> Vec<u8> {
    Blob::parse(chunk).unwrap().decode(CHUNK_BYTES_MAX).unwrap().into()
}

fn encoded(data: &[u8]) -> Bytes {
    Blob::encode(data, Compression::Zstd).unwrap().into_bytes()
}

/// Sends something else for a chunk of the second snapshot.
async fn a_chunk_is_refused(
    target: Target,
    lie: impl Fn(Bytes) -> Bytes + Send + Sync + 'static,
    expected: &str,
) {
    let liar = Liar::new(target.pair().await).await;
    let (digest, _) = liar.chunk().await;
    liar.relay.lie_about(&[&format!("/chunk?digest={digest}")], Lie::body(lie));
    liar.fails_at_second(&[&format!("chunk {digest} of {STREAM} is refused"), expected]).await;
    let stored = liar.pair.target.stored_chunks(target.live()).await;
    assert!(!stored.is_empty() && !stored.contains(&digest.to_string()), "the chunk is here");
    liar.ends_well().await;
}

/// A chunk of other data, as long as the true one, in a blob that is whole.
async fn a_chunk_of_other_data_is_refused(target: Target) {
    let swap = |chunk| {
        let mut data = data_of(chunk);
        data[0] ^= 1;
        encoded(&data)
    };
    a_chunk_is_refused(target, swap, "has data with the digest").await;
}

#[tokio::test]
async fn a_chunk_of_other_data_is_refused_on_a_filesystem() {
    a_chunk_of_other_data_is_refused(Target::Filesystem).await;
}

#[tokio::test]
async fn a_chunk_of_other_data_is_refused_in_a_bucket() {
    a_chunk_of_other_data_is_refused(Target::Bucket).await;
}

/// The data is right, but not what guards it.
#[tokio::test]
async fn a_chunk_with_a_wrong_crc_is_refused() {
    let spoil = |chunk: Bytes| {
        let mut chunk = chunk.to_vec();
        chunk[8] ^= 1;
        chunk.into()
    };
    a_chunk_is_refused(Target::Filesystem, spoil, "it is no valid blob: blob CRC is").await;
}

/// A chunk that nobody here can look into, in an archive that is not encrypted.
async fn an_encrypted_chunk_in_a_plain_archive_is_refused(target: Target) {
    let encrypt = |chunk| {
        let key = CryptKey::new([7; 32]);
        Blob::encode_with(&data_of(chunk), Compression::None, &key, [1; 16]).unwrap().into_bytes()
    };
    a_chunk_is_refused(target, encrypt, "encrypted where its archive is not").await;
}

#[tokio::test]
async fn an_encrypted_chunk_in_a_plain_archive_is_refused_on_a_filesystem() {
    an_encrypted_chunk_in_a_plain_archive_is_refused(Target::Filesystem).await;
}

#[tokio::test]
async fn an_encrypted_chunk_in_a_plain_archive_is_refused_in_a_bucket() {
    an_encrypted_chunk_in_a_plain_archive_is_refused(Target::Bucket).await;
}

/// A few kilobytes that unpack to more than any chunk has.
#[tokio::test]
async fn a_chunk_that_unpacks_without_end_is_refused() {
    let bomb = encoded(&vec![0; 4 * CHUNK_BYTES_MAX]);
    a_chunk_is_refused(Target::Filesystem, move |_| bomb.clone(), "exceeds the limit").await;
}

/// Goal: what has no end is refused soon after it is too long, so it takes neither the memory for it nor the time.
/// Method: the relay counts how much of it was taken.
async fn what_has_no_end_is_refused(target: Target, endless: Endless) {
    // One chunk, which bounds how long its index may be: ten million bytes.
    let liar = Liar::with_second(target.pair().await, 1).await;
    let (digest, plain_bytes) = liar.chunk().await;
    let (path, bytes_max, what) = match endless {
        Endless::Chunk => {
            let path = format!("/chunk?digest={digest}");
            (path, 2 * plain_bytes, format!("chunk {digest} of {STREAM} is refused"))
        }
        // It is asked for twice: ahead, where less is taken, and when it is its turn.
        Endless::Index => (format!("/download?file-name={STREAM}"), 41 * plain_bytes, STREAM.to_owned()),
        Endless::Manifest => {
            let file = "index.json.blob";
            (format!("/download?file-name={file}"), BLOB_ENCODED_BYTES_MAX as u64, file.to_owned())
        }
    };
    liar.relay.lie_about(&[&liar.second(), &path], Lie::Endless);
    liar.fails_at_second(&["is longer than", &what]).await;
    let taken = liar.relay.endless_bytes();
    println!("{taken} bytes were taken, at most {bytes_max} were wanted");
    assert!(taken < bytes_max + UNDERWAY_BYTES_MAX, "{taken} bytes were taken");
    liar.ends_well().await;
}

#[derive(Clone, Copy)]
enum Endless {
    Chunk,
    Index,
    Manifest,
}

#[tokio::test]
async fn an_endless_chunk_is_refused_on_a_filesystem() {
    what_has_no_end_is_refused(Target::Filesystem, Endless::Chunk).await;
}

#[tokio::test]
async fn an_endless_chunk_is_refused_in_a_bucket() {
    what_has_no_end_is_refused(Target::Bucket, Endless::Chunk).await;
}

#[tokio::test]
async fn an_endless_index_is_refused() {
    what_has_no_end_is_refused(Target::Filesystem, Endless::Index).await;
}

#[tokio::test]
async fn an_endless_manifest_is_refused() {
    what_has_no_end_is_refused(Target::Filesystem, Endless::Manifest).await;
}

/// Goal: an index that is not all there is refused, though its length is right for what came.
/// Method: cut inside an entry, behind the first one, and inside the header.
#[tokio::test]
async fn an_index_that_is_cut_is_refused() {
    let liar = Liar::with_second(Pair::new().await, 40).await;
    let cases = [
        (HEADER_BYTES + 60, "a dynamic index cannot be 4156 bytes long; it is cut short"),
        (HEADER_BYTES + 40, "bytes, the manifest says 10485760"),
        (100, "a dynamic index cannot be 100 bytes long; it is cut short"),
    ];
    for (length, expected) in cases {
        liar.lie_about_file(STREAM, Lie::body(move |index| index.slice(..length)));
        liar.fails_at_second(&[STREAM, expected]).await;
    }
    liar.ends_well().await;
}

/// As before, but the stream breaks off, and nothing said how long it would be.
async fn an_index_that_breaks_off_is_refused(target: Target) {
    let liar = Liar::new(target.pair().await).await;
    liar.lie_about_file(STREAM, Lie::BreaksOff(HEADER_BYTES + 20));
    let expected = format!("GET /download?file-name={STREAM} failed: error reading a body from connection");
    liar.fails_at_second(&[&expected]).await;
    liar.ends_well().await;
}

#[tokio::test]
async fn an_index_that_breaks_off_is_refused_on_a_filesystem() {
    an_index_that_breaks_off_is_refused(Target::Filesystem).await;
}

#[tokio::test]
async fn an_index_that_breaks_off_is_refused_in_a_bucket() {
    an_index_that_breaks_off_is_refused(Target::Bucket).await;
}

/// An index whose first chunk is a byte longer and whose second is a byte shorter than they are, with a header that agrees.
fn with_moved_boundary(index: &Bytes) -> (Bytes, Digest) {
    let mut index = index.to_vec();
    let (header, entries) = index.split_at_mut(HEADER_BYTES);
    assert!(entries.len() >= 80, "too few chunks");
    let end: [u8; 8] = entries[..8].try_into().unwrap();
    entries[..8].copy_from_slice(&(u64::from_le_bytes(end) + 1).to_le_bytes());
    let csum = Digest::of(entries);
    header[32..64].copy_from_slice(csum.as_bytes());
    (index.into(), csum)
}

#[tokio::test]
async fn an_index_that_lies_about_lengths_is_refused_by_the_manifest() {
    let liar = Liar::with_second(Pair::new().await, 40).await;
    liar.lie_about_file(STREAM, Lie::body(|index| with_moved_boundary(&index).0));
    let expected = format!("the index {STREAM} does not fit the manifest: the index has checksum");
    liar.fails_at_second(&[&expected]).await;
    liar.ends_well().await;
}

/// Goal: the chunks themselves tell that an index lies about their lengths, if the manifest lies along.
async fn an_index_that_lies_about_lengths_is_refused_by_its_chunks(target: Target) {
    let liar = Liar::with_second(target.pair().await, 40).await;
    let stored = liar.pair.source.store().open_stored(&liar.names[1]).await.unwrap();
    let index = stored.index(&archive(STREAM), usize::MAX).await.unwrap();
    drop(stored);
    let (moved, csum) = with_moved_boundary(index.bytes());
    liar.lie_about_file(STREAM, Lie::body(move |_| moved.clone()));
    let edit = move |manifest: &mut Value| {
        let file =
            manifest["files"].as_array_mut().unwrap().iter_mut().find(|file| file["filename"] == STREAM);
        file.unwrap()["csum"] = json!(csum.to_string());
    };
    liar.lie_about_file("index.json.blob", edit_manifest(edit));
    let expected = [&*format!("of {STREAM} is refused"), "has data of another length than the announced"];
    liar.fails_at_second(&expected).await;
    liar.ends_well().await;
}

#[tokio::test]
async fn an_index_that_lies_about_lengths_is_refused_by_its_chunks_on_a_filesystem() {
    an_index_that_lies_about_lengths_is_refused_by_its_chunks(Target::Filesystem).await;
}

#[tokio::test]
async fn an_index_that_lies_about_lengths_is_refused_by_its_chunks_in_a_bucket() {
    an_index_that_lies_about_lengths_is_refused_by_its_chunks(Target::Bucket).await;
}

fn edit_manifest(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Lie {
    Lie::body(move |blob| {
        let mut manifest: Value = serde_json::from_slice(&data_of(blob)).unwrap();
        edit(&mut manifest);
        encoded(manifest.to_string().as_bytes())
    })
}

#[tokio::test]
async fn a_manifest_with_names_that_are_none_is_refused() {
    let liar = Liar::new(Pair::new().await).await;
    for name in ["../x.didx", "..", "/etc/x.blob", "a/b.didx", ".x.blob", "a.txt"] {
        let rename = move |manifest: &mut Value| manifest["files"][0]["filename"] = json!(name);
        liar.lie_about_file("index.json.blob", edit_manifest(rename));
        let expected = format!("the manifest of {} is damaged", liar.names[1]);
        liar.fails_at_second(&[&expected, &format!("{name:?}")]).await;
    }
    liar.ends_well().await;
}

#[tokio::test]
async fn a_manifest_that_lists_a_file_twice_or_itself_is_refused() {
    let liar = Liar::new(Pair::new().await).await;
    for name in [BLOB, STREAM, "index.json.blob", "client.log.blob"] {
        let edit = move |manifest: &mut Value| {
            let mut again = manifest["files"][0].clone();
            again["filename"] = json!(name);
            manifest["files"].as_array_mut().unwrap().push(again);
        };
        liar.lie_about_file("index.json.blob", edit_manifest(edit));
        liar.fails_at_second(&[&format!("the manifest lists a file called {name} twice")]).await;
    }
    liar.ends_well().await;
}

/// Sends something else for the list of snapshots.
async fn a_list_is_refused(liar: &Liar, lie: Lie, expected: &str) {
    liar.relay.lie_about(&[LIST], lie);
    let expected = ["cannot list the snapshots of group host/web of the other server", LIST, expected];
    liar.fails(&expected, &[]).await;
}

/// Changes the list of snapshots.
fn edit_list(edit: impl Fn(&mut Vec<Value>) + Send + Sync + 'static) -> Lie {
    Lie::body(move |body| {
        let mut list: Value = serde_json::from_slice(&body).unwrap();
        edit(list["data"].as_array_mut().unwrap());
        list.to_string().into()
    })
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_refused() {
    let liar = Liar::new(Pair::new().await).await;
    a_list_is_refused(&liar, Lie::body(|_| "<html>no</html>".into()), "cannot be understood").await;
    a_list_is_refused(&liar, Lie::body(|list| list.slice(..list.len() - 1)), "cannot be understood").await;
    for id in ["../../x", "..", "a/b"] {
        let lie = edit_list(move |list| list[1]["backup-id"] = json!(id));
        a_list_is_refused(&liar, lie, &format!("{id:?}")).await;
    }
    liar.ends_well().await;
}

/// Goal: a list of something else than what was asked for is no list of it, also where what it lacks would be removed here.
#[tokio::test]
async fn a_list_of_another_group_is_refused() {
    let liar = Liar::new(Pair::new().await).await;
    for (key, other, group) in [("backup-id", "db", "host/db"), ("backup-type", "vm", "vm/web")] {
        let lie = edit_list(move |list| list[1][key] = json!(other));
        a_list_is_refused(&liar, lie, &format!("it lists {group}/")).await;
    }
    liar.pair.pull().await.unwrap();
    let lie = edit_list(|list| {
        list[1]["backup-id"] = json!("db");
        list[1]["backup-time"] = json!(TIME + 9);
    });
    liar.relay.lie_about(&[LIST], lie);
    let (_, report) =
        liar.pair.pull_with(|request| request.selection.remove_vanished = true).await.unwrap_err();
    assert!(errors(&report).contains("it lists host/db/"), "{report}");
    liar.relay.be_honest();
    liar.ends_well().await;
}

#[tokio::test]
async fn an_endless_list_is_refused() {
    let liar = Liar::new(Pair::new().await).await;
    a_list_is_refused(&liar, Lie::Endless, "is longer than").await;
    let taken = liar.relay.endless_bytes();
    println!("{taken} bytes were taken");
    assert!(taken < (64 << 20) + UNDERWAY_BYTES_MAX, "{taken} bytes were taken");
    liar.ends_well().await;
}

/// Goal: of a source from before there were namespaces all is copied, with an error that says that it may not be all, and nothing
/// is taken for vanished.
#[tokio::test]
async fn a_source_without_namespaces_gives_what_it_has() {
    let liar = Liar::new(Pair::new().await).await;
    liar.pair.target.store().create_namespace("mine").await.unwrap();
    liar.relay.lie_about(&["/api2/json/admin/datastore/default/namespace"], Lie::Missing);
    let vanished = |request: &mut PullRequest| request.selection.remove_vanished = true;
    let (error, report) = liar.pair.pull_with(vanished).await.unwrap_err();
    assert!(error.to_string().contains("could not be copied whole"), "{error}");
    assert_eq!([count(&report, "snapshots"), count(&report, "removed_namespaces")], [3, 0], "{report}");
    assert!(liar.relay.be_honest() > 0, "nothing was lied about");
    liar.ends_well().await;
}

/// Goal: a pull that waits for a chunk which never comes can be stopped. Its own deadline is half an hour.
#[tokio::test]
async fn a_pull_that_waits_for_a_chunk_can_be_stopped() {
    let liar = Liar::new(Pair::new().await).await;
    let (digest, _) = liar.chunk().await;
    liar.relay.lie_about(&[&format!("/chunk?digest={digest}")], Lie::Silence);
    let client = liar.pair.target.client();
    let upid = client.start_pull(&request(|_| {})).await.unwrap();
    tokio::join!(wait_for_line(&client, &upid, ": copied"), liar.relay.tells());
    client.stop_task(&upid).await.unwrap();
    let error = client.wait_task(&upid, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("stopped by request"), "{error}");
    liar.relay.be_honest();
    liar.pair.assert_here(&[&liar.names[0]]).await;
    liar.ends_well().await;
}
