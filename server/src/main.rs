//! The `coldkeep` command.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use coldkeep_server::cli::{Cli, FAILURE, describe, exit_code};
use coldkeep_server::config::{LogConfig, LogFormat};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; if they cannot be printed, nobody reads them.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.prepare() {
        Ok(log) => start_log(&log),
        Err(error) => {
            eprintln!("{}", describe(&error));
            return ExitCode::from(exit_code(&error));
        }
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: cannot start the runtime\n  caused by: {error}");
            return ExitCode::from(FAILURE);
        }
    };
    let result = runtime.block_on(cli.run());
    // Everything is closed; what may still block is a read from standard input.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = describe(&error);
            if !text.is_empty() {
                eprintln!("{text}");
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Sends the log to standard error, as it was configured.
fn start_log(log: &LogConfig) {
    let filter = EnvFilter::try_from_env("COLDKEEP_LOG").unwrap_or_else(|_| EnvFilter::new(&log.level));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
