//! The options that say which keys a bucket is used with.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use coldkeep_s3_client::Credentials;
use zeroize::Zeroizing;

use crate::cli::environment::first_line;
use crate::cli::secret;
use crate::cli::shell::Shell;

/// Which keys a bucket is used with.
#[derive(Debug, Args)]
pub(super) struct Keys {
    /// Access key; its secret key is the first line of --secret-key-file, or is asked for, or comes by a pipe.
    ///
    /// Default: the environment's `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and perhaps `AWS_SESSION_TOKEN`. The keys
    /// are kept in a file of their own, secrets/s3-NAME.json in the data folder, which only its owner may read.
    #[arg(long, value_name = "KEY", conflicts_with = "credentials_file")]
    access_key: Option<String>,
    /// File whose first line is the secret key.
    #[arg(long, value_name = "FILE", requires = "access_key")]
    secret_key_file: Option<PathBuf>,
    /// File with profiles, as other tools have it in ~/.aws/credentials.
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// The profile in that file.
    #[arg(long, value_name = "NAME", default_value = "default", requires = "credentials_file")]
    profile: String,
    /// Keep no keys: the environment of each command and of the server has them.
    #[arg(long, conflicts_with_all = ["access_key", "credentials_file"])]
    access_key_env: bool,
}

impl Keys {
    /// Returns the keys that were given for a new store; `None` if none are to be kept.
    pub(super) fn for_new_store(&self, shell: &Shell) -> Result<Option<Credentials>> {
        if let Some(given) = self.given()? {
            return Ok(Some(given));
        }
        let Some(found) = shell.environment.s3_credentials()? else {
            bail!(
                "no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --access-key or --credentials-file"
            );
        };
        Ok((!self.access_key_env).then_some(found))
    }

    /// Returns the keys that were given on the command line.
    pub(super) fn given(&self) -> Result<Option<Credentials>> {
        if let Some(path) = &self.credentials_file {
            let context = || format!("cannot use {}", path.display());
            let text = Zeroizing::new(std::fs::read_to_string(path).with_context(context)?);
            return Credentials::from_profile(&text, &self.profile).map(Some).with_context(context);
        }
        let Some(access_key) = &self.access_key else { return Ok(None) };
        let secret_key = self.secret_key()?;
        let keys = Credentials::new(access_key, secret_key.as_str()).context("the keys cannot be used")?;
        Ok(Some(keys))
    }

    fn secret_key(&self) -> Result<Zeroizing<String>> {
        if let Some(path) = &self.secret_key_file {
            let context = || format!("cannot read the secret key from {}", path.display());
            return first_line(File::open(path).with_context(context)?).with_context(context);
        }
        if secret::can_ask() {
            return secret::ask("Secret key: ");
        }
        first_line(std::io::stdin()).context("cannot read the secret key from standard input")
    }
}
