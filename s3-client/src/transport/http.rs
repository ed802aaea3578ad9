//! The transport over TCP.

use std::future::Future;
use std::io;
use std::sync::Arc;

use ::http::header::PROXY_AUTHORIZATION;
use ::http::uri::{Authority, PathAndQuery};
use ::http::{HeaderValue, Request, Response, Uri};

use super::builder::HttpTransportBuilder;
use super::connect::{ConnectError, Connector};
use super::exchange::Exchange;
use super::incoming::{self, Home};
use super::memory::Memory;
use super::outgoing::Outgoing;
use super::pool::Pool;
use super::{Transport, TransportError};
use crate::body::{RequestBody, ResponseBody};
use crate::config::Scheme;

/// Sends requests over HTTP/1.1 (RFC 9112), with TLS where it was built for it, over connections that it keeps for the next request.
///
/// Clones share their connections.
///
/// # What is sent
/// Every request once. Neither a header is added (but `Proxy-Authorization`, for a proxy without TLS) nor a redirect followed. The one
/// thing repeated is the choice of a connection: if the server has closed a kept one before anything was written to it, the request
/// goes out on another. Nothing left this machine, so that is no second attempt. As soon as one byte left, a failure is
/// [`TransportError::Unclear`].
///
/// # Answers
/// A refusal is delivered also if it comes before the request was sent completely, and if sending failed because the server closed the
/// connection behind it; a success that early is [`TransportError::Unclear`]. A head has at most 100 lines and 64 KiB. A body with a length comes in pieces of up to 1 MiB, or in one piece for
/// a reader that [wants it whole](crate::BodySource::want_whole); a body that ends early is an error of kind [`io::ErrorKind::UnexpectedEof`].
///
/// # Connections
/// A connection is kept if both sides speak HTTP/1.1, neither says `Connection: close`, the request was sent completely, and the
/// answer's body was read to its end. It is closed if the request's future or the body of its answer is dropped earlier.
/// No task runs in the background: the connection is driven by whoever awaits the answer or its body.
///
/// # Runtime
/// Needs a tokio runtime with I/O enabled, and time with the default clock.
#[derive(Debug, Clone)]
pub struct HttpTransport {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connector: Connector,
    pool: Arc<Pool>,
    memory: Arc<Memory>,
    /// What a proxy without TLS wants to see.
    proxy_authorization: Option<HeaderValue>,
}

impl HttpTransport {
    /// Starts with the default settings, for endpoints of one scheme: a transport for `https` refuses requests without TLS.
    pub fn builder(scheme: Scheme) -> HttpTransportBuilder {
        HttpTransportBuilder::new(scheme)
    }

    pub(super) fn new(connector: Connector, pool: Pool) -> HttpTransport {
        let proxy = connector.proxy.as_ref().filter(|_| connector.scheme == Scheme::Http);
        let proxy_authorization = proxy.and_then(|proxy| {
            let mut value = HeaderValue::from_str(proxy.authorization()?).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let (pool, memory) = (Arc::new(pool), Arc::default());
        HttpTransport { shared: Arc::new(Shared { connector, pool, memory, proxy_authorization }) }
    }
}

impl Transport for HttpTransport {
    fn send(
        &self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, TransportError>> + Send {
        self.shared.send(request)
    }
}

impl Shared {
    async fn send(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, TransportError> {
        let (mut request, authority) = self.prepare(request).map_err(not_sent)?;
        loop {
            let (wire, is_reused) = match self.pool.take(&authority) {
                Some(wire) => (wire, true),
                None => (self.connector.connect(&authority).await.map_err(not_sent)?, false),
            };
            match Exchange::start(wire, request).await {
                Ok((exchange, answer)) => {
                    let home = Home { pool: Arc::clone(&self.pool), authority };
                    return Ok(incoming::receive(exchange, answer, home, &self.memory));
                }
                // Ends: each turn uses up a kept connection, and a new one is tried once.
                Err(failed) => match failed.unsent {
                    Some(unsent) if is_reused => request = unsent,
                    _ => return Err(failed.error),
                },
            }
        }
    }

    /// Gives the request the form that the peer expects, and says whom to connect to.
    fn prepare(&self, request: Request<RequestBody>) -> Result<(Request<Outgoing>, Authority), ConnectError> {
        let scheme = self.connector.scheme;
        let (mut head, body) = request.into_parts();
        let has_scheme = head.uri.scheme_str() == Some(scheme.as_str());
        let Some(authority) = head.uri.authority().filter(|_| has_scheme).cloned() else {
            return Err(ConnectError::Address { scheme });
        };
        let to_proxy = self.connector.proxy.is_some() && scheme == Scheme::Http;
        if to_proxy {
            // Absolute form (RFC 9112 §3.2.2).
            if let Some(value) = &self.proxy_authorization {
                head.headers.insert(PROXY_AUTHORIZATION, value.clone());
            }
        } else {
            // Origin form (RFC 9112 §3.2.1).
            let path = head.uri.path_and_query().cloned();
            head.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        }
        Ok((Request::from_parts(head, Outgoing::new(body)), authority))
    }
}

fn not_sent(error: ConnectError) -> TransportError {
    TransportError::NotSent { source: io::Error::from(error) }
}
