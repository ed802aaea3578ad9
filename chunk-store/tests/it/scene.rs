//! A store's backend, the proxy that it talks to, and the server behind.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::backend::{ObjectKey, Put, PutCondition, RequestBound, S3Backend, Validity};
use coldkeep_s3_client::testing::TestClock;
use coldkeep_s3_client::{Client, Config, Credentials, Timeouts};
use coldkeep_s3_testbed::{Answer, Fault, FaultProxy, MemoryS3, Options};

pub(crate) const BUCKET: &str = "bucket";
pub(crate) const STORE: &str = "store";
pub(crate) const MINUTE: Duration = Duration::from_mins(1);

/// How long an attempt may take, and connecting.
const ATTEMPT: Duration = Duration::from_secs(30);

/// Waits below it pass at once: pauses between attempts, but no deadline.
const SKIPPED_BELOW: Duration = Duration::from_secs(25);

pub(crate) struct Scene {
    pub(crate) backend: S3Backend,
    pub(crate) proxy: FaultProxy,
    pub(crate) origin: MemoryS3,
}

impl Scene {
    /// A store `store` in a bucket of a server as S3 is.
    pub(crate) async fn new() -> Scene {
        Scene::with(Options::default(), |config| config).await
    }

    pub(crate) async fn with(options: Options, change: impl FnOnce(Config) -> Config) -> Scene {
        let clock = coldkeep_s3_testbed::TestClock::at(SystemTime::UNIX_EPOCH + TestClock::START);
        let origin = MemoryS3::start_with(Options { clock, ..options }).await;
        origin.create_bucket(BUCKET);
        let proxy = FaultProxy::start(origin.address()).await;
        let backend = backend(change(config(&proxy.endpoint())), STORE, RequestBound::Presigned);
        Scene { backend, proxy, origin }
    }

    /// Scripts what becomes of the next requests, one fault each.
    pub(crate) fn then(&self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.proxy.next(fault));
    }

    /// What the server holds of the store.
    pub(crate) fn held(&self, key: &str) -> Option<String> {
        let object = self.origin.object(BUCKET, &format!("{STORE}/{key}"))?;
        Some(String::from_utf8(object.content()).unwrap())
    }

    /// Stores an object behind the backend's back.
    pub(crate) fn insert(&self, key: &str, content: &'static str) {
        self.origin.insert(BUCKET, &format!("{STORE}/{key}"), content);
    }
}

pub(crate) fn config(endpoint: &str) -> Config {
    let credentials = Credentials::new("AKIDEXAMPLE", "geheim-secret-key").unwrap();
    let (region, bucket) = ("us-east-1".parse().unwrap(), BUCKET.parse().unwrap());
    let config = Config::new(endpoint.parse().unwrap(), region, bucket, credentials).unwrap();
    config.with_timeouts(Timeouts::new(ATTEMPT, ATTEMPT, 10 * ATTEMPT).unwrap())
}

pub(crate) fn backend(config: Config, name: &str, bound: RequestBound) -> S3Backend {
    let clock = Arc::new(TestClock::skipping(SKIPPED_BELOW));
    let client = Client::builder(config).with_clock(clock).with_seed(7).build().unwrap();
    S3Backend::new(client, name, bound).unwrap()
}

/// When every test begins, by the clocks of client and server.
pub(crate) fn start() -> StoreTime {
    StoreTime::EPOCH.plus(TestClock::START)
}

pub(crate) fn a_minute() -> Validity {
    Validity { signed_at: start(), lasts: MINUTE }
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

pub(crate) fn put(name: &str, content: &'static str, condition: PutCondition) -> Put {
    Put { key: key(name), content: content.into(), condition, validity: Some(a_minute()) }
}

pub(crate) fn answered(status: u16, code: &str) -> Fault {
    Fault::Answer(Answer::error(status, code))
}
