//! One object's life: put, head, a range of it, all of it, delete. `put_get [KEY]`
//!
//! Which server, which bucket and as whom stands in the environment; see `connect/mod.rs`, or run it without.

mod connect;

use std::process::ExitCode;

use coldkeep_s3_client::{ByteRange, DeleteObject, GetObject, HeadObject, ObjectKey, PutObject};
use connect::BoxError;

#[tokio::main]
async fn main() -> ExitCode {
    connect::finish(run().await)
}

async fn run() -> Result<(), BoxError> {
    let client = connect::client()?;
    let key = std::env::args().nth(1).unwrap_or_else(|| "coldkeep-example/put get.txt".to_owned());
    let key = ObjectKey::new(key)?;

    let put = PutObject::new(key.clone(), "The quick brown fox jumps over the lazy dog.\n")
        .with_content_type("text/plain")
        .with_metadata("colour", "brown");
    let stored = client.send(&put).await?;
    println!("put      {key}, tag {:?}, attempts: {}", stored.value.etag, stored.attempts);

    let meta = client.send(&HeadObject::new(key.clone())).await?.into_value();
    println!("head     {:?} bytes, {:?}, metadata {:?}", meta.size, meta.content_type, meta.metadata);

    let fox = ByteRange::Bounded { first: 16, last: 18 };
    let part = client.send(&GetObject::new(key.clone()).with_range(fox)).await?.into_value();
    println!("range    {:?} of {:?}", part.content, part.range);

    // Whole content was compared with its length, and with the checksum if the server keeps one.
    let object = client.send(&GetObject::new(key.clone())).await?.into_value();
    println!("get      {:?}", object.content);

    let deleted = client.send(&DeleteObject::new(key.clone())).await?;
    println!("delete   outcome {:?}", deleted.outcome);

    match client.send(&HeadObject::new(key)).await {
        Err(error) if error.is_not_found() => println!("head     not found, as it should be"),
        Err(error) => return Err(error.into()),
        Ok(_) => println!("head     still there: another writer, or a late server"),
    }
    let total = client.stats().total();
    println!(
        "in all   {} requests, {} attempts, {} bytes up, {} down, slowest below {:?}",
        total.requests,
        total.attempts,
        total.bytes_sent,
        total.bytes_received,
        total.latency.quantile(1.0).unwrap_or_default(),
    );
    Ok(())
}
