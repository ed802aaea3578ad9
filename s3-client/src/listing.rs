//! Going through a listing page by page.

use std::collections::VecDeque;
use std::fmt;

use crate::call::{CallOptions, Reply};
use crate::client::Client;
use crate::error::{AnswerFlaw, Cause, RequestError};
use crate::ops::{ContinuationToken, ListObjectsV2, ListedObject, ObjectPage, S3Operation, Target};
use crate::transport::Transport;

/// Most pages in a row without a key: a server that skips deleted keys may send a few, one that goes in circles sends no end of them.
const EMPTY_PAGES_MAX: u32 = 1000;

/// A listing being read, page by page, from the begin that its first request names to its end.
///
/// It never ends early without an error: a page that is cut, a token that is missing, and a server that goes in circles are all errors
/// (spec `s3-servers.md` §3, point 9). It never runs for ever either: the server's pages are watched for repetitions.
pub struct Listing<T = crate::client::DefaultTransport> {
    client: Client<T>,
    first: ListObjectsV2,
    next: Next,
    circle: Circle,
    /// Of the page last read, what [`Listing::next_object`] has not given out.
    rest: VecDeque<ListedObject>,
}

#[derive(Debug)]
enum Next {
    First,
    Page(ContinuationToken),
    End,
}

/// Notices when pages repeat, with bounded memory: it compares each page with one that it keeps, and keeps another one at every power of two
/// (Brent's cycle detection).
#[derive(Debug, Default)]
struct Circle {
    pages: u64,
    empty_pages: u32,
    kept_token: Option<ContinuationToken>,
    /// Its first key; the first common prefix where there is none.
    kept_name: Option<String>,
}

impl<T: Transport> Client<T> {
    /// Lists all objects that `op` asks for, page by page.
    pub fn list(&self, op: ListObjectsV2) -> Listing<T> {
        Listing {
            client: self.clone(),
            first: op,
            next: Next::First,
            circle: Circle::default(),
            rest: VecDeque::new(),
        }
    }
}

impl<T: Transport> Listing<T> {
    /// Returns the next page; `None` after the last one.
    ///
    /// # Errors
    /// As [`Client::send`]; [`AnswerFlaw::EndlessListing`] if the server goes in circles. Calling again asks for the same page again.
    ///
    /// # Cancel safety
    /// Read-only: a page whose future is dropped is read again by the next call.
    pub async fn next_page(&mut self) -> Result<Option<Reply<ObjectPage>>, RequestError> {
        let op = match &self.next {
            Next::First => self.first.clone(),
            Next::Page(token) => self.first.clone().with_token(token.clone()),
            Next::End => return Ok(None),
        };
        let reply = self.client.send_with(&op, &CallOptions::default()).await?;
        if self.circle.closes_with(&reply.value) {
            let subject = self.client.engine().subject(ListObjectsV2::OPERATION, &Target::Bucket);
            let cause = Cause::Malformed(AnswerFlaw::EndlessListing);
            return Err(
                RequestError::new(subject, reply.attempts, reply.outcome, cause).with_date(reply.date)
            );
        }
        self.next = reply.value.next.clone().map_or(Next::End, Next::Page);
        Ok(Some(reply))
    }

    /// Returns the next object; `None` after the last one. Common prefixes are passed over: they are in the pages.
    ///
    /// # Errors
    /// As [`Listing::next_page`].
    ///
    /// # Cancel safety
    /// As [`Listing::next_page`].
    pub async fn next_object(&mut self) -> Result<Option<ListedObject>, RequestError> {
        loop {
            if let Some(object) = self.rest.pop_front() {
                return Ok(Some(object));
            }
            match self.next_page().await? {
                Some(page) => self.rest = page.value.objects.into(),
                None => return Ok(None),
            }
        }
    }

    /// Turns the listing into a stream of objects, which ends after its first error.
    #[cfg(feature = "stream")]
    pub fn into_stream(self) -> impl futures_util::Stream<Item = Result<ListedObject, RequestError>> + Send {
        futures_util::stream::try_unfold(self, async |mut listing| {
            let object = listing.next_object().await?;
            Ok(object.map(|object| (object, listing)))
        })
    }
}

impl Circle {
    /// Takes note of a page; returns whether it shows that the listing has no end.
    fn closes_with(&mut self, page: &ObjectPage) -> bool {
        let first_key = page.objects.first().map(|object| object.key.as_str());
        let first_name = first_key.or_else(|| page.common_prefixes.first().map(String::as_str));
        self.empty_pages = if first_name.is_none() { self.empty_pages + 1 } else { 0 };
        let is_same_token = page.next.is_some() && page.next == self.kept_token;
        let is_same_name = first_name.is_some() && first_name == self.kept_name.as_deref();
        self.pages += 1;
        if self.pages.is_power_of_two() {
            self.kept_token.clone_from(&page.next);
            self.kept_name = first_name.map(str::to_owned);
        }
        is_same_token || is_same_name || self.empty_pages > EMPTY_PAGES_MAX
    }
}

impl<T> fmt::Debug for Listing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing")
            .field("first", &self.first)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ObjectKey;

    /// Lets a circle see pages whose first keys are `keys`; returns at which page it closes.
    fn closes_at(keys: impl IntoIterator<Item = Option<u32>>) -> Option<usize> {
        let mut circle = Circle::default();
        keys.into_iter().position(|key| {
            let mut page = ObjectPage::default();
            page.objects.extend(key.map(|key| ListedObject {
                key: ObjectKey::new(key.to_string()).unwrap(),
                size_bytes: 0,
                last_modified: None,
                etag: None,
                storage_class: None,
                owner_id: None,
                checksum_algorithms: Vec::new(),
            }));
            circle.closes_with(&page)
        })
    }

    #[test]
    fn any_circle_is_noticed() {
        for (lead, length) in [(0, 1), (0, 5), (7, 1), (7, 100)] {
            let pages = (0..lead).chain((lead..lead + length).cycle().take(1000)).map(Some);
            let noticed = closes_at(pages).unwrap();
            assert!(noticed <= 3 * (lead + length) as usize + 2, "{lead} {length}: {noticed}");
        }
    }

    #[test]
    fn a_circle_of_common_prefixes_is_noticed() {
        let mut circle = Circle::default();
        let mut closes = (0..20_u32).map(|page| {
            let mut page_of = ObjectPage::default();
            page_of.common_prefixes.push(format!("{}/", page % 3));
            circle.closes_with(&page_of)
        });
        assert!(closes.any(|closes| closes));
    }

    #[test]
    fn long_listings_pass_and_endless_emptiness_does_not() {
        assert_eq!(closes_at((0..100_000).map(Some)), None);
        assert_eq!(closes_at(std::iter::repeat_n(None, 1000)), None);
        assert_eq!(closes_at(std::iter::repeat_n(None, 2000)), Some(1000));
    }
}
