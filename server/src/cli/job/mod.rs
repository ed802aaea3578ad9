//! `coldkeep job`: what a server does by itself.

mod options;
mod show;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use coldkeep_client::{Client, JobId, JobKind, JobOptions, JobSettings};
use coldkeep_datastore::StoreName;
use serde_json::json;

use super::pull::{LocalPlace, RemotePlace};
use super::shell::Shell;
use super::target::{Missing, Target};
use super::task::follow;
use options::{Collection, Common, Depth, Keep, PullOptions, Sync, VerifyOptions};

/// The arguments of `coldkeep job`.
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the jobs: when they run next, and how they ended last.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Shows everything about a job.
    Show {
        /// The id.
        id: JobId,
        #[command(flatten)]
        target: Target,
    },
    /// Adds a job. `coldkeep serve` runs it by its schedule; a folder that no server has open runs nothing.
    Add {
        #[command(subcommand)]
        what: Box<Add>,
    },
    /// Changes a job; what is not named stays as it is. To change what it is about, remove it and add another.
    Update(Box<Update>),
    /// Removes a job; a run that is under way goes on.
    Remove {
        /// The id.
        id: JobId,
        #[command(flatten)]
        target: Target,
    },
    /// Runs a job now, whether it is enabled or not.
    Run {
        /// The id.
        id: JobId,
        /// Wait for the end, and fail if the job fails; on a folder that is always so.
        #[arg(long)]
        follow: bool,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
enum Add {
    /// Removes chunks that no snapshot needs.
    Gc {
        /// The id.
        id: JobId,
        /// The datastore.
        store: StoreName,
        #[command(flatten)]
        collection: Collection,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        target: Target,
    },
    /// Removes the snapshots that no rule keeps.
    Prune {
        /// The id.
        id: JobId,
        /// The datastore and, if it is not the root, the namespace.
        #[arg(value_name = "STORE[/NS]")]
        place: LocalPlace,
        #[command(flatten)]
        keep: Keep,
        #[command(flatten)]
        depth: Depth,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        target: Target,
    },
    /// Reads snapshots back and checks every chunk.
    Verify {
        /// The id.
        id: JobId,
        /// The datastore and, if it is not the root, the namespace.
        #[arg(value_name = "STORE[/NS]")]
        place: LocalPlace,
        #[command(flatten)]
        verify: VerifyOptions,
        #[command(flatten)]
        depth: Depth,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        target: Target,
    },
    /// Copies groups of another server into a datastore here.
    Pull {
        /// The id.
        id: JobId,
        /// What to copy: the name of a remote, its datastore and, if it is not the root, its namespace.
        #[arg(value_name = "REMOTE:STORE[/NS]")]
        source: RemotePlace,
        /// Where to: a datastore here and, if it is not the root, a namespace.
        #[arg(value_name = "STORE[/NS]")]
        into: LocalPlace,
        #[command(flatten)]
        sync: Sync,
        #[command(flatten)]
        pull: PullOptions,
        #[command(flatten)]
        depth: Depth,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        target: Target,
    },
    /// Copies groups of a datastore here to another server.
    Push {
        /// The id.
        id: JobId,
        /// What to copy: a datastore here and, if it is not the root, its namespace.
        #[arg(value_name = "STORE[/NS]")]
        from: LocalPlace,
        /// Where to: the name of a remote, its datastore and, if it is not the root, a namespace.
        #[arg(value_name = "REMOTE:STORE[/NS]")]
        into: RemotePlace,
        #[command(flatten)]
        sync: Sync,
        #[command(flatten)]
        depth: Depth,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Args)]
struct Update {
    /// The id.
    id: JobId,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    depth: Depth,
    #[command(flatten)]
    collection: Collection,
    #[command(flatten)]
    keep: Keep,
    #[command(flatten)]
    verify: VerifyOptions,
    #[command(flatten)]
    sync: Sync,
    #[command(flatten)]
    pull: PullOptions,
    /// Unset something: `schedule`, `notify-url`, `notify-secret`, `comment`, or an option of the job, named as in
    /// `coldkeep job show --output json`.
    #[arg(long, value_name = "PROPERTY", value_delimiter = ',')]
    delete: Vec<String>,
    #[command(flatten)]
    target: Target,
}

/// A job as it is to be added.
struct New {
    id: JobId,
    kind: JobKind,
    store: StoreName,
    common: Common,
    options: JobOptions,
    target: Target,
}

impl Jobs {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List { target } => {
                let list = async |client: Client| Ok(client.jobs().await?);
                let jobs = target.run_on_server(shell, Missing::Refuse, list).await?;
                shell.show(&jobs, |jobs| show::table(jobs))
            }
            Verb::Show { id, target } => {
                let get = async |client: Client| Ok(client.job(&id).await?);
                let job = target.run_on_server(shell, Missing::Refuse, get).await?;
                shell.show(&job, show::describe)
            }
            Verb::Add { what } => Box::pin(what.into_new().run(shell)).await,
            Verb::Update(verb) => Box::pin(verb.run(shell)).await,
            Verb::Remove { id, target } => {
                let remove = async |client: Client| {
                    client.remove_job(&id).await.with_context(|| format!("cannot remove the job {id}"))
                };
                target.run_on_server(shell, Missing::Refuse, remove).await?;
                shell.show(&json!({ "removed": id }), |_| format!("removed the job {id}"))
            }
            Verb::Run { id, follow, target } => run(shell, &id, follow, &target).await,
        }
    }
}

impl Add {
    fn into_new(self) -> New {
        match self {
            Self::Gc { id, store, collection, common, target } => {
                let mut options = JobOptions::default();
                collection.add_to(&mut options);
                New { id, kind: JobKind::Gc, store, common, options, target }
            }
            Self::Prune { id, place, keep, depth, common, target } => {
                let mut options = at(&place);
                keep.add_to(&mut options);
                depth.add_to(&mut options);
                New { id, kind: JobKind::Prune, store: place.store, common, options, target }
            }
            Self::Verify { id, place, verify, depth, common, target } => {
                let mut options = at(&place);
                verify.add_to(&mut options);
                depth.add_to(&mut options);
                New { id, kind: JobKind::Verify, store: place.store, common, options, target }
            }
            Self::Pull { id, source, into, sync, pull, depth, common, target } => {
                let mut options = between(&into, source);
                sync.add_to(&mut options, JobKind::Pull);
                pull.add_to(&mut options);
                depth.add_to(&mut options);
                New { id, kind: JobKind::Pull, store: into.store, common, options, target }
            }
            Self::Push { id, from, into, sync, depth, common, target } => {
                let mut options = between(&from, into);
                sync.add_to(&mut options, JobKind::Push);
                depth.add_to(&mut options);
                New { id, kind: JobKind::Push, store: from.store, common, options, target }
            }
        }
    }
}

/// Returns the options that say where in a datastore.
fn at(place: &LocalPlace) -> JobOptions {
    JobOptions { ns: (!place.ns.is_root()).then(|| place.ns.clone()), ..JobOptions::default() }
}

/// Returns the options that say between which places.
fn between(here: &LocalPlace, there: RemotePlace) -> JobOptions {
    let RemotePlace { remote, place } = there;
    JobOptions {
        remote: Some(remote),
        remote_ns: (!place.ns.is_root()).then_some(place.ns),
        remote_store: Some(place.store),
        ..at(here)
    }
}

impl New {
    async fn run(self, shell: &Shell) -> Result<()> {
        let Self { id, kind, store, common, options, target } = self;
        let has_schedule = common.has_schedule();
        let settings = JobSettings { options, ..common.settings()? };
        let add = async |client: Client| {
            let added = client.add_job(&id, (kind, &store), &settings).await;
            added.with_context(|| format!("cannot add the job {id}"))
        };
        target.run_on_server(shell, Missing::Create, add).await?;
        shell.show(&json!({ "added": id }), |_| {
            let how =
                if has_schedule { "`coldkeep job list` shows when it runs" } else { "it has no schedule" };
            format!("added the job {id}; {how}, `coldkeep job run {id}` runs it now")
        })
    }
}

impl Update {
    async fn run(self, shell: &Shell) -> Result<()> {
        let Self { id, common, depth, collection, keep, verify, sync, pull, delete, target } = self;
        let mut options = JobOptions::default();
        depth.add_to(&mut options);
        collection.add_to(&mut options);
        keep.add_to(&mut options);
        verify.add_to(&mut options);
        pull.add_to(&mut options);
        if common.is_empty() && options == JobOptions::default() && sync.is_empty() && delete.is_empty() {
            bail!("say what to change, as in --schedule 'mon..fri 02:30' or --keep-last 7");
        }
        let settings = common.settings()?;
        let change = async |client: Client| {
            let mut options = options;
            if !sync.is_empty() {
                // The direction decides which rate it is that is limited.
                sync.add_to(&mut options, client.job(&id).await?.kind);
            }
            let settings = JobSettings { options, ..settings };
            let changed = client.update_job(&id, &settings, &delete).await;
            changed.with_context(|| format!("cannot change the job {id}"))
        };
        target.run_on_server(shell, Missing::Refuse, change).await?;
        shell.show(&json!({ "changed": id }), |_| format!("changed the job {id}"))
    }
}

async fn run(shell: &Shell, id: &JobId, follows: bool, target: &Target) -> Result<()> {
    // A folder is closed at the end of the command, and nothing runs on.
    let follows = follows || target.is_local(shell)?;
    let run = async |client: Client| {
        let upid = client.run_job(id).await.with_context(|| format!("cannot run the job {id}"))?;
        if !follows {
            return Ok((upid, None));
        }
        let status = follow(&client, &upid).await.with_context(|| format!("the job {id} failed"))?;
        Ok((upid, status.exitstatus))
    };
    let (upid, state) = target.run_on_server(shell, Missing::Refuse, run).await?;
    let shown = match &state {
        Some(state) => json!({ "upid": upid, "state": state }),
        None => json!({ "upid": upid }),
    };
    shell.show(&shown, |_| state.map_or(upid, |state| format!("job {id}: {state}")))
}
