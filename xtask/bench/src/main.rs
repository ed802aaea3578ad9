//! Benchmarks of whole processes, started by `cargo xtask bench`.
//!
//! Everything is measured from outside, as a user would meet it: release binaries, real sockets, CPU time and memory as the kernel
//! accounts them. Other backup tools, where installed, do the same work on the same data in the same run.

mod chunks;
mod coldkeep;
mod data;
mod e2e;
mod flags;
mod machine;
mod output;
mod peers;
mod process;

use std::process::ExitCode;

use anyhow::Result;

use crate::flags::Flags;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coldkeep-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let flags = Flags::from_env()?;
    let rows = e2e::run(&flags)?;
    output::print(&output::Report { bench: "e2e", machine: machine::describe()?, rows }, flags.json)
}
