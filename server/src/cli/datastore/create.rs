//! `coldkeep datastore create`.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use coldkeep_chunk_store::bucket::{RebuildProgress, Takeover};
use coldkeep_client::Client;
use coldkeep_datastore::StoreName;
use coldkeep_s3_client::{BucketName, Endpoint, Fingerprint, Region};
use serde_json::json;

use super::audited;
use super::keys::Keys;
use super::lifetimes::Lifetimes;
use crate::Server;
use crate::bucket::{CACHE_SIZE_DEFAULT, Prefix, S3Config, describe_rebuild};
use crate::cli::human;
use crate::cli::shell::Shell;
use crate::cli::target::{Missing, Target, run_on_folder};
use crate::state::{CreatedBucket, DEFAULT_STORE, NewBucket};

/// The arguments of `coldkeep datastore create`.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// The name.
    name: StoreName,
    /// The folder; default: stores/NAME in the data folder. With a bucket it holds markers and the cache.
    path: Option<PathBuf>,
    /// Free text.
    #[arg(long)]
    comment: Option<String>,
    /// Where chunks and snapshots are kept.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    target: Target,
}

/// Where chunks and snapshots are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Backend {
    /// In the folder.
    #[default]
    Filesystem,
    /// In a bucket of an S3 server.
    S3,
}

/// Which bucket.
#[derive(Debug, Args)]
#[command(next_help_heading = "Bucket")]
struct Place {
    /// The server, such as <https://s3.example.com> or {{bucket}}.s3.{{region}}.amazonaws.com.
    #[arg(long, value_name = "URL")]
    endpoint: Option<Endpoint>,
    /// The bucket; it must exist.
    #[arg(long, value_name = "NAME")]
    bucket: Option<BucketName>,
    /// The bucket's region.
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    region: Region,
    /// Put the bucket into the path whatever the endpoint says.
    #[arg(long)]
    path_style: bool,
    /// What all keys begin with; default: the datastore's name.
    #[arg(long)]
    prefix: Option<Prefix>,
    /// SHA-256 of the server's certificate, to be trusted instead of the system's authorities.
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,
}

/// How a bucket is used.
#[derive(Debug, Args)]
#[command(next_help_heading = "Bucket")]
struct How {
    /// Most content that the folder caches.
    #[arg(long, value_name = "SIZE", value_parser = human::parse_bytes, default_value_t = CACHE_SIZE_DEFAULT)]
    cache_size: u64,
    /// Room in the bucket, for `status`; default: as good as endless.
    #[arg(long, value_name = "SIZE", value_parser = human::parse_bytes)]
    quota: Option<u64>,
    /// Do not check bucket and server: assume that requests are good for 15 minutes and that there is no atomic
    /// compare-and-swap.
    #[arg(long)]
    no_check: bool,
    /// Take a server that bounds the age of no request: that no chunk is ever lost is then not guaranteed.
    #[arg(long)]
    accept_late_requests: bool,
    #[command(flatten)]
    lifetimes: Lifetimes,
    /// Take the bucket over from the server that has it open.
    #[arg(long)]
    take_over: bool,
}

impl Create {
    pub(super) async fn run(self, shell: &Shell) -> Result<()> {
        let path = match self.path.as_ref() {
            // Relative to where the command runs, not to the data folder.
            Some(path) if self.target.is_local(shell)? => {
                Some(std::path::absolute(path).context("cannot tell the current directory")?)
            }
            Some(path) if path.is_relative() => bail!("give the whole path of the folder on the server"),
            path => path.cloned(),
        };
        match self.backend {
            Backend::Filesystem => self.run_in_folder(shell, path).await,
            Backend::S3 => self.run_in_bucket(shell, path).await,
        }
    }

    async fn run_in_folder(self, shell: &Shell, path: Option<PathBuf>) -> Result<()> {
        let Self { name, comment, place, target, .. } = self;
        if place.endpoint.is_some() || place.bucket.is_some() {
            bail!("--endpoint and --bucket go with --backend s3");
        }
        let folder = match &path {
            Some(path) => Some(path.to_str().context("the path of the folder is no UTF-8")?),
            None => None,
        };
        let create = async |client: Client| {
            let created = async {
                let upid = client.start_create_datastore(&name, folder, comment.as_deref()).await?;
                anyhow::Ok(client.wait_task(&upid, |_| {}).await?)
            };
            created.await.with_context(|| format!("cannot make the datastore {name}"))
        };
        target.run_on_server(shell, missing(&name), create).await?;
        shell.show(&json!({ "name": name }), |_| format!("made the datastore {name}"))
    }

    async fn run_in_bucket(self, shell: &Shell, path: Option<PathBuf>) -> Result<()> {
        let Self { name, comment, place, how, keys, target, .. } = self;
        if !target.is_local(shell)? {
            bail!("a datastore in a bucket is made on the data folder, while no server runs on it");
        }
        let (Some(endpoint), Some(bucket)) = (place.endpoint, place.bucket) else {
            bail!("--backend s3 wants --endpoint and --bucket");
        };
        let prefix = match place.prefix {
            Some(prefix) => prefix,
            None => name.as_str().parse().context("the name cannot be a prefix; give --prefix")?,
        };
        let config = S3Config {
            endpoint,
            bucket,
            region: place.region,
            path_style: place.path_style,
            prefix,
            fingerprint: place.fingerprint,
            cache_size: how.cache_size,
            accept_late_requests: how.accept_late_requests,
            quota: how.quota,
            request_lifetime: how.lifetimes.request_lifetime,
            expiry_margin: how.lifetimes.expiry_margin,
            probe: None,
        };
        let credentials = keys.for_new_store(shell)?;
        let takeover = if how.take_over { Takeover::Force } else { Takeover::Refuse };
        let new = NewBucket { config, path, comment, credentials, is_checked: !how.no_check, takeover };
        let create = async |server: &Server| {
            let created = async {
                let created = server.create_bucket_datastore(name.clone(), new, tell).await;
                created.with_context(|| format!("cannot make the datastore {name}"))
            };
            audited(server, "datastore create", &name, created).await
        };
        let created = Box::pin(run_on_folder(shell, missing(&name), create)).await?;
        shell.show(&created.config, |_| describe(&created))
    }
}

/// A new data folder begins with a store of its own, unless that is the one to be made.
fn missing(name: &StoreName) -> Missing {
    if name.as_str() == DEFAULT_STORE { Missing::CreateEmpty } else { Missing::Create }
}

fn tell(progress: RebuildProgress) {
    Shell::note_if_watched(&describe_rebuild(Some(progress)));
}

fn describe(created: &CreatedBucket) -> String {
    let mut text = String::new();
    if let Some(probe) = created.probe() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{probe}");
    }
    let _ =
        writeln!(text, "made the datastore {}: {}", created.config.name, super::place_of(&created.config));
    for caveat in created.config.bucket().map(S3Config::caveats).unwrap_or_default() {
        let _ = writeln!(text, "note: {caveat}");
    }
    text
}
