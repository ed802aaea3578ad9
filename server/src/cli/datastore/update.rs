//! `coldkeep datastore update`.

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_datastore::StoreName;

use super::keys::Keys;
use super::lifetimes::Lifetimes;
use super::{audited, config_of};
use crate::Server;
use crate::cli::human;
use crate::cli::shell::Shell;
use crate::cli::target::{Missing, run_on_folder};
use crate::state::BucketUpdate;

/// The arguments of `coldkeep datastore update`.
#[derive(Debug, Args)]
pub(super) struct Update {
    /// The name.
    name: StoreName,
    /// Free text; empty: none.
    #[arg(long)]
    comment: Option<String>,
    /// Most content of the bucket that the folder caches.
    #[arg(long, value_name = "SIZE", value_parser = human::parse_bytes)]
    cache_size: Option<u64>,
    /// Room in the bucket, for `status`; 0: as good as endless.
    #[arg(long, value_name = "SIZE", value_parser = human::parse_bytes)]
    quota: Option<u64>,
    #[command(flatten)]
    lifetimes: Lifetimes,
    #[command(flatten)]
    keys: Keys,
}

impl Update {
    pub(super) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { name, comment, cache_size, quota, lifetimes, keys } = self;
        let Lifetimes { request_lifetime, expiry_margin } = lifetimes;
        let credentials = keys.given()?;
        let update =
            BucketUpdate { comment, cache_size, quota, request_lifetime, expiry_margin, credentials };
        let change = async |server: &Server| {
            let updated = async {
                let updated = server.update_datastore(&name, update).await;
                updated.with_context(|| format!("cannot change the datastore {name}"))
            };
            audited(server, "datastore update", &name, updated).await?;
            config_of(server, &name)
        };
        let config = run_on_folder(shell, Missing::Refuse, change).await?;
        shell.show(&config, |_| format!("changed the datastore {name}"))
    }
}
