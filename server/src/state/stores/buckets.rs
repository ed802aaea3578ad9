//! Datastores in buckets: made, opened in the background, changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::SystemRandom;
use coldkeep_chunk_store::bucket::{BucketOpenError, BucketOptions, RebuildProgress, Takeover};
use coldkeep_datastore::{BucketParts, Datastore, OpenError, StoreName};
use coldkeep_s3_client::{Credentials, ProbeReport};

use super::slot::{OpenStore, Opening, Slot};
use super::{StoreConfig, StoreSync, Stores, StoresError, default_path, report_leftovers, set_key};
use crate::bucket::{
    self, BackendConfig, BucketError, Connection, LiveBucket, S3Config, check, check_lifetime,
};
use crate::state::StateError;

/// How long a server that ends tries to give a bucket back.
const LET_GO_WAIT: Duration = Duration::from_secs(5);

/// A datastore that is to be made in a bucket.
pub struct NewBucket {
    /// The bucket, without a probe's report.
    pub config: S3Config,
    /// The folder for the local state; default: below the data folder.
    pub path: Option<PathBuf>,
    /// Free text.
    pub comment: Option<String>,
    /// Credentials that are kept in a file of their own; without them those of the environment are used, now and later.
    pub credentials: Option<Credentials>,
    /// Whether the bucket and the server are to be checked.
    pub is_checked: bool,
    /// What to do if another server holds the bucket.
    pub takeover: Takeover,
}

/// What came of making a datastore in a bucket.
#[derive(Debug)]
pub struct CreatedBucket {
    /// The entry in the list.
    pub config: StoreConfig,
}

impl CreatedBucket {
    /// Returns what the server does, as far as it was checked.
    pub fn probe(&self) -> Option<&ProbeReport> {
        self.config.bucket()?.probe.as_ref()
    }
}

/// What is to be changed of a datastore; what is `None` stays.
#[derive(Default)]
pub struct BucketUpdate {
    /// Free text; empty: none.
    pub comment: Option<String>,
    /// Most bytes of cached content.
    pub cache_size: Option<u64>,
    /// Bytes that there are room for; 0: as good as endless.
    pub quota: Option<u64>,
    /// For how many seconds requests that must not be late are good.
    pub request_lifetime: Option<u64>,
    /// How many seconds the server's clock must show beyond an expiry.
    pub expiry_margin: Option<u64>,
    /// New credentials.
    pub credentials: Option<Credentials>,
}

impl BucketUpdate {
    fn is_about_bucket(&self) -> bool {
        let numbers = [self.request_lifetime, self.expiry_margin];
        let sizes = [self.cache_size, self.quota];
        numbers.iter().any(Option::is_some) || sizes.iter().any(Option::is_some) || self.credentials.is_some()
    }
}

/// How a store in a bucket is to be opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How {
    /// Whether the folder is to be made and checked first.
    pub(super) is_new: bool,
    pub(super) rebuild: bool,
    pub(super) takeover: Takeover,
}

impl Stores {
    /// Makes a store in a bucket, or takes one that is there, and adds it to the list.
    pub(crate) async fn create_bucket(
        self: &Arc<Self>,
        name: StoreName,
        new: NewBucket,
        progress: impl Fn(RebuildProgress) + Send + Sync + 'static,
    ) -> Result<CreatedBucket, StoresError> {
        let _turn = self.changing.lock().await;
        self.check_free(&name)?;
        self.check_prefix(&new.config)?;
        let failed = |source| StoresError::Bucket { name: name.clone(), source: Box::new(source) };
        let mut s3 = new.config;
        if new.is_checked {
            let connection = self.connect_with(&name, &s3, new.credentials.clone()).await.map_err(failed)?;
            let report = Box::pin(check(&connection.client, &connection.backend, &s3)).await;
            s3.probe = Some(report.map_err(|error| failed(Box::new(error).into()))?);
        }
        check_lifetime(&s3).map_err(|error| failed(Box::new(error).into()))?;
        let (gc_grace, gc_margin, sync_level) = (None, None, StoreSync::default());
        let path = new.path.unwrap_or_else(|| default_path(&name));
        let backend = Some(BackendConfig::S3(Box::new(s3.clone())));
        let config = StoreConfig {
            name: name.clone(),
            path,
            comment: new.comment,
            sync_level,
            gc_grace,
            gc_margin,
            backend,
        };
        // With the quirks that the probe found.
        let connection = self.connect_with(&name, &s3, new.credentials.clone()).await.map_err(failed)?;
        let how = How { is_new: true, rebuild: false, takeover: new.takeover };
        let open = self.open_bucket(&config, connection, how, Arc::new(progress)).await?;
        let listed = async {
            if let Some(credentials) = new.credentials {
                self.save_credentials(&name, credentials).await.map_err(|error| failed(error.into()))?;
            }
            self.add(config.clone(), Slot::Open(open.clone())).await
        };
        if let Err(error) = listed.await {
            self.close_one(&open).await;
            return Err(error);
        }
        Ok(CreatedBucket { config })
    }

    /// Changes the entry of a store. What it says of cache and requests counts from the next open on.
    pub(crate) async fn update(&self, name: &StoreName, update: BucketUpdate) -> Result<(), StoresError> {
        let _turn = self.changing.lock().await;
        let mut config = self.config(name)?;
        let is_about_bucket = update.is_about_bucket();
        if let Some(comment) = update.comment {
            config.comment = Some(comment).filter(|comment| !comment.is_empty());
        }
        match &mut config.backend {
            Some(BackendConfig::S3(s3)) => {
                s3.cache_size = update.cache_size.unwrap_or(s3.cache_size);
                if let Some(quota) = update.quota {
                    s3.quota = Some(quota).filter(|quota| *quota > 0);
                }
                s3.request_lifetime = update.request_lifetime.or(s3.request_lifetime);
                s3.expiry_margin = update.expiry_margin.or(s3.expiry_margin);
                let failed = |error| StoresError::Bucket { name: name.clone(), source: Box::new(error) };
                check_lifetime(s3).map_err(|error| failed(Box::new(error).into()))?;
            }
            None if is_about_bucket => return Err(StoresError::NotInBucket { name: name.clone() }),
            None => {}
        }
        if let Some(credentials) = update.credentials {
            self.save_credentials(name, credentials).await?;
        }
        let mut configs = self.configs();
        for entry in configs.iter_mut().filter(|entry| entry.name == *name) {
            *entry = config.clone();
        }
        self.save(configs).await?;
        if let Some(store) = self.lock().get_mut(name) {
            store.config = config;
        }
        Ok(())
    }

    /// Begins to open all stores that are not open yet.
    pub(crate) fn open_buckets(self: &Arc<Self>) {
        for config in self.configs() {
            if matches!(self.slot(&config.name), Ok(Slot::Idle)) {
                self.begin_open(&config.name);
            }
        }
    }

    /// Begins to open a store in a bucket, unless it is open or being opened.
    pub(super) fn begin_open(self: &Arc<Self>, name: &StoreName) {
        let opening = Arc::new(Opening::default());
        let config = {
            let mut stores = self.lock();
            let Some(store) = stores.get_mut(name) else { return };
            let is_due = matches!(store.slot, Slot::Idle | Slot::Failed { .. });
            if !is_due || store.config.bucket().is_none() || self.stop.is_cancelled() {
                return;
            }
            store.slot = Slot::Opening(Arc::clone(&opening));
            store.config.clone()
        };
        let stores = Arc::clone(self);
        self.opening.spawn(async move {
            let opened = stores.reopen(&config, How::default(), &opening);
            let slot = match stores.stop.run_until_cancelled(opened).await {
                Some(Ok(open)) => Slot::Open(open),
                Some(Err(error)) => Slot::failed(&config.name, &error),
                None => {
                    stores.let_go(&config).await;
                    Slot::Idle
                }
            };
            stores.set_slot(&config.name, slot);
            opening.end();
        });
    }

    /// Gives the bucket back of a store whose open was stopped: another server could get it only by taking it over.
    pub(super) async fn let_go(&self, config: &StoreConfig) {
        let given_back = tokio::time::timeout(LET_GO_WAIT, self.give_back(config)).await;
        if !matches!(given_back, Ok(Ok(()))) {
            tracing::warn!(store = %config.name, "the bucket was not given back; other servers have to take it over");
        }
    }

    /// Looks through the cache of a store that was not closed cleanly, in the background: until that is done, the cache
    /// counts less than it holds.
    fn begin_scan(&self, open: &OpenStore) {
        let Some(bucket) = open.store.chunks().as_bucket().filter(|bucket| bucket.needs_cache_scan()) else {
            return;
        };
        let (bucket, name, stop) = (Arc::clone(bucket), open.store.name().clone(), self.stop.clone());
        self.opening.spawn(async move {
            if let Some(Err(error)) = stop.run_until_cancelled(bucket.scan_cache()).await {
                tracing::warn!(store = %name, error = %crate::api::chain(&error), "cannot look through the cache");
            }
        });
    }

    /// Opens a store that is on the list.
    pub(super) async fn reopen(
        &self,
        config: &StoreConfig,
        how: How,
        opening: &Arc<Opening>,
    ) -> Result<OpenStore, StoresError> {
        let connection = self.connect(config).await?;
        let opening = Arc::clone(opening);
        let open = self.open_bucket(config, connection, how, Arc::new(move |at| opening.note(at))).await?;
        report_leftovers(&open.store);
        self.begin_scan(&open);
        tracing::info!(store = %config.name, "datastore is open");
        Ok(open)
    }

    async fn open_bucket(
        &self,
        config: &StoreConfig,
        connection: Connection,
        how: How,
        progress: Arc<dyn Fn(RebuildProgress) + Send + Sync>,
    ) -> Result<OpenStore, StoresError> {
        let (name, folder) = (config.name.clone(), self.folder.join(&config.path));
        let options = self.bucket_options(connection.config(), how, progress).await?;
        let parts = || BucketParts { backend: connection.backend.clone(), options: options.clone() };
        let open = async || Box::pin(Datastore::open_bucket(&folder, name.clone(), parts())).await;
        let opened = if how.is_new {
            match Box::pin(Datastore::create_bucket(&folder, name.clone(), parts())).await {
                // That of a store that was taken off the list.
                Err(OpenError::NotEmpty { .. }) if folder.join(".chunks").is_dir() => open().await,
                other => other,
            }
        } else {
            // A cache that was lost is built anew.
            open().await
        };
        let store = opened.map_err(|source| {
            if let OpenError::Bucket(BucketOpenError::InUse { holder }) = source {
                let source = Box::new(BucketError::InUse { holder });
                return StoresError::Bucket { name: name.clone(), source };
            }
            StoresError::Open { name: name.clone(), source: Box::new(source) }
        })?;
        let live = LiveBucket::new(connection, Arc::clone(&self.options.clock), self.options.upload_deadline);
        Ok(OpenStore { store, bucket: Some(Arc::new(live)) })
    }

    async fn bucket_options(
        &self,
        s3: &S3Config,
        how: How,
        progress: Arc<dyn Fn(RebuildProgress) + Send + Sync>,
    ) -> Result<BucketOptions, StateError> {
        let random = SystemRandom::new().map_err(|_| StateError::Random(getrandom::Error::UNSUPPORTED))?;
        let holder = self.holder().await?;
        let mut options = BucketOptions::new(Arc::clone(&self.options.clock), Arc::new(random), holder);
        options.set_key = set_key();
        options.cache_bytes = s3.cache_size;
        options.lifetimes = s3.lifetimes();
        options.upload_bytes = bucket::UPLOAD_BYTES;
        options.takeover = how.takeover;
        options.rebuild = how.rebuild;
        options.swaps_atomically = s3.swaps_atomically();
        options.progress = Some(progress);
        Ok(options)
    }

    /// Returns this server as the holder of buckets (R11).
    pub(super) async fn holder(&self) -> Result<bucket::Holder, StateError> {
        let path = self.secret("server-id");
        tokio::task::spawn_blocking(move || bucket::holder(&path)).await.map_err(|_| StateError::Lost)?
    }

    /// Connects to the bucket of a store on the list.
    pub(super) async fn connect(&self, config: &StoreConfig) -> Result<Connection, StoresError> {
        let name = &config.name;
        let s3 = config.bucket().ok_or_else(|| StoresError::NotInBucket { name: name.clone() })?;
        let connected = self.connect_with(name, s3, None).await;
        connected.map_err(|source| StoresError::Bucket { name: name.clone(), source: Box::new(source) })
    }

    async fn connect_with(
        &self,
        name: &StoreName,
        s3: &S3Config,
        credentials: Option<Credentials>,
    ) -> Result<Connection, BucketError> {
        let (s3, file) = (s3.clone(), self.credentials_path(name));
        let environment = self.options.s3_credentials.clone();
        let connect = move || match credentials {
            Some(credentials) => Connection::with_credentials(&s3, credentials),
            None => Connection::open(&s3, file, environment.as_ref()),
        };
        tokio::task::spawn_blocking(connect).await.unwrap_or(Err(StateError::Lost.into()))
    }

    async fn save_credentials(&self, name: &StoreName, credentials: Credentials) -> Result<(), StateError> {
        let path = self.credentials_path(name);
        let save = move || bucket::save_credentials(&path, &credentials);
        tokio::task::spawn_blocking(save).await.map_err(|_| StateError::Lost)?
    }

    /// Returns the file with the credentials of a store.
    pub(super) fn credentials_path(&self, name: &StoreName) -> PathBuf {
        self.secret(&format!("s3-{name}.json"))
    }

    fn secret(&self, name: &str) -> PathBuf {
        self.folder.join("secrets").join(Path::new(name))
    }

    /// Checks that no other store of this server lives at the prefix, above or below it.
    fn check_prefix(&self, new: &S3Config) -> Result<(), StoresError> {
        let below = |prefix: &bucket::Prefix| format!("{prefix}/");
        let overlaps = |other: &S3Config| {
            let (ours, theirs) = (below(&new.prefix), below(&other.prefix));
            (&other.endpoint, &other.bucket) == (&new.endpoint, &new.bucket)
                && (ours.starts_with(&theirs) || theirs.starts_with(&ours))
        };
        match self.configs().into_iter().find(|config| config.bucket().is_some_and(overlaps)) {
            Some(other) => Err(StoresError::PrefixTaken { name: other.name }),
            None => Ok(()),
        }
    }

    /// Does what is due once a minute in one store.
    pub(super) async fn tick_one(&self, open: &OpenStore) {
        let chunks = open.store.chunks();
        let done = match chunks.as_bucket() {
            Some(bucket) => bucket.tick().await,
            None => chunks.save_clock().await,
        };
        if let Err(error) = done {
            tracing::warn!(store = %open.store.name(), error = %crate::api::chain(&error), "cannot keep the store's house");
        }
    }
}

/// Tells whether an open that failed may succeed later without anybody changing anything.
pub(super) fn is_passing(error: &OpenError) -> bool {
    matches!(error, OpenError::Bucket(BucketOpenError::Backend(error)) if error.fault.is_transient())
}
