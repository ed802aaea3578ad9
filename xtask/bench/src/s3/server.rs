//! The server that all clients are measured against.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The bucket in a server that we start.
const BUCKET: &str = "bench";

/// Where the bucket is, and who may use it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) bucket: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

/// The S3 server in memory that comes with the test bed. It ends when its standard input does: with this process at the latest.
pub(crate) struct Origin {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    endpoint: String,
}

impl Origin {
    /// Starts it and waits until it says where it listens.
    pub(crate) fn start(program: &Path) -> Result<Origin> {
        eprintln!("$ {} --fast --bucket {BUCKET}", program.display());
        let mut command = Command::new(program);
        command.args(["--fast", "--bucket", BUCKET]);
        Origin::await_address(command)
    }

    /// Starts a proxy in front of this server that delays its answers, and waits until it says where it listens.
    pub(crate) fn delayed(&self, program: &Path, millis: u64) -> Result<Origin> {
        let origin = self.endpoint.trim_start_matches("http://");
        eprintln!("$ {} --origin {origin} --delay-ms {millis}", program.display());
        let mut command = Command::new(program);
        command.args(["--origin", origin, "--delay-ms", &millis.to_string()]);
        Origin::await_address(command)
    }

    fn await_address(mut command: Command) -> Result<Origin> {
        let program = command.get_program().to_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.context("the server has no pipes")?;
        let mut origin = Origin { child, input, output: BufReader::new(output), endpoint: String::new() };
        origin.output.read_line(&mut origin.endpoint).context("cannot read the server's address")?;
        ensure!(origin.endpoint.ends_with('\n'), "the server ended before it said where it listens");
        origin.endpoint.truncate(origin.endpoint.trim_end().len());
        Ok(origin)
    }

    /// Asks the server how many requests it got so far, by method and third part of the path.
    pub(crate) fn counts(&mut self) -> Result<BTreeMap<String, u64>> {
        writeln!(self.input).context("cannot ask the server for its counts")?;
        let mut line = String::new();
        self.output.read_line(&mut line).context("cannot read the server's counts")?;
        let pair = |pair: &str| {
            let (request, count) = pair.split_once('=')?;
            Some((request.to_owned(), count.parse().ok()?))
        };
        line.trim_end()
            .split(',')
            .filter(|text| !text.is_empty())
            .map(pair)
            .collect::<Option<_>>()
            .with_context(|| format!("the server answered {line:?}"))
    }

    /// How to reach it. It takes any credentials.
    pub(crate) fn target(&self) -> Target {
        Target {
            endpoint: self.endpoint.clone(),
            region: "us-east-1".to_owned(),
            bucket: BUCKET.to_owned(),
            access_key: "bench".to_owned(),
            secret_key: "bench".to_owned(),
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // Nothing in it is worth an orderly end. An error means that it has ended.
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(folder: &Path, text: &str) -> std::path::PathBuf {
        let path = folder.join("server");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_address_is_the_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let server = script(
            folder.path(),
            "#!/bin/sh\n[ \"$*\" = '--fast --bucket bench' ] && echo http://127.0.0.1:7\ncat\n",
        );
        assert_eq!(Origin::start(&server).unwrap().target().endpoint, "http://127.0.0.1:7");
    }

    #[test]
    fn a_server_that_ends_at_once_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let server = script(folder.path(), "#!/bin/sh\nexit 1\n");
        assert!(Origin::start(&server).is_err());
    }
}
