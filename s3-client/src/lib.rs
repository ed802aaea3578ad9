//! A small, predictable S3 client with honest retry behaviour.
//!
//! # What it is
//! The lowest layer of Coldkeep and a product of its own: for a Rust project that wants to know exactly which requests leave, how often
//! they are repeated, and whether a request that got no answer may still take effect.
//!
//! This version holds what everything else stands on: validated configuration ([`Config`]) and the error type of requests
//! ([`RequestError`]) with its classification.
//!
//! # What it is not
//! It is no SDK: no other AWS services, no credential discovery in files or environment, no runtime of its own. It reads neither
//! configuration files nor environment variables; its caller passes values.
//!
//! # Example
//! ```
//! use coldkeep_s3_client::{Addressing, BucketName, Config, Credentials, Endpoint, Region};
//!
//! # fn main() -> Result<(), coldkeep_s3_client::ConfigError> {
//! let endpoint: Endpoint = "{{bucket}}.s3.{{region}}.example.com".parse()?;
//! let credentials = Credentials::new("AKIDEXAMPLE", "secret")?;
//! let config = Config::new(endpoint, "eu-central-1".parse()?, "backups".parse()?, credentials)?;
//! assert_eq!(config.authority(), "backups.s3.eu-central-1.example.com");
//!
//! let config = config.with_addressing(Addressing::Path)?;
//! assert_eq!(config.authority(), "s3.eu-central-1.example.com");
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! None so far.
//!
//! # Invariants
//! - A value of a configuration type is valid: its constructor is the only way to one, and nothing checks it again.
//! - Plain `http://` is used only where the endpoint spells it out.
//! - No secret is shown by `Debug` or by an error, and secrets are wiped from memory when they are dropped.

mod body;
mod call;
mod client;
mod clock;
mod config;
pub mod credentials;
mod delete_batch;
mod error;
mod key;
mod limits;
mod listing;
mod observer;
pub mod ops;
mod outcome;
mod put_new;
pub mod sign;
mod stats;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transport;
mod xml;

pub use body::{BodySource, Payload, RequestBody, ResponseBody};
pub use call::{CallOptions, ObjectStream, Reply, Signing};
pub use client::{Client, ClientBuilder, DefaultTransport, Presigned};
pub use clock::{Clock, SystemClock};
#[cfg(feature = "transport")]
pub use config::Proxy;
pub use config::{
    Addressing, BucketName, Config, ConfigError, Credentials, Endpoint, PayloadSigning, Quirk, Quirks,
    Region, RetryBudget, RetryPolicy, SIGNATURE_WINDOW_DEFAULT, Scheme, Timeouts, UploadChecksum,
};
#[cfg(feature = "tls")]
pub use config::{Certificate, Fingerprint, Trust};
pub use error::{
    AnswerFlaw, Cause, ErrorCode, InvalidRequest, Operation, RequestError, ServiceError, Subject,
};
pub use key::{InvalidKey, KEY_BYTES_MAX, ObjectKey};
pub use limits::{Limits, Rate};
pub use listing::Listing;
pub use observer::{Attempt, Observer};
pub use ops::{
    ByteRange, DeleteObject, ETag, GetObject, HeadObject, Object, ObjectMeta, PutCondition, PutObject,
    S3Operation,
};
pub use outcome::{Effect, Outcome, Pending};
pub use put_new::PutNew;
pub use stats::{LATENCY_BUCKETS, Latency, OperationStats, Stats};
pub use xml::{ErrorDocument, XmlError};
