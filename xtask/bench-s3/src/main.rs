//! One case of `cargo xtask bench s3`, done by one S3 client in a process of its own.
//!
//! Only so are CPU time and peak memory that client's alone. All clients are linked into one program; which one runs is an argument.
//! The time that counts starts once the client is built (root certificates read, runtime started) and ends with the last answer. What
//! was measured is printed as one JSON line.

mod case;
mod clients;
mod flags;
mod measure;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::case::run;
use crate::clients::{coldkeep::Coldkeep, object_store::ObjectStore, rust_s3::RustS3};
use crate::flags::Flags;
use crate::measure::Measured;

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coldkeep-bench-s3-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<()> {
    let flags = Flags::from_env()?;
    // What `#[tokio::main]` makes: the runtime that a program has when it gives the matter no thought.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let measured = runtime.context("cannot start a runtime")?.block_on(measured(&flags))?;
    println!("{}", serde_json::to_string(&measured).context("cannot write JSON")?);
    Ok(())
}

async fn measured(flags: &Flags) -> Result<Measured> {
    match flags.client.as_str() {
        "coldkeep" => run(flags, Coldkeep::new(&flags.server)?).await,
        "object_store" => run(flags, ObjectStore::new(&flags.server)?).await,
        "rust-s3" => run(flags, RustS3::new(&flags.server)?).await,
        #[cfg(feature = "aws-sdk")]
        "aws-sdk" => run(flags, clients::aws_sdk::AwsSdk::new(&flags.server)).await,
        other => bail!("there is no client `{other}` in this program"),
    }
}
