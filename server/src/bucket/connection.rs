//! The connection to a bucket: client, backend, and how the store is to be opened on them.

use std::path::PathBuf;
use std::time::Duration;

use coldkeep_chunk_store::backend::{
    AnyBackend, DELETE_KEYS_MAX, ObjectBackend, ObjectKey, RequestBound as BackendBound, S3Backend, Validity,
};
use coldkeep_chunk_store::bucket::InUse;
use coldkeep_chunk_store::{Clock, StoreTime};
use coldkeep_s3_client::probe::RequestBound;
use coldkeep_s3_client::{Client, Credentials, Trust};

use super::config::S3Config;
use super::credentials::FromFile;
use super::{BucketError, credentials};

/// Name of the in-use object (DECISIONS, "names in the bucket").
const IN_USE: &str = ".in-use";
/// How every key of a manifest ends.
const MANIFEST: &str = "/index.json.blob";
/// Longest pause between two looks at the server's clock.
const POLL: Duration = Duration::from_secs(5);

/// Whether an object's turn has come, by its key.
type IsDue = fn(&str) -> bool;

/// A client of a bucket, and the backend over it.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) backend: AnyBackend,
    config: S3Config,
}

impl Connection {
    /// Makes it with fixed credentials. Blocks: certificates are read.
    pub(crate) fn with_credentials(config: &S3Config, credentials: Credentials) -> Result<Self, BucketError> {
        Self::build(config, credentials, None)
    }

    /// Makes it with the credentials in `file`, which is read again whenever these are asked for, else with those of the
    /// environment. Blocks.
    pub(crate) fn open(
        config: &S3Config,
        file: PathBuf,
        environment: Option<&Credentials>,
    ) -> Result<Self, BucketError> {
        match (credentials::read(&file)?, environment) {
            (Some(credentials), _) => Self::build(config, credentials, Some(file)),
            (None, Some(credentials)) => Self::build(config, credentials.clone(), None),
            (None, None) => Err(BucketError::NoCredentials { path: file }),
        }
    }

    fn build(
        config: &S3Config,
        credentials: Credentials,
        file: Option<PathBuf>,
    ) -> Result<Self, BucketError> {
        let mut builder = Client::builder(config.client_config(credentials.clone())?);
        if let Some(file) = file {
            builder = builder.with_credentials(FromFile::new(file, credentials));
        }
        if let Some(fingerprint) = config.fingerprint {
            builder = builder.with_trust(Trust::Pinned(fingerprint));
        }
        let client = builder.build()?;
        let bound = match config.bound() {
            RequestBound::Presigned { .. } => BackendBound::Presigned,
            _ => BackendBound::SignedHeaders,
        };
        let backend = S3Backend::new(client.clone(), config.prefix.as_str(), bound);
        let backend = AnyBackend::new(backend.expect("invariant: a prefix begins keys"));
        Ok(Self { client, backend, config: config.clone() })
    }

    /// Returns the settings.
    pub(crate) fn config(&self) -> &S3Config {
        &self.config
    }

    /// Reads who has the bucket open; `None` if nobody has. A damaged object names somebody unknown.
    pub(crate) async fn in_use(&self) -> Result<Option<InUse>, BucketError> {
        let found = self.backend.get(&key(IN_USE)).await?;
        Ok(found.value.map(|(_, content)| InUse::parse(&content)))
    }

    /// Removes the in-use object if it names the server with this id.
    pub(crate) async fn release(&self, id: &str) -> Result<(), BucketError> {
        if self.in_use().await?.is_some_and(|held| held.holder.id == id) {
            self.delete(&[key(IN_USE)]).await?;
        }
        Ok(())
    }

    /// Deletes everything below the store's prefix, and tells how many objects that were.
    ///
    /// Manifests go first and the in-use object last, so that an interrupted run leaves no snapshot that looks whole, and
    /// no bucket that looks free. Ends only when no delete can take effect any more (R9): a store that is made at the same
    /// place afterwards has the same keys.
    pub(crate) async fn delete_all(
        &self,
        clock: &dyn Clock,
        mut tell: impl FnMut(u64),
    ) -> Result<u64, BucketError> {
        let mut count = 0;
        let passes: [(&str, IsDue); 4] = [
            (".cnt/", |key| key.ends_with(MANIFEST)),
            (".cnt/", |_| true),
            ("", |key| key != IN_USE),
            ("", |_| true),
        ];
        for (prefix, is_due) in passes {
            let mut unclear_until: Option<StoreTime> = None;
            let mut after: Option<String> = None;
            loop {
                let page = self.backend.list(prefix, after.as_deref()).await?.value;
                let keys = page.objects.into_iter().map(|object| object.key);
                let due: Vec<ObjectKey> = keys.filter(|key| is_due(key.as_str())).collect();
                for part in due.chunks(DELETE_KEYS_MAX) {
                    unclear_until = self.delete(part).await?.max(unclear_until);
                    count += part.len() as u64;
                    tell(count);
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            if let Some(until) = unclear_until {
                self.outlast(until, clock).await?;
            }
        }
        Ok(count)
    }

    /// Waits until the server's clock has passed an instant.
    async fn outlast(&self, until: StoreTime, clock: &dyn Clock) -> Result<(), BucketError> {
        tracing::warn!("answers to deletes were lost; waiting until these requests have expired");
        loop {
            let date = self.backend.head(&key(IN_USE)).await?.date;
            if date > until {
                return Ok(());
            }
            clock.sleep(POLL.min(until.since(date) + Duration::from_secs(1))).await;
        }
    }

    /// Deletes objects; returns until when that may take effect once more if an answer was lost.
    async fn delete(&self, keys: &[ObjectKey]) -> Result<Option<StoreTime>, BucketError> {
        // By the server's clock, whatever ours shows.
        let date = self.backend.head(&key(IN_USE)).await?.date;
        let lifetimes = self.config.lifetimes();
        let validity = Validity { signed_at: date, lasts: lifetimes.longest() };
        let deletion = self.backend.delete(keys, validity).await?.value;
        match deletion.refused.into_iter().next() {
            Some((first, reason)) => {
                Err(BucketError::Undeleted { count: keys.len(), key: first.to_string(), reason })
            }
            None => Ok(deletion.is_unclear.then(|| date.plus(lifetimes.longest()).plus(lifetimes.margin))),
        }
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).expect("invariant: the key is well-formed")
}
