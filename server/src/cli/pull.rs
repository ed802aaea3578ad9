//! `coldkeep pull`.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::Args;
use coldkeep_client::{AuthId, Client, PullRequest, SyncFailure, SyncReport, SyncSelection, TaskStatus};
use coldkeep_datastore::{GroupFilter, NameError, Namespace, RemoteName, StoreName};
use serde::Serialize;

use super::human;
use super::shell::Shell;
use super::table::facts;
use super::target::{Missing, Target};
use super::task::follow;

/// The arguments of `coldkeep pull`.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// What to copy: the name of a remote, its datastore and, if it is not the root, its namespace.
    #[arg(value_name = "REMOTE:STORE[/NS]")]
    source: RemotePlace,
    /// Where to: a datastore here and, if it is not the root, a namespace.
    #[arg(value_name = "STORE[/NS]")]
    into: LocalPlace,
    #[command(flatten)]
    selection: Selection,
    /// Copy snapshots again that failed their verification here.
    #[arg(long)]
    resync_corrupt: bool,
    /// Owner of the groups; default: whoever pulls.
    #[arg(long, value_name = "USER_OR_TOKEN")]
    owner: Option<AuthId>,
    /// Fetch so many bytes a second at most; K, M, G and T stand for powers of 1024.
    #[arg(long, value_name = "BYTES", value_parser = human::parse_bytes)]
    rate_limit: Option<u64>,
    /// Use chunks that the datastore has without fetching them: only for a remote that names no chunk which it does not have.
    #[arg(long)]
    trusted_remote: bool,
    #[command(flatten)]
    target: Target,
}

/// What is copied by a pull or a push.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Selection {
    /// Only these groups: `[include:|exclude:]` and `type:vm`, `group:vm/100` or `regex:…`; may be given more than once.
    #[arg(long = "group-filter", visible_alias = "group", value_name = "FILTER")]
    pub(super) filters: Vec<GroupFilter>,
    /// So many levels of namespaces; default: all.
    #[arg(long, value_name = "LEVELS", value_parser = clap::value_parser!(u64).range(0..=Namespace::DEPTH_MAX as u64))]
    pub(super) max_depth: Option<u64>,
    /// Remove what the source no longer has, but for protected snapshots.
    #[arg(long)]
    pub(super) remove_vanished: bool,
    /// Only so many of the newest snapshots of each group.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) transfer_last: Option<u64>,
    /// Only snapshots that were verified and found whole.
    #[arg(long)]
    pub(super) verified_only: bool,
    /// Only snapshots that are encrypted whole.
    #[arg(long)]
    pub(super) encrypted_only: bool,
    /// So many groups at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=32))]
    pub(super) parallel_groups: u64,
    /// Only tell what would be done.
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl From<&Selection> for SyncSelection {
    fn from(selection: &Selection) -> Self {
        let mut what = Self::default();
        what.max_depth = selection.max_depth;
        what.group_filter = selection.filters.iter().map(ToString::to_string).collect();
        what.transfer_last = selection.transfer_last;
        what.encrypted_only = selection.encrypted_only;
        what.verified_only = selection.verified_only;
        what.remove_vanished = selection.remove_vanished;
        // Older stock servers do not know it.
        what.worker_threads = (selection.parallel_groups > 1).then_some(selection.parallel_groups);
        what.dry_run = selection.dry_run;
        what
    }
}

/// A datastore and namespace of a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemotePlace {
    pub(super) remote: RemoteName,
    pub(super) place: LocalPlace,
}

/// A datastore and namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalPlace {
    pub(super) store: StoreName,
    pub(super) ns: Namespace,
}

/// A text that names no datastore and namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("expected the name of a remote, a colon and a datastore, as in offsite:store1/a/b")]
    NoRemote,
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for LocalPlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (store, ns) = text.split_once('/').unwrap_or((text, ""));
        Ok(Self { store: store.parse()?, ns: ns.parse()? })
    }
}

impl FromStr for RemotePlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (remote, place) = text.split_once(':').ok_or(PlaceError::NoRemote)?;
        Ok(Self { remote: remote.parse()?, place: place.parse()? })
    }
}

impl fmt::Display for LocalPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.store)?;
        if self.ns.is_root() { Ok(()) } else { write!(f, "/{}", self.ns) }
    }
}

impl Pull {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let request = self.request();
        let pull = async |client: Client| {
            let upid = client.start_pull(&request).await.context("cannot start the pull")?;
            outcome(&client, upid).await
        };
        let outcome = self.target.run_on_store(shell, Missing::Refuse, &self.into.store, pull).await?;
        show(shell, &outcome, "pull")
    }

    fn request(&self) -> PullRequest {
        let Self { source, into, selection, resync_corrupt, owner, rate_limit, trusted_remote, .. } = self;
        let remote = Some(source.remote.to_string());
        let mut request = PullRequest::new(into.store.clone(), remote, source.place.store.clone());
        request.ns = into.ns.clone();
        request.remote_ns = source.place.ns.clone();
        request.owner.clone_from(owner);
        request.selection = selection.into();
        request.resync_corrupt = *resync_corrupt;
        request.rate_in = *rate_limit;
        request.trusted_remote = *trusted_remote;
        request
    }
}

/// How a replication ended, and what it came to.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    upid: String,
    /// How the task ended.
    state: String,
    /// None if the server keeps none: stock servers do not.
    report: Option<SyncReport>,
}

/// Waits for the end of a replication, however it ends, and gets its report.
pub(super) async fn outcome(client: &Client, upid: String) -> Result<Outcome> {
    let ended: Result<TaskStatus> = follow(client, &upid).await;
    let state = match &ended {
        Ok(status) => status.exitstatus.clone().unwrap_or_default(),
        Err(error) => format!("{error:#}"),
    };
    match client.sync_report(&upid).await {
        Ok(report) => Ok(Outcome { upid, state, report: Some(report) }),
        Err(error) if error.status().is_some() => ended.map(|_| Outcome { upid, state, report: None }),
        // The end says more than that there is no report.
        Err(error) => ended.and_then(|_| Err(error).context("cannot get the report")),
    }
}

/// Shows the outcome; one with failures is a failure of the command.
pub(super) fn show(shell: &Shell, outcome: &Outcome, what: &str) -> Result<()> {
    let Some(report) = &outcome.report else {
        return shell.show(outcome, |outcome| format!("{what}: {}", outcome.state));
    };
    shell.show(outcome, |_| describe(report))?;
    if outcome.state == "OK" || outcome.state.starts_with("WARNINGS") {
        return Ok(());
    }
    match report.failures.as_slice() {
        [] => bail!("the {what} failed: {}", outcome.state),
        [first, rest @ ..] => {
            let SyncFailure { ns, group, error, .. } = first;
            let place =
                group.as_ref().map_or_else(|| format!("namespace {ns:?}"), |group| format!("group {group}"));
            let others = rest.len();
            if others > 0 {
                bail!("{place}: {error} (and {others} other failures; the report has them)");
            }
            bail!("{place}: {error}")
        }
    }
}

fn describe(report: &SyncReport) -> String {
    let bytes = format!(
        "{} in {}",
        human::bytes(report.bytes_transferred),
        human::count(report.chunks_transferred, "chunk")
    );
    let copied = if report.dry_run { "would be copied" } else { "copied" };
    let mut lines = vec![
        ("groups", human::count(report.groups, "group")),
        (copied, human::count(report.snapshots, "snapshot")),
        ("unchanged", human::count(report.unchanged, "snapshot")),
        ("skipped", human::count(report.skipped, "snapshot")),
    ];
    for (name, count) in
        [("made as in the source", report.repaired), ("gone from the source", report.vanished)]
    {
        if count > 0 {
            lines.push((name, human::count(count, "snapshot")));
        }
    }
    let removed = report.removed_snapshots + report.removed_groups + report.removed_namespaces;
    if removed > 0 {
        lines.push((
            "removed",
            format!(
                "{}, {}, {}",
                human::count(report.removed_snapshots, "snapshot"),
                human::count(report.removed_groups, "group"),
                human::count(report.removed_namespaces, "namespace")
            ),
        ));
    }
    if !report.dry_run {
        lines.push(("transferred", bytes));
        lines.push(("used as they were", human::count(report.chunks_reused, "chunk")));
        lines.push(("requests", report.requests.to_string()));
        lines.push(("duration", format!("{:.1} s", report.seconds)));
    }
    if !report.failures.is_empty() {
        lines.push(("failures", report.failures.len().to_string()));
    }
    facts(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_a_datastore_and_maybe_a_namespace() {
        let place: RemotePlace = "offsite:tank/a/b".parse().unwrap();
        assert_eq!(place.remote.as_str(), "offsite");
        assert_eq!((place.place.store.as_str(), place.place.ns.as_str()), ("tank", "a/b"));
        assert_eq!("tank".parse::<LocalPlace>().unwrap().to_string(), "tank");
        for bad in ["tank", ":tank", "offsite:", "offsite:tank/a//b", "offsite:tank/.."] {
            assert!(bad.parse::<RemotePlace>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_report_is_shown_whatever_is_missing_in_it() {
        let report: SyncReport =
            serde_json::from_str(r#"{"snapshots":3,"removed_groups":1,"future":1}"#).unwrap();
        let text = describe(&report);
        assert!(text.contains("3 snapshots") && text.contains("1 group"), "{text}");
    }
}
