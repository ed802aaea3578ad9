//! Removing a datastore with everything in it.

use std::path::PathBuf;
use std::sync::Arc;

use coldkeep_chunk_store::backend::Fault;
use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_datastore::StoreName;

use super::slot::{OpenStore, Slot};
use super::{StoreConfig, Stores, StoresError};
use crate::bucket::BucketError;
use crate::state::StateError;

/// What was removed with a datastore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Destruction {
    /// Objects that were deleted from the bucket.
    pub objects: u64,
}

impl Stores {
    /// Removes a store with everything in it: the objects in its bucket, its folder, its credentials, its entry.
    ///
    /// A run that is interrupted can be repeated.
    pub(crate) async fn destroy(
        self: &Arc<Self>,
        name: &StoreName,
        takeover: Takeover,
        tell: impl FnMut(u64),
    ) -> Result<Destruction, StoresError> {
        let _turn = self.changing.lock().await;
        let config = self.config(name)?;
        let open = self.take_slot(name).await?;
        let destroyed = self.destroy_content(&config, open, takeover, tell).await;
        match destroyed {
            Ok(destruction) => {
                self.forget(name).await?;
                Ok(destruction)
            }
            Err(error) => {
                self.set_slot(name, Slot::failed(name, &error));
                Err(error)
            }
        }
    }

    async fn destroy_content(
        &self,
        config: &StoreConfig,
        open: Option<OpenStore>,
        takeover: Takeover,
        tell: impl FnMut(u64),
    ) -> Result<Destruction, StoresError> {
        let name = &config.name;
        if let Some(open) = open {
            self.shut(open).await;
        }
        let mut destruction = Destruction::default();
        if config.bucket().is_some() {
            let failed = |source| StoresError::Bucket { name: name.clone(), source: Box::new(source) };
            let (connection, ours) = (self.connect(config).await?, self.holder().await?);
            let held = connection.in_use().await.map_err(failed)?;
            if let Some(held) = held.filter(|held| held.holder.id != ours.id)
                && takeover == Takeover::Refuse
            {
                return Err(failed(BucketError::InUse { holder: Box::new(held) }));
            }
            destruction.objects = connection.delete_all(&*self.options.clock, tell).await.map_err(failed)?;
        }
        let folder = self.folder.join(&config.path);
        remove_folder(folder).await.map_err(|source| StoresError::Folder { name: name.clone(), source })?;
        self.remove_credentials(name).await?;
        Ok(destruction)
    }

    /// Closes a store in a bucket and gives the bucket free for other servers.
    pub(super) async fn release(
        &self,
        config: &StoreConfig,
        open: Option<OpenStore>,
    ) -> Result<(), StoresError> {
        if let Some(open) = open {
            self.shut(open).await;
        }
        self.give_back(config).await?;
        self.remove_credentials(&config.name).await
    }

    /// Gives the bucket of a store that is not open free for other servers, also after an end without a close.
    pub(super) async fn give_back(&self, config: &StoreConfig) -> Result<(), StoresError> {
        let (connection, ours) = (self.connect(config).await?, self.holder().await?);
        match connection.release(&ours.id).await {
            // There is nothing left that others could want.
            Err(BucketError::Backend(error)) if matches!(error.fault, Fault::NoBucket) => Ok(()),
            released => released.map_err(|source| StoresError::Bucket {
                name: config.name.clone(),
                source: Box::new(source),
            }),
        }
    }

    async fn remove_credentials(&self, name: &StoreName) -> Result<(), StoresError> {
        let path = self.credentials_path(name);
        let remove = {
            let path = path.clone();
            move || std::fs::remove_file(path)
        };
        match tokio::task::spawn_blocking(remove).await.map_err(|_| StateError::Lost)? {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(StateError::Io { action: "remove", path, source }.into())
            }
            _ => Ok(()),
        }
    }
}

async fn remove_folder(folder: PathBuf) -> std::io::Result<()> {
    let remove = move || match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    tokio::task::spawn_blocking(remove).await.unwrap_or_else(|_| Err(std::io::Error::other("cut short")))
}
