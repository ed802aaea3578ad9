//! One HTTP/1.1 connection, over TLS or in memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::path::Path;
use crate::api::{Admit, ApiError, Matched, Reply, ResponseBody, Router, Watch, refusal};
use crate::audit::Record;
use crate::auth::{AclPath, Caller, Privileges};
use crate::metrics::{self, RequestMeter};
use crate::{Health, Server};

/// Most bytes of a request's head: a URI of 3 KiB, a ticket of 4 KiB and what browsers add.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most header lines in a request.
const HEADERS_MAX: usize = 64;

/// Where Sys.Audit is needed to read the metrics.
const METRICS_ACL_PATH: &str = "/system/metrics";
/// The text format of Prometheus.
const METRICS_TYPE: &str = prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// What answers requests: the server and the table of its endpoints.
pub struct Service {
    server: Arc<Server>,
    router: Router<Server>,
    meter: RequestMeter,
}

impl Service {
    /// Makes the service of a server.
    pub fn new(server: Arc<Server>) -> Arc<Self> {
        let meter = RequestMeter::new(Arc::clone(server.metrics()), "rest");
        Arc::new(Self { server, router: crate::api::router(), meter })
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

    /// Answers what lies at the root: metrics for those only who may see the system.
    async fn page<B>(
        &self,
        page: Page,
        request: Request<B>,
        (admit, watch): (&impl Admit, &mut impl Watch),
    ) -> Response<ResponseBody> {
        let (head, _body) = request.into_parts();
        watch.found(page.path());
        let may_see = match page {
            Page::Home | Page::Health => Ok(()),
            Page::Metrics => admit.admit(&head).await.and_then(|caller| {
                watch.admitted(&caller);
                may_see_metrics(&caller)
            }),
        };
        match may_see {
            Ok(()) => page.show(&self.server).await,
            Err(error) => {
                watch.refused(&error);
                let mut response = refusal(&error);
                response.extensions_mut().insert(Matched(page.path()));
                response
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>, admit: &impl Admit) -> Response<ResponseBody> {
        let (method, begun) = (request.method().clone(), Instant::now());
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let mut record = Record::begin(Arc::clone(self.server.audit()), &request, admit.peer());
        let response = if let Some(page) = Page::of(&request) {
            self.page(page, request, (admit, &mut record)).await
        } else {
            let server = Arc::clone(&self.server);
            let asked = (self.server.rest_room(), &mut record);
            self.router.dispatch_watched(request, server, admit, asked).await
        };
        // Before the delay, in which the peer may go away.
        record.end(response.status());
        self.meter.note(&method, &response, begun.elapsed());
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

fn may_see_metrics(caller: &Caller) -> Result<(), ApiError> {
    let path: AclPath = METRICS_ACL_PATH.parse().map_err(|error| ApiError::failed(&error))?;
    let may = caller.privileges(&path).has_any(Privileges::SYS_AUDIT);
    may.then_some(()).ok_or_else(|| ApiError::forbidden(format!("permission check failed on {path}")))
}

/// What lies at the root, beside the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// A word for people.
    Home,
    /// For load balancers.
    Health,
    /// For Prometheus.
    Metrics,
}

impl Page {
    /// Recognises the page that is asked for.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let path = Path::parse(request.uri().path()).ok()?;
        match path.below(&[])? {
            [] => Some(Self::Home),
            [name] if name == "health" => Some(Self::Health),
            [name] if name == "metrics" => Some(Self::Metrics),
            _ => None,
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Home => "/",
            Self::Health => "/health",
            Self::Metrics => "/metrics",
        }
    }

    /// Makes the page, for whoever may see it.
    pub(super) async fn show(self, server: &Server) -> Response<ResponseBody> {
        let mut response = match self {
            Self::Home => home(),
            Self::Health => health(server.health()),
            Self::Metrics => Reply::text(METRICS_TYPE, metrics::text(server).await),
        }
        .into_response();
        response.extensions_mut().insert(Matched(self.path()));
        response
    }
}

/// Tells a load balancer whether to send clients here; it says nothing that a stranger should not know.
fn health(health: Health) -> Reply {
    let (status, text) = match health {
        Health::Serving => (StatusCode::OK, r#"{"status":"ok"}"#),
        Health::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"shutting down"}"#),
        Health::DatastoreUnavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"a datastore is unavailable"}"#)
        }
    };
    Reply::text("application/json", format!("{text}\n")).with_status(status)
}

fn home() -> Reply {
    Reply::page(
        "<!DOCTYPE html><html lang=\"en\"><title>Coldkeep</title><p>This is a Coldkeep backup server. It has no pages; use \
         <code>coldkeep</code> or <code>proxmox-backup-client</code>.</p></html>\n",
    )
}
