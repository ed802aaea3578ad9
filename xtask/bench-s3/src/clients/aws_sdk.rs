//! The crate `aws-sdk-s3`.
//!
//! Defaults: CRC32 with each put, checksums that the server returns are checked on the way down, retries on.

use anyhow::{Result, ensure};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use bytes::Bytes;

use crate::clients::Client;
use crate::flags::Server;

/// An `aws-sdk-s3` client and its bucket.
pub(crate) struct AwsSdk {
    client: aws_sdk_s3::Client,
    bucket: String,
}

impl AwsSdk {
    pub(crate) fn new(server: &Server) -> AwsSdk {
        let (access_key, secret_key) = (server.access_key.as_str(), server.secret_key.as_str());
        let settings = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&server.endpoint)
            .force_path_style(true)
            .region(Region::new(server.region.clone()))
            .credentials_provider(Credentials::new(access_key, secret_key, None, None, "bench"))
            .build();
        AwsSdk { client: aws_sdk_s3::Client::from_conf(settings), bucket: server.bucket.clone() }
    }
}

impl Client for AwsSdk {
    async fn put(&self, key: String, contents: Bytes) -> Result<()> {
        let request = self.client.put_object().bucket(&self.bucket).key(key);
        request.body(ByteStream::from(contents)).send().await?;
        Ok(())
    }

    async fn get(&self, key: String) -> Result<Bytes> {
        let answer = self.client.get_object().bucket(&self.bucket).key(key).send().await?;
        Ok(answer.body.collect().await?.into_bytes())
    }

    async fn list(&self, prefix: String) -> Result<usize> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let mut pages = request.into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            count += page?.contents().len();
        }
        Ok(count)
    }

    async fn delete(&self, keys: Vec<String>) -> Result<usize> {
        let keys = keys.into_iter().map(|key| ObjectIdentifier::builder().key(key).build());
        let list = Delete::builder().set_objects(Some(keys.collect::<Result<_, _>>()?)).build()?;
        let answer = self.client.delete_objects().bucket(&self.bucket).delete(list).send().await?;
        ensure!(answer.errors().is_empty(), "{} keys were not deleted", answer.errors().len());
        Ok(answer.deleted().len())
    }
}
