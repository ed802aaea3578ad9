//! Pruning: what the rules do with the snapshots of a group and why; a task does it for all groups of some namespaces.

use std::sync::Arc;
use std::time::Duration;

use coldkeep_datastore::prune::{self, KeepOptions, PruneDecision, Reason};
use coldkeep_datastore::{BackupTime, Datastore, GroupName, Namespace, Owner, SnapshotName, TreeError};
use serde::{Serialize, Serializer};

use crate::api::chain;
use crate::tasks::TaskHandle;

/// What becomes of each snapshot of one group, oldest first; made first, carried out later.
#[derive(Debug)]
pub(crate) struct GroupPlan {
    ns: Namespace,
    verdicts: Vec<Verdict>,
}

/// What becomes of one snapshot, as the API shows it (rest-api.md §4.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    #[serde(flatten)]
    group: GroupName,
    #[serde(rename = "backup-time")]
    time: BackupTime,
    keep: bool,
    protected: bool,
    /// Of our own, beside what stock servers answer.
    reason: Cause,
    #[serde(skip_serializing_if = "Option::is_none")]
    ns: Option<Namespace>,
}

/// What decided about a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The plan.
    Planned(Reason),
    /// Something that kept it in place when it was to be removed.
    InUse,
    /// It was taken for one that was left unfinished, and turned out to be committed (I1).
    Finished,
}

/// The groups that a task prunes, and how.
#[derive(Debug)]
pub(crate) struct PruneJob {
    pub(crate) store: Arc<Datastore>,
    /// Each namespace; where there is an owner, only with what belongs to them.
    pub(crate) namespaces: Vec<(Namespace, Option<Owner>)>,
    pub(crate) keep: KeepOptions,
    /// Whether to tell only what would be removed.
    pub(crate) dry_run: bool,
}

/// Why a prune failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PruneError {
    #[error("cannot list the snapshots of group {group}")]
    List {
        group: GroupName,
        #[source]
        source: TreeError,
    },
    #[error("cannot remove snapshot {snapshot}")]
    Remove {
        snapshot: SnapshotName,
        #[source]
        source: TreeError,
    },
    #[error("{failed} groups or namespaces could not be pruned; the log names them")]
    Failed { failed: u64 },
    #[error("stopped by request")]
    Stopped,
}

/// What a task did so far.
#[derive(Debug, Default)]
struct Tally {
    groups: u64,
    kept: usize,
    removed: usize,
    failed: u64,
}

/// Prunes what the job names, group by group; what fails is logged and does not keep the rest from being pruned.
pub(crate) async fn run(job: &PruneJob, task: &TaskHandle) -> Result<(), PruneError> {
    task.log(rules(&job.keep));
    if !job.dry_run {
        // Else all would be refused after a crash. If the wait is in vain, each removal says why.
        tokio::select! {
            _ = job.store.wait_for_earlier(Duration::MAX) => {}
            () = task.cancelled() => return Err(PruneError::Stopped),
        }
    }
    let mut tally = Tally::default();
    for (ns, owner) in &job.namespaces {
        let groups = match job.store.group_names(ns).await {
            // Removed since it was listed.
            Err(error) if error.is_not_found() => continue,
            Err(error) => {
                task.log(format!("could not prune namespace {ns}: {}", chain(&error)));
                tally.failed += 1;
                continue;
            }
            Ok(groups) => groups,
        };
        for group in groups {
            if !is_of(owner.as_ref(), &job.store, ns, &group).await {
                continue;
            }
            match job.prune_group(ns, &group, task).await {
                Ok(plan) => tally.add(&plan),
                Err(PruneError::Stopped) => return Err(PruneError::Stopped),
                Err(error) => {
                    task.log(format!("could not prune {}: {}", place(ns, &group), chain(&error)));
                    tally.failed += 1;
                }
            }
        }
    }
    let Tally { groups, kept, removed, failed } = tally;
    let would = if job.dry_run { "would be " } else { "" };
    task.log(format!("{groups} groups: {removed} snapshots {would}removed, {kept} {would}kept"));
    if failed > 0 { Err(PruneError::Failed { failed }) } else { Ok(()) }
}

/// Tells whether a group belongs to an owner, if there is one; a group whose owner cannot be read is nobody's.
async fn is_of(owner: Option<&Owner>, store: &Datastore, ns: &Namespace, group: &GroupName) -> bool {
    let Some(owner) = owner else { return true };
    store.owner(ns, group).await.is_ok_and(|of_group| of_group.is_owned_by(owner))
}

impl PruneJob {
    async fn prune_group(
        &self,
        ns: &Namespace,
        group: &GroupName,
        task: &TaskHandle,
    ) -> Result<GroupPlan, PruneError> {
        if task.is_cancelled() {
            return Err(PruneError::Stopped);
        }
        task.log(format!("prune {}", place(ns, group)));
        let mut plan = GroupPlan::make(&self.store, ns, group, &self.keep).await?;
        if self.dry_run {
            plan.log(task);
        } else {
            plan.carry_out(&self.store, task).await?;
        }
        Ok(plan)
    }
}

impl GroupPlan {
    /// Judges the snapshots of a group; changes nothing.
    pub(crate) async fn make(
        store: &Datastore,
        ns: &Namespace,
        group: &GroupName,
        keep: &KeepOptions,
    ) -> Result<Self, PruneError> {
        let candidates = store.prune_candidates(ns, group).await;
        let candidates = candidates.map_err(|source| PruneError::List { group: group.clone(), source })?;
        let decisions = prune::plan(&candidates, keep, offset_of_local_time);
        let verdicts = decisions.into_iter().map(|decision| Verdict::of(group, decision)).collect();
        Ok(Self { ns: ns.clone(), verdicts })
    }

    /// Returns the verdicts as the answer to a dry run has them.
    pub(crate) fn into_dry_run(self) -> Vec<Verdict> {
        let Self { ns, verdicts } = self;
        verdicts.into_iter().map(|verdict| Verdict { ns: Some(ns.clone()), ..verdict }).collect()
    }

    /// Returns the verdicts.
    pub(crate) fn into_verdicts(self) -> Vec<Verdict> {
        self.verdicts
    }

    /// Logs what would become of each snapshot.
    fn log(&self, task: &TaskHandle) {
        for verdict in &self.verdicts {
            let action = if verdict.keep { "keep" } else { "remove" };
            task.log(format!("would {action} {}: {}", verdict.snapshot(), verdict.reason.as_str()));
        }
    }

    /// Removes what is not to be kept, oldest first, and logs what became of each snapshot; what stays all the same is kept
    /// in the plan from then on.
    ///
    /// # Errors
    /// [`PruneError::Remove`] at the first snapshot that cannot be removed though nothing uses it, [`PruneError::Stopped`];
    /// older ones are gone by then.
    pub(crate) async fn carry_out(&mut self, store: &Datastore, task: &TaskHandle) -> Result<(), PruneError> {
        for verdict in &mut self.verdicts {
            if task.is_cancelled() {
                return Err(PruneError::Stopped);
            }
            let snapshot = verdict.snapshot();
            if !verdict.keep
                && let Some(obstacle) = remove(store, &self.ns, verdict).await?
            {
                verdict.keep_for(&obstacle);
                task.warn(format!("kept {snapshot}: {}", chain(&obstacle)));
                continue;
            }
            let action = if verdict.keep { "kept" } else { "removed" };
            task.log(format!("{action} {snapshot}: {}", verdict.reason.as_str()));
        }
        Ok(())
    }
}

/// Removes a snapshot, unless something keeps it in place until the next time: a reader, a backup that builds on it (R5), a
/// protection set since it was judged. That is returned.
async fn remove(
    store: &Datastore,
    ns: &Namespace,
    verdict: &Verdict,
) -> Result<Option<Obstacle>, PruneError> {
    let snapshot = verdict.snapshot();
    let removed = match verdict.reason {
        Cause::Planned(Reason::LeftUnfinished) => match store.files(ns, &snapshot).await {
            Err(TreeError::Unfinished { .. }) => match store.forget_unfinished(ns, &snapshot).await {
                Ok(true) => Ok(()),
                // The bucket has the manifest that the disk has lost: it is a committed snapshot (I1).
                Ok(false) => return Ok(Some(Obstacle::Finished)),
                Err(error) => Err(error),
            },
            // The session that made it was still under way when it was judged: it is a committed snapshot now (I1).
            Ok(_) => return Ok(Some(Obstacle::Finished)),
            Err(error) => Err(error),
        },
        _ => store.forget(ns, &snapshot).await,
    };
    match removed {
        Ok(()) => Ok(None),
        // Somebody else removed it meanwhile.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) if error.is_in_use() => Ok(Some(Obstacle::Tree(error))),
        Err(source) => Err(PruneError::Remove { snapshot, source }),
    }
}

/// What kept a snapshot in place.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error("it is finished")]
    Finished,
    #[error(transparent)]
    Tree(TreeError),
}

impl Verdict {
    fn of(group: &GroupName, decision: PruneDecision) -> Self {
        Self {
            group: group.clone(),
            time: decision.candidate.time,
            keep: decision.keeps(),
            protected: decision.candidate.protected,
            reason: Cause::Planned(decision.reason),
            ns: None,
        }
    }

    fn snapshot(&self) -> SnapshotName {
        SnapshotName::new(self.group.clone(), self.time)
    }

    fn keep_for(&mut self, obstacle: &Obstacle) {
        self.keep = true;
        self.protected = matches!(obstacle, Obstacle::Tree(TreeError::Protected { .. }));
        self.reason = match obstacle {
            Obstacle::Finished => Cause::Finished,
            Obstacle::Tree(_) if self.protected => Cause::Planned(Reason::Protected),
            Obstacle::Tree(_) => Cause::InUse,
        };
    }
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Planned(reason) => reason.as_str(),
            Self::InUse => "in-use",
            Self::Finished => "finished",
        }
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Tally {
    fn add(&mut self, plan: &GroupPlan) {
        let kept = plan.verdicts.iter().filter(|verdict| verdict.keep).count();
        self.groups += 1;
        self.kept += kept;
        self.removed += plan.verdicts.len() - kept;
    }
}

/// Returns how far the operator's clock is ahead of UTC at a Unix time, in seconds.
fn offset_of_local_time(unix_seconds: i64) -> i64 {
    let instant = jiff::Timestamp::from_second(unix_seconds);
    instant.map_or(0, |instant| i64::from(jiff::tz::TimeZone::system().to_offset(instant).seconds()))
}

/// Writes the rules as options.
fn rules(keep: &KeepOptions) -> String {
    let given: Vec<String> = keep.given().map(|(rule, count)| format!("{rule}={count}")).collect();
    if given.is_empty() { "no rule is given: everything is kept".to_owned() } else { given.join(" ") }
}

fn place(ns: &Namespace, group: &GroupName) -> String {
    if ns.is_root() { format!("group {group}") } else { format!("group {group} in namespace {ns}") }
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::blob::{Blob, Compression};
    use coldkeep_chunk_store::{Digest, StoreOptions, SystemClock};
    use coldkeep_datastore::manifest::{CryptMode, FileInfo};
    use coldkeep_datastore::{ArchiveName, BackupRequest, BackupWriter, Manifest};
    use tokio::sync::oneshot;

    use super::*;
    use crate::tasks::{TaskSpec, Tasks};

    struct Fixture {
        folder: tempfile::TempDir,
        store: Arc<Datastore>,
        tasks: Tasks,
    }

    impl Fixture {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (clock, path) = (Arc::new(SystemClock::new()), folder.path().join("store"));
            let options = StoreOptions::new(clock.clone());
            let store = Datastore::create(&path, "default".parse().unwrap(), options).await.unwrap();
            let tasks = Tasks::open(&folder.path().join("tasks"), clock).unwrap();
            Self { folder, store, tasks }
        }

        async fn begin(&self, snapshot: &SnapshotName) -> BackupWriter {
            let request = BackupRequest {
                ns: Namespace::root(),
                snapshot: snapshot.clone(),
                caller: "root@pam".parse().unwrap(),
                benchmark: false,
                no_cache: false,
            };
            self.store.begin_backup(request).await.unwrap()
        }

        /// Plans to keep the newest snapshot only.
        async fn plan(&self) -> GroupPlan {
            let mut keep = KeepOptions::default();
            keep.last = Some(1);
            GroupPlan::make(&self.store, &Namespace::root(), &day(1).group, &keep).await.unwrap()
        }

        /// Carries a plan out in a task, which may be asked to stop first.
        async fn carry_out(&self, mut plan: GroupPlan, stopped: bool) -> (Result<(), String>, Vec<Verdict>) {
            let (result, done) = oneshot::channel();
            let spec =
                TaskSpec { worker_type: "prune", worker_id: None, auth_id: "root@pam".parse().unwrap() };
            let store = Arc::clone(&self.store);
            let work = move |task: TaskHandle| async move {
                if stopped {
                    task.cancelled().await;
                }
                let carried_out = plan.carry_out(&store, &task).await;
                let text = carried_out.as_ref().map_err(ToString::to_string).copied();
                result.send((text, plan.into_verdicts())).unwrap();
                carried_out
            };
            let upid = self.tasks.start(spec, work).unwrap();
            if stopped {
                self.tasks.stop(&upid).unwrap();
            }
            done.await.unwrap()
        }
    }

    fn day(day: u32) -> SnapshotName {
        format!("host/x/2026-01-{day:02}T00:00:00Z").parse().unwrap()
    }

    async fn finish(writer: BackupWriter) {
        let name: ArchiveName = "a.conf.blob".parse().unwrap();
        let blob = Blob::encode(b"x", Compression::None).unwrap().into_bytes();
        let mut manifest = Manifest::new(writer.snapshot());
        manifest.push(FileInfo::new(name.clone(), CryptMode::None, blob.len() as u64, Digest::of(&blob)));
        writer.upload_blob(&name, blob).await.unwrap();
        let manifest = manifest.to_blob().unwrap().into_bytes();
        writer.upload_blob(&ArchiveName::manifest(), manifest).await.unwrap();
        writer.finish().await.unwrap();
    }

    fn said(verdicts: &[Verdict]) -> Vec<(bool, bool, &str)> {
        verdicts.iter().map(|verdict| (verdict.keep, verdict.protected, verdict.reason.as_str())).collect()
    }

    /// Goal: a backup that commits between the verdict and the removal stays.
    /// Method: it is judged while it runs, beside a newer folder that makes it look left behind, and commits then.
    #[tokio::test]
    async fn a_snapshot_that_was_finished_meanwhile_stays() {
        let fixture = Fixture::new().await;
        let writer = fixture.begin(&day(1)).await;
        std::fs::create_dir(fixture.folder.path().join("store").join(day(2).to_string())).unwrap();
        let plan = fixture.plan().await;
        assert_eq!(plan.verdicts[0].reason, Cause::Planned(Reason::LeftUnfinished));
        finish(writer).await;
        let (result, verdicts) = fixture.carry_out(plan, false).await;
        assert_eq!(result, Ok(()));
        assert_eq!(said(&verdicts), [(true, false, "finished"), (true, false, "may-be-running")]);
        fixture.store.manifest(&Namespace::root(), &day(1)).await.unwrap();
    }

    #[tokio::test]
    async fn what_others_did_to_a_snapshot_meanwhile_counts() {
        let fixture = Fixture::new().await;
        for number in 1..=4 {
            finish(fixture.begin(&day(number)).await).await;
        }
        let (plan, root) = (fixture.plan().await, Namespace::root());
        fixture.store.set_protected(&root, &day(1), true).await.unwrap();
        fixture.store.forget(&root, &day(2)).await.unwrap();
        let (result, verdicts) = fixture.carry_out(plan, false).await;
        assert_eq!(result, Ok(()));
        let gone = (false, false, "no-rule-left");
        assert_eq!(said(&verdicts), [(true, true, "protected"), gone, gone, (true, false, "keep-last")]);
        let left = fixture.store.snapshots(&root, None, None).await.unwrap();
        assert_eq!(left.into_iter().map(|info| info.name).collect::<Vec<_>>(), [day(1), day(4)]);
    }

    #[tokio::test]
    async fn a_prune_that_is_stopped_removes_no_more() {
        let fixture = Fixture::new().await;
        for number in 1..=2 {
            finish(fixture.begin(&day(number)).await).await;
        }
        let (result, _) = fixture.carry_out(fixture.plan().await, true).await;
        assert_eq!(result, Err("stopped by request".to_owned()));
        assert_eq!(fixture.store.snapshots(&Namespace::root(), None, None).await.unwrap().len(), 2);
    }
}
