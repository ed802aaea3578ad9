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

/// The crates that `s3` compares with, and the one it compares with on demand.
const S3_PEERS: &[&str] = &["object_store", "rust-s3"];
const AWS_SDK: &str = "aws-sdk";

/// Builds what is measured and runs the benchmark.
pub(crate) fn run(workspace: &Workspace, flags: &BenchFlags, report: &mut Report) {
    if let Err(error) = shell::need_c_compiler() {
        report.step("prerequisites", || Err(error));
        return;
    }
    match flags.bench.as_str() {
        "s3" => s3(workspace, flags, report),
        "store" => store(workspace, flags, report),
        "gc" => gc(workspace, flags, report),
        "list" | "pull" => servers(workspace, flags, report),
        _ => e2e(workspace, flags, report),
    }
}

fn e2e(workspace: &Workspace, flags: &BenchFlags, report: &mut Report) {
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
    report.step("release build", || {
        build_programs(
            workspace,
            &[
                ("coldkeep-server", "coldkeep"),
                ("coldkeep-bench", "coldkeep-bench"),
                ("coldkeep-bench-gc", "coldkeep-bench-gc-worker"),
            ],
        )
    });
    if !report.has_failed() {
        let release = workspace.target.join("release");
        let coldkeep = program("--coldkeep", &release.join("coldkeep"));
        let worker = program("--gc-worker", &release.join("coldkeep-bench-gc-worker"));
        let programs = [coldkeep, worker].concat();
        report.step(&flags.bench, || measure(workspace, flags, &programs, &peers));
    }
}

/// A store in a bucket beside one on a filesystem, which is its peer.
fn store(workspace: &Workspace, flags: &BenchFlags, report: &mut Report) {
    report.step("release build", || {
        build_programs(
            workspace,
            &[
                ("coldkeep-server", "coldkeep"),
                ("coldkeep-bench", "coldkeep-bench"),
                ("coldkeep-s3-testbed", "s3-origin"),
                ("coldkeep-s3-testbed", "s3-delay"),
            ],
        )
    });
    if !report.has_failed() {
        let release = workspace.target.join("release");
        let programs = [("--coldkeep", "coldkeep"), ("--origin", "s3-origin"), ("--delay", "s3-delay")];
        let programs: Vec<OsString> =
            programs.into_iter().flat_map(|(flag, name)| program(flag, &release.join(name))).collect();
        report.step(&flags.bench, || measure(workspace, flags, &programs, &[]));
    }
}

/// One server or two, with peers that every machine has: `find`, `cp`.
fn servers(workspace: &Workspace, flags: &BenchFlags, report: &mut Report) {
    report.step("release build", || {
        build_programs(workspace, &[("coldkeep-server", "coldkeep"), ("coldkeep-bench", "coldkeep-bench")])
    });
    if !report.has_failed() {
        let coldkeep = program("--coldkeep", &workspace.target.join("release/coldkeep"));
        report.step(&flags.bench, || measure(workspace, flags, &coldkeep, &[]));
    }
}

/// One cargo call for all programs (package and binary), so that they share one build of their dependencies.
fn build_programs(workspace: &Workspace, programs: &[(&str, &str)]) -> Result<()> {
    let mut command = shell::cargo();
    command.current_dir(&workspace.root).args(["build", "--release"]);
    for (package, binary) in programs {
        command.args(["--package", package, "--bin", binary]);
    }
    shell::run(&mut command)
}

/// The collector, linked into a program of its own; its peers are a plain listing by the same program, and `find`.
fn gc(workspace: &Workspace, flags: &BenchFlags, report: &mut Report) {
    report.step("release build", || {
        build_programs(
            workspace,
            &[("coldkeep-bench", "coldkeep-bench"), ("coldkeep-bench-gc", "coldkeep-bench-gc-worker")],
        )
    });
    if !report.has_failed() {
        let worker = workspace.target.join("release/coldkeep-bench-gc-worker");
        report.step(&flags.bench, || measure(workspace, flags, &program("--worker", &worker), &[]));
    }
}

/// The peers here are crates: they are built with our client into one program, in a workspace of its own.
fn s3(workspace: &Workspace, flags: &BenchFlags, report: &mut Report) {
    let mut peers: Vec<&str> = if flags.peers == Peers::None { Vec::new() } else { S3_PEERS.to_vec() };
    if flags.aws_sdk {
        peers.push(AWS_SDK);
    }
    let build_folder = workspace.target.join("bench-s3");
    report.step("release build", || {
        build_programs(
            workspace,
            &[("coldkeep-bench", "coldkeep-bench"), ("coldkeep-s3-testbed", "s3-origin")],
        )
    });
    report.step("release build of the clients", || build_clients(workspace, &build_folder, flags.aws_sdk));
    if !report.has_failed() {
        let release = workspace.target.join("release");
        let worker = build_folder.join("release/coldkeep-bench-s3-worker");
        let programs =
            [program("--worker", &worker), program("--origin", &release.join("s3-origin"))].concat();
        report.step(&flags.bench, || measure(workspace, flags, &programs, &peers));
    }
}

fn build_clients(workspace: &Workspace, build_folder: &Path, aws_sdk: bool) -> Result<()> {
    let mut command = shell::cargo();
    command.current_dir(workspace.root.join("xtask/bench-s3")).args(["build", "--release"]);
    if aws_sdk {
        command.args(["--features", "aws-sdk"]);
    }
    shell::run(command.env("CARGO_TARGET_DIR", build_folder))
}

fn measure(workspace: &Workspace, flags: &BenchFlags, programs: &[OsString], peers: &[&str]) -> Result<()> {
    let mut command = std::process::Command::new(workspace.target.join("release/coldkeep-bench"));
    command.arg(&flags.bench).args(programs);
    command.args(&flags.pass_on).args(peers.iter().flat_map(|peer| ["--peer", peer]));
    if flags.json {
        command.arg("--json");
    }
    shell::run(&mut command)
}

fn program(flag: &str, path: &Path) -> [OsString; 2] {
    [flag.into(), path.into()]
}
