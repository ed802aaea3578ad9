//! Listing the bucket page by page (I6).

use super::BucketStore;
use crate::backend::{Answer, BackendError, Fault, ObjectBackend, ObjectInfo, ObjectKey};
use crate::dir::MarkerDir;
use crate::time::StoreTime;

/// A listing under way.
#[derive(Debug)]
pub(super) struct Listing {
    prefix: String,
    after: Option<String>,
    last: Option<ObjectKey>,
    has_ended: bool,
}

/// One page of it.
#[derive(Debug)]
pub(super) struct ListedPage {
    /// In ascending order of their keys.
    pub(super) objects: Vec<ObjectInfo>,
    /// When the backend listed them, in its own clock.
    pub(super) date: StoreTime,
}

impl Listing {
    /// Starts before the first key with this prefix.
    pub(super) fn of(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), after: None, last: None, has_ended: false }
    }

    /// Returns whether the last page was fetched.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Fetches the next page; `None` after the last one. Each page goes on where the one before ended, or it is an error: so
    /// a listing ends even if the backend does not see to it.
    pub(super) async fn next_page(&self, listing: &mut Listing) -> Result<Option<ListedPage>, BackendError> {
        if listing.has_ended {
            return Ok(None);
        }
        let answer = self.backend.list(&listing.prefix, listing.after.as_deref()).await;
        let Answer { value: page, date, .. } = self.backend_clock.noted(answer, &self.clock)?;
        let goes_on = match (&listing.last, page.objects.first()) {
            (Some(last), Some(first)) => *last < first.key,
            (_, None) => page.next.is_none() || listing.after != page.next,
            (None, Some(_)) => true,
        };
        if !goes_on {
            return Err(BackendError {
                action: "list",
                key: listing.prefix.clone(),
                is_unclear: false,
                fault: Fault::BadAnswer,
                date: self.backend_clock.latest(),
                source: "a page of the listing repeats an earlier one".into(),
            });
        }
        listing.last = page.objects.last().map(|object| object.key.clone()).or(listing.last.take());
        listing.has_ended = page.next.is_none();
        listing.after = page.next;
        Ok(Some(ListedPage { objects: page.objects, date }))
    }
}
