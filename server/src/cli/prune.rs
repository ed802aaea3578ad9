//! `coldkeep prune`.

use anyhow::{Context, Result, bail};
use clap::Args;
use coldkeep_client::{PruneItem, PruneKeep, RequestError, Store};
use coldkeep_datastore::{GroupName, SnapshotName};
use serde::Serialize;

use super::human;
use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, Target};

/// The arguments of `coldkeep prune`.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Group, as host/web1; default: every group in the namespace.
    group: Option<GroupName>,
    /// Only tell what would be removed, and what decides that; what is in use by then stays all the same.
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

/// What came of the groups.
#[derive(Debug, Default)]
struct Pruned {
    verdicts: Vec<Verdict>,
    refused: Vec<(GroupName, RequestError)>,
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
        let Pruned { verdicts, refused } = target.run(shell, Missing::Refuse, prune).await?;
        // What was removed is told whatever became of the other groups.
        if refused.is_empty() || !verdicts.is_empty() {
            shell.show(&verdicts, |verdicts| table(verdicts, dry_run))?;
        }
        let others = refused.len().saturating_sub(1);
        match refused.into_iter().next() {
            None => Ok(()),
            Some((group, error)) if others == 0 => Err(error).context(format!("cannot prune {group}")),
            Some((group, error)) => Err(error)
                .context(format!("cannot prune {group} and {}", human::count(others as u64, "other"))),
        }
    }
}

/// Prunes a group or all of them; goes on to the next one where the server refuses.
async fn prune_all(
    store: &Store,
    group: Option<GroupName>,
    keep: &PruneKeep,
    dry_run: bool,
) -> Result<Pruned> {
    let groups = match group {
        Some(group) => vec![group],
        None => store.groups().await?.into_iter().map(|item| item.group).collect(),
    };
    let mut pruned = Pruned::default();
    for group in groups {
        match store.prune(&group, keep, dry_run).await {
            Ok(items) => pruned.verdicts.extend(items.into_iter().map(|item| {
                let snapshot = SnapshotName::new(item.group.clone(), item.backup_time).to_string();
                Verdict { snapshot, item }
            })),
            Err(error) if error.status().is_some() => pruned.refused.push((group, error)),
            Err(error) => return Err(error).context(format!("cannot prune {group}")),
        }
    }
    Ok(pruned)
}

fn table(verdicts: &[Verdict], dry_run: bool) -> String {
    let columns = [("snapshot", Align::Left), ("verdict", Align::Left), ("decided by", Align::Left)];
    let mut table = Table::new(columns);
    for Verdict { snapshot, item } in verdicts {
        let verdict = match (item.keep, dry_run) {
            (true, true) => "keep",
            (true, false) => "kept",
            (false, true) => "remove",
            (false, false) => "removed",
        };
        // Stock servers tell no reason but this one.
        let reason = item.reason.as_deref().or(item.protected.then_some("protected")).unwrap_or_default();
        table.push([snapshot.clone(), verdict.to_owned(), reason.to_owned()]);
    }
    table.render("no snapshots")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(day: u32, keep: bool, protected: bool, reason: Option<&str>) -> Verdict {
        let name: SnapshotName = format!("host/h1/2026-01-{day:02}T00:00:00Z").parse().unwrap();
        let reason = reason.map(ToOwned::to_owned);
        let item = PruneItem { group: name.group.clone(), backup_time: name.time, keep, protected, reason };
        Verdict { snapshot: name.to_string(), item }
    }

    #[test]
    fn the_table_tells_what_decided() {
        let verdicts = [
            verdict(1, false, false, Some("keep-daily")),
            verdict(2, true, false, Some("keep-last")),
            // As stock servers answer.
            verdict(3, true, true, None),
            verdict(4, false, false, None),
        ];
        let dry = table(&verdicts, true);
        assert_eq!(
            dry.lines().collect::<Vec<_>>(),
            [
                "snapshot                      verdict  decided by",
                "host/h1/2026-01-01T00:00:00Z  remove   keep-daily",
                "host/h1/2026-01-02T00:00:00Z  keep     keep-last",
                "host/h1/2026-01-03T00:00:00Z  keep     protected",
                "host/h1/2026-01-04T00:00:00Z  remove",
            ]
        );
        let done = table(&verdicts, false);
        assert!(done.contains("Z  removed  keep-daily") && done.contains("Z  kept     keep-last"), "{done}");
    }
}
