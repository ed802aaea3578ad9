//! `coldkeep token`: the API tokens of a data folder.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::json;

use super::shell::Shell;
use super::target::{Missing, run_on_folder};
use super::user::{Identity, identity_table};
use crate::Server;
use crate::auth::AuthId;

/// The arguments of `coldkeep token`.
#[derive(Debug, Args)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the tokens.
    List,
    /// Makes a token and prints its secret, which is not shown again.
    Create {
        /// The name, as joe@pbs!ci.
        token: AuthId,
        /// Free text.
        #[arg(long)]
        comment: Option<String>,
    },
    /// Removes a token and its rights.
    Remove {
        /// The name, as joe@pbs!ci.
        token: AuthId,
    },
}

impl Tokens {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List => {
                let list = async |server: &Server| Ok(server.identities().tokens());
                let tokens = run_on_folder(shell, Missing::Refuse, list).await?;
                let tokens: Vec<Identity> = tokens
                    .into_iter()
                    .map(|token| Identity::new(token.token, token.enabled, token.expire_at, token.comment))
                    .collect();
                shell.show(&tokens, |tokens| identity_table(tokens, "no tokens"))
            }
            Verb::Create { token, comment } => {
                let create = async |server: &Server| {
                    let made = server.identities().add_token(token.clone(), comment).await;
                    made.with_context(|| format!("cannot make {token}"))
                };
                let secret = run_on_folder(shell, Missing::Refuse, create).await?;
                shell.show(&json!({ "token": token, "secret": *secret }), |_| {
                    format!("token   {token}\nsecret  {}   (shown only this once)", *secret)
                })
            }
            Verb::Remove { token } => {
                let remove = async |server: &Server| {
                    let removed = server.identities().remove_token(&token).await;
                    removed.with_context(|| format!("cannot remove {token}"))
                };
                run_on_folder(shell, Missing::Refuse, remove).await?;
                shell.show(&json!({ "removed": token }), |_| format!("removed {token}"))
            }
        }
    }
}
