//! `coldkeep config …`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::failure::BadConfig;
use super::shell::Shell;
use crate::config::{Config, Loaded, effective, example};

/// The arguments of `coldkeep config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigVerbs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Says what is wrong with a configuration, or prints what it comes to.
    ///
    /// Ends with 1 if something is wrong.
    Check {
        /// The file; default coldkeep.toml in the data folder, if it is there.
        file: Option<PathBuf>,
    },
    /// Prints a configuration file with every option, explained and at its default.
    Example,
}

impl ConfigVerbs {
    pub(super) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::Check { file } => check(file, shell).await,
            Verb::Example => shell.show(&json!({ "example": example() }), |_| example()),
        }
    }
}

async fn check(file: Option<PathBuf>, shell: &Shell) -> Result<()> {
    let data_dir = shell.data_folder().path().to_owned();
    let load = move || Config::load(file.as_deref(), &data_dir);
    let Loaded { config, file } = tokio::task::spawn_blocking(load).await?.map_err(BadConfig)?;
    match &file {
        Some(file) => Shell::note_if_watched(&format!("{} is good; with the defaults:", file.display())),
        None => Shell::note_if_watched("There is no file; the defaults hold:"),
    }
    let text = effective(&config);
    shell.show(&json!({ "file": file, "effective": text }), |_| text.clone())
}
