//! Byte streams to a server: TCP with TLS, or whatever else implements [`Connect`].

mod fingerprint;
mod tls;
mod verifier;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub use fingerprint::{Fingerprint, ParseFingerprintError};
pub use tls::{TlsConnector, Trust};

use crate::error::BoxError;

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An owned byte stream of any kind.
pub type BoxedStream = Box<dyn Stream>;

/// The future that [`Connect::connect`] returns.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<BoxedStream, ConnectError>> + Send + 'a>>;

/// Opens byte streams to one server.
///
/// [`TlsConnector`] is the usual one; an embedded server hands out one end of an in-memory pipe.
pub trait Connect: Send + Sync + 'static {
    /// Opens a new stream, ready for the first byte of HTTP.
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempt up; nothing is left behind.
    fn connect(&self) -> Connecting<'_>;

    /// Returns `host:port` for the `Host` header and for messages.
    fn authority(&self) -> &str;
}

impl fmt::Debug for dyn Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connect").field(&self.authority()).finish()
    }
}

/// A connection could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address could not be resolved or nothing accepted the connection.
    #[error("cannot connect to {authority}")]
    Unreachable {
        /// Where to.
        authority: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The connection, with its TLS handshake, took too long.
    #[error("no connection to {authority} within {seconds} s")]
    TimedOut {
        /// Where to.
        authority: String,
        /// The limit.
        seconds: u64,
    },
    /// The host of the repository is neither a DNS name nor an address.
    #[error("{host} is not a valid host name")]
    HostName {
        /// The text.
        host: String,
    },
    /// The system's certificate authorities could not be read, and no fingerprint is pinned.
    #[error("no certificate authorities found on this system; give the server's fingerprint")]
    NoRoots,
    /// The system's certificate authorities do not vouch for the server.
    #[error(
        "the certificate of {authority} is not trusted; if its fingerprint {fingerprint} is right, pin it"
    )]
    Untrusted {
        /// Where to.
        authority: String,
        /// SHA-256 of the certificate that the server showed.
        fingerprint: Fingerprint,
        /// What the check said.
        #[source]
        source: std::io::Error,
    },
    /// The server's certificate is not the pinned one.
    #[error("the certificate of {authority} has fingerprint {got}, expected {expected}")]
    FingerprintMismatch {
        /// Where to.
        authority: String,
        /// The pinned one.
        expected: Fingerprint,
        /// SHA-256 of the certificate that the server showed.
        got: Fingerprint,
    },
    /// The TLS handshake failed for another reason.
    #[error("TLS handshake with {authority} failed")]
    Handshake {
        /// Where to.
        authority: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A connector of another kind failed.
    #[error("cannot open a connection to {authority}")]
    Other {
        /// Where to.
        authority: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}
