//! The command line of `s3`, written by `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lexopt::prelude::*;

use crate::s3::server::Target;

/// What to measure, and with which programs.
#[derive(Debug, PartialEq)]
pub(crate) struct Flags {
    /// Does one case with one client.
    pub(crate) worker: PathBuf,
    pub(crate) server: ServerFlags,
    /// Other clients that the worker knows: `object_store`, `rust-s3`, `aws-sdk`.
    pub(crate) peers: Vec<String>,
    /// One JSON object on standard output instead of a table.
    pub(crate) json: bool,
    /// How often each client does each case; the median counts.
    pub(crate) runs: usize,
    /// Only cases that contain this.
    pub(crate) case: Option<String>,
    /// A tenth of the work, to see that everything runs.
    pub(crate) quick: bool,
}

/// Which server to measure against.
#[derive(Debug, PartialEq)]
pub(crate) enum ServerFlags {
    /// Start this one.
    Origin(PathBuf),
    /// One that runs already, with a bucket that exists.
    Running(Target),
}

impl Flags {
    /// Parses the process's own arguments behind the benchmark's name.
    pub(crate) fn parse(args: &mut lexopt::Parser) -> Result<Flags> {
        Flags::parse_with(args, |name| std::env::var(name).ok())
    }

    fn parse_with(args: &mut lexopt::Parser, lookup: impl FnOnce(&str) -> Option<String>) -> Result<Flags> {
        let (mut worker, mut origin, mut peers) = (None, None, Vec::new());
        let (mut json, mut runs, mut case, mut quick) = (false, 3, None, false);
        let (mut endpoint, mut bucket, mut access_key, mut secret_key_env) = (None, None, None, None);
        let mut region = "us-east-1".to_owned();
        while let Some(arg) = args.next()? {
            match arg {
                Long("worker") => worker = Some(PathBuf::from(args.value()?)),
                Long("origin") => origin = Some(PathBuf::from(args.value()?)),
                Long("peer") => peers.push(args.value()?.string()?),
                Long("json") => json = true,
                Long("runs") => runs = args.value()?.parse()?,
                Long("case") => case = Some(args.value()?.string()?),
                Long("quick") => quick = true,
                Long("endpoint") => endpoint = Some(args.value()?.string()?),
                Long("region") => region = args.value()?.string()?,
                Long("bucket") => bucket = Some(args.value()?.string()?),
                Long("access-key") => access_key = Some(args.value()?.string()?),
                Long("secret-key-env") => secret_key_env = Some(args.value()?.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!(runs > 0, "--runs must be at least 1");
        let server = match endpoint {
            Some(endpoint) => {
                let variable: String = secret_key_env.context("--endpoint needs --secret-key-env")?;
                ServerFlags::Running(Target {
                    endpoint,
                    region,
                    bucket: bucket.context("--endpoint needs --bucket, which must exist")?,
                    access_key: access_key.context("--endpoint needs --access-key")?,
                    secret_key: lookup(&variable)
                        .with_context(|| format!("cannot read the secret key from ${variable}"))?,
                })
            }
            None => ServerFlags::Origin(origin.context("--origin is missing")?),
        };
        let worker = worker.context("--worker is missing")?;
        Ok(Flags { worker, server, peers, json, runs, case, quick })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        let lookup = |name: &str| (name == "KEY").then(|| "hidden".to_owned());
        Flags::parse_with(&mut lexopt::Parser::from_args(line.split_whitespace()), lookup)
    }

    #[test]
    fn a_server_is_started_or_named() {
        let flags = parse("--worker w --origin o --peer rust-s3 --quick").unwrap();
        assert_eq!(flags.server, ServerFlags::Origin("o".into()));
        assert_eq!((flags.peers, flags.runs, flags.quick), (vec!["rust-s3".to_owned()], 3, true));
        let line =
            "--worker w --origin o --endpoint http://h:1 --bucket b --access-key a --secret-key-env KEY";
        let ServerFlags::Running(target) = parse(line).unwrap().server else { panic!("another server") };
        assert_eq!((target.endpoint.as_str(), target.region.as_str()), ("http://h:1", "us-east-1"));
        assert_eq!(target.secret_key, "hidden");
    }

    #[test]
    fn nonsense_is_refused() {
        let described = "--worker w --endpoint http://h:1 --bucket b --access-key a";
        for line in [
            "",
            "--worker w",
            "--worker w --origin o --runs 0",
            "--worker w --endpoint http://h:1",
            described,
            &format!("{described} --secret-key s"),
            &format!("{described} --secret-key-env MISSING"),
        ] {
            parse(line).unwrap_err();
        }
    }
}
