//! `bench s3`: our S3 client beside others, against one server in one run.
//!
//! Each client does each case in a process of its own, so that CPU time and peak memory are its own. The clients take turns, each run
//! beginning with another one, so that whatever else the machine does hits all of them alike.

mod cases;
mod flags;
mod server;

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::output::{Metric, Row, Samples};
use crate::s3::cases::{Case, Kind};

pub(crate) use crate::s3::flags::{Flags, ServerFlags};
pub(crate) use crate::s3::server::{Origin, Target};

/// What the worker calls our client; it also puts the objects that are then got, listed or deleted.
const OURS: &str = "coldkeep";
const GIB: f64 = (1_u64 << 30) as f64;

/// What the worker prints.
#[derive(Debug, serde::Deserialize)]
struct Measured {
    wall_seconds: f64,
    cpu_seconds: f64,
    peak_memory_bytes: u64,
    objects: u64,
    bytes: u64,
}

/// Runs the cases that were asked for.
pub(crate) fn run(flags: &Flags) -> Result<Vec<Row>> {
    // Ends when it is dropped, after the last case.
    let (origin, target);
    match &flags.server {
        ServerFlags::Running(given) => target = given.clone(),
        ServerFlags::Origin(program) => {
            origin = Origin::start(program)?;
            target = origin.target();
        }
    }
    let mut bench = Bench { flags, target, samples: Samples::default() };
    let cases = cases::all(flags.quick);
    let wanted =
        cases.iter().filter(|case| flags.case.as_deref().is_none_or(|part| case.name.contains(part)));
    for case in wanted {
        bench.case(case)?;
    }
    Ok(bench.samples.into_rows())
}

struct Bench<'a> {
    flags: &'a Flags,
    target: Target,
    samples: Samples,
}

impl Bench<'_> {
    fn case(&mut self, case: &Case) -> Result<()> {
        eprintln!("{}", case.name);
        let mut clients = vec![OURS];
        clients.extend(self.flags.peers.iter().map(String::as_str));
        if matches!(case.kind, Kind::Get | Kind::List) {
            self.fill(case)?;
        }
        for _ in 0..self.flags.runs {
            for client in &clients {
                if case.kind == Kind::Delete {
                    self.fill(case)?;
                }
                let measured =
                    self.measure(client, case).with_context(|| format!("{client}: {}", case.name))?;
                self.add(client, case, &measured);
            }
            clients.rotate_left(1);
        }
        Ok(())
    }

    /// Puts the objects that a case needs.
    fn fill(&self, case: &Case) -> Result<()> {
        let needed = case.needed();
        self.measure(OURS, &needed)
            .with_context(|| format!("cannot put what is needed for: {}", case.name))?;
        Ok(())
    }

    fn measure(&self, client: &str, case: &Case) -> Result<Measured> {
        let (size, in_flight) = (case.size.to_string(), case.in_flight.to_string());
        let (objects, keys) = (case.objects.to_string(), case.keys.to_string());
        let args = ["--case", case.kind.name(), "--size", &size, "--in-flight", &in_flight];
        self.worker(client, &[args.as_slice(), &["--objects", &objects, "--keys", &keys]].concat())
    }

    fn worker(&self, client: &str, args: &[&str]) -> Result<Measured> {
        let mut command = Command::new(&self.flags.worker);
        command.args(["--client", client]).args(args);
        let Target { endpoint, region, bucket, access_key, secret_key } = &self.target;
        command.args(["--endpoint", endpoint, "--region", region, "--bucket", bucket]);
        command.args(["--access-key", access_key]).env("COLDKEEP_BENCH_SECRET_KEY", secret_key);
        let output = command.output().context("cannot start the worker")?;
        let error = String::from_utf8_lossy(&output.stderr);
        // Some clients put a thousand keys into one message.
        let start: String = error.trim().chars().take(500).collect();
        ensure!(output.status.success(), "the worker failed: {start}");
        serde_json::from_slice(&output.stdout).context("cannot parse what the worker printed")
    }

    fn add(&mut self, client: &str, case: &Case, measured: &Measured) {
        let who = (client != OURS).then_some(client);
        let Measured { wall_seconds, cpu_seconds, peak_memory_bytes, objects, bytes } = *measured;
        eprintln!("  {client}: {objects} objects in {wall_seconds:.3} s, {cpu_seconds:.3} s of CPU time");
        let mut add = |metric, value| self.samples.add(&case.name, metric, who, value);
        add(Metric::ObjectsPerSecond, objects as f64 / wall_seconds);
        add(Metric::ObjectsPerCpuSecond, objects as f64 / cpu_seconds);
        if bytes > 0 {
            add(Metric::ClientCpuSecondsPerGib, cpu_seconds / (bytes as f64 / GIB));
        }
        add(Metric::PeakMemoryBytes, peak_memory_bytes as f64);
    }
}
