//! `cargo xtask check`: everything that can be checked without running the code.

use std::process::Command;

use anyhow::{Context, Result};

use crate::report::Report;
use crate::shell;
use crate::workspace::{Package, Workspace};

/// Runs every check.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) {
    if let Err(error) = shell::need_c_compiler() {
        report.step("prerequisites", || Err(error));
        return;
    }
    for (name, args) in CHECKS {
        report.step(name, || shell::run(&mut cargo(workspace, args)));
    }
    report.step("documentation", || {
        let mut command = cargo(workspace, &["doc", "--workspace", "--no-deps", "--all-features"]);
        shell::run(command.env("RUSTDOCFLAGS", "-D warnings"))
    });
    for package in &workspace.packages {
        features(workspace, package, report);
    }
    oldest_compiler(workspace, report);
    dependencies(workspace, report);
    packaging(workspace, report);
    layers(workspace, report);
}

const CHECKS: &[(&str, &[&str])] = &[
    ("formatting", &["fmt", "--all", "--check"]),
    // With what is there for the fuzz targets only, which they alone build.
    (
        "clippy",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
            "--cfg",
            "fuzzing",
        ],
    ),
];

fn cargo(workspace: &Workspace, args: &[&str]) -> Command {
    let mut command = shell::cargo();
    command.current_dir(&workspace.root).args(args);
    command
}

/// Features are additive, so each must build alone, and none of them must build too.
fn features(workspace: &Workspace, package: &Package, report: &mut Report) {
    if package.features.is_empty() {
        return;
    }
    let sets = std::iter::once("").chain(package.features.iter().map(String::as_str));
    for set in sets {
        let name = format!("{} with {}", package.name, if set.is_empty() { "no feature" } else { set });
        let args = ["check", "--package", &package.name, "--no-default-features", "--features", set];
        report.step(&name, || shell::run(&mut cargo(workspace, &args)));
    }
}

/// The promised compiler must build the workspace; on the machine where it is the current one, the other checks have shown that.
fn oldest_compiler(workspace: &Workspace, report: &mut Report) {
    let name = "oldest compiler";
    let promised = workspace.packages.iter().filter_map(|package| package.rust_version.as_deref()).max();
    let Some(promised) = promised else {
        report.step(name, || anyhow::bail!("no package states a rust-version"));
        return;
    };
    match current_compiler() {
        Err(error) => report.step(name, || Err(error)),
        Ok(current) if is_same_release(&current, promised) => {
            report.counted(name, || Ok(format!("{promised} is the compiler of this run")));
        }
        Ok(current) => {
            let toolchain = format!("+{promised}");
            let mut command = Command::new("cargo");
            command.current_dir(&workspace.root).args([&toolchain, "check", "--workspace", "--all-features"]);
            // Set by rustup for the running toolchain; it would win over `+1.95`.
            command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
            let listed = Command::new("rustup").args(["run", promised, "rustc", "--version"]).output();
            if listed.is_ok_and(|output| output.status.success()) {
                report.step(name, || shell::run(&mut command));
            } else {
                report.skip(name, &format!("{promised} is not installed, this is {current}"));
            }
        }
    }
}

fn current_compiler() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output().context("cannot start rustc")?;
    let line = String::from_utf8_lossy(&output.stdout);
    line.split_whitespace().nth(1).map(str::to_owned).context("rustc did not tell its version")
}

/// `1.95.0` is a release of `1.95`; `1.950.0` is not.
fn is_same_release(current: &str, promised: &str) -> bool {
    current.strip_prefix(promised).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn dependencies(workspace: &Workspace, report: &mut Report) {
    if shell::has("cargo-deny") {
        let args = ["deny", "--workspace", "check"];
        report.step("licences and advisories", || shell::run(&mut cargo(workspace, &args)));
    } else {
        report.skip("licences and advisories", "cargo-deny is not installed");
    }
}

/// Packs all crates that can be published, and builds each from its package as a user of the registry would get it.
fn packaging(workspace: &Workspace, report: &mut Report) {
    let mut command = cargo(workspace, &["package", "--allow-dirty"]);
    for package in workspace.packages.iter().filter(|package| package.published) {
        command.args(["--package", &package.name]);
    }
    report.step("packaging", || shell::run(&mut command));
}

/// Crates outside the workspace, each of which uses one layer with default features off.
const LAYERS: [&str; 5] = ["s3-client", "chunk-store", "datastore", "gc", "client"];

/// Builds and runs what uses one layer alone: each by itself, so that no other brings features in.
fn layers(workspace: &Workspace, report: &mut Report) {
    let manifest = workspace.root.join("xtask/layers/Cargo.toml");
    let layer = |verb: &[&str]| {
        let mut command = cargo(workspace, verb);
        command.arg("--manifest-path").arg(&manifest);
        command.env("CARGO_TARGET_DIR", workspace.target.join("layers"));
        command
    };
    report.step("formatting of the layers' users", || shell::run(layer(&["fmt", "--all"]).arg("--check")));
    for name in LAYERS {
        let package = format!("layer-{name}");
        report.step(&format!("{name} alone"), || {
            shell::run(layer(&["clippy", "--locked", "--package", &package]).args(["--", "-D", "warnings"]))?;
            shell::run(&mut layer(&["run", "--locked", "--package", &package]))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_by_whole_numbers() {
        assert!(is_same_release("1.95.0", "1.95"));
        assert!(is_same_release("1.95.0", "1.95.0"));
        assert!(!is_same_release("1.950.0", "1.95"));
        assert!(!is_same_release("1.96.0", "1.95"));
    }
}
