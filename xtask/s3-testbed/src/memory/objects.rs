//! Put, get, head and delete of one object.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};

use super::answer::{Answer, Answered, Pages, S3Error, empty, set};
use super::hashes;
use super::object::{Object, is_stored_header};
use super::options::{ConditionalPut, Lack};
use super::request::Request;
use super::store::{Bucket, Call, Store};
use crate::clock::http_date;

/// `PutObject`.
pub(crate) fn put(store: &mut Store, call: Call<'_>) -> Answered {
    let number = if call.options.fast { store.next_number() } else { 0 };
    let bucket = store.bucket(&call.request.bucket)?;
    check_write(bucket, &call)?;
    // Formed like that of an object of one part, so that nobody takes it for an MD5 and finds the content damaged.
    let etag = if call.options.fast { format!("{number:032x}-1") } else { hashes::hex(&call.sums.md5) };
    let object = Object {
        pages: call.request.pages.clone(),
        size: call.request.pages.iter().map(|page| page.len() as u64).sum(),
        etag,
        modified_at: call.now,
        headers: stored_headers(call.request),
        checksums: call.sums.checksums,
    };
    let mut answer = empty(StatusCode::OK);
    set(&mut answer, "etag", &quoted(&object.etag));
    for (name, value) in &object.checksums {
        set(&mut answer, name, value);
    }
    bucket.objects.insert(call.request.key.clone(), Arc::new(object));
    Ok(answer)
}

/// The conditions of a write, as `PutObject` and `CompleteMultipartUpload` have them (S3 user guide, "conditional writes").
pub(crate) fn check_write(bucket: &Bucket, call: &Call<'_>) -> Result<(), S3Error> {
    let (request, options) = (call.request, call.options);
    let (none_match, if_match) = (request.header("if-none-match"), request.header("if-match"));
    if none_match.is_none() && if_match.is_none() || options.conditional_put == ConditionalPut::Ignored {
        return Ok(());
    }
    if options.conditional_put == ConditionalPut::Refused {
        return Err(S3Error::not_implemented("a conditional put"));
    }
    let current = bucket.objects.get(&request.key);
    match none_match {
        Some("*") if current.is_some() => return Err(S3Error::precondition_failed("If-None-Match")),
        Some("*") | None => {}
        Some(_) => return Err(S3Error::not_implemented("If-None-Match with an ETag on a put")),
    }
    let Some(expected) = if_match.filter(|_| !options.lacks(Lack::IfMatch)) else { return Ok(()) };
    match current {
        None => Err(S3Error::no_such_key(&request.key)),
        Some(object) if unquoted(expected) == object.etag => Ok(()),
        Some(_) => Err(S3Error::precondition_failed("If-Match")),
    }
}

/// `GetObject` and `HeadObject`.
pub(crate) fn get(store: &mut Store, call: &Call<'_>) -> Answered {
    let request = call.request;
    let bucket = store.bucket(&request.bucket)?;
    let object = bucket.objects.get(&request.key).ok_or_else(|| S3Error::no_such_key(&request.key))?;
    if let Some(expected) = request.header("if-match")
        && expected != "*"
        && unquoted(expected) != object.etag
    {
        return Err(S3Error::precondition_failed("If-Match"));
    }
    if request.header("if-none-match").is_some_and(|known| known == "*" || unquoted(known) == object.etag) {
        let mut answer = empty(StatusCode::NOT_MODIFIED);
        set(&mut answer, "etag", &quoted(&object.etag));
        return Ok(answer);
    }
    let range = match request.header("range") {
        Some(text) => parse_range(text, object.size)?,
        None => None,
    };
    let mut answer = match range {
        None => whole(request, object),
        Some((start, end)) => part(request, object, start, end),
    };
    describe(&mut answer, object);
    let wants_checksums = request.header("x-amz-checksum-mode").is_some_and(|mode| mode == "ENABLED");
    // S3 gives checksums of whole objects only.
    if wants_checksums && range.is_none() {
        for (name, value) in &object.checksums {
            set(&mut answer, name, value);
        }
    }
    Ok(answer)
}

fn whole(request: &Request, object: &Object) -> Answer {
    let is_head = request.method == Method::HEAD;
    let mut answer = empty(StatusCode::OK);
    *answer.body_mut() = if is_head { Pages::default() } else { Pages::new(object.pages.clone()) };
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(object.size));
    answer
}

fn part(request: &Request, object: &Object, start: u64, end: u64) -> Answer {
    let is_head = request.method == Method::HEAD;
    let mut answer = empty(StatusCode::PARTIAL_CONTENT);
    *answer.body_mut() = if is_head { Pages::default() } else { Pages::new(object.slice(start, end)) };
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    set(&mut answer, "content-range", &format!("bytes {start}-{}/{}", end - 1, object.size));
    answer
}

fn describe(answer: &mut Answer, object: &Object) {
    set(answer, "etag", &quoted(&object.etag));
    set(answer, "last-modified", &http_date(object.modified_at));
    set(answer, "accept-ranges", "bytes");
    answer.headers_mut().extend(object.headers.iter().cloned());
    if !answer.headers().contains_key(header::CONTENT_TYPE) {
        set(answer, "content-type", "binary/octet-stream");
    }
}

/// `DeleteObject`: 204 whether there was one or not, conditions ignored (as almost everywhere).
pub(crate) fn delete(store: &mut Store, call: &Call<'_>) -> Answered {
    store.bucket(&call.request.bucket)?.objects.remove(&call.request.key);
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `start..end` of `bytes=a-b`, `a-` or `-n`; `None` for what is no range (RFC 9110, section 14.2: then it is ignored).
fn parse_range(text: &str, size: u64) -> Result<Option<(u64, u64)>, S3Error> {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, size.min(last.saturating_add(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, size),
        (Err(_), Ok(count)) if first.is_empty() => (size.saturating_sub(count), size),
        _ => return Ok(None),
    };
    if start >= end {
        let error = S3Error::new(416, "InvalidRange", "The requested range is not satisfiable");
        return Err(error.with("RangeRequested", text).with("ActualObjectSize", size.to_string()));
    }
    Ok(Some((start, end)))
}

pub(crate) fn stored_headers(request: &Request) -> Vec<(http::HeaderName, HeaderValue)> {
    let headers = request.headers.iter().filter(|(name, _)| is_stored_header(name.as_str()));
    headers.map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

pub(crate) fn unquoted(etag: &str) -> &str {
    etag.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        assert_eq!(parse_range("bytes=0-4", 10).unwrap(), Some((0, 5)));
        assert_eq!(parse_range("bytes=5-99", 10).unwrap(), Some((5, 10)));
        assert_eq!(parse_range("bytes=5-", 10).unwrap(), Some((5, 10)));
        assert_eq!(parse_range("bytes=-3", 10).unwrap(), Some((7, 10)));
        assert_eq!(parse_range("lines=1-2", 10).unwrap(), None);
        assert_eq!(parse_range("bytes=3-1", 10).unwrap(), None);
        assert!(parse_range("bytes=10-", 10).is_err());
        assert!(parse_range("bytes=0-0", 0).is_err());
        assert!(parse_range("bytes=-0", 10).is_err());
    }
}
