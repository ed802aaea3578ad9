//! `ListObjectsV2`.

use std::fmt::Write;
use std::ops::Bound;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::{Answered, S3Error, document};
use super::hashes::hex;
use super::object::Object;
use super::options::Lack;
use super::store::{Bucket, Call, Store};
use super::xml::escape;
use crate::clock::xml_date;

/// S3 API reference, `ListObjectsV2`, `max-keys`.
const KEYS_MAX: usize = 1000;

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// One page: keys and common prefixes in the order of their bytes.
pub(crate) fn list(store: &mut Store, call: &Call<'_>) -> Answered {
    let query = &call.request.query;
    let bucket = store.bucket(&call.request.bucket)?;
    let value = |name: &str| query.value(name).unwrap_or("");
    let max_keys = match query.value("max-keys") {
        None => KEYS_MAX,
        Some(text) => text.parse().map_err(|_| S3Error::new(400, "InvalidArgument", "max-keys"))?,
    };
    let token = value("continuation-token");
    let after = if token.is_empty() { value("start-after").to_owned() } else { from_token(token)? };
    let page = Page::gather(bucket, value("prefix"), value("delimiter"), &after, max_keys.min(KEYS_MAX));

    let claims = value("encoding-type") == "url" && !call.options.lacks(Lack::EncodingType);
    let encodes = claims && !call.options.lacks(Lack::EncodedNames);
    let name = |text: &str| {
        if encodes { utf8_percent_encode(text, PLAIN).to_string() } else { escape(text) }
    };
    let mut body = String::with_capacity(256 + 256 * page.keys.len());
    let _ = write!(
        body,
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{}</Name><Prefix>{}</Prefix>\
         <MaxKeys>{max_keys}</MaxKeys><KeyCount>{}</KeyCount><IsTruncated>{}</IsTruncated>",
        escape(&call.request.bucket),
        name(value("prefix")),
        page.keys.len() + page.prefixes.len(),
        page.last.is_some(),
    );
    if query.has("delimiter") {
        let _ = write!(body, "<Delimiter>{}</Delimiter>", name(value("delimiter")));
    }
    if claims {
        body.push_str("<EncodingType>url</EncodingType>");
    }
    if let Some(last) = page.last.filter(|_| !call.options.lacks(Lack::NextToken)) {
        let _ = write!(body, "<NextContinuationToken>{}</NextContinuationToken>", hex(last.as_bytes()));
    }
    for (key, object) in page.keys {
        let _ = write!(
            body,
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>",
            name(key),
            xml_date(object.modified_at),
            object.etag,
            object.size,
        );
    }
    for prefix in page.prefixes {
        let _ = write!(body, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", name(&prefix));
    }
    body.push_str("</ListBucketResult>");
    Ok(document(&body))
}

struct Page<'a> {
    keys: Vec<(&'a str, &'a Object)>,
    prefixes: Vec<String>,
    /// The last key or prefix, if more follow.
    last: Option<String>,
}

impl<'a> Page<'a> {
    fn gather(bucket: &'a Bucket, prefix: &str, delimiter: &str, after: &str, max: usize) -> Page<'a> {
        let mut page = Page { keys: Vec::new(), prefixes: Vec::new(), last: None };
        let mut last = String::new();
        // Whichever starts later; the prefix itself is a possible key.
        let start = if after >= prefix { Bound::Excluded(after) } else { Bound::Included(prefix) };
        for (key, object) in bucket.objects.range::<str, _>((start, Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(prefix) else { break };
            let cut = if delimiter.is_empty() { None } else { rest.find(delimiter) };
            let common = cut.map(|at| &key[..prefix.len() + at + delimiter.len()]);
            if common.is_some_and(|common| {
                page.prefixes.last().is_some_and(|last| last == common) || after == common
            }) {
                continue;
            }
            if page.keys.len() + page.prefixes.len() == max {
                page.last = (max > 0).then_some(last);
                break;
            }
            if let Some(common) = common {
                page.prefixes.push(common.to_owned());
                common.clone_into(&mut last);
            } else {
                page.keys.push((key, object));
                key.clone_into(&mut last);
            }
        }
        page
    }
}

/// Tokens are the last key in hex: opaque to the client, and no state of the server.
fn from_token(token: &str) -> Result<String, S3Error> {
    let invalid = || S3Error::new(400, "InvalidArgument", "The continuation token provided is incorrect");
    let digits = |at: usize| token.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes = (0..token.len()).step_by(2).map(digits).collect::<Option<Vec<u8>>>().ok_or_else(invalid)?;
    String::from_utf8(bytes).map_err(|_| invalid())
}
