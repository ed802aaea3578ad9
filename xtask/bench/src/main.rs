//! Benchmarks of whole processes, started by `cargo xtask bench`.
//!
//! Everything is measured from outside, as a user would meet it: release binaries, real sockets, CPU time and memory as the kernel
//! accounts them. Other backup tools, where installed, do the same work on the same data in the same run.

mod chunks;
mod coldkeep;
mod data;
mod e2e;
mod flags;
mod gc;
mod list;
mod machine;
mod output;
mod peers;
mod process;
mod pull;
mod s3;
mod store;

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;

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
    let mut args = lexopt::Parser::from_env();
    let (bench, rows, json) = match args.next()? {
        Some(Value(bench)) if bench == "e2e" => {
            let flags = Flags::parse(&mut args)?;
            ("e2e", e2e::run(&flags)?, flags.json)
        }
        Some(Value(bench)) if bench == "s3" => {
            let flags = s3::Flags::parse(&mut args)?;
            ("s3", s3::run(&flags)?, flags.json)
        }
        Some(Value(bench)) if bench == "store" => {
            let flags = store::Flags::parse(&mut args)?;
            ("store", store::run(&flags)?, flags.json)
        }
        Some(Value(bench)) if bench == "gc" => {
            let flags = gc::Flags::parse(&mut args)?;
            ("gc", gc::run(&flags)?, flags.json)
        }
        Some(Value(bench)) if bench == "list" => {
            let flags = list::Flags::parse(&mut args)?;
            ("list", list::run(&flags)?, flags.json)
        }
        Some(Value(bench)) if bench == "pull" => {
            let flags = pull::Flags::parse(&mut args)?;
            ("pull", pull::run(&flags)?, flags.json)
        }
        _ => bail!(
            "expected a benchmark's name, `e2e`, `gc`, `list`, `pull`, `s3` or `store`; start this through `cargo xtask bench`"
        ),
    };
    output::print(&output::Report { bench, machine: machine::describe()?, rows }, json)
}
