//! `coldkeep datastore refresh`.

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_datastore::{Namespace, StoreName};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::audited;
use crate::Server;
use crate::cli::shell::Shell;
use crate::cli::target::{Missing, Target, run_on_folder};
use crate::cli::task::follow;

/// The arguments of `coldkeep datastore refresh`.
#[derive(Debug, Args)]
pub(super) struct Refresh {
    /// The name.
    name: StoreName,
    /// Take the bucket over from the server that has it open.
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    target: Target,
}

impl Refresh {
    pub(super) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { name, take_over, target } = self;
        let failed = || format!("cannot refresh the datastore {name}");
        if target.is_local(shell)? {
            let takeover = if take_over { Takeover::Force } else { Takeover::Refuse };
            let refresh = async |server: &Server| {
                let stop = CancellationToken::new();
                let tell = |state: String| Shell::note_if_watched(&state);
                let refreshed = async {
                    let refreshed = Box::pin(server.refresh_datastore(&name, takeover, &stop, tell)).await;
                    refreshed.with_context(failed)
                };
                audited(server, "datastore refresh", &name, refreshed).await
            };
            run_on_folder(shell, Missing::Refuse, refresh).await?;
        } else {
            let refresh = async |store: coldkeep_client::Store| {
                let store = store.client().store(name.clone(), Namespace::root());
                let upid = store.start_refresh(take_over).await.with_context(failed)?;
                follow(store.client(), &upid).await.with_context(failed)
            };
            target.run(shell, Missing::Refuse, refresh).await?;
        }
        shell.show(&json!({ "name": name }), |_| format!("refreshed the datastore {name}"))
    }
}
