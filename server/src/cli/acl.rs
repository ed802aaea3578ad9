//! `coldkeep acl`: who may do what in a data folder's server.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, run_on_folder};
use crate::Server;
use crate::auth::{AclEntry, AclPath, AuthId, Role};

/// The arguments of `coldkeep acl`.
#[derive(Debug, Args)]
pub(crate) struct AclVerbs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the entries.
    List,
    /// Gives a user or token a role on a path and below it.
    Set {
        /// Where, as /datastore/default; / is everywhere.
        path: AclPath,
        /// The user or token.
        who: AuthId,
        /// What, as `DatastoreBackup`.
        role: Role,
        /// Not below the path.
        #[arg(long)]
        no_propagate: bool,
    },
    /// Takes a role away again.
    Remove {
        /// Where.
        path: AclPath,
        /// The user or token.
        who: AuthId,
        /// What.
        role: Role,
    },
}

impl AclVerbs {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List => {
                let list =
                    async |server: &Server| Ok(server.identities().acl().entries().collect::<Vec<_>>());
                let entries = run_on_folder(shell, Missing::Refuse, list).await?;
                shell.show(&entries, |entries| table(entries))
            }
            Verb::Set { path, who, role, no_propagate } => {
                let entry = AclEntry { path, who, role, propagate: !no_propagate };
                let grant = async |server: &Server| {
                    server.identities().grant(entry.clone()).await.context("cannot change the access list")
                };
                run_on_folder(shell, Missing::Refuse, grant).await?;
                shell.show(&entry, |entry| format!("{} has role {} on {}", entry.who, entry.role, entry.path))
            }
            Verb::Remove { path, who, role } => {
                let revoke = async |server: &Server| {
                    let revoked = server.identities().revoke(&path, &who, role).await;
                    revoked.context("cannot change the access list")
                };
                run_on_folder(shell, Missing::Refuse, revoke).await?;
                let value = serde_json::json!({ "path": path, "who": who, "role": role });
                shell.show(&value, |_| format!("{who} no longer has role {role} on {path}"))
            }
        }
    }
}

fn table(entries: &[AclEntry]) -> String {
    let mut table = Table::new([
        ("path", Align::Left),
        ("who", Align::Left),
        ("role", Align::Left),
        ("below", Align::Left),
    ]);
    for entry in entries {
        table.push([
            entry.path.to_string(),
            entry.who.to_string(),
            entry.role.to_string(),
            if entry.propagate { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.render("no entries; root@pam may do everything")
}
