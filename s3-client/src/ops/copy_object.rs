//! CopyObject.

use std::time::SystemTime;

use http::Method;
use http::header::{self, HeaderName};

use super::document::{self, etag, of_content};
use super::meta::text;
use super::put_object::set_metadata;
use super::{Answer, Checksums, ETag, NoOutput, RequestParts, S3Operation, Target, sealed};
use crate::config::{BucketName, Quirks};
use crate::error::{InvalidRequest, Operation};
use crate::key::ObjectKey;
use crate::sign::encode::{append_component, append_path};
use crate::xml::{self, XmlError};

const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const COPY_SOURCE_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");
const METADATA_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-metadata-directive");

/// Copies an object within the service, up to 5 GiB, without its content passing through the client.
///
/// Source: S3 API reference, [CopyObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html). A copy can fail after the
/// status 200 was sent; that is an error here like any other. A copy onto itself needs new metadata, and does not refresh the date on every
/// server (`s3-servers.md` §3, point 11).
#[derive(Debug, Clone)]
pub struct CopyObject {
    source_bucket: BucketName,
    source: ObjectKey,
    source_version_id: Option<String>,
    source_etag: Option<ETag>,
    key: ObjectKey,
    replacement: Option<Replacement>,
}

/// What stands in for the source's metadata.
#[derive(Debug, Clone)]
struct Replacement {
    content_type: String,
    metadata: Vec<(String, String)>,
}

/// An object was copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Copied {
    /// The content's name; some servers leave it out.
    pub etag: Option<ETag>,
    /// When the copy was written, by the server's clock.
    pub last_modified: Option<SystemTime>,
    /// Its version, in a versioned bucket.
    pub version_id: Option<String>,
    /// Version of the source that was copied, if that has versions.
    pub source_version_id: Option<String>,
    /// Checksums of the content, as the service stores them.
    pub checksums: Checksums,
}

impl CopyObject {
    /// Copies `source` of a bucket to `key` in the client's, with its metadata.
    pub fn new(source_bucket: BucketName, source: ObjectKey, key: ObjectKey) -> CopyObject {
        let (source_version_id, source_etag, replacement) = (None, None, None);
        CopyObject { source_bucket, source, source_version_id, source_etag, key, replacement }
    }

    /// Copies one version of the source.
    #[must_use]
    pub fn with_source_version(mut self, version_id: &str) -> CopyObject {
        self.source_version_id = Some(version_id.to_owned());
        self
    }

    /// Copies only if the source has this tag (`x-amz-copy-source-if-match`); if not, the precondition failed.
    ///
    /// Of the servers of the matrix, only `s3s-fs` does; RADOS gateway 16, `moto` and `rclone` copy whatever is there.
    #[must_use]
    pub fn if_source_matches(mut self, etag: ETag) -> CopyObject {
        self.source_etag = Some(etag);
        self
    }

    /// Gives the copy this media type and user metadata in place of the source's (`x-amz-metadata-directive: REPLACE`).
    #[must_use]
    pub fn replace_metadata<'m>(
        mut self,
        content_type: &str,
        metadata: impl IntoIterator<Item = (&'m str, &'m str)>,
    ) -> CopyObject {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let metadata = metadata.into_iter().map(owned).collect();
        self.replacement = Some(Replacement { content_type: content_type.to_owned(), metadata });
        self
    }

    /// Names the source as the header wants it: encoded, because a key can hold what a header cannot.
    fn source_path(&self) -> String {
        let mut path = format!("{}/", self.source_bucket);
        append_path(&mut path, self.source.as_str());
        if let Some(version_id) = &self.source_version_id {
            path.push_str("?versionId=");
            append_component(&mut path, version_id);
        }
        path
    }
}

impl sealed::Sealed for CopyObject {}

impl S3Operation for CopyObject {
    type Output = Copied;

    const OPERATION: Operation = Operation::CopyObject;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::PUT, Target::Key(self.key.clone()));
        parts.header(COPY_SOURCE, &self.source_path())?;
        if let Some(etag) = &self.source_etag {
            parts.header(COPY_SOURCE_IF_MATCH, &etag.quoted())?;
        }
        if let Some(replacement) = &self.replacement {
            parts.header(METADATA_DIRECTIVE, "REPLACE")?;
            parts.header(header::CONTENT_TYPE, &replacement.content_type)?;
            set_metadata(&mut parts, &replacement.metadata)?;
        }
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<Copied, NoOutput> {
        let copied = document::output(parse(&answer.body))?;
        Ok(Copied {
            version_id: text(&answer.headers, "x-amz-version-id").map(str::to_owned),
            source_version_id: text(&answer.headers, "x-amz-copy-source-version-id").map(str::to_owned),
            ..copied
        })
    }
}

/// Reads the answer's body.
pub(crate) fn parse(body: &[u8]) -> Result<Copied, XmlError> {
    xml::parse(body, "CopyObjectResult", |reader| {
        let (mut copied, mut checksum_type) = (Copied::default(), None);
        while let Some(name) = reader.next_child()? {
            match name {
                "ETag" => copied.etag = etag(reader)?,
                "LastModified" => copied.last_modified = reader.time()?,
                "ChecksumCRC32" => copied.checksums.crc32 = reader.optional_word()?,
                "ChecksumCRC32C" => copied.checksums.crc32c = reader.optional_word()?,
                "ChecksumCRC64NVME" => copied.checksums.crc64nvme = reader.optional_word()?,
                "ChecksumSHA256" => copied.checksums.sha256 = reader.optional_word()?,
                "ChecksumType" => checksum_type = reader.optional_word()?,
                _ => reader.skip()?,
            }
        }
        copied.checksums = of_content(copied.checksums, checksum_type.as_deref());
        Ok(copied)
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn copy(source: &str) -> CopyObject {
        let key = |key: &str| ObjectKey::new(key).unwrap();
        CopyObject::new("backups".parse().unwrap(), key(source), key("to"))
    }

    fn headers(copy: &CopyObject) -> Vec<(String, String)> {
        let parts = copy.request(&Quirks::default()).unwrap();
        let headers = parts.headers.iter();
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn the_source_is_named_encoded() {
        let expected = vec![("x-amz-copy-source".to_owned(), "backups/a%20b/%2B%3F%C3%A9%0A".to_owned())];
        assert_eq!(headers(&copy("a b/+?é\n")), expected);
        let versioned = copy("k").with_source_version("v/1=");
        assert_eq!(headers(&versioned)[0].1, "backups/k?versionId=v%2F1%3D");
        let matching = copy("k").if_source_matches(ETag::new("e"));
        assert_eq!(headers(&matching)[1], ("x-amz-copy-source-if-match".to_owned(), "\"e\"".to_owned()));
    }

    #[test]
    fn metadata_is_replaced_only_when_asked_for() {
        let replaced = headers(&copy("k").replace_metadata("text/plain", [("Colour", "blue")]));
        let expected = [
            ("x-amz-copy-source", "backups/k"),
            ("x-amz-metadata-directive", "REPLACE"),
            ("content-type", "text/plain"),
            ("x-amz-meta-colour", "blue"),
        ];
        assert_eq!(replaced.len(), expected.len());
        for (name, value) in expected {
            assert!(replaced.contains(&(name.to_owned(), value.to_owned())), "{name}");
        }
    }

    #[test]
    fn the_new_object_is_described() {
        let copied = parse(
            b"<CopyObjectResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LastModified>2023-11-14T22:13:20.000Z</LastModified>\
              <ETag>&quot;9b2cf535f27731c974343645a3985328&quot;</ETag><ChecksumCRC32C>yZRlqg==</ChecksumCRC32C></CopyObjectResult>",
        );
        let expected = Copied {
            etag: Some(ETag::new("9b2cf535f27731c974343645a3985328")),
            last_modified: Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
            checksums: Checksums { crc32c: Some("yZRlqg==".to_owned()), ..Checksums::default() },
            ..Copied::default()
        };
        assert_eq!(copied, Ok(expected));
        assert_eq!(parse(b"<CopyObjectResult/>"), Ok(Copied::default()));
    }

    #[test]
    fn an_error_in_the_body_of_a_success_is_an_error() {
        // After white space that kept the connection alive.
        let body =
            b" \n \n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InternalError</Code></Error>";
        let error = parse(body).unwrap_err();
        assert_eq!(
            error.error_document().and_then(|document| document.code.as_deref()),
            Some("InternalError")
        );
        assert_eq!(parse(b""), Err(XmlError::Empty));
    }
}
