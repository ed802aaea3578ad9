//! `coldkeep forget`.

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_client::DeleteStats;
use serde_json::json;

use super::human;
use super::names::Place;
use super::shell::Shell;
use super::target::{Missing, Target};

/// The arguments of `coldkeep forget`.
#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// Snapshot, as host/web1/2026-01-31T12:00:00Z; with --group a group, as host/web1.
    snapshot: Place,
    /// Remove a group with all its snapshots; those that are protected stay.
    #[arg(long)]
    group: bool,
    #[command(flatten)]
    target: Target,
}

impl Forget {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { snapshot: place, group, target } = self;
        let name = place.to_string();
        let forget = async |store: coldkeep_client::Store| match place {
            Place::Snapshot(snapshot) => {
                store.forget(&snapshot).await?;
                Ok(DeleteStats { removed_snapshots: 1, ..DeleteStats::default() })
            }
            Place::Group(_) if !group => {
                anyhow::bail!("{name} is a group; name a snapshot, or use --group to remove all of them")
            }
            Place::Group(group) => Ok(store.forget_group(&group).await?),
        };
        let stats = target.run(shell, Missing::Refuse, forget).await;
        let stats = stats.with_context(|| format!("cannot forget {name}"))?;
        let value = json!({
            "forgotten": name,
            "removed-groups": stats.removed_groups,
            "removed-snapshots": stats.removed_snapshots,
            "protected-snapshots": stats.protected_snapshots,
        });
        shell.show(&value, |_| {
            let removed = human::count(stats.removed_snapshots, "snapshot");
            format!("forgot {name} ({removed}); `coldkeep gc` frees the space")
        })
    }
}
