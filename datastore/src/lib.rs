//! Snapshots of deduplicated backups: namespaces, groups, indexes, manifests, verification.
//!
//! A [`Datastore`] is a folder in the layout of Proxmox Backup Server: snapshots in groups in namespaces, and one
//! [chunk store](coldkeep_chunk_store) that all of them share. A [`BackupWriter`] makes a snapshot, a
//! [`SnapshotReader`] reads one, a [`GroupCopy`] takes those of another store as they are there, [`Moves`] moves groups and namespaces,
//! [`Datastore::verify_snapshot`] checks one, and [`Datastore::index_files`] tells a
//! collector what is referenced. The format types ([`index`], [`manifest::Manifest`], [`name`]) stand on their own: clients use
//! them without a datastore.
//!
//! The chunks and the objects of snapshots may live in a bucket ([`Datastore::open_bucket`]): then the folder is a cache of
//! it that may be lost. What a client is told of is in the bucket by then.
//!
//! It is no server (no HTTP, no users beyond the owner's name in a file), decides nothing about when to collect, and
//! does not know what is inside an archive.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use coldkeep_chunk_store::{StoreOptions, SystemClock};
//! use coldkeep_datastore::{Datastore, Namespace};
//!
//! # async fn example(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! let options = StoreOptions::new(Arc::new(SystemClock::new()));
//! let store = Datastore::create(folder, "default".parse()?, options).await?;
//! for snapshot in store.snapshots(&Namespace::root(), None, None).await? {
//!     println!("{} {:?}", snapshot.name, snapshot.size);
//! }
//! # Ok(())
//! # }
//! # let folder = tempfile::tempdir().unwrap();
//! # tokio::runtime::Runtime::new().unwrap().block_on(example(&folder.path().join("store"))).unwrap();
//! ```
//!
//! # Features
//!
//! None.
//!
//! # Invariants
//!
//! - A snapshot is finished exactly if its folder has a manifest. The manifest comes last and goes first, each time
//!   durably, so a crash leaves either a whole snapshot or an unfinished one, which the next open or collection removes
//!   (I1, I4).
//! - A session names only chunks that it uploaded or that the group's last snapshot names (R17), refreshes each of them
//!   (R5), and keeps the snapshot that it builds on from being removed (R5). [`BackupWriter::finish`] is acknowledged
//!   only if none of these chunks was lost meanwhile (I3). A copy does the same for a whole group in one session; it does not
//!   build on the last snapshot but only uses what the store still has of it. A move is such a copy inside the store, and then a removal;
//!   no collection runs meanwhile (R16).
//! - Every index counts as references, with or without manifest, wherever it lies; what cannot be read is an error that
//!   stops the collection (I6). A removal takes a snapshot out of the tree by one rename, so no walk sees half of it.
//! - A chunk is set aside only if complete bodies fail their check; a failed read sets nothing aside (R15).
//! - In a bucket every change of the snapshot tree is made there first, under a claim of its path (R19), and on disk when
//!   the bucket has acknowledged it. A removal takes the manifest first; a commit that is not acknowledged takes its
//!   manifest back, as far as no request for it can still take effect. Every open compares the tree with a complete
//!   listing and makes it anew where they differ, in a fresh folder that takes its place (R10).
//! - In a bucket references come from the bucket's own listing, and so does every word that an index is gone (I6, R10);
//!   local copies count only where the backend's tags prove them, or the hash of what was fetched for the object as it is
//!   listed.
//! - All paths are made of validated names in one place; nothing is removed through a symbolic link.
//!
//! # Locks
//!
//! Locks of groups and snapshots are in memory, because one process owns the store (R11). Sessions and removals wait, for half a
//! minute at most, for those that are given back by themselves; nobody waits for any other. The lock of moves is the outermost: only a
//! collection that has not begun waits for it, and has no other ([`Datastore::pause_moves`]). Whoever has another such lock, or the
//! turn to change a snapshot or group (async, striped, as long as its requests), waits for no lock, so that a removal of a
//! group may wait for a turn under the group's lock, and a change of a snapshot under the lock that it shares. Then come
//! claims of paths in a bucket (they refuse and do not wait), an index's async lock and the turn of a session's blobs, the
//! folder's lock of a session, then the small `std` mutexes; lock(d) of the chunk store is only taken inside its calls. No
//! `std` guard lives across an await.

mod backup;
mod copy;
mod file;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod index;
mod lock;
pub mod manifest;
mod mirror;
mod moves;
pub mod name;
pub mod prune;
mod reader;
mod refresh;
mod store;
mod stored_file;
mod tree;
mod verify;

pub use backup::{BackupError, BackupRequest, BackupWriter, BeginError, WRITERS_MAX};
pub use copy::{CopyError, CopyRequest, GroupCopy, LocalCopy, SnapshotCopy};
pub use index::{ChunkSpan, IndexKind, IndexTotals};
pub use manifest::Manifest;
pub use mirror::{Cleared, Unfinished};
pub use moves::{GroupMove, MoveError, MoveWatch, MovedNamespace, Moves, NoMoves};
pub use name::{
    ArchiveKind, ArchiveName, BackupId, BackupTime, BackupType, FilterError, GroupFilter, GroupFilters,
    GroupName, NameError, Namespace, Owner, RemoteName, SnapshotName, StoreName,
};
pub use reader::{ReadError, SnapshotReader};
pub use refresh::{RefreshError, RefreshReport};
pub use store::{BucketParts, ContentListing, Datastore, IndexRead, OpenError, ReferenceError, Usage};
pub use stored_file::StoredFile;
pub use tree::{DeleteStats, FileEntry, GroupInfo, IndexFile, IndexPlace, SnapshotInfo, TreeError};
pub use verify::{Defect, VerifyControl, VerifyError, VerifyOutcome, VerifyTask};
