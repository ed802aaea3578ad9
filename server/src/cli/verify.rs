//! `coldkeep verify`.

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_client::VerifyScope;

use super::names::Place;
use super::shell::Shell;
use super::target::{Missing, Target};
use super::task::follow;

/// The arguments of `coldkeep verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Snapshot or group to verify, as host/web1; default: everything in the namespace and below it.
    scope: Option<Place>,
    /// Skip snapshots that were verified before.
    #[arg(long)]
    ignore_verified: bool,
    #[command(flatten)]
    target: Target,
}

impl Verify {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { scope, ignore_verified, target } = self;
        let scope = match scope {
            None => VerifyScope::All,
            Some(Place::Group(group)) => VerifyScope::Group(group),
            Some(Place::Snapshot(snapshot)) => VerifyScope::Snapshot(snapshot),
        };
        let verify = async |store: coldkeep_client::Store| {
            let upid =
                store.start_verify(&scope, ignore_verified).await.context("cannot start the verification")?;
            follow(store.client(), &upid).await.context("the verification failed")
        };
        let status = target.run(shell, Missing::Refuse, verify).await?;
        shell.show(&status, |status| {
            format!("verified: {}", status.exitstatus.as_deref().unwrap_or("unknown"))
        })
    }
}
