//! `coldkeep gc`.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use coldkeep_client::GcStatus;

use super::human;
use super::shell::Shell;
use super::table::facts;
use super::target::{Missing, Target, embedded_limits};
use super::task::follow;

/// The arguments of `coldkeep gc`.
#[derive(Debug, Args)]
pub(crate) struct Gc {
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

impl Gc {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        if (self.grace.is_some() || self.margin.is_some()) && !self.target.is_local(shell)? {
            bail!(
                "--grace and --margin are for a folder; a server has its own (`coldkeep serve --gc-grace`)"
            );
        }
        let mut limits = embedded_limits();
        limits.gc_grace = self.grace.map_or(limits.gc_grace, Duration::from_secs);
        limits.gc_margin = self.margin.map_or(limits.gc_margin, Duration::from_secs);
        let collect = async |store: coldkeep_client::Store| {
            let upid = store.start_gc().await.context("cannot start the collection")?;
            follow(store.client(), &upid).await.context("the collection failed")?;
            store.gc_status().await.context("cannot get the result of the collection")
        };
        let status = self.target.run_within(shell, Missing::Refuse, limits, collect).await?;
        shell.show(&status, describe)
    }
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
    if status.removed_bad + status.still_bad > 0 {
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
