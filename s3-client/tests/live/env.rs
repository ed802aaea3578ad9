//! The server at hand, as the environment describes it.
//!
//! | variable | meaning |
//! |---|---|
//! | `COLDKEEP_LIVE_ENDPOINT` | where it is; without this one nothing runs |
//! | `COLDKEEP_LIVE_REGION` | what requests are signed for |
//! | `COLDKEEP_LIVE_BUCKET` | an existing bucket; absent: one of a random name, made and removed by the suite |
//! | `COLDKEEP_LIVE_ACCESS_KEY`, `COLDKEEP_LIVE_SECRET_KEY` | credentials |
//! | `COLDKEEP_LIVE_ADDRESSING` | `path` or `virtual` |
//! | `COLDKEEP_LIVE_SERVER` | its name in reports |
//! | `COLDKEEP_LIVE_LACKS` | what it cannot do, separated by commas (`CAPABILITIES` in xtask's table of servers) |
//! | `COLDKEEP_LIVE_QUIRKS` | names of quirks, separated by commas |

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use coldkeep_s3_client::transport::HttpTransport;
use coldkeep_s3_client::{
    Addressing, BucketName, Client, Config, ConfigError, Credentials, Endpoint, ObjectKey, Quirk,
};

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

    /// A key of this run and this test.
    pub(crate) fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::new(format!("{}{name}", self.key_prefix())).unwrap()
    }

    /// What all keys of this run and this test begin with; ends in `/`.
    pub(crate) fn key_prefix(&self) -> String {
        format!("{}{}/", self.server.key_prefix(), self.test.replace("::", "-"))
    }
}

/// A client with settings of its own; start from `env.client().config().clone()`.
pub(crate) fn connect(config: Config) -> Client {
    let transport = HttpTransport::builder(config.endpoint().scheme()).build().unwrap();
    Client::builder(config).build_with(transport)
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
            lacks: list(set("LACKS")).collect(),
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
