//! One group: copied whole, then removed where it was.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::blob::Blob;

use super::{GroupMove, MoveError, MoveWatch, Moves};
use crate::backup::BeginError;
use crate::copy::{CopyError, CopyRequest, GroupCopy};
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
    encoded_manifest: Bytes,
    is_protected: bool,
    /// Whether the same one is there already.
    is_there: bool,
    lock: LockGuard,
}

impl Moves {
    /// Moves a group into another namespace with owner, notes, protection and results of verifications; returns the number of its
    /// snapshots. What was begun and never finished is removed. Readers and backups of the group keep it from being moved.
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
        let mut taken = self.take(from, group).await?;
        self.compare(order, &mut taken).await?;
        let request = CopyRequest {
            ns: to.clone(),
            group: group.clone(),
            owner: taken.owner.clone(),
            // Whoever moves a group has it: its chunks are named by snapshots that are theirs (R17).
            trusts_source: true,
        };
        let copy = Arc::new(self.store.begin_copy(request).await?);
        let mut made = Vec::new();
        if let Err(error) = self.copy_all(order, &taken, (&copy, &mut made), watch).await {
            drop(copy);
            for snapshot in made {
                // What cannot be removed now is a snapshot more; the error says more than this would.
                let _ = self.store.forget(to, &snapshot).await;
            }
            return Err(error);
        }
        self.add_what_goes_with_it(order, &taken).await?;
        let count = taken.snapshots.len() as u64;
        self.remove(order, taken).await?;
        drop(copy);
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
            let (ns, read) = (from.clone(), name.clone());
            let read = move |tree: &Tree| {
                let content = read_if_there(&tree.layout.manifest(&ns, &read))?;
                let content = content.ok_or_else(|| TreeError::Unfinished { snapshot: read.clone() })?;
                Ok((Bytes::from(content), tree::is_protected(&tree.layout, &ns, &read)?))
            };
            let (encoded_manifest, is_protected) = store.parts().blocking(read).await?;
            snapshots.push(TakenSnapshot { name, encoded_manifest, is_protected, is_there: false, lock });
        }
        Ok(Taken { owner, notes, snapshots, unfinished, _lock: lock })
    }

    /// Looks at the place that the group is moved to, before anything is changed.
    async fn compare(&self, order: &GroupMove, taken: &mut Taken) -> Result<(), MoveError> {
        let (to, group) = (order.to.clone(), order.group.clone());
        let names: Vec<SnapshotName> = taken.snapshots.iter().map(|taken| taken.name.clone()).collect();
        let look = move |tree: &Tree| {
            tree::check_namespace(&tree.layout, &to)?;
            match tree::check_group(&tree.layout, &to, &group) {
                Err(error) if error.is_not_found() => return Ok(None),
                checked => checked?,
            }
            let manifests = names.iter().map(|name| read_if_there(&tree.layout.manifest(&to, name)));
            Ok(Some(manifests.collect::<Result<Vec<_>, _>>()?))
        };
        let Some(there) = self.store.parts().blocking(look).await? else { return Ok(()) };
        if !order.merges {
            return Err(MoveError::GroupExists { ns: order.to.clone(), group: order.group.clone() });
        }
        for (taken, there) in taken.snapshots.iter_mut().zip(there) {
            match there {
                None => {}
                Some(manifest) if manifest == taken.encoded_manifest => taken.is_there = true,
                Some(_) => {
                    let (ns, snapshot) = (order.to.clone(), taken.name.clone());
                    return Err(MoveError::SnapshotExists { ns, snapshot });
                }
            }
        }
        Ok(())
    }

    async fn copy_all(
        &self,
        order: &GroupMove,
        taken: &Taken,
        (copy, made): (&Arc<GroupCopy>, &mut Vec<SnapshotName>),
        watch: &mut impl MoveWatch,
    ) -> Result<(), MoveError> {
        for snapshot in taken.snapshots.iter().filter(|snapshot| !snapshot.is_there) {
            if watch.is_cancelled() {
                return Err(MoveError::Stopped);
            }
            self.copy_one(&order.from, snapshot, copy).await?;
            made.push(snapshot.name.clone());
            watch.copied(&snapshot.name);
        }
        Ok(())
    }

    async fn copy_one(
        &self,
        from: &Namespace,
        snapshot: &TakenSnapshot,
        copy: &Arc<GroupCopy>,
    ) -> Result<(), MoveError> {
        let name = &snapshot.name;
        let failed = |source: CopyError| MoveError::Copy { snapshot: name.clone(), source };
        let manifest = Blob::parse(snapshot.encoded_manifest.clone())
            .map_err(Into::into)
            .and_then(|blob| Manifest::from_blob(&blob))
            .map_err(|source| TreeError::Manifest { snapshot: name.clone(), source })?;
        let making = copy.begin_snapshot(name).await?;
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
        making.finish(snapshot.encoded_manifest.clone()).await.map_err(failed)
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
            source: CopyError::Index { name: file.clone(), source },
        })?;
        for window in spans.chunks(WINDOW) {
            let missing = copy
                .missing_chunks(window)
                .await
                .map_err(|source| MoveError::Copy { snapshot: snapshot.clone(), source })?;
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

    /// Removes what is there now from where it was.
    async fn remove(&self, order: &GroupMove, taken: Taken) -> Result<(), TreeError> {
        let GroupMove { from, group, .. } = order;
        let parts = self.store.parts();
        for snapshot in taken.snapshots {
            parts.remove_snapshot(from, &snapshot.name, snapshot.lock).await?;
        }
        for snapshot in taken.unfinished {
            self.store.forget_unfinished(from, &snapshot).await?;
        }
        parts.remove_group_if_empty(from, group).await?;
        Ok(())
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
            Self::Tree(error) | Self::Begin(BeginError::Tree(error)) => error.is_not_found(),
            _ => false,
        }
    }
}
