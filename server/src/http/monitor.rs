//! The plain HTTP listener for monitoring: `/health` and `/metrics`, and nothing else.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ListenError;
use super::listener::ACCEPT_RETRY;
use super::service::Page;
use crate::Server;
use crate::api::{ApiError, ResponseBody, refusal};

/// Most connections at once: a few monitors, each with one or two.
const CONNECTIONS_MAX: usize = 16;
/// Longest life of a connection; monitors open another one.
const CONNECTION_MAX: Duration = Duration::from_mins(5);
/// Longest time for a request's head, and for being idle.
const HEAD_DEADLINE: Duration = Duration::from_secs(90);
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The listener for monitoring. Whoever can reach it may see the metrics, so it belongs on an address that strangers cannot reach.
pub struct Monitor {
    socket: TcpListener,
}

impl Monitor {
    /// Binds `address`.
    ///
    /// # Errors
    /// [`ListenError::Bind`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let bound = TcpListener::bind(address).await;
        Ok(Self { socket: bound.map_err(|source| ListenError::Bind { address, source })? })
    }

    /// Returns the address in use.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop`; that should be after the server itself has ended, so that it can be watched until then.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket and leaves connections to end by themselves.
    pub async fn serve(self, server: Arc<Server>, stop: CancellationToken) {
        let (connections, slots) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
        let accepting = async {
            loop {
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
                match self.socket.accept().await {
                    Ok((stream, _)) => {
                        let (server, stop) = (Arc::clone(&server), stop.clone());
                        connections.spawn(async move {
                            let _slot = slot;
                            let serving = tokio::time::timeout(CONNECTION_MAX, serve_stream(stream, server));
                            stop.run_until_cancelled(serving).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection for monitoring");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                }
            }
        };
        stop.run_until_cancelled(accepting).await;
        connections.close();
        connections.wait().await;
    }
}

async fn serve_stream(stream: TcpStream, server: Arc<Server>) {
    let service = service_fn(|request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(answer(&request, &server).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // How the connection ends says nothing.
    let _ = serving.await;
}

async fn answer(request: &Request<Incoming>, server: &Server) -> Response<ResponseBody> {
    match Page::of(request) {
        Some(page @ (Page::Health | Page::Metrics)) => page.show(server).await,
        _ => refusal(&ApiError::new(StatusCode::NOT_FOUND, "there is /health and /metrics here")),
    }
}
