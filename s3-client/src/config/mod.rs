//! Configuration: plain values, validated on construction.

mod bucket;
mod credentials;
mod endpoint;
mod integrity;
#[cfg(feature = "transport")]
mod proxy;
mod quirks;
mod region;
mod retry;
mod timeouts;
#[cfg(feature = "tls")]
mod trust;

pub use bucket::BucketName;
pub use credentials::Credentials;
pub use endpoint::{Endpoint, Scheme};
pub use integrity::{PayloadSigning, UploadChecksum};
#[cfg(feature = "transport")]
pub use proxy::Proxy;
pub use quirks::{Quirk, Quirks};
pub use region::Region;
pub use retry::{RetryBudget, RetryPolicy};
pub use timeouts::Timeouts;
#[cfg(feature = "tls")]
pub use trust::{Certificate, Fingerprint, Trust};

use std::time::Duration;

use thiserror::Error;

use crate::limits::Limits;

/// Says where the bucket's name goes in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Addressing {
    /// In the host name, through the endpoint's `{{bucket}}` label (S3 user guide, "Virtual hosting of general purpose buckets").
    VirtualHosted,
    /// In the first component of the path. A leading `{{bucket}}.` of the endpoint is left out of the host name.
    Path,
}

/// Everything needed to reach one bucket.
#[derive(Debug, Clone)]
pub struct Config {
    endpoint: Endpoint,
    region: Region,
    bucket: BucketName,
    addressing: Addressing,
    credentials: Credentials,
    timeouts: Timeouts,
    retry: RetryPolicy,
    quirks: Quirks,
    limits: Limits,
    upload_checksum: UploadChecksum,
    payload_signing: PayloadSigning,
    signature_window: Option<Duration>,
    is_presigned_expiry_enforced: bool,
}

/// How long S3 takes a request whose headers are signed (S3 API reference, `RequestTimeTooSkewed`): 15 minutes to either side.
pub const SIGNATURE_WINDOW_DEFAULT: Duration = Duration::from_mins(15);

impl Config {
    /// Combines the parts, with default timeouts and retry policy.
    ///
    /// The addressing style follows the endpoint: virtual-hosted where it has a `{{bucket}}` label, path style otherwise.
    ///
    /// # Errors
    /// [`ConfigError::BucketInHost`] where the bucket's name has dots, which a wildcard certificate does not cover: use
    /// [`Config::with_addressing`] on an endpoint without `{{bucket}}`.
    pub fn new(
        endpoint: Endpoint,
        region: Region,
        bucket: BucketName,
        credentials: Credentials,
    ) -> Result<Config, ConfigError> {
        let addressing = if endpoint.has_bucket() { Addressing::VirtualHosted } else { Addressing::Path };
        let config = Config {
            endpoint,
            region,
            bucket,
            addressing,
            credentials,
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            quirks: Quirks::default(),
            limits: Limits::default(),
            upload_checksum: UploadChecksum::default(),
            payload_signing: PayloadSigning::default(),
            signature_window: Some(SIGNATURE_WINDOW_DEFAULT),
            is_presigned_expiry_enforced: true,
        };
        config.with_addressing(addressing)
    }

    /// Chooses the addressing style. With [`Quirk::PathOnly`] it stays path style.
    ///
    /// # Errors
    /// - [`ConfigError::NoBucketLabel`]: virtual-hosted style needs `{{bucket}}` in the endpoint.
    /// - [`ConfigError::BucketInHost`]: the bucket's name cannot be one label of a host name under TLS.
    pub fn with_addressing(mut self, addressing: Addressing) -> Result<Config, ConfigError> {
        if addressing == Addressing::VirtualHosted && !self.quirks.has(Quirk::PathOnly) {
            if !self.endpoint.has_bucket() {
                return Err(ConfigError::NoBucketLabel { endpoint: self.endpoint.to_string() });
            }
            if self.endpoint.scheme() == Scheme::Https && self.bucket.as_str().contains('.') {
                return Err(ConfigError::BucketInHost { bucket: self.bucket.to_string() });
            }
            self.addressing = Addressing::VirtualHosted;
        } else {
            self.addressing = Addressing::Path;
        }
        Ok(self)
    }

    /// Replaces the timeouts.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Config {
        self.timeouts = timeouts;
        self
    }

    /// Replaces the retry policy.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Config {
        self.retry = retry;
        self
    }

    /// Sets what to work around. [`Quirk::PathOnly`] also chooses path addressing.
    #[must_use]
    pub fn with_quirks(mut self, quirks: Quirks) -> Config {
        if quirks.has(Quirk::PathOnly) {
            self.addressing = Addressing::Path;
        }
        self.quirks = quirks;
        self
    }

    /// Replaces the limits, which all clones of a client share.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Config {
        self.limits = limits;
        self
    }

    /// Chooses the checksum header of uploads.
    #[must_use]
    pub fn with_upload_checksum(mut self, checksum: UploadChecksum) -> Config {
        self.upload_checksum = checksum;
        self
    }

    /// Chooses whether signatures cover bodies.
    #[must_use]
    pub fn with_payload_signing(mut self, signing: PayloadSigning) -> Config {
        self.payload_signing = signing;
        self
    }

    /// Sets how long the server takes a request after its signing time, if its headers are signed; `None`: for ever. Requests without an
    /// answer are reported as pending until then. The [probe](crate::Client::probe) measures it; 15 min is what S3 promises.
    #[must_use]
    pub fn with_signature_window(mut self, window: Option<Duration>) -> Config {
        self.signature_window = window;
        self
    }

    /// Says that the server takes presigned requests after their expiry: those without an answer are then reported as pending for ever. The
    /// [probe](crate::Client::probe) finds out; every server that presigns properly refuses them.
    #[must_use]
    pub fn without_presigned_expiry(mut self) -> Config {
        self.is_presigned_expiry_enforced = false;
        self
    }

    /// Returns the host, and the port where it is not the scheme's own, as they stand in the `Host` header.
    pub fn authority(&self) -> String {
        match self.addressing {
            Addressing::VirtualHosted => self.endpoint.authority(&self.region, Some(&self.bucket)),
            Addressing::Path => self.endpoint.authority(&self.region, None),
        }
    }

    /// Returns the endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the region that requests are signed for.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Returns the bucket.
    pub fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// Returns the addressing style.
    pub fn addressing(&self) -> Addressing {
        self.addressing
    }

    /// Returns the credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Returns what to work around.
    pub fn quirks(&self) -> &Quirks {
        &self.quirks
    }

    /// Returns the limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the checksum header of uploads.
    pub fn upload_checksum(&self) -> UploadChecksum {
        self.upload_checksum
    }

    /// Returns whether signatures cover bodies.
    pub fn payload_signing(&self) -> PayloadSigning {
        self.payload_signing
    }

    /// Returns how long the server takes a request with signed headers.
    pub fn signature_window(&self) -> Option<Duration> {
        self.signature_window
    }

    /// Returns whether the server refuses presigned requests after their expiry.
    pub fn is_presigned_expiry_enforced(&self) -> bool {
        self.is_presigned_expiry_enforced
    }

    /// Returns the timeouts.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Returns the retry policy.
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }
}

/// Why a configuration value was refused. No variant carries a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The scheme is neither `https` nor `http`.
    #[error(
        "endpoint {endpoint:?} has the unknown scheme {scheme:?}; use https, or http where there is no TLS"
    )]
    UnknownScheme {
        /// The endpoint as given.
        endpoint: String,
        /// Its scheme.
        scheme: String,
    },
    /// The host is empty or holds a character that no host name has.
    #[error("endpoint {endpoint:?} has no valid host name")]
    InvalidHost {
        /// The endpoint as given.
        endpoint: String,
    },
    /// The port is not a number from 1 to 65535.
    #[error("endpoint {endpoint:?} has no valid port")]
    InvalidPort {
        /// The endpoint as given.
        endpoint: String,
    },
    /// Something follows the host and port.
    #[error("endpoint {endpoint:?} goes on after host and port; give no path, query or user")]
    NotJustAHost {
        /// The endpoint as given.
        endpoint: String,
    },
    /// `{{bucket}}` stands anywhere but at the start, or another placeholder is used.
    #[error(
        "endpoint {endpoint:?} may hold {{{{bucket}}}} as its first label and {{{{region}}}} as a later one, nothing else in braces"
    )]
    InvalidPlaceholder {
        /// The endpoint as given.
        endpoint: String,
    },
    /// No quirk has this name.
    #[error("there is no quirk {name:?}")]
    UnknownQuirk {
        /// The name.
        name: String,
    },
    /// Virtual-hosted addressing without a place for the bucket.
    #[error("endpoint {endpoint:?} has no {{{{bucket}}}} label, which virtual-hosted addressing needs")]
    NoBucketLabel {
        /// The endpoint.
        endpoint: String,
    },
    /// A bucket name with dots in a TLS host name.
    #[error("bucket {bucket:?} has dots, which a wildcard certificate does not cover; use path addressing")]
    BucketInHost {
        /// The bucket.
        bucket: String,
    },
    /// A bucket name against the rules.
    #[error("bucket name {name:?} is invalid: {rule}")]
    InvalidBucket {
        /// The name as given.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A region name against the rules.
    #[error("region {name:?} is invalid: 2 to 32 lower-case letters, digits, `_`, and `-` after the first")]
    InvalidRegion {
        /// The name as given.
        name: String,
    },
    /// A part of the credentials is empty or cannot stand in a request.
    #[error("{part} is invalid: {rule}")]
    InvalidCredentials {
        /// Which part.
        part: &'static str,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A proxy that cannot be used. Its text is not shown: it can hold a password.
    #[error("the proxy is invalid: it needs {rule}")]
    InvalidProxy {
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A PEM text without certificates.
    #[error("the certificates are invalid: they need {rule}")]
    InvalidCertificates {
        /// The rule they break.
        rule: &'static str,
    },
    /// A text that is no fingerprint.
    #[error("{given:?} is no fingerprint: 32 hexadecimal pairs joined by colons")]
    InvalidFingerprint {
        /// The text as given.
        given: String,
    },
    /// A duration that must not be zero, or is smaller than one it must contain.
    #[error("{name} of {value:?} is too short: at least {least:?}")]
    TooShort {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: Duration,
        /// The smallest value allowed beside the others.
        least: Duration,
    },
    /// A count that must not be zero.
    #[error("{name} must be at least 1")]
    Zero {
        /// The setting.
        name: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str, bucket: &str) -> Result<Config, ConfigError> {
        let credentials = Credentials::new("AKIDEXAMPLE", "very-secret").unwrap();
        Config::new(
            endpoint.parse().unwrap(),
            "us-east-1".parse().unwrap(),
            bucket.parse().unwrap(),
            credentials,
        )
    }

    #[test]
    fn addressing_follows_the_endpoint() {
        let hosted = config("{{bucket}}.s3.example.com", "one").unwrap();
        assert_eq!(
            (hosted.addressing(), hosted.authority().as_str()),
            (Addressing::VirtualHosted, "one.s3.example.com")
        );
        let path = config("http://127.0.0.1:9000", "one").unwrap();
        assert_eq!((path.addressing(), path.authority().as_str()), (Addressing::Path, "127.0.0.1:9000"));
    }

    #[test]
    fn virtual_hosting_needs_its_label() {
        let error =
            config("s3.example.com", "one").unwrap().with_addressing(Addressing::VirtualHosted).unwrap_err();
        assert_eq!(error, ConfigError::NoBucketLabel { endpoint: "https://s3.example.com".to_owned() });
    }

    #[test]
    fn the_quirk_decides_whatever_is_said_after_it() {
        let config = config("{{bucket}}.s3.example.com", "one").unwrap();
        let config = config.with_quirks([Quirk::PathOnly].into());
        let config = config.with_addressing(Addressing::VirtualHosted).unwrap();
        assert_eq!((config.addressing(), config.authority().as_str()), (Addressing::Path, "s3.example.com"));
    }

    #[test]
    fn dots_in_a_bucket_need_path_addressing_under_tls() {
        let error = config("{{bucket}}.s3.example.com", "a.b").unwrap_err();
        assert_eq!(error, ConfigError::BucketInHost { bucket: "a.b".to_owned() });
        assert!(config("http://{{bucket}}.s3.example.com", "a.b").is_ok());
        assert!(config("s3.example.com", "a.b").is_ok());
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let text = format!("{:?}", config("s3.example.com", "one").unwrap());
        assert!(!text.contains("very-secret"), "{text}");
        assert!(text.contains("AKIDEXAMPLE"), "{text}");
    }

    #[test]
    fn messages_show_the_placeholders_as_typed() {
        let error =
            config("s3.example.com", "one").unwrap().with_addressing(Addressing::VirtualHosted).unwrap_err();
        assert!(error.to_string().contains(" {{bucket}} label"), "{error}");
    }
}
