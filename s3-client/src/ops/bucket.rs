//! HeadBucket, CreateBucket, DeleteBucket: all about the client's own bucket.

use http::{HeaderValue, Method, header};

use super::meta::text;
use super::{Answer, NoOutput, RequestParts, S3Operation, Target, sealed};
use crate::config::{Quirks, Region};
use crate::error::{ErrorCode, InvalidRequest, Operation};
use crate::xml::{NotInXml, Writer};

/// Asks whether the bucket is there and may be used.
///
/// Source: S3 API reference, [HeadBucket](https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html).
#[derive(Debug, Clone, Default)]
pub struct HeadBucket {}

/// A bucket is there, and the credentials are good for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BucketFacts {
    /// Where it is (`x-amz-bucket-region`), if the server tells.
    pub region: Option<String>,
}

/// Makes the bucket. It is an error if it exists, except that some servers let its owner make it again.
///
/// Source: S3 API reference, [CreateBucket](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html).
#[derive(Debug, Clone, Default)]
pub struct CreateBucket {
    location: Option<Region>,
}

/// Deletes the bucket, which must be empty.
///
/// Source: S3 API reference, [DeleteBucket](https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html).
#[derive(Debug, Clone, Default)]
pub struct DeleteBucket {}

impl HeadBucket {
    /// Asks for the client's bucket.
    pub fn new() -> HeadBucket {
        HeadBucket {}
    }
}

impl CreateBucket {
    /// Makes the bucket where the endpoint makes buckets by default.
    pub fn new() -> CreateBucket {
        CreateBucket::default()
    }

    /// Makes it in this region. AWS wants this everywhere but in `us-east-1`, and refuses it there.
    #[must_use]
    pub fn with_location(mut self, location: Region) -> CreateBucket {
        self.location = Some(location);
        self
    }
}

impl DeleteBucket {
    /// Deletes the client's bucket.
    pub fn new() -> DeleteBucket {
        DeleteBucket {}
    }
}

impl sealed::Sealed for HeadBucket {}
impl sealed::Sealed for CreateBucket {}
impl sealed::Sealed for DeleteBucket {}

impl S3Operation for HeadBucket {
    type Output = BucketFacts;

    const OPERATION: Operation = Operation::HeadBucket;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        Ok(RequestParts::new(Method::HEAD, Target::Bucket))
    }

    fn output(&self, answer: Answer) -> Result<BucketFacts, NoOutput> {
        Ok(BucketFacts { region: text(&answer.headers, "x-amz-bucket-region").map(str::to_owned) })
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchBucket
    }
}

impl S3Operation for CreateBucket {
    type Output = ();

    const OPERATION: Operation = Operation::CreateBucket;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::PUT, Target::Bucket);
        if let Some(location) = &self.location {
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            parts.payload = body(location).map_err(|_| InvalidRequest::Xml)?.into();
        }
        Ok(parts)
    }

    fn output(&self, _: Answer) -> Result<(), NoOutput> {
        Ok(())
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchBucket
    }
}

impl S3Operation for DeleteBucket {
    type Output = ();

    const OPERATION: Operation = Operation::DeleteBucket;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        Ok(RequestParts::new(Method::DELETE, Target::Bucket))
    }

    fn output(&self, _: Answer) -> Result<(), NoOutput> {
        Ok(())
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchBucket
    }
}

fn body(location: &Region) -> Result<String, NotInXml> {
    Writer::document("CreateBucketConfiguration", |writer| {
        writer.text("LocationConstraint", location.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_sent_only_when_asked_for() {
        let quirks = Quirks::default();
        assert!(CreateBucket::new().request(&quirks).unwrap().payload.is_empty());
        let location: Region = "eu-west-1".parse().unwrap();
        let parts = CreateBucket::new().with_location(location.clone()).request(&quirks).unwrap();
        let body = body(&location).unwrap();
        assert!(
            body.ends_with(
                "\"><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"
            ),
            "{body}"
        );
        assert_eq!(parts.payload.len(), body.len() as u64);
    }

    #[test]
    fn a_bucket_that_is_not_found_is_no_missing_key() {
        assert_eq!(HeadBucket::new().not_found(), ErrorCode::NoSuchBucket);
        assert_eq!(DeleteBucket::new().request(&Quirks::default()).unwrap().method, Method::DELETE);
    }
}
