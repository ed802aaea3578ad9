//! A server that hands every request to a function.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use coldkeep_client::{BoxedStream, Connect, Connecting};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

/// What a request looked like.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }
}

/// What a script answers to end the connection without an answer.
pub(crate) const GONE: StatusCode = StatusCode::IM_A_TEAPOT;

type Answer = (StatusCode, Bytes);
type Answering = Pin<Box<dyn Future<Output = io::Result<Response<Full<Bytes>>>> + Send>>;
type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

/// The server; every connection is one in-memory pipe. Requests after an upgrade are scripted and recorded likewise.
#[derive(Clone)]
pub(crate) struct Server {
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    keeps_alive: bool,
}

impl Server {
    pub(crate) fn new(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), log: Arc::default(), connections: Arc::default(), keeps_alive: true }
    }

    /// Lets each connection end after one request.
    pub(crate) fn closing(mut self) -> Self {
        self.keeps_alive = false;
        self
    }

    /// Returns how many connections there were so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns the requests seen so far as `METHOD target`.
    pub(crate) fn log(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }

    /// Boxed, since the future of an upgrade contains this one again.
    fn answer_boxed(self, request: Request<Incoming>) -> Answering {
        Box::pin(self.answer(request))
    }

    async fn answer(self, mut request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let upgrade = request.headers().get("upgrade").cloned();
        let upgraded = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = head.uri.path_and_query().unwrap().to_string();
        let seen = Seen { method: head.method, target, headers: head.headers, body };
        self.log.lock().unwrap().push(seen.clone());
        let (status, body) = (self.script)(&seen);
        if status == GONE {
            return Err(io::Error::other("the connection ends"));
        }
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        if let (StatusCode::SWITCHING_PROTOCOLS, Some(upgrade), Some(upgraded)) = (status, upgrade, upgraded)
        {
            response.headers_mut().insert("connection", "upgrade".parse().unwrap());
            response.headers_mut().insert("upgrade", upgrade);
            tokio::spawn(async move {
                let stream = upgraded.await.unwrap();
                let service = service_fn(move |request| self.clone().answer_boxed(request));
                // The client drops the connection at the end.
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .max_frame_size(4 << 20)
                    .serve_connection(stream, service)
                    .await;
            });
        }
        Ok(response)
    }
}

impl Connect for Server {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let (server, keeps_alive) = (self.clone(), self.keeps_alive);
            self.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let service = service_fn(move |request| server.clone().answer(request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .keep_alive(keeps_alive)
                    .serve_connection(TokioIo::new(theirs), service);
                let _ = connection.with_upgrades().await;
            });
            Ok(Box::new(ours) as BoxedStream)
        })
    }

    fn authority(&self) -> &'static str {
        "localhost:8007"
    }
}

pub(crate) fn ok(body: impl Into<Bytes>) -> Answer {
    (StatusCode::OK, body.into())
}

pub(crate) fn data(value: &serde_json::Value) -> Answer {
    ok(serde_json::json!({ "data": value }).to_string())
}

pub(crate) fn error(status: u16, message: &'static str) -> Answer {
    (StatusCode::from_u16(status).unwrap(), message.into())
}
