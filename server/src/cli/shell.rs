//! Standard output and standard error: one result on the one, everything else on the other.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use super::environment::Environment;
use super::location::DataFolder;

/// The form of the result on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// Exactly one JSON object or array.
    Json,
}

/// What every verb works with beside its own options.
#[derive(Debug)]
pub(crate) struct Shell {
    /// The environment.
    pub(crate) environment: Environment,
    data_folder: DataFolder,
    output: OutputFormat,
}

impl Shell {
    /// Makes the shell of this process.
    pub(crate) fn new(data_folder: DataFolder, output: OutputFormat) -> Self {
        Self { environment: Environment::of_process(), data_folder, output }
    }

    /// Returns the data folder of this command line.
    pub(crate) fn data_folder(&self) -> &DataFolder {
        &self.data_folder
    }

    /// Tells whether a person watches: progress is drawn only then.
    pub(crate) fn is_watched() -> bool {
        io::stderr().is_terminal()
    }

    /// Writes the result of a verb: `value` as JSON, or the text made of it.
    pub(crate) fn show<T: Serialize + ?Sized>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        let mut written = match self.output {
            OutputFormat::Text => text(value),
            OutputFormat::Json => serde_json::to_string_pretty(value)? + "\n",
        };
        if !written.is_empty() && !written.ends_with('\n') {
            written.push('\n');
        }
        let mut out = io::stdout().lock();
        out.write_all(written.as_bytes()).and_then(|()| out.flush()).context("cannot write the output")
    }

    /// Tells something beside the result, on standard error.
    pub(crate) fn note(text: &str) {
        // A message that nobody can read is no reason to fail.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// As [`note`](Self::note), but only to a person.
    pub(crate) fn note_if_watched(text: &str) {
        if Self::is_watched() {
            Self::note(text);
        }
    }
}
