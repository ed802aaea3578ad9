//! Runs the table of tests, one after the other, and reports like the standard harness, which cannot leave tests out at run time.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::iter;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bucket;
use crate::env::{Env, Server};

/// Longest run of one test: enough for a thousand rounds on a slow server.
const TEST_WITHIN: Duration = Duration::from_mins(5);

/// What `cargo test` promises for a failed run.
const FAILED: u8 = 101;

/// One entry of the table.
pub(crate) struct Test {
    /// Module and function.
    pub(crate) name: &'static str,
    /// Capabilities without which it means nothing.
    pub(crate) needs: &'static [&'static str],
    pub(crate) run: fn(Env) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// `test!(put::round_trip)`, or `test!(put::one_winner, needs "conditional-put-atomic")`.
macro_rules! test {
    ($module:ident :: $name:ident $(, needs $($need:literal),+)?) => {
        $crate::runner::Test {
            name: concat!(stringify!($module), "::", stringify!($name)),
            needs: &[$($($need),+)?],
            run: |env| Box::pin($module::$name(env)),
        }
    };
}
pub(crate) use test;

/// How one test ended.
enum Verdict {
    Ok,
    Failed,
    Lacking(&'static str),
}

/// What the command line asks for; the flags of the standard harness that `cargo test` users type.
#[derive(Default)]
struct Flags {
    filters: Vec<String>,
    skips: Vec<String>,
    is_exact: bool,
    is_quiet: bool,
    is_list: bool,
}

/// Counts for the closing line.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    ignored: u32,
    filtered: usize,
}

/// Runs what the command line picks of `tests` on the server that the environment names.
pub(crate) fn run(tests: &[Test]) -> ExitCode {
    let server = match Server::from_env() {
        Ok(Some(server)) => Arc::new(server),
        Ok(None) => {
            println!("no server given (COLDKEEP_LIVE_ENDPOINT): `cargo xtask matrix` starts some");
            println!("{}", Tally { filtered: tests.len(), ..Tally::default() });
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("live: {error}");
            return ExitCode::from(2);
        }
    };
    let flags = match Flags::parse(std::env::args().skip(1)) {
        Ok(flags) => flags,
        Err(error) => {
            eprintln!("live: {error}");
            return ExitCode::from(2);
        }
    };
    let picked: Vec<_> = tests.iter().filter(|test| flags.picks(test.name)).collect();
    if flags.is_list {
        for test in &picked {
            println!("{}: test", test.name);
        }
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("live: cannot start a runtime: {error}");
            return ExitCode::from(2);
        }
    };
    println!("\nrunning {} tests on {server}", picked.len());
    if let Err(error) = runtime.block_on(bucket::prepare(&server)) {
        eprintln!("live: cannot prepare the bucket: {}", chain(&error));
        return ExitCode::from(FAILED);
    }
    let started_at = Instant::now();
    let mut tally = Tally { filtered: tests.len() - picked.len(), ..Tally::default() };
    for test in &picked {
        let verdict = runtime.block_on(test.verdict(&server));
        tally.add(&verdict);
        if !flags.is_quiet || matches!(verdict, Verdict::Failed) {
            println!("test {} ... {verdict}", test.name);
        }
    }
    if let Err(error) = runtime.block_on(bucket::clean_up(&server)) {
        // No failure: a test of versions or locks can leave what cannot be removed yet.
        eprintln!("live: cannot remove what the tests left: {}", chain(&error));
    }
    println!("\n{tally}; finished in {:.2}s\n", started_at.elapsed().as_secs_f64());
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// An error with what caused it, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let causes = iter::successors(error.source(), |&error| error.source());
    iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

impl Test {
    async fn verdict(&self, server: &Arc<Server>) -> Verdict {
        if let Some(lacking) = self.needs.iter().find(|need| server.lacks().contains(**need)) {
            return Verdict::Lacking(lacking);
        }
        // In a task, so that a panic ends this test only; its message is on standard error by then.
        let mut task = tokio::spawn((self.run)(Env::new(server, self.name)));
        match tokio::time::timeout(TEST_WITHIN, &mut task).await {
            Ok(Ok(())) => Verdict::Ok,
            Ok(Err(_)) => Verdict::Failed,
            Err(_) => {
                eprintln!("{}: not done within {} s", self.name, TEST_WITHIN.as_secs());
                task.abort();
                Verdict::Failed
            }
        }
    }
}

impl Flags {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Flags, String> {
        let mut flags = Flags::default();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "-q" | "--quiet" => flags.is_quiet = true,
                "--exact" => flags.is_exact = true,
                "--list" => flags.is_list = true,
                "--skip" => flags.skips.push(args.next().ok_or("--skip needs a name")?),
                // Always so.
                "--nocapture" | "--no-capture" => {}
                flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}")),
                _ => flags.filters.push(arg),
            }
        }
        Ok(flags)
    }

    fn picks(&self, name: &str) -> bool {
        let fits =
            |filter: &String| if self.is_exact { name == filter } else { name.contains(filter.as_str()) };
        (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skips.iter().any(fits)
    }
}

impl Tally {
    fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Ok => self.passed += 1,
            Verdict::Failed => self.failed += 1,
            Verdict::Lacking(_) => self.ignored += 1,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { passed, failed, ignored, filtered } = self;
        let word = if *failed == 0 { "ok" } else { "FAILED" };
        write!(
            f,
            "test result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {filtered} filtered out"
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Ok => f.write_str("ok"),
            Verdict::Failed => f.write_str("FAILED"),
            Verdict::Lacking(capability) => write!(f, "ignored (server lacks {capability})"),
        }
    }
}
