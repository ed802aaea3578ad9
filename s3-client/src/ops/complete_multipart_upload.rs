//! CompleteMultipartUpload.

use http::{HeaderValue, Method, header};

use super::document::{self, etag, of_content};
use super::meta::text;
use super::multipart::PARTS_MAX;
use super::{
    Answer, Checksums, MultipartUpload, NoOutput, RequestParts, S3Operation, Stored, UploadedPart, sealed,
};
use crate::config::Quirks;
use crate::error::{ErrorCode, InvalidRequest, Operation};
use crate::sign::Query;
use crate::xml::{self, NotInXml, Writer, XmlError};

/// Joins the parts of an upload to an object, in the order of their numbers. Parts that are not named are dropped.
///
/// Source: S3 API reference, [CompleteMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html). It
/// can fail after the status 200 was sent; that is an error here like any other. After a lost reply, a repetition may answer
/// [`ErrorCode::NoSuchUpload`] although the first attempt succeeded: HeadObject tells.
#[derive(Debug, Clone)]
pub struct CompleteMultipartUpload {
    upload: MultipartUpload,
    parts: Vec<UploadedPart>,
}

impl CompleteMultipartUpload {
    /// Joins `parts`, in any order.
    pub fn new(
        upload: MultipartUpload,
        parts: impl IntoIterator<Item = UploadedPart>,
    ) -> CompleteMultipartUpload {
        let mut parts: Vec<_> = parts.into_iter().collect();
        parts.sort_by_key(|part| part.number);
        CompleteMultipartUpload { upload, parts }
    }
}

impl sealed::Sealed for CompleteMultipartUpload {}

impl S3Operation for CompleteMultipartUpload {
    type Output = Stored;

    const OPERATION: Operation = Operation::CompleteMultipartUpload;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        check(&self.parts)?;
        let mut request = self.upload.request(Method::POST, Query::new());
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        request.payload = body(&self.parts).map_err(|_| InvalidRequest::Xml)?.into();
        Ok(request)
    }

    fn output(&self, answer: Answer) -> Result<Stored, NoOutput> {
        let stored = document::output(parse(&answer.body))?;
        Ok(Stored { version_id: text(&answer.headers, "x-amz-version-id").map(str::to_owned), ..stored })
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchUpload
    }
}

/// Two parts of one number would make the object depend on which of them the server takes.
fn check(parts: &[UploadedPart]) -> Result<(), InvalidRequest> {
    let out_of_range =
        |name, value| Err(InvalidRequest::OutOfRange { name, value, allowed: "1 to 10000, each once" });
    if parts.is_empty() {
        return out_of_range("the number of parts", 0);
    }
    let mut previous = 0;
    for part in parts {
        if part.number <= previous || part.number > PARTS_MAX {
            return out_of_range("the number of a part", part.number.into());
        }
        previous = part.number;
    }
    Ok(())
}

fn body(parts: &[UploadedPart]) -> Result<String, NotInXml> {
    Writer::document("CompleteMultipartUpload", |writer| {
        for part in parts {
            writer.element("Part", |writer| {
                writer.plain("PartNumber", part.number)?;
                writer.text("ETag", &part.etag.quoted())
            })?;
        }
        Ok(())
    })
}

/// Reads the answer's body.
pub(crate) fn parse(body: &[u8]) -> Result<Stored, XmlError> {
    xml::parse(body, "CompleteMultipartUploadResult", |reader| {
        let (mut tag, mut checksums, mut checksum_type) = (None, Checksums::default(), None);
        while let Some(name) = reader.next_child()? {
            match name {
                "ETag" => tag = etag(reader)?,
                "ChecksumCRC32" => checksums.crc32 = reader.optional_word()?,
                "ChecksumCRC32C" => checksums.crc32c = reader.optional_word()?,
                "ChecksumCRC64NVME" => checksums.crc64nvme = reader.optional_word()?,
                "ChecksumSHA256" => checksums.sha256 = reader.optional_word()?,
                "ChecksumType" => checksum_type = reader.optional_word()?,
                _ => reader.skip()?,
            }
        }
        let checksums = of_content(checksums, checksum_type.as_deref());
        Ok(Stored { etag: tag, version_id: None, checksums })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ObjectKey;
    use crate::ops::ETag;

    fn complete(numbers: &[u32]) -> CompleteMultipartUpload {
        let upload = MultipartUpload::new(ObjectKey::new("k").unwrap(), "u");
        let part = |number: &u32| UploadedPart::new(*number, ETag::new(&format!("e{number}")));
        CompleteMultipartUpload::new(upload, numbers.iter().map(part))
    }

    #[test]
    fn parts_are_named_in_order() {
        let complete = complete(&[2, 1, 10_000]);
        let parts = complete.request(&Quirks::default()).unwrap();
        assert_eq!((parts.method, parts.query.to_wire().as_str()), (Method::POST, "uploadId=u"));
        let body = body(&complete.parts).unwrap();
        let expected = "<Part><PartNumber>1</PartNumber><ETag>&quot;e1&quot;</ETag></Part><Part><PartNumber>2</PartNumber>\
                        <ETag>&quot;e2&quot;</ETag></Part><Part><PartNumber>10000</PartNumber><ETag>&quot;e10000&quot;</ETag></Part>\
                        </CompleteMultipartUpload>";
        assert!(body.ends_with(expected), "{body}");
        assert_eq!(parts.payload.len(), body.len() as u64);
    }

    #[test]
    fn parts_that_do_not_make_an_object_are_refused() {
        for numbers in [&[][..], &[0, 1], &[1, 1], &[10_001]] {
            let error = complete(numbers).request(&Quirks::default()).unwrap_err();
            assert!(matches!(error, InvalidRequest::OutOfRange { .. }), "{numbers:?}: {error}");
        }
    }

    #[test]
    fn the_object_is_described() {
        let stored = parse(
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
              <Location>http://x/</Location><Bucket>b</Bucket><Key>k</Key><ETag>\"3858f62230ac3c915f300c664312c11f-9\"</ETag>\
              <ChecksumSHA256>YWJj-9</ChecksumSHA256><ChecksumCRC64NVME>YWJj</ChecksumCRC64NVME></CompleteMultipartUploadResult>",
        );
        let stored = stored.unwrap();
        assert_eq!(stored.etag, Some(ETag::new("3858f62230ac3c915f300c664312c11f-9")));
        assert_eq!((stored.checksums.sha256, stored.checksums.crc64nvme.as_deref()), (None, Some("YWJj")));
    }

    #[test]
    fn an_error_in_the_body_of_a_success_is_an_error() {
        let body = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\n  <Error><Code>InternalError</Code><Message>m</Message></Error>";
        let error = parse(body).unwrap_err();
        assert_eq!(
            error.error_document().and_then(|document| document.code.as_deref()),
            Some("InternalError")
        );
        // White space that kept the connection alive, and then nothing.
        assert_eq!(parse(b"   \n"), Err(XmlError::Empty));
    }
}
