//! A backend whose tags look like those of the content and are not, as with objects that the server encrypts (SSE-KMS).

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::backend::{
    Answer, AnyBackend, BackendError, Deletion, ETag, ObjectBackend, ObjectInfo, ObjectKey, Page, Put,
    PutNew, PutOutcome, Validity,
};
use coldkeep_chunk_store::testing::StagedBackend;
use coldkeep_datastore::Datastore;

use crate::support::{Fixture, bucket_parts};

/// Computes other tags than those that the objects get.
struct OtherTags(StagedBackend);

impl ObjectBackend for OtherTags {
    async fn put(&self, put: Put) -> Result<Answer<PutOutcome>, BackendError> {
        self.0.put(put).await
    }

    async fn put_new(&self, key: &ObjectKey, content: Bytes) -> Result<Answer<PutNew>, BackendError> {
        self.0.put_new(key, content).await
    }

    fn tag_of(&self, content: &[u8]) -> Option<ETag> {
        Some(ETag(Digest::of(Digest::of(content).as_bytes()).to_string()))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Answer<Option<(ObjectInfo, Bytes)>>, BackendError> {
        self.0.get(key).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Answer<Option<ObjectInfo>>, BackendError> {
        self.0.head(key).await
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey) -> Result<Answer<bool>, BackendError> {
        self.0.copy(from, to).await
    }

    async fn delete(&self, keys: &[ObjectKey], validity: Validity) -> Result<Answer<Deletion>, BackendError> {
        self.0.delete(keys, validity).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Answer<Page>, BackendError> {
        self.0.list(prefix, after).await
    }
}

#[tokio::test]
async fn tags_that_are_not_of_the_content_keep_no_store_from_opening() {
    let fixture = Fixture::in_bucket().await;
    let made = fixture.backup("host/x/2026-01-01T00:00:00Z", &[b"one", b"two"]).await;
    let path = fixture.store.folder().to_owned();
    let Fixture { folder, clock, store, backend } = fixture;
    drop(store);
    for is_lost in [true, false] {
        if is_lost {
            std::fs::remove_dir_all(&path).unwrap();
        }
        let parts = bucket_parts(&clock, AnyBackend::new(OtherTags(backend.clone().unwrap())));
        let store = Datastore::open_bucket(&path, "default".parse().unwrap(), parts).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let fixture = Fixture { folder, clock: clock.clone(), store, backend: backend.clone() };
        assert_eq!(fixture.restore(&made, "stream.bin.didx").await, b"onetwo");
        assert_eq!(fixture.store.index_files().await.unwrap().len(), 1);
    }
    drop(folder);
}
