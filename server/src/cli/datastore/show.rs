//! `coldkeep datastore show`.

use anyhow::Result;
use clap::Args;
use coldkeep_client::Client;
use coldkeep_datastore::StoreName;

use super::{parsed, place_of};
use crate::cli::human;
use crate::cli::shell::Shell;
use crate::cli::table::facts;
use crate::cli::target::{Missing, Target};
use crate::state::StoreConfig;

/// The arguments of `coldkeep datastore show`.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The name.
    name: StoreName,
    #[command(flatten)]
    target: Target,
}

impl Show {
    pub(super) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { name, target } = self;
        let find = async |client: Client| Ok(client.datastore_config(&name).await?);
        let config = parsed(target.run_on_server(shell, Missing::Refuse, find).await?)?;
        shell.show(&config, describe)
    }
}

fn describe(config: &StoreConfig) -> String {
    let mut lines = vec![
        ("datastore", config.name.to_string()),
        ("content", place_of(config)),
        ("folder", config.path.display().to_string()),
    ];
    if let Some(comment) = &config.comment {
        lines.push(("comment", comment.clone()));
    }
    let Some(bucket) = config.bucket() else { return facts(&lines) };
    let lifetimes = bucket.lifetimes();
    lines.push(("region", bucket.region.to_string()));
    lines.push(("cache", format!("up to {}", human::bytes(bucket.cache_size))));
    if let Some(quota) = bucket.quota {
        lines.push(("quota", human::bytes(quota)));
    }
    lines.push(("requests expire", human::duration(lifetimes.longest())));
    lines.push(("margin", human::duration(lifetimes.margin)));
    lines.extend(bucket.caveats().into_iter().map(|caveat| ("note", caveat.to_owned())));
    match &bucket.probe {
        Some(probe) => format!("{}\n{probe}", facts(&lines)),
        None => facts(&lines),
    }
}
