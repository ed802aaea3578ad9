//! `coldkeep move`.

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_datastore::{GroupName, Namespace};
use serde_json::json;

use super::shell::Shell;
use super::target::{Missing, Target};
use super::task::follow;

/// The arguments of `coldkeep move`.
#[derive(Debug, Args)]
pub(crate) struct Move {
    /// Group, as host/web1, in the namespace --ns.
    group: GroupName,
    /// Namespace that it comes to be in, as a/b; "" for the root.
    to: Namespace,
    /// Let a group of the same name and owner that is there take the snapshots in.
    #[arg(long)]
    merge: bool,
    #[command(flatten)]
    target: Target,
}

impl Move {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { group, to, merge, target } = self;
        let run = async |store: coldkeep_client::Store| {
            let upid = store.start_move_group(&group, &to, merge).await?;
            follow(store.client(), &upid).await
        };
        let moved = target.run(shell, Missing::Refuse, run).await;
        moved.with_context(|| format!("cannot move {group}"))?;
        let value = json!({ "group": group.to_string(), "ns": to });
        shell.show(&value, |_| {
            let place =
                if to.is_root() { "the root namespace".to_owned() } else { format!("namespace {to}") };
            format!("{group} is in {place}")
        })
    }
}
