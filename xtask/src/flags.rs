//! The command line of `cargo xtask`.

mod matrix;

use std::ffi::OsString;

use anyhow::{Result, anyhow, bail};
use lexopt::prelude::*;

pub(crate) use matrix::{MatrixFlags, OwnServer, Secret, Selection};

/// What `cargo xtask help` and every usage error print.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask VERB

  test                              unit, integration and documentation tests of every crate
  check                             formatting, clippy, docs, features, MSRV, licences, packaging
  mutants [--quick] [RULE…]         switches each rule off; its hazard tests and the simulation must notice; --quick
                                    leaves out the simulation where it needs minutes
  matrix [--tier quick|full] [--server NAME] [--stress SECONDS]
                                    the suites on every storage backend of the tier (default quick), or on NAME;
                                    writers of the stress scenario write for SECONDS (default 5)
  matrix --endpoint URL --access-key KEY --secret-key-env VARIABLE|--secret-key-file PATH [--region R]
         [--bucket B] [--path-style] [--lacks LIST] [--quirks LIST]
                                    the S3 client's suite on a server of yours, below a random prefix of B or
                                    in a bucket of its own
  model [--quick] [--scenario NAME] [--off SWITCH] [--story none|short|full] [--variant upload-marker-only] [--list]
                                    the rules as a state machine, explored to the end: all on, then each part off
  sim [--seeds N] [--seed S] [--minutes M] [--whole] [--jobs J] [--story] [--steps LIST] [--first-failure]
                                    the store and the collector on a simulated bucket, disk and clock;
                                    with --whole, datastores
  crash [--rounds N] [--seed S] [--power] [--server NAME]
                                    kills a loaded server N times (default 50), half of them with its store in a
                                    bucket, and checks what is left; with --power takes the power away, from a disk
                                    that loses what was not synced. Buckets are in memory, or on NAME of the matrix
  faults [--rounds N] [--seed S] [--server NAME]
                                    backs up, restores and collects over a line that fails all the time, N times
                                    (default 50)
  fuzz [--seconds N] [--target T]   fuzzes each parser (or T) for N seconds (default 30)
  bench e2e [--json] [--size 2GiB] [--runs 3] [--case NAME] [--peers use|install|none]
                                    whole processes: wall time, CPU time, memory
  bench store [--json] [--size 4GiB] [--delay-ms 30] [--runs 1] [--case NAME]
  bench gc [--json] [--runs 3] [--case NAME] [--quick] [--mark-chunks 50000000] [--chunks 1000000]
           [--objects 10000000] [--delay-ms 30] [--parallel 32] [--folder PATH]
                                    the collector on synthetic stores, on a filesystem and in a bucket
  bench list [--json] [--runs 3]    lists of 10,000 snapshots, and what they cost the server
  bench pull [--json] [--mib 4096] [--delay-ms 50] [--runs 3] [--case NAME]
                                    a pull of 20 snapshots between two servers, near and a round trip apart
  bench s3 [--json] [--runs 3] [--case NAME] [--quick] [--aws-sdk] [--peers none]
           [--endpoint URL --bucket NAME --access-key KEY --secret-key-env VARIABLE [--region NAME]]
                                    our S3 client beside others, one process a case";

/// For messages.
const BENCHMARKS: &str = "`e2e`, `gc`, `list`, `pull`, `s3` and `store`";

/// Rounds of a campaign if none are named.
const ROUNDS: u32 = 50;

/// The parsed command line.
#[derive(Debug, PartialEq)]
pub(crate) struct Flags {
    pub(crate) verb: Verb,
}

/// One chore with its flags.
#[derive(Debug, PartialEq)]
pub(crate) enum Verb {
    Help,
    Test,
    Check,
    Mutants(MutantsFlags),
    Matrix(MatrixFlags),
    Sim(SimFlags),
    Model(ModelFlags),
    Crash(CrashFlags),
    Faults(CampaignFlags),
    Fuzz(FuzzFlags),
    Bench(BenchFlags),
}

/// Flags of `mutants`.
#[derive(Debug, PartialEq)]
pub(crate) struct MutantsFlags {
    /// Only these rules (`r2`); empty means all.
    pub(crate) rules: Vec<String>,
    /// Whether rules are passed over of which the simulation needs minutes.
    pub(crate) is_quick: bool,
}

/// Flags of `sim`: they are handed to the simulation as they are; it validates them.
#[derive(Debug, PartialEq)]
pub(crate) struct SimFlags {
    pub(crate) pass_on: Vec<OsString>,
}

/// Flags of `model`, handed on as they are; the model validates their values.
#[derive(Debug, PartialEq)]
pub(crate) struct ModelFlags {
    pub(crate) pass_on: Vec<OsString>,
}

/// Flags of `crash`.
#[derive(Debug, PartialEq)]
pub(crate) struct CrashFlags {
    pub(crate) campaign: CampaignFlags,
    /// Power cuts instead of kills.
    pub(crate) power: bool,
}

/// Flags of `crash` and `faults`.
#[derive(Debug, PartialEq)]
pub(crate) struct CampaignFlags {
    pub(crate) rounds: u32,
    /// What the choices follow from; each campaign has a seed of its own if none is named.
    pub(crate) seed: Option<u64>,
    /// The server of the matrix that has the buckets; without one they are in memory.
    pub(crate) server: Option<String>,
}

/// Flags of `fuzz`.
#[derive(Debug, PartialEq)]
pub(crate) struct FuzzFlags {
    pub(crate) seconds: u32,
    pub(crate) target: Option<String>,
}

/// Flags of `bench`. All but `json`, `peers` and `aws_sdk` are handed to the benchmark as they are; it validates them.
#[derive(Debug, PartialEq)]
pub(crate) struct BenchFlags {
    pub(crate) bench: String,
    pub(crate) json: bool,
    pub(crate) peers: Peers,
    /// Compare `s3` with `aws-sdk-s3` too, which takes minutes to build.
    pub(crate) aws_sdk: bool,
    pub(crate) pass_on: Vec<OsString>,
}

/// What to do about other backup tools.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) enum Peers {
    /// Compare with those that are installed.
    Use,
    /// Install them first (Debian, root).
    Install,
    /// Compare with none.
    None,
}

impl Flags {
    /// Parses the process's own arguments.
    pub(crate) fn from_env() -> Result<Flags> {
        Flags::parse(lexopt::Parser::from_env())
    }

    fn parse(mut args: lexopt::Parser) -> Result<Flags> {
        let verb = match args.next()? {
            None | Some(Short('h') | Long("help")) => return Ok(Flags { verb: Verb::Help }),
            Some(Value(verb)) => verb.string()?,
            Some(other) => return Err(other.unexpected().into()),
        };
        let verb = match verb.as_str() {
            "help" => Verb::Help,
            "test" => end(&mut args).map(|()| Verb::Test)?,
            "check" => end(&mut args).map(|()| Verb::Check)?,
            "mutants" => Verb::Mutants(mutants(&mut args)?),
            "matrix" => Verb::Matrix(matrix::parse(&mut args)?),
            "sim" => Verb::Sim(SimFlags { pass_on: args.raw_args()?.collect() }),
            "model" => Verb::Model(model(&mut args)?),
            "crash" => Verb::Crash(crash(&mut args)?),
            "faults" => Verb::Faults(faults(&mut args)?),
            "fuzz" => Verb::Fuzz(fuzz(&mut args)?),
            "bench" => Verb::Bench(bench(&mut args)?),
            other => bail!("there is no verb `{other}`"),
        };
        Ok(Flags { verb })
    }
}

impl Verb {
    /// The name as typed, for the closing line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Verb::Help => "help",
            Verb::Test => "test",
            Verb::Check => "check",
            Verb::Mutants(_) => "mutants",
            Verb::Matrix(_) => "matrix",
            Verb::Model(_) => "model",
            Verb::Sim(_) => "sim",
            Verb::Crash(_) => "crash",
            Verb::Faults(_) => "faults",
            Verb::Fuzz(_) => "fuzz",
            Verb::Bench(_) => "bench",
        }
    }
}

fn end(args: &mut lexopt::Parser) -> Result<()> {
    match args.next()? {
        None => Ok(()),
        Some(arg) => Err(arg.unexpected().into()),
    }
}

fn mutants(args: &mut lexopt::Parser) -> Result<MutantsFlags> {
    let (mut rules, mut is_quick) = (Vec::new(), false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("quick") => is_quick = true,
            Value(rule) => rules.push(rule.string()?.to_lowercase()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(MutantsFlags { rules, is_quick })
}

fn model(args: &mut lexopt::Parser) -> Result<ModelFlags> {
    let mut pass_on = Vec::new();
    while let Some(arg) = args.next()? {
        match arg {
            Long(name @ ("quick" | "list")) => pass_on.push(format!("--{name}").into()),
            Long(name @ ("scenario" | "off" | "story" | "variant")) => {
                let name = OsString::from(format!("--{name}"));
                let value = args.value()?;
                pass_on.extend([name, value]);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(ModelFlags { pass_on })
}

fn crash(args: &mut lexopt::Parser) -> Result<CrashFlags> {
    let mut flags =
        CrashFlags { campaign: CampaignFlags { rounds: ROUNDS, seed: None, server: None }, power: false };
    while let Some(arg) = args.next()? {
        match arg {
            Long("power") => flags.power = true,
            Long("rounds") => flags.campaign.rounds = at_least_one("--rounds", args)?,
            Long("seed") => flags.campaign.seed = Some(args.value()?.parse()?),
            Long("server") => flags.campaign.server = Some(args.value()?.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(flags)
}

fn faults(args: &mut lexopt::Parser) -> Result<CampaignFlags> {
    let flags = crash(args)?;
    if flags.power { Err(anyhow!("--power is a flag of `crash`")) } else { Ok(flags.campaign) }
}

fn fuzz(args: &mut lexopt::Parser) -> Result<FuzzFlags> {
    let mut flags = FuzzFlags { seconds: 30, target: None };
    while let Some(arg) = args.next()? {
        match arg {
            Long("seconds") => flags.seconds = at_least_one("--seconds", args)?,
            Long("target") => flags.target = Some(args.value()?.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(flags)
}

fn bench(args: &mut lexopt::Parser) -> Result<BenchFlags> {
    let mut bench = None;
    let (mut json, mut peers, mut aws_sdk, mut pass_on) = (false, Peers::Use, false, Vec::new());
    while let Some(arg) = args.next()? {
        match arg {
            Value(name) if bench.is_none() => bench = Some(name.string()?),
            Long("json") => json = true,
            Long("peers") => {
                peers = match args.value()?.string()?.as_str() {
                    "use" => Peers::Use,
                    "install" => Peers::Install,
                    "none" => Peers::None,
                    other => bail!("--peers takes use, install or none, not `{other}`"),
                };
            }
            Long("aws-sdk") => aws_sdk = true,
            Long("quick") => pass_on.push("--quick".into()),
            Long(
                name @ ("size" | "mib" | "runs" | "case" | "chunks" | "endpoint" | "region" | "bucket"
                | "access-key" | "secret-key-env" | "delay-ms" | "mark-chunks" | "objects"
                | "parallel" | "folder"),
            ) => {
                let name = OsString::from(format!("--{name}"));
                let value = args.value()?;
                pass_on.extend([name, value]);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let bench = match bench.as_deref() {
        Some(name) if aws_sdk && name != "s3" => bail!("--aws-sdk is a flag of `bench s3`"),
        Some(name @ ("gc" | "list" | "pull")) if peers != Peers::Use => {
            bail!("the peers of `bench {name}` come with it")
        }
        Some("s3") if peers == Peers::Install => bail!("the peers of `bench s3` are built, not installed"),
        Some(name @ ("e2e" | "gc" | "list" | "pull" | "s3" | "store")) => name.to_owned(),
        Some(other) => bail!("there is no benchmark `{other}` yet; there are {BENCHMARKS}"),
        None => bail!("which benchmark? There are {BENCHMARKS}"),
    };
    Ok(BenchFlags { bench, json, peers, aws_sdk, pass_on })
}

fn at_least_one(flag: &str, args: &mut lexopt::Parser) -> Result<u32> {
    let number: u32 = args.value()?.parse()?;
    if number == 0 { Err(anyhow!("{flag} must be at least 1")) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Verb> {
        Flags::parse(lexopt::Parser::from_args(line.split_whitespace())).map(|flags| flags.verb)
    }

    #[test]
    fn verbs_take_their_flags() {
        assert_eq!(parse("").unwrap(), Verb::Help);
        assert_eq!(parse("test").unwrap(), Verb::Test);
        assert_eq!(
            parse("mutants R2 r13").unwrap(),
            Verb::Mutants(MutantsFlags { rules: vec!["r2".to_owned(), "r13".to_owned()], is_quick: false })
        );
        assert_eq!(
            parse("mutants --quick").unwrap(),
            Verb::Mutants(MutantsFlags { rules: Vec::new(), is_quick: true })
        );
        assert_eq!(
            parse("matrix --server moto").unwrap(),
            Verb::Matrix(MatrixFlags { selection: Selection::Row("moto".to_owned()), stress_seconds: None })
        );
        assert_eq!(
            parse("sim --seeds 3 --minutes 1").unwrap(),
            Verb::Sim(SimFlags { pass_on: ["--seeds", "3", "--minutes", "1"].map(OsString::from).to_vec() })
        );
        let campaign = |rounds, server: Option<&str>| CampaignFlags {
            rounds,
            seed: None,
            server: server.map(str::to_owned),
        };
        let crash = |campaign, power| Verb::Crash(CrashFlags { campaign, power });
        assert_eq!(parse("crash --rounds 7").unwrap(), crash(campaign(7, None), false));
        assert_eq!(parse("crash --power").unwrap(), crash(campaign(50, None), true));
        assert_eq!(parse("crash --server radosgw").unwrap(), crash(campaign(50, Some("radosgw")), false));
        assert_eq!(parse("faults").unwrap(), Verb::Faults(campaign(50, None)));
        assert_eq!(parse("faults --server moto").unwrap(), Verb::Faults(campaign(50, Some("moto"))));
        let seeded = CampaignFlags { seed: Some(9), ..campaign(50, None) };
        assert_eq!(parse("faults --seed 9").unwrap(), Verb::Faults(seeded));
        assert_eq!(
            parse("fuzz --seconds 5 --target blob").unwrap(),
            Verb::Fuzz(FuzzFlags { seconds: 5, target: Some("blob".to_owned()) })
        );
    }

    #[test]
    fn model_passes_its_flags_on() {
        let Verb::Model(flags) = parse("model --quick --off r8-wait --story full").unwrap() else {
            panic!("another verb")
        };
        assert_eq!(flags.pass_on, ["--quick", "--off", "r8-wait", "--story", "full"]);
        parse("model --seeds 3").unwrap_err();
    }

    #[test]
    fn bench_passes_its_sizes_on() {
        let Verb::Bench(flags) = parse("bench e2e --json --size 64MiB --peers none").unwrap() else {
            panic!("another verb")
        };
        assert!(flags.json);
        assert_eq!(flags.peers, Peers::None);
        assert_eq!(flags.pass_on, ["--size", "64MiB"]);
    }

    #[test]
    fn bench_s3_has_flags_of_its_own() {
        let Verb::Bench(flags) = parse("bench s3 --quick --aws-sdk --runs 5").unwrap() else {
            panic!("another verb")
        };
        assert_eq!((flags.bench.as_str(), flags.aws_sdk, flags.json), ("s3", true, false));
        assert_eq!(flags.pass_on, ["--quick", "--runs", "5"]);
        for line in ["bench e2e --aws-sdk", "bench s3 --peers install", "bench s3 --secret-key s"] {
            parse(line).unwrap_err();
        }
    }

    #[test]
    fn bench_gc_passes_its_sizes_on() {
        let Verb::Bench(flags) = parse("bench gc --json --quick --objects 5000 --folder f").unwrap() else {
            panic!("another verb")
        };
        assert_eq!((flags.bench.as_str(), flags.json), ("gc", true));
        assert_eq!(flags.pass_on, ["--quick", "--objects", "5000", "--folder", "f"]);
        for line in ["bench gc --aws-sdk", "bench gc --peers none"] {
            parse(line).unwrap_err();
        }
    }

    #[test]
    fn bench_pull_passes_its_sizes_on() {
        let Verb::Bench(flags) = parse("bench pull --json --mib 400 --delay-ms 20 --runs 1").unwrap() else {
            panic!("another verb")
        };
        assert_eq!((flags.bench.as_str(), flags.json), ("pull", true));
        assert_eq!(flags.pass_on, ["--mib", "400", "--delay-ms", "20", "--runs", "1"]);
        for line in ["bench pull --aws-sdk", "bench pull --peers none"] {
            parse(line).unwrap_err();
        }
    }

    #[test]
    fn what_is_not_built_is_refused() {
        for line in [
            "proof",
            "bench client",
            "matrix --tier slow",
            "test --fast",
            "crash --rounds 0",
            "faults --power",
        ] {
            parse(line).unwrap_err();
        }
    }
}
