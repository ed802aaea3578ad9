//! Test targets that run against a server: built once and run against one server after the other.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::matrix::servers::{Addressing, CLIENT, END_TO_END, Server, Target};
use crate::matrix::start::Running;
use crate::shell::{self, Tally, TestRun};

/// All of them.
const TARGETS: [&Target; 2] = [&CLIENT, &END_TO_END];

/// Longest run of the suite on one server, beside what the stress scenarios are told to take; each test has a shorter limit
/// of its own.
const SUITE_WITHIN: Duration = Duration::from_mins(20);

/// The programs that are the suites.
pub(super) struct Live {
    programs: Vec<(&'static Target, PathBuf)>,
    stress_seconds: Option<u32>,
}

/// What a suite is told about a server.
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) endpoint: &'a str,
    pub(super) region: &'a str,
    /// Without one, the suite makes one of a random name.
    pub(super) bucket: Option<&'a str>,
    pub(super) access_key: &'a str,
    pub(super) secret_key: &'a str,
    pub(super) addressing: Addressing,
    pub(super) lacks: String,
    pub(super) quirks: String,
}

impl<'a> Place<'a> {
    /// A running server of the table.
    pub(super) fn of(name: &'a str, endpoint: &'a str, server: &Server, running: &'a Running) -> Place<'a> {
        Place {
            name,
            endpoint,
            region: server.region,
            bucket: None,
            access_key: &running.user.access_key,
            secret_key: &running.user.secret_key,
            addressing: server.addressing,
            lacks: server.lacks.join(","),
            quirks: server.quirks.join(","),
        }
    }

    /// Lets a test find the server in its environment.
    pub(super) fn tell(&self, command: &mut Command) {
        command.env_remove("COLDKEEP_LIVE_BUCKET");
        command.envs(self.bucket.map(|bucket| ("COLDKEEP_LIVE_BUCKET", bucket)));
        command.envs([
            ("COLDKEEP_LIVE_ENDPOINT", self.endpoint),
            ("COLDKEEP_LIVE_REGION", self.region),
            ("COLDKEEP_LIVE_ACCESS_KEY", self.access_key),
            ("COLDKEEP_LIVE_SECRET_KEY", self.secret_key),
            ("COLDKEEP_LIVE_ADDRESSING", self.addressing.name()),
            ("COLDKEEP_LIVE_SERVER", self.name),
            ("COLDKEEP_LIVE_LACKS", &self.lacks),
            ("COLDKEEP_LIVE_QUIRKS", &self.quirks),
        ]);
    }
}

impl Live {
    /// Builds the suites; the writers of the stress scenario are to write for so many seconds, if that is said.
    pub(super) fn build(root: &Path, stress_seconds: Option<u32>) -> Result<Live> {
        // The whole workspace although one target is wanted: any other selection changes the features of shared dependencies and builds
        // them again.
        let mut command = shell::cargo();
        command.args([
            "test",
            "--workspace",
            "--all-targets",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ]);
        command.current_dir(root).stdout(Stdio::piped());
        shell::print(&command);
        let mut child = command.spawn().context("cannot start cargo")?;
        let stdout = child.stdout.take().context("the child has no standard output")?;
        let lines = BufReader::new(stdout).lines();
        let programs: Vec<_> = lines.map_while(Result::ok).filter_map(|line| program(&line)).collect();
        ensure!(child.wait().context("cannot wait for cargo")?.success(), "the build failed");
        Ok(Live { programs, stress_seconds })
    }

    /// Runs a suite on one server; says how many tests there were, and what kept the others from running.
    pub(super) fn run(&self, suite: &Target, target: &Place<'_>) -> Result<String> {
        let program = self.programs.iter().find(|(target, _)| *target == suite);
        let (_, program) =
            program.with_context(|| format!("{} has no test target `{}`", suite.package, suite.name))?;
        let mut command = Command::new(program);
        target.tell(command.args(suite.arguments));
        command.envs(self.stress_seconds.map(|seconds| ("COLDKEEP_STRESS_SECONDS", seconds.to_string())));
        // Three scenarios take that long, two of them at a time.
        let stress = Duration::from_secs(3 * u64::from(self.stress_seconds.unwrap_or(0)));
        let within = SUITE_WITHIN + stress;
        verdict(&shell::run_tests(&mut command, Some(within))?, within, &target.lacks)
    }
}

fn verdict(run: &TestRun, within: Duration, lacks: &str) -> Result<String> {
    match run {
        TestRun::TimedOut => bail!("not done within {} s", within.as_secs()),
        TestRun::Ended { tally, .. } if tally.failed > 0 => bail!("{} tests failed", tally.failed),
        TestRun::Ended { ok: false, .. } => bail!("the suite failed"),
        TestRun::Ended { tally: Tally { passed: 0, .. }, .. } => bail!("no test ran"),
        TestRun::Ended { tally: Tally { passed, ignored: 0, .. }, .. } => Ok(format!("{passed} tests")),
        TestRun::Ended { tally, .. } => {
            Ok(format!("{} tests, {} not run for lack of {lacks}", tally.passed, tally.ignored))
        }
    }
}

/// The program that a line of cargo's output announces, if it is a suite.
fn program(line: &str) -> Option<(&'static Target, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = &message["target"];
    let is_test = target["kind"].as_array()?.iter().any(|kind| kind == "test");
    let package = message["package_id"].as_str()?;
    let is_built = |ours: &&&Target| is_test && package.contains(ours.package) && target["name"] == ours.name;
    let ours = TARGETS.iter().find(is_built)?;
    Some((ours, message["executable"].as_str()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_is_found_in_cargos_output() {
        let line = r#"{"reason":"compiler-artifact","package_id":"path+file:///w/s3-client#coldkeep-s3-client@0.1.0",
            "target":{"kind":["test"],"name":"live"},"executable":"/t/live-1"}"#;
        assert_eq!(program(line), Some((&CLIENT, PathBuf::from("/t/live-1"))));
        for other in [
            line.replace("\"live\"", "\"it\""),
            line.replace("[\"test\"]", "[\"bin\"]"),
            line.replace("coldkeep-s3-client", "coldkeep-server"),
            line.replace("\"/t/live-1\"", "null"),
            "   Compiling".to_owned(),
        ] {
            assert_eq!(program(&other), None, "{other}");
        }
    }

    #[test]
    fn what_did_not_run_is_no_pass() {
        let ended =
            |passed, failed, ignored, ok| TestRun::Ended { tally: Tally { passed, failed, ignored }, ok };
        assert_eq!(verdict(&ended(3, 0, 0, true), SUITE_WITHIN, "").unwrap(), "3 tests");
        assert_eq!(
            verdict(&ended(3, 0, 2, true), SUITE_WITHIN, "a,b").unwrap(),
            "3 tests, 2 not run for lack of a,b"
        );
        verdict(&ended(0, 0, 2, true), SUITE_WITHIN, "a").unwrap_err();
        verdict(&ended(3, 1, 0, false), SUITE_WITHIN, "").unwrap_err();
        verdict(&ended(3, 0, 0, false), SUITE_WITHIN, "").unwrap_err();
        verdict(&TestRun::TimedOut, SUITE_WITHIN, "").unwrap_err();
    }
}
