//! What an answer, or the lack of one, says about what the request did.
//!
//! The table behind it stands in the documentation of [`RetryPolicy`](crate::RetryPolicy).

use crate::error::{Cause, ErrorCode, Operation};
use crate::outcome::Effect;

/// What one attempt did, and whether it may still do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) effect: Effect,
    /// It can still be accepted, until its signature expires.
    pub(crate) is_pending: bool,
}

const NOTHING: Verdict = Verdict { effect: Effect::None, is_pending: false };
const MAYBE: Verdict = Verdict { effect: Effect::Unknown, is_pending: false };
const UNCLEAR: Verdict = Verdict { effect: Effect::Unknown, is_pending: true };

/// Judges a failed attempt.
pub(crate) fn judge(operation: Operation, cause: &Cause) -> Verdict {
    if operation.is_read() {
        return NOTHING;
    }
    match cause {
        Cause::NotSent { .. } | Cause::Invalid(_) | Cause::Credentials(_) | Cause::Expired => NOTHING,
        // Without a complete answer nobody knows where the request is. The same holds for a proxy's page: the proxy may have given up
        // waiting for a server that is still at it.
        Cause::Connection { .. } | Cause::TimedOut { .. } | Cause::Malformed(_) => UNCLEAR,
        Cause::Refused(error) => match (error.code(), error.status()) {
            // The server reports the failure in the body of a success, so it was at it; and one server stores the object and then complains
            // about its checksum (spec `s3-servers.md` §3, point 4).
            (_, 200..=299) | (ErrorCode::BadDigest, _) => MAYBE,
            // Says no and means it: nothing was done, and the request is gone.
            (ErrorCode::SlowDown | ErrorCode::NotImplemented, _) => NOTHING,
            // A gateway's timeout is no word of the server: the request can be held and carried out later (hazard H21).
            (ErrorCode::Unavailable, _) | (_, 500..) => UNCLEAR,
            _ => NOTHING,
        },
    }
}

impl Operation {
    /// Returns whether it changes nothing.
    pub fn is_read(self) -> bool {
        match self {
            Operation::GetBucketLifecycleConfiguration
            | Operation::GetBucketVersioning
            | Operation::GetObject
            | Operation::GetObjectLockConfiguration
            | Operation::HeadBucket
            | Operation::HeadObject
            | Operation::ListBuckets
            | Operation::ListObjectsV2 => true,
            Operation::AbortMultipartUpload
            | Operation::CompleteMultipartUpload
            | Operation::CopyObject
            | Operation::CreateBucket
            | Operation::CreateMultipartUpload
            | Operation::DeleteBucket
            | Operation::DeleteObject
            | Operation::DeleteObjects
            | Operation::PutObject
            | Operation::UploadPart => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::error::{AnswerFlaw, ServiceError};

    fn refused(status: u16, code: Option<&str>) -> Cause {
        Cause::Refused(ServiceError::new(status, code, "", None))
    }

    #[test]
    fn a_refusal_is_final() {
        for (status, code) in [
            (400, None),
            (403, Some("AccessDenied")),
            (404, None),
            (409, Some("ConditionalRequestConflict")),
            (412, None),
            (429, None),
            (501, None),
            (503, Some("SlowDown")),
            (400, Some("EntityTooLarge")),
        ] {
            assert_eq!(judge(Operation::PutObject, &refused(status, code)), NOTHING, "{status} {code:?}");
        }
    }

    #[test]
    fn no_answer_is_unclear_and_so_is_a_gateways() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        for cause in [
            Cause::Connection { source: reset() },
            Cause::TimedOut { limit: Duration::from_secs(1) },
            Cause::Malformed(AnswerFlaw::UnknownLength),
            refused(500, Some("InternalError")),
            refused(502, None),
            refused(503, None),
            refused(504, None),
            refused(507, Some("Odd")),
            refused(400, Some("RequestTimeout")),
        ] {
            assert_eq!(judge(Operation::DeleteObjects, &cause), UNCLEAR, "{cause}");
        }
        let not_sent = Cause::NotSent { source: reset() };
        assert_eq!(judge(Operation::DeleteObjects, &not_sent), NOTHING);
    }

    #[test]
    fn an_errored_put_may_have_stored_the_object() {
        assert_eq!(judge(Operation::PutObject, &refused(400, Some("BadDigest"))), MAYBE);
        for code in ["InternalError", "SlowDown"] {
            assert_eq!(judge(Operation::CopyObject, &refused(200, Some(code))), MAYBE);
        }
    }

    #[test]
    fn a_read_does_nothing_whatever_happens() {
        let lost = Cause::TimedOut { limit: Duration::from_secs(1) };
        for operation in [Operation::GetObject, Operation::HeadObject, Operation::ListObjectsV2] {
            assert_eq!(judge(operation, &lost), NOTHING);
        }
    }
}
