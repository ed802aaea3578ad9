//! Finds out what a server does, and prints it.
//!
//! ```text
//! S3_ACCESS_KEY=… S3_SECRET_KEY=… cargo run --example probe -- ENDPOINT BUCKET [REGION]
//! ```
//!
//! The bucket must be there. With `S3_CREATE=1` it is made first.

use std::error::Error;

use coldkeep_s3_client::ops::CreateBucket;
use coldkeep_s3_client::{Client, Config, Credentials, ProbeOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (endpoint, bucket, region) = match arguments.as_slice() {
        [endpoint, bucket] => (endpoint, bucket, "us-east-1"),
        [endpoint, bucket, region] => (endpoint, bucket, region.as_str()),
        _ => return Err("usage: probe ENDPOINT BUCKET [REGION]".into()),
    };
    let credentials = Credentials::new(&variable("S3_ACCESS_KEY")?, &variable("S3_SECRET_KEY")?)?;
    let config = Config::new(endpoint.parse()?, region.parse()?, bucket.parse()?, credentials)?;
    let client = Client::builder(config).build()?;
    if variable("S3_CREATE").is_ok() {
        client.send(&CreateBucket::new()).await?;
    }
    let report = client.probe(&ProbeOptions::new()).await?;
    println!("{report}");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program, not the library, reads the environment")]
fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}
