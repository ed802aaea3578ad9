//! Making connections: TCP, a proxy's tunnel, TLS, all within one time limit.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::uri::Authority;
use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::net::TcpStream;

use super::tunnel;
use super::wire::{Counted, Wire};
use crate::clock::Clock;
#[cfg(feature = "tls")]
use crate::config::Fingerprint;
use crate::config::{Proxy, Scheme};

/// Why no connection was made. It is the inner error of the source of [`TransportError::NotSent`](super::TransportError::NotSent).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The request's URI has another scheme than the transport was built for, or no usable host.
    #[error("the request does not go to a host over {scheme}")]
    Address {
        /// What the transport was built for.
        scheme: Scheme,
    },
    /// The name was not found, or no address of it took the connection.
    #[error("cannot connect to {authority}")]
    Unreachable {
        /// Host and port of the service or the proxy.
        authority: String,
        /// What the system reported.
        #[source]
        source: io::Error,
    },
    /// The time limit of connecting passed.
    #[error("no connection to {authority} within {timeout:?}")]
    TimedOut {
        /// Host and port of the service.
        authority: String,
        /// The limit.
        timeout: Duration,
    },
    /// The proxy refused the tunnel; with 407 it wants another user or password.
    #[error("the proxy {proxy} refused a tunnel to {authority} with status {status}")]
    TunnelRefused {
        /// Host and port of the proxy.
        proxy: String,
        /// Host and port of the service.
        authority: String,
        /// The status code of its answer.
        status: u16,
    },
    /// The proxy broke off, or answered with something else than HTTP.
    #[error("the proxy {proxy} gave no usable answer")]
    Tunnel {
        /// Host and port of the proxy.
        proxy: String,
        /// What was wrong.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed for another reason than the certificate.
    #[cfg(feature = "tls")]
    #[error("the TLS handshake with {authority} failed")]
    Handshake {
        /// Host and port of the service.
        authority: String,
        /// What the TLS library reported.
        #[source]
        source: io::Error,
    },
    /// No trusted authority vouches for the certificate, or it is for another name or time.
    #[cfg(feature = "tls")]
    #[error("the certificate of {authority} is not trusted; its fingerprint is {fingerprint}")]
    Untrusted {
        /// Host and port of the service.
        authority: String,
        /// The fingerprint to pin, if it is the right one.
        fingerprint: Fingerprint,
        /// What the TLS library reported.
        #[source]
        source: io::Error,
    },
    /// The server showed another certificate than the pinned one.
    #[cfg(feature = "tls")]
    #[error("{authority} showed a certificate with fingerprint {got}, pinned is {expected}")]
    FingerprintMismatch {
        /// Host and port of the service.
        authority: String,
        /// The pinned fingerprint.
        expected: Fingerprint,
        /// The fingerprint of the certificate shown.
        got: Fingerprint,
    },
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> io::Error {
        let kind = match &error {
            ConnectError::Address { .. } => io::ErrorKind::InvalidInput,
            ConnectError::TimedOut { .. } => io::ErrorKind::TimedOut,
            ConnectError::TunnelRefused { .. } => io::ErrorKind::ConnectionRefused,
            ConnectError::Unreachable { source, .. } | ConnectError::Tunnel { source, .. } => source.kind(),
            #[cfg(feature = "tls")]
            ConnectError::Handshake { source, .. } => source.kind(),
            #[cfg(feature = "tls")]
            ConnectError::Untrusted { .. } | ConnectError::FingerprintMismatch { .. } => {
                io::ErrorKind::PermissionDenied
            }
        };
        io::Error::new(kind, error)
    }
}

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Makes connections to the service.
pub(super) struct Connector {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timeout: Duration,
    pub(super) keep_alive: Duration,
    pub(super) scheme: Scheme,
    pub(super) proxy: Option<Proxy>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::tls::Tls>,
}

impl Connector {
    /// Connects to the service at `authority`, or to the proxy if plain requests pass through one.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(super) async fn connect(&self, authority: &Authority) -> Result<Wire, ConnectError> {
        match within(&*self.clock, self.timeout, self.open(authority)).await {
            Some(result) => result,
            None => Err(ConnectError::TimedOut { authority: authority.to_string(), timeout: self.timeout }),
        }
    }

    async fn open(&self, authority: &Authority) -> Result<Wire, ConnectError> {
        let (host, port) = (host(authority), authority.port_u16().unwrap_or(self.scheme.port()));
        let tcp = match &self.proxy {
            None => self.tcp(host, port).await?,
            Some(proxy) => {
                let mut tcp = self.tcp(unbracketed(proxy.host()), proxy.port()).await?;
                if self.scheme == Scheme::Https {
                    tunnel::open(&mut tcp, proxy, &format!("{}:{port}", authority.host())).await?;
                }
                tcp
            }
        };
        let counted = Counted::new(tcp);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.connect(host, authority, counted).await.map(Wire::encrypted);
        }
        Ok(Wire::plain(counted))
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let unreachable = |source| ConnectError::Unreachable { authority: format!("{host}:{port}"), source };
        let tcp = self.any_address(host, port).await.map_err(unreachable)?;
        // The head and the first bytes of a body leave together; waiting for an acknowledgement between requests only costs time.
        tcp.set_nodelay(true).map_err(unreachable)?;
        // Buffer sizes stay the system's: setting one ends its tuning by what the line can carry.
        let keep_alive = TcpKeepalive::new().with_time(self.keep_alive);
        SockRef::from(&tcp).set_tcp_keepalive(&keep_alive).map_err(unreachable)?;
        Ok(tcp)
    }
}

impl Connector {
    /// Tries one address of a name after the other. None but the last may use up the time: one that swallows what is sent to it (IPv6 on
    /// a network that does not carry it, mostly) must not keep the others from their turn.
    async fn any_address(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        // Resolves on the runtime's threads for blocking work.
        let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect();
        let share = self.timeout / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (idx, address) in addresses.iter().enumerate() {
            let connect = TcpStream::connect(address);
            let connected = if idx + 1 == addresses.len() {
                connect.await
            } else {
                let silent = || io::Error::from(io::ErrorKind::TimedOut);
                within(&*self.clock, share, connect).await.unwrap_or_else(|| Err(silent()))
            };
            match connected {
                Ok(tcp) => return Ok(tcp),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connector");
        shown.field("scheme", &self.scheme).field("timeout", &self.timeout).field("proxy", &self.proxy);
        shown.finish_non_exhaustive()
    }
}

/// Returns the host as the resolver and TLS take it.
fn host(authority: &Authority) -> &str {
    unbracketed(authority.host())
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Runs `work` until it ends or the time has passed.
async fn within<T>(clock: &dyn Clock, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut timer = clock.sleep(limit);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}
