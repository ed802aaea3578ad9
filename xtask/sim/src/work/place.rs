//! The place of one snapshot, claimed by whoever makes or removes it.

use std::sync::Arc;

use coldkeep_chunk_store::bucket::PathClaim;
use coldkeep_chunk_store::testing::MemoryDir;

use super::store::Catalog;
use super::{Context, Store, chain, index, key};
use crate::ledger::{index_key, manifest_key};
use crate::net::SimBackend;

/// A claimed place.
pub(super) enum Place {
    Bucket(PathClaim<MemoryDir, SimBackend>),
    Folder(Arc<Catalog>, String),
}

impl Place {
    /// Claims the place of a snapshot that is to be made.
    pub(super) async fn of_new(context: &Context, path: &str) -> Result<Self, String> {
        let there = "there is a snapshot already".to_owned();
        match &context.store {
            Store::Bucket(store) => {
                let claim = store.claim(path).await.map_err(|error| chain(&error))?;
                let objects = store.list_objects(&format!("{path}/")).await.map_err(|error| chain(&error))?;
                let is_there = objects.iter().any(|object| object.key.as_str() == manifest_key(path));
                if is_there { Err(there) } else { Ok(Self::Bucket(claim)) }
            }
            Store::Folder(_, catalog) if catalog.claim(path) => {
                Ok(Self::Folder(Arc::clone(catalog), path.to_owned()))
            }
            Store::Folder(..) => Err(there),
        }
    }

    /// Claims the place of a snapshot that is to be removed.
    pub(super) async fn of_old(context: &Context, path: &str) -> Result<Self, String> {
        match &context.store {
            Store::Bucket(store) => store.claim(path).await.map(Self::Bucket).map_err(|error| chain(&error)),
            Store::Folder(_, catalog) => Ok(Self::Folder(Arc::clone(catalog), path.to_owned())),
        }
    }

    pub(super) async fn put_index(&self, path: &str, numbers: &[usize]) -> Result<(), String> {
        match self {
            Self::Bucket(claim) => {
                let put = claim.put_new(&key(&index_key(path)), index::encode(numbers)).await;
                put.map_err(|error| chain(&error))
            }
            Self::Folder(catalog, path) => {
                catalog.put_index(path, numbers);
                Ok(())
            }
        }
    }

    /// Puts the manifest, everything else being durable.
    pub(super) async fn commit(&self, context: &Context, path: &str) -> Result<(), String> {
        match (self, &context.store) {
            (Self::Bucket(claim), _) => {
                let manifest = format!("manifest of {path}");
                claim.commit(&key(&manifest_key(path)), manifest.into()).await.map_err(|error| chain(&error))
            }
            (Self::Folder(catalog, path), Store::Folder(store, _)) => {
                store.sync().await.map_err(|error| chain(&error))?;
                catalog.put_manifest(path);
                Ok(())
            }
            _ => unreachable!("a place is one of its store"),
        }
    }

    /// Removes the manifest, and then the rest.
    pub(super) async fn remove(&self, path: &str) -> Result<(), String> {
        match self {
            Self::Bucket(claim) => {
                claim.delete(&[key(&manifest_key(path))]).await.map_err(|error| chain(&error))?;
                claim.delete(&[key(&index_key(path))]).await.map_err(|error| chain(&error))
            }
            Self::Folder(catalog, path) => {
                catalog.remove(path);
                Ok(())
            }
        }
    }

    pub(super) async fn release(self) {
        match self {
            Self::Bucket(claim) => {
                // What the journal could not be told only keeps the path closed for a while after a crash.
                let _ = claim.release().await;
            }
            Self::Folder(catalog, path) => catalog.remove_unfinished(&path),
        }
    }
}
