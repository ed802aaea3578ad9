//! A client, the proxy that it talks to, the server behind, and the one clock of both.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coldkeep_s3_client::testing::TestClock;
use coldkeep_s3_client::{
    CallOptions, Client, Clock, Config, Credentials, Effect, GetObject, ObjectKey, Outcome, Pending,
    PutObject, RetryPolicy, Timeouts,
};
use coldkeep_s3_testbed::{Answer, Fault, FaultProxy, MemoryS3, Options};

pub(crate) const BUCKET: &str = "bucket";
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// How long the server takes signatures in headers.
pub(crate) const WINDOW: Duration = Duration::from_mins(15);
/// Longer than an attempt may take.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(31);
/// How long an attempt may take, and connecting.
const ATTEMPT: Duration = Duration::from_secs(30);
/// Waits below it pass at once: pauses between attempts, but no deadline.
const SKIPPED_BELOW: Duration = Duration::from_secs(25);

/// When every test begins: Tue, 14 Nov 2023 22:13:20 GMT.
pub(crate) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + TestClock::START
}

/// The time of the client and of the server.
#[derive(Debug)]
pub(crate) struct SharedClock {
    client: TestClock,
    origin: coldkeep_s3_testbed::TestClock,
}

impl SharedClock {
    fn new() -> SharedClock {
        SharedClock {
            client: TestClock::skipping(SKIPPED_BELOW),
            origin: coldkeep_s3_testbed::TestClock::at(start()),
        }
    }

    /// Lets time pass for both.
    pub(crate) fn advance(&self, by: Duration) {
        self.client.advance(by);
        self.origin.set(self.client.now());
    }

    /// Lets time pass up to `instant`.
    pub(crate) fn advance_to(&self, instant: SystemTime) {
        self.advance(instant.duration_since(self.now()).unwrap());
    }

    /// The pauses between attempts so far.
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        self.client.skipped()
    }
}

impl Clock for SharedClock {
    fn now(&self) -> SystemTime {
        self.client.now()
    }

    fn monotonic(&self) -> Duration {
        self.client.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let sleep = self.client.sleep(duration);
        self.origin.set(self.client.now());
        sleep
    }
}

pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) clock: Arc<SharedClock>,
    pub(crate) proxy: FaultProxy,
    pub(crate) origin: MemoryS3,
}

impl Scene {
    /// A server as S3 is, with an empty bucket.
    pub(crate) async fn new() -> Scene {
        Scene::with(Options::default(), |config| config).await
    }

    pub(crate) async fn with(options: Options, change: impl FnOnce(Config) -> Config) -> Scene {
        let clock = Arc::new(SharedClock::new());
        let origin = MemoryS3::start_with(Options { clock: clock.origin.clone(), ..options }).await;
        origin.create_bucket(BUCKET);
        let proxy = FaultProxy::start(origin.address()).await;
        let client = client_of(change(config_of(&proxy.endpoint())), &clock);
        Scene { client, clock, proxy, origin }
    }

    /// Scripts what becomes of the next requests, one fault each.
    pub(crate) fn then(&self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.proxy.next(fault));
    }

    /// What the server holds.
    pub(crate) fn held(&self, key: &str) -> Option<String> {
        let object = self.origin.object(BUCKET, key)?;
        Some(String::from_utf8(object.content()).unwrap())
    }

    /// How many requests of the client came, and how many of them the server got whole.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let seen = self.proxy.seen();
        (seen.len(), seen.iter().filter(|request| request.forwarded).count())
    }

    /// Runs `request` while each of `attempts` attempts stalls and runs into its deadline.
    pub(crate) async fn while_stalling<F: Future>(&self, attempts: usize, request: F) -> F::Output {
        let before = self.proxy.seen().len();
        let time = async {
            for attempt in 0..attempts {
                let is_stalled = |at: usize| {
                    move |seen: &[coldkeep_s3_testbed::Seen]| {
                        seen.get(at).is_some_and(|request| request.stalled)
                    }
                };
                self.proxy.until(is_stalled(before + attempt)).await;
                self.clock.advance(TOO_LONG);
            }
        };
        tokio::join!(request, time).0
    }
}

pub(crate) fn config_of(endpoint: &str) -> Config {
    let credentials = Credentials::new("AKIDEXAMPLE", "geheim-secret-key").unwrap();
    let (region, bucket) = ("us-east-1".parse().unwrap(), BUCKET.parse().unwrap());
    let config = Config::new(endpoint.parse().unwrap(), region, bucket, credentials).unwrap();
    config.with_timeouts(Timeouts::new(ATTEMPT, ATTEMPT, 10 * ATTEMPT).unwrap())
}

/// A client with a clock of its own.
pub(crate) fn client(config: Config) -> Client {
    client_of(config, &Arc::new(SharedClock::new()))
}

fn client_of(config: Config, clock: &Arc<SharedClock>) -> Client {
    let clock: Arc<SharedClock> = Arc::clone(clock);
    Client::builder(config).with_clock(clock).with_seed(7).build().unwrap()
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

pub(crate) fn put(name: &str, content: &str) -> PutObject {
    PutObject::new(key(name), content.to_owned())
}

pub(crate) fn get(name: &str) -> GetObject {
    GetObject::new(key(name))
}

/// Options with this many attempts.
pub(crate) fn tries(attempts: u32) -> CallOptions {
    CallOptions::new().with_retry(RetryPolicy::default().with_attempts_max(attempts).unwrap())
}

/// It happened, and an attempt signed at the start may still be accepted.
pub(crate) fn applied_and_pending() -> Outcome {
    Outcome::new(Effect::Applied, Pending::Until(start() + WINDOW))
}

/// Nobody knows, and an attempt signed at the start may still be accepted.
pub(crate) fn unknown_and_pending() -> Outcome {
    Outcome::new(Effect::Unknown, Pending::Until(start() + WINDOW))
}

pub(crate) fn answered(status: u16, code: &str) -> Fault {
    Fault::Answer(Answer::error(status, code))
}
