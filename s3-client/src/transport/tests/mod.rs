//! The transport against servers that say exactly what the test wants them to.

mod answers;
mod early;
mod kept;
mod outcome;
mod proxy;
#[cfg(feature = "tls")]
mod tls;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ::http::{Method, Request, Response};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{HttpTransport, Transport as _, TransportError};
use crate::body::{Payload, RequestBody, ResponseBody};
use crate::config::Scheme;

/// A server of our own on a free port. Ends with the value.
struct Server {
    port: u16,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

/// What the clients did.
struct Seen {
    connections: AtomicUsize,
    /// Heads and bodies, in order of arrival.
    requests: Mutex<Vec<(String, Vec<u8>)>>,
    /// One permit for each connection that the server closed.
    closed: Semaphore,
}

/// What follows a request.
struct Reply {
    bytes: Vec<u8>,
    then_close: bool,
}

impl Reply {
    fn keep(bytes: impl AsRef<[u8]>) -> Reply {
        Reply { bytes: bytes.as_ref().to_vec(), then_close: false }
    }

    fn close(bytes: impl AsRef<[u8]>) -> Reply {
        Reply { bytes: bytes.as_ref().to_vec(), then_close: true }
    }
}

impl Server {
    /// Reads whole requests and answers the `n`-th with `answer(n)`.
    async fn start(answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Server {
        let answer = Arc::new(answer);
        Server::with(move |stream, seen| {
            let answer = Arc::clone(&answer);
            async move { serve(stream, &seen, |n| answer(n)).await }
        })
        .await
    }

    /// Does with each connection what `handle` does.
    async fn with<F>(handle: impl Fn(TcpStream, Arc<Seen>) -> F + Send + 'static) -> Server
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen {
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
            closed: Semaphore::new(0),
        });
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Else an early answer may wait for an acknowledgement behind earlier bytes, and be lost when the server closes.
                stream.set_nodelay(true).unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let handled = handle(stream, Arc::clone(&shared));
                let seen = Arc::clone(&shared);
                connections.spawn(async move {
                    // Clients that break off are part of the tests.
                    let _ = handled.await;
                    seen.closed.add_permits(1);
                });
            }
        });
        Server { port, seen, _tasks: tasks }
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> Vec<(String, Vec<u8>)> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Waits until the server has closed one more connection.
    async fn closed(&self) {
        self.seen.closed.acquire().await.unwrap().forget();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Seen,
    answer: impl Fn(usize) -> Reply,
) -> io::Result<()> {
    loop {
        let request = read_request(&mut stream).await?;
        let number = {
            let mut requests = seen.requests.lock().unwrap();
            requests.push(request);
            requests.len() - 1
        };
        let reply = answer(number);
        stream.write_all(&reply.bytes).await?;
        stream.flush().await?;
        if reply.then_close {
            return stream.shutdown().await;
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = read.split_off(end);
    let head = String::from_utf8(read).unwrap();
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let missing = len.map_or(0, |len| len.parse::<usize>().unwrap()) - body.len();
    let len = body.len() + missing;
    stream.take(missing as u64).read_to_end(&mut body).await?;
    if body.len() < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((head, body)) }
}

fn transport() -> HttpTransport {
    HttpTransport::builder(Scheme::Http).build().unwrap()
}

fn request(method: Method, uri: &str, body: impl Into<Bytes>) -> Request<RequestBody> {
    let body: Payload = body.into().into();
    let host = uri.split('/').nth(2).unwrap();
    Request::builder()
        .method(method)
        .uri(uri)
        .header("host", host)
        .header("x-amz-date", "20231114T221320Z")
        .header("content-length", body.len())
        .body(RequestBody::new(body, None))
        .unwrap()
}

fn get(port: u16) -> Request<RequestBody> {
    request(Method::GET, &format!("http://127.0.0.1:{port}/bucket/a%20key?x=%2F"), "")
}

fn put(port: u16, body: impl Into<Bytes>) -> Request<RequestBody> {
    request(Method::PUT, &format!("http://127.0.0.1:{port}/bucket/key"), body)
}

async fn send(
    transport: &HttpTransport,
    request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, TransportError> {
    transport.send(request).await
}

/// Reads the body to its end.
async fn read(answer: Response<ResponseBody>) -> io::Result<Vec<u8>> {
    let mut body = answer.into_body();
    let mut read = Vec::new();
    while let Some(piece) = body.next().await {
        read.extend_from_slice(&piece?);
    }
    Ok(read)
}

/// Sends a GET and returns the status and the body.
async fn fetch(transport: &HttpTransport, port: u16) -> (u16, Vec<u8>) {
    let answer = send(transport, get(port)).await.unwrap();
    (answer.status().as_u16(), read(answer).await.unwrap())
}

fn not_sent(result: Result<Response<ResponseBody>, TransportError>) -> io::Error {
    match result {
        Err(TransportError::NotSent { source }) => source,
        other => panic!("{other:?}"),
    }
}

fn unclear(result: Result<Response<ResponseBody>, TransportError>) -> io::Error {
    match result {
        Err(TransportError::Unclear { source }) => source,
        other => panic!("{other:?}"),
    }
}
