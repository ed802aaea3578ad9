//! What a failure of the client means to whoever runs the store.

use std::time::{SystemTime, UNIX_EPOCH};

use coldkeep_s3_client::{Cause, Effect, ErrorCode, RequestError, ServiceError};

use crate::backend::{Fault, Validity};
use crate::time::StoreTime;

/// Codes of a backend without room. S3 itself has no end; these are what others say.
const FULL: &[&str] = &[
    "QuotaExceeded",
    "QuotaExceededException",
    "ServiceQuotaExceeded",
    "ServiceQuotaExceededException",
    "InsufficientStorage",
    "StorageFull",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
];

/// Codes of keys that are not accepted (S3 API reference, "Error responses"); the client takes some of them for a missing
/// right, which a policy gives and these not.
const NOT_ACCEPTED: &[&str] = &[
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "NotSignedUp",
    "InvalidSecurity",
    "MissingAuthenticationToken",
    "AccountProblem",
];

/// Returns whether the request may have taken effect, or still may.
pub(super) fn is_unclear(error: &RequestError) -> bool {
    error.outcome().is_unclear() || error.outcome().effect() != Effect::None
}

/// Returns what kind of failure it is.
pub(super) fn fault(error: &RequestError, validity: Option<Validity>) -> Fault {
    match error.cause() {
        Cause::Refused(refused) => fault_of(refused, age(validity, error.date().map(store_time))),
        Cause::NotSent { .. } | Cause::Connection { .. } | Cause::TimedOut { .. } => Fault::Unavailable,
        // What bears a gateway's status is a refusal to the client, whoever wrote the page.
        Cause::Malformed(_) => Fault::BadAnswer,
        Cause::Credentials(_) => Fault::Credentials,
        Cause::Expired => Fault::Expired,
        _ => Fault::Other,
    }
}

/// Whether a request had a validity, and whether that was over when the server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Unbounded,
    Good,
    Over,
}

/// Compares a validity with the date of an answer.
pub(super) fn age(validity: Option<Validity>, date: Option<StoreTime>) -> Age {
    match (validity, date) {
        (None, _) => Age::Unbounded,
        (Some(validity), Some(date)) if date >= validity.expires_at() => Age::Over,
        (Some(_), _) => Age::Good,
    }
}

/// Judges a refusal of the server.
pub(super) fn fault_of(refused: &ServiceError, age: Age) -> Fault {
    let sent = refused.sent_code().unwrap_or_default();
    if refused.status() == 507 || FULL.contains(&sent) {
        return Fault::Full;
    }
    // Not every server says so by its code: the query's form is what is wrong to some.
    if refused.region().is_some() {
        return Fault::WrongRegion;
    }
    match refused.code() {
        _ if NOT_ACCEPTED.contains(&sent) || refused.status() == 401 => Fault::Credentials,
        // A presigned request that comes late has no code of its own (S3 API reference, "Authenticating Requests").
        ErrorCode::AccessDenied if age == Age::Over => Fault::Expired,
        ErrorCode::AccessDenied => Fault::Denied,
        ErrorCode::ExpiredToken => Fault::ExpiredToken,
        ErrorCode::NoSuchBucket => Fault::NoBucket,
        ErrorCode::WrongRegion => Fault::WrongRegion,
        ErrorCode::RequestTimeTooSkewed if age != Age::Unbounded => Fault::Expired,
        ErrorCode::SlowDown => Fault::Throttled,
        // A conflict that has outlasted all attempts ends some time, too.
        ErrorCode::Unavailable | ErrorCode::Conflict => Fault::Unavailable,
        ErrorCode::NotImplemented => Fault::Other,
        _ => match refused.status() {
            429 => Fault::Throttled,
            500.. => Fault::Unavailable,
            _ => Fault::Other,
        },
    }
}

/// Converts the date of an answer.
pub(super) fn store_time(time: SystemTime) -> StoreTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => StoreTime::EPOCH.plus(since),
        Err(before) => StoreTime::EPOCH.minus(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn judged(status: u16, code: &str) -> Fault {
        judged_at(status, code, Age::Unbounded)
    }

    fn judged_at(status: u16, code: &str, age: Age) -> Fault {
        fault_of(&ServiceError::new(status, Some(code), "", None), age)
    }

    #[test]
    fn every_refusal_has_its_fault() {
        let expected: &[(Fault, &[(u16, &str)])] = &[
            (
                Fault::Credentials,
                &[
                    (403, "SignatureDoesNotMatch"),
                    (403, "InvalidAccessKeyId"),
                    (403, "NotSignedUp"),
                    (401, ""),
                    (401, "AccessDenied"),
                ],
            ),
            (Fault::ExpiredToken, &[(400, "ExpiredToken"), (400, "TokenRefreshRequired")]),
            (Fault::NoBucket, &[(404, "NoSuchBucket")]),
            (
                Fault::WrongRegion,
                &[(400, "AuthorizationHeaderMalformed"), (301, "PermanentRedirect"), (301, "")],
            ),
            (Fault::Denied, &[(403, "AccessDenied"), (403, "")]),
            (
                Fault::Full,
                &[
                    (403, "QuotaExceeded"),
                    (507, ""),
                    (507, "XMinioStorageFull"),
                    (400, "XMinioAdminBucketQuotaExceeded"),
                ],
            ),
            (Fault::Throttled, &[(503, "SlowDown"), (429, ""), (429, "Odd"), (400, "RequestLimitExceeded")]),
            (
                Fault::Unavailable,
                &[
                    (500, "InternalError"),
                    (503, "ServiceUnavailable"),
                    (502, ""),
                    (504, ""),
                    (500, "Odd"),
                    (409, ""),
                ],
            ),
            (
                Fault::Other,
                &[
                    (400, ""),
                    (400, "KeyTooLongError"),
                    (404, "NoSuchKey"),
                    (501, "NotImplemented"),
                    (403, "RequestTimeTooSkewed"),
                ],
            ),
        ];
        for (fault, answers) in expected {
            for (status, code) in *answers {
                assert_eq!(judged(*status, code), *fault, "{status} {code}");
            }
        }
    }

    #[test]
    fn a_late_request_has_expired_and_a_timely_one_is_denied() {
        assert_eq!(judged_at(403, "AccessDenied", Age::Over), Fault::Expired);
        assert_eq!(judged_at(403, "AccessDenied", Age::Good), Fault::Denied);
        assert_eq!(judged_at(403, "RequestTimeTooSkewed", Age::Good), Fault::Expired);
        assert_eq!(judged_at(403, "InvalidAccessKeyId", Age::Over), Fault::Credentials);
    }

    #[test]
    fn the_servers_date_says_whether_a_validity_is_over() {
        let validity = Validity { signed_at: StoreTime::from_unix(100, 0), lasts: Duration::from_mins(1) };
        let at = |seconds| Some(StoreTime::from_unix(seconds, 0));
        assert_eq!(age(Some(validity), at(159)), Age::Good);
        assert_eq!(age(Some(validity), at(160)), Age::Over);
        assert_eq!(age(Some(validity), None), Age::Good);
        assert_eq!(age(None, at(500)), Age::Unbounded);
    }

    #[test]
    fn a_region_named_by_the_server_is_a_wrong_one() {
        let error = ServiceError::new(400, Some("AuthorizationQueryParametersError"), "", None);
        assert_eq!(fault_of(&error, Age::Good), Fault::Other);
        assert_eq!(fault_of(&error.with_region(Some("eu-central-1")), Age::Good), Fault::WrongRegion);
    }
}
