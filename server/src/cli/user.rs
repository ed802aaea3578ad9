//! `coldkeep user`: the users of a server.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use coldkeep_client::{AuthId, Client, IdentityChange, Secret, UserItem};
use serde::Serialize;
use serde_json::json;

use super::human;
use super::names::parse_expiry;
use super::secret::new_password;
use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, Target};

/// The arguments of `coldkeep user`.
#[derive(Debug, Args)]
pub(crate) struct Users {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the users.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Adds a user, as joe@pbs, with a password that is asked for or read from a pipe.
    Add {
        /// The name, as joe@pbs.
        user: AuthId,
        #[command(flatten)]
        facts: Facts,
        #[command(flatten)]
        target: Target,
    },
    /// Changes a user; what is not named stays as it is.
    Update {
        /// The name, as joe@pbs.
        user: AuthId,
        #[command(flatten)]
        facts: Facts,
        #[command(flatten)]
        target: Target,
    },
    /// Sets a user's password, which is asked for or read from a pipe.
    Passwd {
        /// The name, as joe@pbs.
        user: AuthId,
        #[command(flatten)]
        target: Target,
    },
    /// Removes a user with all tokens and rights; the backups stay.
    Remove {
        /// The name, as joe@pbs.
        user: AuthId,
        #[command(flatten)]
        target: Target,
    },
}

/// What is said of a user or token beside its name.
#[derive(Debug, Args)]
pub(crate) struct Facts {
    /// It may be used.
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// It may not be used.
    #[arg(long)]
    disable: bool,
    /// When it stops being valid: 2027-01-31 (when that day begins here), 2027-01-31T12:00:00Z, or never.
    #[arg(long, value_name = "DATE", value_parser = parse_expiry)]
    expire: Option<i64>,
    /// Free text; empty: none.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// A user or token as it is shown: without password or secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Identity {
    name: String,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl Facts {
    /// Returns what is said.
    pub(crate) fn into_change(self) -> IdentityChange {
        let enable = (self.enable || self.disable).then_some(self.enable);
        IdentityChange { enable, expire: self.expire, comment: self.comment }
    }

    /// Returns what is said, which must be something.
    pub(crate) fn into_some_change(self) -> Result<IdentityChange> {
        let change = self.into_change();
        if change.is_empty() {
            bail!("say what to change, as in --disable or --expire 2027-01-31");
        }
        Ok(change)
    }
}

impl Identity {
    pub(crate) fn new(name: String, enabled: bool, expire: i64, comment: Option<String>) -> Self {
        Self { name, enabled, expire_at: (expire != 0).then_some(expire), comment }
    }
}

impl Users {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List { target } => {
                let list = async |client: Client| Ok(client.users(false).await?);
                let users = target.run_on_server(shell, Missing::Refuse, list).await?;
                let shown =
                    |user: UserItem| Identity::new(user.userid, user.enable, user.expire, user.comment);
                let users: Vec<Identity> = users.into_iter().map(shown).collect();
                shell.show(&users, |users| identity_table(users, "no users"))
            }
            Verb::Add { user, facts, target } => {
                let (password, facts) = (Secret::new(new_password()?.as_str()), facts.into_change());
                let add = async |client: Client| {
                    let added = client.add_user(&user, &password, &facts).await;
                    added.with_context(|| format!("cannot add {user}"))
                };
                target.run_on_server(shell, Missing::Create, add).await?;
                shell.show(&json!({ "added": user.as_str() }), |_| {
                    format!("added {user}; `coldkeep acl set` gives rights")
                })
            }
            Verb::Update { user, facts, target } => {
                let change = facts.into_some_change()?;
                let update = async |client: Client| {
                    let changed = client.update_user(&user, &change).await;
                    changed.with_context(|| format!("cannot change {user}"))
                };
                target.run_on_server(shell, Missing::Refuse, update).await?;
                shell.show(&json!({ "changed": user.as_str() }), |_| format!("changed {user}"))
            }
            Verb::Passwd { user, target } => {
                let password = Secret::new(new_password()?.as_str());
                let set = async |client: Client| {
                    let set = client.set_password(&user, &password).await;
                    set.with_context(|| format!("cannot set the password of {user}"))
                };
                target.run_on_server(shell, Missing::Refuse, set).await?;
                shell.show(&json!({ "changed": user.as_str() }), |_| format!("password of {user} set"))
            }
            Verb::Remove { user, target } => {
                let remove = async |client: Client| {
                    let removed = client.remove_user(&user).await;
                    removed.with_context(|| format!("cannot remove {user}"))
                };
                target.run_on_server(shell, Missing::Refuse, remove).await?;
                shell.show(&json!({ "removed": user.as_str() }), |_| format!("removed {user}"))
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
            identity.name.clone(),
            if identity.enabled { "yes" } else { "no" }.to_owned(),
            identity.expire_at.map_or_else(|| "never".to_owned(), human::time),
            identity.comment.clone().unwrap_or_default(),
        ]);
    }
    table.render(empty)
}
