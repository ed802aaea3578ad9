//! How a failure is told: `Error: …`, a line for each cause, and what to do where the command line knows it.

use std::error::Error;
use std::io;

use anyhow::anyhow;
use coldkeep_client::{BackupError, ConnectError, RequestError, RestoreError};

/// Exit code of every failure (spec `client.md` §1) but those that [`exit_code`] tells apart.
pub const FAILURE: u8 = 255;

/// Exit code of a collection that came to its end and found chunks missing.
const MISSING_CHUNKS: u8 = 2;

/// Exit code of `coldkeep config check` if something is wrong.
const BAD_CONFIG: u8 = 1;

/// The configuration that was to be checked is wrong; what is wrong with it stands in the error.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct BadConfig(#[from] pub(crate) crate::config::ConfigError);

/// Chunks that snapshots refer to are missing; the report was shown.
#[derive(Debug, thiserror::Error)]
#[error(
    "{chunks} chunks that snapshots refer to are missing; back these up again, `coldkeep verify` tells what else is broken"
)]
pub(crate) struct MissingChunks {
    pub(crate) chunks: u64,
}

/// Returns the exit code of a command that ended with this error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error {
        error if error.is::<MissingChunks>() => MISSING_CHUNKS,
        error if error.is::<BadConfig>() => BAD_CONFIG,
        _ => FAILURE,
    }
}

/// A signal ended the command.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// Writes the message; empty if there is nobody to tell.
pub fn describe(error: &anyhow::Error) -> String {
    if is_broken_pipe(error) {
        return String::new();
    }
    let mut lines = vec![format!("Error: {error}")];
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Some libraries repeat their cause.
        if !last.contains(&text) {
            lines.push(format!("  caused by: {text}"));
        }
        last = text;
    }
    lines.extend(error.chain().find_map(hint).map(|hint| format!("  hint: {hint}")));
    lines.join("\n")
}

/// Tells whether the reader of standard output has gone away, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_ours = error.to_string() == "cannot write the output";
    let io_error = error.root_cause().downcast_ref::<io::Error>();
    is_ours && io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let request = match (error.downcast_ref::<RestoreError>(), error.downcast_ref::<BackupError>()) {
        (Some(RestoreError::Request(request)), _) | (_, Some(BackupError::Request(request))) => request,
        _ => error.downcast_ref::<RequestError>()?,
    };
    match request {
        RequestError::Connect(ConnectError::Untrusted { .. } | ConnectError::NoRoots) => Some(
            "`coldkeep serve` prints the fingerprint when it starts; if they are the same, set PBS_FINGERPRINT to it",
        ),
        RequestError::Connect(ConnectError::FingerprintMismatch { .. }) => {
            Some("PBS_FINGERPRINT must be the fingerprint that `coldkeep serve` prints when it starts")
        }
        RequestError::Connect(ConnectError::Unreachable { .. } | ConnectError::TimedOut { .. }) => {
            Some("is the server running? A folder is named with a slash, as in ./folder or /srv/backup")
        }
        request if request.is_unauthorized() => {
            Some("PBS_PASSWORD holds the password of the user, or the secret of the token, in the repository")
        }
        _ => None,
    }
}

/// Makes an error that lists what there is instead.
pub(crate) fn not_among(what: &str, there_are: &[String]) -> anyhow::Error {
    if there_are.is_empty() {
        anyhow!("{what}; there are none")
    } else {
        anyhow!("{what}; there are {}", there_are.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn causes_follow_and_repetitions_are_left_out() {
        let error = anyhow!("disk on fire").context("cannot read x: disk on fire").context("cannot restore");
        assert_eq!(describe(&error), "Error: cannot restore\n  caused by: cannot read x: disk on fire");
    }

    #[test]
    fn connection_failures_say_what_to_do() {
        let connect = || RequestError::Connect(ConnectError::NoRoots);
        for error in [
            anyhow::Error::from(connect()),
            RestoreError::Request(connect()).into(),
            anyhow::Error::from(BackupError::Request(connect())).context("x"),
        ] {
            assert!(describe(&error).contains("set PBS_FINGERPRINT"), "{}", describe(&error));
        }
    }

    #[test]
    fn missing_chunks_have_an_exit_code_of_their_own() {
        assert_eq!(exit_code(&MissingChunks { chunks: 3 }.into()), 2);
        assert_eq!(exit_code(&anyhow!("disk on fire")), 255);
        assert_eq!(exit_code(&Interrupted.into()), 255);
    }

    #[test]
    fn a_reader_who_goes_away_is_not_told_of_it() {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let error = Err::<(), _>(gone()).context("cannot write the output").unwrap_err();
        assert_eq!(describe(&error), "");
        let error = Err::<(), _>(gone()).context("cannot reach the server").unwrap_err();
        assert_ne!(describe(&error), "");
    }
}
