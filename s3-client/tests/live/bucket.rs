//! The suite's bucket: made before the first test, cleaned after the last.

use coldkeep_s3_client::ops::{CreateBucket, DeleteBucket, DeleteTarget, HeadBucket, ListObjectsV2};
use coldkeep_s3_client::{CallOptions, Client, RequestError};

use crate::env::Server;

/// Where AWS wants no location to be named.
const DEFAULT_REGION: &str = "us-east-1";

/// Makes the bucket, unless it was named to us; then it must be there.
pub(crate) async fn prepare(server: &Server) -> Result<(), RequestError> {
    let client = server.client();
    if !server.has_own_bucket() {
        return client.send(&HeadBucket::new()).await.map(drop);
    }
    create(client).await
}

/// Makes the bucket of a client, where its region is.
pub(crate) async fn create(client: &Client) -> Result<(), RequestError> {
    let region = client.config().region();
    let create = CreateBucket::new();
    let create =
        if region.as_str() == DEFAULT_REGION { create } else { create.with_location(region.clone()) };
    client.send(&create).await.map(drop)
}

/// Removes what the run has left: everything from a bucket of its own, else only keys below its own prefix.
pub(crate) async fn clean_up(server: &Server) -> Result<(), RequestError> {
    let client = server.client();
    let prefix = if server.has_own_bucket() { String::new() } else { server.key_prefix() };
    let mut list = ListObjectsV2::new().with_prefix(&prefix);
    loop {
        let page = client.send(&list).await?.into_value();
        let left: Vec<_> = page.objects.into_iter().map(|object| DeleteTarget::new(object.key)).collect();
        if !left.is_empty() {
            client.delete_batch(&left, &CallOptions::new()).await?;
        }
        let Some(next) = page.next else { break };
        list = list.with_token(next);
    }
    if server.has_own_bucket() {
        client.send(&DeleteBucket::new()).await?;
    }
    Ok(())
}
