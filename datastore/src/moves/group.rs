//! One group: copied whole, then removed where it was.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::blob::Blob;

use super::{GroupMove, MoveError, MoveWatch, Moves};
use crate::backup::BeginError;
use crate::copy::{CopyError, CopyRequest, GroupCopy, SnapshotCopy};
use crate::file::read_if_there;
use crate::index::{ChunkSpan, IndexError, IndexKind, IndexReader};
use crate::lock::{Hold, LockGuard};
use crate::manifest::Manifest;
use crate::name::{ArchiveKind, ArchiveName, GroupName, Namespace, Owner, SnapshotName};
use crate::store::{Datastore, Tree};
use crate::tree::{self, TreeError};

/// Chunks of an index that are refreshed by one call.
const WINDOW: usize = 4096;

/// A group that is taken for its move: nobody else uses it or a snapshot of it.
struct Taken {
    owner: Owner,
    notes: String,
    snapshots: Vec<TakenSnapshot>,
    /// What was begun and never finished; it is not moved.
    unfinished: Vec<SnapshotName>,
    _lock: LockGuard,
}

struct TakenSnapshot {
    name: SnapshotName,
    is_protected: bool,
    lock: LockGuard,
}

/// What is at the place that a group is moved to, by its own account.
#[derive(Default)]
struct There {
    /// Snapshots that this move has made.
    made: Vec<SnapshotName>,
    /// Keep them, and those that were there before, from being removed until the originals are.
    held: Vec<LockGuard>,
}

impl Moves {
    /// Moves a group into another namespace with owner, notes, protection and results of verifications; returns the number of its
    /// snapshots. What was begun and never finished is removed. Readers and backups of the group keep it from being moved. Notes of a
    /// group that is merged into stay as they are.
    ///
    /// # Errors
    /// [`MoveError`]: the group is where it was. After [`MoveError::Tree`] some or all of it may be in both places: to move it
    /// again, merging, goes on from there.
    ///
    /// # Cancel safety
    /// As after a crash: some snapshots may be in both places.
    pub async fn move_group(&self, order: &GroupMove, watch: &mut impl MoveWatch) -> Result<u64, MoveError> {
        let GroupMove { from, group, to, .. } = order;
        if from == to {
            return Err(MoveError::SamePlace { ns: to.clone() });
        }
        let taken = self.take(from, group).await?;
        if taken.snapshots.is_empty() {
            return Err(MoveError::Empty { group: group.clone() });
        }
        let request = CopyRequest {
            ns: to.clone(),
            group: group.clone(),
            owner: taken.owner.clone(),
            // Whoever moves a group has it: its chunks are named by snapshots that are theirs (R17).
            trusts_source: true,
        };
        // From here on nobody else begins to write into the group there.
        let copy = Arc::new(self.store.begin_copy(request).await?);
        let mut there = There::default();
        if let Err(error) = self.copy_all(order, &taken, (&copy, &mut there), watch).await {
            drop((copy, there.held));
            for snapshot in there.made {
                // What cannot be removed now is a snapshot more; the error says more than this would.
                let _ = self.store.set_protected(to, &snapshot, false).await;
                let _ = self.store.forget(to, &snapshot).await;
            }
            return Err(error);
        }
        let count = taken.snapshots.len() as u64;
        let is_gone = self.remove(order, taken).await;
        drop((copy, there));
        if !is_gone? {
            watch.stays(from, group);
        }
        Ok(count)
    }

    /// Locks the group and all its snapshots, and looks at what is to be moved.
    async fn take(&self, from: &Namespace, group: &GroupName) -> Result<Taken, MoveError> {
        let store = &self.store;
        let lock = store.lock_group(from, group).await?;
        let (ns, of) = (from.clone(), group.clone());
        let look = move |tree: &Tree| {
            let owner = tree::read_owner(&tree.layout, &ns, &of)?;
            let notes = tree::group_notes(&tree.layout, &ns, &of)?;
            let (mut finished, mut unfinished) = (Vec::new(), Vec::new());
            for name in tree::snapshots(&tree.layout, &ns, &of)? {
                if tree::is_finished(&tree.layout, &ns, &name)? { &mut finished } else { &mut unfinished }
                    .push(name);
            }
            Ok((owner, notes, finished, unfinished))
        };
        let (owner, notes, finished, unfinished) = store.parts().blocking(look).await?;
        let mut snapshots = Vec::new();
        for name in finished {
            let lock = store.lock_snapshot(from, &name).await?;
            let is_protected = store.is_protected(from, &name).await?;
            snapshots.push(TakenSnapshot { name, is_protected, lock });
        }
        Ok(Taken { owner, notes, snapshots, unfinished, _lock: lock })
    }

    /// Makes there all that is here, so that it stays; what is there already counts if it is the same and whole.
    async fn copy_all(
        &self,
        order: &GroupMove,
        taken: &Taken,
        (copy, there): (&Arc<GroupCopy>, &mut There),
        watch: &mut impl MoveWatch,
    ) -> Result<(), MoveError> {
        let GroupMove { from, group, to, merges } = order;
        let (ns, of) = (to.clone(), group.clone());
        let look = move |tree: &Tree| {
            tree::check_namespace(&tree.layout, &ns)?;
            match tree::check_group(&tree.layout, &ns, &of) {
                Err(error) if error.is_not_found() => Ok(false),
                checked => checked.map(|()| true),
            }
        };
        if self.store.parts().blocking(look).await? && !merges {
            return Err(MoveError::GroupExists { ns: to.clone(), group: group.clone() });
        }
        let mut missing = Vec::new();
        for snapshot in &taken.snapshots {
            // The lock first: what is found there then stays.
            match self.hold_there(to, &snapshot.name).await? {
                Some(lock) => {
                    self.compare(order, snapshot, copy).await?;
                    there.held.push(lock);
                }
                None => missing.push(snapshot),
            }
        }
        for snapshot in missing {
            if watch.is_cancelled() {
                return Err(MoveError::Stopped);
            }
            self.copy_one(from, &snapshot.name, copy).await?;
            there.made.push(snapshot.name.clone());
            let lock = self.hold_there(to, &snapshot.name).await?;
            let removed = || MoveError::Removed { ns: to.clone(), snapshot: snapshot.name.clone() };
            there.held.push(lock.ok_or_else(removed)?);
            watch.copied(&snapshot.name);
        }
        Ok(self.add_what_goes_with_it(order, taken).await?)
    }

    /// Keeps a finished snapshot that is there from being removed; none if there is none.
    async fn hold_there(
        &self,
        to: &Namespace,
        snapshot: &SnapshotName,
    ) -> Result<Option<LockGuard>, TreeError> {
        let lock = self.store.share_snapshot(to, snapshot).await?;
        let (ns, name) = (to.clone(), snapshot.clone());
        let is_there = move |tree: &Tree| tree::is_finished(&tree.layout, &ns, &name);
        Ok(self.store.parts().blocking(is_there).await?.then_some(lock))
    }

    /// Refuses a snapshot that is there and is another one, or not whole; its chunks are a verification's matter, as those of the
    /// original are.
    async fn compare(
        &self,
        order: &GroupMove,
        snapshot: &TakenSnapshot,
        copy: &Arc<GroupCopy>,
    ) -> Result<(), MoveError> {
        let (ns, name) = (order.to.clone(), snapshot.name.clone());
        let failed =
            |source: CopyError| MoveError::Copy { snapshot: snapshot.name.clone(), source: Box::new(source) };
        let here = self.store.parts();
        let (from, read) = (order.from.clone(), name.clone());
        let here = here.blocking(move |tree| tree::load_manifest(&tree.layout, &from, &read)).await?;
        let there = copy.open_local(&name).await?;
        let is_same = |manifest: &Manifest| {
            manifest.files() == here.files() && manifest.key_fingerprint() == here.key_fingerprint()
        };
        let Some(there) = there.filter(|there| there.manifest().is_some_and(is_same)) else {
            return Err(MoveError::SnapshotExists { ns, snapshot: name });
        };
        let has_log = self.read(&order.from, &name, &ArchiveName::client_log()).await?.is_some();
        let mut is_whole = !has_log || there.has_client_log().await?;
        for file in here.files() {
            is_whole = is_whole && there.has_file(file).await.map_err(failed)?;
        }
        if is_whole { Ok(()) } else { Err(MoveError::DamagedThere { ns, snapshot: name }) }
    }

    async fn copy_one(
        &self,
        from: &Namespace,
        name: &SnapshotName,
        copy: &Arc<GroupCopy>,
    ) -> Result<(), MoveError> {
        let failed = |source: CopyError| MoveError::Copy { snapshot: name.clone(), source: Box::new(source) };
        let encoded = self.read(from, name, &ArchiveName::manifest()).await?;
        let encoded = encoded.ok_or_else(|| TreeError::Unfinished { snapshot: name.clone() })?;
        let manifest = Blob::parse(encoded.clone())
            .map_err(Into::into)
            .and_then(|blob| Manifest::from_blob(&blob))
            .map_err(|source| TreeError::Manifest { snapshot: name.clone(), source })?;
        let making = copy.begin_snapshot(name).await?;
        match self.copy_files(from, &manifest, (&making, copy)).await {
            Ok(()) => making.finish(encoded).await.map_err(failed),
            Err(error) => {
                // The group there can be removed only when nothing of this is left.
                let _ = making.abort().await;
                Err(error)
            }
        }
    }

    async fn copy_files(
        &self,
        from: &Namespace,
        manifest: &Manifest,
        (making, copy): (&SnapshotCopy, &Arc<GroupCopy>),
    ) -> Result<(), MoveError> {
        let name = making.snapshot();
        let failed = |source: CopyError| MoveError::Copy { snapshot: name.clone(), source: Box::new(source) };
        for file in manifest.files() {
            let content = self.read(from, name, &file.filename).await?;
            let Some(content) = content else {
                return Err(MoveError::NoFile { snapshot: name.clone(), file: file.filename.clone() });
            };
            if let ArchiveKind::Index(kind) = file.filename.kind() {
                self.hold_chunks(from, (name, &file.filename, kind), copy).await?;
                making.put_index(&file.filename, content).await.map_err(failed)?;
            } else {
                making.put_blob(&file.filename, content).await.map_err(failed)?;
            }
        }
        if let Some(log) = self.read(from, name, &ArchiveName::client_log()).await? {
            making.put_blob(&ArchiveName::client_log(), log).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Refreshes the chunks of an index for the copy (R5).
    async fn hold_chunks(
        &self,
        from: &Namespace,
        (snapshot, file, kind): (&SnapshotName, &ArchiveName, IndexKind),
        copy: &Arc<GroupCopy>,
    ) -> Result<(), MoveError> {
        let path = self.store.tree().layout.file(from, snapshot, file);
        let read = move |_: &Tree| Ok(spans_of(&path, kind));
        let spans = self.store.parts().blocking(read).await?.map_err(|source| MoveError::Copy {
            snapshot: snapshot.clone(),
            source: Box::new(CopyError::Index { name: file.clone(), source }),
        })?;
        for window in spans.chunks(WINDOW) {
            let missing = copy
                .missing_chunks(window)
                .await
                .map_err(|source| MoveError::Copy { snapshot: snapshot.clone(), source: Box::new(source) })?;
            if let Some(missing) = missing.first() {
                return Err(MoveError::NoChunk { snapshot: snapshot.clone(), digest: missing.digest });
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        ns: &Namespace,
        snapshot: &SnapshotName,
        file: &ArchiveName,
    ) -> Result<Option<Bytes>, TreeError> {
        let path = self.store.tree().layout.file(ns, snapshot, file);
        let read = move |_: &Tree| Ok(read_if_there(&path)?.map(Bytes::from));
        self.store.parts().blocking(read).await
    }

    /// Protects what was protected, and takes the notes along.
    async fn add_what_goes_with_it(&self, order: &GroupMove, taken: &Taken) -> Result<(), TreeError> {
        let GroupMove { group, to, .. } = order;
        for snapshot in taken.snapshots.iter().filter(|snapshot| snapshot.is_protected) {
            self.store.set_protected(to, &snapshot.name, true).await?;
        }
        if !taken.notes.is_empty() && self.store.group_notes(to, group).await?.is_empty() {
            self.store.set_group_notes(to, group, &taken.notes).await?;
        }
        Ok(())
    }

    /// Removes what is there now from where it was; returns whether nothing is left of the group.
    async fn remove(&self, order: &GroupMove, taken: Taken) -> Result<bool, TreeError> {
        let GroupMove { from, group, .. } = order;
        let parts = self.store.parts();
        for snapshot in taken.snapshots {
            parts.remove_snapshot(from, &snapshot.name, snapshot.lock).await?;
        }
        for snapshot in taken.unfinished {
            self.store.forget_unfinished(from, &snapshot).await?;
        }
        parts.remove_group_if_empty(from, group).await
    }
}

impl Datastore {
    /// Locks a snapshot against everyone else for a move. Waits as [`Self::share_snapshot`] does.
    async fn lock_snapshot(&self, ns: &Namespace, snapshot: &SnapshotName) -> Result<LockGuard, TreeError> {
        let until = self.passed_by();
        loop {
            match self.tree().lock_snapshot(ns, snapshot, Hold::Session) {
                Err(error) if self.has_passed(ns, &error, until).await => {}
                lock => return lock,
            }
        }
    }
}

fn spans_of(path: &Path, kind: IndexKind) -> Result<Vec<ChunkSpan>, IndexError> {
    IndexReader::open(path, kind)?.spans().collect()
}

impl MoveError {
    /// Tells whether what was to be moved, or the place for it, does not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Tree(error) => error.is_not_found(),
            Self::Begin(error) => matches!(&**error, BeginError::Tree(error) if error.is_not_found()),
            _ => false,
        }
    }
}
