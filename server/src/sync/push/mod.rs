//! Push: what this server has of some namespaces is copied to another (spec `pull.md` §9), for where only this direction is open.
//!
//! The target sees backups like any other: it offers the index of the group's last snapshot, and is sent what that lacks (R17).
//! So only snapshots that are newer than the target's last one can be pushed.

mod snapshot;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use coldkeep_client::{SnapshotItem, Store, SyncReport, TransferLimits};
use coldkeep_datastore::{BackupTime, Datastore, GroupName, Namespace, Owner, SnapshotInfo, SnapshotName};
use futures_util::stream::{self, StreamExt as _};
use snapshot::{Pushed, Shared};

use super::error::SyncError;
use super::rate::RateLimit;
use super::report::{Figures, add, fail, read};
use super::select::{Decision, Traits, decide};
use super::{NamespacePair, SyncOptions, map_namespace, map_namespaces, place};
use crate::tasks::TaskHandle;

/// What a push may hold of chunks, for each group.
const MEMORY_BYTES: usize = 32 << 20;
/// Chunks of each group on their way.
const REQUESTS_MAX: usize = 20;

/// What is pushed, and for whom.
pub(crate) struct PushJob {
    pub(crate) store: Arc<Datastore>,
    /// Every namespace there is here, also those that may not be read: they have not vanished.
    pub(crate) namespaces: Vec<(Namespace, Reach)>,
    /// The namespace that all of them lie in.
    pub(crate) ns: Namespace,
    /// Where that comes to lie.
    pub(crate) target: Store,
    /// Who this server is there: groups of others are never removed.
    pub(crate) there_as: String,
    /// Whether namespaces may be made and removed there.
    pub(crate) may_modify: bool,
    pub(crate) options: SyncOptions,
}

/// What of a namespace may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    All,
    /// Groups of this owner.
    Own(Owner),
    Nothing,
}

/// Pushes what the job names; what fails is logged and does not keep the rest from being copied.
///
/// # Cancel safety
/// What was copied stays; what is under way is given up.
pub(super) async fn run(
    job: &PushJob,
    figures: &Arc<Figures>,
    task: &TaskHandle,
    report: &mut SyncReport,
) -> Result<(), SyncError> {
    let limits = TransferLimits::default().with_memory_bytes(MEMORY_BYTES).with_requests(REQUESTS_MAX);
    let rate = RateLimit::new(job.options.rate);
    let shared = Arc::new(Shared { figures: Arc::clone(figures), rate, limits });
    Push { job, shared: &shared, task }.run(report).await
}

struct Push<'a> {
    job: &'a PushJob,
    shared: &'a Arc<Shared>,
    task: &'a TaskHandle,
}

impl Push<'_> {
    async fn run(&self, report: &mut SyncReport) -> Result<(), SyncError> {
        let (from, to) = (&self.job.ns, self.job.target.namespace());
        let readable = self.job.namespaces.iter().filter(|(_, reach)| *reach != Reach::Nothing);
        let pairs = map_namespaces(readable.map(|(ns, _)| ns.clone()).collect(), from, to)?;
        let mut there = self.namespaces().await?;
        let (mut failed, mut kept) = (0, BTreeSet::new());
        for (ns, reach) in &self.job.namespaces {
            // One that does not fit below the target is not there.
            kept.extend(map_namespace(ns.clone(), from, to).ok().map(|pair| pair.target));
            if *reach == Reach::Nothing {
                let who = &self.task.upid().auth_id;
                self.task.log(format!("namespace {:?}: left out, {who} may not read it", ns.as_str()));
            }
        }
        for pair in &pairs {
            let reach = self.job.namespaces.iter().find(|(ns, _)| *ns == pair.source).map(|(_, reach)| reach);
            if let Some(reach) = reach {
                report.namespaces += 1;
                failed += self.namespace(pair, reach, &mut there, report).await;
            }
        }
        if self.job.options.removes_vanished {
            failed += self.remove_vanished_namespaces(&kept, &there, report).await;
        }
        if failed > 0 { Err(SyncError::Failed { failed }) } else { Ok(()) }
    }

    /// Lists what the target has at and below its namespace.
    async fn namespaces(&self) -> Result<BTreeSet<Namespace>, SyncError> {
        let root = self.there(&Namespace::root());
        add(&self.shared.figures.requests, 1);
        let listed = root.namespaces(None).await.map_err(SyncError::Namespaces)?;
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
        reach: &Reach,
        there: &mut BTreeSet<Namespace>,
        report: &mut SyncReport,
    ) -> u64 {
        let mut failed = 0;
        let groups = match self.begin_namespace(pair, there).await {
            Ok(groups) => groups,
            Err(error) => return self.fail(report, &pair.target, None, &error),
        };
        let groups = {
            let mut own = Vec::new();
            for group in groups {
                match self.is_within_reach(&pair.source, &group, reach).await {
                    Ok(true) => own.push(group),
                    Ok(false) => {}
                    Err(error) => failed += self.fail(report, &pair.target, Some(&group), &error),
                }
            }
            own
        };
        let options = &self.job.options;
        report.groups += groups.len() as u64;
        self.task.log(format!("namespace {:?}: {} groups", pair.target.as_str(), groups.len()));
        let is_there = there.contains(&pair.target);
        let pushes = stream::iter(groups.clone()).map(|group| async move {
            let pushed = self.group(pair, &group, is_there).await;
            self.log_progress(pair, &group);
            (group, pushed)
        });
        let mut pushes = std::pin::pin!(pushes.buffer_unordered(options.parallel_groups.max(1)));
        while let Some((group, pushed)) = pushes.next().await {
            if let Err(error) = pushed {
                failed += self.fail(report, &pair.target, Some(&group), &error);
            }
        }
        // Whoever sees only their own groups here does not know which of the others have vanished.
        if options.removes_vanished && is_there && *reach == Reach::All {
            failed += self.remove_vanished_groups(pair, &groups, report).await;
        }
        failed
    }

    /// Says how far the whole push is, at the end of a group.
    fn log_progress(&self, pair: &NamespacePair, group: &GroupName) {
        let figures = &self.shared.figures;
        add(&figures.groups_done, 1);
        let (groups, snapshots) = (read(&figures.groups_done), read(&figures.snapshots_copied));
        let (chunks, mib) = (read(&figures.chunks_transferred), read(&figures.bytes_transferred) >> 20);
        self.task.log(format!(
            "{}: done; {groups} groups, {snapshots} snapshots copied, {chunks} chunks with {mib} MiB sent so far",
            place(&pair.source, group)
        ));
    }

    /// Makes the namespace in the target if it is not there, and lists the groups that come into it.
    async fn begin_namespace(
        &self,
        pair: &NamespacePair,
        there: &mut BTreeSet<Namespace>,
    ) -> Result<Vec<GroupName>, SyncError> {
        if !self.job.options.dry_run {
            self.make(&pair.target, there).await?;
        }
        let mut groups = self.job.store.group_names(&pair.source).await?;
        groups.retain(|group| self.job.options.filters.matches(group));
        Ok(groups)
    }

    /// Tells whether whoever pushes may read a group here.
    async fn is_within_reach(
        &self,
        ns: &Namespace,
        group: &GroupName,
        reach: &Reach,
    ) -> Result<bool, SyncError> {
        match reach {
            Reach::All => Ok(true),
            Reach::Nothing => Ok(false),
            Reach::Own(owner) => match self.job.store.owner(ns, group).await {
                Err(error) if error.is_not_found() => Ok(false),
                of_group => Ok(of_group?.is_owned_by(owner)),
            },
        }
    }

    /// Makes a namespace of the target, with those around it below the last one that is seen there: none is seen in which the
    /// account has no rights.
    async fn make(&self, ns: &Namespace, there: &mut BTreeSet<Namespace>) -> Result<(), SyncError> {
        let (mut missing, mut outer) = (Vec::new(), Some(ns.clone()));
        while let Some(ns) = outer.take()
            && !ns.is_root()
            && !there.contains(&ns)
        {
            outer = ns.parent();
            missing.push(ns);
        }
        for ns in missing.into_iter().rev() {
            self.check_modify(&ns)?;
            add(&self.shared.figures.requests, 1);
            let (parent, name) =
                (ns.parent().unwrap_or_default(), ns.components().last().unwrap_or_default());
            let made = self.there(&parent).create_namespace(name).await;
            made.map_err(|source| SyncError::Create { ns: ns.clone(), source })?;
            there.insert(ns);
        }
        Ok(())
    }

    fn check_modify(&self, ns: &Namespace) -> Result<(), SyncError> {
        if self.job.may_modify {
            return Ok(());
        }
        let who = self.task.upid().auth_id.to_string();
        Err(SyncError::Denied { who, what: "make or remove", ns: ns.clone() })
    }

    /// Pushes one group, oldest snapshot first; the first that fails ends it.
    async fn group(&self, pair: &NamespacePair, group: &GroupName, is_there: bool) -> Result<(), SyncError> {
        let (options, figures) = (&self.job.options, &self.shared.figures);
        let there = if is_there { self.snapshots(&pair.target, group).await? } else { Vec::new() };
        let last = there.iter().filter(|item| item.size.is_some()).map(|item| item.backup_time).max();
        let all = self.job.store.snapshots(&pair.source, Some(group.ty), Some(&group.id)).await?;
        let mut here = all.clone();
        here.retain(|info| Traits::from(info).are_as_asked(options));
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
            if options.dry_run {
                add(&figures.snapshots_copied, 1);
                self.task.log(format!("would copy {snapshot}"));
                continue;
            }
            let begun = Instant::now();
            let what = match snapshot::push(
                &self.job.store,
                (&pair.source, snapshot),
                &target,
                (self.shared, options),
            )
            .await
            {
                Ok(Pushed::Whole) => {
                    add(&figures.snapshots_copied, 1);
                    "copied"
                }
                Ok(Pushed::Vanished) => {
                    add(&figures.snapshots_vanished, 1);
                    "removed here meanwhile"
                }
                Ok(Pushed::Excluded) => {
                    add(&figures.snapshots_skipped, 1);
                    "no longer what was asked for"
                }
                Err(source) => {
                    return Err(SyncError::Snapshot { snapshot: snapshot.clone(), source: Box::new(source) });
                }
            };
            self.task.log(format!("{snapshot}: {what} ({:.1} s)", begun.elapsed().as_secs_f64()));
        }
        if options.removes_vanished {
            // Whatever is here has not vanished, though it may be damaged or not what is asked for.
            self.remove_vanished(&target, &all, &there).await?;
        }
        Ok(())
    }

    async fn snapshots(&self, ns: &Namespace, group: &GroupName) -> Result<Vec<SnapshotItem>, SyncError> {
        add(&self.shared.figures.requests, 1);
        let listed = self.there(ns).snapshots(Some(group.ty), Some(&group.id)).await;
        let mut listed = listed.map_err(|source| SyncError::List { ns: ns.clone(), source })?;
        listed.retain(|item| item.group == *group);
        Ok(listed)
    }

    /// Removes snapshots of the target that are not here, but for protected ones and those in a group of somebody else.
    async fn remove_vanished(
        &self,
        target: &Store,
        here: &[SnapshotInfo],
        there: &[SnapshotItem],
    ) -> Result<(), SyncError> {
        let is_here = |time| here.iter().any(|info| info.name.time == time);
        let gone = there.iter().filter(|item| {
            let is_own = item.owner.as_ref().is_some_and(|owner| self.is_own(owner));
            is_own && item.size.is_some() && !item.protected && !is_here(item.backup_time)
        });
        for item in gone {
            let snapshot: SnapshotName = item.name();
            if self.job.options.dry_run {
                add(&self.shared.figures.removed_snapshots, 1);
                self.task.log(format!("would remove {snapshot}"));
                continue;
            }
            add(&self.shared.figures.requests, 1);
            let removed = target.forget(&snapshot).await;
            removed.map_err(|source| SyncError::Remove { what: snapshot.to_string(), source })?;
            add(&self.shared.figures.removed_snapshots, 1);
            self.task.log(format!("{snapshot}: removed, as from here"));
        }
        Ok(())
    }

    /// Removes own groups of the target that are not here; returns how many failed.
    async fn remove_vanished_groups(
        &self,
        pair: &NamespacePair,
        here: &[GroupName],
        report: &mut SyncReport,
    ) -> u64 {
        let ns = &pair.target;
        let gone = match self.own_groups(ns).await {
            Ok(groups) => groups.into_iter().filter(|group| !here.contains(group)).collect::<Vec<_>>(),
            Err(error) => return self.fail(report, ns, None, &error),
        };
        let mut failed = 0;
        for group in gone {
            if let Err(error) = self.remove_group(ns, &group).await {
                failed += self.fail(report, ns, Some(&group), &error);
            }
        }
        failed
    }

    /// Tells whether a group of the target is this server's there: of the user or token that it comes as, or a token of that user.
    fn is_own(&self, owner: &Owner) -> bool {
        owner.to_string() == self.job.there_as || owner.without_token().to_string() == self.job.there_as
    }

    /// Lists the groups of a namespace of the target that are this server's there, and that the filters let pass.
    async fn own_groups(&self, ns: &Namespace) -> Result<Vec<GroupName>, SyncError> {
        add(&self.shared.figures.requests, 1);
        let listed = self.there(ns).groups().await;
        let mut listed = listed.map_err(|source| SyncError::List { ns: ns.clone(), source })?;
        listed.retain(|item| item.owner.as_ref().is_some_and(|owner| self.is_own(owner)));
        let groups = listed.into_iter().map(|item| item.group);
        Ok(groups.filter(|group| self.job.options.filters.matches(group)).collect())
    }

    async fn remove_group(&self, ns: &Namespace, group: &GroupName) -> Result<(), SyncError> {
        let figures = &self.shared.figures;
        if self.job.options.dry_run {
            add(&figures.removed_groups, 1);
            self.task.log(format!("would remove {}", place(ns, group)));
            return Ok(());
        }
        add(&figures.requests, 1);
        let removed = self.there(ns).forget_unprotected(group).await;
        let removed = removed.map_err(|source| SyncError::Remove { what: place(ns, group), source })?;
        add(&figures.removed_groups, removed.removed_groups);
        add(&figures.removed_snapshots, removed.removed_snapshots);
        self.task.log(format!("{}: removed, as from here", place(ns, group)));
        Ok(())
    }

    /// Removes namespaces inside the target's that are not here, the deepest first, with own groups; returns how many failed.
    /// One that anything stays in stays.
    async fn remove_vanished_namespaces(
        &self,
        kept: &BTreeSet<Namespace>,
        there: &BTreeSet<Namespace>,
        report: &mut SyncReport,
    ) -> u64 {
        let root = self.job.target.namespace();
        let depth = self.job.options.max_depth.map_or(Namespace::DEPTH_MAX, |depth| root.depth() + depth);
        let is_gone =
            |ns: &&Namespace| ns.is_within(root) && *ns != root && ns.depth() <= depth && !kept.contains(ns);
        let mut gone: Vec<&Namespace> = there.iter().filter(is_gone).collect();
        gone.sort_by_key(|ns| std::cmp::Reverse(ns.as_str().len()));
        let mut failed = 0;
        for ns in gone {
            if let Err(error) = self.remove_namespace(ns).await {
                failed += self.fail(report, ns, None, &error);
            }
        }
        failed
    }

    async fn remove_namespace(&self, ns: &Namespace) -> Result<(), SyncError> {
        let figures = &self.shared.figures;
        for group in self.own_groups(ns).await? {
            self.remove_group(ns, &group).await?;
        }
        if self.job.options.dry_run {
            add(&figures.removed_namespaces, 1);
            self.task.log(format!("would remove namespace {:?} if it is empty then", ns.as_str()));
            return Ok(());
        }
        let list = |source| SyncError::List { ns: ns.clone(), source };
        add(&figures.requests, 3);
        let target = self.there(ns);
        let is_empty = target.groups().await.map_err(list)?.is_empty()
            && target.namespaces(Some(1)).await.map_err(list)?.len() <= 1;
        if !is_empty {
            self.task.log(format!("namespace {:?}: stays, since it is not empty", ns.as_str()));
            return Ok(());
        }
        self.check_modify(ns)?;
        let removed = target.remove_namespace(false).await;
        removed
            .map_err(|source| SyncError::Remove { what: format!("namespace {:?}", ns.as_str()), source })?;
        add(&figures.removed_namespaces, 1);
        self.task.log(format!("namespace {:?}: removed, as from here", ns.as_str()));
        Ok(())
    }

    fn fail(
        &self,
        report: &mut SyncReport,
        ns: &Namespace,
        group: Option<&GroupName>,
        error: &SyncError,
    ) -> u64 {
        fail(report, (ns, group), error, self.task)
    }
}
