//! `coldkeep prune`.

use anyhow::{Context, Result, bail};
use clap::Args;
use coldkeep_client::{PruneItem, PruneKeep, Store};
use coldkeep_datastore::{GroupName, SnapshotName};
use serde::Serialize;

use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, Target};

/// The arguments of `coldkeep prune`.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Group, as host/web1; default: every group in the namespace.
    group: Option<GroupName>,
    /// Only tell what would be removed.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    keep: Keep,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Keep {
    /// Keep the newest snapshots.
    #[arg(long = "keep-last", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    last: Option<u64>,
    /// Keep the newest snapshot of so many hours.
    #[arg(long = "keep-hourly", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    hourly: Option<u64>,
    /// Keep the newest snapshot of so many days.
    #[arg(long = "keep-daily", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    daily: Option<u64>,
    /// Keep the newest snapshot of so many weeks.
    #[arg(long = "keep-weekly", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    weekly: Option<u64>,
    /// Keep the newest snapshot of so many months.
    #[arg(long = "keep-monthly", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    monthly: Option<u64>,
    /// Keep the newest snapshot of so many years.
    #[arg(long = "keep-yearly", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    yearly: Option<u64>,
}

/// What becomes of a snapshot.
#[derive(Debug, Serialize)]
struct Verdict {
    snapshot: String,
    #[serde(flatten)]
    item: PruneItem,
}

impl Prune {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { group, dry_run, keep, target } = self;
        let keep = PruneKeep {
            keep_last: keep.last,
            keep_hourly: keep.hourly,
            keep_daily: keep.daily,
            keep_weekly: keep.weekly,
            keep_monthly: keep.monthly,
            keep_yearly: keep.yearly,
        };
        if keep == PruneKeep::default() {
            // The server would keep everything, which is not what somebody who prunes wants.
            bail!("say what to keep, as in --keep-last 7 --keep-weekly 4");
        }
        let prune = async |store: Store| prune_all(&store, group, &keep, dry_run).await;
        let verdicts = target.run(shell, Missing::Refuse, prune).await?;
        shell.show(&verdicts, |verdicts| table(verdicts, dry_run))
    }
}

async fn prune_all(
    store: &Store,
    group: Option<GroupName>,
    keep: &PruneKeep,
    dry_run: bool,
) -> Result<Vec<Verdict>> {
    let groups = match group {
        Some(group) => vec![group],
        None => store.groups().await?.into_iter().map(|item| item.group).collect(),
    };
    let mut verdicts = Vec::new();
    for group in groups {
        let items =
            store.prune(&group, keep, dry_run).await.with_context(|| format!("cannot prune {group}"))?;
        verdicts.extend(items.into_iter().map(|item| {
            let snapshot = SnapshotName::new(item.group.clone(), item.backup_time).to_string();
            Verdict { snapshot, item }
        }));
    }
    Ok(verdicts)
}

fn table(verdicts: &[Verdict], dry_run: bool) -> String {
    let mut table = Table::new([("snapshot", Align::Left), ("verdict", Align::Left)]);
    for Verdict { snapshot, item } in verdicts {
        let verdict = match (item.keep, item.protected, dry_run) {
            (true, true, _) => "protected",
            (true, false, _) => "keep",
            (false, _, true) => "would be removed",
            (false, _, false) => "removed",
        };
        table.push([snapshot.clone(), verdict.to_owned()]);
    }
    table.render("no snapshots")
}
