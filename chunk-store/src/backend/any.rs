//! A backend behind a pointer, for callers that choose one at run time.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::{
    Answer, BackendError, Deletion, ETag, EntryPage, ObjectBackend, ObjectInfo, ObjectKey, Page, Put, PutNew,
    PutOutcome, Validity,
};

type Outcome<'a, T> = Pin<Box<dyn Future<Output = Result<Answer<T>, BackendError>> + Send + 'a>>;

/// Any backend. One allocation a request, which is nothing beside the request.
#[derive(Clone)]
pub struct AnyBackend(Arc<dyn DynBackend>);

impl AnyBackend {
    /// Takes a backend.
    pub fn new(backend: impl ObjectBackend) -> Self {
        Self(Arc::new(backend))
    }
}

impl fmt::Debug for AnyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyBackend")
    }
}

/// [`ObjectBackend`] with boxed futures.
trait DynBackend: Send + Sync {
    fn put(&self, put: Put) -> Outcome<'_, PutOutcome>;
    fn put_new<'a>(&'a self, key: &'a ObjectKey, content: Bytes) -> Outcome<'a, PutNew>;
    fn tag_of(&self, content: &[u8]) -> Option<ETag>;
    fn get<'a>(&'a self, key: &'a ObjectKey) -> Outcome<'a, Option<(ObjectInfo, Bytes)>>;
    fn head<'a>(&'a self, key: &'a ObjectKey) -> Outcome<'a, Option<ObjectInfo>>;
    fn copy<'a>(&'a self, from: &'a ObjectKey, to: &'a ObjectKey) -> Outcome<'a, bool>;
    fn delete<'a>(&'a self, keys: &'a [ObjectKey], validity: Validity) -> Outcome<'a, Deletion>;
    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Outcome<'a, Page>;
    fn list_entries<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Outcome<'a, EntryPage>;
    fn request_counts(&self) -> BTreeMap<String, u64>;
}

impl<B: ObjectBackend> DynBackend for B {
    fn put(&self, put: Put) -> Outcome<'_, PutOutcome> {
        Box::pin(ObjectBackend::put(self, put))
    }

    fn put_new<'a>(&'a self, key: &'a ObjectKey, content: Bytes) -> Outcome<'a, PutNew> {
        Box::pin(ObjectBackend::put_new(self, key, content))
    }

    fn tag_of(&self, content: &[u8]) -> Option<ETag> {
        ObjectBackend::tag_of(self, content)
    }

    fn get<'a>(&'a self, key: &'a ObjectKey) -> Outcome<'a, Option<(ObjectInfo, Bytes)>> {
        Box::pin(ObjectBackend::get(self, key))
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> Outcome<'a, Option<ObjectInfo>> {
        Box::pin(ObjectBackend::head(self, key))
    }

    fn copy<'a>(&'a self, from: &'a ObjectKey, to: &'a ObjectKey) -> Outcome<'a, bool> {
        Box::pin(ObjectBackend::copy(self, from, to))
    }

    fn delete<'a>(&'a self, keys: &'a [ObjectKey], validity: Validity) -> Outcome<'a, Deletion> {
        Box::pin(ObjectBackend::delete(self, keys, validity))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Outcome<'a, Page> {
        Box::pin(ObjectBackend::list(self, prefix, after))
    }

    fn list_entries<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Outcome<'a, EntryPage> {
        Box::pin(ObjectBackend::list_entries(self, prefix, after))
    }

    fn request_counts(&self) -> BTreeMap<String, u64> {
        ObjectBackend::request_counts(self)
    }
}

impl ObjectBackend for AnyBackend {
    async fn put(&self, put: Put) -> Result<Answer<PutOutcome>, BackendError> {
        self.0.put(put).await
    }

    async fn put_new(&self, key: &ObjectKey, content: Bytes) -> Result<Answer<PutNew>, BackendError> {
        self.0.put_new(key, content).await
    }

    fn tag_of(&self, content: &[u8]) -> Option<ETag> {
        self.0.tag_of(content)
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

    async fn list_entries(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Answer<EntryPage>, BackendError> {
        self.0.list_entries(prefix, after).await
    }

    fn request_counts(&self) -> BTreeMap<String, u64> {
        self.0.request_counts()
    }
}
