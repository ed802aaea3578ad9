//! Everything about a request that is the same for all its attempts.

use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};

use super::checksum::{self, Wanted};
use crate::body::{Payload, RequestBody};
use crate::config::{Addressing, Config, PayloadSigning, Quirk, Scheme, UploadChecksum};
use crate::error::InvalidRequest;
use crate::limits::Pace;
use crate::ops::{Integrity, RequestParts, Target};
use crate::sign::encode::append_path;
use crate::sign::{PayloadHash, Query, SignAs, Signer, ToSign};

use super::options::Signing;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const CHECKSUM_CRC32C: HeaderName = HeaderName::from_static("x-amz-checksum-crc32c");
const CHECKSUM_SHA256: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");

/// A request that only lacks its signature.
pub(crate) struct Prepared {
    method: Method,
    /// `https://host:port`
    origin: String,
    /// Encoded, with its leading slash.
    path: String,
    query: Query,
    /// With `Host` and checksums, without `Content-Length`.
    headers: HeaderMap,
    payload: Payload,
    hash: PayloadHash,
}

/// Addresses a request and hashes its payload.
pub(crate) async fn prepare(
    config: &Config,
    parts: RequestParts,
    signing: Signing,
) -> Result<Prepared, InvalidRequest> {
    let RequestParts { method, target, query, mut headers, payload, integrity } = parts;
    let is_presigned = matches!(signing, Signing::Presigned { .. });
    let is_open = config.endpoint().scheme() == Scheme::Https
        && config.payload_signing() == PayloadSigning::UnsignedUnderTls;
    let algorithm = match integrity {
        Integrity::Configured if !config.quirks().has(Quirk::NoChecksums) => config.upload_checksum(),
        _ => UploadChecksum::None,
    };
    let signs_body = !is_presigned && !is_open;
    let wanted = Wanted {
        sha256: !payload.is_empty() && (signs_body || algorithm == UploadChecksum::Sha256),
        crc32c: algorithm == UploadChecksum::Crc32c,
        md5: integrity == Integrity::Md5,
    };
    let hashes = checksum::hash(&payload, wanted).await;
    let sha256 = hashes.sha256.map_or(PayloadHash::EMPTY, PayloadHash::Sha256);
    if let Some(md5) = hashes.md5 {
        headers.insert(CONTENT_MD5, base64_value(&md5));
    }
    if let Some(crc32c) = hashes.crc32c {
        headers.insert(CHECKSUM_CRC32C, base64_value(&crc32c));
    }
    if algorithm == UploadChecksum::Sha256
        && let PayloadHash::Sha256(hash) = sha256
    {
        headers.insert(CHECKSUM_SHA256, base64_value(&checksum::base64(&hash)));
    }
    let (authority, path) = address(config, &target);
    let host = HeaderValue::from_str(&authority);
    headers.insert(HOST, host.map_err(|_| InvalidRequest::Header { name: "host".to_owned() })?);
    let origin = format!("{}://{authority}", config.endpoint().scheme());
    let hash = match integrity {
        Integrity::Claimed(hash) => PayloadHash::Sha256(hash),
        _ if signs_body => sha256,
        _ => PayloadHash::Unsigned,
    };
    Ok(Prepared { method, origin, path, query, headers, payload, hash })
}

/// Returns host and path of what a request is about.
fn address(config: &Config, target: &Target) -> (String, String) {
    let is_path = config.addressing() == Addressing::Path;
    let bucket = (!is_path && *target != Target::Service).then(|| config.bucket());
    let authority = config.endpoint().authority(config.region(), bucket);
    let mut path = String::from("/");
    if is_path && *target != Target::Service {
        path.push_str(config.bucket().as_str());
        if let Target::Key(_) = target {
            path.push('/');
        }
    }
    if let Target::Key(key) = target {
        append_path(&mut path, key.as_str());
    }
    (authority, path)
}

impl Prepared {
    /// Returns the length of the body.
    pub(crate) fn payload_len(&self) -> u64 {
        self.payload.len()
    }

    /// Signs one attempt.
    pub(crate) fn sign(
        &self,
        signer: &Signer,
        sign_as: &SignAs<'_>,
        signing: Signing,
        pace: Option<Pace>,
    ) -> Result<Request<RequestBody>, InvalidRequest> {
        let mut headers = self.headers.clone();
        let to_sign = ToSign { method: &self.method, path: &self.path, query: &self.query };
        // Bodies have a length even if it is zero; requests that never have one say nothing (spec `s3-backend.md` §4).
        let has_body = !self.payload.is_empty() || matches!(self.method, Method::PUT | Method::POST);
        let length = has_body.then(|| HeaderValue::from(self.payload.len()));
        let query = if let Signing::Presigned { expires_in, .. } = signing {
            let query = signer.presign(&to_sign, &headers, sign_as, expires_in)?;
            // Not signed: links are also used by clients that send what follows them.
            headers.extend(length.map(|length| (CONTENT_LENGTH, length)));
            query
        } else {
            headers.extend(length.map(|length| (CONTENT_LENGTH, length)));
            signer.sign_headers(&to_sign, self.hash, &mut headers, sign_as)?;
            self.query.to_wire()
        };
        let uri = self.uri(&query)?;
        let mut request = Request::new(RequestBody::new(self.payload.clone(), pace));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn uri(&self, query: &str) -> Result<Uri, InvalidRequest> {
        let separator = if query.is_empty() { "" } else { "?" };
        let text = format!("{}{}{separator}{query}", self.origin, self.path);
        let bytes = text.len() as u64;
        let (name, allowed) = ("the length of the request's address in bytes", "less than 65535");
        Uri::try_from(text).map_err(|_| InvalidRequest::OutOfRange { name, value: bytes, allowed })
    }
}

fn base64_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("invariant: Base64 is visible ASCII")
}
