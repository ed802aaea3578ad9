//! One page of a listing, taken apart on whatever thread is free: a collection lists many key ranges at once, and their
//! XML is most of its work.

use coldkeep_s3_client::Client;
use coldkeep_s3_client::ops::{ListObjectsV2, ListedObject};
use coldkeep_s3_client::transport::Transport;
use tokio::task::JoinHandle;

use super::failure::store_time;
use super::subject::Subject;
use super::{own_key, tag};
use crate::backend::{Answer, BackendError, ObjectInfo, Page};
use crate::time::StoreTime;

/// A task that ends with whoever waits for it.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Fetches a page in a task of its own; dropping the future ends the task. Keys are given without `prefix`.
pub(super) async fn fetch<T: Transport>(
    client: Client<T>,
    op: ListObjectsV2,
    prefix: String,
    subject: Subject,
) -> Result<Answer<Page>, BackendError> {
    let mut task = Owned(tokio::spawn(async move {
        let reply = client.send(&op).await.map_err(|error| subject.failed(error))?;
        let answer = subject.answer(reply)?;
        let date = answer.date;
        Ok(answer.map(|page| {
            let listed = page.objects.iter().filter_map(|object| listed(&prefix, object, date));
            let mut objects: Vec<_> = listed.collect();
            // Servers are free to order a page as they like.
            objects.sort_unstable_by(|one, other| one.key.cmp(&other.key));
            Page { objects, next: page.next.map(|token| token.as_str().to_owned()) }
        }))
    }));
    match (&mut task.0).await {
        Ok(page) => page,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down, and nobody waits any more.
        Err(_) => std::future::pending().await,
    }
}

fn listed(prefix: &str, object: &ListedObject, date: StoreTime) -> Option<ObjectInfo> {
    Some(ObjectInfo {
        key: own_key(prefix, &object.key)?,
        len: object.size_bytes,
        etag: tag(object.etag.as_ref()),
        // Where the server does not tell, the object counts as new: when in doubt, leak.
        modified_at: object.last_modified.map_or(date, store_time),
    })
}
