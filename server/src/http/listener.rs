//! The TCP listener: TLS, the redirect for plain HTTP, and an orderly end.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::{Entry, Gate, Place};
use super::service::Service;
use super::tls::Tls;
use crate::auth::Caller;
use crate::metrics::Metered;
use crate::state::Certificate;

/// The port that clients use if they are given none.
pub const DEFAULT_PORT: u16 = 8007;
/// The first byte of every TLS connection: a handshake record (RFC 8446 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// How long a connection is quiet before the system asks whether the peer is still there (backup-protocol.md 1).
const KEEP_ALIVE_IDLE: Duration = Duration::from_mins(2);
/// How long to wait after the system could not accept a connection, for want of file descriptors for example.
pub(super) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Listening sockets with their certificate.
pub struct Listener {
    sockets: Vec<TcpListener>,
    tls: Arc<Tls>,
}

/// The listener could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address could not be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Certificate and key do not work together.
    #[error("cannot use the certificate")]
    Certificate(#[from] rustls::Error),
}

impl Listener {
    /// Binds `address` for TLS 1.2 and 1.3 with this certificate.
    ///
    /// # Errors
    /// [`ListenError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn bind(address: SocketAddr, certificate: &Certificate) -> Result<Self, ListenError> {
        Self::bind_all(&[address], certificate).await
    }

    /// As [`Listener::bind`], on several addresses.
    ///
    /// # Errors
    /// [`ListenError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn bind_all(addresses: &[SocketAddr], certificate: &Certificate) -> Result<Self, ListenError> {
        let tls = Arc::new(Tls::new(certificate)?);
        let mut sockets = Vec::new();
        for &address in addresses {
            let bound = TcpListener::bind(address).await;
            sockets.push(bound.map_err(|source| ListenError::Bind { address, source })?);
        }
        Ok(Self { sockets, tls })
    }

    /// Returns the certificate in use, to exchange it.
    pub fn tls(&self) -> &Arc<Tls> {
        &self.tls
    }

    /// Returns the first address in use, with the port that was chosen if none was asked for.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.sockets.first().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// Returns the addresses in use.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves connections until `stop`; then requests that are being handled are answered. Sessions of upgraded connections
    /// are tasks of the server and live on ([`crate::Server::shut_down`]).
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket and leaves connections to end by themselves.
    pub async fn serve(self, service: Arc<Service>, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let limits = service.server().limits().clone();
        let gate = Gate::new(limits.connections_max, limits.connections_per_address_max);
        let accept_from = async |socket: &TcpListener| {
            loop {
                match socket.accept().await {
                    Ok((stream, peer)) => {
                        let entry = gate.enter(peer.ip()).await;
                        let (service, acceptor, stop) =
                            (Arc::clone(&service), self.tls.acceptor(), stop.clone());
                        connections.spawn(async move {
                            let served = match entry {
                                Entry::Admitted(place) => {
                                    serve_stream(stream, (peer.ip(), place, acceptor), service, &stop).await
                                }
                                Entry::Refused(_turn) => refuse(stream, acceptor, &service).await,
                                Entry::Dropped => {
                                    service.server().metrics().note_refused_connection();
                                    Ok(())
                                }
                            };
                            if let Err(error) = served {
                                tracing::debug!(%peer, %error, "connection ended early");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                }
            }
        };
        let accepting = futures_util::future::join_all(self.sockets.iter().map(accept_from));
        stop.run_until_cancelled(accepting).await;
        connections.close();
        // Requests may take as long as sessions may; whoever is slower is cut off with the process.
        let _ = tokio::time::timeout(limits.shutdown, connections.wait()).await;
    }
}

async fn serve_stream(
    stream: TcpStream,
    (peer, place, acceptor): (IpAddr, Place, TlsAcceptor),
    service: Arc<Service>,
    stop: &CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let deadline = service.server().limits().handshake;
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE_IDLE)?;
    // R18: a client that stops reading gets no ping any more, since the pings wait behind what it does not read; the
    // system drops it, also while it still answers probes of its closed window.
    let limits = service.server().limits();
    let unread = (limits.ping_interval + limits.ping_timeout).as_millis().try_into().unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(&stream, unread)?;
    let mut first = [0];
    let seen = tokio::time::timeout(deadline, stream.peek(&mut first)).await??;
    if seen > 0 && first[0] != TLS_HANDSHAKE {
        return redirect(stream, deadline).await;
    }
    let stream = Metered::new(stream, Arc::clone(service.server().metrics()), place);
    let stream = tokio::time::timeout(deadline, acceptor.accept(stream)).await??;
    let checks = Arc::new(ServerAdmit { server: Arc::clone(service.server()), peer });
    service.serve_connection(stream, checks, stop).await?;
    Ok(())
}

/// Checks credentials with the server's authenticator.
struct ServerAdmit {
    server: Arc<crate::Server>,
    peer: IpAddr,
}

impl crate::api::Admit for ServerAdmit {
    async fn admit(&self, head: &http::request::Parts) -> Result<Caller, crate::api::ApiError> {
        self.server.authenticator().admit(head, Some(self.peer)).await
    }

    fn peer(&self) -> Option<IpAddr> {
        Some(self.peer)
    }

    fn pace(&self, caller: &Caller, store: Option<&str>) -> crate::api::Pace {
        self.server.pace(caller, store)
    }
}

/// Tells a client that its address has too many connections.
async fn refuse(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    service: &Service,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let server = service.server();
    server.metrics().note_refused_connection();
    let max = server.limits().connections_per_address_max;
    let deadline = server.limits().handshake;
    let answer = service_fn(move |_: Request<Incoming>| async move {
        let text =
            format!("there are {max} connections from your address already; close some, or try again later");
        let mut response = Response::new(http_body_util::Full::new(Bytes::from(text)));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        Ok::<_, Infallible>(response)
    });
    let telling = async {
        let stream = acceptor.accept(stream).await?;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(deadline)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), answer);
        connection.await.map_err(io::Error::other)
    };
    Ok(tokio::time::timeout(2 * deadline, telling).await??)
}

/// Sends whoever speaks plain HTTP to the same host by TLS.
async fn redirect(
    stream: TcpStream,
    deadline: Duration,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let service = service_fn(|request: Request<Incoming>| async move {
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
        let status = if is_safe { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = status;
        match host.and_then(|host| format!("https://{host}").parse().ok()) {
            Some(location) => drop(response.headers_mut().insert(LOCATION, location)),
            None => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadline)
        .max_header_size(8 * 1024)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::time::timeout(2 * deadline, connection).await??;
    Ok(())
}
