//! A relay on the wire to a source: it ends TLS with a certificate of its own, looks into what is asked, and lies where it is told to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use coldkeep_client::Fingerprint;
use futures_util::stream::{self, StreamExt as _};
use http::header::CONTENT_LENGTH;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{client, server};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::wire::connect;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What an endless body repeats.
static MORE: Bytes = Bytes::from_static(&[0; 64 << 10]);

/// What becomes of an answer.
#[derive(Clone)]
pub(super) enum Lie {
    /// It has the body that this makes of the true one, with the right length.
    Body(Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>),
    /// It breaks off after so many bytes of the true body, without a length before.
    BreaksOff(usize),
    /// After the true body come zeros without end.
    Endless,
    /// It says that there is no such path.
    Missing,
    /// It never comes.
    Silence,
}

impl Lie {
    pub(super) fn body(change: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) -> Self {
        Self::Body(Arc::new(change))
    }
}

/// A relay on a free port of loopback; it accepts nobody any more when it is dropped.
pub(super) struct Relay {
    pub(super) port: u16,
    pub(super) fingerprint: Fingerprint,
    line: Arc<Line>,
    _accepting: AbortOnDropHandle<()>,
}

/// What its connections share.
struct Line {
    source: SocketAddr,
    /// What is lied about, as parts of what is asked, and how.
    lies: Mutex<Vec<(Vec<String>, Lie)>>,
    told: watch::Sender<u64>,
    endless_bytes: AtomicU64,
}

impl Relay {
    /// Opens a relay to a source, which lies about nothing yet.
    pub(super) async fn to(source: SocketAddr) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth();
        let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = Line {
            source,
            lies: Mutex::default(),
            told: watch::Sender::default(),
            endless_bytes: AtomicU64::default(),
        };
        let line = Arc::new(line);
        let accepting = accept(listener, acceptor, Arc::clone(&line));
        let accepting = AbortOnDropHandle::new(tokio::spawn(accepting));
        Self { port, fingerprint: Fingerprint::of(made.cert.der()), line, _accepting: accepting }
    }

    /// Lies from now on to whoever asks for something with all these parts: in a session its own path and query, after those
    /// that the session was opened with.
    pub(super) fn lie_about(&self, asked: &[&str], lie: Lie) {
        let parts = asked.iter().map(|part| (*part).to_owned()).collect();
        self.line.lies.lock().unwrap().push((parts, lie));
    }

    /// Lies no more; returns how many lies were told since it last was honest.
    pub(super) fn be_honest(&self) -> u64 {
        self.line.lies.lock().unwrap().clear();
        self.line.told.send_replace(0)
    }

    /// Waits for the first lie.
    pub(super) async fn tells(&self) {
        self.line.told.subscribe().wait_for(|told| *told > 0).await.unwrap();
    }

    /// How much of endless bodies was taken from it, without the true bodies before.
    pub(super) fn endless_bytes(&self) -> u64 {
        self.line.endless_bytes.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, line: Arc<Line>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(Arc::clone(&line).serve(stream, acceptor.clone()));
    }
}

impl Line {
    /// Relays the plain calls of one connection.
    async fn serve(self: Arc<Self>, stream: TcpStream, acceptor: TlsAcceptor) {
        stream.set_nodelay(true).unwrap();
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let service = service_fn(move |request| Arc::clone(&self).call(request));
        let connection = server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // The target leaves when it likes.
        let _ = connection.with_upgrades().await;
    }

    /// Relays a call, on a connection of its own; an upgrade opens a session.
    async fn call(self: Arc<Self>, mut request: Request<Incoming>) -> hyper::Result<Response<Body>> {
        let asked = asked(&request);
        let near = hyper::upgrade::on(&mut request);
        let (mut sender, far) = client::conn::http1::handshake(connect(self.source).await).await?;
        tokio::spawn(far.with_upgrades());
        let mut response = sender.send_request(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let far = hyper::upgrade::on(&mut response);
            tokio::spawn(Arc::clone(&self).session(asked.clone(), near, far));
        }
        self.answer(&asked, response).await
    }

    /// Relays the calls of a session.
    async fn session(self: Arc<Self>, opened_with: String, near: OnUpgrade, far: OnUpgrade) {
        let (Ok(near), Ok(far)) = tokio::join!(near, far) else { return };
        let (sender, far) = client::conn::http2::handshake(TokioExecutor::new(), far).await.unwrap();
        tokio::spawn(far);
        let service = service_fn(move |request| {
            let (this, mut sender) = (Arc::clone(&self), sender.clone());
            let asked = opened_with.clone() + &asked(&request);
            async move {
                let response = sender.send_request(request).await?;
                this.answer(&asked, response).await
            }
        });
        // As above.
        let _ = server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(near, service).await;
    }

    /// Passes an answer on, or what the lie makes of it.
    async fn answer(
        self: Arc<Self>,
        asked: &str,
        response: Response<Incoming>,
    ) -> hyper::Result<Response<Body>> {
        let Some(lie) = self.lie_for(asked) else {
            return Ok(response.map(|body| body.map_err(io::Error::other).boxed_unsync()));
        };
        let (mut head, body) = response.into_parts();
        let truth = body.collect().await?.to_bytes();
        self.told.send_modify(|told| *told += 1);
        // Where there is one, it is written anew.
        head.headers.remove(CONTENT_LENGTH);
        let body = match lie {
            Lie::Body(change) => Full::new(change(truth)).map_err(|never| match never {}).boxed_unsync(),
            Lie::BreaksOff(at) => {
                let end = stream::once(async {
                    // A reset takes back what the connection has not sent: its turn comes first.
                    tokio::task::yield_now().await;
                    Err(io::Error::other("broken off"))
                });
                let pieces = stream::iter([Ok(Frame::data(truth.slice(..at)))]).chain(end);
                StreamBody::new(pieces).boxed_unsync()
            }
            Lie::Endless => {
                let more = stream::repeat_with(move || {
                    self.endless_bytes.fetch_add(MORE.len() as u64, Ordering::Relaxed);
                    MORE.clone()
                });
                let pieces = stream::iter([truth]).chain(more).map(|piece| Ok(Frame::data(piece)));
                StreamBody::new(pieces).boxed_unsync()
            }
            Lie::Missing => {
                head.status = StatusCode::NOT_FOUND;
                Full::default().map_err(|never| match never {}).boxed_unsync()
            }
            Lie::Silence => std::future::pending().await,
        };
        Ok(Response::from_parts(head, body))
    }

    fn lie_for(&self, asked: &str) -> Option<Lie> {
        let lies = self.lies.lock().unwrap();
        let (_, lie) = lies.iter().find(|(parts, _)| parts.iter().all(|part| asked.contains(part)))?;
        Some(lie.clone())
    }
}

fn asked(request: &Request<Incoming>) -> String {
    request.uri().path_and_query().unwrap().to_string()
}
