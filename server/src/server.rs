//! What all requests share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::Clock;
use coldkeep_chunk_store::bucket::{RebuildProgress, Takeover};
use coldkeep_datastore::{Datastore, StoreName};
use coldkeep_s3_client::Credentials;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::Limits;
use crate::api::{ApiError, Pace, UploadRoom, UserRoom, WholeRoom};
use crate::audit::AuditLog;
use crate::auth::{AuthId, Authenticator, Caller, PasswordHasher};
use crate::jobs::{self, Jobs};
use crate::metrics::Metrics;
use crate::operation::Occupancy;
use crate::pace::Paces;
use crate::protocol::{SessionGate, SessionPlace};
use crate::state::{
    BucketUpdate, CreatedBucket, DataDir, Destruction, Identities, NewBucket, OpenStore, Remotes, StateError,
    StoreConfig, Stores, StoresError, StoresOptions, load_instance_id, load_ticket_key,
};
use crate::sync::SyncReports;
use crate::tasks::Tasks;

/// Most bytes of bodies that sessions of stores in buckets hold beyond the rooms of their stores.
const OWN_BODY_BYTES: usize = 256 << 20;
/// How long after the end of all tasks somebody may still be told how a job ended.
const JOBS_GRACE: Duration = Duration::from_secs(5);
/// How often the clocks of the stores are saved (R12).
const TICK_INTERVAL: Duration = Duration::from_mins(1);

/// The state of a server: users and access list, datastores, tasks. Whatever serves it, on TLS or in memory, shares one.
pub struct Server {
    identities: Arc<Identities>,
    authenticator: Authenticator,
    remotes: Remotes,
    stores: Arc<Stores>,
    tasks: Tasks,
    sync_reports: SyncReports,
    occupancy: Occupancy,
    jobs: Jobs,
    audit: Arc<AuditLog>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    instance_id: String,
    cpu: Arc<Semaphore>,
    rest_room: UploadRoom,
    metrics: Arc<Metrics>,
    sessions: SessionGate,
    upload_room: WholeRoom,
    own_body_room: WholeRoom,
    download_room: WholeRoom,
    paces: Paces,
    // Last, so that the folder is given free when everything else is gone.
    data_dir: DataDir,
}

/// How a server is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The folder with everything; made if it is not there.
    pub data_dir: PathBuf,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// What the server holds at once and how long it waits.
    pub limits: Limits,
    /// Credentials of buckets that have none of their own in the data folder.
    pub s3_credentials: Option<Credentials>,
    /// Whether a new data folder begins with the datastore `default`.
    pub makes_default: bool,
}

impl ServerOptions {
    /// Takes what every server needs.
    pub fn new(data_dir: impl Into<PathBuf>, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self { data_dir: data_dir.into(), clock, limits, s3_credentials: None, makes_default: true }
    }

    /// Lets a new data folder begin without a datastore.
    #[must_use]
    pub fn without_default(mut self) -> Self {
        self.makes_default = false;
        self
    }

    /// Adds credentials for buckets that have none of their own in the data folder.
    #[must_use]
    pub fn with_s3_credentials(mut self, credentials: Option<Credentials>) -> Self {
        self.s3_credentials = credentials;
        self
    }
}

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It serves, and every datastore is open or being opened.
    Serving,
    /// It is about to end.
    ShuttingDown,
    /// It serves, but a datastore cannot be opened.
    DatastoreUnavailable,
}

/// A server could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The data folder could not be used.
    #[error("cannot open the data folder {}", folder.display())]
    State {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: StateError,
    },
    /// The list of stores could not be used, or the first store not be made.
    #[error("cannot open the datastores")]
    Stores(#[from] StoresError),
}

impl ServerError {
    /// Returns the id of the process that has the data folder open, if that is the reason; the inner `None` means unknown.
    pub fn owner(&self) -> Option<Option<u32>> {
        match self {
            Self::State { source, .. } => source.owner(),
            Self::Stores(_) => None,
        }
    }
}

impl Server {
    /// Opens the data folder with everything in it; makes what is missing, but no users and no certificate.
    ///
    /// # Errors
    /// [`ServerError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the folder to the next opener.
    pub async fn open(options: ServerOptions) -> Result<Arc<Self>, ServerError> {
        let ServerOptions { data_dir: folder, clock, limits, s3_credentials, makes_default } = options;
        let failed = |source| ServerError::State { folder: folder.clone(), source };
        let open = {
            let (folder, clock) = (folder.clone(), Arc::clone(&clock));
            let (logins, audit_limits) = (limits.logins.clone(), limits.audit.clone());
            move || {
                let data_dir = DataDir::open(&folder)?;
                let identities = Arc::new(Identities::open(&data_dir, PasswordHasher::new())?);
                let remotes = Remotes::open(&data_dir)?;
                let jobs = Jobs::open(&data_dir)?;
                let key = load_ticket_key(&data_dir)?;
                let authenticator =
                    Authenticator::new(Arc::clone(&identities), key, logins, Arc::clone(&clock));
                let authenticator = authenticator.map_err(StateError::Random)?;
                let audit = AuditLog::open(data_dir.log(), &audit_limits, Arc::clone(&clock));
                let audit = Arc::new(audit.map_err(StateError::Audit)?);
                let tasks = Tasks::open(&data_dir.tasks(), clock).map_err(StateError::Tasks)?;
                let instance_id = load_instance_id(&data_dir)?;
                Ok((data_dir, identities, (remotes, jobs), authenticator, (tasks, audit, instance_id)))
            }
        };
        let opened = tokio::task::spawn_blocking(open).await.unwrap_or(Err(StateError::Lost));
        let (data_dir, identities, (remotes, jobs), authenticator, (tasks, audit, instance_id)) =
            opened.map_err(failed)?;
        let (clock_of_stores, upload_deadline) = (Arc::clone(&clock), limits.upload);
        let stores_options =
            StoresOptions { clock: clock_of_stores, s3_credentials, upload_deadline, makes_default };
        let stores = Stores::open(&data_dir, stores_options).await?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let rest_room = UploadRoom::new(limits.rest_upload_bytes, limits.upload);
        let cpu = Arc::new(Semaphore::new(cores));
        Ok(Arc::new(Self {
            identities,
            authenticator,
            remotes,
            stores,
            tasks,
            sync_reports: SyncReports::default(),
            occupancy: Occupancy::default(),
            jobs,
            audit,
            clock,
            instance_id,
            cpu,
            rest_room,
            metrics: Arc::new(Metrics::new()),
            sessions: SessionGate::new(limits.sessions_max, limits.sessions_per_user_max),
            upload_room: WholeRoom::new(limits.upload_bytes_max),
            own_body_room: WholeRoom::new(OWN_BODY_BYTES),
            download_room: WholeRoom::new(limits.download_bytes_max),
            paces: Paces::new(limits.bandwidth),
            limits,
            data_dir,
        }))
    }

    /// Returns what names this server among others: 32 hexadecimal digits, made at its first start.
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// Returns a datastore. One in a bucket begins to be opened when it is first asked for.
    ///
    /// # Errors
    /// 400 if there is none of that name, it could not be opened, or is not open yet.
    pub fn datastore(&self, name: &StoreName) -> Result<Arc<Datastore>, ApiError> {
        self.stores.get(name).map_err(|error| ApiError::failed(&error))
    }

    /// Returns a datastore with what goes with it.
    pub(crate) fn open_store(&self, name: &StoreName) -> Result<OpenStore, ApiError> {
        self.stores.get_open(name).map_err(|error| ApiError::failed(&error))
    }

    /// Returns a datastore; waits while it is being opened or rebuilt.
    ///
    /// # Errors
    /// [`StoresError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves it being opened.
    pub async fn ready_datastore(&self, name: &StoreName) -> Result<Arc<Datastore>, StoresError> {
        Ok(self.stores.ready(name).await?.store)
    }

    /// Begins to open all datastores in buckets; those in folders are open.
    pub fn open_buckets(&self) {
        self.stores.open_buckets();
    }

    /// Lists the datastores that are open, by name.
    pub fn datastores(&self) -> Vec<Arc<Datastore>> {
        self.open_stores().into_iter().map(|open| open.store).collect()
    }

    /// Lists the datastores that are open, by name, with what goes with them.
    pub(crate) fn open_stores(&self) -> Vec<OpenStore> {
        self.stores.opened()
    }

    /// Lists the entries of all datastores, also of those that could not be opened, by name.
    pub fn datastore_configs(&self) -> Vec<StoreConfig> {
        self.stores.configs()
    }

    /// Returns how a datastore is to be collected.
    pub fn collect_options(&self, name: &StoreName) -> coldkeep_gc::Options {
        let config = self.stores.configs().into_iter().find(|config| config.name == *name);
        let seconds =
            |of: fn(&StoreConfig) -> Option<u64>| config.as_ref().and_then(of).map(Duration::from_secs);
        coldkeep_gc::Options::default()
            .with_grace(seconds(|config| config.gc_grace).unwrap_or(self.limits.gc_grace))
            .with_margin(seconds(|config| config.gc_margin).unwrap_or(self.limits.gc_margin))
    }

    /// Refuses what only datastores in buckets have.
    pub(crate) fn check_in_bucket(&self, name: &StoreName) -> Result<(), ApiError> {
        let failed = |error: StoresError| ApiError::failed(&error);
        match self.stores.config(name).map_err(failed)?.bucket() {
            Some(_) => Ok(()),
            None => Err(failed(StoresError::NotInBucket { name: name.clone() })),
        }
    }

    /// Makes a datastore in `path` (default: below the data folder), or takes the one that is there, and lists it.
    ///
    /// # Errors
    /// [`StoresError`].
    ///
    /// # Cancel safety
    /// The store may be made without being listed; doing it again takes it.
    pub async fn create_datastore(
        &self,
        name: StoreName,
        path: Option<PathBuf>,
        comment: Option<String>,
    ) -> Result<(), StoresError> {
        self.stores.create(name, path, comment).await
    }

    /// Takes a datastore off the list; its folder and content stay.
    ///
    /// # Errors
    /// [`StoresError`].
    ///
    /// # Cancel safety
    /// It is done or not.
    pub async fn remove_datastore(&self, name: &StoreName) -> Result<(), StoresError> {
        self.stores.remove(name).await
    }

    /// Makes a datastore in a bucket, or takes the one that is there, and lists it; `progress` hears how far a rebuild is.
    ///
    /// # Errors
    /// [`StoresError`]; [`crate::bucket::CheckError`] inside it says what is wrong with the bucket or its server.
    ///
    /// # Cancel safety
    /// The store may be made without being listed; doing it again takes it.
    pub async fn create_bucket_datastore(
        &self,
        name: StoreName,
        new: NewBucket,
        progress: impl Fn(RebuildProgress) + Send + Sync + 'static,
    ) -> Result<CreatedBucket, StoresError> {
        self.stores.create_bucket(name, new, progress).await
    }

    /// Changes what the list says of a datastore.
    ///
    /// # Errors
    /// [`StoresError`].
    ///
    /// # Cancel safety
    /// New credentials may be saved without the rest.
    pub async fn update_datastore(&self, name: &StoreName, update: BucketUpdate) -> Result<(), StoresError> {
        self.stores.update(name, update).await
    }

    /// Rebuilds the local state of a datastore from its bucket; `tell` hears how far it is.
    ///
    /// # Errors
    /// [`StoresError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the store closed; it is opened when it is next asked for, and the rebuild goes on.
    pub async fn refresh_datastore(
        &self,
        name: &StoreName,
        takeover: Takeover,
        stop: &CancellationToken,
        tell: impl FnMut(String),
    ) -> Result<(), StoresError> {
        self.stores.refresh(name, takeover, stop, tell).await
    }

    /// Removes a datastore with everything in it; `tell` hears how many objects are gone.
    ///
    /// # Errors
    /// [`StoresError`]; doing it again goes on.
    ///
    /// # Cancel safety
    /// A part may be removed; doing it again goes on.
    pub async fn destroy_datastore(
        &self,
        name: &StoreName,
        takeover: Takeover,
        tell: impl FnMut(u64),
    ) -> Result<Destruction, StoresError> {
        self.stores.destroy(name, takeover, tell).await
    }

    /// Returns the room for the uploads of a new session in a datastore.
    pub(crate) fn session_room(&self, name: &StoreName, caller: &Caller) -> UploadRoom {
        if let Ok(OpenStore { bucket: Some(bucket), .. }) = self.stores.get_open(name) {
            return bucket.session_room(self.own_body_room.of_user(caller.auth_id()));
        }
        UploadRoom::new(self.limits.session_upload_bytes, self.limits.upload)
            .within(self.upload_room.of_user(caller.auth_id()))
    }

    /// Returns the users, tokens and the access list.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Returns the other servers that this one knows.
    pub fn remotes(&self) -> &Remotes {
        &self.remotes
    }

    /// Refuses a user or token that does not exist.
    ///
    /// # Errors
    /// 400.
    pub fn check_owner_exists(&self, who: &AuthId) -> Result<(), ApiError> {
        let unknown = || ApiError::bad_request(format!("there is no user or token {who}"));
        self.identities.exists(who).then_some(()).ok_or_else(unknown)
    }

    /// Returns what checks credentials.
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// Returns the running and ended tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Returns what the last pulls and pushes came to.
    pub(crate) fn sync_reports(&self) -> &SyncReports {
        &self.sync_reports
    }

    /// Returns what is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Tells how the server is.
    pub fn health(&self) -> Health {
        if self.tasks.is_closing() {
            Health::ShuttingDown
        } else if self.stores.has_failed() {
            Health::DatastoreUnavailable
        } else {
            Health::Serving
        }
    }

    /// Returns what this server does by itself.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Returns which datastores something is being done on.
    pub(crate) fn occupancy(&self) -> &Occupancy {
        &self.occupancy
    }

    /// Returns the log of changes, logins and refusals.
    pub fn audit(&self) -> &Arc<AuditLog> {
        &self.audit
    }

    /// Returns the bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the source of time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns the data folder.
    pub fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }

    /// Returns the room for chunks on their way to the readers of a user. Each store in a bucket has its own, so that one bucket that does
    /// not answer holds up no other.
    pub(crate) fn download_room(&self, name: &StoreName, who: &AuthId) -> UserRoom {
        match self.stores.get_open(name) {
            Ok(OpenStore { bucket: Some(bucket), .. }) => bucket.download_room(who),
            _ => self.download_room.of_user(who),
        }
    }

    /// Takes a place for a session.
    ///
    /// # Errors
    /// 503 if there are too many, altogether or of this user.
    pub(crate) fn enter_session(&self, caller: &Caller) -> Result<SessionPlace, ApiError> {
        self.sessions.enter(caller.auth_id())
    }

    /// Returns how fast bodies of this caller may come and go.
    pub(crate) fn pace(&self, caller: &Caller, store: Option<&str>) -> Pace {
        if caller.is_nobody() { Pace::default() } else { self.paces.of(caller.auth_id(), store) }
    }

    pub(crate) fn rest_room(&self) -> &UploadRoom {
        &self.rest_room
    }

    /// Waits until one of the machine's cores is free for heavy work; it is taken until the result is dropped.
    ///
    /// # Errors
    /// 400 while the server shuts down.
    ///
    /// # Cancel safety
    /// Dropping the future gives the place in the queue up.
    async fn cpu_turn(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let permit = Arc::clone(&self.cpu).acquire_owned().await;
        permit.map_err(|_| ApiError::bad_request("the server is shutting down"))
    }

    /// Runs heavy work on a blocking thread, no more at once in the whole server than the machine has cores.
    ///
    /// # Errors
    /// 400 if the work panicked.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop work that has begun.
    pub async fn on_cpu<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = self.cpu_turn().await?;
        // The turn goes with the thread, so that a caller who goes away does not let another one in early.
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::bad_request("the work was cut short"))
    }

    /// Does what is to be done now and then, until `stop`.
    ///
    /// # Cancel safety
    /// Dropping the future skips what was due.
    pub async fn keep_house(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(TICK_INTERVAL)).await.is_some() {
            self.stores.tick().await;
        }
    }

    /// Starts jobs when they are due, until `stop`.
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing more; what runs goes on.
    pub async fn run_jobs(self: &Arc<Self>, stop: &CancellationToken) {
        jobs::run_scheduler(self, stop).await;
    }

    /// Waits up to [`Limits::shutdown`] for running tasks, stops the rest, and closes the datastores. Nothing may be served
    /// any more when this is called.
    ///
    /// # Cancel safety
    /// Dropping the future leaves tasks running and stores open; call it again.
    pub async fn shut_down(&self) {
        self.tasks.shut_down(self.limits.shutdown).await;
        self.jobs.settle(JOBS_GRACE).await;
        self.stores.close().await;
        self.audit.close().await;
    }
}
