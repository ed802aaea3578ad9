//! Listing the bucket page by page (I6).

use super::BucketStore;
use crate::backend::{Answer, BackendError, Fault, ObjectBackend, ObjectEntry, ObjectInfo};
use crate::dir::MarkerDir;
use crate::time::StoreTime;

/// A listing under way.
#[derive(Debug)]
pub(super) struct Listing {
    prefix: String,
    after: Option<String>,
    /// The last key so far.
    last: Option<String>,
    has_ended: bool,
}

/// One page of chunks.
#[derive(Debug)]
pub(super) struct ListedEntries {
    /// In ascending order.
    pub(super) entries: Vec<ObjectEntry>,
    /// When the backend listed them, in its own clock.
    pub(super) date: StoreTime,
}

impl Listing {
    /// Starts before the first key with this prefix.
    pub(super) fn of(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), after: None, last: None, has_ended: false }
    }

    /// Takes note of the first and the last key of a page and of the handle to the next one; returns whether the page goes
    /// on where the one before ended.
    fn go_on(&mut self, ends: Option<(String, String)>, next: Option<String>) -> bool {
        let goes_on = match (&self.last, &ends) {
            (Some(before), Some((first, _))) => before < first,
            (_, None) => next.is_none() || self.after != next,
            (None, Some(_)) => true,
        };
        self.last = ends.map(|(_, last)| last).or(self.last.take());
        self.has_ended = next.is_none();
        self.after = next;
        goes_on
    }

    /// Returns whether the last page was fetched.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Fetches the next page; `None` after the last one. Each page goes on where the one before ended, or it is an error: so
    /// a listing ends even if the backend does not see to it.
    pub(super) async fn next_page(
        &self,
        listing: &mut Listing,
    ) -> Result<Option<Vec<ObjectInfo>>, BackendError> {
        if listing.has_ended {
            return Ok(None);
        }
        let answer = self.backend.list(&listing.prefix, listing.after.as_deref()).await;
        let Answer { value: page, .. } = self.backend_clock.noted(answer, &self.clock)?;
        let key = |object: Option<&ObjectInfo>| object.map(|object| object.key.as_str().to_owned());
        let ends = key(page.objects.first()).zip(key(page.objects.last()));
        if !listing.go_on(ends, page.next) {
            return Err(self.repeated(&listing.prefix));
        }
        Ok(Some(page.objects))
    }

    /// Fetches the next page of a listing of chunks, as [`Self::next_page`] does.
    pub(super) async fn next_entries(
        &self,
        listing: &mut Listing,
    ) -> Result<Option<ListedEntries>, BackendError> {
        if listing.has_ended {
            return Ok(None);
        }
        let answer = self.backend.list_entries(&listing.prefix, listing.after.as_deref()).await;
        let Answer { value: page, date, .. } = self.backend_clock.noted(answer, &self.clock)?;
        if !listing.go_on(page.ends, page.next) {
            return Err(self.repeated(&listing.prefix));
        }
        Ok(Some(ListedEntries { entries: page.entries, date }))
    }

    fn repeated(&self, prefix: &str) -> BackendError {
        BackendError {
            action: "list",
            key: prefix.to_owned(),
            is_unclear: false,
            fault: Fault::BadAnswer,
            date: self.backend_clock.latest(),
            source: "a page of the listing does not go on where the one before ended".into(),
        }
    }
}
