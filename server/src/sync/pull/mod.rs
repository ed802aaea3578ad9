//! Pull: what another server has of some namespaces is copied here (spec `pull.md`).

mod coming;
mod fetch;
mod group;
mod snapshot;
mod turn;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use coldkeep_client::{Store, SyncReport};
use coldkeep_datastore::{Datastore, GroupName, Namespace, Owner, TreeError};
use fetch::Shared;
use futures_util::stream::{self, StreamExt as _};
use group::GroupPull;

use super::error::SyncError;
use super::report::{Figures, add, fail};
use super::{NamespacePair, SyncOptions, map_namespaces, place};
use crate::Server;
use crate::auth::Privileges;
use crate::tasks::TaskHandle;

/// Tells whether whoever pulls has one of some privileges at a namespace of the target.
pub(crate) type May = Box<dyn Fn(&Namespace, Privileges) -> bool + Send + Sync>;

/// What is pulled, and for whom.
pub(crate) struct PullJob {
    pub(crate) store: Arc<Datastore>,
    /// Where the source's namespace comes to lie.
    pub(crate) ns: Namespace,
    /// The namespace of the other server that is copied with those inside it.
    pub(crate) source: Store,
    /// Becomes the owner of new groups, and must be that of those that are there.
    pub(crate) owner: Owner,
    /// Whether chunks that the store has are used without being fetched (R17).
    pub(crate) trusts_remote: bool,
    pub(crate) options: SyncOptions,
    pub(crate) may: May,
}

/// Pulls what the job names; what fails is logged and does not keep the rest from being copied.
///
/// # Cancel safety
/// What was copied stays; what is under way is given up.
pub(super) async fn run(
    job: &PullJob,
    server: &Arc<Server>,
    figures: &Arc<Figures>,
    task: &TaskHandle,
    report: &mut SyncReport,
) -> Result<(), SyncError> {
    let shared = Arc::new(Shared::new(Arc::clone(server), Arc::clone(figures), job.options.rate));
    Pull { job, shared: &shared, task }.run(report).await
}

impl PullJob {
    /// Refuses a namespace of the target where whoever pulls has none of `any`: deeper entries of the access list replace those
    /// above, so each is looked at for itself.
    fn check(
        &self,
        task: &TaskHandle,
        ns: &Namespace,
        any: Privileges,
        what: &'static str,
    ) -> Result<(), SyncError> {
        if (self.may)(ns, any) {
            return Ok(());
        }
        Err(SyncError::Denied { who: task.upid().auth_id.to_string(), what, ns: ns.clone() })
    }
}

struct Pull<'a> {
    job: &'a PullJob,
    shared: &'a Arc<Shared>,
    task: &'a TaskHandle,
}

impl Pull<'_> {
    async fn run(&self, report: &mut SyncReport) -> Result<(), SyncError> {
        if !self.job.options.dry_run {
            // Else all would be refused after a crash (R19). If the wait is in vain, each group says why.
            let _ = self.job.store.wait_for_earlier(Duration::MAX).await;
        }
        let (namespaces, is_whole) = self.namespaces().await?;
        let mut failed = u64::from(!is_whole);
        // What says which namespaces have vanished: the list, if it begins where the pull does, and can be believed in all that
        // it names. A namespace that is not there, or may not be seen, is listed all the same where it was asked for.
        let mut is_known = is_whole && namespaces.iter().any(|pair| pair.target == self.job.ns);
        for pair in &namespaces {
            report.namespaces += 1;
            match self.begin_namespace(pair).await {
                Ok(groups) => failed += self.namespace(pair, groups, report).await,
                Err(error) => {
                    is_known = false;
                    failed += self.fail(report, &pair.target, None, &error);
                }
            }
        }
        if self.job.options.removes_vanished && is_known {
            failed += self.remove_vanished_namespaces(&namespaces, report).await;
        }
        if failed > 0 { Err(SyncError::Failed { failed }) } else { Ok(()) }
    }

    /// Lists the namespaces of the source, and tells whether these are all that were asked for.
    async fn namespaces(&self) -> Result<(Vec<NamespacePair>, bool), SyncError> {
        let (source, depth) = (&self.job.source, self.job.options.max_depth);
        let from = source.namespace();
        let mut is_whole = true;
        let listed = if from.is_root() && depth == Some(0) {
            vec![from.clone()]
        } else {
            add(&self.shared.figures.requests, 1);
            match source.namespaces(depth).await {
                // A server from before there were namespaces.
                Err(error) if error.is_not_found() && from.is_root() && depth.is_none() => {
                    self.task.warn(SyncError::NoNamespaces.to_string());
                    is_whole = false;
                    vec![from.clone()]
                }
                listed => listed.map_err(SyncError::Namespaces)?.into_iter().map(|item| item.ns).collect(),
            }
        };
        let mut listed: Vec<Namespace> = listed;
        listed.retain(|ns| depth.is_none_or(|depth| ns.depth() <= from.depth() + depth));
        let pairs = map_namespaces(listed, from, &self.job.ns)?;
        Ok((pairs, is_whole))
    }

    /// Pulls the groups of a namespace; returns how many of them failed.
    async fn namespace(&self, pair: &NamespacePair, groups: Vec<GroupName>, report: &mut SyncReport) -> u64 {
        let (count, options) = (groups.len() as u64, &self.job.options);
        report.groups += count;
        self.task.log(format!("namespace {:?}: {count} groups", pair.target.as_str()));
        let done_before = super::report::read(&self.shared.figures.groups_done);
        let pulls = stream::iter(groups.clone()).map(|group| async move {
            let pull = GroupPull { job: self.job, shared: self.shared, task: self.task, pair, group: &group };
            let pulled = pull.run().await;
            add(&self.shared.figures.groups_done, 1);
            pull.log_progress(count, done_before);
            (group, pulled)
        });
        let mut pulls = std::pin::pin!(pulls.buffer_unordered(options.parallel_groups.max(1)));
        let mut failed = 0;
        while let Some((group, pulled)) = pulls.next().await {
            if let Err(error) = pulled {
                failed += self.fail(report, &pair.target, Some(&group), &error);
            }
        }
        if options.removes_vanished {
            failed += self.remove_vanished_groups(pair, &groups, report).await;
        }
        failed
    }

    /// Makes the namespace if it is not there, and lists the groups that come into it, sorted.
    async fn begin_namespace(&self, pair: &NamespacePair) -> Result<Vec<GroupName>, SyncError> {
        let target = &pair.target;
        self.make(target).await?;
        self.job.check(self.task, target, Privileges::DATASTORE_BACKUP, "back up into")?;
        if self.job.owner != self.task.upid().auth_id {
            self.job.check(self.task, target, Privileges::DATASTORE_MODIFY, "give groups away in")?;
        }
        add(&self.shared.figures.requests, 1);
        let client = self.job.source.client();
        let source = client.store(self.job.source.name().clone(), pair.source.clone());
        let listed = source.groups().await;
        let listed = listed.map_err(|source| SyncError::List { ns: pair.source.clone(), source })?;
        let mut groups: Vec<GroupName> = listed.into_iter().map(|item| item.group).collect();
        groups.retain(|group| self.job.options.filters.matches(group));
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }

    /// Makes a namespace with those around it; in a dry run it only asks for the rights to do so.
    async fn make(&self, ns: &Namespace) -> Result<(), SyncError> {
        let (mut missing, mut outer) = (Vec::new(), Some(ns.clone()));
        while let Some(ns) = outer.take()
            && !self.is_here(&ns).await?
        {
            outer = ns.parent();
            missing.push(ns);
        }
        for ns in missing.iter().rev() {
            let parent = ns.parent().unwrap_or_default();
            self.job.check(self.task, &parent, Privileges::DATASTORE_MODIFY, "make namespaces in")?;
            if self.job.options.dry_run {
                continue;
            }
            match self.job.store.create_namespace(ns).await {
                Err(TreeError::NamespaceExists { .. }) => {}
                made => made?,
            }
        }
        Ok(())
    }

    async fn is_here(&self, ns: &Namespace) -> Result<bool, SyncError> {
        match self.job.store.namespaces(ns, 0).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes own groups that the source no longer has; returns how many failed.
    async fn remove_vanished_groups(
        &self,
        pair: &NamespacePair,
        listed: &[GroupName],
        report: &mut SyncReport,
    ) -> u64 {
        let (store, ns) = (&self.job.store, &pair.target);
        let here = match store.group_names(ns).await {
            // In a dry run it may not be there.
            Err(error) if error.is_not_found() => return 0,
            Err(error) => return self.fail(report, ns, None, &error.into()),
            Ok(here) => here,
        };
        let mut failed = 0;
        let has_vanished = |group: &&GroupName| listed.binary_search(group).is_err();
        for group in here.iter().filter(has_vanished).filter(|group| self.job.options.filters.matches(group))
        {
            if let Err(error) = self.remove_group(ns, group).await {
                failed += self.fail(report, ns, Some(group), &error);
            }
        }
        failed
    }

    /// Removes a group of the owner of the pull, but for its protected snapshots; returns whether it is gone then.
    async fn remove_group(&self, ns: &Namespace, group: &GroupName) -> Result<bool, SyncError> {
        let store = &self.job.store;
        let owner = match store.owner(ns, group).await {
            Err(error) if error.is_not_found() => return Ok(true),
            owner => owner?,
        };
        if owner != self.job.owner && owner.without_token() != self.job.owner {
            return Ok(false);
        }
        self.job.check(self.task, ns, Privileges::DATASTORE_PRUNE, "remove groups from")?;
        let figures = &self.shared.figures;
        if self.job.options.dry_run {
            add(&figures.removed_groups, 1);
            self.task.log(format!("would remove {}", place(ns, group)));
            return Ok(true);
        }
        let removed = match store.forget_group(ns, group, false).await {
            Err(error) if error.is_not_found() => return Ok(true),
            removed => removed?,
        };
        add(&figures.removed_snapshots, removed.removed_snapshots);
        add(&figures.removed_groups, removed.removed_groups);
        if removed.protected_snapshots > 0 {
            let kept = removed.protected_snapshots;
            self.task.warn(format!("{}: {kept} protected snapshots stay", place(ns, group)));
        }
        self.task.log(format!("{}: removed, as from the source", place(ns, group)));
        Ok(removed.removed_groups > 0)
    }

    /// Removes namespaces inside the target that the source no longer has, the deepest first, with own groups; returns how many
    /// failed. One that anything stays in stays.
    async fn remove_vanished_namespaces(&self, synced: &[NamespacePair], report: &mut SyncReport) -> u64 {
        let kept: BTreeSet<&Namespace> = synced.iter().map(|pair| &pair.target).collect();
        let depth = self.job.options.max_depth.unwrap_or(Namespace::DEPTH_MAX);
        let mut here = match self.job.store.namespaces(&self.job.ns, depth).await {
            Err(error) if error.is_not_found() => return 0,
            Err(error) => return self.fail(report, &self.job.ns, None, &error.into()),
            Ok(here) => here,
        };
        // What whoever pulls cannot know of is none of theirs.
        let any = Privileges::DATASTORE_AUDIT
            | Privileges::DATASTORE_READ
            | Privileges::DATASTORE_BACKUP
            | Privileges::DATASTORE_MODIFY
            | Privileges::DATASTORE_PRUNE;
        here.retain(|ns| *ns != self.job.ns && !kept.contains(ns) && (self.job.may)(ns, any));
        here.sort_by_key(|ns| std::cmp::Reverse(ns.as_str().len()));
        let (mut failed, mut gone) = (0, BTreeSet::new());
        for ns in here {
            match self.remove_namespace(&ns, &gone).await {
                Ok(true) => drop(gone.insert(ns)),
                Ok(false) => {}
                Err(error) => failed += self.fail(report, &ns, None, &error),
            }
        }
        failed
    }

    /// Removes own groups of a namespace, and itself if nothing else is in it but what is `gone`; returns whether it is, too.
    async fn remove_namespace(&self, ns: &Namespace, gone: &BTreeSet<Namespace>) -> Result<bool, SyncError> {
        let store = &self.job.store;
        let inner = store.namespaces(ns, 1).await?;
        let mut is_empty = inner.iter().all(|inner| inner == ns || gone.contains(inner));
        for group in store.group_names(ns).await? {
            is_empty &= self.job.options.filters.matches(&group) && self.remove_group(ns, &group).await?;
        }
        if !is_empty {
            return Ok(false);
        }
        if self.job.options.dry_run {
            add(&self.shared.figures.removed_namespaces, 1);
            self.task.log(format!("would remove namespace {:?}", ns.as_str()));
            return Ok(true);
        }
        self.job.check(
            self.task,
            &ns.parent().unwrap_or_default(),
            Privileges::DATASTORE_MODIFY,
            "remove namespaces from",
        )?;
        store.remove_namespace(ns, false).await?;
        add(&self.shared.figures.removed_namespaces, 1);
        self.task.log(format!("namespace {:?}: removed, as from the source", ns.as_str()));
        Ok(true)
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
