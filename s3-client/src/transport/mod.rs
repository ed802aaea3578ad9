//! The way to the server: one trait, and its implementation over TCP.

#[cfg(feature = "transport")]
mod alarm;
#[cfg(feature = "transport")]
mod builder;
#[cfg(feature = "transport")]
mod connect;
#[cfg(feature = "transport")]
mod exchange;
#[cfg(feature = "transport")]
mod http;
#[cfg(feature = "transport")]
mod incoming;
#[cfg(feature = "transport")]
mod memory;
#[cfg(feature = "transport")]
mod outgoing;
#[cfg(feature = "transport")]
mod pool;
#[cfg(test)]
#[cfg(feature = "transport")]
mod tests;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "transport")]
mod tunnel;
#[cfg(feature = "tls")]
mod verifier;
#[cfg(feature = "transport")]
mod wire;

use std::future::Future;
use std::io;

use ::http::{Request, Response};
use thiserror::Error;

#[cfg(feature = "transport")]
pub use builder::{HttpTransportBuilder, SetupError};
#[cfg(feature = "transport")]
pub use connect::ConnectError;
#[cfg(feature = "transport")]
pub use http::HttpTransport;
#[cfg(all(fuzzing, feature = "transport"))]
pub(crate) use tunnel::parse_status as tunnel_status;

use crate::body::{RequestBody, ResponseBody};

/// Sends requests. The retry layer stands above it, so that it runs unchanged over a real network and in a simulation.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request, once, and returns when the head of its answer is there.
    ///
    /// The request's URI is absolute; its headers are complete and signed, `Host` and `Content-Length` included, and must arrive as they are.
    /// An implementation repeats nothing and follows no redirect: every attempt is counted above it.
    ///
    /// # Errors
    /// [`TransportError::NotSent`] only if certainly not one byte of the request left; in doubt [`TransportError::Unclear`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request, which may have been sent or not.
    fn send(
        &self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, TransportError>> + Send;
}

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection was made, or it was gone before the first byte of the request left.
    #[error("the request could not be sent")]
    NotSent {
        /// What the system reported.
        #[source]
        source: io::Error,
    },
    /// The connection broke or fell silent after the request began to leave.
    #[error("the connection broke before an answer came")]
    Unclear {
        /// What the system reported.
        #[source]
        source: io::Error,
    },
}
