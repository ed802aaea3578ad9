//! GetObject.

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, Method};

use super::{Answer, ContentRange, ETag, NoOutput, ObjectMeta, RequestParts, S3Operation, Target, sealed};
use crate::config::{Quirk, Quirks};
use crate::error::{AnswerFlaw, InvalidRequest, Operation};
use crate::key::ObjectKey;

pub(super) const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");

/// Most bytes that a get returns in one piece unless told otherwise: 1 GiB.
const BYTES_MAX_DEFAULT: u64 = 1 << 30;

/// Reads an object, or a range of it.
///
/// [`Client::send`](crate::Client::send) returns it in one piece, checked against its length and the checksums that came with it;
/// [`Client::stream`](crate::Client::stream) piece by piece. A body that is cut is an error, never a short result.
///
/// Source: S3 API reference, [GetObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
#[derive(Debug, Clone)]
pub struct GetObject {
    key: ObjectKey,
    range: Option<ByteRange>,
    if_match: Option<ETag>,
    version_id: Option<String>,
    bytes_max: u64,
}

/// Which bytes of an object to read (RFC 9110 §14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ByteRange {
    /// From the first to the last one, both included.
    Bounded {
        /// The first byte.
        first: u64,
        /// The last byte; past the end means to the end.
        last: u64,
    },
    /// From this one to the end.
    From(u64),
    /// That many at the end.
    Last(u64),
}

/// An object, or the range of it that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object {
    /// Its facts.
    pub meta: ObjectMeta,
    /// Which bytes these are; `None` if they are the whole object.
    pub range: Option<ContentRange>,
    /// The bytes.
    pub content: Bytes,
}

impl GetObject {
    /// Reads the current version of an object.
    pub fn new(key: ObjectKey) -> GetObject {
        GetObject { key, range: None, if_match: None, version_id: None, bytes_max: BYTES_MAX_DEFAULT }
    }

    /// Reads only a part. An empty object has none: servers answer 416.
    #[must_use]
    pub fn with_range(mut self, range: ByteRange) -> GetObject {
        self.range = Some(range);
        self
    }

    /// Reads only if the object still has this tag.
    #[must_use]
    pub fn if_match(mut self, etag: ETag) -> GetObject {
        self.if_match = Some(etag);
        self
    }

    /// Reads one version.
    #[must_use]
    pub fn with_version(mut self, version_id: &str) -> GetObject {
        self.version_id = Some(version_id.to_owned());
        self
    }

    /// Sets the most bytes to take: a longer body is an error before it is read. 1 GiB by default; streams are not bounded by it.
    #[must_use]
    pub fn with_bytes_max(mut self, bytes: u64) -> GetObject {
        self.bytes_max = bytes;
        self
    }

    pub(crate) fn target(&self) -> Target {
        Target::Key(self.key.clone())
    }

    /// Reads the head of an answer: facts, and which bytes follow.
    ///
    /// Servers answer a range with 206, or with 200 and `Content-Range`; one that ignores it sends 200 and everything.
    pub(crate) fn head(&self, headers: &HeaderMap) -> Result<(ObjectMeta, Option<ContentRange>), AnswerFlaw> {
        let meta = ObjectMeta::from_headers(headers)?;
        let got = ContentRange::from_headers(headers)?;
        let fits = match (self.range, got) {
            (None, None) => true,
            (None, Some(got)) => got.first == 0 && got.size.is_some_and(|size| got.last + 1 == size),
            (Some(_), None) => false,
            (Some(asked), Some(got)) => asked.is_answered_by(got),
        };
        if !fits {
            let asked = self.range.map_or_else(|| "the whole object".to_owned(), ByteRange::to_header);
            return Err(AnswerFlaw::WrongRange { asked });
        }
        Ok((meta, got))
    }
}

impl ByteRange {
    fn to_header(self) -> String {
        match self {
            ByteRange::Bounded { first, last } => format!("bytes={first}-{last}"),
            ByteRange::From(first) => format!("bytes={first}-"),
            ByteRange::Last(count) => format!("bytes=-{count}"),
        }
    }

    fn is_answered_by(self, got: ContentRange) -> bool {
        // Where the object ends must be told: fewer bytes than asked for could be a cut.
        let to_end = got.size.is_some_and(|size| got.last + 1 == size);
        match self {
            ByteRange::Bounded { first, last } => {
                got.first == first && (got.last == last || (got.last < last && to_end))
            }
            ByteRange::From(first) => got.first == first && to_end,
            ByteRange::Last(count) => to_end && (got.len() == count || (got.first == 0 && got.len() < count)),
        }
    }
}

impl sealed::Sealed for GetObject {}

impl S3Operation for GetObject {
    type Output = Object;

    const OPERATION: Operation = Operation::GetObject;

    fn request(&self, quirks: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::GET, self.target());
        match self.range {
            Some(ByteRange::Bounded { first, last }) if first > last => {
                let (name, allowed) = ("the last byte of a range", "at least the first one");
                return Err(InvalidRequest::OutOfRange { name, value: last, allowed });
            }
            Some(range) => parts.header(header::RANGE, &range.to_header())?,
            // The checksum of an object is that of the whole, so it is of use only here.
            None if !quirks.has(Quirk::NoChecksums) => parts.header(CHECKSUM_MODE, "ENABLED")?,
            None => {}
        }
        if let Some(etag) = &self.if_match {
            let tag = if quirks.has(Quirk::UnquotedIfMatch) { etag.to_string() } else { etag.quoted() };
            parts.header(header::IF_MATCH, &tag)?;
        }
        if let Some(version_id) = &self.version_id {
            parts.query = parts.query.with("versionId", version_id.clone());
        }
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<Object, NoOutput> {
        let (meta, range) = self.head(&answer.headers)?;
        if let Some(range) = range
            && range.len() != answer.body.len() as u64
        {
            let got = answer.body.len() as u64;
            return Err(AnswerFlaw::WrongLength { expected: range.len(), got }.into());
        }
        Ok(Object { meta, range: range.filter(|_| self.range.is_some()), content: answer.body })
    }

    fn body_bytes_max(&self) -> u64 {
        self.bytes_max
    }

    fn checks_content(&self) -> bool {
        self.range.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get() -> GetObject {
        GetObject::new(ObjectKey::new("k").unwrap())
    }

    fn answer(content_range: Option<&str>, body: &'static str) -> Answer {
        let mut headers = HeaderMap::from_iter([(header::ETAG, "\"x\"".parse().unwrap())]);
        if let Some(value) = content_range {
            headers.insert(header::CONTENT_RANGE, value.parse().unwrap());
        }
        Answer { headers, body: Bytes::from(body) }
    }

    #[test]
    fn ranges_are_taken_from_200_and_206_alike_if_they_fit() {
        let asked = get().with_range(ByteRange::Bounded { first: 2, last: 4 });
        let object = asked.output(answer(Some("bytes 2-4/10"), "cde")).unwrap();
        assert_eq!((object.range.unwrap().first, object.meta.size), (2, Some(10)));
        for wrong in [Some("bytes 3-5/10"), Some("bytes 2-3/10"), None] {
            let error = asked.output(answer(wrong, "cde")).unwrap_err();
            assert!(matches!(error, NoOutput::Flaw(AnswerFlaw::WrongRange { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn a_range_past_the_end_stops_at_the_end() {
        let asked = get().with_range(ByteRange::Bounded { first: 8, last: 100 });
        assert!(asked.output(answer(Some("bytes 8-9/10"), "ij")).is_ok());
        assert!(asked.output(answer(Some("bytes 8-8/10"), "i")).is_err());
        let tail = get().with_range(ByteRange::Last(4));
        assert!(tail.output(answer(Some("bytes 6-9/10"), "ghij")).is_ok());
        assert!(tail.output(answer(Some("bytes 0-2/3"), "abc")).is_ok());
        assert!(tail.output(answer(Some("bytes 5-8/10"), "fghi")).is_err());
    }

    #[test]
    fn a_truncated_range_is_an_error() {
        let asked = get().with_range(ByteRange::From(0));
        let error = asked.output(answer(Some("bytes 0-9/10"), "abc")).unwrap_err();
        assert!(matches!(error, NoOutput::Flaw(AnswerFlaw::WrongLength { expected: 10, got: 3 })));
    }

    #[test]
    fn ranges_become_headers() {
        let text = |range| {
            let parts = get().with_range(range).request(&Quirks::default()).unwrap();
            parts.headers[header::RANGE].to_str().unwrap().to_owned()
        };
        assert_eq!(text(ByteRange::Bounded { first: 0, last: 9 }), "bytes=0-9");
        assert_eq!(text(ByteRange::From(5)), "bytes=5-");
        assert_eq!(text(ByteRange::Last(5)), "bytes=-5");
        let reversed = get().with_range(ByteRange::Bounded { first: 9, last: 0 });
        assert!(reversed.request(&Quirks::default()).is_err());
    }
}
