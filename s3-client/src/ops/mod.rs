//! The operations of S3, one file each: parameters, request, answer, result.
//!
//! An operation is a value. [`Client::send`](crate::Client::send) carries it out, [`Client::presign`](crate::Client::presign) makes a link
//! of it. Nothing here does I/O.

mod bucket;
mod complete_multipart_upload;
mod copy_object;
mod delete_object;
mod delete_objects;
mod document;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod get_object;
mod head_object;
mod lifecycle;
mod list_buckets;
mod list_objects_v2;
mod meta;
mod multipart;
mod object_lock;
mod put_object;
mod versioning;

pub use bucket::{BucketFacts, CreateBucket, DeleteBucket, HeadBucket};
pub use complete_multipart_upload::CompleteMultipartUpload;
pub use copy_object::{Copied, CopyObject};
pub use delete_object::{DeleteObject, Deleted};
pub use delete_objects::{
    DELETE_KEYS_MAX, DeleteObjects, DeleteReport, DeleteTarget, DeletedObject, FailedDelete,
};
pub use get_object::{ByteRange, GetObject, Object};
pub use head_object::HeadObject;
pub use lifecycle::{GetBucketLifecycleConfiguration, Lifecycle, LifecycleDue, LifecycleRule, Transition};
pub use list_buckets::{BucketList, ListBuckets, ListedBucket};
pub use list_objects_v2::{ContinuationToken, LIST_KEYS_MAX, ListObjectsV2, ListedObject, ObjectPage};
pub use meta::{Checksums, ContentRange, ETag, ObjectMeta};
pub(crate) use meta::{content_length, date as server_date, text as header_text};
pub use multipart::{
    AbortMultipartUpload, CreateMultipartUpload, MultipartUpload, PARTS_MAX, UploadPart, UploadedPart,
};
pub use object_lock::{GetObjectLockConfiguration, ObjectLock, Retention, RetentionMode, RetentionPeriod};
pub use put_object::{PutCondition, PutObject, Stored};
pub use versioning::{GetBucketVersioning, Versioning};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use crate::body::Payload;
use crate::config::Quirks;
use crate::error::{AnswerFlaw, ErrorCode, InvalidRequest, Operation};
use crate::key::ObjectKey;
use crate::sign::Query;

/// Most bytes of an answer that is a short document or empty: far above any that S3 describes.
pub(crate) const SHORT_BODY_BYTES_MAX: u64 = 1 << 20;

/// One operation of S3 with its parameters. Sealed: the operations are those of this crate.
pub trait S3Operation: sealed::Sealed + Sync {
    /// What a success returns.
    type Output: Send;

    /// The operation's name.
    const OPERATION: Operation;

    /// Describes the request.
    #[doc(hidden)]
    fn request(&self, quirks: &Quirks) -> Result<RequestParts, InvalidRequest>;

    /// Reads the answer of a success (status 2xx).
    #[doc(hidden)]
    fn output(&self, answer: Answer) -> Result<Self::Output, NoOutput>;

    /// The longest body that an answer may have.
    #[doc(hidden)]
    fn body_bytes_max(&self) -> u64 {
        SHORT_BODY_BYTES_MAX
    }

    /// Whether the body is an object's content, which must have a length and is compared with the checksums in the headers.
    #[doc(hidden)]
    fn checks_content(&self) -> bool {
        false
    }

    /// What an answer 404 without a code stands for.
    #[doc(hidden)]
    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchKey
    }
}

pub(crate) mod sealed {
    /// Keeps the trait to this crate.
    pub trait Sealed {}
}

/// A request before it is addressed, signed and sent.
#[derive(Debug, Clone)]
pub struct RequestParts {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) query: Query,
    /// Without `Host`, `Content-Length`, checksums and the headers of the signature, which the call adds.
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    pub(crate) integrity: Integrity,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The service: its list of buckets.
    Service,
    /// The client's bucket.
    Bucket,
    /// An object in it.
    Key(ObjectKey),
}

/// Which checksum of the payload goes with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integrity {
    /// Only the signature's own hash.
    None,
    /// The one that the configuration says.
    Configured,
    /// `Content-MD5`, which some servers insist on.
    Md5,
    /// The signature claims this SHA-256, whatever the payload is: the probe asks so whether the server compares.
    Claimed([u8; 32]),
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why an answer with a good status is no success.
#[derive(Debug)]
pub enum NoOutput {
    /// It is not what the API describes.
    Flaw(AnswerFlaw),
    /// Its body is an error document, as CopyObject, CompleteMultipartUpload and DeleteObjects may send with status 200.
    Refused(Box<crate::xml::ErrorDocument>),
}

impl<F: Into<AnswerFlaw>> From<F> for NoOutput {
    fn from(flaw: F) -> NoOutput {
        NoOutput::Flaw(flaw.into())
    }
}

impl RequestParts {
    pub(crate) fn new(method: Method, target: Target) -> RequestParts {
        RequestParts {
            method,
            target,
            query: Query::new(),
            headers: HeaderMap::new(),
            payload: Payload::default(),
            integrity: Integrity::None,
        }
    }

    /// Sets a header to a value that is not known to be one.
    pub(crate) fn header(&mut self, name: HeaderName, value: &str) -> Result<(), InvalidRequest> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| InvalidRequest::Header { name: name.as_str().to_owned() })?;
        self.headers.insert(name, value);
        Ok(())
    }
}
