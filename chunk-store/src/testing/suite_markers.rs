//! What every directory of markers must do.

use bytes::Bytes;

use crate::blob::{Blob, ChunkClass, Compression, CryptKey};
use crate::digest::Digest;
use crate::dir::{Durability, EntryKind, EntryName, Marker, MarkerDir, Marks, NewEntry, NewMarker};
use crate::locks::{DigestGuard, DigestLocks};
use crate::time::StoreTime;

const CLASSES: [Option<ChunkClass>; 3] = [None, Some(ChunkClass::Plain), Some(ChunkClass::Encrypted)];

fn at(seconds: i64) -> StoreTime {
    StoreTime::from_unix(seconds, 987_654_321)
}

fn plain() -> Bytes {
    Blob::encode(b"abc", Compression::None).expect("small blob").into_bytes()
}

fn encrypted() -> Bytes {
    let key = CryptKey::new([1; 32]);
    Blob::encode_with(b"abc", Compression::None, &key, [2; 16]).expect("small blob").into_bytes()
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what a directory tells")]
fn marker(len: usize, seconds: i64, class: Option<ChunkClass>) -> Option<Marker> {
    Some(Marker { len: len as u64, used_at: at(seconds), class })
}

/// One digest of a directory, its lock held.
struct Spot<'a, D> {
    dir: &'a D,
    held: DigestGuard,
    digest: Digest,
}

impl<'a, D: MarkerDir> Spot<'a, D> {
    async fn new(dir: &'a D, data: &[u8]) -> Self {
        let digest = Digest::of(data);
        Self { dir, held: DigestLocks::new().lock(&digest).await, digest }
    }

    async fn marks(&self) -> Marks {
        self.dir.marks(&self.held, vec![self.digest]).await.expect("marks")[0]
    }

    async fn marker(&self) -> Option<Marker> {
        self.marks().await.marker
    }

    async fn content(&self) -> Option<Bytes> {
        self.dir.read(EntryName::chunk(self.digest)).await.expect("read")
    }

    async fn place(&self, content: Option<Bytes>, class: Option<ChunkClass>, seconds: i64) {
        let marker = NewMarker { digest: self.digest, content, class, at: at(seconds) };
        self.dir.place_marker(&self.held, marker).await.expect("place");
    }

    async fn put_upload_marker(&self, seconds: i64) {
        self.dir.put_upload_marker(&self.held, self.digest, at(seconds)).await.expect("upload marker");
    }

    async fn fill(&self, content: Bytes) -> bool {
        self.dir.fill_marker(&self.held, self.digest, content).await.expect("fill")
    }

    async fn empty(&self) -> u64 {
        self.dir.empty_marker(&self.held, self.digest).await.expect("empty")
    }

    async fn use_marker(&self, seconds: i64) -> Option<Marker> {
        self.dir.use_marker(&self.held, self.digest, at(seconds)).await.expect("use")
    }

    async fn remove(&self) {
        self.dir.remove_markers(&self.held, vec![self.digest]).await.expect("remove");
    }
}

/// Checks an empty directory of markers against the contract of [`MarkerDir`].
///
/// # Panics
/// If something does not hold.
pub async fn check_marker_dir<D: MarkerDir>(dir: &D) {
    check_absence(dir).await;
    check_upload_markers(dir).await;
    check_empty_markers(dir).await;
    check_content(dir).await;
    check_classes_of_content(dir).await;
    check_fill_and_eviction(dir).await;
    check_fresh(dir).await;
}

async fn check_absence<D: MarkerDir>(dir: &D) {
    let spot = Spot::new(dir, b"absent").await;
    assert_eq!(spot.marks().await, Marks::default(), "marks of nothing");
    assert_eq!(spot.use_marker(1).await, None, "a missing marker was used");
    assert!(!spot.fill(plain()).await, "R6: filling created a marker");
    assert_eq!(spot.empty().await, 0);
    spot.remove().await;
    assert_eq!(spot.marks().await, Marks::default(), "something was created");
}

async fn check_upload_markers<D: MarkerDir>(dir: &D) {
    let spot = Spot::new(dir, b"upload").await;
    for seconds in [10, 20] {
        spot.put_upload_marker(seconds).await;
        let marks = Marks { marker: None, upload_started_at: Some(at(seconds)) };
        assert_eq!(
            spot.marks().await,
            marks,
            "an upload marker is no marker, and says when the latest upload began"
        );
    }
    let name = EntryName::new(spot.digest, EntryKind::UploadMarker);
    let listed = dir.list(vec![name.shard()]).await.expect("list");
    assert!(listed.iter().any(|entry| entry.name == name && entry.stat.used_at == at(20)), "not listed");
    spot.remove().await;
    assert!(spot.marks().await.upload_started_at.is_some(), "removed with the marker");
    let remove = |seconds| dir.remove_unused(&spot.held, vec![name], at(seconds));
    assert_eq!(remove(20).await.expect("remove"), [false]);
    assert_eq!(remove(21).await.expect("remove"), [true]);
    assert_eq!(spot.marks().await, Marks::default());
}

async fn check_empty_markers<D: MarkerDir>(dir: &D) {
    for class in CLASSES {
        for with_upload_marker in [false, true] {
            let spot = Spot::new(dir, b"empty").await;
            if with_upload_marker {
                spot.put_upload_marker(10).await;
            }
            spot.place(None, class, 20).await;
            let marks = Marks { marker: marker(0, 20, class), upload_started_at: None };
            assert_eq!(spot.marks().await, marks, "R4: the marker stands in the place of the upload marker");
            assert_eq!(spot.use_marker(30).await, marker(0, 20, class), "use tells what was before");
            assert_eq!(spot.marker().await, marker(0, 30, class), "use sets the atime and nothing else");
            spot.place(None, None, 40).await;
            assert_eq!(spot.marker().await, marker(0, 40, class), "a class that is known was lost");
            for other in [Some(ChunkClass::Plain), Some(ChunkClass::Encrypted)] {
                spot.put_upload_marker(10).await;
                spot.place(None, other, 50).await;
                assert_eq!(
                    spot.marks().await,
                    Marks { marker: marker(0, 50, other), upload_started_at: None }
                );
            }
            spot.remove().await;
            assert_eq!(spot.marks().await, Marks::default());
        }
    }
    // What a stock server leaves.
    let spot = Spot::new(dir, b"stock").await;
    let name = EntryName::chunk(spot.digest);
    let entry = NewEntry { name, content: Bytes::new(), at: at(5) };
    dir.put(&spot.held, entry, Durability::Deferred).await.expect("put");
    assert_eq!(spot.marker().await, marker(0, 5, None), "the class of a foreign empty marker is not known");
}

async fn check_content<D: MarkerDir>(dir: &D) {
    let plain_class = Some(ChunkClass::Plain);
    let (spot, len) = (Spot::new(dir, b"content").await, plain().len());
    spot.put_upload_marker(10).await;
    spot.place(Some(plain()), plain_class, 20).await;
    let marks = Marks { marker: marker(len, 20, plain_class), upload_started_at: None };
    assert_eq!(spot.marks().await, marks);
    assert_eq!(spot.content().await, Some(plain()));
    assert_eq!(spot.use_marker(30).await, marker(len, 20, plain_class));
    assert_eq!(spot.marker().await, marker(len, 30, plain_class), "looking moved the atime, or use did not");

    for class in [None, plain_class] {
        spot.put_upload_marker(10).await;
        spot.place(None, class, 40).await;
        let marks = Marks { marker: marker(len, 40, plain_class), upload_started_at: None };
        assert_eq!(spot.marks().await, marks, "R4: cached content was replaced by an empty file");
    }
    spot.place(Some(encrypted()), None, 50).await;
    assert_eq!(spot.marker().await, marker(encrypted().len(), 50, Some(ChunkClass::Encrypted)));
    assert_eq!(spot.content().await, Some(encrypted()), "content replaces content");
    spot.place(None, plain_class, 60).await;
    assert_eq!(spot.marker().await, marker(0, 60, plain_class), "content of another class stayed");
    spot.remove().await;
    assert_eq!(spot.content().await, None);
}

async fn check_classes_of_content<D: MarkerDir>(dir: &D) {
    let spot = Spot::new(dir, b"classes").await;
    for (content, class) in [(plain(), ChunkClass::Plain), (encrypted(), ChunkClass::Encrypted)] {
        spot.place(Some(content.clone()), None, 10).await;
        assert_eq!(spot.marker().await, marker(content.len(), 10, Some(class)), "content tells its class");
        assert_eq!(spot.empty().await, content.len() as u64);
        assert_eq!(spot.marker().await, marker(0, 10, Some(class)), "emptying lost the class or the atime");
        spot.remove().await;
    }
    let torn = Bytes::from_static(b"nothing that begins a blob");
    for class in CLASSES {
        spot.place(Some(torn.clone()), class, 10).await;
        assert_eq!(
            spot.marker().await,
            marker(torn.len(), 10, class),
            "torn content has the class of its marker"
        );
    }
}

async fn check_fill_and_eviction<D: MarkerDir>(dir: &D) {
    let spot = Spot::new(dir, b"fill").await;
    for class in CLASSES {
        spot.place(None, class, 10).await;
        spot.use_marker(20).await;
        assert!(spot.fill(plain()).await);
        let filled = marker(plain().len(), 20, Some(ChunkClass::Plain));
        assert_eq!(spot.marker().await, filled, "R6: filling moved the atime");
        assert_eq!(spot.content().await, Some(plain()));
        spot.put_upload_marker(15).await;
        assert!(spot.fill(plain()).await, "H19: content replaces content");
        assert_eq!(spot.empty().await, plain().len() as u64, "emptying tells what it freed");
        let marks = Marks { marker: marker(0, 20, Some(ChunkClass::Plain)), upload_started_at: Some(at(15)) };
        assert_eq!(spot.marks().await, marks, "R6: eviction moved an atime or took the upload marker");
        assert_eq!(spot.content().await, Some(Bytes::new()), "an evicted marker is still there");
        assert_eq!(spot.empty().await, 0, "an empty marker has nothing to free");
        spot.remove().await;
    }
}

async fn check_fresh<D: MarkerDir>(dir: &D) {
    let (old, upload) = (Spot::new(dir, b"old").await, Spot::new(dir, b"old upload").await);
    let (one, two) = (Spot::new(dir, b"one").await, Spot::new(dir, b"two").await);
    old.place(Some(plain()), None, 10).await;
    upload.put_upload_marker(10).await;
    let add = |spot: &Spot<'_, D>, seconds| dir.add_fresh(vec![spot.digest], at(seconds));

    dir.switch_to_fresh().await.expect("switch without a fresh set");
    assert!(old.marker().await.is_some(), "there was nothing to switch to");
    add(&one, 20).await.expect_err("no fresh set was begun");
    dir.begin_fresh(true).await.expect("nothing to resume");
    add(&one, 20).await.expect("add");
    dir.begin_fresh(false).await.expect("begin anew");
    add(&two, 30).await.expect("add");
    dir.sync_fresh().await.expect("sync");
    dir.begin_fresh(true).await.expect("resume");
    assert_eq!((one.marker().await, two.marker().await), (None, None), "the fresh set is not in use yet");
    assert!(old.marker().await.is_some(), "the set in use was touched");

    dir.switch_to_fresh().await.expect("switch");
    assert_eq!(two.marker().await, marker(0, 30, None), "a marker of the fresh set");
    assert_eq!(one.marker().await, None, "what was begun before was to be emptied");
    for spot in [&old, &upload] {
        assert_eq!(spot.marks().await, Marks::default(), "a file of the old set is left");
    }
    dir.switch_to_fresh().await.expect("switch again");
    assert!(two.marker().await.is_some(), "switching twice lost the fresh set");
    old.place(Some(plain()), None, 40).await;
    dir.sync().await.expect("sync");
    assert_eq!(old.marker().await, marker(plain().len(), 40, Some(ChunkClass::Plain)));
}
