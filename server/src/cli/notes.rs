//! `coldkeep notes`.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::json;

use super::names::Place;
use super::shell::Shell;
use super::table::printable;
use super::target::{Missing, Target};

/// The arguments of `coldkeep notes`.
#[derive(Debug, Args)]
pub(crate) struct Notes {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Prints the notes of a snapshot or group.
    Show {
        /// Snapshot or group, as host/web1.
        place: Place,
        #[command(flatten)]
        target: Target,
    },
    /// Replaces the notes of a snapshot or group.
    Set {
        /// Snapshot or group, as host/web1.
        place: Place,
        /// The new notes.
        text: String,
        #[command(flatten)]
        target: Target,
    },
}

impl Notes {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::Show { place, target } => {
                let read = async |store: coldkeep_client::Store| {
                    let notes = match &place {
                        Place::Group(group) => store.group_notes(group).await,
                        Place::Snapshot(snapshot) => store.notes(snapshot).await,
                    };
                    notes.with_context(|| format!("cannot read the notes of {place}"))
                };
                let notes = target.run(shell, Missing::Refuse, read).await?;
                shell.show(&json!({ "of": place.to_string(), "notes": notes }), |_| lines(&notes))
            }
            Verb::Set { place, text, target } => {
                let write = async |store: coldkeep_client::Store| {
                    let written = match &place {
                        Place::Group(group) => store.set_group_notes(group, &text).await,
                        Place::Snapshot(snapshot) => store.set_notes(snapshot, &text).await,
                    };
                    written.with_context(|| format!("cannot set the notes of {place}"))
                };
                target.run(shell, Missing::Refuse, write).await?;
                shell.show(&json!({ "of": place.to_string(), "notes": text }), |_| {
                    format!("notes of {place} set")
                })
            }
        }
    }
}

/// Keeps line ends only, as notes may be written by others.
fn lines(notes: &str) -> String {
    notes.lines().map(|line| printable(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_cannot_steer_the_terminal() {
        assert_eq!(lines("a\x1b[2J\nb"), "a\u{fffd}[2J\nb\n");
    }
}
