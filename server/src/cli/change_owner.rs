//! `coldkeep change-owner`.

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_datastore::{GroupName, Owner};
use serde_json::json;

use super::shell::Shell;
use super::target::{Missing, Target};

/// The arguments of `coldkeep change-owner`.
#[derive(Debug, Args)]
pub(crate) struct ChangeOwner {
    /// Group, as host/web1.
    group: GroupName,
    /// User or token that is to own it, as joe@pbs.
    owner: Owner,
    #[command(flatten)]
    target: Target,
}

impl ChangeOwner {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { group, owner, target } = self;
        let change = async |store: coldkeep_client::Store| {
            store
                .change_owner(&group, &owner)
                .await
                .with_context(|| format!("cannot change the owner of {group}"))
        };
        target.run(shell, Missing::Refuse, change).await?;
        let value = json!({ "group": group.to_string(), "owner": owner });
        shell.show(&value, |_| format!("{group} belongs to {owner}"))
    }
}
