//! A transport whose answers are written down before, and a client over it.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use coldkeep_s3_client::testing::TestClock;
use coldkeep_s3_client::transport::{Transport, TransportError};
use coldkeep_s3_client::{
    BodySource, Client, ClientBuilder, Clock as _, Config, Credentials, DeleteObject, GetObject, ObjectKey,
    PutObject, RequestBody, ResponseBody, RetryPolicy,
};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Response};
use tokio::sync::Semaphore;

/// The wall clock's time when a test begins: Tue, 14 Nov 2023 22:13:20 GMT.
pub(crate) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + TestClock::START
}

/// How long a signature in headers counts by default.
pub(crate) const WINDOW: Duration = Duration::from_mins(15);
/// Waits below it pass at once: pauses between attempts do, deadlines (30 s by default) do not.
const SKIPPED_BELOW: Duration = Duration::from_secs(25);

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What becomes of one request.
pub(crate) enum Step {
    /// An answer at once.
    Answer(Answer),
    /// An answer after this time.
    Late(Duration, Answer),
    /// An answer when the test [releases](Script::release) it.
    Held(Answer),
    /// Not one byte leaves.
    NotSent,
    /// The connection breaks after the request has left.
    Broken,
    /// This time passes, and no answer ever comes.
    Stall(Duration),
}

/// An answer, and how its body ends.
pub(crate) struct Answer {
    status: u16,
    headers: HeaderMap,
    pieces: VecDeque<Bytes>,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    Complete,
    Cut,
    Stall(Duration),
}

/// Starts an answer without a body; a success names an object.
pub(crate) fn answer(status: u16) -> Answer {
    let answer = Answer { status, headers: HeaderMap::new(), pieces: VecDeque::new(), end: End::Complete };
    let answer = if matches!(status, 200 | 206) { answer.header("etag", "\"tag\"") } else { answer };
    if status == 204 { answer } else { answer.header("content-length", "0") }
}

/// An error document of S3.
pub(crate) fn refusal(status: u16, code: &str) -> Answer {
    answer(status).body(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>no</Message><RequestId>R1</RequestId></Error>"
    ))
}

/// A page such as proxies and load balancers send.
pub(crate) fn page(status: u16) -> Answer {
    let text = "<!DOCTYPE html><html><head><title>Oops</title></head><body>Oops</body></html>";
    answer(status).header("content-type", "text/html").body(text)
}

impl Answer {
    /// Sets a header, in place of one of that name.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Answer {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// Sets a body with its length.
    pub(crate) fn body(self, body: impl Into<Bytes>) -> Answer {
        let body = body.into();
        let length = body.len().to_string();
        Answer { pieces: VecDeque::from([body]), ..self }.header("content-length", &length)
    }

    /// Sets a body that comes in chunked framing.
    pub(crate) fn chunks(self, chunks: &[&'static str]) -> Answer {
        let mut answer = self.until_close(chunks);
        answer.headers.insert(TRANSFER_ENCODING, "chunked".parse().unwrap());
        answer
    }

    /// Sets a body that ends with its connection.
    pub(crate) fn until_close(mut self, pieces: &[&'static str]) -> Answer {
        self.headers.remove(CONTENT_LENGTH);
        self.pieces = pieces.iter().copied().map(Bytes::from).collect();
        self
    }

    /// Breaks the connection at the end of the body.
    pub(crate) fn cut(self) -> Answer {
        Answer { end: End::Cut, ..self }
    }

    /// Falls silent at the end of the body, while this time passes.
    pub(crate) fn stalled(self, silence: Duration) -> Answer {
        Answer { end: End::Stall(silence), ..self }
    }
}

impl From<Answer> for Step {
    fn from(answer: Answer) -> Step {
        Step::Answer(answer)
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// When it came.
    pub(crate) at: Duration,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// The transport; clones share everything.
#[derive(Clone)]
pub(crate) struct Script(Arc<Inner>);

struct Inner {
    clock: Arc<TestClock>,
    steps: Mutex<VecDeque<Step>>,
    requests: Mutex<Vec<Seen>>,
    gate: Semaphore,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Script {
    /// Adds what becomes of further requests.
    pub(crate) fn then(&self, steps: impl IntoIterator<Item = impl Into<Step>>) {
        self.0.steps.lock().unwrap().extend(steps.into_iter().map(Into::into));
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.0.requests.lock().unwrap().clone()
    }

    /// How many requests there were.
    pub(crate) fn count(&self) -> usize {
        self.0.requests.lock().unwrap().len()
    }

    /// Lets held answers go.
    pub(crate) fn release(&self, answers: usize) {
        self.0.gate.add_permits(answers);
    }

    /// Requests without an answer at this moment.
    pub(crate) fn under_way(&self) -> usize {
        self.0.under_way.load(Ordering::Relaxed)
    }

    /// The most that there were at once.
    pub(crate) fn most_under_way(&self) -> usize {
        self.0.most_under_way.load(Ordering::Relaxed)
    }
}

struct UnderWay<'a>(&'a Inner);

impl<'a> UnderWay<'a> {
    fn begin(inner: &'a Inner) -> UnderWay<'a> {
        let now = inner.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        inner.most_under_way.fetch_max(now, Ordering::Relaxed);
        UnderWay(inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Transport for Script {
    async fn send(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, TransportError> {
        let inner = &*self.0;
        let _under_way = UnderWay::begin(inner);
        let (head, mut body) = request.into_parts();
        let idx = {
            let mut requests = inner.requests.lock().unwrap();
            let (uri, at) = (head.uri.to_string(), inner.clock.monotonic());
            requests.push(Seen { method: head.method, uri, headers: head.headers, body: Vec::new(), at });
            requests.len() - 1
        };
        let step =
            inner.steps.lock().unwrap().pop_front().expect("a request that the script does not expect");
        let source = || io::Error::from(io::ErrorKind::ConnectionReset);
        if let Step::NotSent = step {
            return Err(TransportError::NotSent { source: source() });
        }
        while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await {
            inner.requests.lock().unwrap()[idx].body.extend_from_slice(&piece);
        }
        let answer = match step {
            Step::Answer(answer) => answer,
            Step::Late(after, answer) => {
                inner.clock.advance(after);
                answer
            }
            Step::Held(answer) => {
                inner.gate.acquire().await.unwrap().forget();
                answer
            }
            Step::NotSent | Step::Broken => return Err(TransportError::Unclear { source: source() }),
            Step::Stall(silence) => {
                inner.clock.advance(silence);
                return pending().await;
            }
        };
        let Answer { status, headers, pieces, end } = answer;
        let clock = Arc::clone(&inner.clock);
        let mut response = Response::new(ResponseBody::new(Playback { pieces, end, clock }));
        *response.status_mut() = status.try_into().unwrap();
        *response.headers_mut() = headers;
        Ok(response)
    }
}

struct Playback {
    pieces: VecDeque<Bytes>,
    end: End,
    clock: Arc<TestClock>,
}

impl BodySource for Playback {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(piece)));
        }
        match std::mem::replace(&mut self.end, End::Stall(Duration::ZERO)) {
            End::Complete => Poll::Ready(None),
            End::Cut => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            // Whoever waits for the time that passes here is polled after this: a deadline stands behind the work.
            End::Stall(silence) => {
                self.clock.advance(silence);
                Poll::Pending
            }
        }
    }
}

/// A client, the script it goes by, and its clock.
pub(crate) struct Scene {
    pub(crate) client: Client<Script>,
    pub(crate) script: Script,
    pub(crate) clock: Arc<TestClock>,
}

impl Scene {
    /// A client by [`config`].
    pub(crate) fn new(steps: impl IntoIterator<Item = impl Into<Step>>) -> Scene {
        Scene::with(config(), steps)
    }

    pub(crate) fn with(config: Config, steps: impl IntoIterator<Item = impl Into<Step>>) -> Scene {
        Scene::built(config, TestClock::skipping(SKIPPED_BELOW), steps, |builder| builder)
    }

    pub(crate) fn built(
        config: Config,
        clock: TestClock,
        steps: impl IntoIterator<Item = impl Into<Step>>,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Scene {
        let clock = Arc::new(clock);
        let script = Script(Arc::new(Inner {
            clock: Arc::clone(&clock),
            steps: Mutex::new(steps.into_iter().map(Into::into).collect()),
            requests: Mutex::default(),
            gate: Semaphore::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        }));
        let builder = Client::builder(config).with_clock(clock.clone()).with_seed(7);
        Scene { client: change(builder).build_with(script.clone()), script, clock }
    }
}

pub(crate) fn config() -> Config {
    config_of("http://s3.example.com")
}

pub(crate) fn config_of(endpoint: &str) -> Config {
    let credentials = Credentials::new("AKIDEXAMPLE", "geheim-secret-key").unwrap();
    let (region, bucket) = ("us-east-1".parse().unwrap(), "bucket".parse().unwrap());
    Config::new(endpoint.parse().unwrap(), region, bucket, credentials).unwrap()
}

pub(crate) fn key() -> ObjectKey {
    ObjectKey::new("key").unwrap()
}

pub(crate) fn get() -> GetObject {
    GetObject::new(key())
}

pub(crate) fn put() -> PutObject {
    PutObject::new(key(), "123456789")
}

pub(crate) fn delete() -> DeleteObject {
    DeleteObject::new(key())
}

/// Polls once.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The default policy with this many attempts.
pub(crate) fn retries(attempts: u32) -> RetryPolicy {
    RetryPolicy::default().with_attempts_max(attempts).unwrap()
}
