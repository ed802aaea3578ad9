//! Two datastores in one bucket, the name of one being the beginning of the other's.

use bytes::Bytes;
use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::backend::{
    Answer, AnyBackend, BackendError, Deletion, ETag, ObjectBackend, ObjectInfo, ObjectKey, Page, Put,
    PutNew, PutOutcome, Validity,
};
use coldkeep_chunk_store::testing::{ManualClock, MemoryBackend};
use coldkeep_datastore::{Datastore, Namespace};
use std::sync::Arc;

use crate::support::{Fixture, bucket_parts, temporary_folder};

/// The part of a bucket below a name, as the S3 backend has it.
#[derive(Clone)]
struct Prefixed {
    inner: MemoryBackend,
    prefix: &'static str,
}

impl Prefixed {
    fn outer(&self, key: &ObjectKey) -> ObjectKey {
        ObjectKey::new(format!("{}{key}", self.prefix)).unwrap()
    }

    fn inner(&self, mut info: ObjectInfo) -> ObjectInfo {
        info.key = ObjectKey::new(info.key.as_str().strip_prefix(self.prefix).unwrap()).unwrap();
        info
    }
}

impl ObjectBackend for Prefixed {
    async fn put(&self, mut put: Put) -> Result<Answer<PutOutcome>, BackendError> {
        put.key = self.outer(&put.key);
        self.inner.put(put).await
    }

    async fn put_new(&self, key: &ObjectKey, content: Bytes) -> Result<Answer<PutNew>, BackendError> {
        self.inner.put_new(&self.outer(key), content).await
    }

    fn tag_of(&self, content: &[u8]) -> Option<ETag> {
        self.inner.tag_of(content)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Answer<Option<(ObjectInfo, Bytes)>>, BackendError> {
        let answer = self.inner.get(&self.outer(key)).await?;
        Ok(answer.map(|found| found.map(|(info, content)| (self.inner(info), content))))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Answer<Option<ObjectInfo>>, BackendError> {
        let answer = self.inner.head(&self.outer(key)).await?;
        Ok(answer.map(|found| found.map(|info| self.inner(info))))
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey) -> Result<Answer<bool>, BackendError> {
        self.inner.copy(&self.outer(from), &self.outer(to)).await
    }

    async fn delete(&self, keys: &[ObjectKey], validity: Validity) -> Result<Answer<Deletion>, BackendError> {
        let keys: Vec<_> = keys.iter().map(|key| self.outer(key)).collect();
        self.inner.delete(&keys, validity).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Answer<Page>, BackendError> {
        let prefix = format!("{}{prefix}", self.prefix);
        let answer = self.inner.list(&prefix, after).await?;
        Ok(answer.map(|Page { objects, next }| {
            let objects = objects.into_iter().map(|info| self.inner(info)).collect();
            Page { objects, next }
        }))
    }
}

#[tokio::test]
async fn two_datastores_in_one_bucket_do_not_meet() {
    let clock = Arc::new(ManualClock::skipping(StoreTime::from_unix(1_790_000_000, 0)));
    let bucket = MemoryBackend::new(clock.clone());
    let open = async |prefix| {
        let folder = temporary_folder();
        let backend = AnyBackend::new(Prefixed { inner: bucket.clone(), prefix });
        let parts = bucket_parts(&clock, backend);
        let path = folder.path().join("s");
        let store = Datastore::open_bucket(&path, "sss".parse().unwrap(), parts).await.unwrap();
        Fixture { folder, clock: clock.clone(), store, backend: None }
    };
    let (short, long) = (open("store/").await, open("store2/").await);
    let name = "host/x/2026-01-01T00:00:00Z";
    short.backup(name, &[b"short"]).await;
    let kept = long.backup(name, &[b"long"]).await;
    short.store.forget_group(&Namespace::root(), &kept.group, true).await.unwrap();
    drop((short, long));
    let (short, long) = (open("store/").await, open("store2/").await);
    assert_eq!(short.check_whole().await, 0);
    assert_eq!(long.check_whole().await, 1);
    assert_eq!(long.restore(&kept, "stream.bin.didx").await, b"long");
}
