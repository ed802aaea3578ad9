//! The references of a bucket, read from its own listing (R10), as a server of Coldkeep gives them to the collector.

use std::collections::BTreeMap;
use std::sync::Arc;

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::backend::ObjectInfo;
use coldkeep_chunk_store::bucket::PathError;
use coldkeep_gc::{Control, Outcome, References, Sink, Tidied};

use super::{CONTENT, Catalog, Context, InBucket, chain, index, key};
use crate::ledger::{INDEX, manifest_key};

/// The indexes in the bucket.
pub(super) struct BucketReferences(pub(super) Context, pub(super) Arc<InBucket>);

/// The indexes beside a store on a filesystem.
pub(super) struct FolderReferences(pub(super) Context, pub(super) Arc<Catalog>);

#[derive(Debug)]
pub(super) enum ReferenceError {
    Path(PathError),
    Damaged,
}

impl std::fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(error) => f.write_str(&chain(error)),
            Self::Damaged => f.write_str("the index is damaged"),
        }
    }
}

impl std::error::Error for ReferenceError {}

impl References for BucketReferences {
    type Index = String;
    type Error = ReferenceError;

    async fn list(&self) -> Result<Vec<String>, ReferenceError> {
        let objects = self.1.list_objects(CONTENT).await.map_err(ReferenceError::Path)?;
        let keys = objects.into_iter().map(|object| object.key.to_string());
        Ok(keys.filter(|key| key.ends_with(INDEX)).collect())
    }

    async fn tidy(&self, _cutoff: StoreTime, _dry_run: bool, _control: &Control) -> Tidied {
        let mut tidied = Tidied::default();
        let objects = match self.1.list_objects(CONTENT).await {
            Ok(objects) => objects,
            Err(error) => {
                tidied.failures.push(chain(&error));
                return tidied;
            }
        };
        if !self.1.knows_all_claims() {
            tidied.failures.extend(self.1.settle_expired().await.err().map(|error| chain(&error)));
        }
        if !self.1.knows_all_claims() {
            tidied.in_use = unfinished(&objects).len() as u64;
            return tidied;
        }
        for path in unfinished(&objects) {
            match self.clear(&path).await {
                Ok(true) => tidied.removed += 1,
                Ok(false) => {}
                Err(PathError::InUse { .. } | PathError::NotExpired { .. }) => tidied.in_use += 1,
                Err(error) => tidied.failures.push(chain(&error)),
            }
        }
        tidied
    }

    async fn read(&self, name: &String, mut sink: Sink) -> Result<Outcome, ReferenceError> {
        let Some((_, content)) = self.1.read_object(&key(name)).await.map_err(ReferenceError::Path)? else {
            return Ok(Outcome::Gone);
        };
        let numbers = index::decode(&content).ok_or(ReferenceError::Damaged)?;
        let digests: Vec<_> = numbers.iter().map(|number| self.0.chunks.digest(*number)).collect();
        let _ = sink.push(&digests);
        Ok(Outcome::Read { references: digests.len() as u64, data_bytes: 0 })
    }
}

impl References for FolderReferences {
    type Index = String;
    type Error = ReferenceError;

    async fn list(&self) -> Result<Vec<String>, ReferenceError> {
        Ok(self.1.indexes())
    }

    async fn read(&self, path: &String, mut sink: Sink) -> Result<Outcome, ReferenceError> {
        let Some(numbers) = self.1.index(path) else { return Ok(Outcome::Gone) };
        let digests: Vec<_> = numbers.iter().map(|number| self.0.chunks.digest(*number)).collect();
        let _ = sink.push(&digests);
        Ok(Outcome::Read { references: digests.len() as u64, data_bytes: 0 })
    }
}

impl BucketReferences {
    /// Removes what is left at a path without manifest; returns whether there was something.
    async fn clear(&self, path: &str) -> Result<bool, PathError> {
        let store = &self.1;
        // Nobody has a claim and no request is on its way: what the bucket shows now stays as it is.
        let claim = store.claim(path).await?;
        let cleared = async {
            let objects = store.list_objects(&format!("{path}/")).await?;
            if objects.is_empty() || unfinished(&objects).is_empty() {
                return Ok(false);
            }
            let keys: Vec<_> = objects.into_iter().map(|object| object.key).collect();
            claim.delete(&keys).await?;
            Ok(true)
        }
        .await;
        let _ = claim.release().await;
        cleared
    }
}

/// Returns the paths that have objects and no manifest.
fn unfinished(objects: &[ObjectInfo]) -> Vec<String> {
    let mut paths: BTreeMap<&str, bool> = BTreeMap::new();
    for object in objects {
        let name = object.key.as_str();
        if let Some((path, _)) = name.rsplit_once('/') {
            *paths.entry(path).or_default() |= name == manifest_key(path);
        }
    }
    paths.into_iter().filter(|(_, is_finished)| !is_finished).map(|(path, _)| path.to_owned()).collect()
}
