//! `cargo xtask fuzz`: coverage-guided fuzzing of everything that parses bytes from outside.
//!
//! The targets live in a workspace of their own (`xtask/fuzz`), so that no ordinary build needs libFuzzer. They are built with a stable
//! compiler: the coverage pass is LLVM's own and needs no unstable flag (address sanitizing would, and our crates forbid `unsafe`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::flags::FuzzFlags;
use crate::report::Report;
use crate::shell;
use crate::workspace::Workspace;

/// One fuzz target and the vectors below `docs/vectors` that its corpus starts from.
struct Target {
    name: &'static str,
    seeds: &'static [&'static str],
    /// No longer input is tried: the parsers' own limits lie above it, and short inputs run faster.
    bytes_max: u32,
}

const TARGETS: &[Target] = &[
    Target { name: "archive", seeds: &["pxar"], bytes_max: 16 << 10 },
    Target { name: "blob", seeds: &["blob"], bytes_max: 64 << 10 },
    Target { name: "calendar", seeds: &[], bytes_max: 128 },
    Target { name: "client_answer", seeds: &["json"], bytes_max: 8 << 10 },
    Target { name: "client_names", seeds: &[], bytes_max: 512 },
    Target { name: "clock", seeds: &[], bytes_max: 2 << 10 },
    Target { name: "collections", seeds: &[], bytes_max: 8 << 10 },
    Target { name: "dynamic_index", seeds: &["index"], bytes_max: 16 << 10 },
    Target { name: "fixed_index", seeds: &["index"], bytes_max: 16 << 10 },
    Target { name: "generation", seeds: &[], bytes_max: 2 << 10 },
    Target { name: "in_use", seeds: &[], bytes_max: 2 << 10 },
    Target { name: "index_file", seeds: &["index"], bytes_max: 16 << 10 },
    Target { name: "journal", seeds: &[], bytes_max: 4 << 10 },
    Target { name: "keys", seeds: &[], bytes_max: 1 << 10 },
    Target { name: "manifest", seeds: &["manifest"], bytes_max: 16 << 10 },
    Target { name: "names", seeds: &[], bytes_max: 512 },
    Target { name: "recency", seeds: &[], bytes_max: 1 << 10 },
    Target { name: "request", seeds: &[], bytes_max: 4 << 10 },
    Target { name: "s3_delete_result", seeds: &[], bytes_max: 4 << 10 },
    Target { name: "s3_error", seeds: &[], bytes_max: 4 << 10 },
    Target { name: "s3_headers", seeds: &[], bytes_max: 2 << 10 },
    Target { name: "s3_list", seeds: &[], bytes_max: 8 << 10 },
    Target { name: "s3_probe", seeds: &[], bytes_max: 8 << 10 },
    Target { name: "s3_settings", seeds: &[], bytes_max: 1 << 10 },
    Target { name: "s3_small", seeds: &[], bytes_max: 4 << 10 },
    Target { name: "server_config", seeds: &[], bytes_max: 4 << 10 },
    Target { name: "server_files", seeds: &[], bytes_max: 4 << 10 },
    Target { name: "server_names", seeds: &[], bytes_max: 1 << 10 },
    Target { name: "server_proofs", seeds: &[], bytes_max: 1 << 10 },
    Target { name: "server_tasks", seeds: &[], bytes_max: 8 << 10 },
];

const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Builds the targets and runs each for the time asked for.
pub(crate) fn run(workspace: &Workspace, flags: &FuzzFlags, report: &mut Report) -> Result<()> {
    let targets: Vec<&Target> = TARGETS
        .iter()
        .filter(|target| flags.target.as_deref().is_none_or(|wanted| wanted == target.name))
        .collect();
    if targets.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        bail!("there is no such fuzz target; there are {}", names.join(", "));
    }
    need_cpp_compiler()?;
    let host = host()?;
    let build_folder = workspace.target.join("fuzz");
    report.step("build", || build(workspace, &build_folder, &host));
    if report.has_failed() {
        return Ok(());
    }
    let programs = build_folder.join(&host).join("release");
    let mut executions = Vec::new();
    for target in targets {
        report.counted(target.name, || {
            let count = fuzz(workspace, target, &programs.join(target.name), flags.seconds)?;
            executions.push(format!("{:18}{count:>12} executions", target.name));
            Ok(format!("{count} executions"))
        });
    }
    for line in &executions {
        println!("{line}");
    }
    Ok(())
}

fn need_cpp_compiler() -> Result<()> {
    if shell::has("c++") || shell::has("g++") || shell::has("clang++") {
        return Ok(());
    }
    shell::install(&["g++"]).context("libFuzzer needs a C++ compiler (Debian: `apt-get install g++`)")
}

/// The host's target triple. Naming it keeps build scripts and procedural macros free of the coverage pass.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc did not tell its host")
}

fn build(workspace: &Workspace, build_folder: &Path, host: &str) -> Result<()> {
    let mut command = shell::cargo();
    command.current_dir(workspace.root.join("xtask/fuzz"));
    command.args(["build", "--release", "--bins", "--target", host]);
    command.env("RUSTFLAGS", COVERAGE.join(" ")).env("CARGO_TARGET_DIR", build_folder);
    shell::run(&mut command)
}

/// Runs one target, and returns how many inputs it tried. New inputs go to its corpus below the target folder; the vectors are read
/// only.
fn fuzz(workspace: &Workspace, target: &Target, program: &Path, seconds: u32) -> Result<u64> {
    let corpus = workspace.target.join("fuzz-corpus").join(target.name);
    let crashes = workspace.target.join("fuzz-crashes").join(target.name);
    for folder in [&corpus, &crashes] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut command = Command::new(program);
    command.arg(&corpus).args(seeds(workspace, target));
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={}", target.bytes_max));
    command.arg(format!("-artifact_prefix={}/", crashes.display()));
    command.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"]);
    let lines = shell::run_for_stderr(&mut command);
    let lines = lines.with_context(|| format!("the input is in {}", crashes.display()))?;
    let count = lines.iter().rev().find_map(|line| executions(line));
    count.filter(|count| *count > 0).context("the target tried no input")
}

/// Reads the count in one of the lines that libFuzzer ends with.
fn executions(line: &str) -> Option<u64> {
    line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok()
}

fn seeds(workspace: &Workspace, target: &Target) -> Vec<PathBuf> {
    let kept = workspace.root.join("xtask/fuzz/seeds").join(target.name);
    let vectors = workspace.root.join("docs/vectors");
    let vectors = target.seeds.iter().map(|folder| vectors.join(folder));
    vectors.chain([kept]).filter(|folder| folder.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn executions_are_read_from_the_closing_lines() {
        assert_eq!(executions("stat::number_of_executed_units: 524288"), Some(524_288));
        assert_eq!(executions("stat::average_exec_per_sec:     52428"), None);
    }

    // Goal: no target is forgotten, and none starts from nothing.
    // Method: the list against the folders of programs and seeds.
    #[test]
    fn every_target_is_run_and_has_seeds() {
        let workspace = Workspace::load().unwrap();
        let names = |folder: &str| -> BTreeSet<String> {
            let entries = fs::read_dir(workspace.root.join("xtask/fuzz").join(folder)).unwrap();
            let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
            entries.map(|entry| name(entry.unwrap()).trim_end_matches(".rs").to_owned()).collect()
        };
        let listed: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
        assert_eq!(listed.len(), TARGETS.len());
        assert_eq!(names("src/bin"), listed);
        assert!(names("seeds").is_subset(&listed));
        for target in TARGETS {
            let folders = seeds(&workspace, target);
            let mut files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
            assert!(files.next().is_some(), "{} has no seed", target.name);
        }
    }
}
