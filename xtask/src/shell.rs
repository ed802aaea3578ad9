//! Starting other programs: each command line is printed before it runs.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What cargo sets for the program it runs. Inherited by a second cargo they change the fingerprint of build scripts that read them,
/// and the whole tree below such a crate is built again.
const CARGO_RUN_VARIABLES: &[&str] =
    &["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "OUT_DIR"];

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if CARGO_RUN_VARIABLES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether `program` is found in one of the folders of `PATH`.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs to the end; any exit status but 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    print(command);
    let status = command.status().with_context(|| format!("cannot start {}", program(command)))?;
    check(command, status)
}

/// Runs to the end and passes standard error on; returns its lines. Any exit status but 0 is an error.
pub(crate) fn run_for_stderr(command: &mut Command) -> Result<Vec<String>> {
    print(command);
    let cannot = |command: &Command| format!("cannot start {}", program(command));
    let mut child = command.stderr(Stdio::piped()).spawn().with_context(|| cannot(command))?;
    let stderr = child.stderr.take().context("the child has no standard error")?;
    let mut lines = Vec::new();
    // What a target prints of an input need not be UTF-8.
    for line in BufReader::new(stderr).split(b'\n') {
        let line = String::from_utf8_lossy(&line.context("cannot read standard error")?).into_owned();
        eprintln!("{line}");
        lines.push(line);
    }
    check(command, child.wait().context("cannot wait for the child")?)?;
    Ok(lines)
}

/// What the test harnesses behind one command reported.
#[derive(Debug, Default, PartialEq, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) ignored: u32,
}

/// How a test command ended.
pub(crate) enum TestRun {
    /// All harnesses ended; `ok` is the exit status.
    Ended { tally: Tally, ok: bool },
    /// The time was up; the whole process group was killed.
    TimedOut,
}

/// Runs a `cargo test`, passes its output on, and counts the results on the way.
pub(crate) fn run_tests(command: &mut Command, limit: Option<Duration>) -> Result<TestRun> {
    print(command);
    if limit.is_some() {
        // A group of its own, so that a test that hangs goes together with the cargo that started it. Without a limit it stays in
        // ours, where Ctrl-C reaches it.
        command.process_group(0);
    }
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program(command)))?;
    let stdout = child.stdout.take().context("the child has no standard output")?;
    let reader = thread::spawn(move || {
        let mut tally = Tally::default();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("{line}");
            tally.add(&line);
        }
        tally
    });
    let status = match limit {
        None => Some(child.wait().context("cannot wait for the child")?),
        Some(limit) => wait_until(&mut child, Instant::now() + limit)?,
    };
    let Some(status) = status else {
        kill_group(&mut child)?;
        return Ok(TestRun::TimedOut);
    };
    let Ok(tally) = reader.join() else { bail!("the output reader panicked") };
    Ok(TestRun::Ended { tally, ok: status.success() })
}

/// Runs tests that must all pass, and of which at least one must exist; says how many there were.
pub(crate) fn tests_pass(command: &mut Command) -> Result<String> {
    match run_tests(command, None)? {
        TestRun::TimedOut => bail!("timed out"),
        TestRun::Ended { tally, ok: false } if tally.failed > 0 => bail!("{} tests failed", tally.failed),
        TestRun::Ended { ok: false, .. } => bail!("the command failed"),
        TestRun::Ended { tally: Tally { passed: 0, .. }, .. } => bail!("no test ran"),
        TestRun::Ended { tally, .. } if tally.ignored > 0 => {
            Ok(format!("{} tests, {} ignored", tally.passed, tally.ignored))
        }
        TestRun::Ended { tally, .. } => Ok(format!("{} tests", tally.passed)),
    }
}

impl Tally {
    /// Adds the counts of a harness's closing line: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.trim_start().strip_prefix("test result: ") else { return };
        for part in counts.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// Waits for a child until an instant; nothing if it still runs then.
pub(crate) fn wait_until(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the child")? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Kills a child that leads a process group, with the whole group.
pub(crate) fn kill_group(child: &mut Child) -> Result<()> {
    let group = format!("-{}", child.id());
    Command::new("kill").args(["-KILL", "--", &group]).status().context("cannot start kill")?;
    child.wait().context("cannot wait for the killed child")?;
    Ok(())
}

/// Makes sure that a C compiler is there: two dependencies (ring, zstd) bring C sources.
pub(crate) fn need_c_compiler() -> Result<()> {
    if has("cc") || has("gcc") || has("clang") {
        return Ok(());
    }
    install(&["gcc", "libc6-dev"]).context("a C compiler is needed (Debian: `apt-get install gcc libc6-dev`)")
}

/// Installs Debian packages; an error where that is not possible.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if !has("apt-get") {
        bail!("there is no apt-get to install {} with", packages.join(" "));
    }
    if !is_root() {
        bail!("only root can install {}", packages.join(" "));
    }
    run(Command::new("apt-get").args(["-q", "update"]).stdout(std::io::stderr()))?;
    let mut command = Command::new("apt-get");
    command.args(["install", "-q", "-y", "--no-install-recommends"]).args(packages);
    run(command.env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr()))
}

fn is_root() -> bool {
    // The owner of our own entry in /proc is the effective user.
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|metadata| metadata.uid() == 0)
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { bail!("{} ended with {status}", program(command)) }
}

fn program(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Prints a command as one would type it, with the variables set for it.
pub(crate) fn print(command: &Command) {
    eprintln!("$ {}", shown(command));
}

/// A variable whose name says that it is a secret keeps its value to itself.
fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let variables = variables.map(|(name, value)| {
        let name = name.display();
        if name.to_string().contains("SECRET") {
            format!("{name}=… ")
        } else {
            format!("{name}='{}' ", value.display())
        }
    });
    let args = command.get_args().map(|arg| format!(" {}", arg.to_string_lossy()));
    format!("{}{}{}", variables.collect::<String>(), program(command), args.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tally_adds_up_over_harnesses() {
        let mut tally = Tally::default();
        tally.add("running 3 tests");
        tally.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        tally.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(tally, Tally { passed: 4, failed: 2, ignored: 1 });
    }

    #[test]
    fn no_test_is_no_pass() {
        assert!(tests_pass(&mut Command::new("true")).is_err());
        let mut one = Command::new("echo");
        one.arg("test result: ok. 1 passed; 0 failed; 0 ignored");
        assert_eq!(tests_pass(&mut one).unwrap(), "1 tests");
    }

    #[test]
    fn a_hanging_test_is_killed_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600"]);
        let run = run_tests(&mut command, Some(Duration::from_millis(100))).unwrap();
        assert!(matches!(run, TestRun::TimedOut));
    }

    #[test]
    fn no_secret_is_shown() {
        let mut command = Command::new("/bin/suite");
        command.args(["--all"]).env("A_SECRET_KEY", "hidden").env("REGION", "eu");
        assert_eq!(shown(&command), "A_SECRET_KEY=… REGION='eu' suite --all");
    }

    #[test]
    fn failures_carry_the_program() {
        let error = run(&mut Command::new("false")).unwrap_err().to_string();
        assert!(error.starts_with("false ended with "), "{error}");
    }
}
