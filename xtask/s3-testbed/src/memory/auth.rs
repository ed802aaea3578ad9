//! What can be checked of a signature without the secret.
//!
//! "Authenticating requests (AWS Signature Version 4)" of the S3 API reference: header and query form, scope, signed headers, age, expiry.

use std::time::{Duration, SystemTime};

use http::request::Parts;

use super::answer::S3Error;
use super::options::Options;
use super::request::Query;
use crate::clock::{parse_amz_date, xml_date};

/// A week: the longest life of a presigned request (S3 API reference, "Authenticating requests: using query parameters").
const EXPIRES_MAX: Duration = Duration::from_hours(7 * 24);

/// What the signature says of the body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PayloadHash {
    Sha256(String),
    Unsigned,
}

/// Checks a request's form and age.
pub(crate) fn check(parts: &Parts, query: &Query, options: &Options) -> Result<PayloadHash, S3Error> {
    let now = options.clock.now();
    if query.has("X-Amz-Signature") {
        return check_presigned(parts, query, options, now);
    }
    let Some(header) = header(parts, "authorization") else {
        return Err(S3Error::new(403, "AccessDenied", "Access Denied"));
    };
    let malformed = |what: &str| S3Error::new(400, "AuthorizationHeaderMalformed", what);
    let rest = header.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| malformed("unknown algorithm"))?;
    let field = |name: &str| {
        let mut fields = rest.split(',').map(str::trim);
        fields.find_map(|field| field.strip_prefix(name)).ok_or_else(|| malformed(name))
    };
    check_signature(field("Signature=")?).map_err(malformed)?;
    let date = header_date(parts)?;
    check_scope(field("Credential=")?, date, options).map_err(|fault| fault.into_error(malformed))?;
    check_signed_headers(parts, field("SignedHeaders=")?)?;
    let sent_at = parse_amz_date(date).ok_or_else(|| malformed("X-Amz-Date"))?;
    if let Some(skew_max) = options.skew_max
        && distance(sent_at, now) > skew_max
    {
        let message = "The difference between the request time and the current time is too large.";
        return Err(S3Error::new(403, "RequestTimeTooSkewed", message)
            .with("RequestTime", date)
            .with("ServerTime", xml_date(now))
            .with("MaxAllowedSkewMilliseconds", skew_max.as_millis().to_string()));
    }
    payload_hash(parts).ok_or_else(|| {
        S3Error::invalid_request("Missing required header for this request: x-amz-content-sha256")
    })?
}

fn check_presigned(
    parts: &Parts,
    query: &Query,
    options: &Options,
    now: SystemTime,
) -> Result<PayloadHash, S3Error> {
    let malformed = |what: &str| S3Error::new(400, "AuthorizationQueryParametersError", what);
    let value = |name: &str| query.value(name).ok_or_else(|| malformed(name));
    if value("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
        return Err(malformed("X-Amz-Algorithm"));
    }
    if parts.headers.contains_key("authorization") {
        return Err(S3Error::new(400, "InvalidArgument", "Only one auth mechanism allowed"));
    }
    check_signature(value("X-Amz-Signature")?).map_err(malformed)?;
    let date = value("X-Amz-Date")?;
    let sent_at = parse_amz_date(date).ok_or_else(|| malformed("X-Amz-Date"))?;
    check_scope(value("X-Amz-Credential")?, date, options).map_err(|fault| fault.into_error(malformed))?;
    check_signed_headers(parts, value("X-Amz-SignedHeaders")?)?;
    let expires = value("X-Amz-Expires")?.parse().map(Duration::from_secs);
    let expires = expires.map_err(|_| malformed("X-Amz-Expires"))?;
    if expires.is_zero() || expires > EXPIRES_MAX {
        return Err(malformed("X-Amz-Expires"));
    }
    if options.enforces_expiry && now > sent_at + expires {
        return Err(S3Error::new(403, "AccessDenied", "Request has expired")
            .with("X-Amz-Expires", expires.as_secs().to_string())
            .with("Expires", xml_date(sent_at + expires))
            .with("ServerTime", xml_date(now)));
    }
    if options.skew_max.is_some_and(|skew_max| sent_at > now + skew_max) {
        return Err(S3Error::new(403, "AccessDenied", "Request is not yet valid"));
    }
    payload_hash(parts).unwrap_or(Ok(PayloadHash::Unsigned))
}

fn check_signature(signature: &str) -> Result<(), &'static str> {
    let is_hex = signature.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if signature.len() == 64 && is_hex {
        Ok(())
    } else {
        Err("the signature is not 64 digits of lower-case hex")
    }
}

enum ScopeFault {
    Form(&'static str),
    Region { expected: String },
}

impl ScopeFault {
    fn into_error(self, malformed: impl Fn(&str) -> S3Error) -> S3Error {
        match self {
            ScopeFault::Form(what) => malformed(what),
            ScopeFault::Region { expected } => {
                malformed(&format!("the region is wrong; expecting '{expected}'")).with("Region", expected)
            }
        }
    }
}

/// `KEY/20130524/us-east-1/s3/aws4_request`, of the day of `date`.
fn check_scope(credential: &str, date: &str, options: &Options) -> Result<(), ScopeFault> {
    let steps: Vec<&str> = credential.split('/').collect();
    let [access_key, day, region, "s3", "aws4_request"] = steps[..] else {
        return Err(ScopeFault::Form("the credential is not KEY/DATE/REGION/s3/aws4_request"));
    };
    if access_key.is_empty() || region.is_empty() || date.get(..8) != Some(day) {
        return Err(ScopeFault::Form("the credential's date is not that of X-Amz-Date"));
    }
    match &options.region {
        Some(expected) if expected != region => Err(ScopeFault::Region { expected: expected.clone() }),
        _ => Ok(()),
    }
}

/// The host and all `x-amz-*` headers must be signed (S3 API reference, "Canonical request"); the list is sorted.
fn check_signed_headers(parts: &Parts, signed: &str) -> Result<(), S3Error> {
    let signed: Vec<&str> = signed.split(';').collect();
    let names = parts.headers.keys().map(http::HeaderName::as_str);
    let must = names.filter(|name| *name == "host" || name.starts_with("x-amz-"));
    let missing: Vec<&str> = must.filter(|name| !signed.contains(name)).collect();
    if !missing.is_empty() {
        let message = "There were headers present in the request which were not signed";
        return Err(S3Error::new(403, "AccessDenied", message).with("HeadersNotSigned", missing.join(", ")));
    }
    if !signed.is_sorted() || signed.iter().any(|name| !parts.headers.contains_key(*name)) {
        let message = "The signed headers are not sorted, or one was not sent";
        return Err(S3Error::new(403, "SignatureDoesNotMatch", message));
    }
    Ok(())
}

fn header_date(parts: &Parts) -> Result<&str, S3Error> {
    let message = "AWS authentication requires a valid Date or x-amz-date header";
    header(parts, "x-amz-date").ok_or_else(|| S3Error::new(403, "AccessDenied", message))
}

/// `None` without the header.
fn payload_hash(parts: &Parts) -> Option<Result<PayloadHash, S3Error>> {
    let value = header(parts, "x-amz-content-sha256")?;
    Some(match value {
        "UNSIGNED-PAYLOAD" => Ok(PayloadHash::Unsigned),
        value if value.starts_with("STREAMING-") => Err(S3Error::not_implemented(value)),
        value if check_signature(value).is_ok() => Ok(PayloadHash::Sha256(value.to_owned())),
        _ => Err(S3Error::new(
            400,
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a valid sha256 value.",
        )),
    })
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

fn distance(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|before| before.duration())
}
