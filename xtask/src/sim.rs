//! `cargo xtask sim`: the published crates on a simulated bucket, disk and clock, from a seed.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::flags::SimFlags;
use crate::report::Report;
use crate::shell;
use crate::workspace::Workspace;

/// The package and its binary.
pub(crate) const PACKAGE: &str = "coldkeep-sim";

/// Plays what the flags ask for.
pub(crate) fn run(workspace: &Workspace, flags: &SimFlags, report: &mut Report) {
    if let Err(error) = shell::need_c_compiler() {
        report.step("prerequisites", || Err(error));
        return;
    }
    play_all(workspace, &[&flags.pass_on], report);
}

/// Plays the seeds that are part of every test run.
pub(crate) fn quick(workspace: &Workspace, report: &mut Report) {
    play_all(workspace, &[&[], &["--whole".into()]], report);
}

/// Builds the simulation and plays one campaign after the other, each with its flags.
fn play_all(workspace: &Workspace, campaigns: &[&[OsString]], report: &mut Report) {
    let mut is_built = false;
    report.step("release build of the simulation", || {
        let mut command = shell::cargo();
        command.current_dir(&workspace.root).args(["build", "--release", "--package", PACKAGE]);
        shell::run(&mut command)?;
        is_built = true;
        Ok(())
    });
    for args in campaigns.iter().filter(|_| is_built) {
        let program = workspace.target.join("release").join(PACKAGE);
        let is_whole = args.iter().any(|arg| arg == "--whole");
        let name = if is_whole { "simulation of datastores" } else { "simulation of chunk stores" };
        report.counted(name, || {
            let played = play(Command::new(program).args(*args))?;
            if played.ok { Ok(played.closing) } else { bail!("{}", played.closing) }
        });
    }
}

/// How a campaign ended.
pub(crate) struct Played {
    pub(crate) ok: bool,
    /// Its closing line, without the name of the program.
    pub(crate) closing: String,
    /// What it says of each seed that failed.
    pub(crate) failures: Vec<String>,
}

/// Plays seeds and passes on what is said about them.
pub(crate) fn play(command: &mut Command) -> Result<Played> {
    shell::print(command);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start the simulation")?;
    let stdout = child.stdout.take().context("the child has no standard output")?;
    let (mut closing, mut failures) = (None, Vec::new());
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what the simulation says")?;
        println!("{line}");
        closing = line.strip_prefix("sim: ").map(str::to_owned);
        if line.starts_with("seed ") {
            failures.push(line);
        }
    }
    let status = child.wait().context("cannot wait for the simulation")?;
    match (closing, status.code()) {
        (Some(closing), Some(0 | 1)) => Ok(Played { ok: status.success(), closing, failures }),
        _ => bail!("the simulation ended with {status} and without a verdict"),
    }
}
