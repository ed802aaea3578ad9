//! DeleteObject.

use http::Method;

use super::meta::text;
use super::{Answer, NoOutput, RequestParts, S3Operation, Target, sealed};
use crate::config::Quirks;
use crate::error::{InvalidRequest, Operation};
use crate::key::ObjectKey;

/// Deletes an object; one that is not there is no error (every server of the matrix answers 204; Google's interoperability API says
/// `NoSuchKey`, which [`Client::delete_batch`](crate::Client::delete_batch) takes for a success).
///
/// In a versioned bucket this hides the object behind a delete marker, unless a version is named. There is no conditional form:
/// `If-Match` on deletes is ignored almost everywhere (spec `s3-servers.md` §3, point 12).
///
/// Source: S3 API reference, [DeleteObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html).
#[derive(Debug, Clone)]
pub struct DeleteObject {
    key: ObjectKey,
    version_id: Option<String>,
}

/// An object is gone, or hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// The version that was deleted, or the delete marker that was made.
    pub version_id: Option<String>,
    /// The object is only hidden behind a delete marker; its content stays.
    pub is_delete_marker: bool,
}

impl DeleteObject {
    /// Deletes (in a versioned bucket: hides) an object.
    pub fn new(key: ObjectKey) -> DeleteObject {
        DeleteObject { key, version_id: None }
    }

    /// Deletes one version for good.
    #[must_use]
    pub fn with_version(mut self, version_id: &str) -> DeleteObject {
        self.version_id = Some(version_id.to_owned());
        self
    }
}

impl sealed::Sealed for DeleteObject {}

impl S3Operation for DeleteObject {
    type Output = Deleted;

    const OPERATION: Operation = Operation::DeleteObject;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::DELETE, Target::Key(self.key.clone()));
        if let Some(version_id) = &self.version_id {
            parts.query = parts.query.with("versionId", version_id.clone());
        }
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<Deleted, NoOutput> {
        Ok(Deleted {
            version_id: text(&answer.headers, "x-amz-version-id").map(str::to_owned),
            is_delete_marker: text(&answer.headers, "x-amz-delete-marker") == Some("true"),
        })
    }
}
