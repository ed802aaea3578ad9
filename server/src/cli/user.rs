//! `coldkeep user`: the users of a data folder.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::human;
use super::secret::new_password;
use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, run_on_folder};
use crate::Server;
use crate::auth::AuthId;

/// The arguments of `coldkeep user`.
#[derive(Debug, Args)]
pub(crate) struct Users {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the users.
    List,
    /// Adds a user, as joe@pbs, with a password that is asked for or read from a pipe.
    Add {
        /// The name, as joe@pbs.
        user: AuthId,
        /// Free text.
        #[arg(long)]
        comment: Option<String>,
    },
    /// Sets a user's password, which is asked for or read from a pipe.
    Passwd {
        /// The name, as joe@pbs.
        user: AuthId,
    },
    /// Removes a user with all tokens and rights; the backups stay.
    Remove {
        /// The name, as joe@pbs.
        user: AuthId,
    },
}

/// A user or token without its hash.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Identity {
    name: AuthId,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl Identity {
    pub(crate) fn new(name: AuthId, enabled: bool, expire_at: Option<i64>, comment: Option<String>) -> Self {
        Self { name, enabled, expire_at, comment }
    }
}

impl Users {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List => {
                let list = async |server: &Server| Ok(server.identities().users());
                let users = run_on_folder(shell, Missing::Refuse, list).await?;
                let users: Vec<Identity> = users
                    .into_iter()
                    .map(|user| Identity::new(user.user, user.enabled, user.expire_at, user.comment))
                    .collect();
                shell.show(&users, |users| identity_table(users, "no users"))
            }
            Verb::Add { user, comment } => {
                let password = new_password()?;
                let add = async |server: &Server| {
                    let added = server.identities().add_user(user.clone(), password, comment).await;
                    added.with_context(|| format!("cannot add {user}"))
                };
                run_on_folder(shell, Missing::Create, add).await?;
                shell.show(&json!({ "added": user }), |_| {
                    format!("added {user}; `coldkeep acl set` gives rights")
                })
            }
            Verb::Passwd { user } => {
                let password = new_password()?;
                let set = async |server: &Server| {
                    let set = server.identities().set_password(&user, password).await;
                    set.with_context(|| format!("cannot set the password of {user}"))
                };
                run_on_folder(shell, Missing::Refuse, set).await?;
                shell.show(&json!({ "changed": user }), |_| format!("password of {user} set"))
            }
            Verb::Remove { user } => {
                let remove = async |server: &Server| {
                    let removed = server.identities().remove_user(&user).await;
                    removed.with_context(|| format!("cannot remove {user}"))
                };
                run_on_folder(shell, Missing::Refuse, remove).await?;
                shell.show(&json!({ "removed": user }), |_| format!("removed {user}"))
            }
        }
    }
}

/// Lists users or tokens.
pub(crate) fn identity_table(identities: &[Identity], empty: &str) -> String {
    let mut table = Table::new([
        ("name", Align::Left),
        ("enabled", Align::Left),
        ("expires", Align::Left),
        ("comment", Align::Left),
    ]);
    for identity in identities {
        table.push([
            identity.name.to_string(),
            if identity.enabled { "yes" } else { "no" }.to_owned(),
            identity.expire_at.map_or_else(|| "never".to_owned(), human::time),
            identity.comment.clone().unwrap_or_default(),
        ]);
    }
    table.render(empty)
}
