//! `coldkeep verify`.

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_client::{VerifyOptions, VerifyScope};

use super::human;
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
    /// With --ignore-verified: days after which a verification no longer counts.
    #[arg(long, value_name = "DAYS", requires = "ignore_verified")]
    outdated_after: Option<u32>,
    /// Chunks that are read and checked at once, 1 to 32; default: 4. Each may take twice its size in memory.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=32))]
    threads: Option<u8>,
    /// Read so many bytes a second at most; K, M, G and T stand for powers of 1024.
    #[arg(long, value_name = "BYTES", value_parser = human::parse_bytes)]
    rate_limit: Option<u64>,
    #[command(flatten)]
    target: Target,
}

impl Verify {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { scope, ignore_verified, outdated_after, threads, rate_limit, target } = self;
        let options = VerifyOptions { ignore_verified, outdated_after, threads, max_read_rate: rate_limit };
        let scope = match scope {
            None => VerifyScope::All,
            Some(Place::Group(group)) => VerifyScope::Group(group),
            Some(Place::Snapshot(snapshot)) => VerifyScope::Snapshot(snapshot),
        };
        let verify = async |store: coldkeep_client::Store| {
            let upid = store.start_verify(&scope, &options).await.context("cannot start the verification")?;
            follow(store.client(), &upid).await.context("the verification failed")
        };
        let status = target.run(shell, Missing::Refuse, verify).await?;
        shell.show(&status, |status| {
            format!("verified: {}", status.exitstatus.as_deref().unwrap_or("unknown"))
        })
    }
}
