//! An object backend in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::backend::{
    Answer, BackendError, Deletion, ETag, Fault, ObjectBackend, ObjectInfo, ObjectKey, Page, Put,
    PutCondition, PutNew, PutOutcome, Validity,
};
use crate::digest::Digest;
use crate::time::{Clock, StoreTime};

/// Objects of a page unless told otherwise: few, so that the suites see more than one page.
const PAGE_OBJECTS: usize = 3;

/// A bucket in memory with conditional puts and requests that expire.
#[derive(Clone)]
pub struct MemoryBackend {
    clock: Arc<dyn Clock>,
    objects: Arc<Mutex<BTreeMap<ObjectKey, (Bytes, StoreTime)>>>,
    page_objects: usize,
}

impl MemoryBackend {
    /// Makes an empty bucket that dates its answers by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, objects: Arc::default(), page_objects: PAGE_OBJECTS }
    }

    /// Sets how many objects a page of a listing has at most; at least one.
    #[must_use]
    pub fn with_page_objects(mut self, count: usize) -> Self {
        self.page_objects = count.max(1);
        self
    }

    /// Returns the content of an object.
    pub fn object(&self, key: &str) -> Option<Bytes> {
        let key = ObjectKey::new(key).ok()?;
        self.lock().get(&key).map(|(content, _)| content.clone())
    }

    /// Returns whether there is an object of this key.
    pub fn has(&self, key: &str) -> bool {
        self.object(key).is_some()
    }

    /// Returns when an object was put.
    pub fn modified_at(&self, key: &str) -> Option<StoreTime> {
        let key = ObjectKey::new(key).ok()?;
        self.lock().get(&key).map(|(_, at)| *at)
    }

    /// Returns the keys of all objects, in ascending order.
    pub fn keys(&self) -> Vec<String> {
        self.lock().keys().map(ToString::to_string).collect()
    }

    /// Places an object behind the back of whoever uses the bucket.
    ///
    /// # Panics
    /// If the key is none.
    pub fn place(&self, key: &str, content: impl Into<Bytes>) {
        let key = ObjectKey::new(key).expect("a valid key");
        self.lock().insert(key, (content.into(), self.clock.wall()));
    }

    /// Removes an object behind the back of whoever uses the bucket; returns whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        ObjectKey::new(key).is_ok_and(|key| self.lock().remove(&key).is_some())
    }

    /// Turns over a bit of the last byte of an object; its length stays.
    ///
    /// # Panics
    /// If there is no such object, or an empty one.
    pub fn corrupt(&self, key: &str) {
        let mut content = self.object(key).expect("an object to corrupt").to_vec();
        *content.last_mut().expect("a byte to corrupt") ^= 1;
        self.place(key, content);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, (Bytes, StoreTime)>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T>(&self, value: T) -> Answer<T> {
        Answer::new(value, self.clock.wall())
    }

    fn check_validity(
        &self,
        validity: Option<Validity>,
        action: &'static str,
        key: &str,
    ) -> Result<(), BackendError> {
        if validity.is_some_and(|validity| validity.expires_at() < self.clock.wall()) {
            let source = "the request has expired".into();
            let (fault, date) = (Fault::Expired, Some(self.clock.wall()));
            return Err(BackendError { action, key: key.to_owned(), is_unclear: false, fault, date, source });
        }
        Ok(())
    }
}

fn etag(content: &Bytes) -> ETag {
    ETag(Digest::of(content).to_string())
}

fn info(key: &ObjectKey, content: &Bytes, modified_at: StoreTime) -> ObjectInfo {
    ObjectInfo { key: key.clone(), len: content.len() as u64, etag: etag(content), modified_at }
}

impl ObjectBackend for MemoryBackend {
    async fn put(&self, put: Put) -> Result<Answer<PutOutcome>, BackendError> {
        self.check_validity(put.validity, "put", put.key.as_str())?;
        let mut objects = self.lock();
        let existing = objects.get(&put.key).map(|(content, _)| etag(content));
        let holds = match &put.condition {
            PutCondition::Always => true,
            PutCondition::IfAbsent => existing.is_none(),
            PutCondition::IfMatch(tag) => existing.as_ref() == Some(tag),
        };
        if !holds {
            return Ok(self.answer(PutOutcome::ConditionFailed));
        }
        let tag = etag(&put.content);
        objects.insert(put.key, (put.content, self.clock.wall()));
        Ok(self.answer(PutOutcome::Stored(tag)))
    }

    async fn put_new(&self, key: &ObjectKey, content: Bytes) -> Result<Answer<PutNew>, BackendError> {
        let put = Put { key: key.clone(), content, condition: PutCondition::IfAbsent, validity: None };
        Ok(self.put(put).await?.map(|outcome| match outcome {
            PutOutcome::Stored(tag) => PutNew::Written(tag),
            PutOutcome::ConditionFailed => PutNew::AlreadyThere,
        }))
    }

    fn tag_of(&self, content: &[u8]) -> Option<ETag> {
        Some(ETag(Digest::of(content).to_string()))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Answer<Option<(ObjectInfo, Bytes)>>, BackendError> {
        let objects = self.lock();
        let object = objects.get(key);
        Ok(self.answer(object.map(|(content, at)| (info(key, content, *at), content.clone()))))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Answer<Option<ObjectInfo>>, BackendError> {
        let objects = self.lock();
        Ok(self.answer(objects.get(key).map(|(content, at)| info(key, content, *at))))
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey) -> Result<Answer<bool>, BackendError> {
        let mut objects = self.lock();
        let Some((content, _)) = objects.get(from).cloned() else { return Ok(self.answer(false)) };
        objects.insert(to.clone(), (content, self.clock.wall()));
        Ok(self.answer(true))
    }

    async fn delete(&self, keys: &[ObjectKey], validity: Validity) -> Result<Answer<Deletion>, BackendError> {
        self.check_validity(Some(validity), "delete", keys.first().map_or("", ObjectKey::as_str))?;
        let mut objects = self.lock();
        for key in keys {
            objects.remove(key);
        }
        Ok(self.answer(Deletion::default()))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Answer<Page>, BackendError> {
        let objects = self.lock();
        let start = after.unwrap_or_default();
        let mut found = objects
            .iter()
            .skip_while(|(key, _)| key.as_str() < prefix || key.as_str() <= start)
            .take_while(|(key, _)| key.as_str().starts_with(prefix))
            .map(|(key, (content, at))| info(key, content, *at));
        let page: Vec<_> = found.by_ref().take(self.page_objects).collect();
        let more = found.next().is_some();
        let next = page.last().filter(|_| more).map(|last| last.key.to_string());
        Ok(self.answer(Page { objects: page, next }))
    }
}

impl std::fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBackend").field("objects", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ManualClock, check_object_backend};

    #[tokio::test]
    async fn conforms() {
        let clock = Arc::new(ManualClock::at(StoreTime::from_unix(1_700_000_000, 0)));
        check_object_backend(&MemoryBackend::new(clock)).await;
    }
}
