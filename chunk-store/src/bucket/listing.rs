//! Listing the bucket page by page (I6).

use super::BucketStore;
use crate::backend::{BackendError, Fault, ObjectBackend, ObjectInfo, ObjectKey};
use crate::dir::MarkerDir;

/// A listing under way.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    prefix: &'a str,
    after: Option<String>,
    last: Option<ObjectKey>,
    has_ended: bool,
}

impl<'a> Listing<'a> {
    /// Starts before the first key with this prefix.
    pub(super) const fn of(prefix: &'a str) -> Self {
        Self { prefix, after: None, last: None, has_ended: false }
    }
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Fetches the next page; `None` after the last one. Each page goes on where the one before ended, or it is an error: so
    /// a listing ends even if the backend does not see to it.
    pub(super) async fn next_page(
        &self,
        listing: &mut Listing<'_>,
    ) -> Result<Option<Vec<ObjectInfo>>, BackendError> {
        if listing.has_ended {
            return Ok(None);
        }
        let page = self.backend.list(listing.prefix, listing.after.as_deref()).await;
        let page = self.backend_clock.noted(page, &self.clock)?.value;
        let goes_on = match (&listing.last, page.objects.first()) {
            (Some(last), Some(first)) => *last < first.key,
            (_, None) => page.next.is_none() || listing.after != page.next,
            (None, Some(_)) => true,
        };
        if !goes_on {
            return Err(BackendError {
                action: "list",
                key: listing.prefix.to_owned(),
                is_unclear: false,
                fault: Fault::BadAnswer,
                date: self.backend_clock.latest(),
                source: "a page of the listing repeats an earlier one".into(),
            });
        }
        listing.last = page.objects.last().map(|object| object.key.clone()).or(listing.last.take());
        listing.has_ended = page.next.is_none();
        listing.after = page.next;
        Ok(Some(page.objects))
    }
}
