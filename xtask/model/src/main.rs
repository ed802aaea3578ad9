//! The rules of the collector as an explicit-state model, started by `cargo xtask model`.
//!
//! See `README.md` for what is modelled, what is left out, and how to read a story.

mod campaign;
mod event;
mod explore;
mod flags;
mod machine;
mod rules;
mod scenario;
mod state;

use std::process::ExitCode;

use crate::flags::Flags;

fn main() -> ExitCode {
    let flags = match Flags::from_env() {
        Ok(flags) => flags,
        Err(error) => {
            eprintln!("coldkeep-model: {error:#}\n\n{}", flags::USAGE);
            return ExitCode::from(2);
        }
    };
    if campaign::run(&flags) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
