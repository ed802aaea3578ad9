//! The S3 server that stores in buckets are tested on: that of the environment, else one in memory.
//!
//! `COLDKEEP_LIVE_ENDPOINT` and the variables beside it are those of the S3 client's live suite; `cargo xtask matrix`
//! sets them.

use std::collections::BTreeSet;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use coldkeep_s3_client::ops::{CreateBucket, HeadBucket, ListObjectsV2, PutObject};
use coldkeep_s3_client::{Addressing, Client, Config, Credentials, Quirk};
use coldkeep_s3_testbed::{FaultProxy, MemoryS3};
use tokio::runtime::Runtime;

/// Where AWS wants no location to be named.
const DEFAULT_REGION: &str = "us-east-1";

/// What outlives a test: the server in memory, and proxies.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

static NAMED: LazyLock<Option<Live>> = LazyLock::new(Live::of_environment);

static IN_MEMORY: LazyLock<(MemoryS3, Live)> = LazyLock::new(|| {
    let server = block_on(MemoryS3::start());
    let live = Live {
        endpoint: server.endpoint(),
        region: DEFAULT_REGION.to_owned(),
        bucket: "backups".to_owned(),
        access_key: "AKIDEXAMPLE".to_owned(),
        secret_key: "a secret key for tests".to_owned(),
        is_path_style: true,
        lacks: BTreeSet::new(),
        quirks: BTreeSet::new(),
    };
    server.create_bucket(&live.bucket);
    (server, live)
});

/// A bucket of an S3 server.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) bucket: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) is_path_style: bool,
    lacks: BTreeSet<String>,
    quirks: BTreeSet<Quirk>,
}

impl Live {
    /// The server that the environment names.
    pub(crate) fn named() -> Option<&'static Self> {
        NAMED.as_ref()
    }

    /// That server, else one in memory.
    pub(crate) fn any() -> &'static Self {
        Self::named().unwrap_or_else(|| &IN_MEMORY.1)
    }

    /// Whether the server refuses presigned requests after their expiry: they may then be as short-lived as one likes.
    pub(crate) fn bounds_requests(&self) -> bool {
        ["presign", "presign-expiry"].iter().all(|name| !self.lacks.contains(*name))
    }

    /// Whether answers say what their content sums up to: one that is cut is then told from one that is damaged.
    pub(crate) fn sends_checksums(&self) -> bool {
        !self.lacks.contains("checksums")
    }

    /// Whether of two puts at once one writer's object stays, whole and with its own checksum.
    pub(crate) fn keeps_one_writers_object(&self) -> bool {
        !self.lacks.contains("one-writer-wins")
    }

    /// The same bucket through a proxy, which lives as long as it is held.
    pub(crate) fn through_proxy(&self) -> (Self, FaultProxy) {
        let origin = self.address();
        let proxy = block_on(async move { FaultProxy::start(origin).await });
        (Self { endpoint: proxy.endpoint(), ..self.clone() }, proxy)
    }

    fn address(&self) -> SocketAddr {
        let host = self.endpoint.strip_prefix("http://").expect("no proxy can stand before TLS");
        host.trim_end_matches('/').to_socket_addrs().unwrap().next().unwrap()
    }

    fn of_environment() -> Option<Self> {
        let set = |name: &str| {
            std::env::var(format!("COLDKEEP_LIVE_{name}")).ok().filter(|value| !value.is_empty())
        };
        let needed = |name: &str| set(name).unwrap_or_else(|| panic!("COLDKEEP_LIVE_{name} is not set"));
        let list = |name: &str| -> BTreeSet<String> {
            let text = set(name).unwrap_or_default();
            text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let live = Self {
            endpoint: set("ENDPOINT")?,
            region: set("REGION").unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            bucket: set("BUCKET").unwrap_or_else(|| format!("coldkeep-e2e-{}", random())),
            access_key: needed("ACCESS_KEY"),
            secret_key: needed("SECRET_KEY"),
            is_path_style: set("ADDRESSING").is_none_or(|addressing| addressing == "path"),
            lacks: list("LACKS"),
            quirks: list("QUIRKS").iter().map(|name| name.parse::<Quirk>().unwrap()).collect(),
        };
        block_on(prepare(live.client(), set("BUCKET").is_none()));
        Some(live)
    }

    fn client(&self) -> Client {
        let mut config = Config::new(
            self.endpoint.parse().unwrap(),
            self.region.parse().unwrap(),
            self.bucket.parse().unwrap(),
            Credentials::new(&self.access_key, &self.secret_key).unwrap(),
        )
        .unwrap()
        .with_quirks(self.quirks.iter().copied().collect());
        if self.is_path_style {
            config = config.with_addressing(Addressing::Path).unwrap();
        }
        Client::builder(config).build().unwrap()
    }

    /// Writes an object, whatever was there.
    pub(crate) async fn put(&self, key: &str, content: &'static [u8]) {
        let put = PutObject::new(key.parse().unwrap(), Bytes::from_static(content));
        self.client().send(&put).await.unwrap();
    }

    /// The keys of all objects whose keys start with `prefix`.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        let client = self.client();
        let (mut keys, mut token) = (Vec::new(), None);
        loop {
            let mut list = ListObjectsV2::new().with_prefix(prefix);
            if let Some(token) = token {
                list = list.with_token(token);
            }
            let page = client.send(&list).await.unwrap().into_value();
            keys.extend(page.objects.iter().map(|object| object.key.as_str().to_owned()));
            token = page.next;
            if token.is_none() {
                return keys;
            }
        }
    }
}

/// Makes the bucket, or looks whether it is there.
async fn prepare(client: Client, is_new: bool) {
    let region = client.config().region().clone();
    if !is_new {
        client.send(&HeadBucket::new()).await.unwrap();
        return;
    }
    let create = CreateBucket::new();
    let create = if region.as_str() == DEFAULT_REGION { create } else { create.with_location(region) };
    client.send(&create).await.unwrap();
}

/// Something that no other run and no other call has.
pub(crate) fn random() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}", RandomState::new().hash_one((std::process::id(), call)))
}

/// Runs a future to its end outside of the runtime that the caller may be part of.
pub(crate) fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| scope.spawn(|| RUNTIME.block_on(future)).join().unwrap())
}
