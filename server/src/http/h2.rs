//! The HTTP/2 half of upgraded connections.
//!
//! Flow control is what keeps many uploads at once from taking unbounded memory, or from blocking each other. A stream's
//! window times the number of streams is the connection's window, so streams whose bodies are not read yet can fill only
//! their own windows and the connection always has room for the one that is read. How many bodies are read at once is
//! up to [`UploadRoom`]. A session therefore holds at most the connection's window plus its upload room, which sessions of
//! a store in a bucket share.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::rt::{Executor, Read, Write};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::Limits;
use crate::api::{Admit, ApiError, Pace, ResponseBody, Router, UploadRoom};
use crate::audit::{AuditLog, Record};
use crate::auth::Caller;
use crate::metrics::RequestMeter;

/// Most requests at once on a connection; stock clients queue up to 100.
pub const STREAMS_MAX: u32 = 128;
/// What a client may send on one stream before the body is read.
pub const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What a client may send on all streams together; see the module's documentation.
pub const CONNECTION_WINDOW_BYTES: u32 = STREAMS_MAX * STREAM_WINDOW_BYTES;
/// Largest frame taken, as in stock servers.
const FRAME_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// Most bytes of headers in one request: a URI of 3 KiB and a few short headers.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Most bytes of one answer that wait to be sent.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;

/// What the requests of a session are bounded and counted by.
pub struct Bounds {
    /// How long to wait.
    pub limits: Limits,
    /// Room for uploads.
    pub room: UploadRoom,
    /// What counts the requests.
    pub meter: RequestMeter,
    /// How fast bodies come and go.
    pub pace: Pace,
    /// What hears of requests that are refused.
    pub audit: Arc<AuditLog>,
    /// Whose session it is.
    pub caller: Caller,
}

/// Whoever has the session was checked when it began.
struct SessionAdmit {
    pace: Pace,
}

impl Admit for SessionAdmit {
    async fn admit(&self, _head: &Parts) -> Result<Caller, ApiError> {
        Ok(Caller::nobody())
    }

    fn pace(&self, _caller: &Caller, _store: Option<&str>) -> Pace {
        self.pace.clone()
    }
}

/// Serves the endpoints of a session on an upgraded connection until the client drops it, stops answering pings, or
/// breaks the protocol. The caller was checked at the upgrade, so handlers see [`Caller::nobody`].
///
/// # Errors
/// How the connection ended; stock clients just drop it when they are done, so this says little.
///
/// # Cancel safety
/// Dropping the future closes the connection and cancels the requests that are being handled. When it completes, none
/// is handled any more.
pub async fn serve_h2<S, I>(
    io: I,
    router: Arc<Router<S>>,
    session: Arc<S>,
    bounds: Bounds,
) -> Result<(), hyper::Error>
where
    S: ?Sized + Send + Sync + 'static,
    I: Read + Write + Unpin + Send + 'static,
{
    let Bounds { limits, room, meter, pace, audit, caller } = bounds;
    let admit = Arc::new(SessionAdmit { pace });
    let Some(io) = await_preface(io, limits.handshake).await else { return Ok(()) };
    let requests = Requests::new();
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, session, room) = (Arc::clone(&router), Arc::clone(&session), room.clone());
        let (meter, admit) = (meter.clone(), Arc::clone(&admit));
        let mut record = Record::begin_in_session(Arc::clone(&audit), &request, &caller);
        async move {
            let (method, begun) = (request.method().clone(), Instant::now());
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            let response = router.dispatch_watched(request, session, &*admit, (&room, &mut record)).await;
            // Before the delay, in which the peer may go away.
            record.end(response.status());
            meter.note(&method, &response, begun.elapsed());
            if response.status() == StatusCode::UNAUTHORIZED {
                tokio::time::sleep(limits.unauthorized_delay).await;
            }
            Ok::<Response<ResponseBody>, Infallible>(response)
        }
    });
    let ended = http2::Builder::new(requests.executor.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout)
        .serve_connection(io, service)
        .await;
    requests.end().await;
    ended
}

/// Length of what every HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE_BYTES: usize = 24;

/// Waits for the client's first bytes, which it sends unasked; `None` if they do not come in time.
///
/// R18: pings start only after the HTTP/2 handshake, so a client that went silent before it would hold its session, and
/// with it locks and the cutoff of collections, for ever.
async fn await_preface<I>(io: I, deadline: Duration) -> Option<impl Read + Write + Unpin + Send + 'static>
where
    I: Read + Write + Unpin + Send + 'static,
{
    let mut io = TokioIo::new(io);
    let mut preface = [0; PREFACE_BYTES];
    tokio::time::timeout(deadline, io.read_exact(&mut preface)).await.ok()?.ok()?;
    let (rest, writer) = tokio::io::split(io);
    Some(TokioIo::new(tokio::io::join(std::io::Cursor::new(preface).chain(rest), writer)))
}

/// The requests that a connection handles.
struct Requests {
    executor: OwningExecutor,
    // Cancels them when the connection's future is dropped.
    _cancel: DropGuard,
}

/// Spawns the handling of requests so that none outlives its connection.
#[derive(Clone)]
struct OwningExecutor {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Requests {
    fn new() -> Self {
        let stop = CancellationToken::new();
        let executor = OwningExecutor { tracker: TaskTracker::new(), stop: stop.clone() };
        Self { executor, _cancel: stop.drop_guard() }
    }

    async fn end(self) {
        self.executor.stop.cancel();
        self.executor.tracker.close();
        self.executor.tracker.wait().await;
    }
}

impl<F> Executor<F> for OwningExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = future => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

#[cfg(test)]
mod tests;
