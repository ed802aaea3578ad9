//! `coldkeep acl`: who may do what on a server.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use coldkeep_client::{AclItem, Client, RoleItem};
use serde::Serialize;

use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, Target};
use crate::auth::{AclPath, AuthId, Role};

/// The arguments of `coldkeep acl`.
#[derive(Debug, Args)]
pub(crate) struct AclVerbs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the entries.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Lists the roles and what they grant.
    Roles {
        #[command(flatten)]
        target: Target,
    },
    /// Gives a user or token a role on a path and below it.
    Set {
        #[command(flatten)]
        entry: EntryArgs,
        /// Not below the path.
        #[arg(long)]
        no_propagate: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Takes a role away again.
    Remove {
        #[command(flatten)]
        entry: EntryArgs,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Args)]
struct EntryArgs {
    /// Where, as /datastore/default; / is everywhere.
    path: AclPath,
    /// The user or token.
    who: AuthId,
    /// What, as `DatastoreBackup`.
    role: Role,
}

impl EntryArgs {
    fn item(self, propagate: bool) -> AclItem {
        let (path, auth_id, role) = (self.path.to_string(), self.who.to_string(), self.role.to_string());
        AclItem { path, auth_id, role, propagate }
    }
}

/// An entry as it is shown.
#[derive(Debug, Serialize)]
struct Entry {
    path: String,
    who: String,
    role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    propagate: Option<bool>,
}

impl AclVerbs {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List { target } => {
                let list = async |client: Client| Ok(client.acl().await?);
                let items = target.run_on_server(shell, Missing::Refuse, list).await?;
                let entries: Vec<Entry> = items.into_iter().map(|item| shown(item, true)).collect();
                shell.show(&entries, |entries| table(entries))
            }
            Verb::Roles { target } => {
                let list = async |client: Client| Ok(client.roles().await?);
                let roles = target.run_on_server(shell, Missing::Refuse, list).await?;
                shell.show(&roles, |roles| role_table(roles))
            }
            Verb::Set { entry, no_propagate, target } => {
                let item = entry.item(!no_propagate);
                let set = async |client: Client| {
                    client.set_acl(&item).await.context("cannot change the access list")
                };
                target.run_on_server(shell, Missing::Refuse, set).await?;
                let text = format!("{} has role {} on {}", item.auth_id, item.role, item.path);
                shell.show(&shown(item, true), |_| text)
            }
            Verb::Remove { entry, target } => {
                let item = entry.item(true);
                let remove = async |client: Client| {
                    client.remove_acl(&item).await.context("cannot change the access list")
                };
                target.run_on_server(shell, Missing::Refuse, remove).await?;
                let text = format!("{} no longer has role {} on {}", item.auth_id, item.role, item.path);
                shell.show(&shown(item, false), |_| text)
            }
        }
    }
}

fn shown(item: AclItem, with_propagate: bool) -> Entry {
    let AclItem { path, auth_id: who, role, propagate } = item;
    Entry { path, who, role, propagate: with_propagate.then_some(propagate) }
}

fn table(entries: &[Entry]) -> String {
    let mut table = Table::new([
        ("path", Align::Left),
        ("who", Align::Left),
        ("role", Align::Left),
        ("below", Align::Left),
    ]);
    for entry in entries {
        table.push([
            entry.path.clone(),
            entry.who.clone(),
            entry.role.clone(),
            if entry.propagate == Some(true) { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.render("no entries; root@pam may do everything")
}

fn role_table(roles: &[RoleItem]) -> String {
    let mut table = Table::new([("role", Align::Left), ("grants", Align::Left)]);
    for role in roles {
        table.push([role.role.clone(), role.privileges.join(" ")]);
    }
    table.render("no roles")
}
