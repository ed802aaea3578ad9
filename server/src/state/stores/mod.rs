//! The datastores of a server: their list on disk, and the opened ones.
//!
//! Stores in folders are opened at once, one after the other. Stores in buckets are opened in the background, because one
//! that has to be rebuilt takes minutes: whoever asks for it meanwhile is told how far it is.

mod buckets;
mod config;
mod destroy;
mod error;
mod refresh;
mod slot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use coldkeep_chunk_store::{Clock, StoreOptions, SyncLevel};
use coldkeep_datastore::{Datastore, OpenError, StoreName};
use coldkeep_s3_client::Credentials;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use buckets::{BucketUpdate, CreatedBucket, NewBucket};
pub use config::{StoreConfig, StoreSync};
pub use destroy::Destruction;
pub use error::StoresError;
pub(crate) use slot::OpenStore;
use slot::{Slot, Store};

use super::json_file::{self, PUBLIC_MODE};
use super::{DataDir, StateError};

/// The store that every server begins with.
pub(crate) const DEFAULT_STORE: &str = "default";
/// Most datastores of one server.
const STORES_MAX: usize = 256;

/// What opening stores takes from outside.
pub(crate) struct StoresOptions {
    /// Where the time comes from.
    pub(crate) clock: Arc<dyn Clock>,
    /// Credentials of buckets that have no file with their own.
    pub(crate) s3_credentials: Option<Credentials>,
    /// Longest time for one uploaded body.
    pub(crate) upload_deadline: Duration,
    /// Whether a new data folder begins with a store.
    pub(crate) makes_default: bool,
}

/// The datastores of a server.
pub(crate) struct Stores {
    folder: PathBuf,
    list_path: PathBuf,
    options: StoresOptions,
    open: RwLock<BTreeMap<StoreName, Store>>,
    /// Held while the list changes; before `open`.
    changing: tokio::sync::Mutex<()>,
    /// Opens in the background.
    opening: TaskTracker,
    stop: CancellationToken,
}

impl Stores {
    /// Opens every store on the list but those in buckets. Where there is no list yet, one with the store `default` is
    /// made.
    ///
    /// A store that cannot be opened is reported and left out, so that the others can be used.
    pub(crate) async fn open(data_dir: &DataDir, options: StoresOptions) -> Result<Arc<Self>, StoresError> {
        let list_path = data_dir.config("datastores.json");
        let stores = Arc::new(Self {
            folder: data_dir.folder().to_owned(),
            list_path: list_path.clone(),
            options,
            open: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            opening: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        let read = move || json_file::read::<Option<Vec<StoreConfig>>>(&list_path);
        let Some(list) = tokio::task::spawn_blocking(read).await.map_err(|_| StateError::Lost)?? else {
            if stores.options.makes_default {
                let name: StoreName = DEFAULT_STORE.parse().expect("invariant: the name is well-formed");
                stores.create(name, None, None).await?;
            }
            return Ok(stores);
        };
        for config in list {
            let slot = match config.bucket() {
                Some(_) => Slot::Idle,
                None => stores.open_folder(&config).await.unwrap_or_else(|source| {
                    let (name, source) = (config.name.clone(), Box::new(source));
                    Slot::failed(&config.name, &StoresError::Open { name, source })
                }),
            };
            stores.lock().insert(config.name.clone(), Store { config, slot });
        }
        Ok(stores)
    }

    /// Returns a store. One that was not asked for yet begins to be opened.
    pub(crate) fn get(self: &Arc<Self>, name: &StoreName) -> Result<Arc<Datastore>, StoresError> {
        Ok(self.get_open(name)?.store)
    }

    /// As [`Self::get`], with what goes with the store.
    pub(crate) fn get_open(self: &Arc<Self>, name: &StoreName) -> Result<OpenStore, StoresError> {
        let slot = self.slot(name)?;
        if matches!(slot, Slot::Idle) {
            self.begin_open(name);
        }
        slot.open(name)
    }

    /// Returns a store; waits while it is being opened.
    pub(crate) async fn ready(self: &Arc<Self>, name: &StoreName) -> Result<OpenStore, StoresError> {
        loop {
            match self.slot(name)? {
                Slot::Idle => self.begin_open(name),
                Slot::Opening(opening) => opening.ended().await,
                slot => return slot.open(name),
            }
        }
    }

    /// Lists the stores that are open, by name.
    pub(crate) fn opened(&self) -> Vec<OpenStore> {
        let stores = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open = stores.values().filter_map(|store| match &store.slot {
            Slot::Open(open) => Some(open.clone()),
            _ => None,
        });
        open.collect()
    }

    /// Tells whether a store could not be opened.
    pub(crate) fn has_failed(&self) -> bool {
        let stores = self.open.read().unwrap_or_else(PoisonError::into_inner);
        stores.values().any(|store| matches!(store.slot, Slot::Failed { .. }))
    }

    /// Lists the entries, by name.
    pub(crate) fn configs(&self) -> Vec<StoreConfig> {
        let stores = self.open.read().unwrap_or_else(PoisonError::into_inner);
        stores.values().map(|store| store.config.clone()).collect()
    }

    /// Returns an entry.
    pub(crate) fn config(&self, name: &StoreName) -> Result<StoreConfig, StoresError> {
        let stores = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let store = stores.get(name).ok_or_else(|| StoresError::Unknown { name: name.clone() })?;
        Ok(store.config.clone())
    }

    /// Makes a store in `path` (default: below the data folder), or takes one that is there, and adds it to the list.
    pub(crate) async fn create(
        &self,
        name: StoreName,
        path: Option<PathBuf>,
        comment: Option<String>,
    ) -> Result<(), StoresError> {
        let _turn = self.changing.lock().await;
        self.check_free(&name)?;
        let path = path.unwrap_or_else(|| default_path(&name));
        let sync_level = StoreSync::default();
        let (gc_grace, gc_margin, backend) = (None, None, None);
        let config =
            StoreConfig { name: name.clone(), path, comment, sync_level, gc_grace, gc_margin, backend };
        let slot = match self.open_folder(&config).await {
            Err(OpenError::NotADatastore { .. }) => {
                let folder = self.folder.join(&config.path);
                let created = Datastore::create(&folder, name.clone(), self.options(&config)).await;
                created.map(|store| Slot::Open(OpenStore { store, bucket: None }))
            }
            other => other,
        };
        let slot = slot.map_err(|source| StoresError::Open { name, source: Box::new(source) })?;
        self.add(config, slot).await
    }

    /// Checks that a store of this name can be added.
    fn check_free(&self, name: &StoreName) -> Result<(), StoresError> {
        let configs = self.configs();
        if configs.iter().any(|config| config.name == *name) {
            return Err(StoresError::Exists { name: name.clone() });
        }
        if configs.len() >= STORES_MAX { Err(StoresError::TooMany) } else { Ok(()) }
    }

    /// Adds an entry to the list.
    async fn add(&self, config: StoreConfig, slot: Slot) -> Result<(), StoresError> {
        let mut configs = self.configs();
        configs.push(config.clone());
        self.save(configs).await?;
        self.lock().insert(config.name.clone(), Store { config, slot });
        Ok(())
    }

    /// Takes a store off the list; its folder and content stay. Who still uses it can finish.
    ///
    /// A bucket is given free for other servers, and its credentials are forgotten.
    pub(crate) async fn remove(self: &Arc<Self>, name: &StoreName) -> Result<(), StoresError> {
        let _turn = self.changing.lock().await;
        let config = self.config(name)?;
        if config.bucket().is_some() {
            let open = self.take_slot(name).await?;
            let released = self.release(&config, open).await;
            if let Err(error) = released {
                self.set_slot(name, Slot::Idle);
                return Err(error);
            }
        }
        self.forget(name).await
    }

    /// Takes an entry off the list.
    async fn forget(&self, name: &StoreName) -> Result<(), StoresError> {
        let mut configs = self.configs();
        configs.retain(|config| config.name != *name);
        self.save(configs).await?;
        self.lock().remove(name);
        Ok(())
    }

    /// Does what is due once a minute: saves the clocks of all stores (R12), and tries again to open what may come back.
    pub(crate) async fn tick(self: &Arc<Self>) {
        for open in self.opened() {
            self.tick_one(&open).await;
        }
        let passing = |store: &Store| matches!(store.slot, Slot::Failed { may_pass: true, .. });
        let names: Vec<StoreName> = {
            let stores = self.open.read().unwrap_or_else(PoisonError::into_inner);
            stores.values().filter(|store| passing(store)).map(|store| store.config.name.clone()).collect()
        };
        for name in &names {
            self.begin_open(name);
        }
    }

    /// Ends all stores cleanly; nobody may use them any more.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.opening.close();
        self.opening.wait().await;
        for open in self.opened() {
            self.close_one(&open).await;
        }
    }

    /// Ends one store cleanly.
    async fn close_one(&self, open: &OpenStore) {
        let name = open.store.name();
        if let Err(error) = open.store.chunks().close().await {
            tracing::error!(store = %name, error = %crate::api::chain(&error), "datastore did not close cleanly");
        }
    }

    async fn open_folder(&self, config: &StoreConfig) -> Result<Slot, OpenError> {
        let folder = self.folder.join(&config.path);
        let store = Datastore::open(&folder, config.name.clone(), self.options(config)).await?;
        report_leftovers(&store);
        Ok(Slot::Open(OpenStore { store, bucket: None }))
    }

    fn options(&self, config: &StoreConfig) -> StoreOptions {
        let level = match config.sync_level {
            StoreSync::None => SyncLevel::None,
            StoreSync::Filesystem => SyncLevel::Filesystem,
            StoreSync::File => SyncLevel::File,
        };
        StoreOptions::new(Arc::clone(&self.options.clock)).with_sync_level(level).with_set_key(set_key())
    }

    async fn save(&self, configs: Vec<StoreConfig>) -> Result<(), StateError> {
        let path = self.list_path.clone();
        let write = move || json_file::write(&path, &configs, PUBLIC_MODE);
        tokio::task::spawn_blocking(write).await.map_err(|_| StateError::Lost)?
    }

    fn slot(&self, name: &StoreName) -> Result<Slot, StoresError> {
        let stores = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let store = stores.get(name).ok_or_else(|| StoresError::Unknown { name: name.clone() })?;
        Ok(store.slot.clone())
    }

    fn set_slot(&self, name: &StoreName, slot: Slot) {
        if let Some(store) = self.lock().get_mut(name) {
            store.slot = slot;
        }
    }

    fn lock(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<StoreName, Store>> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folder of a store if nobody names one.
fn default_path(name: &StoreName) -> PathBuf {
    Path::new("stores").join(name.as_str())
}

/// A random number unknown to clients. Only speed depends on it, so a system without random bytes does without.
fn set_key() -> u64 {
    getrandom::u64().unwrap_or_default()
}

fn report_leftovers(store: &Datastore) {
    for error in store.leftover_errors() {
        tracing::warn!(store = %store.name(), error = %crate::api::chain(error), "cannot clear what an unfinished backup left");
    }
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::SystemClock;

    use super::*;

    async fn open(folder: &Path) -> (DataDir, Arc<Stores>) {
        let data_dir = DataDir::open(folder).unwrap();
        let options = StoresOptions {
            clock: Arc::new(SystemClock::new()),
            s3_credentials: None,
            upload_deadline: Duration::from_secs(5),
            makes_default: true,
        };
        let stores = Stores::open(&data_dir, options).await.unwrap();
        (data_dir, stores)
    }

    #[tokio::test]
    async fn the_default_store_is_there_from_the_start_and_the_list_survives() {
        let folder = tempfile::tempdir().unwrap();
        let name: StoreName = "other".parse().unwrap();
        {
            let (_data_dir, stores) = open(folder.path()).await;
            assert!(stores.get(&"default".parse().unwrap()).is_ok());
            assert!(matches!(stores.get(&name), Err(StoresError::Unknown { .. })));
            stores.create(name.clone(), None, Some("second".to_owned())).await.unwrap();
            assert!(matches!(stores.create(name.clone(), None, None).await, Err(StoresError::Exists { .. })));
            stores.close().await;
        }
        let (_data_dir, stores) = open(folder.path()).await;
        assert_eq!(stores.configs().len(), 2);
        stores.remove(&name).await.unwrap();
        assert!(matches!(stores.remove(&name).await, Err(StoresError::Unknown { .. })));
        assert!(folder.path().join("stores/other/.chunks").is_dir(), "content was removed");
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_opened_does_not_take_the_others_down() {
        let folder = tempfile::tempdir().unwrap();
        {
            let (_data_dir, stores) = open(folder.path()).await;
            stores.create("other".parse().unwrap(), None, None).await.unwrap();
        }
        std::fs::remove_dir_all(folder.path().join("stores/default")).unwrap();
        let (_data_dir, stores) = open(folder.path()).await;
        assert!(matches!(stores.get(&"default".parse().unwrap()), Err(StoresError::Unavailable { .. })));
        assert_eq!(stores.opened().len(), 1);
    }
}
