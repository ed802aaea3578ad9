//! The datastores of a server: their list on disk, and the opened ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use coldkeep_chunk_store::{Clock, StoreOptions, SyncLevel};
use coldkeep_datastore::{Datastore, OpenError, StoreName};
use serde::{Deserialize, Serialize};

use super::json_file::{self, PUBLIC_MODE};
use super::{DataDir, StateError};

/// The store that every server begins with.
const DEFAULT_STORE: &str = "default";
/// Most datastores of one server.
const STORES_MAX: usize = 256;

/// An entry in the list of datastores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StoreConfig {
    /// The name.
    pub name: StoreName,
    /// The folder; a relative one is below the data folder.
    pub path: PathBuf,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When writes reach the disk for good.
    #[serde(default)]
    pub sync_level: StoreSync,
    /// Seconds that chunks stay after their last use; absent means what the server was started with (R13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_grace: Option<u64>,
    /// Seconds taken off the cutoff of collections once more; absent means what the server was started with (R13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_margin: Option<u64>,
}

/// When writes reach the disk for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreSync {
    /// Whenever the system likes: a power loss may break committed snapshots.
    None,
    /// The whole filesystem once before each commit.
    #[default]
    Filesystem,
    /// Every chunk when it is written.
    File,
}

/// A datastore cannot be had, made or removed from the list.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoresError {
    /// There is no such store.
    #[error("no such datastore: {name}")]
    Unknown {
        /// The name asked for.
        name: StoreName,
    },
    /// The store is on the list, but could not be opened when the server started.
    #[error("datastore {name} is not available: {reason}")]
    Unavailable {
        /// The store.
        name: StoreName,
        /// Why it could not be opened.
        reason: String,
    },
    /// There is a store of that name already.
    #[error("datastore {name} exists already")]
    Exists {
        /// The name.
        name: StoreName,
    },
    /// There are too many.
    #[error("there are {STORES_MAX} datastores already")]
    TooMany,
    /// The store could not be created or opened.
    #[error("cannot open datastore {name}")]
    Open {
        /// The store.
        name: StoreName,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The list could not be read or saved.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The datastores of a server.
pub(crate) struct Stores {
    folder: PathBuf,
    list_path: PathBuf,
    clock: Arc<dyn Clock>,
    open: RwLock<BTreeMap<StoreName, Store>>,
    changing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Store {
    config: StoreConfig,
    opened: Result<Arc<Datastore>, String>,
}

impl Stores {
    /// Opens every store on the list. Where there is no list yet, one with the store `default` is made.
    ///
    /// A store that cannot be opened is reported and left out, so that the others can be used.
    pub(crate) async fn open(data_dir: &DataDir, clock: Arc<dyn Clock>) -> Result<Self, StoresError> {
        let list_path = data_dir.config("datastores.json");
        let stores = Self {
            folder: data_dir.folder().to_owned(),
            list_path: list_path.clone(),
            clock,
            open: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
        };
        let read = move || json_file::read::<Option<Vec<StoreConfig>>>(&list_path);
        let Some(list) = tokio::task::spawn_blocking(read).await.map_err(|_| StateError::Lost)?? else {
            let name: StoreName = DEFAULT_STORE.parse().expect("invariant: the name is well-formed");
            stores.create(name, None, None).await?;
            return Ok(stores);
        };
        for config in list {
            let opened = stores.open_one(&config).await.map_err(|error| {
                let reason = crate::api::chain(&error);
                tracing::error!(store = %config.name, reason, "datastore is not available");
                reason
            });
            stores.lock().insert(config.name.clone(), Store { config, opened });
        }
        Ok(stores)
    }

    /// Returns a store.
    pub(crate) fn get(&self, name: &StoreName) -> Result<Arc<Datastore>, StoresError> {
        let stores = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let store = stores.get(name).ok_or_else(|| StoresError::Unknown { name: name.clone() })?;
        let unavailable =
            |reason: &String| StoresError::Unavailable { name: name.clone(), reason: reason.clone() };
        store.opened.as_ref().map(Arc::clone).map_err(unavailable)
    }

    /// Lists the stores that are open, by name.
    pub(crate) fn opened(&self) -> Vec<Arc<Datastore>> {
        let stores = self.open.read().unwrap_or_else(PoisonError::into_inner);
        stores.values().filter_map(|store| store.opened.as_ref().ok().cloned()).collect()
    }

    /// Lists the entries, by name.
    pub(crate) fn configs(&self) -> Vec<StoreConfig> {
        let stores = self.open.read().unwrap_or_else(PoisonError::into_inner);
        stores.values().map(|store| store.config.clone()).collect()
    }

    /// Makes a store in `path` (default: below the data folder), or takes one that is there, and adds it to the list.
    pub(crate) async fn create(
        &self,
        name: StoreName,
        path: Option<PathBuf>,
        comment: Option<String>,
    ) -> Result<(), StoresError> {
        let _turn = self.changing.lock().await;
        let mut configs = self.configs();
        if configs.iter().any(|config| config.name == name) {
            return Err(StoresError::Exists { name });
        }
        if configs.len() >= STORES_MAX {
            return Err(StoresError::TooMany);
        }
        let path = path.unwrap_or_else(|| Path::new("stores").join(name.as_str()));
        let sync_level = StoreSync::default();
        let config =
            StoreConfig { name: name.clone(), path, comment, sync_level, gc_grace: None, gc_margin: None };
        let opened = match self.open_one(&config).await {
            Err(OpenError::NotADatastore { .. }) => {
                let folder = self.folder.join(&config.path);
                Datastore::create(&folder, name.clone(), self.options(&config)).await
            }
            other => other,
        };
        let opened = opened.map_err(|source| StoresError::Open { name: name.clone(), source })?;
        configs.push(config.clone());
        self.save(configs).await?;
        self.lock().insert(name, Store { config, opened: Ok(opened) });
        Ok(())
    }

    /// Takes a store off the list; its folder and content stay. Who still uses it can finish.
    pub(crate) async fn remove(&self, name: &StoreName) -> Result<(), StoresError> {
        let _turn = self.changing.lock().await;
        let mut configs = self.configs();
        let count = configs.len();
        configs.retain(|config| config.name != *name);
        if configs.len() == count {
            return Err(StoresError::Unknown { name: name.clone() });
        }
        self.save(configs).await?;
        self.lock().remove(name);
        Ok(())
    }

    /// Saves the clocks of all stores (R12); to be called once a minute.
    pub(crate) async fn tick(&self) {
        for store in self.opened() {
            if let Err(error) = store.chunks().save_clock().await {
                tracing::warn!(store = %store.name(), error = %crate::api::chain(&error), "cannot save the store's clock");
            }
        }
    }

    /// Ends all stores cleanly; nobody may use them any more.
    pub(crate) async fn close(&self) {
        for store in self.opened() {
            if let Err(error) = store.chunks().close().await {
                tracing::error!(store = %store.name(), error = %crate::api::chain(&error), "datastore did not close cleanly");
            }
        }
    }

    async fn open_one(&self, config: &StoreConfig) -> Result<Arc<Datastore>, OpenError> {
        let folder = self.folder.join(&config.path);
        let store = Datastore::open(&folder, config.name.clone(), self.options(config)).await?;
        for error in store.leftover_errors() {
            tracing::warn!(store = %config.name, error = %crate::api::chain(error), "cannot clear what an unfinished backup left");
        }
        Ok(store)
    }

    fn options(&self, config: &StoreConfig) -> StoreOptions {
        let level = match config.sync_level {
            StoreSync::None => SyncLevel::None,
            StoreSync::Filesystem => SyncLevel::Filesystem,
            StoreSync::File => SyncLevel::File,
        };
        // Only speed depends on the key, so a system without random bytes does without.
        let key = getrandom::u64().unwrap_or_default();
        StoreOptions::new(Arc::clone(&self.clock)).with_sync_level(level).with_set_key(key)
    }

    async fn save(&self, configs: Vec<StoreConfig>) -> Result<(), StateError> {
        let path = self.list_path.clone();
        let write = move || json_file::write(&path, &configs, PUBLIC_MODE);
        tokio::task::spawn_blocking(write).await.map_err(|_| StateError::Lost)?
    }

    fn lock(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<StoreName, Store>> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::SystemClock;

    use super::*;

    async fn open(folder: &Path) -> (DataDir, Stores) {
        let data_dir = DataDir::open(folder).unwrap();
        let stores = Stores::open(&data_dir, Arc::new(SystemClock::new())).await.unwrap();
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
