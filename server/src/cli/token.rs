//! `coldkeep token`: the API tokens of a server.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use coldkeep_client::{AuthId, Client, TokenItem};
use serde_json::json;

use super::shell::Shell;
use super::target::{Missing, Target};
use super::user::{Facts, Identity, identity_table};

/// The arguments of `coldkeep token`.
#[derive(Debug, Args)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the tokens.
    List {
        /// Only those of this user, as joe@pbs.
        user: Option<AuthId>,
        #[command(flatten)]
        target: Target,
    },
    /// Makes a token and prints its secret, which is not shown again.
    #[command(visible_alias = "create")]
    Add {
        /// The name, as joe@pbs!ci.
        token: AuthId,
        #[command(flatten)]
        facts: Facts,
        #[command(flatten)]
        target: Target,
    },
    /// Changes a token; what is not named stays as it is, and so does the secret.
    Update {
        /// The name, as joe@pbs!ci.
        token: AuthId,
        #[command(flatten)]
        facts: Facts,
        #[command(flatten)]
        target: Target,
    },
    /// Removes a token and its rights.
    Remove {
        /// The name, as joe@pbs!ci.
        token: AuthId,
        #[command(flatten)]
        target: Target,
    },
}

impl Tokens {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List { user, target } => {
                let list = async |client: Client| {
                    if let Some(user) = &user {
                        let tokens = client.tokens(user).await;
                        return tokens.with_context(|| format!("cannot list the tokens of {user}"));
                    }
                    let users = client.users(true).await?;
                    Ok(users.into_iter().flat_map(|user| user.tokens.unwrap_or_default()).collect())
                };
                let tokens: Vec<TokenItem> = target.run_on_server(shell, Missing::Refuse, list).await?;
                let shown = |token: TokenItem| {
                    Identity::new(token.tokenid, token.enable, token.expire, token.comment)
                };
                let tokens: Vec<Identity> = tokens.into_iter().map(shown).collect();
                shell.show(&tokens, |tokens| identity_table(tokens, "no tokens"))
            }
            Verb::Add { token, facts, target } => {
                check_is_token(&token)?;
                let facts = facts.into_change();
                let add = async |client: Client| {
                    let made = client.add_token(&token, &facts).await;
                    made.with_context(|| format!("cannot make {token}"))
                };
                let made = target.run_on_server(shell, Missing::Refuse, add).await?;
                shell.show(&json!({ "token": made.tokenid, "secret": made.value }), |_| {
                    format!("token   {token}\nsecret  {}   (shown only this once)", made.value)
                })
            }
            Verb::Update { token, facts, target } => {
                check_is_token(&token)?;
                let change = facts.into_some_change()?;
                let update = async |client: Client| {
                    let changed = client.update_token(&token, &change).await;
                    changed.with_context(|| format!("cannot change {token}"))
                };
                target.run_on_server(shell, Missing::Refuse, update).await?;
                shell.show(&json!({ "changed": token.as_str() }), |_| format!("changed {token}"))
            }
            Verb::Remove { token, target } => {
                check_is_token(&token)?;
                let remove = async |client: Client| {
                    let removed = client.remove_token(&token).await;
                    removed.with_context(|| format!("cannot remove {token}"))
                };
                target.run_on_server(shell, Missing::Refuse, remove).await?;
                shell.show(&json!({ "removed": token.as_str() }), |_| format!("removed {token}"))
            }
        }
    }
}

fn check_is_token(token: &AuthId) -> Result<()> {
    if !token.is_token() {
        bail!("{token} is a user; the name of a token is written as {token}!NAME");
    }
    Ok(())
}
