//! One page of a listing, taken apart on whatever thread is free: a collection lists many key ranges at once, and their
//! XML is most of its work.

use coldkeep_s3_client::Client;
use coldkeep_s3_client::ops::{ListObjectsV2, ListedObject};
use coldkeep_s3_client::transport::Transport;
use tokio::task::JoinHandle;

use super::failure::store_time;
use super::subject::Subject;
use super::{own_key, tag};
use crate::backend::{Answer, BackendError, Fault, ObjectEntry, ObjectInfo, entry_of};
use crate::time::StoreTime;

/// A task that ends with whoever waits for it.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A page as it was read.
pub(super) struct Read<E> {
    pub(super) objects: Vec<E>,
    /// The first and the last key, of whatever was listed.
    pub(super) ends: Option<(String, String)>,
    pub(super) next: Option<String>,
}

/// Fetches a page in a task of its own and takes it apart there; dropping the future ends the task. What `read` makes of an
/// object gets the date of the answer, too; what it makes nothing of is left out.
pub(super) async fn fetch<T: Transport, E: Send + 'static>(
    client: Client<T>,
    op: ListObjectsV2,
    subject: Subject,
    read: impl Fn(&ListedObject, StoreTime) -> Option<E> + Send + 'static,
) -> Result<Answer<Read<E>>, BackendError> {
    let key = subject.key.clone();
    let mut task = Owned(tokio::spawn(async move {
        let reply = client.send(&op).await.map_err(|error| subject.failed(error))?;
        let answer = subject.answer(reply)?;
        let date = answer.date;
        Ok(answer.map(|page| {
            let objects = page.objects.iter().filter_map(|object| read(object, date)).collect();
            // Servers are free to order a page as they like.
            let keys = page.objects.iter().map(|object| object.key.as_str());
            let ends = keys.clone().min().zip(keys.max());
            let ends = ends.map(|(first, last)| (first.to_owned(), last.to_owned()));
            Read { objects, ends, next: page.next.map(|token| token.as_str().to_owned()) }
        }))
    }));
    match (&mut task.0).await {
        Ok(page) => page,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down.
        Err(error) => Err(BackendError {
            action: "list",
            key,
            is_unclear: false,
            fault: Fault::Other,
            date: None,
            source: Box::new(error),
        }),
    }
}

/// Reads an object as it is; keys are given without `prefix`.
pub(super) fn info(prefix: &str, object: &ListedObject, date: StoreTime) -> Option<ObjectInfo> {
    Some(ObjectInfo {
        key: own_key(prefix, &object.key)?,
        len: object.size_bytes,
        etag: tag(object.etag.as_ref()),
        modified_at: modified_at(object, date),
    })
}

/// Reads an object that is a chunk or a copy that was set aside.
pub(super) fn entry(prefix: &str, object: &ListedObject, date: StoreTime) -> Option<ObjectEntry> {
    let name = entry_of(object.key.as_str().strip_prefix(prefix)?)?;
    Some(ObjectEntry { name, len: object.size_bytes, modified_at: modified_at(object, date) })
}

/// Where the server does not tell, the object counts as new: when in doubt, leak.
fn modified_at(object: &ListedObject, date: StoreTime) -> StoreTime {
    object.last_modified.map_or(date, store_time)
}
