//! An upgraded connection: HTTP/2 with prior knowledge.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use super::{FORM, JSON_BYTES_MAX, MESSAGE_BYTES_MAX, USER_AGENT, collect};
use crate::api::envelope;
use crate::encoding::Parameters;
use crate::error::{Call, RequestError};

/// Flow-control windows of stream and connection (spec `backup-protocol.md` §1.2).
const WINDOW_BYTES: u32 = (1 << 31) - 2;

/// Largest frame accepted (spec `backup-protocol.md` §1.2).
const FRAME_BYTES_MAX: u32 = 4 << 20;

/// The `:authority` of every request inside a session (spec `backup-protocol.md` §1.2).
const AUTHORITY: &str = "https://localhost:8007";

/// How often a silent connection is probed, and how long the probe may take: an upload over a slow line
/// keeps the probe waiting behind up to some MiB of data.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_mins(2);

/// Longest wait for one answer inside a session. Probes find dead connections much sooner; this bounds a server that
/// answers probes only. A slow line may need minutes for the uploads in flight, `finish` for a sync.
const CALL_TIMEOUT: Duration = Duration::from_mins(30);

/// Where an upgrade goes and which protocol it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    Backup,
    Reader,
}

impl Upgrade {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Backup => "/api2/json/backup",
            Self::Reader => "/api2/json/reader",
        }
    }

    pub(crate) const fn protocol(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Backup => "proxmox-backup-protocol-v1",
            Self::Reader => "proxmox-backup-reader-protocol-v1",
        })
    }
}

/// A running session; dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Session {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Session {
    /// Starts HTTP/2 on a connection that was just upgraded.
    pub(crate) async fn start(call: &Call, upgraded: hyper::upgrade::Upgraded) -> Result<Self, RequestError> {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(upgraded)
            .await
            .map_err(|source| RequestError::transport(call.clone(), source))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                // The calls in progress, if any, report it.
                tracing::debug!(%error, "session ended");
            }
        });
        Ok(Self { sender, _driver: AbortOnDropHandle::new(driver) })
    }

    /// Makes a call with parameters in the query and returns its `data`.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &'static str,
        parameters: &Parameters,
    ) -> Result<T, RequestError> {
        self.upload(method, path, parameters, (FORM, Bytes::new())).await
    }

    /// Makes a call with a body of some content type and returns its `data`.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &'static str,
        parameters: &Parameters,
        body: (&'static str, Bytes),
    ) -> Result<T, RequestError> {
        let call = Call::new(method, path);
        let request = request(&call, parameters, body)?;
        let answer = self.call(&call, request, JSON_BYTES_MAX).await?;
        envelope::data(&call, &answer)
    }

    /// Fetches a raw body of at most `limit` bytes.
    pub(crate) async fn download(
        &self,
        path: &'static str,
        parameters: &Parameters,
        limit: usize,
    ) -> Result<Bytes, RequestError> {
        // Errors name the call, and this half of it says which file or chunk did not come.
        let call = Call::new(Method::GET, &format!("{path}?{}", parameters.to_query()));
        let request = request(&call, &Parameters::new(), (FORM, Bytes::new()))?;
        self.call(&call, request, limit).await
    }

    async fn call(
        &self,
        call: &Call,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<Bytes, RequestError> {
        let exchange = async {
            let response = self.sender.clone().send_request(request).await;
            let response = response.map_err(|source| RequestError::transport(call.clone(), source))?;
            read(call, response, limit).await
        };
        match tokio::time::timeout(CALL_TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err(RequestError::TimedOut { call: call.clone(), limit: CALL_TIMEOUT }),
        }
    }
}

fn request(
    call: &Call,
    parameters: &Parameters,
    (content_type, body): (&'static str, Bytes),
) -> Result<Request<Full<Bytes>>, RequestError> {
    let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.to_query()) };
    Request::builder()
        .method(call.method().clone())
        .uri(format!("{AUTHORITY}{}{query}", call.path()))
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONTENT_TYPE, content_type)
        .body(Full::new(body))
        .map_err(|source| RequestError::transport(call.clone(), source))
}

/// Reads the body of an answer; a status other than 2xx is an error with the body as its message.
pub(crate) async fn read(
    call: &Call,
    response: Response<Incoming>,
    limit: usize,
) -> Result<Bytes, RequestError> {
    let status = response.status();
    if status.is_success() {
        return collect(call, response.into_body(), limit).await;
    }
    // A message that breaks off or is too long still leaves the status.
    let body = collect(call, response.into_body(), MESSAGE_BYTES_MAX).await.unwrap_or_default();
    Err(RequestError::refused(call.clone(), status, &body))
}
