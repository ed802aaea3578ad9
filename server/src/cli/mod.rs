//! The command line: one verb a file.

mod data_dir;
mod serve;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use data_dir::default_data_dir;

/// A deduplicating backup server and its client.
#[derive(Debug, Parser)]
#[command(name = "coldkeep", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Folder with everything: configuration, keys, tasks, and the datastores unless they are elsewhere.
    ///
    /// Default: /var/lib/coldkeep for root, else coldkeep in the user's data folder (~/.local/share).
    #[arg(long, global = true, env = "COLDKEEP_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Runs the backup server.
    Serve(serve::Serve),
}

impl Cli {
    /// Does what the command line asks for.
    ///
    /// # Errors
    /// What went wrong, with its causes.
    ///
    /// # Cancel safety
    /// To be awaited to its end by `main`.
    pub async fn run(self) -> anyhow::Result<()> {
        let data_dir = self.data_dir.unwrap_or_else(default_data_dir);
        match self.verb {
            Verb::Serve(serve) => serve.run(data_dir).await,
        }
    }
}
