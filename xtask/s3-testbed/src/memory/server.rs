//! The server: sockets, whole requests, the log.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::answer::{Answer, S3Error, set};
use super::auth;
use super::held::{Held, Holds};
use super::log::Logged;
use super::object::Object;
use super::options::{ConditionalPut, Options};
use super::request::{Query, Request};
use super::store::{Bucket, Call, Store, Sums, dispatch, verify};
use crate::clock::{TestClock, http_date};
use crate::fault::RequestHead;
use crate::tasks::Tasks;

/// An S3 server in memory on a free port of loopback. It ends when it is dropped; requests under way are cut off.
///
/// It serves path-style requests at [`endpoint`](MemoryS3::endpoint), and virtual-hosted ones where the `Host` is `BUCKET.localhost`.
pub struct MemoryS3 {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: Tasks,
}

struct Shared {
    options: Options,
    store: Mutex<Store>,
    holds: Mutex<Holds>,
    log: watch::Sender<Vec<Logged>>,
    counts: Mutex<BTreeMap<String, u64>>,
    tasks: Tasks,
}

impl MemoryS3 {
    /// Starts a server that behaves as S3 does.
    pub async fn start() -> MemoryS3 {
        MemoryS3::start_with(Options::default()).await
    }

    /// Starts a server of the given kind.
    ///
    /// # Panics
    /// Where loopback has no free port.
    pub async fn start_with(options: Options) -> MemoryS3 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port on loopback");
        let address = listener.local_addr().expect("invariant: a bound socket has an address");
        let tasks = Tasks::new();
        let shared = Arc::new(Shared {
            options,
            store: Mutex::default(),
            holds: Mutex::default(),
            log: watch::Sender::new(Vec::new()),
            counts: Mutex::default(),
            tasks: tasks.clone(),
        });
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        MemoryS3 { shared, address, tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The clock that dates answers and judges signatures.
    pub fn clock(&self) -> &TestClock {
        &self.shared.options.clock
    }

    /// Creates a bucket, if there is none of that name.
    pub fn create_bucket(&self, name: &str) {
        let now = self.clock().now();
        self.shared.store().buckets.entry(name.to_owned()).or_insert_with(|| Bucket::new(now));
    }

    /// The object, if there is one.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Arc<Object>> {
        self.shared.store().buckets.get(bucket)?.objects.get(key).cloned()
    }

    /// All keys of a bucket, in the order of their bytes.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let store = self.shared.store();
        store.buckets.get(bucket).map(|bucket| bucket.objects.keys().cloned().collect()).unwrap_or_default()
    }

    /// Stores an object behind the client's back, in a bucket that is created if need be.
    pub fn insert(&self, bucket: &str, key: &str, content: impl Into<Bytes>) {
        self.create_bucket(bucket);
        let content = [content.into()];
        let object = Object {
            etag: super::hashes::hex(&super::hashes::md5(&content)),
            size: content[0].len() as u64,
            pages: content.into(),
            modified_at: self.clock().now(),
            headers: Vec::new(),
            checksums: Vec::new(),
        };
        if let Some(bucket) = self.shared.store().buckets.get_mut(bucket) {
            bucket.objects.insert(key.to_owned(), Arc::new(object));
        }
    }

    /// Removes an object behind the client's back.
    pub fn remove(&self, bucket: &str, key: &str) {
        if let Some(bucket) = self.shared.store().buckets.get_mut(bucket) {
            bucket.objects.remove(key);
        }
    }

    /// Lets multi-deletes fail for this key with this code, in any bucket.
    pub fn refuse_delete(&self, key: &str, code: &str) {
        self.shared.store().undeletable.insert(key.to_owned(), code.to_owned());
    }

    /// Sets the answer to `GET ?name` of a bucket (`versioning`, `object-lock`, `lifecycle`): the document without its XML declaration.
    pub fn set_document(&self, bucket: &str, name: &str, document: &str) {
        self.create_bucket(bucket);
        if let Some(bucket) = self.shared.store().buckets.get_mut(bucket) {
            bucket.documents.insert(name.to_owned(), document.to_owned());
        }
    }

    /// Uploads that were neither completed nor aborted.
    pub fn open_uploads(&self, bucket: &str) -> usize {
        self.shared.store().buckets.get(bucket).map_or(0, |bucket| bucket.uploads.len())
    }

    /// Holds the next request that matches: it is taken and checked, and its effect waits for the test.
    pub fn hold(&self, matcher: impl Fn(&RequestHead) -> bool + Send + 'static) -> Held {
        self.shared.holds().add(Box::new(matcher))
    }

    /// How many requests came so far, by method and third part of the path (`PUT .chunks` for `/bucket/store/.chunks/…`); in fast mode,
    /// too.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All requests so far, in the order of their heads; empty in fast mode.
    pub fn log(&self) -> Vec<Logged> {
        self.shared.log.borrow().clone()
    }

    /// Waits until `count` requests were answered, and returns the log.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn logged(&self, count: usize) -> Vec<Logged> {
        let mut log = self.shared.log.subscribe();
        let enough = |log: &Vec<Logged>| log.iter().filter(|entry| entry.status.is_some()).count() >= count;
        // The sender lives in `self`, so the wait cannot fail.
        let _ = log.wait_for(enough).await;
        self.log()
    }
}

impl Drop for MemoryS3 {
    fn drop(&mut self) {
        self.tasks.end();
    }
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, parts: &Parts) {
        let part = parts.uri.path().split('/').nth(3).unwrap_or_default();
        let key = format!("{} {part}", parts.method);
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }

    /// Logs an arrival and returns its place.
    fn log_head(&self, parts: &Parts) -> usize {
        let mut at = 0;
        self.log.send_modify(|log| {
            at = log.len();
            log.push(Logged::new(parts));
        });
        at
    }

    fn log_change(&self, at: usize, change: impl FnOnce(&mut Logged)) {
        self.log.send_modify(|log| {
            if let Some(entry) = log.get_mut(at) {
                change(entry);
            }
        });
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // An error of `accept` is of that connection (or of the whole process' files), not of the listener.
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let tasks = shared.tasks.clone();
            tasks.spawn(serve(stream, Arc::clone(&shared)));
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(handle(shared, request).await) }
    });
    // A client that hangs up is no news here.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn handle(shared: Arc<Shared>, request: http::Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let is_fast = shared.options.fast;
    shared.count(&parts);
    let place = if is_fast { None } else { Some(shared.log_head(&parts)) };
    let pages = gather(body).await;
    if let (Some(at), Ok(pages)) = (place, &pages) {
        let len = pages.iter().map(|page| page.len() as u64).sum();
        shared.log_change(at, |entry| entry.body_len = Some(len));
    }
    let answered = match pages {
        Ok(pages) => apply(&shared, &parts, pages).await,
        Err(_) => Err(S3Error::new(400, "IncompleteBody", "The body ended early")),
    };
    let request_id = format!("{:016X}", place.unwrap_or(0) + 1);
    let mut answer = answered.unwrap_or_else(|error| error.into_answer(parts.uri.path(), &request_id));
    finish(&shared, &parts.method, &request_id, &mut answer);
    if let Some(at) = place {
        shared.log_change(at, |entry| entry.status = Some(answer.status().as_u16()));
    }
    answer
}

/// Checks the request and carries it out, at once or when the test lets it.
async fn apply(shared: &Arc<Shared>, parts: &Parts, pages: Vec<Bytes>) -> Result<Answer, S3Error> {
    let options = &shared.options;
    let mut request = Request::new(parts, pages)?;
    let sums = if options.fast {
        Sums::default()
    } else {
        let hash = auth::check(parts, &Query::parse(parts.uri.query().unwrap_or(""))?, options)?;
        if parts.headers.contains_key("transfer-encoding") {
            let message = "You must provide the Content-Length HTTP header.";
            return Err(S3Error::new(411, "MissingContentLength", message));
        }
        verify(&request, &hash, options)?
    };
    let held = shared.holds().take(parts);
    if let Some(held) = held {
        return apply_later(shared, request, sums, held).await;
    }
    if options.conditional_put == ConditionalPut::NotAtomic && request.headers.contains_key("if-none-match") {
        check_then_act(shared, &mut request).await?;
    }
    shared.carry_out(&request, sums)
}

/// As a server without a lock does it: looks, lets others look too, and writes without looking again.
async fn check_then_act(shared: &Shared, request: &mut Request) -> Result<(), S3Error> {
    let exists = shared.store().bucket(&request.bucket)?.objects.contains_key(&request.key);
    if exists {
        return Err(S3Error::precondition_failed("If-None-Match"));
    }
    for _ in 0..TURNS_BETWEEN {
        tokio::task::yield_now().await;
    }
    request.headers.remove("if-none-match");
    Ok(())
}

/// Turns of the scheduler between look and write: enough for the other writers of a race to be read, on a busy machine too.
const TURNS_BETWEEN: usize = 5000;

/// In a task of its own: the effect does not need the client to stay.
async fn apply_later(
    shared: &Arc<Shared>,
    request: Request,
    sums: Sums,
    held: Held,
) -> Result<Answer, S3Error> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let task = {
        let shared = Arc::clone(shared);
        async move {
            held.gate.pass().await;
            let answered = shared.carry_out(&request, sums);
            held.done.open();
            let _ = sender.send(answered);
        }
    };
    shared.tasks.spawn(task);
    let gone = |_| S3Error::new(503, "ServiceUnavailable", "the server is going down");
    receiver.await.unwrap_or_else(|error| Err(gone(error)))
}

impl Shared {
    fn carry_out(&self, request: &Request, sums: Sums) -> Result<Answer, S3Error> {
        let now = self.options.clock.now();
        dispatch(&mut self.store(), Call { request, sums, options: &self.options, now })
    }
}

/// The headers that every answer has.
fn finish(shared: &Shared, method: &Method, request_id: &str, answer: &mut Answer) {
    // hyper adds the system's time by itself, more cheaply.
    if !shared.options.clock.follows_system() {
        set(answer, "date", &http_date(shared.options.clock.now()));
    }
    if shared.options.fast {
        return;
    }
    set(answer, "x-amz-request-id", request_id);
    set(answer, "server", "testbed");
    if *method == Method::HEAD
        && answer.status() != StatusCode::OK
        && answer.status() != StatusCode::PARTIAL_CONTENT
    {
        *answer.body_mut() = super::answer::Pages::default();
    }
}

/// The body in the pieces in which it came, without a copy.
async fn gather(mut body: Incoming) -> Result<Vec<Bytes>, hyper::Error> {
    let mut pages = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(page) = frame?.into_data() {
            pages.push(page);
        }
    }
    Ok(pages)
}
