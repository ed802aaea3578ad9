//! Finds out what a server does, and prints it. `probe [PREFIX]`
//!
//! Which server, which bucket and as whom stands in the environment; see `connect/mod.rs`, or run it without.

mod connect;

use std::process::ExitCode;

use coldkeep_s3_client::ProbeOptions;
use connect::BoxError;

#[tokio::main]
async fn main() -> ExitCode {
    connect::finish(run().await)
}

async fn run() -> Result<(), BoxError> {
    let client = connect::client()?;
    let prefix = std::env::args().nth(1).unwrap_or_default();
    let report = client.probe(&ProbeOptions::new().with_prefix(&prefix)?).await?;
    print!("{report}");
    Ok(())
}
