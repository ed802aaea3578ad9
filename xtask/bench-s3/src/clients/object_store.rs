//! The crate `object_store`.
//!
//! Defaults: no checksum header, nothing checked on the way down, retries on. Its SHA-256 is that of `aws-lc-rs`.

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt};

use crate::clients::Client;
use crate::flags::Server;

/// An `object_store` for one bucket.
pub(crate) struct ObjectStore {
    store: AmazonS3,
}

impl ObjectStore {
    pub(crate) fn new(server: &Server) -> Result<ObjectStore> {
        let builder = AmazonS3Builder::new()
            .with_endpoint(&server.endpoint)
            .with_allow_http(true)
            .with_region(&server.region)
            .with_access_key_id(&server.access_key)
            .with_secret_access_key(&server.secret_key)
            .with_bucket_name(&server.bucket);
        Ok(ObjectStore { store: builder.build().context("cannot build the client")? })
    }
}

impl Client for ObjectStore {
    async fn put(&self, key: String, contents: Bytes) -> Result<()> {
        self.store.put(&Path::from(key), contents.into()).await?;
        Ok(())
    }

    async fn get(&self, key: String) -> Result<Bytes> {
        Ok(self.store.get(&Path::from(key)).await?.bytes().await?)
    }

    async fn list(&self, prefix: String) -> Result<usize> {
        let prefix = Path::from(prefix);
        let count = self.store.list(Some(&prefix)).try_fold(0, |count, _| async move { Ok(count + 1) });
        Ok(count.await?)
    }

    async fn delete(&self, keys: Vec<String>) -> Result<usize> {
        let paths = stream::iter(keys).map(|key| Ok(Path::from(key))).boxed();
        let count = self.store.delete_stream(paths).try_fold(0, |count, _| async move { Ok(count + 1) });
        Ok(count.await?)
    }
}
