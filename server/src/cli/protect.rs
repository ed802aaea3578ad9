//! `coldkeep protect`.

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_datastore::SnapshotName;
use serde_json::json;

use super::shell::Shell;
use super::target::{Missing, Target};

/// The arguments of `coldkeep protect`.
#[derive(Debug, Args)]
pub(crate) struct Protect {
    /// Snapshot, as host/web1/2026-01-31T12:00:00Z.
    snapshot: SnapshotName,
    /// End the protection.
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    target: Target,
}

impl Protect {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { snapshot, off, target } = self;
        let set = async |store: coldkeep_client::Store| {
            let set = store.set_protected(&snapshot, !off).await;
            set.with_context(|| format!("cannot change the protection of {snapshot}"))
        };
        target.run(shell, Missing::Refuse, set).await?;
        let value = json!({ "snapshot": snapshot.to_string(), "protected": !off });
        shell.show(&value, |_| format!("{snapshot} is {}protected", if off { "no longer " } else { "" }))
    }
}
