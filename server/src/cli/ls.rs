//! `coldkeep ls`.

use anyhow::{Context, Result};
use clap::Args;
use coldkeep_client::FileItem;

use super::human;
use super::names::Place;
use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, Target};

/// The arguments of `coldkeep ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Snapshot, as host/web1/2026-01-31T12:00:00Z, or group, as host/web1, for its newest one.
    snapshot: Place,
    #[command(flatten)]
    target: Target,
}

impl Ls {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let list = async |store: coldkeep_client::Store| {
            let snapshot = self.snapshot.snapshot(&store).await?;
            store.files(&snapshot).await.with_context(|| format!("cannot list the files of {snapshot}"))
        };
        let files = self.target.run(shell, Missing::Refuse, list).await?;
        shell.show(&files, |files| table(files))
    }
}

fn table(files: &[FileItem]) -> String {
    let mut table = Table::new([("file", Align::Left), ("size", Align::Right), ("encryption", Align::Left)]);
    for file in files {
        table.push([
            file.filename.clone(),
            file.size.map(human::bytes).unwrap_or_default(),
            file.crypt_mode.clone().unwrap_or_default(),
        ]);
    }
    table.render("no files")
}
