//! The crate `rust-s3`.
//!
//! Defaults: `Content-MD5` with each put (it cannot be left out), nothing checked on the way down, one retry.

use anyhow::{Result, ensure};
use bytes::Bytes;
use s3::creds::Credentials;
use s3::serde_types::ObjectIdentifier;
use s3::{Bucket, Region};

use crate::clients::Client;
use crate::flags::Server;

/// A `rust-s3` bucket.
pub(crate) struct RustS3 {
    bucket: Box<Bucket>,
}

impl RustS3 {
    pub(crate) fn new(server: &Server) -> Result<RustS3> {
        let region = Region::Custom { region: server.region.clone(), endpoint: server.endpoint.clone() };
        let (access_key, secret_key) = (server.access_key.as_str(), server.secret_key.as_str());
        let credentials = Credentials::new(Some(access_key), Some(secret_key), None, None, None)?;
        let bucket = Bucket::new(&server.bucket, region, credentials)?.with_path_style();
        Ok(RustS3 { bucket })
    }
}

impl Client for RustS3 {
    async fn put(&self, key: String, contents: Bytes) -> Result<()> {
        self.bucket.put_object(key, &contents).await?;
        Ok(())
    }

    async fn get(&self, key: String) -> Result<Bytes> {
        Ok(self.bucket.get_object(key).await?.bytes().clone())
    }

    async fn list(&self, prefix: String) -> Result<usize> {
        // `Bucket::list` would keep all pages; this is what it does without keeping them.
        let (mut count, mut next) = (0, None);
        loop {
            let (page, _) = self.bucket.list_page(prefix.clone(), None, next, None, None).await?;
            count += page.contents.len();
            next = page.next_continuation_token;
            if next.is_none() {
                return Ok(count);
            }
        }
    }

    async fn delete(&self, keys: Vec<String>) -> Result<usize> {
        let keys: Vec<_> = keys.iter().map(ObjectIdentifier::new).collect();
        let result = self.bucket.delete_objects(keys).await?;
        ensure!(result.errors.is_empty(), "{} keys were not deleted", result.errors.len());
        Ok(result.deleted.len())
    }
}
