//! What the headers of an answer tell of an object.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::{self, AsHeaderName};

use crate::error::{AnswerFlaw, clip};
use crate::sign::date;

const META_PREFIX: &str = "x-amz-meta-";

/// The service's name of an object's content (RFC 9110 §8.8.3): the MD5 of a plain upload on most servers, something else on others, so
/// compare tags with each other only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ETag(Box<str>);

impl ETag {
    /// Takes a tag, with or without its quotes. The mark of a weak tag is dropped: proxies that compress add it, and what they left of the
    /// content is checked by other means.
    pub fn new(tag: &str) -> ETag {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
        ETag(tag.into())
    }

    /// Returns the tag without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the tag in quotes, as headers want it.
    pub(crate) fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Facts about an object, from the headers of GetObject and HeadObject (S3 API reference).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// Length of the whole object in bytes, if the answer tells it.
    pub size: Option<u64>,
    /// The content's name.
    pub etag: Option<ETag>,
    /// When it was last written, by the server's clock; whole seconds. One server rounds up, so it can be later than `Date`.
    pub last_modified: Option<SystemTime>,
    /// The media type.
    pub content_type: Option<String>,
    /// The version, in a versioned bucket.
    pub version_id: Option<String>,
    /// The storage class, if it is not the standard one.
    pub storage_class: Option<String>,
    /// User metadata (`x-amz-meta-…`), names in lower case. Values that are no visible ASCII are left out.
    pub metadata: BTreeMap<String, String>,
    /// Checksums of the content, as the service stores them.
    pub checksums: Checksums,
}

/// Checksums of an object's content in Base64, as their headers carry them (S3 user guide, "Checking object integrity").
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Checksums {
    /// `x-amz-checksum-crc32`.
    pub crc32: Option<String>,
    /// `x-amz-checksum-crc32c`.
    pub crc32c: Option<String>,
    /// `x-amz-checksum-crc64nvme`.
    pub crc64nvme: Option<String>,
    /// `x-amz-checksum-sha256`.
    pub sha256: Option<String>,
}

/// Which bytes of an object a body holds (RFC 9110 §14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte.
    pub first: u64,
    /// The last byte.
    pub last: u64,
    /// Length of the whole object, if told.
    pub size: Option<u64>,
}

impl ObjectMeta {
    /// Reads the headers of an object. A status of 200 alone makes none: an empty answer or a portal's page has neither a tag nor a date,
    /// of which every S3 server sends at least one (S3 API reference, GetObject and HeadObject: both).
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<ObjectMeta, AnswerFlaw> {
        let text = |name: &'static str| text(headers, name).map(str::to_owned);
        let range = ContentRange::from_headers(headers)?;
        let meta = ObjectMeta {
            size: match range {
                Some(range) => range.size,
                None => content_length(headers)?,
            },
            etag: self::text(headers, "etag").map(ETag::new),
            last_modified: match self::text(headers, "last-modified") {
                Some(value) => {
                    Some(date::parse_http_date(value).ok_or_else(|| invalid("last-modified", value))?)
                }
                None => None,
            },
            content_type: text("content-type"),
            version_id: text("x-amz-version-id"),
            storage_class: text("x-amz-storage-class"),
            metadata: headers
                .iter()
                .filter_map(|(name, value)| {
                    let name = name.as_str().strip_prefix(META_PREFIX)?;
                    Some((name.to_owned(), value.to_str().ok()?.to_owned()))
                })
                .collect(),
            checksums: Checksums::from_headers(headers),
        };
        if meta.etag.is_none() && meta.last_modified.is_none() {
            return Err(AnswerFlaw::MissingHeader { name: "etag" });
        }
        Ok(meta)
    }
}

impl Checksums {
    /// Reads checksums of whole objects; those of multipart uploads (`…-3`, or type `COMPOSITE`) are of parts, not of the content.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Checksums {
        let is_composite = text(headers, "x-amz-checksum-type") == Some("COMPOSITE");
        let sum = |name: &'static str| {
            text(headers, name).filter(|sum| !is_composite && !sum.contains('-')).map(str::to_owned)
        };
        Checksums {
            crc32: sum("x-amz-checksum-crc32"),
            crc32c: sum("x-amz-checksum-crc32c"),
            crc64nvme: sum("x-amz-checksum-crc64nvme"),
            sha256: sum("x-amz-checksum-sha256"),
        }
    }
}

impl ContentRange {
    /// Reads `bytes 0-9/100`. `bytes */100`, as answers 416 carry it, is no range.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Option<ContentRange>, AnswerFlaw> {
        let Some(value) = text(headers, "content-range") else { return Ok(None) };
        let parse = || -> Option<ContentRange> {
            let (range, size) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            let size = if size.trim() == "*" { None } else { Some(size.trim().parse().ok()?) };
            let fits = first <= last && size.is_none_or(|size| last < size);
            fits.then_some(ContentRange { first, last, size })
        };
        parse().map(Some).ok_or_else(|| invalid("content-range", value))
    }

    /// Returns how many bytes it has; saturates at `u64::MAX`.
    #[expect(clippy::len_without_is_empty, reason = "a range has at least one byte")]
    pub fn len(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// Reads the announced length of a body.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, AnswerFlaw> {
    let Some(value) = text(headers, "content-length") else { return Ok(None) };
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    let length = value.parse().ok().filter(|_| is_number);
    length.map(Some).ok_or_else(|| invalid("content-length", value))
}

/// Returns a header's value, if it is there and visible ASCII.
pub(crate) fn text<K: AsHeaderName>(headers: &HeaderMap, name: K) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Returns the `Date` of an answer, the server's clock.
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    text(headers, header::DATE).and_then(date::parse_http_date)
}

fn invalid(name: &'static str, value: &str) -> AnswerFlaw {
    AnswerFlaw::InvalidHeader { name, value: clip(value) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn headers_become_facts() {
        let meta = ObjectMeta::from_headers(&headers(&[
            ("content-length", "11"),
            ("etag", "\"abc\""),
            ("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
            ("x-amz-meta-Colour", "blue"),
            ("x-amz-version-id", "v1"),
            ("x-amz-checksum-crc32c", "yZRlqg=="),
        ]))
        .unwrap();
        assert_eq!((meta.size, meta.etag.as_ref().map(ETag::as_str)), (Some(11), Some("abc")));
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(meta.last_modified, Some(modified));
        assert_eq!(meta.metadata.get("colour").map(String::as_str), Some("blue"));
        assert_eq!(meta.version_id.as_deref(), Some("v1"));
        assert_eq!(meta.checksums.crc32c.as_deref(), Some("yZRlqg=="));
    }

    #[test]
    fn the_size_of_a_part_is_that_of_the_whole() {
        let part =
            headers(&[("content-range", "bytes 0-9/100"), ("content-length", "10"), ("etag", "\"x\"")]);
        assert_eq!(ObjectMeta::from_headers(&part).unwrap().size, Some(100));
    }

    #[test]
    fn checksums_of_parts_are_not_taken_for_those_of_the_content() {
        let of_parts = headers(&[("x-amz-checksum-sha256", "YWJj-3")]);
        assert_eq!(Checksums::from_headers(&of_parts), Checksums::default());
        let typed = headers(&[("x-amz-checksum-crc32", "YWJj"), ("x-amz-checksum-type", "COMPOSITE")]);
        assert_eq!(Checksums::from_headers(&typed), Checksums::default());
    }

    #[test]
    fn neither_tag_nor_date_is_no_object() {
        let error = ObjectMeta::from_headers(&headers(&[("content-length", "0")])).unwrap_err();
        assert!(matches!(error, AnswerFlaw::MissingHeader { name: "etag" }));
        let dated = headers(&[("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT")]);
        assert!(ObjectMeta::from_headers(&dated).is_ok());
    }

    #[test]
    fn nonsense_is_refused() {
        for (name, value) in [
            ("content-length", "-1"),
            ("content-length", "+5"),
            ("content-length", "99999999999999999999999"),
            ("content-range", "bytes 9-0/100"),
            ("content-range", "bytes 0-100/100"),
            ("content-range", "lines 0-1/2"),
            ("last-modified", "yesterday"),
        ] {
            let error = ObjectMeta::from_headers(&headers(&[(name, value)])).unwrap_err();
            assert!(matches!(error, AnswerFlaw::InvalidHeader { .. }), "{name}: {value}");
        }
    }

    #[test]
    fn tags_are_kept_without_quotes() {
        assert_eq!(ETag::new("\"a-2\"").as_str(), "a-2");
        assert_eq!(ETag::new("a").quoted(), "\"a\"");
        assert_eq!(ETag::new("W/\"a\"").quoted(), "\"a\"");
        assert_eq!(ETag::new("\"").as_str(), "\"");
    }
}
