//! The command line: one verb a file.
//!
//! A verb gets its options and a shell (environment, output format, data folder), connects through its target
//! (a server, or the embedded one), does its calls with `coldkeep-client`, and shows one result on standard output.

mod acl;
mod backup;
mod change_owner;
mod config;
mod data_dir;
mod datastore;
mod environment;
mod failure;
mod forget;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gc;
mod human;
mod job;
mod location;
mod login;
mod ls;
mod move_group;
mod names;
mod namespace;
mod notes;
mod progress;
mod protect;
mod prune;
mod pull;
mod push;
mod remote;
mod restore;
mod secret;
mod serve;
mod service;
mod shell;
mod signals;
mod snapshots;
mod source;
mod status;
mod table;
mod target;
mod task;
mod token;
mod user;
mod verify;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use data_dir::default_data_dir;
pub use failure::{FAILURE, describe, exit_code};
pub(crate) use human::parse_bytes;

use crate::config::LogConfig;
use location::DataFolder;
use shell::{OutputFormat, Shell};

/// A deduplicating backup server and its client.
#[derive(Debug, Parser)]
#[command(name = "coldkeep", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Folder with everything: configuration, keys, tasks, and the datastores unless they are elsewhere.
    ///
    /// Default: /var/lib/coldkeep for root, else coldkeep in the user's data folder (~/.local/share).
    #[arg(long, global = true, env = "COLDKEEP_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Form of the result on standard output.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the backup server.
    Serve(serve::Serve),
    /// Backs files up as a new snapshot.
    Backup(backup::Backup),
    /// Writes an archive of a snapshot to a file or to standard output.
    Restore(restore::Restore),
    /// Lists snapshots.
    Snapshots(snapshots::Snapshots),
    /// Lists the files of a snapshot.
    Ls(ls::Ls),
    /// Removes a snapshot; the space is freed by the next gc.
    Forget(forget::Forget),
    /// Removes the snapshots that no rule keeps.
    Prune(prune::Prune),
    /// Copies groups of another server into a datastore here, and waits for the end of it.
    Pull(pull::Pull),
    /// Copies groups of a datastore here to another server, and waits for the end of it.
    Push(push::Push),
    /// Removes chunks that no snapshot needs, and waits for the end of it.
    Gc(gc::Gc),
    /// Reads snapshots back and checks every chunk.
    Verify(verify::Verify),
    /// Shows the space and content of the datastore.
    Status(status::Status),
    /// Shows or sets the notes of a snapshot or group.
    Notes(notes::Notes),
    /// Protects a snapshot from removal.
    Protect(protect::Protect),
    /// Gives a group to another user or token.
    ChangeOwner(change_owner::ChangeOwner),
    /// Moves a group into another namespace, with all that goes with it.
    Move(move_group::Move),
    /// Lists, makes and removes namespaces.
    Namespace(namespace::NamespaceVerbs),
    /// Lists tasks, prints their logs, stops them.
    Task(task::Task),
    /// Checks that the server accepts the credentials.
    Login(login::Login),
    /// Manages the datastores.
    Datastore(datastore::Datastores),
    /// Manages the users.
    User(user::Users),
    /// Manages the API tokens.
    Token(token::Tokens),
    /// Manages the access list: who may do what.
    Acl(acl::AclVerbs),
    /// Manages what a server does by itself: collections, prunes, verifications, pulls and pushes.
    Job(job::Jobs),
    /// Manages the other servers that backups are pulled from and pushed to.
    Remote(remote::Remotes),
    /// Checks the configuration of the server, or prints an example.
    Config(config::ConfigVerbs),
}

impl Cli {
    /// Returns what is logged unless the environment says otherwise, and how: a server tells what its configuration says, a
    /// command only what is wrong. Blocks: reads the configuration of a server.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn prepare(&mut self) -> anyhow::Result<LogConfig> {
        let folder = self.data_dir.clone().unwrap_or_else(default_data_dir);
        match &mut self.verb {
            Verb::Serve(serve) => serve.read_config(&folder),
            _ => Ok(LogConfig { level: "warn".to_owned(), ..LogConfig::default() }),
        }
    }

    /// Does what the command line asks for.
    ///
    /// # Errors
    /// What went wrong, with its causes; [`describe`] writes it for people.
    ///
    /// # Cancel safety
    /// To be awaited to its end by `main`.
    pub async fn run(self) -> anyhow::Result<()> {
        let folder = match self.data_dir {
            Some(folder) => DataFolder::Named(folder),
            None => DataFolder::Default(default_data_dir()),
        };
        let shell = &Shell::new(folder, self.output);
        match self.verb {
            Verb::Serve(serve) => serve.run(shell).await,
            Verb::Backup(verb) => Box::pin(verb.run(shell)).await,
            Verb::Restore(verb) => verb.run(shell).await,
            Verb::Snapshots(verb) => verb.run(shell).await,
            Verb::Ls(verb) => verb.run(shell).await,
            Verb::Forget(verb) => verb.run(shell).await,
            Verb::Prune(verb) => verb.run(shell).await,
            Verb::Pull(verb) => verb.run(shell).await,
            Verb::Push(verb) => verb.run(shell).await,
            Verb::Gc(verb) => verb.run(shell).await,
            Verb::Verify(verb) => verb.run(shell).await,
            Verb::Status(verb) => verb.run(shell).await,
            Verb::Notes(verb) => verb.run(shell).await,
            Verb::Protect(verb) => verb.run(shell).await,
            Verb::ChangeOwner(verb) => verb.run(shell).await,
            Verb::Move(verb) => verb.run(shell).await,
            Verb::Namespace(verb) => verb.run(shell).await,
            Verb::Task(verb) => verb.run(shell).await,
            Verb::Login(verb) => verb.run(shell).await,
            Verb::Datastore(verb) => verb.run(shell).await,
            Verb::User(verb) => verb.run(shell).await,
            Verb::Token(verb) => verb.run(shell).await,
            Verb::Acl(verb) => verb.run(shell).await,
            Verb::Job(verb) => Box::pin(verb.run(shell)).await,
            Verb::Remote(verb) => verb.run(shell).await,
            Verb::Config(verb) => verb.run(shell).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config::LogFormat;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_the_server_logs_what_it_does() {
        let log = |args: &[&str]| Cli::try_parse_from(args).unwrap().prepare().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let serve = ["coldkeep", "serve", "--data-dir", folder.path().to_str().unwrap()];
        assert_eq!(log(&serve).level, "info");
        assert_eq!(log(&["coldkeep", "snapshots", "--output", "json"]).level, "warn");
        std::fs::write(folder.path().join("coldkeep.toml"), "[log]\nlevel = 'debug'\nformat = 'json'")
            .unwrap();
        assert_eq!(log(&serve), LogConfig { level: "debug".to_owned(), format: LogFormat::Json });
        let flags = [&serve[..], &["--log-level", "trace", "--log-format", "human"]].concat();
        assert_eq!(log(&flags), LogConfig { level: "trace".to_owned(), format: LogFormat::Human });
    }

    #[test]
    fn bad_arguments_are_refused() {
        for bad in [
            &["coldkeep"][..],
            &["coldkeep", "backup"],
            &["coldkeep", "backup", "a.img:/x", "--backup-type", "disk"],
            &["coldkeep", "backup", "a.img:/x", "--backup-id", "../x"],
            &["coldkeep", "backup", "a.img:/x", "--backup-time", "yesterday"],
            &["coldkeep", "backup", "a.img:/x", "--ns", "a//b"],
            &["coldkeep", "restore", "host/a"],
            &["coldkeep", "restore", "a", "x.img", "y"],
            &["coldkeep", "snapshots", "--output", "xml"],
            &["coldkeep", "prune", "--keep-last", "0"],
            &["coldkeep", "remote", "add", "off-site", "--auth-id", "joe@pbs"],
            &["coldkeep", "remote", "add", "off-site", "--auth-id", "joe@pbs", "--host", "a b"],
            &["coldkeep", "remote", "add", "off-site", "--auth-id", "joe@pbs", "--host", "a", "--port", "0"],
            &["coldkeep", "remote", "add", "off-site", "--auth-id", "joe", "--host", "a"],
            &["coldkeep", "remote", "add", "..", "--auth-id", "joe@pbs", "--host", "a"],
            &["coldkeep", "remote", "update", "off-site", "--delete", "host"],
            &["coldkeep", "remote", "update", "off-site", "--password", "--password-file", "x"],
            &["coldkeep", "serve", "--log-level", "x=y=z"],
            &["coldkeep", "serve", "--log-format", "xml"],
            &["coldkeep", "job", "add", "gc", "x", "default"],
            &["coldkeep", "job", "add", "gc", "nightly", "default", "--schedule", "now and then"],
            &["coldkeep", "job", "add", "gc", "nightly", "default", "--keep-last", "1"],
            &["coldkeep", "job", "add", "gc", "nightly", "default", "--notify-url", "ftp://a/"],
            &["coldkeep", "job", "add", "prune", "nightly", "default", "--keep-last", "0"],
            &["coldkeep", "job", "add", "pull", "nightly", "default", "default"],
            &["coldkeep", "job", "update", "nightly", "--retries", "11"],
            &["coldkeep", "user", "add", "joe"],
            &["coldkeep", "user", "update", "joe@pbs", "--enable", "--disable"],
            &["coldkeep", "token", "add", "joe@pbs!ci", "--expire", "tomorrow"],
            &["coldkeep", "acl", "set", "datastore", "joe@pbs", "Admin"],
            &["coldkeep", "acl", "set", "/", "joe@pbs", "Administrator"],
            &["coldkeep", "nonsense"],
        ] {
            assert!(Cli::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}
