//! `coldkeep datastore`: the datastores of a server. Those in buckets are made and changed on the data folder.

mod create;
mod destroy;
mod keys;
mod lifetimes;
mod refresh;
mod show;
mod update;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use coldkeep_client::Client;
use coldkeep_datastore::StoreName;
use serde_json::{Value, json};

use super::failure::describe;
use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, Target};
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
    List {
        #[command(flatten)]
        target: Target,
    },
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
        #[command(flatten)]
        target: Target,
    },
    /// Removes a datastore with everything in it: all snapshots, all chunks, its folder.
    DestroyData(destroy::DestroyData),
}

impl Datastores {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List { target } => {
                let list = async |client: Client| Ok(client.datastore_configs().await?);
                let values = target.run_on_server(shell, Missing::Refuse, list).await?;
                let configs = values.into_iter().map(parsed).collect::<Result<Vec<_>>>()?;
                shell.show(&configs, |configs| table(configs))
            }
            Verb::Create(verb) => verb.run(shell).await,
            Verb::Show(verb) => verb.run(shell).await,
            Verb::Update(verb) => verb.run(shell).await,
            Verb::Refresh(verb) => verb.run(shell).await,
            Verb::Remove { name, target } => {
                let remove = async |client: Client| {
                    let removed = async {
                        let upid = client.start_remove_datastore(&name).await?;
                        anyhow::Ok(client.wait_task(&upid, |_| {}).await?)
                    };
                    removed.await.with_context(|| format!("cannot remove the datastore {name}"))
                };
                target.run_on_server(shell, Missing::Refuse, remove).await?;
                shell.show(&json!({ "name": name }), |_| {
                    format!("took {name} off the list; its folder and content stay")
                })
            }
            Verb::DestroyData(verb) => verb.run(shell).await,
        }
    }
}

/// Reads an entry as a server told it.
fn parsed(config: Value) -> Result<StoreConfig> {
    serde_json::from_value(config)
        .context("the settings of a datastore cannot be understood; the server may be newer")
}

/// Does what is no request, and notes it in the audit log of the folder.
async fn audited<T>(
    server: &Server,
    action: &'static str,
    name: &StoreName,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let result = work.await;
    let error = result.as_ref().err().map(describe);
    server.audit().note(action, &BTreeMap::from([("name", name.to_string())]), error.as_deref());
    result
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
