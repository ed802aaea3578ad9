//! `coldkeep push`.

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_client::{Client, PushRequest};

use super::human;
use super::pull::{LocalPlace, RemotePlace, Selection, outcome, show};
use super::shell::Shell;
use super::target::{Missing, Target};

/// The arguments of `coldkeep push`.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// What to copy: a datastore here and, if it is not the root, its namespace.
    #[arg(value_name = "STORE[/NS]")]
    from: LocalPlace,
    /// Where to: the name of a remote, its datastore and, if it is not the root, a namespace.
    #[arg(value_name = "REMOTE:STORE[/NS]")]
    into: RemotePlace,
    #[command(flatten)]
    selection: Selection,
    /// Send so many bytes a second at most; K, M, G and T stand for powers of 1024.
    #[arg(long, value_name = "BYTES", value_parser = human::parse_bytes)]
    rate_limit: Option<u64>,
    #[command(flatten)]
    target: Target,
}

impl Push {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let request = self.request();
        let push = async |client: Client| {
            let upid = client.start_push(&request).await.context("cannot start the push")?;
            outcome(&client, upid).await
        };
        let outcome = self.target.run_on_store(shell, Missing::Refuse, &self.from.store, push).await?;
        show(shell, &outcome, "push")
    }

    fn request(&self) -> PushRequest {
        let Self { from, into, selection, rate_limit, .. } = self;
        let remote = into.remote.to_string();
        let mut request = PushRequest::new(from.store.clone(), remote, into.place.store.clone());
        request.ns = from.ns.clone();
        request.remote_ns = into.place.ns.clone();
        request.selection = selection.into();
        request.rate_out = *rate_limit;
        request
    }
}
