//! The `coldkeep` command.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use coldkeep_server::cli::{Cli, FAILURE, describe, exit_code};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; if they cannot be printed, nobody reads them.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS };
        }
    };
    let filter = EnvFilter::try_from_env("COLDKEEP_LOG").unwrap_or_else(|_| EnvFilter::new(cli.log_filter()));
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        .with_writer(std::io::stderr)
        .init();
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
