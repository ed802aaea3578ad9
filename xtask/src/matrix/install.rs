//! Getting the servers: from Debian, into a virtual environment, or built from a crate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::matrix::servers::Install;
use crate::shell;

/// The folders below `target/matrix` that are filled here.
pub(super) struct Installed {
    pub(super) venv: PathBuf,
    pub(super) cargo: PathBuf,
    build: PathBuf,
}

impl Installed {
    /// The folders below `matrix`; nothing is made yet.
    pub(super) fn below(matrix: &Path) -> Installed {
        Installed { venv: matrix.join("venv"), cargo: matrix.join("cargo"), build: matrix.join("build") }
    }

    /// Makes sure that a server is there. An error says why it cannot be had here.
    pub(super) fn ensure(&self, name: &str, install: &Install) -> Result<()> {
        let started_at = Instant::now();
        let is_new = match install {
            Install::Apt { packages, programs } => apt(packages, programs)?,
            Install::Pip { requirement } => self.pip(requirement)?,
            Install::Cargo { krate, version, features } => self.cargo(krate, version, features)?,
        };
        if is_new {
            eprintln!("{name}: installed in {:.1} s", started_at.elapsed().as_secs_f64());
        }
        Ok(())
    }

    fn pip(&self, requirement: &str) -> Result<bool> {
        let stamp = self.venv.join(format!("has-{requirement}"));
        if stamp.exists() {
            return Ok(false);
        }
        // Its own environment: Debian's Python refuses packages from elsewhere (PEP 668), and nothing outside of the target folder changes.
        if !self.venv.join("bin/pip").exists() {
            self.make_venv()?;
        }
        let mut pip = Command::new(self.venv.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", requirement]);
        shell::run(pip.stdout(std::io::stderr())).with_context(|| format!("cannot install {requirement}"))?;
        fs::write(&stamp, "").with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(true)
    }

    fn make_venv(&self) -> Result<()> {
        let make = || {
            let mut command = Command::new("python3");
            command.args(["-m", "venv", "--clear"]).arg(&self.venv);
            shell::run(command.stdout(std::io::stderr()))
        };
        if shell::has("python3") && make().is_ok() {
            return Ok(());
        }
        // Debian packs the module apart from Python.
        shell::install(&["python3", "python3-venv"]).context("python3 with its module venv is needed")?;
        make().context("cannot make a virtual environment")
    }

    fn cargo(&self, krate: &str, version: &str, features: &[&str]) -> Result<bool> {
        let stamp = self.cargo.join(format!("has-{krate}-{version}-{}", features.join("-")));
        if stamp.exists() {
            return Ok(false);
        }
        let mut command = shell::cargo();
        command.args(["install", "--quiet", "--locked", "--force", krate, "--version", version]);
        command.arg("--features").arg(features.join(","));
        // Not in the workspace's own target folder: its build takes hundreds of megabytes, which nobody needs again.
        command.arg("--root").arg(&self.cargo).arg("--target-dir").arg(&self.build);
        shell::run(&mut command).with_context(|| format!("cannot install {krate} {version}"))?;
        fs::write(&stamp, "").with_context(|| format!("cannot write {}", stamp.display()))?;
        let build = &self.build;
        fs::remove_dir_all(build).with_context(|| format!("cannot remove {}", build.display()))?;
        Ok(true)
    }
}

fn apt(packages: &[&str], programs: &[&str]) -> Result<bool> {
    let missing = || programs.iter().copied().filter(|program| !shell::has(program));
    if missing().next().is_none() {
        return Ok(false);
    }
    shell::install(packages)?;
    match missing().next() {
        None => Ok(true),
        Some(program) => bail!("{} brought no {program}", packages.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_installed_again() {
        let folder = std::env::temp_dir().join(format!("coldkeep-xtask-install-{}", std::process::id()));
        let installed = Installed::below(&folder);
        fs::create_dir_all(&installed.venv).unwrap();
        fs::write(installed.venv.join("has-some==1"), "").unwrap();
        assert!(!installed.pip("some==1").unwrap());
        assert!(!apt(&["coldkeep-no-such-package"], &["sh"]).unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }
}
