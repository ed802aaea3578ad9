//! Listings: order, pages, prefix, delimiter, begin, encoding.

use super::bare::Bare;
use super::findings::{Found, KeyEncoding};
use super::report::Listings;
use super::session::{Answered, Attempts, Session};
use crate::call::{RawAnswer, Signing};
use crate::config::Quirk;
use crate::error::{Cause, RequestError};
use crate::ops::{ListObjectsV2, ObjectPage, server_date};
use crate::transport::Transport;
use crate::xml;

/// What is put to be listed, in ascending order of bytes. `b-c` and `b/1` come in the other order from servers that sort directories.
const NAMES: [&str; 6] = ["A", "a", "b-c", "b/1", "b/2", "z"];

/// What is put and deleted again.
const DELETED: &str = "gone";

/// A page size smaller than the number of names.
const PAGE_KEYS: u32 = 2;

/// Most pages to follow: each may hold one key, and one may be empty.
const PAGES_MAX: usize = NAMES.len() + 2;

/// Names of listed objects and common prefixes, behind the place of this part of the probe.
type Names = Vec<String>;

/// Finds out how listings behave.
pub(super) async fn listings<T: Transport>(session: &Session<'_, T>) -> Listings {
    for name in NAMES.iter().chain([&DELETED]) {
        // What cannot be put is missing from the listing, which is then not exact.
        let _ = session.put_plain(&format!("list/{name}"), "x").await;
    }
    let gone = session.key(&format!("list/{DELETED}"));
    let _ = session.delete(&gone, Attempts::Two, Signing::EachAttempt).await;

    let base = format!("{}list/", session.prefix());
    let all = || ListObjectsV2::new().with_prefix(&base);
    let (encoding, first) = encoding(session, all()).await;
    let mut found = Listings { encoding, ..Listings::default() };
    let Some(first) = first else { return found };
    let listed = first.objects.iter().map(|object| object.key.as_str());
    let listed: Names = listed.filter_map(|key| key.strip_prefix(&base)).map(str::to_owned).collect();
    found.exact = is_exactly(&listed, &NAMES).into();
    found.ascending = listed.is_sorted().into();
    found.last_modified = first.objects.iter().all(|object| object.last_modified.is_some()).into();
    found.etag = first.objects.iter().all(|object| object.etag.is_some()).into();

    let ask = |op| names(session, &base, encoding, op);
    found.prefix =
        matches(&ask(ListObjectsV2::new().with_prefix(&format!("{base}b/"))).await, &["b/1", "b/2"]);
    let rolled = all().with_delimiter("/");
    found.delimiter = matches(&ask(rolled).await, &["A", "a", "b-c", "b/", "z"]);
    let after = all().with_start_after(&format!("{base}b/1"));
    found.start_after = matches(&ask(after).await, &["b/2", "z"]);
    let pages = pages(session, &base, encoding, all().with_keys_max(PAGE_KEYS)).await;
    (found.page_size, found.paging) = judge_pages(&pages);
    found
}

/// Lists, and finds out about the encoding by the way.
async fn encoding<T: Transport>(
    session: &Session<'_, T>,
    op: ListObjectsV2,
) -> (KeyEncoding, Option<ObjectPage>) {
    let encoded = Bare::new(op.clone());
    let result = session.ask(&encoded).await;
    let answer = Answered::of(&result);
    if let Ok(raw) = result {
        let is_encoded = names_encoding(&raw);
        let encoding = match is_encoded {
            Some(true) => KeyEncoding::Url,
            Some(false) => KeyEncoding::Plain,
            None => KeyEncoding::Unknown,
        };
        return (encoding, page(session, &encoded, raw).ok());
    }
    let plain = Bare::new(op).with_quirk(Quirk::NoListEncoding);
    let result = session.ask(&plain).await.and_then(|raw| page(session, &plain, raw));
    match (answer, result) {
        (Answered::Refused(status), Ok(page)) => (KeyEncoding::Refused { status }, Some(page)),
        (_, result) => (KeyEncoding::Unknown, result.ok()),
    }
}

/// Returns whether an answer says that its names are encoded.
fn names_encoding(raw: &RawAnswer) -> Option<bool> {
    let parsed = xml::parse(&raw.answer.body, "ListBucketResult", |reader| {
        let mut is_encoded = false;
        while let Some(name) = reader.next_child()? {
            if name == "EncodingType" {
                is_encoded = reader.text()?.trim().eq_ignore_ascii_case("url");
            } else {
                reader.skip()?;
            }
        }
        Ok(is_encoded)
    });
    parsed.ok()
}

/// Understands a page, and takes note of its dates.
fn page<T: Transport>(
    session: &Session<'_, T>,
    op: &Bare<ListObjectsV2>,
    raw: RawAnswer,
) -> Result<ObjectPage, RequestError> {
    let date = server_date(&raw.answer.headers);
    let page = session.read(op, raw)?;
    for object in &page.objects {
        session.note_modified(object.last_modified, date);
    }
    Ok(page)
}

impl KeyEncoding {
    /// Returns whether listings are better without a request for it.
    pub(super) fn is_not_to_be_asked_for(self) -> bool {
        matches!(self, KeyEncoding::Refused { .. } | KeyEncoding::Claimed)
    }
}

/// Asks for a page, encoded if the server can do that.
pub(super) async fn list<T: Transport>(
    session: &Session<'_, T>,
    encoding: KeyEncoding,
    op: ListObjectsV2,
) -> Result<ObjectPage, RequestError> {
    let op = Bare::new(op);
    let op = if encoding.is_not_to_be_asked_for() { op.with_quirk(Quirk::NoListEncoding) } else { op };
    let raw = session.ask(&op).await?;
    page(session, &op, raw)
}

async fn names<T: Transport>(
    session: &Session<'_, T>,
    base: &str,
    encoding: KeyEncoding,
    op: ListObjectsV2,
) -> Result<Names, RequestError> {
    let page = list(session, encoding, op).await?;
    let keys = page.objects.iter().map(|object| object.key.as_str());
    let all = keys.chain(page.common_prefixes.iter().map(String::as_str));
    // What lies elsewhere is kept as it is, so that it shows.
    Ok(all.map(|name| name.strip_prefix(base).unwrap_or(name).to_owned()).collect())
}

/// Follows a listing page by page.
async fn pages<T: Transport>(
    session: &Session<'_, T>,
    base: &str,
    encoding: KeyEncoding,
    op: ListObjectsV2,
) -> Result<Vec<Names>, RequestError> {
    let mut pages = Vec::new();
    let mut next = op.clone();
    while pages.len() < PAGES_MAX {
        let page = list(session, encoding, next).await?;
        let keys = page.objects.iter().filter_map(|object| object.key.as_str().strip_prefix(base));
        pages.push(keys.map(str::to_owned).collect());
        let Some(token) = page.next else { break };
        next = op.clone().with_token(token);
    }
    Ok(pages)
}

/// Compares names without regard to their order, which has a finding of its own.
fn is_exactly(got: &[String], expected: &[&str]) -> bool {
    let mut got: Vec<&str> = got.iter().map(String::as_str).collect();
    got.sort_unstable();
    got == expected
}

fn matches(got: &Result<Names, RequestError>, expected: &[&str]) -> Found {
    match got {
        Ok(got) => is_exactly(got, expected).into(),
        Err(error) => failed(error),
    }
}

/// Judges a request that failed where one without the parameter worked.
fn failed(error: &RequestError) -> Found {
    // An answer that cannot be understood, such as one with keys outside of the prefix, is not what was asked for either.
    let is_lasting = error.service_error().is_some() && !error.is_retryable();
    if is_lasting || matches!(error.cause(), Cause::Malformed(_)) { Found::No } else { Found::Unknown }
}

/// Judges whether pages are as small as asked for, and whether they hold everything.
fn judge_pages(pages: &Result<Vec<Names>, RequestError>) -> (Found, Found) {
    let pages = match pages {
        Ok(pages) => pages,
        Err(error) => return (Found::Unknown, failed(error)),
    };
    let is_small = pages.iter().all(|page| page.len() <= PAGE_KEYS as usize);
    let all: Names = pages.iter().flatten().cloned().collect();
    (is_small.into(), is_exactly(&all, &NAMES).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{AnswerFlaw, Operation, ServiceError, Subject};
    use crate::ops::Answer;
    use crate::outcome::Outcome;

    fn names(names: &[&str]) -> Names {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_names_stand_in_their_order() {
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn pages_must_be_small_and_hold_everything_once() {
        let judge = |pages: &[Names]| judge_pages(&Ok(pages.to_vec()));
        let good = [names(&["A", "a"]), names(&["b-c", "b/1"]), names(&["b/2", "z"]), names(&[])];
        assert_eq!(judge(&good), (Found::Yes, Found::Yes));
        assert_eq!(judge(&[names(&NAMES)]), (Found::No, Found::Yes));
        assert_eq!(judge(&good[..2]), (Found::Yes, Found::No));
        let twice = [good[0].clone(), good[0].clone(), good[1].clone(), good[2].clone()];
        assert_eq!(judge(&twice), (Found::Yes, Found::No));
    }

    #[test]
    fn failures_tell_a_server_that_cannot_from_one_that_does_not_answer() {
        let error = |cause| {
            let subject = Subject { operation: Operation::ListObjectsV2, target: String::new() };
            failed(&RequestError::new(subject, 1, Outcome::NONE, cause))
        };
        assert_eq!(error(Cause::Malformed(AnswerFlaw::UnknownLength)), Found::No);
        assert_eq!(error(Cause::Refused(ServiceError::new(400, None, "", None))), Found::No);
        assert_eq!(error(Cause::Refused(ServiceError::new(503, None, "", None))), Found::Unknown);
        assert_eq!(error(Cause::TimedOut { limit: std::time::Duration::ZERO }), Found::Unknown);
    }

    #[test]
    fn whether_names_are_encoded_is_what_the_answer_says() {
        let says = |body: &'static str| {
            let answer = Answer { headers: http::HeaderMap::new(), body: body.into() };
            names_encoding(&RawAnswer { status: 200, answer })
        };
        let encoded = "<ListBucketResult><EncodingType>url</EncodingType></ListBucketResult>";
        assert_eq!(says(encoded), Some(true));
        assert_eq!(says("<ListBucketResult><Name>b</Name></ListBucketResult>"), Some(false));
        assert_eq!(says("<html>"), None);
    }
}
