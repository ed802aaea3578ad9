//! `coldkeep login`.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::shell::Shell;
use super::target::{Missing, Target};

/// The arguments of `coldkeep login`.
#[derive(Debug, Args)]
pub(crate) struct Login {
    #[command(flatten)]
    target: Target,
}

impl Login {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let ask = async |store: coldkeep_client::Store| {
            let client = store.client();
            client.login().await?;
            // A token is only looked at with a call.
            Ok((client.authority().to_owned(), client.version().await?))
        };
        let (server, version) = self.target.run(shell, Missing::Refuse, ask).await?;
        let value = json!({ "server": server, "version": version.version, "release": version.release });
        shell.show(&value, |_| {
            format!(
                "{server} (version {}.{}) accepts the credentials; they are not kept, each command takes them from \
                 the environment",
                version.version, version.release
            )
        })
    }
}
