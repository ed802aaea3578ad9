//! The probe against servers whose behaviour is known, because a test set it.

mod bounds;
mod classes;
mod good;
mod lacks;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coldkeep_s3_client::testing::TestClock;
use coldkeep_s3_client::{Client, Config, Credentials, ProbeOptions, ProbeReport};
use coldkeep_s3_testbed::{MemoryS3, Options};

const BUCKET: &str = "probed";

/// Our clock: pauses between attempts pass at once, deadlines only if the test says so.
fn clock() -> Arc<TestClock> {
    Arc::new(TestClock::skipping(Duration::from_secs(5)))
}

/// What [`clock`] shows.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + TestClock::START
}

/// A server of some kind, with a bucket, whose clock stands at [`start`].
async fn server(options: Options) -> MemoryS3 {
    options.clock.set(start());
    let server = MemoryS3::start_with(options).await;
    server.create_bucket(BUCKET);
    server
}

/// A client of what listens at `endpoint`, the same in every run.
fn client(endpoint: &str, clock: Arc<TestClock>) -> Client {
    let credentials = Credentials::new("AKTEST", "secret").unwrap();
    let region = "us-east-1".parse().unwrap();
    let config = Config::new(endpoint.parse().unwrap(), region, BUCKET.parse().unwrap(), credentials);
    Client::builder(config.unwrap()).with_clock(clock).with_seed(7).build().unwrap()
}

/// Probes a server of some kind, which is left as it was.
async fn probe(options: Options) -> ProbeReport {
    let server = server(options).await;
    let report = client(&server.endpoint(), clock()).probe(&ProbeOptions::new()).await.unwrap();
    assert!(report.is_complete, "{report}");
    assert_eq!((&report.remains, server.keys(BUCKET)), (&Vec::new(), Vec::new()), "{report}");
    report
}
