//! Sessions over a stream in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use coldkeep_chunk_store::SystemClock;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::client::conn::http2 as client;
use hyper_util::rt::TokioExecutor;

use super::*;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};

const BODY_BYTES: usize = 1024 * 1024;
const UPLOADS: usize = 128;

#[derive(Default)]
struct Session {
    in_memory: AtomicUsize,
    peak: AtomicUsize,
    waiting: AtomicUsize,
}

static ENDPOINTS: &[Endpoint<Session>] = &[
    Endpoint {
        method: Method::Post,
        path: "/upload",
        doc: "",
        params: &[Param::required("size", Kind::Integer { min: 1, max: 1 << 24 }, "")],
        body: BodyKind::Upload { bytes_max: 1 << 24 },
        access: Access::Session,
        handler: |call| Box::pin(upload(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/wait",
        doc: "",
        params: &[],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(wait(call)),
    },
];

async fn upload(mut call: Call<Session>) -> Result<Reply, ApiError> {
    let body = call.take_upload()?.read_exact(call.params.get("size")?).await?;
    let now = call.state.in_memory.fetch_add(body.bytes().len(), Ordering::SeqCst) + body.bytes().len();
    call.state.peak.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1)).await;
    call.state.in_memory.fetch_sub(body.bytes().len(), Ordering::SeqCst);
    Reply::json(&body.bytes().len())
}

async fn wait(call: Call<Session>) -> Result<Reply, ApiError> {
    struct Waiting(Arc<Session>);
    impl Drop for Waiting {
        fn drop(&mut self) {
            self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
    call.state.waiting.fetch_add(1, Ordering::SeqCst);
    let _waiting = Waiting(call.state);
    std::future::pending().await
}

type Sender = client::SendRequest<Full<Bytes>>;

fn bounds(limits: &Limits) -> Bounds {
    let room = UploadRoom::new(limits.session_upload_bytes, limits.upload);
    // Nothing is refused here, so nothing is written.
    let audit = AuditLog::open("/dev/null".into(), &limits.audit, Arc::new(SystemClock::new()));
    Bounds {
        limits: limits.clone(),
        room,
        meter: RequestMeter::new(Arc::default(), "test"),
        pace: Pace::default(),
        audit: Arc::new(audit.unwrap()),
        caller: Caller::nobody(),
    }
}

/// Starts a session; returns the client, the session, and the two halves of the connection.
async fn start(limits: &Limits) -> (Sender, Arc<Session>, [tokio::task::JoinHandle<()>; 2]) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let session = Arc::new(Session::default());
    let serving = {
        let (session, limits) = (Arc::clone(&session), limits.clone());
        let router = Arc::new(Router::new(&[], &[ENDPOINTS]));
        tokio::spawn(async move {
            drop(serve_h2(TokioIo::new(ours), router, session, bounds(&limits)).await);
        })
    };
    let (sender, connection) = client::handshake(TokioExecutor::new(), TokioIo::new(theirs)).await.unwrap();
    let connection = tokio::spawn(async move { drop(connection.await) });
    (sender, session, [serving, connection])
}

async fn post(mut sender: Sender, announced: usize, body: Bytes) -> u16 {
    let request =
        Request::post(format!("https://localhost/upload?size={announced}")).body(Full::new(body)).unwrap();
    sender.send_request(request).await.unwrap().status().as_u16()
}

// Goal: as many uploads as there may be streams neither block each other nor fill the memory.
// Method: all at once, with room for four bodies; bodies are larger than a stream's window.
#[tokio::test]
async fn many_uploads_at_once_all_end_within_bounded_memory() {
    let limits = Limits { session_upload_bytes: 4 * BODY_BYTES, ..Limits::default() };
    let (sender, session, _connection) = start(&limits).await;
    let uploads = (0..UPLOADS).map(|_| post(sender.clone(), BODY_BYTES, vec![7; BODY_BYTES].into()));
    let statuses =
        tokio::time::timeout(Duration::from_mins(1), join_all(uploads)).await.expect("uploads are stuck");
    assert!(statuses.iter().all(|status| *status == 200));
    let peak = session.peak.load(Ordering::SeqCst);
    assert!(peak <= 4 * BODY_BYTES && peak > 0, "{peak} bytes were in memory");
}

#[tokio::test]
async fn refused_uploads_leave_the_session_usable() {
    let (sender, _session, _connection) = start(&Limits::default()).await;
    for _ in 0..3 * UPLOADS {
        // More than was announced: most of the body is never read, and must not be lost from the connection's window.
        assert_eq!(post(sender.clone(), 10, vec![7; STREAM_WINDOW_BYTES as usize].into()).await, 400);
    }
    assert_eq!(post(sender, BODY_BYTES, vec![7; BODY_BYTES].into()).await, 200);
}

#[tokio::test]
async fn no_request_outlives_its_connection() {
    let (mut sender, session, [serving, connection]) = start(&Limits::default()).await;
    let request = Request::get("https://localhost/wait").body(Full::new(Bytes::new())).unwrap();
    let asked = tokio::spawn(async move { drop(sender.send_request(request).await) });
    while session.waiting.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // The last user of the client's end goes, and with it the stream.
    asked.abort();
    connection.abort();
    serving.await.unwrap();
    assert_eq!(session.waiting.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_dropped() {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let router = Arc::new(Router::new(&[], &[ENDPOINTS]));
    // The preface and empty settings, then silence (RFC 9113 3.4).
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    tokio::io::AsyncWriteExt::write_all(&mut theirs, hello).await.unwrap();
    let limits = Limits::default();
    let serving = serve_h2(TokioIo::new(ours), router, Arc::new(Session::default()), bounds(&limits));
    let bound = limits.ping_interval + limits.ping_timeout + Duration::from_secs(1);
    assert!(tokio::time::timeout(bound, serving).await.expect("the session was kept").is_err());
}

/// R18: pings do not reach a client that never began to speak HTTP/2.
#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_after_the_upgrade_is_dropped() {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    tokio::io::AsyncWriteExt::write_all(&mut theirs, b"PRI * HTTP").await.unwrap();
    let router = Arc::new(Router::new(&[], &[ENDPOINTS]));
    let limits = Limits::default();
    let serving = serve_h2(TokioIo::new(ours), router, Arc::new(Session::default()), bounds(&limits));
    assert!(tokio::time::timeout(2 * limits.handshake, serving).await.is_ok());
}
