//! A small, predictable S3 client with honest retry behaviour.
//!
//! # What it is
//! The lowest layer of Coldkeep and a product of its own: for a Rust project that wants to know exactly which requests leave, how often
//! they are repeated, and whether a request that got no answer may still take effect. Signing, requests, answers and the retry loop are
//! written here; HTTP/1.1 is `hyper`'s, TLS is `rustls`'s, and both are private.
//!
//! # What it is not
//! It is no SDK: one bucket a client, no other AWS services, no credential discovery in files or environment, no runtime of its own (it
//! runs on tokio's). It reads neither configuration files nor environment variables; its caller passes values. Bodies are uploaded from
//! memory; what is larger than that goes in parts ([`ops::CreateMultipartUpload`]).
//!
//! # Example
//! ```no_run
//! # #[cfg(feature = "transport")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use coldkeep_s3_client::{Client, Config, Credentials, GetObject, ObjectKey, PutObject};
//!
//! let endpoint = "{{bucket}}.s3.{{region}}.amazonaws.com".parse()?;
//! let credentials = Credentials::new("AKIDEXAMPLE", "secret")?;
//! let config = Config::new(endpoint, "eu-central-1".parse()?, "backups".parse()?, credentials)?;
//! let client = Client::builder(config).build()?;
//!
//! let key = ObjectKey::new("greetings/hello.txt")?;
//! let stored = client.send(&PutObject::new(key.clone(), "hello").if_absent()).await?;
//! println!("{:?} after {} attempts: {:?}", stored.value.etag, stored.attempts, stored.outcome);
//! assert_eq!(client.send(&GetObject::new(key)).await?.into_value().content, "hello");
//! # Ok(())
//! # }
//! ```
//! Programs that run against any server stand in `examples/`: `put_get`, `mirror_prefix`, `conditional_put`, `probe`.
//!
//! # Operations
//! An operation is a value of [`ops`], each documented with its page of the S3 API reference. [`Client::send`] carries it out and returns a
//! [`Reply`]; [`Client::send_with`] takes options for one request; [`Client::presign`] makes a link of it, whatever it is. What goes beyond
//! one request has a method of its own: [`Client::stream`] (an object piece by piece), [`Client::list`] (all pages),
//! [`Client::delete_batch`] (with and without multi-delete), [`Client::put_new_or_overwrite`] (an object named by its content),
//! [`Client::probe`] (what this server does).
//!
//! # Outcomes
//! A request without an answer is not a request that failed: it may have been carried out, and it may be yet. So every [`Reply`] and every
//! [`RequestError`] carries an [`Outcome`] that covers all attempts, not just the last one:
//!
//! | | says |
//! |---|---|
//! | [`Effect::None`] | certainly nothing was changed: it only reads, never left, or was refused by the server itself |
//! | [`Effect::Unknown`] | it may have been carried out: ask, do not assume |
//! | [`Effect::Applied`] | it was carried out |
//! | [`Pending::No`] | no attempt can take effect any more: each was answered, or never left |
//! | [`Pending::Until`] | an attempt without an answer can be accepted until then, by the *server's* clock: its signature expires. It has passed once an answer bears a later [`date`](Reply::date), with a margin |
//! | [`Pending::Unbounded`] | the server is said not to check the age of signatures ([`Config::with_signature_window`]) |
//!
//! It is sticky: a delete whose first attempt timed out and whose second succeeded is applied *and* pending. A reset while a body is being
//! sent is unclear; so is a 500, 502, 503 or 504, which is often a gateway's word. To bound the wait, fix when the request expires
//! ([`Signing::Presigned`], [`Signing::FixedHeaders`]): every attempt then carries the same signature. Dropping a future of a request that
//! changes something leaves its outcome unknown.
//!
//! # Retries
//! [`RetryPolicy`] has the table: which failure is retried, what it says of the effect, and why. Attempts are bounded in number, by
//! [`Timeouts`] that grow with the payload, and by a [`RetryBudget`] that all requests of a client share. The transport repeats nothing and
//! follows no redirect, so that every attempt is counted, in [`Reply::attempts`], in [`Client::stats`], and by an [`Observer`].
//!
//! # Reaching a server
//! - **Addressing**: an [`Endpoint`] is a template (`{{bucket}}` as the first label, `{{region}}` in a later one, any port, `http://` only
//!   where spelled out). With `{{bucket}}` the bucket stands in the host name, otherwise in the path ([`Addressing`]).
//! - **Trust**: the system's authorities, more or others than these, or one pinned certificate (`Trust`, feature `tls`).
//! - **Proxy**: `Proxy`, with a tunnel for TLS (feature `transport`).
//! - **Credentials**: a fixed pair, or a [`CredentialsProvider`](credentials::CredentialsProvider) that is asked in time before they
//!   expire. [`Credentials::from_profile`] reads the *text* of a profile file, [`Credentials::from_lookup`] asks a *function* for the usual
//!   names; where text and function come from is the caller's affair.
//! - **Deviations**: [`Quirk`] names what a provider does otherwise, who needs it, and what is handled on every server.
//!
//! # Limits and accounting
//! [`Limits`] bounds requests in flight, attempts per second, and bytes per second each way; clones of a client share them, as they share
//! connections, retry budget and counters. [`Client::stats`] tells at any time, for each operation: requests, attempts, retries, failures,
//! errors by code, bytes both ways, and a histogram of latencies. An [`Observer`] is told of each attempt as it ends; with the feature
//! `tracing` each is an event of level debug, too. Neither is shown a secret.
//!
//! # Integrity
//! Uploads carry `x-amz-checksum-crc32c` ([`UploadChecksum`]) and are signed with the hash of their body, unless [`PayloadSigning`] leaves
//! that to TLS. Downloads are compared with their length and with the checksum that comes with them; what does not match is an error,
//! never a short result. MD5 goes where servers want it: multi-deletes and parts.
//!
//! # Simulation
//! [`Transport`](transport::Transport) (one request, once) and [`Clock`] (time and timers) are traits, and the jitter's seed can be fixed
//! ([`ClientBuilder::with_seed`]): with both replaced ([`ClientBuilder::build_with`]), all of the client above the socket runs in simulated
//! time. `testing` has a clock for that.
//!
//! # Features
//! | feature | default | adds |
//! |---|---|---|
//! | `tls` | yes | `https://`; `Trust`, `Certificate`, `Fingerprint`; needs and enables `transport` |
//! | `transport` | by `tls` | HTTP/1.1 over TCP, `Proxy`, and a client without naming a transport (`ClientBuilder::build`) |
//! | `tracing` | no | an event for each attempt |
//! | `stream` | no | `into_stream` of listings and objects, for `futures` |
//! | `serde` | no | a [`ProbeReport`] as JSON, to be stored |
//! | `testing` | no | `testing`: a clock by hand, for tests of what uses this crate |
//!
//! Each builds alone. Without any, the crate is its pure part and the retry loop over a transport of the caller's.
//!
//! # Invariants
//! - A value of a configuration type is valid: its constructor is the only way to one, and nothing checks it again.
//! - Plain `http://` is used only where the endpoint spells it out.
//! - No secret is shown by `Debug` or by an error, and secrets are wiped from memory when they are dropped.
//! - [`Pending::No`] is said only if every attempt was answered by the server itself, or certainly never left.
//! - No answer, however long or broken, costs unbounded time or memory; none makes the client panic.
//! - A short body is an error. A listing ends where the server says that it ends, or with an error.

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
pub mod probe;
mod put_new;
pub mod sign;
mod stats;
mod switch;
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
pub use error::{AnswerFlaw, Cause, ErrorCode, InvalidRequest, Operation, RequestError, ServiceError};
pub use key::{InvalidKey, KEY_BYTES_MAX, ObjectKey};
pub use limits::{Limits, Rate};
pub use listing::Listing;
pub use observer::{Attempt, Observer};
pub use ops::{
    ByteRange, DeleteObject, ETag, GetObject, HeadObject, Object, ObjectMeta, PutCondition, PutObject,
    S3Operation,
};
pub use outcome::{Effect, Outcome, Pending};
pub use probe::{ProbeOptions, ProbeReport};
pub use put_new::PutNew;
pub use stats::{LATENCY_BUCKETS, Latency, OperationStats, Stats};
pub use xml::{ErrorDocument, XmlError};

/// Has the examples of the README compiled.
#[cfg(all(doctest, feature = "transport"))]
#[doc = include_str!("../README.md")]
struct Readme;
