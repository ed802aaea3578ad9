//! `coldkeep datastore destroy-data`.

use std::io::Write as _;

use anyhow::{Context, Result, bail};
use clap::Args;
use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_datastore::StoreName;
use serde_json::json;

use super::{audited, config_of, place_of};
use crate::Server;
use crate::cli::environment::first_line;
use crate::cli::human;
use crate::cli::secret;
use crate::cli::shell::Shell;
use crate::cli::target::{Missing, run_on_folder};
use crate::state::StoreConfig;

/// How often to tell how many objects are gone.
const TELL_EVERY: u64 = 10_000;

/// The arguments of `coldkeep datastore destroy-data`.
#[derive(Debug, Args)]
pub(super) struct DestroyData {
    /// The name.
    name: StoreName,
    /// Do not ask for the name to be typed.
    #[arg(long)]
    yes: bool,
    /// Destroy it although another server has its bucket open.
    #[arg(long)]
    take_over: bool,
}

impl DestroyData {
    pub(super) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { name, yes, take_over } = self;
        let takeover = if take_over { Takeover::Force } else { Takeover::Refuse };
        let destroy = async |server: &Server| {
            let config = config_of(server, &name)?;
            if !yes {
                confirm(&config)?;
            }
            let tell = |count: u64| {
                if count % TELL_EVERY < 1000 {
                    Shell::note_if_watched(&format!("{} gone", human::count(count, "object")));
                }
            };
            let destroyed = async {
                let destroyed = server.destroy_datastore(&name, takeover, tell).await;
                destroyed.with_context(|| format!("cannot destroy the datastore {name}"))
            };
            audited(server, "datastore destroy-data", &name, destroyed).await
        };
        let destroyed = run_on_folder(shell, Missing::Refuse, destroy).await?;
        shell.show(&json!({ "name": name, "objects": destroyed.objects }), |_| {
            format!(
                "destroyed the datastore {name}, {} of its bucket",
                human::count(destroyed.objects, "object")
            )
        })
    }
}

/// Asks for the name to be typed: nothing brings back what is destroyed.
fn confirm(config: &StoreConfig) -> Result<()> {
    if !secret::can_ask() {
        bail!("destroying {} takes all its snapshots with it; say so with --yes", config.name);
    }
    let mut err = std::io::stderr();
    let question = format!(
        "This destroys all snapshots of {} ({}, {}). Type its name to go on: ",
        config.name,
        place_of(config),
        config.path.display()
    );
    write!(err, "{question}").and_then(|()| err.flush()).context("cannot ask")?;
    if first_line(std::io::stdin()).context("cannot read the answer")?.as_str() != config.name.as_str() {
        bail!("that is not its name; nothing was destroyed");
    }
    Ok(())
}
