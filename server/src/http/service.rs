//! One HTTP/1.1 connection, over TLS or in memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::Server;
use crate::api::path::Path;
use crate::api::{Admit, ResponseBody, Router};

/// Most bytes of a request's head: a URI of 3 KiB, a ticket of 4 KiB and what browsers add.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most header lines in a request.
const HEADERS_MAX: usize = 64;

/// What answers requests: the server and the table of its endpoints.
pub struct Service {
    server: Arc<Server>,
    router: Router<Server>,
}

impl Service {
    /// Makes the service of a server.
    pub fn new(server: Arc<Server>) -> Arc<Self> {
        Arc::new(Self { server, router: crate::api::router() })
    }

    /// Returns the server.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Serves one connection until it ends, or until `stop`: then the request that is being handled is answered first.
    /// An upgraded connection lives on without it.
    ///
    /// # Errors
    /// The peer broke the protocol, was too slow, or went away.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn serve_connection<I, A>(
        self: Arc<Self>,
        io: I,
        admit: Arc<A>,
        stop: &CancellationToken,
    ) -> Result<(), hyper::Error>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Admit + 'static,
    {
        let limits = self.server.limits();
        let head_deadline = limits.request_head;
        let service = service_fn(|request| {
            let (service, admit) = (Arc::clone(&self), Arc::clone(&admit));
            async move { Ok::<_, Infallible>(service.answer(request, &*admit).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_deadline)
            .max_header_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = &mut connection => return ended,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    async fn answer(&self, request: Request<Incoming>, admit: &impl Admit) -> Response<ResponseBody> {
        let is_page = request.method() == http::Method::GET
            && Path::parse(request.uri().path()).is_ok_and(|p| p.is_root());
        if is_page {
            return page();
        }
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let server = Arc::clone(&self.server);
        let response = self.router.dispatch(request, server, admit, self.server.rest_room()).await;
        let limits = self.server.limits();
        let delay = match response.status() {
            StatusCode::UNAUTHORIZED => limits.unauthorized_delay,
            StatusCode::FORBIDDEN => limits.forbidden_delay,
            _ => Duration::ZERO,
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        response
    }
}

fn page() -> Response<ResponseBody> {
    crate::api::Reply::page(
        "<!DOCTYPE html><html lang=\"en\"><title>Coldkeep</title><p>This is a Coldkeep backup server. It has no pages; use \
         <code>coldkeep</code> or <code>proxmox-backup-client</code>.</p></html>\n",
    )
    .into_response()
}
