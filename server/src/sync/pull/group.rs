//! One group: which of its snapshots are copied, oldest first, and the next ones fetched ahead.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use coldkeep_client::{SnapshotItem, Store};
use coldkeep_datastore::{BackupTime, CopyRequest, Datastore, GroupCopy, GroupName, Namespace, SnapshotName};
use tokio_util::task::AbortOnDropHandle;

use super::PullJob;
use super::fetch::{Fetcher, Shared};
use super::snapshot::{Found, get_ready};
use super::turn::{Turn, Turns};
use crate::api::chain;
use crate::auth::Privileges;
use crate::sync::error::SyncError;
use crate::sync::report::{add, read};
use crate::sync::select::{Decision, Traits, decide};
use crate::sync::{NamespacePair, SyncOptions, place};
use crate::tasks::TaskHandle;

/// Snapshots of a group that are got ready at the same time: the round trips of some hide behind the chunks of others. Each has a
/// session there, of which servers allow a user some only, so that many groups at the same time have fewer each.
const AHEAD: (usize, usize) = (2, 8);
const SESSIONS_MAX: usize = 64;

/// What a group is copied with.
pub(super) struct GroupPull<'a> {
    pub(super) job: &'a PullJob,
    pub(super) shared: &'a Arc<Shared>,
    pub(super) task: &'a TaskHandle,
    pub(super) pair: &'a NamespacePair,
    pub(super) group: &'a GroupName,
}

/// A snapshot that is to be looked at.
#[derive(Debug, Clone)]
struct Step {
    snapshot: SnapshotName,
    repairs: bool,
    /// Whether it is not here yet.
    is_new: bool,
}

impl GroupPull<'_> {
    /// Copies the group; the first snapshot that fails ends it, since the next ones would be taken for older than the last.
    ///
    /// # Cancel safety
    /// What was copied stays; what is under way is given up.
    pub(super) async fn run(&self) -> Result<(), SyncError> {
        let source = self.source();
        add(&self.shared.figures.requests, 1);
        let listed = source.snapshots(Some(self.group.ty), Some(&self.group.id)).await;
        let mut listed =
            listed.map_err(|source| SyncError::Snapshots { group: self.group.clone(), source })?;
        // Whatever the source lists has not vanished, though it may be damaged or not what is asked for.
        let there: BTreeSet<BackupTime> = listed.iter().map(|item| item.backup_time).collect();
        listed.retain(|item| item.group == *self.group && Traits::from(item).are_as_asked(&self.job.options));
        listed.sort_by_key(|item| item.backup_time);
        listed.dedup_by_key(|item| item.backup_time);
        let request = CopyRequest {
            ns: self.pair.target.clone(),
            group: self.group.clone(),
            owner: self.job.owner.clone(),
            trusts_source: self.job.trusts_remote,
        };
        if self.job.options.dry_run {
            self.job.store.check_copy(request).await?;
            return self.tell(&listed, &there).await;
        }
        let copy = Arc::new(self.job.store.begin_copy(request).await?);
        let steps = self.plan(&copy, &listed).await?;
        let fetcher = Arc::new(Fetcher::new(copy, Arc::clone(self.shared)));
        self.copy_all(&source, &fetcher, &steps).await?;
        // The session ends here: a removal needs no chunk.
        drop(fetcher);
        if self.job.options.removes_vanished {
            self.remove_vanished(&there).await?;
        }
        Ok(())
    }

    fn source(&self) -> Store {
        let client = self.job.source.client();
        client.store(self.job.source.name().clone(), self.pair.source.clone())
    }

    /// Decides about the snapshots of the source.
    async fn plan(&self, copy: &Arc<GroupCopy>, listed: &[SnapshotItem]) -> Result<Vec<Step>, SyncError> {
        let options = &self.job.options;
        let (mut corrupt, mut here) = (BTreeSet::new(), BTreeSet::new());
        for item in listed {
            let time = item.backup_time;
            // Only the last one is looked at again, and damaged ones if asked.
            if copy.last().is_none_or(|last| time > last)
                || !(options.resyncs_corrupt || copy.last() == Some(time))
            {
                continue;
            }
            if let Some(local) = copy.open_local(&item.name()).await? {
                here.insert(time);
                corrupt.extend(local.is_corrupt().then_some(time));
            }
        }
        let times: Vec<BackupTime> = listed.iter().map(|item| item.backup_time).collect();
        let decisions = decide(&times, copy.last(), options, |time| corrupt.contains(&time));
        let mut steps = Vec::new();
        for (item, decision) in listed.iter().zip(decisions) {
            let step = Step {
                snapshot: item.name(),
                repairs: decision == Decision::Repair,
                is_new: !here.contains(&item.backup_time),
            };
            match decision {
                Decision::Copy | Decision::Repair => steps.push(step),
                Decision::Synced | Decision::TooOld => add(&self.shared.figures.snapshots_skipped, 1),
            }
        }
        let count = steps.len();
        let skipped = listed.len() - count;
        self.task.log(format!("{}: {count} snapshots to look at, {skipped} skipped", self.place()));
        Ok(steps)
    }

    /// Copies the snapshots one after the other, while the next ones are got ready.
    async fn copy_all(
        &self,
        source: &Store,
        fetcher: &Arc<Fetcher>,
        steps: &[Step],
    ) -> Result<(), SyncError> {
        let mut to_begin = steps.iter();
        let mut ahead = VecDeque::new();
        let mut turns = Turns::new();
        let at_once = (SESSIONS_MAX / self.job.options.parallel_groups.max(1)).clamp(AHEAD.0, AHEAD.1);
        for step in steps {
            while ahead.len() < at_once
                && let Some(next) = to_begin.next()
            {
                ahead.push_back(begin_ready((source, next), fetcher, &self.job.options, turns.next()));
            }
            let Some(ready) = ahead.pop_front() else { return Ok(()) };
            let begun = Instant::now();
            let done = match ready.await {
                Ok(found) => self.copy_one(fetcher, step, found).await,
                Err(error) => Err(SyncError::Worker(error)),
            };
            let snapshot = step.snapshot.clone();
            match done {
                Ok(what) => {
                    self.task.log(format!("{snapshot}: {what} ({:.1} s)", begun.elapsed().as_secs_f64()));
                }
                Err(source) => return Err(SyncError::Snapshot { snapshot, source: Box::new(source) }),
            }
        }
        Ok(())
    }

    async fn copy_one(
        &self,
        fetcher: &Arc<Fetcher>,
        step: &Step,
        found: Result<Found, SyncError>,
    ) -> Result<&'static str, SyncError> {
        let figures = &self.shared.figures;
        let ready = match found? {
            Found::Ready(ready) => ready,
            Found::Vanished => {
                add(&figures.snapshots_vanished, 1);
                return Ok("gone from the source");
            }
            Found::Excluded => {
                add(&figures.snapshots_skipped, 1);
                return Ok("no longer what was asked for");
            }
        };
        if step.is_new {
            let making = fetcher.copy.begin_snapshot(&step.snapshot).await?;
            ready.store(fetcher, making, self.task).await?;
            add(&figures.snapshots_copied, 1);
            return Ok("copied");
        }
        let Some(local) = fetcher.copy.open_local(&step.snapshot).await? else {
            // Removed since it was found; the next pull has the last one that is left.
            add(&figures.snapshots_skipped, 1);
            return Ok("removed meanwhile");
        };
        if ready.compare(fetcher, local, step.repairs).await? {
            add(&figures.snapshots_repaired, 1);
            return Ok("made as in the source");
        }
        add(&figures.snapshots_unchanged, 1);
        Ok("unchanged")
    }

    /// Removes snapshots that the source does not list, but for protected ones and those in use.
    async fn remove_vanished(&self, there: &BTreeSet<BackupTime>) -> Result<(), SyncError> {
        let (store, ns) = (&self.job.store, &self.pair.target);
        let gone = vanished(store, ns, self.group, there).await?;
        if !gone.is_empty() {
            self.job.check(self.task, ns, Privileges::DATASTORE_PRUNE, "remove snapshots from")?;
        }
        for snapshot in gone {
            match store.forget(ns, &snapshot).await {
                Ok(()) => {
                    add(&self.shared.figures.removed_snapshots, 1);
                    self.task.log(format!("{snapshot}: removed, as from the source"));
                }
                Err(error) if error.is_not_found() => {}
                Err(error) if error.is_in_use() => {
                    self.task.warn(format!("kept {snapshot}: {}", chain(&error)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Tells what a pull would do with the group.
    async fn tell(&self, listed: &[SnapshotItem], there: &BTreeSet<BackupTime>) -> Result<(), SyncError> {
        let (store, ns) = (&self.job.store, &self.pair.target);
        let here = match store.snapshots(ns, Some(self.group.ty), Some(&self.group.id)).await {
            // The namespace would be made.
            Err(error) if error.is_not_found() => Vec::new(),
            here => here?,
        };
        let finished = here.iter().filter(|info| info.is_finished());
        let last = finished.map(|info| info.name.time).max();
        let times: Vec<BackupTime> = listed.iter().map(|item| item.backup_time).collect();
        let is_corrupt = |time| {
            use coldkeep_datastore::manifest::VerifyResult::Failed;
            here.iter().any(|info| {
                info.name.time == time
                    && info.verification.as_ref().is_some_and(|verified| verified.state == Failed)
            })
        };
        let figures = &self.shared.figures;
        for (item, decision) in listed.iter().zip(decide(&times, last, &self.job.options, is_corrupt)) {
            let (counter, what) = match decision {
                Decision::Copy if Some(item.backup_time) == last => (&figures.snapshots_unchanged, "look at"),
                Decision::Copy => (&figures.snapshots_copied, "copy"),
                Decision::Repair => (&figures.snapshots_repaired, "repair"),
                Decision::Synced | Decision::TooOld => (&figures.snapshots_skipped, "skip"),
            };
            add(counter, 1);
            self.task.log(format!("would {what} {}", item.name()));
        }
        if self.job.options.removes_vanished {
            for snapshot in vanished(store, ns, self.group, there).await? {
                add(&figures.removed_snapshots, 1);
                self.task.log(format!("would remove {snapshot}"));
            }
        }
        Ok(())
    }

    fn place(&self) -> String {
        place(&self.pair.target, self.group)
    }

    /// Says how far the whole pull is, at the end of a group.
    pub(super) fn log_progress(&self, groups: u64, done_before: u64) {
        let figures = &self.shared.figures;
        let done = read(&figures.groups_done) - done_before;
        let chunks = read(&figures.chunks_transferred);
        let mib = read(&figures.bytes_transferred) >> 20;
        self.task.log(format!(
            "{}: done, {done} of {groups} groups of this namespace; {chunks} chunks with {mib} MiB fetched so far",
            self.place()
        ));
    }
}

fn begin_ready(
    (source, step): (&Store, &Step),
    fetcher: &Arc<Fetcher>,
    options: &SyncOptions,
    turn: Turn,
) -> AbortOnDropHandle<Result<Found, SyncError>> {
    let (source, fetcher, options, step) =
        (source.clone(), Arc::clone(fetcher), options.clone(), step.clone());
    let work =
        async move { get_ready(&fetcher, (&source, &step.snapshot), &options, step.is_new, turn).await };
    AbortOnDropHandle::new(tokio::spawn(work))
}

/// Lists what the target has of a group, the source does not list and nobody protects.
async fn vanished(
    store: &Datastore,
    ns: &Namespace,
    group: &GroupName,
    there: &BTreeSet<BackupTime>,
) -> Result<Vec<SnapshotName>, SyncError> {
    let here = match store.snapshots(ns, Some(group.ty), Some(&group.id)).await {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        here => here?,
    };
    let gone = here.into_iter().filter(|info| !info.protected && !there.contains(&info.name.time));
    Ok(gone.map(|info| info.name).collect())
}
