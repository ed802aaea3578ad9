//! PutObject.

use http::header::{self, HeaderName};
use http::{HeaderMap, Method};

use super::meta::text;
use super::{Answer, Checksums, ETag, Integrity, NoOutput, RequestParts, S3Operation, Target, sealed};
use crate::body::Payload;
use crate::config::{Quirk, Quirks};
use crate::error::{AnswerFlaw, InvalidRequest, Operation};
use crate::key::ObjectKey;

/// Most entries of user metadata, so that the head of a later answer stays below the 100 lines that the transport reads.
const METADATA_ENTRIES_MAX: usize = 64;

/// Most bytes of user metadata, names and values together (S3 user guide, "Working with object metadata").
const METADATA_BYTES_MAX: usize = 2048;

/// Writes an object from memory, with `Content-Length` and the real payload hash: the one form that every server takes.
///
/// Source: S3 API reference, [PutObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html). At most 5 GiB; beyond that,
/// and for content that is not in memory, there are multipart uploads.
#[derive(Debug, Clone)]
pub struct PutObject {
    key: ObjectKey,
    payload: Payload,
    condition: PutCondition,
    content_type: Option<String>,
    metadata: Vec<(String, String)>,
}

/// What must hold for a put to take place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutCondition {
    /// Nothing.
    Always,
    /// There is no object of this key (`If-None-Match: *`).
    IfAbsent,
    /// The object has this tag (`If-Match`).
    IfMatch(ETag),
}

/// An object was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The content's name. Always there after a put; some servers leave it out of the answer to a completed multipart upload.
    pub etag: Option<ETag>,
    /// The version, in a versioned bucket.
    pub version_id: Option<String>,
    /// Checksums that the service computed or took over.
    pub checksums: Checksums,
}

impl PutObject {
    /// Writes `payload` to `key`, whatever was there.
    pub fn new(key: ObjectKey, payload: impl Into<Payload>) -> PutObject {
        let (condition, metadata) = (PutCondition::Always, Vec::new());
        PutObject { key, payload: payload.into(), condition, content_type: None, metadata }
    }

    /// Sets what must hold. If it does not, the error [is](crate::RequestError::is_precondition_failed) a failed precondition and nothing
    /// was written; not every server keeps to it, see the [probe](crate::Client::probe).
    #[must_use]
    pub fn with_condition(mut self, condition: PutCondition) -> PutObject {
        self.condition = condition;
        self
    }

    /// Writes only if there is no object of this key.
    #[must_use]
    pub fn if_absent(self) -> PutObject {
        self.with_condition(PutCondition::IfAbsent)
    }

    /// Sets the media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: &str) -> PutObject {
        self.content_type = Some(content_type.to_owned());
        self
    }

    /// Adds user metadata; the header `x-amz-meta-` goes before `name`.
    #[must_use]
    pub fn with_metadata(mut self, name: &str, value: &str) -> PutObject {
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl sealed::Sealed for PutObject {}

impl S3Operation for PutObject {
    type Output = Stored;

    const OPERATION: Operation = Operation::PutObject;

    fn request(&self, quirks: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::PUT, Target::Key(self.key.clone()));
        parts.payload = self.payload.clone();
        parts.integrity = Integrity::Configured;
        if let Some(content_type) = &self.content_type {
            parts.header(header::CONTENT_TYPE, content_type)?;
        }
        set_metadata(&mut parts, &self.metadata)?;
        match &self.condition {
            PutCondition::Always => {}
            PutCondition::IfAbsent if quirks.has(Quirk::NoIfNoneMatch) => {}
            PutCondition::IfAbsent => parts.header(header::IF_NONE_MATCH, "*")?,
            PutCondition::IfMatch(_) if quirks.has(Quirk::NoIfMatch) => {
                return Err(InvalidRequest::Unsupported { what: "If-Match" });
            }
            PutCondition::IfMatch(etag) if quirks.has(Quirk::UnquotedIfMatch) => {
                parts.header(header::IF_MATCH, etag.as_str())?;
            }
            PutCondition::IfMatch(etag) => parts.header(header::IF_MATCH, &etag.quoted())?,
        }
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<Stored, NoOutput> {
        let stored = Stored::from_headers(&answer.headers);
        // Every S3 server names what it has stored; an empty 200 without it is somebody else's.
        if stored.etag.is_none() {
            return Err(AnswerFlaw::MissingHeader { name: "etag" }.into());
        }
        Ok(stored)
    }
}

impl Stored {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Stored {
        Stored {
            etag: text(headers, header::ETAG).map(ETag::new),
            version_id: text(headers, "x-amz-version-id").map(str::to_owned),
            checksums: Checksums::from_headers(headers),
        }
    }
}

/// Adds user metadata as headers.
pub(super) fn set_metadata(
    parts: &mut RequestParts,
    metadata: &[(String, String)],
) -> Result<(), InvalidRequest> {
    if metadata.len() > METADATA_ENTRIES_MAX {
        let (name, allowed) = ("the number of entries of user metadata", "at most 64");
        return Err(InvalidRequest::OutOfRange { name, value: metadata.len() as u64, allowed });
    }
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        let (name, allowed) = ("the length of the user metadata in bytes", "at most 2048");
        return Err(InvalidRequest::OutOfRange { name, value: bytes as u64, allowed });
    }
    for (name, value) in metadata {
        let name = format!("x-amz-meta-{}", name.to_ascii_lowercase());
        let header = HeaderName::try_from(&name).map_err(|_| InvalidRequest::Header { name })?;
        parts.header(header, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> PutObject {
        PutObject::new(ObjectKey::new("k").unwrap(), "content")
    }

    fn header<'a>(parts: &'a RequestParts, name: &str) -> Option<&'a str> {
        parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[test]
    fn conditions_become_headers() {
        let none = Quirks::default();
        let request = |put: PutObject| put.request(&none).unwrap();
        assert!(request(put()).headers.is_empty());
        assert_eq!(header(&request(put().if_absent()), "if-none-match"), Some("*"));
        let matching = put().with_condition(PutCondition::IfMatch(ETag::new("\"abc\"")));
        assert_eq!(header(&request(matching), "if-match"), Some("\"abc\""));
    }

    #[test]
    fn quirks_change_conditions() {
        let none_match = put().if_absent().request(&Quirks::from([Quirk::NoIfNoneMatch])).unwrap();
        assert!(none_match.headers.is_empty());
        let matching = put().with_condition(PutCondition::IfMatch(ETag::new("abc")));
        let unquoted = matching.request(&Quirks::from([Quirk::UnquotedIfMatch])).unwrap();
        assert_eq!(header(&unquoted, "if-match"), Some("abc"));
        // A compare-and-swap that compares nothing would be a lie.
        let error = matching.request(&Quirks::from([Quirk::NoIfMatch])).unwrap_err();
        assert_eq!(error, InvalidRequest::Unsupported { what: "If-Match" });
    }

    #[test]
    fn metadata_is_checked_before_anything_is_sent() {
        let good = put().with_metadata("Colour", "blue").with_content_type("text/plain");
        let parts = good.request(&Quirks::default()).unwrap();
        assert_eq!(header(&parts, "x-amz-meta-colour"), Some("blue"));
        assert_eq!(header(&parts, "content-type"), Some("text/plain"));
        for (name, value) in [("a b", "x"), ("a", "x\r\ny: z"), ("", &"x".repeat(3000))] {
            assert!(put().with_metadata(name, value).request(&Quirks::default()).is_err(), "{name:?}");
        }
        let many = |count| (0..count).fold(put(), |put, idx| put.with_metadata(&format!("n{idx}"), ""));
        assert!(many(64).request(&Quirks::default()).is_ok());
        assert!(many(65).request(&Quirks::default()).is_err());
    }
}
