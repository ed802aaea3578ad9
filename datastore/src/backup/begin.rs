//! Opening a session: checks 4 to 11 of spec `backup-protocol.md` §2, in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use coldkeep_chunk_store::bucket::PathError;
use coldkeep_chunk_store::switch::is_off;
use coldkeep_chunk_store::{CacheUse, Session, StoreError};
use tokio::sync::Mutex as AsyncMutex;

use super::footprint::{Footprint, SessionLocks};
use super::known::KnownChunks;
use super::paths::SessionPaths;
use super::{BackupWriter, Inner, Phase, State};
use crate::file::{Context as _, Found, look, make_folders};
use crate::lock::{Hold, LockGuard};
use crate::manifest::ChunkUploadStats;
use crate::name::{BackupTime, BackupType, GroupName, Namespace, Owner, SnapshotName};
use crate::store::{Datastore, Tree, run_blocking};
use crate::tree::{self, Change, Newest, TreeError};

/// What a client asks for when it starts a backup.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// The namespace; it must exist.
    pub ns: Namespace,
    /// The snapshot to make.
    pub snapshot: SnapshotName,
    /// Who asks; becomes the owner of a new group.
    pub caller: Owner,
    /// Whether this is a benchmark, which leaves nothing behind.
    pub benchmark: bool,
    /// Whether its chunks stay out of the local cache of a datastore in a bucket.
    pub no_cache: bool,
}

/// A backup that cannot be started; nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// `benchmark` goes with the group `host/benchmark` and no other.
    #[error(
        "the group host/benchmark is for benchmarks, and benchmarks are for that group only; asked for {group}"
    )]
    Benchmark {
        /// The group asked for.
        group: GroupName,
    },
    /// The group belongs to someone else.
    #[error("group {group} is owned by {owner}, not by {caller}")]
    NotOwner {
        /// The group.
        group: GroupName,
        /// Its owner.
        owner: Box<Owner>,
        /// Who asked.
        caller: Box<Owner>,
    },
    /// The time is not after that of the last backup.
    #[error("backup time {time} is not after the last backup of {group} at {last}: timestamp older or equal")]
    NotNewer {
        /// The group.
        group: GroupName,
        /// The time asked for.
        time: BackupTime,
        /// Time of the last backup.
        last: BackupTime,
    },
    /// There is something at the snapshot's path.
    #[error("snapshot {snapshot} exists already")]
    Exists {
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// The chunk store cannot start a session.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tree or the bucket refuses: no such namespace, group or snapshot in use, an earlier request for it may still
    /// take effect (R19), a file operation or a request failed.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Whoever starts a backup waits two minutes for an answer (spec `backup-protocol.md` §1); a longer wait is better refused,
/// with its reason. Where requests expire as early as they do by default, that is so for the first half minute.
const ANSWER_MAX: Duration = Duration::from_secs(125);

impl BeginError {
    /// Tells whether the namespace does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Tree(error) if error.is_not_found())
    }

    /// Tells whether another session or a removal is in the way: a later attempt may succeed.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Tree(error) if error.is_in_use())
    }
}

impl Datastore {
    /// Starts a backup: takes the group for itself, keeps the snapshot that it builds on from being removed, makes the
    /// new snapshot's folder, and a new group with `request.caller` as its owner. In a bucket, after an end that was not
    /// clean, it begins when requests from before can take no effect any more: some minutes after the open (R19).
    ///
    /// # Errors
    /// [`BeginError`], in the order of spec `backup-protocol.md` §2; nothing is left behind.
    ///
    /// # Cancel safety
    /// Dropping the future ends the session that it may have started, without a trace.
    pub async fn begin_backup(self: &Arc<Self>, request: BackupRequest) -> Result<BackupWriter, BeginError> {
        let answered_by = self.chunks().clock().monotonic() + ANSWER_MAX;
        if !request.benchmark {
            // After a crash every path is closed for some minutes (R19): better late than refused.
            self.wait_for_earlier(ANSWER_MAX).await?;
        }
        // Before anything is looked up: what the session finds must stay from here on (R13).
        let cache = if request.no_cache { CacheUse::Skip } else { CacheUse::Keep };
        let session = Arc::new(self.chunks().begin_session(cache).await?);
        self.begin_session(request, session, None, self.passed_by().min(answered_by)).await
    }

    /// Starts the session of one snapshot. With a lock of its group that the caller holds it is part of a copy: it builds on
    /// nothing, may be older than others of its group, and its manifest is stored as it is given. `until` is when the wait for
    /// locks ends, on the monotonic clock.
    pub(crate) async fn begin_session(
        self: &Arc<Self>,
        request: BackupRequest,
        session: Arc<Session>,
        copy: Option<Arc<LockGuard>>,
        until: Duration,
    ) -> Result<BackupWriter, BeginError> {
        let (writer, group_is_empty) = loop {
            let (store, request_of) = (Arc::clone(self), request.clone());
            let (session, copy) = (Arc::clone(&session), copy.clone());
            let opened = run_blocking(move || open_session(store, request_of, session, copy)).await;
            match opened.unwrap_or(Err(BeginError::Tree(TreeError::ShuttingDown))) {
                // All that it took was given back.
                Err(BeginError::Tree(error)) if self.has_passed(&request.ns, &error, until).await => {}
                opened => break opened?,
            }
        };
        if let Err(error) = writer.inner.begin_paths(group_is_empty).await {
            // The first error says more than one of this clean-up would; a collection removes what it leaves.
            let _ = writer.abort().await;
            return Err(error);
        }
        Ok(writer)
    }
}

impl Inner {
    /// Claims the paths that the session writes in the bucket, if there is one. A benchmark leaves nothing there.
    async fn begin_paths(&self, group_is_empty: bool) -> Result<(), BeginError> {
        if let Some(bucket) = self.store.chunks().as_bucket()
            && !self.request.benchmark
        {
            let layout = &self.store.tree().layout;
            let paths = SessionPaths::begin(bucket, layout, &self.request, group_is_empty).await?;
            // Nobody else sets it.
            let _ = self.paths.set(paths);
        }
        Ok(())
    }
}

/// Opens a session in the tree; returns it, and whether its group has no finished snapshot. If nobody waits for it any more,
/// its end takes back what it made.
fn open_session(
    store: Arc<Datastore>,
    request: BackupRequest,
    session: Arc<Session>,
    copy: Option<Arc<LockGuard>>,
) -> Result<(BackupWriter, bool), BeginError> {
    let is_copy = copy.is_some();
    let Prepared { base, footprint, group_is_empty } = prepare(store.tree(), &request, copy)?;
    let state = State {
        phase: Phase::Open,
        session: Some(session),
        known: KnownChunks::default(),
        indexes: BTreeMap::new(),
        index_names: BTreeSet::new(),
        writers_opened: 0,
        busy: 0,
        completed_files: 0,
        stats: ChunkUploadStats::default(),
        manifest: None,
        task: None,
    };
    let footprint = Arc::new(footprint);
    let (state, blob_turn, paths) = (Mutex::new(state), AsyncMutex::default(), OnceLock::new());
    let inner = Inner { store, request, is_copy, base, footprint, state, blob_turn, paths };
    Ok((BackupWriter { inner: Arc::new(inner) }, group_is_empty))
}

/// What a session begins with.
struct Prepared {
    /// What it builds on.
    base: Option<SnapshotName>,
    /// What it leaves on disk.
    footprint: Footprint,
    /// Whether its group has no finished snapshot.
    group_is_empty: bool,
}

fn prepare(
    tree: &Arc<Tree>,
    request: &BackupRequest,
    copy: Option<Arc<LockGuard>>,
) -> Result<Prepared, BeginError> {
    let BackupRequest { ns, snapshot, benchmark, .. } = request;
    let group = &snapshot.group;
    tree::check_namespace(&tree.layout, ns)?;
    let is_copy = copy.is_some();
    if !is_copy && *benchmark != (group.ty == BackupType::Host && group.id.as_str() == "benchmark") {
        return Err(BeginError::Benchmark { group: group.clone() });
    }
    let group_lock = match copy {
        Some(held) => held,
        None => Arc::new(tree.lock_group(ns, group, Hold::Session)?),
    };
    let group_is_new = make_group(tree, request)?;
    let prepared = prepare_in_group(tree, request, is_copy);
    let InGroup { base, snapshot_lock, base_lock, group_is_empty } = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            if group_is_new {
                // The first error says more than one of this clean-up would; an empty group does no harm.
                let _ = tree::remove_group_if_empty(&tree.layout, ns, group);
            }
            return Err(error);
        }
    };
    let locks = SessionLocks { _group: group_lock, _snapshot: snapshot_lock, _base: base_lock };
    let place = (ns.clone(), snapshot.clone());
    let footprint = Footprint::new(Arc::clone(tree), place, group_is_new, locks);
    Ok(Prepared { base, footprint, group_is_empty })
}

/// Makes the group's folder and owner file if they are not there; returns whether it did.
fn make_group(
    tree: &Tree,
    BackupRequest { ns, snapshot, caller, benchmark, .. }: &BackupRequest,
) -> Result<bool, BeginError> {
    let group = &snapshot.group;
    let folder = tree.layout.group(ns, group);
    let is_new = match look(&folder)? {
        Found::Nothing => true,
        // A crash between folder and owner file left nothing that anyone could own.
        _ => {
            matches!(tree::read_owner(&tree.layout, ns, group), Err(TreeError::Owner { source: None, .. }))
                && tree::snapshots(&tree.layout, ns, group)?.is_empty()
        }
    };
    if is_new {
        make_folders(&folder)?;
        Change::of_owner(&tree.layout, (ns, group), caller).carry_out()?;
        return Ok(true);
    }
    let owner = tree::read_owner(&tree.layout, ns, group)?;
    if *benchmark || owner.is_owned_by(caller) {
        return Ok(false);
    }
    Err(BeginError::NotOwner { group: group.clone(), owner: owner.into(), caller: caller.clone().into() })
}

struct InGroup {
    base: Option<SnapshotName>,
    snapshot_lock: LockGuard,
    base_lock: Option<LockGuard>,
    group_is_empty: bool,
}

fn prepare_in_group(
    tree: &Tree,
    BackupRequest { ns, snapshot, .. }: &BackupRequest,
    is_copy: bool,
) -> Result<InGroup, BeginError> {
    let group = &snapshot.group;
    let (base, last, base_lock) = loop {
        let (base, last) = match tree::newest_finished(&tree.layout, ns, group)? {
            Newest::None => (None, None),
            Newest::Usable(last) => ((!is_copy).then(|| last.clone()), Some(last)),
            Newest::Failed(last) => (None, Some(last)),
        };
        let base_lock = match &base {
            // R5: a snapshot that an open session builds on is not removed.
            Some(base) if !is_off("r5") => Some(tree.share_snapshot(ns, base)?),
            _ => None,
        };
        // It may have been removed between the listing and the lock; then another one is the newest.
        if let Some(base) = &base
            && !tree::is_finished(&tree.layout, ns, base)?
        {
            continue;
        }
        break (base, last, base_lock);
    };
    let group_is_empty = last.is_none();
    if let Some(last) = last
        && snapshot.time <= last.time
        && !is_copy
    {
        return Err(BeginError::NotNewer { group: group.clone(), time: snapshot.time, last: last.time });
    }
    let snapshot_lock = tree.lock_snapshot(ns, snapshot, Hold::Session)?;
    let folder = tree.layout.snapshot(ns, snapshot);
    match fs::create_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(BeginError::Exists { snapshot: snapshot.clone() });
        }
        made => made.context("create the folder", &folder).map_err(TreeError::from)?,
    }
    Ok(InGroup { base, snapshot_lock, base_lock, group_is_empty })
}

impl From<coldkeep_chunk_store::dir::DirError> for BeginError {
    fn from(error: coldkeep_chunk_store::dir::DirError) -> Self {
        Self::Tree(error.into())
    }
}

impl From<PathError> for BeginError {
    fn from(error: PathError) -> Self {
        Self::Tree(error.into())
    }
}
