//! A client that knows nothing of the protocol but HTTP: requests are written out by hand, answers come back raw.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The member `data` of a JSON answer.
    pub(crate) fn data(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self.json()["data"].take()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics unless the request was refused with this status and a message that names this.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, named: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.text().contains(named), "{:?} does not name {named:?}", self.text());
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self
    }
}

/// How a request proves who makes it.
#[derive(Debug, Clone)]
pub(crate) enum Auth {
    Nobody,
    Ticket { ticket: String, csrf: String },
    Token(String),
}

/// A server, and who talks to it.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    pub(crate) auth: Auth,
}

pub(crate) type RawTls = TlsStream<TcpStream>;
type Tls = TokioIo<RawTls>;

impl Wire {
    pub(crate) fn nobody(address: SocketAddr) -> Self {
        Self { address, auth: Auth::Nobody }
    }

    /// Logs in as a stock client does.
    pub(crate) async fn login(address: SocketAddr, user: &str, password: &str) -> Self {
        let nobody = Self::nobody(address);
        let body = serde_json::json!({ "password": password, "username": user });
        let answer = nobody.post_json("//api2/json/access/ticket", &body).await;
        let data = answer.data();
        let text = |key: &str| data[key].as_str().unwrap().to_owned();
        Self { address, auth: Auth::Ticket { ticket: text("ticket"), csrf: text("CSRFPreventionToken") } }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, FORM, Bytes::new())).await
    }

    pub(crate) async fn put(&self, path: &str) -> Answer {
        self.send(self.request(Method::PUT, path, FORM, Bytes::new())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path, FORM, Bytes::new())).await
    }

    /// A POST without parameters: form content type and neither body nor length.
    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(self.request(Method::POST, path, FORM, Bytes::new())).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path, JSON, body.to_string().into())).await
    }

    /// As [`post_json`](Self::post_json), for many at once.
    pub(crate) async fn post_json_owned(&self, path: &str, body: Value) -> Answer {
        self.post_json(path, &body).await
    }

    pub(crate) async fn post_bytes(&self, path: &str, body: Bytes) -> Answer {
        self.send(self.request(Method::POST, path, BYTES, body)).await
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("user-agent", "proxmox-backup-client/1.0")
            .header("content-type", content_type);
        let request = match &self.auth {
            Auth::Nobody => request,
            Auth::Ticket { ticket, csrf } => request
                .header("cookie", format!("PBSAuthCookie={ticket}"))
                .header("csrfpreventiontoken", csrf),
            Auth::Token(secret) => request.header("authorization", format!("PBSAPIToken {secret}")),
        };
        request.body(Full::new(body)).unwrap()
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        self.line().await.send(request).await
    }

    /// Sends an upgrade request; either the connection speaks HTTP/2 then, or the answer says why not.
    pub(crate) async fn upgrade(&self, path: &str, protocol: &str) -> Result<Session, Answer> {
        self.line().await.upgrade(self, path, protocol).await
    }

    /// Opens a connection that stays.
    pub(crate) async fn line(&self) -> Line {
        let (sender, connection) = http1::handshake(connect(self.address).await).await.unwrap();
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Line { address: self.address, sender }
    }
}

/// A connection that carries one request after the other, as a stock client's does.
#[derive(Debug)]
pub(crate) struct Line {
    address: SocketAddr,
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Line {
    /// Sends one request; on a new connection if the server closed this one after the last.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        if self.sender.ready().await.is_err() {
            *self = Wire::nobody(self.address).line().await;
        }
        read(self.sender.send_request(request).await.unwrap()).await
    }

    /// Sends an upgrade request; either the connection speaks HTTP/2 then, or the answer says why not.
    pub(crate) async fn upgrade(self, wire: &Wire, path: &str, protocol: &str) -> Result<Session, Answer> {
        self.upgrade_with(wire, path, protocol, (1 << 31) - 2).await
    }

    /// The same, taking at most so many bytes of an answer until it is read.
    pub(crate) async fn upgrade_with(
        mut self,
        wire: &Wire,
        path: &str,
        protocol: &str,
        window: u32,
    ) -> Result<Session, Answer> {
        let mut request = wire.request(Method::GET, path, FORM, Bytes::new());
        request.headers_mut().insert("connection", "upgrade".parse().unwrap());
        request.headers_mut().insert("upgrade", protocol.parse().unwrap());
        let response = self.sender.send_request(request).await.unwrap();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(read(response).await);
        }
        assert_eq!(response.headers()["upgrade"], protocol);
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).initial_connection_window_size((1 << 31) - 2);
        let (sender, connection) = builder.max_frame_size(4 << 20).handshake(upgraded).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Session { sender, connection })
    }
}

/// An upgraded connection.
#[derive(Debug)]
pub(crate) struct Session {
    sender: http2::SendRequest<Full<Bytes>>,
    connection: tokio::task::JoinHandle<()>,
}

impl Session {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, FORM, Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.call(Method::POST, path, FORM, Bytes::new()).await
    }

    pub(crate) async fn post_bytes(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.call(Method::POST, path, BYTES, body.into()).await
    }

    pub(crate) async fn put_json(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path, JSON, body.to_string().into()).await
    }

    /// Asks for something, and waits for the head of the answer alone.
    pub(crate) async fn head_of(&self, path: &str) -> http::Response<hyper::body::Incoming> {
        let uri = format!("https://localhost:8007{path}");
        let request = Request::get(uri).body(Full::default()).unwrap();
        self.sender.clone().send_request(request).await.unwrap()
    }

    pub(crate) async fn call(&self, method: Method, path: &str, content_type: &str, body: Bytes) -> Answer {
        let uri = format!("https://localhost:8007{path}");
        let request = Request::builder().method(method).uri(uri).header("content-type", content_type);
        let request =
            request.header("user-agent", "proxmox-backup-client/1.0").body(Full::new(body)).unwrap();
        read(self.sender.clone().send_request(request).await.unwrap()).await
    }

    /// Drops the connection as stock clients do, without a word.
    pub(crate) async fn drop_connection(self) {
        self.connection.abort();
        let _ = self.connection.await;
    }
}

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const JSON: &str = "application/json";
pub(crate) const BYTES: &str = "application/octet-stream";

async fn read(response: http::Response<hyper::body::Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

/// What TLS is spoken with.
pub(crate) fn tls_config(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate)).with_no_client_auth()
}

/// Connects as stock clients do: no ALPN, no name that the certificate must have.
pub(crate) async fn connect(address: SocketAddr) -> Tls {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    TokioIo::new(secure(stream).await)
}

/// Speaks TLS on a connection.
pub(crate) async fn secure(stream: TcpStream) -> RawTls {
    let config = tls_config(rustls::DEFAULT_VERSIONS);
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
