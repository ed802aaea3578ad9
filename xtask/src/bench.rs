//! `cargo xtask bench`: benchmarks, each in a process of its own.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use crate::flags::{BenchFlags, Peers};
use crate::report::Report;
use crate::shell;
use crate::workspace::Workspace;

/// The tools we compare ourselves with: program and Debian package.
const PEERS: &[(&str, &str)] = &[("restic", "restic"), ("borg", "borgbackup")];

/// Builds the release binary and runs the benchmark against it.
pub(crate) fn run(workspace: &Workspace, flags: &BenchFlags, report: &mut Report) {
    if let Err(error) = shell::need_c_compiler() {
        report.step("prerequisites", || Err(error));
        return;
    }
    if flags.peers == Peers::Install {
        for (_, package) in PEERS.iter().filter(|(program, _)| !shell::has(program)) {
            report.step(&format!("install {package}"), || shell::install(&[package]));
        }
    }
    let mut peers: Vec<&str> = Vec::new();
    for (program, _) in PEERS.iter().filter(|_| flags.peers != Peers::None) {
        if shell::has(program) {
            peers.push(program);
        } else {
            report.skip(program, "not installed (`--peers install` does it on Debian)");
        }
    }
    report.step("release build", || build(workspace));
    if !report.has_failed() {
        report.step(&flags.bench, || measure(workspace, flags, &peers));
    }
}

/// One cargo call for all programs that are measured, so that they share one build of their dependencies.
fn build(workspace: &Workspace) -> Result<()> {
    let mut command = shell::cargo();
    command.current_dir(&workspace.root).args(["build", "--release"]);
    command.args(["--package", "coldkeep-server", "--bin", "coldkeep"]);
    command.args(["--package", "coldkeep-bench", "--bin", "coldkeep-bench"]);
    command.args(["--package", "coldkeep-gc", "--example", "mark_rate"]);
    shell::run(&mut command)
}

fn measure(workspace: &Workspace, flags: &BenchFlags, peers: &[&str]) -> Result<()> {
    let release = workspace.target.join("release");
    let mut command = std::process::Command::new(release.join("coldkeep-bench"));
    command.arg(&flags.bench).args(program("--coldkeep", &release.join("coldkeep")));
    command.args(program("--mark-rate", &release.join("examples/mark_rate")));
    command.args(&flags.pass_on).args(peers.iter().flat_map(|peer| ["--peer", peer]));
    if flags.json {
        command.arg("--json");
    }
    shell::run(&mut command)
}

fn program(flag: &str, path: &Path) -> [OsString; 2] {
    [flag.into(), path.into()]
}
