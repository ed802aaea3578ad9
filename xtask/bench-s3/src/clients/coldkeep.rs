//! Our own client.
//!
//! Defaults: CRC32C with each put, checksums that the server returns are checked on the way down, retries on.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use coldkeep_s3_client::ops::{DeleteTarget, ListObjectsV2};
use coldkeep_s3_client::{CallOptions, Config, Credentials, GetObject, ObjectKey, PutObject};

use crate::clients::Client;
use crate::flags::Server;

/// Our client for one bucket.
pub(crate) struct Coldkeep {
    client: coldkeep_s3_client::Client,
}

impl Coldkeep {
    pub(crate) fn new(server: &Server) -> Result<Coldkeep> {
        let credentials = Credentials::new(&server.access_key, &server.secret_key)?;
        let (region, bucket) = (server.region.parse()?, server.bucket.parse()?);
        let config = Config::new(server.endpoint.parse()?, region, bucket, credentials)?;
        let client =
            coldkeep_s3_client::Client::builder(config).build().context("cannot build the client")?;
        Ok(Coldkeep { client })
    }
}

impl Client for Coldkeep {
    async fn put(&self, key: String, contents: Bytes) -> Result<()> {
        self.client.send(&PutObject::new(ObjectKey::new(key)?, contents)).await?;
        Ok(())
    }

    async fn get(&self, key: String) -> Result<Bytes> {
        let reply = self.client.send(&GetObject::new(ObjectKey::new(key)?)).await?;
        Ok(reply.into_value().content)
    }

    async fn list(&self, prefix: String) -> Result<usize> {
        let mut pages = self.client.list(ListObjectsV2::new().with_prefix(&prefix));
        let mut count = 0;
        while let Some(page) = pages.next_page().await? {
            count += page.into_value().objects.len();
        }
        Ok(count)
    }

    async fn delete(&self, keys: Vec<String>) -> Result<usize> {
        let targets = keys.into_iter().map(|key| Ok(DeleteTarget::from(ObjectKey::new(key)?)));
        let targets: Vec<_> = targets.collect::<Result<_>>()?;
        let report = self.client.delete_batch(&targets, &CallOptions::default()).await?.into_value();
        let left = report.failed.len() + report.unreported.len();
        ensure!(left == 0, "{left} keys were not deleted");
        Ok(report.deleted.len())
    }
}
