//! HeadObject.

use http::Method;

use super::{Answer, NoOutput, ObjectMeta, RequestParts, S3Operation, Target, sealed};
use crate::config::Quirks;
use crate::error::{InvalidRequest, Operation};
use crate::key::ObjectKey;

/// Asks for the facts about an object.
///
/// A missing object is an error that [is not found](crate::RequestError::is_not_found); answers to HEAD have no body, so a missing bucket
/// looks the same.
///
/// Source: S3 API reference, [HeadObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html).
#[derive(Debug, Clone)]
pub struct HeadObject {
    key: ObjectKey,
    version_id: Option<String>,
    with_checksums: bool,
}

impl HeadObject {
    /// Asks about the current version of an object.
    pub fn new(key: ObjectKey) -> HeadObject {
        HeadObject { key, version_id: None, with_checksums: false }
    }

    /// Asks about one version.
    #[must_use]
    pub fn with_version(mut self, version_id: &str) -> HeadObject {
        self.version_id = Some(version_id.to_owned());
        self
    }

    /// Asks for checksums too (`x-amz-checksum-mode`), with the quirk [`NoChecksums`](crate::Quirk::NoChecksums) as well: who calls this
    /// wants them.
    #[must_use]
    pub fn with_checksums(mut self) -> HeadObject {
        self.with_checksums = true;
        self
    }
}

impl sealed::Sealed for HeadObject {}

impl S3Operation for HeadObject {
    type Output = ObjectMeta;

    const OPERATION: Operation = Operation::HeadObject;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::HEAD, Target::Key(self.key.clone()));
        if let Some(version_id) = &self.version_id {
            parts.query = parts.query.with("versionId", version_id.clone());
        }
        if self.with_checksums {
            parts.header(super::get_object::CHECKSUM_MODE, "ENABLED")?;
        }
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<ObjectMeta, NoOutput> {
        Ok(ObjectMeta::from_headers(&answer.headers)?)
    }
}
