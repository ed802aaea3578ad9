//! Signature Version 4: who sends a request, what it says, and from when on it counts.
//!
//! Pure code: no clock, no I/O. A request is signed in its headers ([`Signer::sign_headers`]) or in its query
//! ([`Signer::presign`]), with every header that is present at that moment; only headers that are added later stay unsigned.
//!
//! Sources: S3 API reference, "Authenticating Requests (AWS Signature Version 4)". Unlike for other services, the path is encoded
//! once and never normalised.
//!
//! # Example
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//! use coldkeep_s3_client::{Credentials, Region};
//! use coldkeep_s3_client::sign::{Query, SignAs, Signer, ToSign};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")?;
//! let region: Region = "us-east-1".parse()?;
//! let signed_at = UNIX_EPOCH + Duration::from_secs(1_369_353_600);
//! let mut headers = http::HeaderMap::new();
//! headers.insert("host", "examplebucket.s3.amazonaws.com".parse()?);
//!
//! let request = ToSign { method: &http::Method::GET, path: "/test.txt", query: &Query::new() };
//! let sign_as = SignAs { credentials: &credentials, region: &region, signed_at };
//! let query = Signer::new().presign(&request, &headers, &sign_as, Duration::from_secs(86_400))?;
//! assert!(query.ends_with("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"));
//! # Ok(())
//! # }
//! ```

mod canonical;
pub mod date;
pub mod encode;
mod key;
mod query;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use self::query::Query;
use crate::config::{Credentials, Region};

use self::canonical::SignedHeaders;
use self::date::AmzDate;
use self::key::{KeyCache, Scope};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// Longest life of a presigned request: seven days (S3 API reference, `X-Amz-Expires`).
pub const EXPIRES_IN_MAX: Duration = Duration::from_hours(7 * 24);

/// Signs requests. Clones share the keys that were derived; a client needs one.
#[derive(Debug, Clone)]
pub struct Signer {
    keys: KeyCache,
    service: &'static str,
}

/// The parts of a request that are signed beside its headers.
#[derive(Debug, Clone, Copy)]
pub struct ToSign<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path exactly as it is sent: from its first slash on, encoded with [`encode::append_path`].
    pub path: &'a str,
    /// The query, raw; to be sent as [`Query::to_wire`] has it.
    pub query: &'a Query,
}

/// In whose name a request is signed, where, and when.
#[derive(Debug, Clone, Copy)]
pub struct SignAs<'a> {
    /// The key pair, and the session token if there is one.
    pub credentials: &'a Credentials,
    /// The region that the server believes to be in.
    pub region: &'a Region,
    /// The instant from which the server counts, cut down to its second.
    pub signed_at: SystemTime,
}

/// What the signature says about the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadHash {
    /// The body's SHA-256: the form that every server takes.
    Sha256([u8; 32]),
    /// Nothing (`UNSIGNED-PAYLOAD`): for TLS, where the body cannot be changed on its way.
    Unsigned,
}

/// Why a request cannot be signed. Trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignError {
    /// The `Host` header is not there; every signature covers it.
    #[error("request has no host header to sign")]
    MissingHost,
    /// A header's value has bytes other than visible ASCII, which no two servers read alike.
    #[error("header {name} has other than visible ASCII characters; encode its value")]
    HeaderNotAscii {
        /// The header.
        name: HeaderName,
    },
    /// The signing time is outside the years 1970 to 9999.
    #[error("signing time is outside the years 1970 to 9999; set the clock")]
    TimeOutOfRange,
    /// A presigned request must live for at least one second and at most seven days.
    #[error("presigned request cannot expire in {expires_in:?}; allowed are 1 s to 7 days")]
    ExpiryOutOfRange {
        /// The life asked for.
        expires_in: Duration,
    },
}

impl PayloadHash {
    /// That of an empty body.
    pub const EMPTY: PayloadHash = PayloadHash::Sha256([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// Hashes a body.
    pub fn of(body: &[u8]) -> PayloadHash {
        PayloadHash::Sha256(Sha256::digest(body).into())
    }
}

impl Signer {
    /// Makes a signer for S3.
    pub fn new() -> Signer {
        Signer::for_service("s3")
    }

    fn for_service(service: &'static str) -> Signer {
        Signer { keys: KeyCache::default(), service }
    }

    /// Signs a request in its headers: sets `x-amz-date`, `x-amz-content-sha256`, `x-amz-security-token` (only with temporary
    /// credentials) and `authorization`, which covers all others.
    ///
    /// Headers of an earlier signature are replaced, so that one map serves all attempts. After an error the map is not to be sent.
    ///
    /// # Errors
    /// [`SignError::MissingHost`], [`SignError::HeaderNotAscii`], [`SignError::TimeOutOfRange`].
    pub fn sign_headers(
        &self,
        request: &ToSign<'_>,
        payload: PayloadHash,
        headers: &mut HeaderMap,
        sign_as: &SignAs<'_>,
    ) -> Result<(), SignError> {
        let date = AmzDate::new(sign_as.signed_at).ok_or(SignError::TimeOutOfRange)?;
        let digits;
        let payload = match payload {
            PayloadHash::Unsigned => UNSIGNED_PAYLOAD,
            PayloadHash::Sha256(hash) => {
                digits = Hex::of(hash);
                digits.as_str()
            }
        };
        headers.insert(X_AMZ_DATE, value(date.as_str()));
        headers.insert(X_AMZ_CONTENT_SHA256, value(payload));
        match sign_as.credentials.session_token() {
            Some(token) => headers.insert(X_AMZ_SECURITY_TOKEN, secret_value(token.to_owned())),
            // One that an earlier attempt, signed with other credentials, left behind.
            None => headers.remove(X_AMZ_SECURITY_TOKEN),
        };
        let authorization = self.authorization(request, payload, headers, sign_as)?;
        headers.insert(header::AUTHORIZATION, secret_value(authorization));
        Ok(())
    }

    /// Returns the value of the `authorization` header for `headers` as they are.
    fn authorization(
        &self,
        request: &ToSign<'_>,
        payload: &str,
        headers: &HeaderMap,
        sign_as: &SignAs<'_>,
    ) -> Result<String, SignError> {
        let date = AmzDate::new(sign_as.signed_at).ok_or(SignError::TimeOutOfRange)?;
        let signed = SignedHeaders::of(headers)?;
        let mut hasher = Sha256::new();
        signed.write_request(request, request.query, payload, &mut |part| hasher.update(part))?;
        let signature = self.signature(hasher, &date, sign_as);

        let mut value = String::with_capacity(512);
        value.push_str(ALGORITHM);
        value.push_str(" Credential=");
        self.append_credential(&mut value, &date, sign_as);
        // No space after the commas: stricter parsers than AWS's do not skip it.
        value.push_str(",SignedHeaders=");
        signed.write_names(&mut |part| value.push_str(part));
        value.push_str(",Signature=");
        value.push_str(signature.as_str());
        Ok(value)
    }

    /// Signs a request in its query and returns the whole query string, encoded: the parameters of `request`, those of the
    /// signature, and the signature.
    ///
    /// The server refuses the request from `expires_in` after the signing time on; that is cut down to whole seconds. All of
    /// `headers` are signed and must be sent as they are. The body is not covered: a header that binds it (`content-md5`) can be.
    ///
    /// The result lets anyone who has it send the request: it is a secret for as long as it lives.
    ///
    /// # Errors
    /// [`SignError::ExpiryOutOfRange`], and those of [`Signer::sign_headers`].
    pub fn presign(
        &self,
        request: &ToSign<'_>,
        headers: &HeaderMap,
        sign_as: &SignAs<'_>,
        expires_in: Duration,
    ) -> Result<String, SignError> {
        if expires_in < Duration::from_secs(1) || expires_in > EXPIRES_IN_MAX {
            return Err(SignError::ExpiryOutOfRange { expires_in });
        }
        let date = AmzDate::new(sign_as.signed_at).ok_or(SignError::TimeOutOfRange)?;
        let signed = SignedHeaders::of(headers)?;
        let mut credential = String::new();
        self.append_credential(&mut credential, &date, sign_as);
        let mut names = String::new();
        signed.write_names(&mut |part| names.push_str(part));

        let mut query = request.query.clone();
        query = query.with("X-Amz-Algorithm", ALGORITHM).with("X-Amz-Credential", credential);
        query = query.with("X-Amz-Date", date.as_str().to_owned());
        query = query.with("X-Amz-Expires", expires_in.as_secs().to_string());
        if let Some(token) = sign_as.credentials.session_token() {
            query = query.with("X-Amz-Security-Token", token.to_owned());
        }
        query = query.with("X-Amz-SignedHeaders", names);

        let mut hasher = Sha256::new();
        signed.write_request(request, &query, UNSIGNED_PAYLOAD, &mut |part| hasher.update(part))?;
        let signature = self.signature(hasher, &date, sign_as);
        let mut out = query.to_wire();
        out.push_str("&X-Amz-Signature=");
        out.push_str(signature.as_str());
        Ok(out)
    }

    /// Signs the hash of a canonical request (S3 API reference, "Signature Calculations for the Authorization Header", tasks 2, 3).
    fn signature(&self, canonical_request: Sha256, date: &AmzDate, sign_as: &SignAs<'_>) -> Hex {
        let hash = Hex::of(canonical_request.finalize().into());
        let scope = Scope { day: date.day(), region: sign_as.region.as_str(), service: self.service };
        let key = self.keys.key(sign_as.credentials.secret_key(), scope);
        Hex::of(key.sign([
            ALGORITHM,
            "\n",
            date.as_str(),
            "\n",
            scope.day,
            "/",
            scope.region,
            "/",
            scope.service,
            "/aws4_request\n",
            hash.as_str(),
        ]))
    }

    fn append_credential(&self, out: &mut String, date: &AmzDate, sign_as: &SignAs<'_>) {
        let access_key = sign_as.credentials.access_key();
        for part in
            [access_key, "/", date.day(), "/", sign_as.region.as_str(), "/", self.service, "/aws4_request"]
        {
            out.push_str(part);
        }
    }
}

impl Default for Signer {
    fn default() -> Signer {
        Signer::new()
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("invariant: dates, hashes and validated credentials are visible ASCII")
}

/// Makes a value that `Debug` does not show.
fn secret_value(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("invariant: made of the same as any other value here");
    value.set_sensitive(true);
    value
}

/// 32 bytes as 64 lower-case digits.
struct Hex([u8; 64]);

impl Hex {
    fn of(bytes: [u8; 32]) -> Hex {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Hex(text)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("invariant: hexadecimal digits are ASCII")
    }
}
