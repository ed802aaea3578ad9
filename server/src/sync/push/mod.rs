//! Push: what this server has of some namespaces is copied to another (spec `pull.md` §9), for where only this direction is open.
//!
//! The target sees backups like any other: it offers the index of the group's last snapshot, and is sent what that lacks (R17).
//! So only snapshots that are newer than the target's last one can be pushed.

mod error;
mod snapshot;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use coldkeep_client::{SnapshotItem, Store, TransferLimits};
use coldkeep_datastore::{BackupTime, Datastore, GroupName, Namespace, Owner, SnapshotInfo, SnapshotName};
use error::PushError;
use futures_util::stream::{self, StreamExt as _};
use snapshot::Shared;

use super::rate::RateLimit;
use super::report::{Failure, Figures, SyncReport, add};
use super::select::{Decision, decide, is_candidate_here};
use super::{NamespacePair, SyncOptions, map_namespaces, place};
use crate::api::chain;
use crate::tasks::TaskHandle;

/// What a push may hold of chunks, for each group.
const MEMORY_BYTES: usize = 32 << 20;
/// Chunks of each group on their way.
const REQUESTS_MAX: usize = 20;

/// What is pushed, and for whom.
pub(crate) struct PushJob {
    pub(crate) store: Arc<Datastore>,
    /// Each namespace that may be read; where there is an owner, only their groups.
    pub(crate) namespaces: Vec<(Namespace, Option<Owner>)>,
    /// The namespace that all of them lie in.
    pub(crate) ns: Namespace,
    /// Where that comes to lie.
    pub(crate) target: Store,
    pub(crate) options: SyncOptions,
}

/// Pushes what the job names; what fails is logged and does not keep the rest from being copied. `report` has what was done,
/// however it ends.
///
/// # Cancel safety
/// What was copied stays; what is under way is given up.
pub(crate) async fn run(job: &PushJob, task: &TaskHandle, report: &mut SyncReport) -> Result<(), PushError> {
    let begun = Instant::now();
    report.dry_run = job.options.dry_run;
    let limits = TransferLimits::default().with_memory_bytes(MEMORY_BYTES).with_requests(REQUESTS_MAX);
    let rate = RateLimit::new(job.options.rate);
    let shared = Arc::new(Shared { figures: Figures::default(), rate, limits });
    let push = Push { job, shared: &shared, task };
    let pushed = tokio::select! {
        pushed = push.run(report) => pushed,
        () = task.cancelled() => Err(PushError::Stopped),
    };
    report.count(&shared.figures);
    report.seconds = begun.elapsed().as_secs_f64();
    report.log(task, "sent");
    pushed
}

struct Push<'a> {
    job: &'a PushJob,
    shared: &'a Arc<Shared>,
    task: &'a TaskHandle,
}

impl Push<'_> {
    async fn run(&self, report: &mut SyncReport) -> Result<(), PushError> {
        let here = self.job.namespaces.iter().map(|(ns, _)| ns.clone()).collect();
        let pairs =
            map_namespaces(here, &self.job.ns, self.job.target.namespace()).map_err(PushError::Depth)?;
        let mut there = self.namespaces().await?;
        let mut failed = 0;
        for pair in &pairs {
            report.namespaces += 1;
            failed += self.namespace(pair, &mut there, report).await;
        }
        if self.job.options.removes_vanished {
            failed += self.remove_vanished_namespaces(&pairs, &there, report).await;
        }
        if failed > 0 { Err(PushError::Failed { failed }) } else { Ok(()) }
    }

    /// Lists what the target has at and below its namespace.
    async fn namespaces(&self) -> Result<BTreeSet<Namespace>, PushError> {
        let root = self.there(&Namespace::root());
        add(&self.shared.figures.requests, 1);
        let listed = root.namespaces(None).await.map_err(PushError::Namespaces)?;
        Ok(listed.into_iter().map(|item| item.ns).collect())
    }

    fn there(&self, ns: &Namespace) -> Store {
        let target = &self.job.target;
        target.client().store(target.name().clone(), ns.clone())
    }

    /// Pushes one namespace; returns how much of it failed.
    async fn namespace(
        &self,
        pair: &NamespacePair,
        there: &mut BTreeSet<Namespace>,
        report: &mut SyncReport,
    ) -> u64 {
        let groups = match self.begin_namespace(pair, there).await {
            Ok(groups) => groups,
            Err(error) => return self.fail(report, &pair.target, None, &error),
        };
        let options = &self.job.options;
        report.groups += groups.len() as u64;
        self.task.log(format!("namespace {:?}: {} groups", pair.target.as_str(), groups.len()));
        let is_there = there.contains(&pair.target);
        let pushes = stream::iter(groups.clone()).map(|group| async move {
            let pushed = self.group(pair, &group, is_there).await;
            (group, pushed)
        });
        let mut pushes = std::pin::pin!(pushes.buffer_unordered(options.parallel_groups.max(1)));
        let mut failed = 0;
        while let Some((group, pushed)) = pushes.next().await {
            if let Err(error) = pushed {
                failed += self.fail(report, &pair.target, Some(&group), &error);
            }
        }
        if options.removes_vanished
            && is_there
            && let Err(error) = self.remove_vanished_groups(pair, &groups).await
        {
            failed += self.fail(report, &pair.target, None, &error);
        }
        failed
    }

    /// Makes the namespace in the target if it is not there, and lists the groups that come into it.
    async fn begin_namespace(
        &self,
        pair: &NamespacePair,
        there: &mut BTreeSet<Namespace>,
    ) -> Result<Vec<GroupName>, PushError> {
        if !self.job.options.dry_run {
            self.make(&pair.target, there).await?;
        }
        let owner = self
            .job
            .namespaces
            .iter()
            .find(|(ns, _)| *ns == pair.source)
            .and_then(|(_, owner)| owner.as_ref());
        let mut groups = Vec::new();
        for group in self.job.store.group_names(&pair.source).await? {
            let is_own = match owner {
                None => true,
                Some(owner) => {
                    let of_group = self.job.store.owner(&pair.source, &group).await;
                    of_group.is_ok_and(|of_group| of_group.is_owned_by(owner))
                }
            };
            if is_own && self.job.options.filters.matches(&group) {
                groups.push(group);
            }
        }
        Ok(groups)
    }

    /// Makes a namespace of the target with those around it.
    async fn make(&self, ns: &Namespace, there: &mut BTreeSet<Namespace>) -> Result<(), PushError> {
        let mut outer = Namespace::root();
        for component in ns.components() {
            let inner = outer.child(component).map_err(PushError::Depth)?;
            if !there.contains(&inner) {
                add(&self.shared.figures.requests, 1);
                let made = self.there(&outer).create_namespace(component).await;
                made.map_err(|source| PushError::Create { ns: inner.clone(), source })?;
                there.insert(inner.clone());
            }
            outer = inner;
        }
        Ok(())
    }

    /// Pushes one group, oldest snapshot first; the first that fails ends it.
    async fn group(&self, pair: &NamespacePair, group: &GroupName, is_there: bool) -> Result<(), PushError> {
        let (options, figures) = (&self.job.options, &self.shared.figures);
        let there = if is_there { self.snapshots(&pair.target, group).await? } else { Vec::new() };
        let last = there.iter().filter(|item| item.size.is_some()).map(|item| item.backup_time).max();
        let mut here = self.job.store.snapshots(&pair.source, Some(group.ty), Some(&group.id)).await?;
        here.retain(|info| is_candidate_here(info, options));
        here.sort_by_key(|info| info.name.time);
        let times: Vec<BackupTime> = here.iter().map(|info| info.name.time).collect();
        let target = self.there(&pair.target);
        for (info, decision) in here.iter().zip(decide(&times, last, options, |_| false)) {
            let snapshot = &info.name;
            let is_new = decision == Decision::Copy && Some(snapshot.time) != last;
            if !is_new {
                let counter = if Some(snapshot.time) == last {
                    &figures.snapshots_unchanged
                } else {
                    &figures.snapshots_skipped
                };
                add(counter, 1);
                continue;
            }
            add(&figures.snapshots_copied, 1);
            if options.dry_run {
                self.task.log(format!("would copy {snapshot}"));
                continue;
            }
            let begun = Instant::now();
            let pushed =
                snapshot::push(&self.job.store, (&pair.source, snapshot), &target, self.shared).await;
            if let Err(source) = pushed {
                figures.snapshots_copied.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
                return Err(PushError::Snapshot { snapshot: snapshot.clone(), source: Box::new(source) });
            }
            self.task.log(format!("{snapshot}: copied ({:.1} s)", begun.elapsed().as_secs_f64()));
        }
        if options.removes_vanished {
            self.remove_vanished(&target, &here, &there).await?;
        }
        Ok(())
    }

    async fn snapshots(&self, ns: &Namespace, group: &GroupName) -> Result<Vec<SnapshotItem>, PushError> {
        add(&self.shared.figures.requests, 1);
        let listed = self.there(ns).snapshots(Some(group.ty), Some(&group.id)).await;
        let mut listed = listed.map_err(|source| PushError::List { ns: ns.clone(), source })?;
        listed.retain(|item| item.group == *group);
        Ok(listed)
    }

    /// Removes snapshots of the target that are not here, but for protected ones.
    async fn remove_vanished(
        &self,
        target: &Store,
        here: &[SnapshotInfo],
        there: &[SnapshotItem],
    ) -> Result<(), PushError> {
        let is_here = |time| here.iter().any(|info| info.name.time == time);
        let gone =
            there.iter().filter(|item| item.size.is_some() && !item.protected && !is_here(item.backup_time));
        for item in gone {
            let snapshot: SnapshotName = item.name();
            add(&self.shared.figures.removed_snapshots, 1);
            if self.job.options.dry_run {
                self.task.log(format!("would remove {snapshot}"));
                continue;
            }
            add(&self.shared.figures.requests, 1);
            let removed = target.forget(&snapshot).await;
            removed.map_err(|source| PushError::Remove { what: snapshot.to_string(), source })?;
            self.task.log(format!("{snapshot}: removed, as from here"));
        }
        Ok(())
    }

    /// Removes groups of the target that are not here.
    async fn remove_vanished_groups(
        &self,
        pair: &NamespacePair,
        here: &[GroupName],
    ) -> Result<(), PushError> {
        let target = self.there(&pair.target);
        add(&self.shared.figures.requests, 1);
        let listed = target.groups().await;
        let listed = listed.map_err(|source| PushError::List { ns: pair.target.clone(), source })?;
        for group in listed.into_iter().map(|item| item.group) {
            if here.contains(&group) || !self.job.options.filters.matches(&group) {
                continue;
            }
            if self.job.options.dry_run {
                add(&self.shared.figures.removed_groups, 1);
                self.task.log(format!("would remove {}", place(&pair.target, &group)));
                continue;
            }
            add(&self.shared.figures.requests, 1);
            let removed = target.forget_group(&group).await;
            let removed =
                removed.map_err(|source| PushError::Remove { what: place(&pair.target, &group), source })?;
            add(&self.shared.figures.removed_groups, removed.removed_groups);
            add(&self.shared.figures.removed_snapshots, removed.removed_snapshots);
            self.task.log(format!("{}: removed, as from here", place(&pair.target, &group)));
        }
        Ok(())
    }

    /// Removes namespaces inside the target's that are not here, the deepest first; returns how many failed.
    async fn remove_vanished_namespaces(
        &self,
        pushed: &[NamespacePair],
        there: &BTreeSet<Namespace>,
        report: &mut SyncReport,
    ) -> u64 {
        let root = self.job.target.namespace();
        let depth = self.job.options.max_depth.map_or(Namespace::DEPTH_MAX, |depth| root.depth() + depth);
        let kept: BTreeSet<&Namespace> = pushed.iter().map(|pair| &pair.target).collect();
        let is_gone =
            |ns: &&Namespace| ns.is_within(root) && *ns != root && ns.depth() <= depth && !kept.contains(*ns);
        let mut gone: Vec<&Namespace> = there.iter().filter(is_gone).collect();
        gone.sort_by_key(|ns| std::cmp::Reverse(ns.as_str().len()));
        let mut failed = 0;
        for ns in gone {
            add(&self.shared.figures.removed_namespaces, 1);
            if self.job.options.dry_run {
                self.task.log(format!("would remove namespace {:?}", ns.as_str()));
                continue;
            }
            add(&self.shared.figures.requests, 1);
            match self.there(ns).remove_namespace(true).await {
                Ok(_) => self.task.log(format!("namespace {:?}: removed, as from here", ns.as_str())),
                Err(source) => {
                    let error = PushError::Remove { what: format!("namespace {:?}", ns.as_str()), source };
                    failed += self.fail(report, ns, None, &error);
                }
            }
        }
        failed
    }

    fn fail(
        &self,
        report: &mut SyncReport,
        ns: &Namespace,
        group: Option<&GroupName>,
        error: &PushError,
    ) -> u64 {
        report.fail(Failure::of(ns, group, chain(error)), self.task)
    }
}
