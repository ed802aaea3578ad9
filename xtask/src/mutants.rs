//! `cargo xtask mutants`: switches each rule off and expects its hazard tests and the simulation to notice.
//!
//! Builds with `--cfg coldkeep_switches` have a switch for each rule of the design, absent from normal builds; the environment variable
//! `COLDKEEP_OFF` names the rule that is off. First all named tests run with every rule in force and must pass; then, rule by rule, with
//! that rule off, and each of them must fail. A test that passes without its rule shows nothing, so that is a failure here.
//! Last the simulation is played without each rule (see [`sim`]).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::flags::MutantsFlags;
use crate::report::Report;
use crate::shell::{self, Tally, TestRun};
use crate::sim as simulation;
use crate::workspace::Workspace;

mod rules;
mod sim;

use rules::{Harness, RULES, Rule};
use sim::Expected;

/// No hazard test takes longer; a mutant that hangs is not caught in a way that a reader of the report could tell from a slow machine.
const TEST_LIMIT: Duration = Duration::from_mins(5);

/// Most seeds of a rule in the quick tier; about four minutes on two cores, if they are all played.
const QUICK_SEEDS_MAX: u64 = 300_000;

/// Runs the hazard tests with and without each rule.
pub(crate) fn run(workspace: &Workspace, flags: &MutantsFlags, report: &mut Report) -> Result<()> {
    let rules: Vec<&Rule> = RULES
        .iter()
        .filter(|rule| flags.rules.is_empty() || flags.rules.iter().any(|name| name == rule.name))
        .collect();
    if let Some(unknown) = flags.rules.iter().find(|name| !RULES.iter().any(|rule| rule.name == **name)) {
        let names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        bail!("no switch for rule {unknown}; there are {}", names.join(", "));
    }
    shell::need_c_compiler()?;
    let folder = workspace.target.join("mutants");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let wrapper = folder.join("rustc-with-switches");
    write_script(&wrapper, WRAPPER)?;
    let bench = Bench { workspace, folder, wrapper };
    // Apart from the runs, so that the limit of a test is not spent on its build.
    report.step("build with switches", || bench.build(&rules));
    report.step("build of the simulation with switches", || bench.build_simulation());
    for rule in &rules {
        report.step(&format!("{} in force", rule.name), || bench.all_pass(rule));
    }
    for rule in &rules {
        report.step(&format!("{} off ({})", rule.name, rule.what), || bench.all_fail(rule));
    }
    for rule in &rules {
        let name = format!("{} off, simulated", rule.name);
        match sim::expected(rule.name) {
            Expected::Within(seeds) if flags.is_quick && seeds > QUICK_SEEDS_MAX => {
                report.skip(&name, "it takes more seeds than the quick tier has");
            }
            Expected::Within(seeds) => report.counted(&name, || bench.simulation_fails(rule, seeds, &[])),
            Expected::Not(why) => report.skip(&name, why),
        }
        if let Some(seeds) = sim::expected_whole(rule.name) {
            let name = format!("{} off, whole datastores simulated", rule.name);
            report.counted(&name, || bench.simulation_fails(rule, seeds, &["--whole"]));
        }
    }
    Ok(())
}

/// Where the tests with switches are built and run.
struct Bench<'a> {
    workspace: &'a Workspace,
    folder: PathBuf,
    wrapper: PathBuf,
}

impl Bench<'_> {
    fn build(&self, rules: &[&Rule]) -> Result<()> {
        let mut built = Vec::new();
        for hazard in rules.iter().flat_map(|rule| rule.hazards) {
            if !built.contains(&&hazard.harness) {
                shell::run(&mut self.test(&hazard.harness, &["--no-run"]))?;
                built.push(&hazard.harness);
            }
        }
        Ok(())
    }

    fn all_pass(&self, rule: &Rule) -> Result<()> {
        for hazard in rule.hazards {
            let mut command = self.test(&hazard.harness, &["--", hazard.test]);
            match shell::run_tests(&mut command, Some(TEST_LIMIT))? {
                TestRun::Ended { ok: true, tally: Tally { passed: 1.., .. } } => {}
                TestRun::Ended { ok: true, .. } => bail!("no test is named {}", hazard.test),
                TestRun::Ended { ok: false, .. } => {
                    bail!("{} fails although the rule is in force", hazard.test)
                }
                TestRun::TimedOut => bail!("{} hangs although the rule is in force", hazard.test),
            }
        }
        Ok(())
    }

    fn all_fail(&self, rule: &Rule) -> Result<()> {
        let mut missed = Vec::new();
        for hazard in rule.hazards {
            let mut command = self.test(&hazard.harness, &["--", hazard.test]);
            command.env("COLDKEEP_OFF", rule.name);
            match shell::run_tests(&mut command, Some(TEST_LIMIT))? {
                TestRun::Ended { ok: false, tally: Tally { failed: 1.., .. } } => {}
                TestRun::Ended { .. } => missed.push(hazard.test),
                TestRun::TimedOut => bail!("{} hangs", hazard.test),
            }
        }
        if missed.is_empty() { Ok(()) } else { bail!("not caught by {}", missed.join(", ")) }
    }

    /// Builds the simulation with switches.
    fn build_simulation(&self) -> Result<()> {
        let mut build = shell::cargo();
        build.current_dir(&self.workspace.root).args([
            "build",
            "--release",
            "--package",
            simulation::PACKAGE,
        ]);
        build.env("CARGO_TARGET_DIR", &self.folder).env("RUSTC_WORKSPACE_WRAPPER", &self.wrapper);
        shell::run(&mut build)
    }

    /// Plays seeds without the rule, one of which must fail; says which.
    fn simulation_fails(&self, rule: &Rule, seeds: u64, flags: &[&str]) -> Result<String> {
        let program = self.folder.join("release").join(simulation::PACKAGE);
        let args = ["--seeds", &seeds.to_string(), "--first-failure"];
        let mut command = Command::new(program);
        let played = simulation::play(command.env("COLDKEEP_OFF", rule.name).args(args).args(flags))?;
        if played.ok {
            bail!("not caught within {seeds} seeds");
        }
        let failure = played.failures.into_iter().next().unwrap_or(played.closing);
        if failure.contains(PANIC) {
            bail!("nothing noticed it, but a panic came of it: {failure}");
        }
        Ok(failure)
    }

    fn test(&self, harness: &Harness, rest: &[&str]) -> Command {
        let mut command = shell::cargo();
        command.current_dir(&self.workspace.root).arg("test");
        command.env("CARGO_TARGET_DIR", &self.folder).env("RUSTC_WORKSPACE_WRAPPER", &self.wrapper);
        command.env_remove("COLDKEEP_OFF");
        match harness {
            Harness::Unit(package) => command.args(["--package", package, "--lib"]),
            Harness::Integration(package) => command.args(["--package", package, "--test", "it"]),
            Harness::TestBed => command.args(["--package", "coldkeep-s3-client", "--test", "testbed"]),
        };
        command.args(rest);
        command
    }
}

/// What the simulation says before the message of a panic, which is no promise that somebody saw broken.
const PANIC: &str = ": panic: ";

/// Cargo runs it for members of the workspace only, so that dependencies are built as ever; `RUSTFLAGS` would rebuild the world.
const WRAPPER: &str = "#!/bin/sh\nexec \"$@\" --cfg coldkeep_switches\n";

fn write_script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn wrapper_adds_the_switch_and_keeps_the_arguments() {
        let folder = std::env::temp_dir().join(format!("coldkeep-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("wrapper");
        write_script(&path, WRAPPER).unwrap();
        // Through the shell: run directly, the file may count as busy while another test's child still holds our descriptors.
        let output = Command::new("sh").arg(&path).args(["printf", "%s\n", "a b"]).output().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "a b\n--cfg\ncoldkeep_switches\n");
    }

    #[test]
    fn the_simulation_is_expected_to_do_something_about_each_rule() {
        let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(sim::TABLE.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
        assert!(sim::WHOLE.iter().all(|(name, _)| names.contains(name)));
    }

    #[test]
    fn each_rule_has_a_hazard_and_stands_once() {
        for (position, rule) in RULES.iter().enumerate() {
            assert!(!rule.hazards.is_empty(), "{}", rule.name);
            assert!(
                RULES[..position].iter().all(|other| other.name != rule.name),
                "{} stands twice",
                rule.name
            );
        }
    }

    /// What the code asks for and what can be switched off are the same.
    #[test]
    fn each_switch_in_the_code_is_a_rule_and_each_rule_has_one() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut asked = BTreeSet::new();
        let mut open: Vec<PathBuf> =
            ["s3-client", "chunk-store", "datastore", "gc"].map(|name| root.join(name).join("src")).into();
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            let names =
                text.split("is_off(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
            asked.extend(names);
        }
        let rules: BTreeSet<_> = RULES.iter().map(|rule| rule.name.to_owned()).collect();
        assert_eq!(asked, rules);
    }
}
