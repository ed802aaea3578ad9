//! The server at hand, as the environment describes it.
//!
//! | variable | meaning |
//! |---|---|
//! | `COLDKEEP_LIVE_ENDPOINT` | where it is; without this one nothing runs |
//! | `COLDKEEP_LIVE_REGION` | what requests are signed for |
//! | `COLDKEEP_LIVE_BUCKET` | an existing bucket, and no other is made; absent: one of a random name, made and removed by the suite |
//! | `COLDKEEP_LIVE_ACCESS_KEY`, `COLDKEEP_LIVE_SECRET_KEY` | credentials |
//! | `COLDKEEP_LIVE_ADDRESSING` | `path` or `virtual` |
//! | `COLDKEEP_LIVE_SERVER` | its name in reports |
//! | `COLDKEEP_LIVE_LACKS` | what it cannot do, separated by commas (`CAPABILITIES` in xtask's table of servers) |
//! | `COLDKEEP_LIVE_QUIRKS` | names of quirks, separated by commas |

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use coldkeep_s3_client::transport::HttpTransport;
use coldkeep_s3_client::{
    Addressing, BucketName, Client, Config, ConfigError, Credentials, Endpoint, GetObject, HeadObject,
    ObjectKey, Payload, PutObject, Quirk,
};

/// Buckets can be made: a capability that the suite rules out where it is given one.
const OWN_BUCKETS: &str = "own-buckets";

/// The server, and one test's place on it. Clones are cheap.
#[derive(Clone)]
pub(crate) struct Env {
    server: Arc<Server>,
    test: &'static str,
}

/// What all tests share.
pub(crate) struct Server {
    name: String,
    client: Client,
    lacks: BTreeSet<String>,
    has_own_bucket: bool,
    /// Different in each run, so that runs do not meet.
    run: String,
}

impl Env {
    /// The place of the test `test`.
    pub(crate) fn new(server: &Arc<Server>, test: &'static str) -> Env {
        Env { server: Arc::clone(server), test }
    }

    /// A client of the suite's bucket, which all tests share.
    pub(crate) fn client(&self) -> &Client {
        &self.server.client
    }

    /// Whether the server is not said to lack this.
    pub(crate) fn has(&self, capability: &str) -> bool {
        !self.server.lacks.contains(capability)
    }

    /// The settings of the suite's client.
    pub(crate) fn config(&self) -> Config {
        self.server.client.config().clone()
    }

    /// Puts an object.
    pub(crate) async fn put(&self, name: &str, content: impl Into<Payload>) -> ObjectKey {
        let key = self.key(name);
        self.client().send(&PutObject::new(key.clone(), content)).await.unwrap();
        key
    }

    /// Reads an object, which must be there.
    pub(crate) async fn content(&self, key: &ObjectKey) -> Bytes {
        self.client().send(&GetObject::new(key.clone())).await.unwrap().into_value().content
    }

    /// Whether there is an object.
    pub(crate) async fn is_there(&self, key: &ObjectKey) -> bool {
        match self.client().send(&HeadObject::new(key.clone())).await {
            Ok(_) => true,
            Err(error) if error.is_not_found() => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// A key of this run and this test.
    pub(crate) fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::new(format!("{}{name}", self.key_prefix())).unwrap()
    }

    /// What all keys of this run and this test begin with; ends in `/`.
    pub(crate) fn key_prefix(&self) -> String {
        format!("{}{}/", self.server.key_prefix(), self.test.replace("::", "-"))
    }
}

/// A client with settings of its own; start from [`Env::config`].
pub(crate) fn connect(config: Config) -> Client {
    let transport = transport(&config);
    Client::builder(config).build_with(transport)
}

/// Connections of their own to the same server.
pub(crate) fn transport(config: &Config) -> HttpTransport {
    HttpTransport::builder(config.endpoint().scheme()).build().unwrap()
}

impl Server {
    /// Reads the environment; nothing if it names no server.
    #[expect(
        clippy::disallowed_methods,
        reason = "a program of its own, which is told so where its server is"
    )]
    pub(crate) fn from_env() -> Result<Option<Server>, String> {
        Server::from_variables(|name| std::env::var(format!("COLDKEEP_LIVE_{name}")).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Server>, String> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let needed = |name: &str| set(name).ok_or(format!("COLDKEEP_LIVE_{name} is not set"));
        let Some(endpoint) = set("ENDPOINT") else { return Ok(None) };
        let addressing = match set("ADDRESSING").as_deref() {
            None | Some("path") => Addressing::Path,
            Some("virtual") => Addressing::VirtualHosted,
            Some(other) => {
                return Err(format!("COLDKEEP_LIVE_ADDRESSING is `{other}`, not `path` or `virtual`"));
            }
        };
        let random = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let has_own_bucket = set("BUCKET").is_none();
        let bucket = set("BUCKET").unwrap_or_else(|| format!("coldkeep-live-{random}"));
        let mut lacks: BTreeSet<_> = list(set("LACKS")).collect();
        if !has_own_bucket {
            // Who names a bucket may not be allowed to make another, or not want one.
            lacks.insert(OWN_BUCKETS.to_owned());
        }
        let access_key = needed("ACCESS_KEY")?;
        let secret_key = needed("SECRET_KEY")?;
        let config = || {
            let endpoint: Endpoint = hosting(&endpoint, addressing).parse()?;
            let region = set("REGION").unwrap_or_else(|| "us-east-1".to_owned()).parse()?;
            let bucket: BucketName = bucket.parse()?;
            let quirks = list(set("QUIRKS")).map(|name| name.parse::<Quirk>()).collect::<Result<_, _>>()?;
            let credentials = Credentials::new(&access_key, &secret_key)?;
            Ok(Config::new(endpoint, region, bucket, credentials)?
                .with_addressing(addressing)?
                .with_quirks(quirks))
        };
        let config = config().map_err(|error: ConfigError| error.to_string())?;
        Ok(Some(Server {
            name: set("SERVER").unwrap_or_else(|| "unnamed".to_owned()),
            client: connect(config),
            lacks,
            has_own_bucket,
            run: random,
        }))
    }

    /// What it is said to lack.
    pub(crate) fn lacks(&self) -> &BTreeSet<String> {
        &self.lacks
    }

    /// A client of the suite's bucket.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the bucket is made and removed by the suite.
    pub(crate) fn has_own_bucket(&self) -> bool {
        self.has_own_bucket
    }

    /// What all keys of this run begin with; ends in `/`.
    pub(crate) fn key_prefix(&self) -> String {
        format!("coldkeep-live/{}/", self.run)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.client.config();
        write!(f, "{} at {}, bucket {}", self.name, config.endpoint(), config.bucket())
    }
}

/// Virtual-hosted addressing needs a place for the bucket in the host name.
fn hosting(endpoint: &str, addressing: Addressing) -> String {
    let label = "{{bucket}}.";
    if addressing != Addressing::VirtualHosted || endpoint.contains(label) {
        return endpoint.to_owned();
    }
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{label}{host}"),
        None => format!("{label}{endpoint}"),
    }
}

fn list(names: Option<String>) -> impl Iterator<Item = String> {
    let names: Vec<_> = names.unwrap_or_default().split(',').map(|name| name.trim().to_owned()).collect();
    names.into_iter().filter(|name| !name.is_empty())
}
