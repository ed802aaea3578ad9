//! CreateMultipartUpload, UploadPart, AbortMultipartUpload. Completing has a file of its own.

use http::Method;
use http::header;

use super::meta::text;
use super::put_object::set_metadata;
use super::{Answer, ETag, Integrity, NoOutput, RequestParts, S3Operation, Target, document, sealed};
use crate::body::Payload;
use crate::config::Quirks;
use crate::error::{AnswerFlaw, ErrorCode, InvalidRequest, Operation};
use crate::key::ObjectKey;
use crate::sign::Query;
use crate::xml::{self, XmlError};

/// Most parts of an upload (S3 user guide, "Amazon S3 multipart upload limits").
pub const PARTS_MAX: u32 = 10_000;

/// Names an upload that was begun and is neither completed nor aborted. Its parts cost storage until then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MultipartUpload {
    /// The key that the object will have.
    pub key: ObjectKey,
    /// The service's name of the upload.
    pub id: String,
}

/// A part that was uploaded, as completing the upload wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadedPart {
    /// Its number, from 1 to 10,000; parts are joined in the order of their numbers.
    pub number: u32,
    /// The name of its content.
    pub etag: ETag,
}

/// Begins an object that is uploaded in parts.
///
/// Source: S3 API reference, [CreateMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html).
#[derive(Debug, Clone)]
pub struct CreateMultipartUpload {
    key: ObjectKey,
    content_type: Option<String>,
    metadata: Vec<(String, String)>,
}

/// Uploads one part: 5 MiB to 5 GiB, the last one also less. A part of the same number is replaced.
///
/// `Content-MD5` goes with it: other checksums have to be announced when the upload is begun, and not every server knows them.
///
/// Source: S3 API reference, [UploadPart](https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html).
#[derive(Debug, Clone)]
pub struct UploadPart {
    upload: MultipartUpload,
    number: u32,
    payload: Payload,
}

/// Gives an upload up and frees its parts. A part that is still on its way may stay: abort again after it.
///
/// Source: S3 API reference, [AbortMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html).
#[derive(Debug, Clone)]
pub struct AbortMultipartUpload {
    upload: MultipartUpload,
}

impl MultipartUpload {
    /// Names an upload that was begun earlier.
    pub fn new(key: ObjectKey, id: impl Into<String>) -> MultipartUpload {
        MultipartUpload { key, id: id.into() }
    }

    pub(super) fn request(&self, method: Method, query: Query) -> RequestParts {
        let mut parts = RequestParts::new(method, Target::Key(self.key.clone()));
        parts.query = query.with("uploadId", self.id.clone());
        parts
    }
}

impl UploadedPart {
    /// Names a part that was uploaded earlier.
    pub fn new(number: u32, etag: ETag) -> UploadedPart {
        UploadedPart { number, etag }
    }
}

impl CreateMultipartUpload {
    /// Begins an upload.
    pub fn new(key: ObjectKey) -> CreateMultipartUpload {
        CreateMultipartUpload { key, content_type: None, metadata: Vec::new() }
    }

    /// Sets the media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: &str) -> CreateMultipartUpload {
        self.content_type = Some(content_type.to_owned());
        self
    }

    /// Adds user metadata; the header `x-amz-meta-` goes before `name`.
    #[must_use]
    pub fn with_metadata(mut self, name: &str, value: &str) -> CreateMultipartUpload {
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl UploadPart {
    /// Uploads `payload` as the part of this number, 1 to 10,000.
    pub fn new(upload: MultipartUpload, number: u32, payload: impl Into<Payload>) -> UploadPart {
        UploadPart { upload, number, payload: payload.into() }
    }
}

impl AbortMultipartUpload {
    /// Gives `upload` up.
    pub fn new(upload: MultipartUpload) -> AbortMultipartUpload {
        AbortMultipartUpload { upload }
    }
}

impl sealed::Sealed for CreateMultipartUpload {}
impl sealed::Sealed for UploadPart {}
impl sealed::Sealed for AbortMultipartUpload {}

impl S3Operation for CreateMultipartUpload {
    type Output = MultipartUpload;

    const OPERATION: Operation = Operation::CreateMultipartUpload;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::POST, Target::Key(self.key.clone()));
        parts.query = parts.query.with_flag("uploads");
        if let Some(content_type) = &self.content_type {
            parts.header(header::CONTENT_TYPE, content_type)?;
        }
        set_metadata(&mut parts, &self.metadata)?;
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<MultipartUpload, NoOutput> {
        let id = document::output(parse(&answer.body))?;
        Ok(MultipartUpload::new(self.key.clone(), id))
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchBucket
    }
}

impl S3Operation for UploadPart {
    type Output = UploadedPart;

    const OPERATION: Operation = Operation::UploadPart;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        if !(1..=PARTS_MAX).contains(&self.number) {
            let (name, value) = ("the number of a part", self.number.into());
            return Err(InvalidRequest::OutOfRange { name, value, allowed: "1 to 10000" });
        }
        let query = Query::new().with("partNumber", self.number.to_string());
        let mut parts = self.upload.request(Method::PUT, query);
        parts.payload = self.payload.clone();
        parts.integrity = Integrity::Md5;
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<UploadedPart, NoOutput> {
        // Without it, the upload could not be completed.
        let etag = text(&answer.headers, header::ETAG).ok_or(AnswerFlaw::MissingHeader { name: "etag" })?;
        Ok(UploadedPart::new(self.number, ETag::new(etag)))
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchUpload
    }
}

impl S3Operation for AbortMultipartUpload {
    type Output = ();

    const OPERATION: Operation = Operation::AbortMultipartUpload;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        Ok(self.upload.request(Method::DELETE, Query::new()))
    }

    fn output(&self, _: Answer) -> Result<(), NoOutput> {
        Ok(())
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchUpload
    }
}

/// The right name of the root, and the one that `rclone` gives it.
const ROOTS: [&str; 2] = ["InitiateMultipartUploadResult", "InitiateMultipartUpload"];

/// Reads the name of the upload.
pub(crate) fn parse(body: &[u8]) -> Result<String, XmlError> {
    xml::parse_either(body, ROOTS, |reader| {
        let mut id = None;
        while let Some(name) = reader.next_child()? {
            match name {
                "UploadId" => {
                    let word = reader.optional_word()?;
                    reader.set(&mut id, word)?;
                }
                _ => reader.skip()?,
            }
        }
        id.flatten().ok_or_else(|| reader.missing("UploadId"))
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn upload() -> MultipartUpload {
        MultipartUpload::new(ObjectKey::new("k").unwrap(), "u/1==")
    }

    fn answer(headers: HeaderMap, body: &'static str) -> Answer {
        Answer { headers, body: Bytes::from(body) }
    }

    #[test]
    fn an_upload_is_begun_with_its_metadata() {
        let create = CreateMultipartUpload::new(ObjectKey::new("k").unwrap());
        let create = create.with_content_type("text/plain").with_metadata("Colour", "blue");
        let parts = create.request(&Quirks::default()).unwrap();
        assert_eq!((parts.method, parts.query.to_wire().as_str()), (Method::POST, "uploads"));
        assert_eq!(parts.headers["x-amz-meta-colour"], "blue");
        assert_eq!(parts.headers["content-type"], "text/plain");

        let body = "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>other</Key><UploadId>VXBsb2Fk\n</UploadId>\
                    </InitiateMultipartUploadResult>";
        let begun = create.output(answer(HeaderMap::new(), body)).unwrap();
        assert_eq!((begun.key.as_str(), begun.id.as_str()), ("k", "VXBsb2Fk"));
    }

    #[test]
    fn the_answer_of_rclone_is_read() {
        let body = b"<InitiateMultipartUpload><Bucket>b</Bucket><Key>k</Key><UploadId>1</UploadId></InitiateMultipartUpload>";
        assert_eq!(parse(body), Ok("1".to_owned()));
    }

    #[test]
    fn an_upload_without_a_name_is_an_error() {
        let path = || "InitiateMultipartUploadResult".to_owned();
        for body in [
            "<InitiateMultipartUploadResult/>",
            "<InitiateMultipartUploadResult><UploadId> </UploadId></InitiateMultipartUploadResult>",
        ] {
            assert_eq!(parse(body.as_bytes()), Err(XmlError::Missing { path: path(), element: "UploadId" }));
        }
    }

    #[test]
    fn a_part_goes_with_its_number_and_md5() {
        let parts = UploadPart::new(upload(), 7, "content").request(&Quirks::default()).unwrap();
        assert_eq!(
            (parts.method, parts.query.to_wire().as_str()),
            (Method::PUT, "partNumber=7&uploadId=u%2F1%3D%3D")
        );
        assert_eq!((parts.integrity, parts.payload.len()), (Integrity::Md5, 7));
        for number in [0, 10_001] {
            let error = UploadPart::new(upload(), number, "").request(&Quirks::default()).unwrap_err();
            assert!(matches!(error, InvalidRequest::OutOfRange { value, .. } if value == u64::from(number)));
        }
    }

    #[test]
    fn a_part_without_a_tag_is_an_error() {
        let part = UploadPart::new(upload(), 7, "content");
        let tagged = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"e\""))]);
        assert_eq!(part.output(answer(tagged, "")).unwrap(), UploadedPart::new(7, ETag::new("e")));
        let error = part.output(answer(HeaderMap::new(), "")).unwrap_err();
        assert!(matches!(error, NoOutput::Flaw(AnswerFlaw::MissingHeader { name: "etag" })));
    }

    #[test]
    fn an_upload_is_given_up_by_its_name() {
        let abort = AbortMultipartUpload::new(upload());
        let parts = abort.request(&Quirks::default()).unwrap();
        assert_eq!((parts.method, parts.query.to_wire().as_str()), (Method::DELETE, "uploadId=u%2F1%3D%3D"));
        assert_eq!(abort.not_found(), ErrorCode::NoSuchUpload);
    }
}
