//! `coldkeep remote`: the other servers that a server pulls from and pushes to.

use std::fs::File;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use coldkeep_client::{
    AuthId, Client, DEFAULT_PORT, DatastoreItem, Fingerprint, NewRemote, RemoteItem, RemoteProperty,
    RemoteUpdate, Secret,
};
use coldkeep_datastore::RemoteName;
use serde_json::json;

use super::environment::{Setting, first_line};
use super::secret;
use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, Target};
use crate::state::RemoteHost;

/// The arguments of `coldkeep remote`.
#[derive(Debug, Args)]
pub(crate) struct Remotes {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the remotes.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Adds a remote.
    ///
    /// The password of the user there, or the secret of the token, is the first line of --password-file, or comes from
    /// `COLDKEEP_REMOTE_PASSWORD` (or `_FD`, `_FILE`, `_CMD`), or is asked for. It is kept in config/remotes.json of the
    /// data folder, which only its owner may read, and never shown again.
    Add(Box<Add>),
    /// Changes a remote; what is not named stays as it is.
    Update(Box<Update>),
    /// Removes a remote; what was pulled from it stays.
    Remove {
        /// The name.
        name: RemoteName,
        #[command(flatten)]
        target: Target,
    },
    /// Lists the datastores that a remote shows.
    Scan {
        /// The name.
        name: RemoteName,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// The name.
    name: RemoteName,
    /// DNS name or address.
    #[arg(long)]
    host: RemoteHost,
    /// The user or token there, as joe@pbs or joe@pbs!pull.
    #[arg(long, value_name = "USER|TOKEN")]
    auth_id: AuthId,
    /// File whose first line is the password or secret.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    facts: Facts,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Update {
    /// The name.
    name: RemoteName,
    /// DNS name or address.
    #[arg(long)]
    host: Option<RemoteHost>,
    /// The user or token there, as joe@pbs or joe@pbs!pull.
    #[arg(long, value_name = "USER|TOKEN")]
    auth_id: Option<AuthId>,
    /// File whose first line is the new password or secret.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Set a new password or secret, from `COLDKEEP_REMOTE_PASSWORD` or asked for.
    #[arg(long, conflicts_with = "password_file")]
    password: bool,
    #[command(flatten)]
    facts: Facts,
    /// Unset something: `port`, `fingerprint` or `comment`.
    #[arg(long, value_name = "PROPERTY", value_delimiter = ',')]
    delete: Vec<RemoteProperty>,
    #[command(flatten)]
    target: Target,
}

/// What a remote may be without.
#[derive(Debug, Args)]
struct Facts {
    /// Port; default: 8007.
    #[arg(long)]
    port: Option<NonZeroU16>,
    /// SHA-256 of the certificate that it must show; default: one that the system's authorities vouch for.
    #[arg(long)]
    fingerprint: Option<Fingerprint>,
    /// Free text.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

impl Remotes {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List { target } => {
                let list = async |client: Client| Ok(client.remotes().await?);
                let remotes = target.run_on_server(shell, Missing::Refuse, list).await?;
                shell.show(&remotes, |remotes| table(remotes))
            }
            Verb::Add(verb) => verb.run(shell).await,
            Verb::Update(verb) => verb.run(shell).await,
            Verb::Remove { name, target } => {
                let remove = async |client: Client| {
                    let removed = client.remove_remote(&name).await;
                    removed.with_context(|| format!("cannot remove the remote {name}"))
                };
                target.run_on_server(shell, Missing::Refuse, remove).await?;
                shell.show(&json!({ "removed": name }), |_| format!("removed the remote {name}"))
            }
            Verb::Scan { name, target } => {
                let scan = async |client: Client| Ok(client.scan_remote(&name).await?);
                let stores = target.run_on_server(shell, Missing::Refuse, scan).await?;
                shell.show(&stores, |stores| store_table(stores))
            }
        }
    }
}

impl Add {
    async fn run(self, shell: &Shell) -> Result<()> {
        let Self { name, host, auth_id, password_file, facts, target } = self;
        let Facts { port, fingerprint, comment } = facts;
        let secret = match password_file {
            Some(path) => secret_in(&path)?,
            None => secret_of(&auth_id.to_string(), shell)?,
        };
        let (host, port) = (host.to_string(), port.map(NonZeroU16::get));
        let new = NewRemote { name, host, port, auth_id, secret, fingerprint, comment };
        let add = async |client: Client| {
            client.add_remote(&new).await.with_context(|| format!("cannot add the remote {}", new.name))
        };
        target.run_on_server(shell, Missing::Create, add).await?;
        let name = &new.name;
        shell.show(&json!({ "added": name }), |_| {
            format!("added the remote {name}; `coldkeep remote scan {name}` shows what it lets you see")
        })
    }
}

impl Update {
    async fn run(self, shell: &Shell) -> Result<()> {
        let Self { name, host, auth_id, password_file, password, facts, delete, target } = self;
        let Facts { port, fingerprint, comment } = facts;
        let has_facts = host.is_some() || port.is_some() || fingerprint.is_some() || comment.is_some();
        if !has_facts && auth_id.is_none() && password_file.is_none() && !password && delete.is_empty() {
            bail!("say what to change, as in --host far.example.com or --password");
        }
        let secret = match password_file {
            Some(path) => Some(secret_in(&path)?),
            None if password => Some(secret_of(&format!("the remote {name}"), shell)?),
            None => None,
        };
        let (host, port) = (host.map(|host| host.to_string()), port.map(NonZeroU16::get));
        let update = RemoteUpdate { host, port, auth_id, secret, fingerprint, comment, delete };
        let change = async |client: Client| {
            let changed = client.update_remote(&name, &update).await;
            changed.with_context(|| format!("cannot change the remote {name}"))
        };
        target.run_on_server(shell, Missing::Refuse, change).await?;
        shell.show(&json!({ "changed": name }), |_| format!("changed the remote {name}"))
    }
}

/// Reads a secret from a file.
fn secret_in(path: &Path) -> Result<Secret> {
    let context = || format!("cannot read the password from {}", path.display());
    let line = first_line(File::open(path).with_context(context)?).with_context(context)?;
    Ok(Secret::new(line.as_str()))
}

/// Takes a secret from the environment, or asks for it.
fn secret_of(whose: &str, shell: &Shell) -> Result<Secret> {
    let secret = match shell.environment.setting(Setting::RemotePassword)? {
        Some(secret) => secret,
        None if secret::can_ask() => secret::ask(&format!("Password or secret of {whose} there: "))?,
        None => bail!(
            "no password of {whose}: give --password-file, or set {} (or _FD, _FILE, _CMD)",
            Setting::RemotePassword.variable()
        ),
    };
    Ok(Secret::new(secret.as_str()))
}

fn table(remotes: &[RemoteItem]) -> String {
    let mut table = Table::new([
        ("remote", Align::Left),
        ("host", Align::Left),
        ("port", Align::Right),
        ("user or token", Align::Left),
        ("certificate", Align::Left),
        ("comment", Align::Left),
    ]);
    for remote in remotes {
        table.push([
            remote.name.to_string(),
            remote.host.clone(),
            remote.port.unwrap_or(DEFAULT_PORT).to_string(),
            remote.auth_id.clone(),
            if remote.fingerprint.is_some() { "pinned" } else { "by authority" }.to_owned(),
            remote.comment.clone().unwrap_or_default(),
        ]);
    }
    table.render("no remotes")
}

fn store_table(stores: &[DatastoreItem]) -> String {
    let mut table =
        Table::new([("datastore", Align::Left), ("content", Align::Left), ("comment", Align::Left)]);
    for store in stores {
        let content = store.backend_type.clone().unwrap_or_default();
        table.push([store.store.to_string(), content, store.comment.clone().unwrap_or_default()]);
    }
    table.render("no datastores")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_how_a_remote_is_trusted() {
        let item = |name: &str, port, fingerprint: Option<&str>| RemoteItem {
            name: name.parse().unwrap(),
            host: "far.example.com".to_owned(),
            port,
            auth_id: "joe@pbs!pull".to_owned(),
            fingerprint: fingerprint.map(str::to_owned),
            comment: None,
        };
        let text = table(&[item("attic", None, None), item("off-site", Some(9), Some("ab:cd"))]);
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "remote    host             port  user or token  certificate   comment",
                "attic     far.example.com  8007  joe@pbs!pull   by authority",
                "off-site  far.example.com     9  joe@pbs!pull   pinned",
            ]
        );
    }
}
