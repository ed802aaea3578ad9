//! Replication: groups of another server are copied here (pull), or groups of this one there (push).
//!
//! A pull is a writer of the chunk protocol like any backup: every group is a [`coldkeep_datastore::GroupCopy`], which refreshes
//! what the group's last snapshot names and takes nothing else that was not fetched (R5, R17). What another server says is
//! checked before it is stored: chunks by CRC, digest, length and class, indexes and blobs by the manifest (spec `pull.md` §6).

mod error;
mod pull;
mod push;
mod rate;
mod report;
mod select;

use std::sync::Arc;
use std::time::Instant;

use coldkeep_client::SyncReport;
use coldkeep_datastore::{GroupFilters, GroupName, Namespace};

pub(crate) use error::SyncError;
pub(crate) use pull::{May, PullJob};
pub(crate) use push::{PushJob, Reach};
use report::Figures;
pub(crate) use report::SyncReports;

use crate::Server;
use crate::tasks::TaskHandle;

/// A replication, in either direction.
pub(crate) enum SyncJob {
    Pull(PullJob),
    Push(PushJob),
}

/// What is copied, and how.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct SyncOptions {
    /// How many levels of namespaces; none for all.
    pub(crate) max_depth: Option<usize>,
    pub(crate) filters: GroupFilters,
    /// Only so many of the newest snapshots of each group.
    pub(crate) transfer_last: Option<usize>,
    /// Only snapshots whose last verification succeeded.
    pub(crate) verified_only: bool,
    /// Only snapshots that are encrypted whole.
    pub(crate) encrypted_only: bool,
    /// Whether what the source no longer has is removed from the target.
    pub(crate) removes_vanished: bool,
    /// Whether snapshots that are known to be damaged in the target are copied again.
    pub(crate) resyncs_corrupt: bool,
    /// Whether to tell only what would be done.
    pub(crate) dry_run: bool,
    /// Groups that are copied at the same time.
    pub(crate) parallel_groups: usize,
    /// Most bytes a second over the network, all groups together.
    pub(crate) rate: Option<u64>,
}

impl SyncJob {
    /// Copies what the job names, and has the server remember what it came to, however it ends.
    ///
    /// # Cancel safety
    /// What was copied stays; what is under way is given up, and nothing is remembered.
    pub(crate) async fn run(&self, server: &Arc<Server>, task: &TaskHandle) -> Result<(), SyncError> {
        let begun = Instant::now();
        let figures = Arc::new(Figures::default());
        let mut report = SyncReport::default();
        let (options, moved) = match self {
            Self::Pull(job) => (&job.options, "fetched"),
            Self::Push(job) => (&job.options, "sent"),
        };
        report.dry_run = options.dry_run;
        let copy = async {
            match self {
                Self::Pull(job) => pull::run(job, server, &figures, task, &mut report).await,
                Self::Push(job) => push::run(job, &figures, task, &mut report).await,
            }
        };
        let copied = tokio::select! {
            copied = copy => copied,
            () = task.cancelled() => Err(SyncError::Stopped),
        };
        report::count(&mut report, &figures);
        report.seconds = begun.elapsed().as_secs_f64();
        report::log(&report, task, moved);
        server.sync_reports().add(task.upid().clone(), report);
        copied
    }
}

/// A namespace of the source with the one in the target that becomes its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamespacePair {
    pub(crate) source: Namespace,
    pub(crate) target: Namespace,
}

/// Maps namespaces of the source, all within `from`, to those within `to`; the shortest first, so that each comes after those
/// around it.
fn map_namespaces(
    mut listed: Vec<Namespace>,
    from: &Namespace,
    to: &Namespace,
) -> Result<Vec<NamespacePair>, SyncError> {
    listed.sort_by(|a, b| a.as_str().len().cmp(&b.as_str().len()).then_with(|| a.cmp(b)));
    listed.dedup();
    listed.into_iter().filter(|ns| ns.is_within(from)).map(|ns| map_namespace(ns, from, to)).collect()
}

fn map_namespace(source: Namespace, from: &Namespace, to: &Namespace) -> Result<NamespacePair, SyncError> {
    let target = source.components().skip(from.depth()).try_fold(to.clone(), |ns, name| ns.child(name));
    match target {
        Ok(target) => Ok(NamespacePair { source, target }),
        Err(error) => Err(SyncError::Depth { ns: source, source: error }),
    }
}

fn place(ns: &Namespace, group: &GroupName) -> String {
    if ns.is_root() { format!("group {group}") } else { format!("group {group} in namespace {ns}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(text: &str) -> Namespace {
        text.parse().unwrap()
    }

    #[test]
    fn namespaces_keep_their_place_below_the_target() {
        let listed = vec![ns("a/b/c"), ns("a"), ns("a/b"), ns("other")];
        let pairs = map_namespaces(listed, &ns("a"), &ns("x/y")).unwrap();
        let pairs: Vec<_> = pairs.iter().map(|pair| (pair.source.as_str(), pair.target.as_str())).collect();
        assert_eq!(pairs, [("a", "x/y"), ("a/b", "x/y/b"), ("a/b/c", "x/y/b/c")]);
    }

    #[test]
    fn what_would_be_too_deep_is_refused_as_a_whole() {
        let listed = vec![ns(""), ns("a/b/c/d")];
        assert!(map_namespaces(listed.clone(), &ns(""), &ns("1/2/3")).is_ok());
        assert!(map_namespaces(listed, &ns(""), &ns("1/2/3/4")).is_err());
    }
}
