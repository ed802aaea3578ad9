//! `coldkeep datastore`: the datastores of a data folder.

use std::path::PathBuf;

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
    Create {
        /// The name.
        name: StoreName,
        /// The folder; default: stores/NAME in the data folder.
        path: Option<PathBuf>,
        /// Free text.
        #[arg(long)]
        comment: Option<String>,
    },
    /// Takes a datastore off the list; its folder and content stay.
    Remove {
        /// The name.
        name: StoreName,
    },
}

impl Datastores {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List => {
                let list = async |server: &Server| Ok(server.datastore_configs());
                let configs = run_on_folder(shell, Missing::Refuse, list).await?;
                shell.show(&configs, |configs| table(configs))
            }
            Verb::Create { name, path, comment } => {
                // Relative to where the command runs, not to the data folder.
                let path =
                    path.map(std::path::absolute).transpose().context("cannot tell the current directory")?;
                let create = async |server: &Server| {
                    let created = server.create_datastore(name.clone(), path, comment).await;
                    created.with_context(|| format!("cannot make the datastore {name}"))
                };
                run_on_folder(shell, Missing::Create, create).await?;
                shell.show(&json!({ "name": name }), |_| format!("made the datastore {name}"))
            }
            Verb::Remove { name } => {
                let remove = async |server: &Server| {
                    let removed = server.remove_datastore(&name).await;
                    removed.with_context(|| format!("cannot remove the datastore {name}"))
                };
                run_on_folder(shell, Missing::Refuse, remove).await?;
                shell
                    .show(&json!({ "name": name }), |_| format!("took {name} off the list; its folder stays"))
            }
        }
    }
}

fn table(configs: &[StoreConfig]) -> String {
    let mut table =
        Table::new([("datastore", Align::Left), ("folder", Align::Left), ("comment", Align::Left)]);
    for config in configs {
        let path = config.path.display().to_string();
        table.push([config.name.to_string(), path, config.comment.clone().unwrap_or_default()]);
    }
    table.render("no datastores")
}
