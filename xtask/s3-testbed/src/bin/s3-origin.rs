//! `s3-origin [--fast] [--bucket NAME]…`: an S3 server in memory, as a process.
//!
//! Prints `http://127.0.0.1:PORT` on the first line and serves until its standard input ends: whoever started it holds the other end of
//! the pipe, so that it never outlives a benchmark or a test. Each line of the input is answered by a line of what was asked of it so far:
//! `METHOD PART=COUNT` for each method and third part of the path, separated by commas.

use std::io::Write;
use std::process::ExitCode;

use coldkeep_s3_testbed::{MemoryS3, Options};
use lexopt::prelude::{Long, ValueExt};
use tokio::io::{AsyncBufReadExt, BufReader};

fn main() -> ExitCode {
    match parse_flags()
        .map_err(|error| error.to_string())
        .and_then(|flags| run(&flags).map_err(|e| e.to_string()))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("s3-origin: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Flags {
    is_fast: bool,
    buckets: Vec<String>,
}

fn parse_flags() -> Result<Flags, lexopt::Error> {
    let mut flags = Flags { is_fast: false, buckets: Vec::new() };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("fast") => flags.is_fast = true,
            Long("bucket") => flags.buckets.push(parser.value()?.string()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(flags)
}

fn run(flags: &Flags) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build()?;
    runtime.block_on(async {
        let server = MemoryS3::start_with(Options { fast: flags.is_fast, ..Options::default() }).await;
        for bucket in &flags.buckets {
            server.create_bucket(bucket);
        }
        println!("{}", server.endpoint());
        std::io::stdout().flush()?;
        let mut input = BufReader::new(tokio::io::stdin()).lines();
        while input.next_line().await?.is_some() {
            let counts = server.counts();
            let counts: Vec<String> =
                counts.iter().map(|(request, count)| format!("{request}={count}")).collect();
            println!("{}", counts.join(","));
            std::io::stdout().flush()?;
        }
        Ok::<_, std::io::Error>(())
    })?;
    // A read of standard input that is under way would hold up an orderly end.
    runtime.shutdown_background();
    Ok(())
}
