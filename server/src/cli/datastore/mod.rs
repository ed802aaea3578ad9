//! `coldkeep datastore`: the datastores of a data folder.

mod create;
mod destroy;
mod keys;
mod lifetimes;
mod refresh;
mod show;
mod update;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use coldkeep_datastore::StoreName;
use serde_json::json;

use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, run_on_folder};
use crate::Server;
use crate::state::StoreConfig;

/// The arguments of `coldkeep datastore`.
#[derive(Debug, Args)]
pub(crate) struct Datastores {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the datastores.
    List,
    /// Makes a datastore, or takes one that is there, and lists it.
    Create(Box<create::Create>),
    /// Shows the settings of a datastore, and what its server was found to do.
    Show(show::Show),
    /// Changes the settings of a datastore.
    Update(update::Update),
    /// Rebuilds the local state of a datastore from its bucket.
    Refresh(refresh::Refresh),
    /// Takes a datastore off the list; its folder and content stay. A bucket is given free for other servers.
    Remove {
        /// The name.
        name: StoreName,
    },
    /// Removes a datastore with everything in it: all snapshots, all chunks, its folder.
    DestroyData(destroy::DestroyData),
}

impl Datastores {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List => {
                let list = async |server: &Server| Ok(server.datastore_configs());
                let configs = run_on_folder(shell, Missing::Refuse, list).await?;
                shell.show(&configs, |configs| table(configs))
            }
            Verb::Create(verb) => verb.run(shell).await,
            Verb::Show(verb) => verb.run(shell).await,
            Verb::Update(verb) => verb.run(shell).await,
            Verb::Refresh(verb) => verb.run(shell).await,
            Verb::Remove { name } => {
                let remove = async |server: &Server| {
                    let removed = server.remove_datastore(&name).await;
                    removed.with_context(|| format!("cannot remove the datastore {name}"))
                };
                run_on_folder(shell, Missing::Refuse, remove).await?;
                shell.show(&json!({ "name": name }), |_| {
                    format!("took {name} off the list; its folder and content stay")
                })
            }
            Verb::DestroyData(verb) => verb.run(shell).await,
        }
    }
}

/// Finds the entry of a store.
fn config_of(server: &Server, name: &StoreName) -> Result<StoreConfig> {
    let found = server.datastore_configs().into_iter().find(|config| config.name == *name);
    found.with_context(|| format!("there is no datastore {name}"))
}

/// Says where the objects of a store live.
fn place_of(config: &StoreConfig) -> String {
    config.bucket().map_or_else(
        || "filesystem".to_owned(),
        |bucket| format!("{}/{} on {}", bucket.bucket, bucket.prefix, bucket.endpoint),
    )
}

fn table(configs: &[StoreConfig]) -> String {
    let mut table = Table::new([
        ("datastore", Align::Left),
        ("content", Align::Left),
        ("folder", Align::Left),
        ("comment", Align::Left),
    ]);
    for config in configs {
        let path = config.path.display().to_string();
        let comment = config.comment.clone().unwrap_or_default();
        table.push([config.name.to_string(), place_of(config), path, comment]);
    }
    table.render("no datastores")
}
