//! `coldkeep gc`.

pub(super) mod report;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use coldkeep_client::{GcRun, GcStatus, Store};
use coldkeep_gc::Report;
use serde::Serialize;

use super::failure::MissingChunks;
use super::human;
use super::shell::Shell;
use super::table::{Align, Table, facts};
use super::target::{Missing, Target, embedded_limits};
use super::task::follow;

/// The arguments of `coldkeep gc`.
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Only tell what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// Remove so many chunks a second at most.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_delete_rate: Option<u32>,
    /// List past collections, and start none.
    #[arg(long, conflicts_with_all = ["dry_run", "max_delete_rate", "grace", "margin"])]
    history: bool,
    /// Seconds that chunks that nothing refers to stay after their last use; default 24 h 5 min. Only for a folder: a
    /// server has its own, and so may a datastore.
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u64>,
    /// Seconds taken off that cutoff once more; default 5 min. Only for a folder.
    #[arg(long, value_name = "SECONDS")]
    margin: Option<u64>,
    #[command(flatten)]
    target: Target,
}

/// What a collection came to.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    /// As Coldkeep servers tell it.
    Full { upid: String, report: Box<Report> },
    /// As all servers do.
    Stock(Box<GcStatus>),
}

impl Gc {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        if self.history {
            let list =
                async |store: Store| store.gc_history(None).await.context("cannot get the past collections");
            let runs = self.target.run(shell, Missing::Refuse, list).await?;
            return shell.show(&runs, |runs| history_table(runs));
        }
        if (self.grace.is_some() || self.margin.is_some()) && !self.target.is_local(shell)? {
            bail!(
                "--grace and --margin are for a folder; a server has its own (`coldkeep serve --gc-grace`)"
            );
        }
        let mut limits = embedded_limits();
        limits.gc_grace = self.grace.map_or(limits.gc_grace, Duration::from_secs);
        limits.gc_margin = self.margin.map_or(limits.gc_margin, Duration::from_secs);
        let (dry_run, rate) = (self.dry_run, self.max_delete_rate);
        let collect = async |store: Store| collect(&store, dry_run, rate).await;
        let outcome = self.target.run_within(shell, Missing::Refuse, limits, collect).await?;
        shell.show(&outcome, |outcome| match outcome {
            Outcome::Full { report, .. } => report::describe(report),
            Outcome::Stock(status) => describe(status),
        })?;
        match &outcome {
            Outcome::Full { report, .. } if report.missing.chunks > 0 => {
                bail!(MissingChunks { chunks: report.missing.chunks })
            }
            Outcome::Full { .. } | Outcome::Stock(_) => Ok(()),
        }
    }
}

async fn collect(store: &Store, dry_run: bool, rate: Option<u32>) -> Result<Outcome> {
    let upid = store.start_gc_with(dry_run, rate).await.context("cannot start the collection")?;
    follow(store.client(), &upid).await.context("the collection failed")?;
    let runs = match store.gc_history(Some(&upid)).await {
        // Another server than ours.
        Err(error) if error.is_not_found() => Vec::new(),
        runs => runs.context("cannot get the report of the collection")?,
    };
    let report = runs.into_iter().next().map(|run| serde_json::from_value(run.report));
    if let Some(report) = report.transpose().context("the report of the collection is damaged")? {
        return Ok(Outcome::Full { upid, report: Box::new(report) });
    }
    let status = store.gc_status().await.context("cannot get the result of the collection")?;
    Ok(Outcome::Stock(Box::new(status)))
}

pub(super) fn history_table(runs: &[GcRun]) -> String {
    let mut table = Table::new([
        ("ended", Align::Left),
        ("state", Align::Left),
        ("removed", Align::Right),
        ("kept", Align::Right),
        ("pending", Align::Right),
        ("missing", Align::Right),
    ]);
    for run in runs {
        // What is damaged, or of a run that failed, shows nothing.
        let report: Option<Report> = serde_json::from_value(run.report.clone()).ok();
        let count = |of: fn(&Report) -> u64| report.as_ref().map_or_else(String::new, |r| of(r).to_string());
        let is_dry = run.dry_run || report.as_ref().is_some_and(|report| report.dry_run);
        table.push([
            human::time(run.ended_at),
            if is_dry { format!("{} (dry run)", run.state) } else { run.state.clone() },
            count(|report| report.removed.count),
            count(|report| report.kept.count),
            count(|report| report.pending.count),
            count(|report| report.missing.chunks),
        ]);
    }
    table.render("no collection has ended yet")
}

/// Writes the figures of a collection.
pub(crate) fn describe(status: &GcStatus) -> String {
    let chunks = |bytes, count| format!("{} in {}", human::bytes(bytes), human::count(count, "chunk"));
    let mut lines = vec![
        ("indexes", format!("{}, {}", status.index_file_count, human::bytes(status.index_data_bytes))),
        ("kept", chunks(status.disk_bytes, status.disk_chunks)),
        ("removed", chunks(status.removed_bytes, status.removed_chunks)),
        ("unused but too young", chunks(status.pending_bytes, status.pending_chunks)),
    ];
    if status.removed_bad > 0 || status.still_bad > 0 {
        lines.push(("damaged", format!("{} removed, {} left", status.removed_bad, status.still_bad)));
    }
    if let Some(seconds) = status.duration {
        lines.push(("duration", human::duration(Duration::from_secs(seconds.unsigned_abs()))));
    }
    if status.disk_bytes > 0 {
        let factor = status.index_data_bytes as f64 / status.disk_bytes as f64;
        lines.push(("deduplication", format!("{factor:.2} times")));
    }
    facts(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_server_says_is_shown_whatever_it_is() {
        let most = r#"{"count":18446744073709551615,"bytes":18446744073709551615}"#;
        let text = format!(
            r#"{{"kept":{most},"pending":{most},"bad_kept":{most},"bad_removed":{most},"temporary_removed":{most},
                "uploads_removed":{most},"phases":[{{"phase":"mark","seconds":1e308}},{{"phase":"sweep","seconds":1e308}}],
                "healed":{{"markers_created":18446744073709551615,"markers_removed":1,"failed_sessions":0}}}}"#
        );
        let report: coldkeep_gc::Report = serde_json::from_str(&text).unwrap();
        assert!(report::describe(&report).contains("16.0 EiB in"));
        let status =
            GcStatus { removed_bad: u64::MAX, still_bad: 1, duration: Some(i64::MIN), ..GcStatus::default() };
        assert!(describe(&status).contains("1 left"));
        let run = GcRun {
            ended_at: i64::MAX,
            ..serde_json::from_str(r#"{"upid":"x","ended-at":1,"state":"OK"}"#).unwrap()
        };
        assert!(history_table(&[run]).contains("OK"));
    }

    #[test]
    fn figures_are_shown() {
        let status = GcStatus {
            index_file_count: 2,
            index_data_bytes: 8 << 20,
            disk_bytes: 4 << 20,
            disk_chunks: 1,
            pending_chunks: 3,
            ..GcStatus::default()
        };
        let text = describe(&status);
        assert!(text.contains("kept:                 4.00 MiB in 1 chunk\n"), "{text}");
        assert!(text.contains("deduplication:        2.00 times\n"), "{text}");
        assert!(!text.contains("damaged"), "{text}");
    }
}
