//! Moves of groups and namespaces (R16, hazard H33).

use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_datastore::index::DynamicIndex;
use coldkeep_datastore::{
    BeginError, CopyRequest, Datastore, GroupMove, GroupName, MoveError, MoveWatch, MovedNamespace,
    Namespace, SnapshotInfo, SnapshotName, TreeError,
};
use futures_util::FutureExt as _;

use super::fixture;
use crate::support::{Fixture, name, read_all, snapshot};

const STREAM: &str = "stream.bin.didx";
const FIRST: &str = "vm/10/2026-01-01T00:00:00Z";
const SECOND: &str = "vm/10/2026-01-02T00:00:00Z";

/// Ends a move before so many snapshots and one are copied.
struct Watch {
    left: usize,
    copied: Vec<SnapshotName>,
}

impl Watch {
    fn patient() -> Self {
        Self { left: usize::MAX, copied: Vec::new() }
    }
}

impl MoveWatch for Watch {
    fn copied(&mut self, snapshot: &SnapshotName) {
        self.left -= 1;
        self.copied.push(snapshot.clone());
    }

    fn stays(&mut self, _: &Namespace, group: &GroupName) {
        panic!("{group} stays");
    }

    fn is_cancelled(&self) -> bool {
        self.left == 0
    }

    fn may_move(&self, _: &Namespace, to: &Namespace) -> bool {
        to.as_str() != "forbidden"
    }
}

fn ns(text: &str) -> Namespace {
    text.parse().unwrap()
}

fn order(to: &str) -> GroupMove {
    GroupMove { from: Namespace::root(), group: "vm/10".parse().unwrap(), to: ns(to), merges: false }
}

async fn move_group(fixture: &Fixture, order: &GroupMove) -> Result<u64, MoveError> {
    fixture.store.begin_moves()?.move_group(order, &mut Watch::patient()).await
}

async fn move_namespace(
    fixture: &Fixture,
    from: &str,
    to: &str,
    merges: bool,
) -> Result<MovedNamespace, MoveError> {
    let moves = fixture.store.begin_moves()?;
    moves.move_namespace((&ns(from), &ns(to)), merges, &mut Watch::patient()).await
}

async fn listed(fixture: &Fixture, at: &str) -> Vec<SnapshotInfo> {
    fixture.store.snapshots(&ns(at), None, None).await.unwrap()
}

async fn names(fixture: &Fixture, at: &str) -> Vec<String> {
    listed(fixture, at).await.iter().map(|info| info.name.to_string()).collect()
}

async fn namespaces(fixture: &Fixture, at: &str) -> Vec<String> {
    let found = fixture.store.namespaces(&ns(at), Namespace::DEPTH_MAX).await.unwrap();
    found.iter().map(ToString::to_string).collect()
}

/// Reads a snapshot's stream back from where it is.
async fn restore(fixture: &Fixture, at: &str, snapshot: &SnapshotName) -> Vec<u8> {
    let reader = fixture.store.open_snapshot(&ns(at), snapshot).await.unwrap();
    let index = read_all(reader.download(&name(STREAM)).await.unwrap()).await;
    let mut data = Vec::new();
    for span in DynamicIndex::parse(&index).unwrap().spans() {
        data.extend(reader.chunk(&span.digest).await.unwrap().decode(16 << 20).unwrap());
    }
    data
}

/// A group of two snapshots and a namespace for it.
async fn scene() -> Fixture {
    let fixture = fixture().await;
    fixture.backup(FIRST, &[b"one", b"two"]).await;
    fixture.backup(SECOND, &[b"two", b"three"]).await;
    fixture.store.create_namespace(&ns("a")).await.unwrap();
    fixture
}

#[tokio::test]
async fn a_group_moves_whole_with_all_that_goes_with_it() {
    let fixture = scene().await;
    let (store, root, group) = (&fixture.store, Namespace::root(), &order("a").group);
    fixture.backup("vm/100/2026-01-01T00:00:00Z", &[b"other"]).await;
    store.set_notes(&root, &snapshot(FIRST), "first").await.unwrap();
    store.set_protected(&root, &snapshot(FIRST), true).await.unwrap();
    store.set_group_notes(&root, group, "of the group").await.unwrap();
    let log = Blob::encode(b"log", Compression::None).unwrap().into_bytes();
    store.upload_log(&root, &snapshot(SECOND), log).await.unwrap();
    let before = listed(&fixture, "").await;
    let index = std::fs::read(fixture.path(&format!("{FIRST}/{STREAM}"))).unwrap();

    let mut watch = Watch::patient();
    let moved = store.begin_moves().unwrap().move_group(&order("a"), &mut watch).await.unwrap();
    assert_eq!((moved, &watch.copied[..]), (2, &[snapshot(FIRST), snapshot(SECOND)][..]));

    // Hazard H33: `vm/10` is also the beginning of `vm/100`.
    assert_eq!(names(&fixture, "").await, ["vm/100/2026-01-01T00:00:00Z"]);
    assert_eq!(listed(&fixture, "a").await, before[..2]);
    assert!(!fixture.path("vm/10").exists());
    assert_eq!(store.group_notes(&ns("a"), group).await.unwrap(), "of the group");
    assert_eq!(std::fs::read(fixture.path(&format!("ns/a/{FIRST}/{STREAM}"))).unwrap(), index);
    if fixture.backend.is_some() {
        assert_eq!(fixture.keys(".cnt/vm/10/").await, [""; 0]);
        let rebuilt = fixture.with_bucket_alone().await;
        assert_eq!(listed(&rebuilt, "a").await, before[..2]);
        assert_eq!(restore(&rebuilt, "a", &snapshot(SECOND)).await, b"twothree");
    } else {
        assert_eq!(fixture.collect().await, 0);
        assert_eq!(restore(&fixture, "a", &snapshot(FIRST)).await, b"onetwo");
        // The next backup there builds on what came.
        fixture.store.set_protected(&ns("a"), &snapshot(FIRST), false).await.unwrap();
        fixture.store.forget_group(&ns("a"), group, true).await.unwrap();
        assert_eq!(fixture.collect().await, 3);
    }
}

#[tokio::test]
async fn what_is_in_use_stays_where_it_is() {
    let fixture = scene().await;
    let reader = fixture.store.open_snapshot(&Namespace::root(), &snapshot(FIRST)).await.unwrap();
    let refused = move_group(&fixture, &order("a")).await.unwrap_err();
    assert!(matches!(refused, MoveError::Tree(TreeError::SnapshotInUse { .. })), "{refused:?}");
    drop(reader);
    let writer = fixture.begin("vm/10/2026-01-03T00:00:00Z").await;
    let refused = move_group(&fixture, &order("a")).await.unwrap_err();
    assert!(matches!(refused, MoveError::Tree(TreeError::GroupInUse { .. })), "{refused:?}");
    writer.abort().await.unwrap();
    assert_eq!((names(&fixture, "").await.len(), names(&fixture, "a").await.len()), (2, 0));
    assert_eq!(move_group(&fixture, &order("a")).await.unwrap(), 2);
}

#[tokio::test]
async fn groups_of_one_name_become_one_only_if_asked() {
    let fixture = scene().await;
    move_group(&fixture, &order("a")).await.unwrap();
    fixture.backup(SECOND, &[b"another"]).await;
    fixture.backup("vm/10/2026-01-03T00:00:00Z", &[b"three"]).await;
    let merging = GroupMove { merges: true, ..order("a") };
    let refused = move_group(&fixture, &order("a")).await.unwrap_err();
    assert!(matches!(refused, MoveError::GroupExists { .. }), "{refused:?}");
    let refused = move_group(&fixture, &merging).await.unwrap_err();
    assert!(
        matches!(&refused, MoveError::SnapshotExists { snapshot: of, .. } if *of == snapshot(SECOND)),
        "{refused:?}"
    );
    assert_eq!((names(&fixture, "").await.len(), names(&fixture, "a").await.len()), (2, 2));
    fixture.store.forget(&Namespace::root(), &snapshot(SECOND)).await.unwrap();
    assert_eq!(move_group(&fixture, &merging).await.unwrap(), 1);
    assert_eq!(names(&fixture, "a").await.len(), 3);

    fixture.backup("vm/10/2026-01-04T00:00:00Z", &[b"four"]).await;
    let group = &order("a").group;
    fixture.store.change_owner(&ns("a"), group, &"joe@pbs".parse().unwrap()).await.unwrap();
    let refused = move_group(&fixture, &merging).await.unwrap_err();
    assert!(
        matches!(&refused, MoveError::Begin(error) if matches!(**error, BeginError::NotOwner { .. })),
        "{refused:?}"
    );
    let back = GroupMove { to: Namespace::root(), ..order("") };
    assert!(matches!(move_group(&fixture, &back).await, Err(MoveError::SamePlace { .. })));
}

/// Tries to remove each snapshot that is there, and the first original.
struct Meddler {
    store: Arc<Datastore>,
    refused: Vec<TreeError>,
}

impl MoveWatch for Meddler {
    fn copied(&mut self, snapshot: &SnapshotName) {
        let (store, snapshot) = (Arc::clone(&self.store), snapshot.clone());
        let meddle = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let there = ns("a");
            [
                runtime.block_on(store.forget(&there, &snapshot)),
                runtime.block_on(store.forget(&Namespace::root(), &self::snapshot(FIRST))),
            ]
        };
        let results = std::thread::spawn(meddle).join().unwrap();
        self.refused.extend(results.map(Result::unwrap_err));
    }

    fn stays(&mut self, _: &Namespace, group: &GroupName) {
        panic!("{group} stays");
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn may_move(&self, _: &Namespace, _: &Namespace) -> bool {
        true
    }
}

/// I1: an original goes only when what took its place cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_removes_what_is_being_moved() {
    let fixture = scene().await;
    let mut meddler = Meddler { store: Arc::clone(&fixture.store), refused: Vec::new() };
    let moves = fixture.store.begin_moves().unwrap();
    assert_eq!(moves.move_group(&order("a"), &mut meddler).await.unwrap(), 2);
    assert_eq!(meddler.refused.len(), 4);
    assert!(meddler.refused.iter().all(TreeError::is_in_use), "{:?}", meddler.refused);
    assert_eq!(restore(&fixture, "a", &snapshot(FIRST)).await, b"onetwo");
    // The locks have ended with the move.
    drop(moves);
    fixture.store.forget(&ns("a"), &snapshot(FIRST)).await.unwrap();
}

#[tokio::test]
async fn a_group_without_finished_snapshots_stays() {
    let fixture = scene().await;
    std::fs::create_dir_all(fixture.path("vm/11")).unwrap();
    std::fs::write(fixture.path("vm/11/owner"), "root@pam\n").unwrap();
    let empty = GroupMove { group: "vm/11".parse().unwrap(), ..order("a") };
    let refused = move_group(&fixture, &empty).await.unwrap_err();
    assert!(matches!(refused, MoveError::Empty { .. }), "{refused:?}");
    assert!(fixture.path("vm/11/owner").exists());
}

/// Goal: what a crash left in both places is one again after the next move.
#[tokio::test]
async fn a_move_that_was_cut_short_goes_on() {
    let fixture = scene().await;
    let request = CopyRequest {
        ns: ns("a"),
        group: order("a").group,
        owner: "root@pam".parse().unwrap(),
        trusts_source: true,
    };
    let copy = Arc::new(fixture.store.begin_copy(request).await.unwrap());
    let making = copy.begin_snapshot(&snapshot(FIRST)).await.unwrap();
    let read = |file: &str| Bytes::from(std::fs::read(fixture.path(&format!("{FIRST}/{file}"))).unwrap());
    let index = read(STREAM);
    let spans = DynamicIndex::parse(&index).unwrap().spans().to_vec();
    assert_eq!(copy.missing_chunks(&spans).await.unwrap(), []);
    making.put_index(&name(STREAM), index).await.unwrap();
    making.finish(read("index.json.blob")).await.unwrap();
    drop(copy);

    let mut watch = Watch::patient();
    let moves = fixture.store.begin_moves().unwrap();
    let merging = GroupMove { merges: true, ..order("a") };
    // What is there is no reason to remove what is here unless it is whole.
    let there = fixture.path(&format!("ns/a/{FIRST}/{STREAM}"));
    let content = std::fs::read(&there).unwrap();
    std::fs::write(&there, &content[..4096]).unwrap();
    let refused = moves.move_group(&merging, &mut watch).await.unwrap_err();
    assert!(matches!(refused, MoveError::DamagedThere { .. }), "{refused:?}");
    assert_eq!((names(&fixture, "").await.len(), names(&fixture, "a").await.len()), (2, 1));
    std::fs::write(&there, content).unwrap();
    // Notes of either are no other content.
    fixture.store.set_notes(&Namespace::root(), &snapshot(FIRST), "noted since").await.unwrap();
    assert_eq!(moves.move_group(&merging, &mut watch).await.unwrap(), 2);
    assert_eq!(watch.copied, [snapshot(SECOND)]);
    assert_eq!((names(&fixture, "").await.len(), names(&fixture, "a").await.len()), (0, 2));
}

#[tokio::test]
async fn a_group_that_cannot_be_copied_whole_stays_where_it_is() {
    let fixture = scene().await;
    fixture.lose(&Digest::of(b"three")).await;
    let refused = move_group(&fixture, &order("a")).await.unwrap_err();
    assert!(
        matches!(&refused, MoveError::NoChunk { digest, .. } if *digest == Digest::of(b"three")),
        "{refused:?}"
    );
    assert_eq!((names(&fixture, "").await.len(), names(&fixture, "a").await.len()), (2, 0));
    assert!(!fixture.path("ns/a/vm/10").exists(), "the group there was not removed again");

    let mut watch = Watch { left: 1, copied: Vec::new() };
    let moves = fixture.store.begin_moves().unwrap();
    let stopped = moves.move_group(&order("a"), &mut watch).await.unwrap_err();
    assert!(matches!(stopped, MoveError::Stopped), "{stopped:?}");
    assert_eq!((names(&fixture, "").await.len(), names(&fixture, "a").await.len()), (2, 0));
}

/// R16: a mark that has listed one of the places and not yet the other would miss what is moved.
#[tokio::test]
async fn h33_moves_and_collections_exclude_each_other() {
    let fixture = scene().await;
    let collecting = fixture.store.pause_moves().await;
    assert!(matches!(fixture.store.begin_moves(), Err(MoveError::Collecting)));
    drop(collecting);
    let moves = fixture.store.begin_moves().unwrap();
    assert!(matches!(fixture.store.begin_moves(), Err(MoveError::Moving)));
    let mut collecting = Box::pin(fixture.store.pause_moves());
    assert!((&mut collecting).now_or_never().is_none(), "a collection did not wait for a move");
    drop(moves);
    let collecting = collecting.await;
    assert!(matches!(fixture.store.begin_moves(), Err(MoveError::Collecting)));
    drop(collecting);
    fixture.store.begin_moves().unwrap();
}

#[tokio::test]
async fn a_namespace_moves_with_all_that_is_in_it() {
    let fixture = scene().await;
    move_group(&fixture, &order("a")).await.unwrap();
    fixture.store.create_namespace(&ns("a/b")).await.unwrap();
    fixture.backup(FIRST, &[b"deep"]).await;
    move_group(&fixture, &order("a/b")).await.unwrap();
    fixture.store.create_namespace(&ns("x")).await.unwrap();

    let moved = move_namespace(&fixture, "a", "x/y", false).await.unwrap();
    assert_eq!((moved.namespaces, moved.groups, moved.snapshots), (2, 2, 3));
    assert_eq!(namespaces(&fixture, "").await, ["", "x", "x/y", "x/y/b"]);
    assert_eq!(names(&fixture, "x/y").await, [FIRST, SECOND]);
    assert_eq!(restore(&fixture, "x/y/b", &snapshot(FIRST)).await, b"deep");

    // What lies around it may take it in.
    move_namespace(&fixture, "x/y", "", false).await.unwrap();
    assert_eq!(namespaces(&fixture, "").await, ["", "b", "x"]);
    assert_eq!(names(&fixture, "").await, [FIRST, SECOND]);
    assert_eq!(names(&fixture, "b").await, [FIRST]);
}

#[tokio::test]
async fn a_namespace_that_cannot_go_there_stays_whole() {
    let fixture = scene().await;
    move_group(&fixture, &order("a")).await.unwrap();
    fixture.backup("vm/9/2026-01-01T00:00:00Z", &[b"nine"]).await;
    move_group(&fixture, &GroupMove { group: "vm/9".parse().unwrap(), ..order("a") }).await.unwrap();
    fixture.backup(FIRST, &[b"in the way"]).await;
    let refused = move_namespace(&fixture, "a", "", false).await.unwrap_err();
    assert!(matches!(refused, MoveError::GroupExists { .. }), "{refused:?}");
    assert_eq!((names(&fixture, "").await.len(), names(&fixture, "a").await.len()), (1, 3));
    let refused = move_namespace(&fixture, "a", "forbidden", false).await.unwrap_err();
    assert!(matches!(refused, MoveError::Denied { .. }), "{refused:?}");
    for (from, to) in [("a", "a/b"), ("a", "a")] {
        let refused = move_namespace(&fixture, from, to, false).await.unwrap_err();
        assert!(matches!(refused, MoveError::Inside { .. } | MoveError::SamePlace { .. }), "{refused:?}");
    }
    let refused = move_namespace(&fixture, "", "z", false).await.unwrap_err();
    assert!(matches!(refused, MoveError::Tree(TreeError::RootNamespace)), "{refused:?}");
    fixture.store.create_namespace(&ns("a/b")).await.unwrap();
    let refused = move_namespace(&fixture, "a", "1/2/3/4/5/6/7", false).await.unwrap_err();
    assert!(matches!(refused, MoveError::Depth { .. }), "{refused:?}");
    let refused = move_namespace(&fixture, "a", "no/where", false).await.unwrap_err();
    assert!(refused.is_not_found(), "{refused:?}");
    assert_eq!(namespaces(&fixture, "").await, ["", "a", "a/b"]);
}
