//! Request bodies that carry data: read only while the session has room for them.
//!
//! Memory is bounded in two steps. A body is read only while its reader holds as many permits of the session's
//! [`UploadRoom`] as the body has bytes; what arrives before that sits in the stream's receive window. All windows
//! together are no larger than the connection's (`http::h2`), so bodies that wait can never block the one that is read.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Body as _;
use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::error::ApiError;
use super::room::{HeldRoom, UserRoom};
use crate::pace::Pace;

/// The body of every request, whatever connection it came by.
pub type RequestBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// How many bytes of uploads a session (or the REST side of the server) holds in memory at once, and for how long a
/// body may take.
#[derive(Debug, Clone)]
pub struct UploadRoom {
    permits: Arc<Semaphore>,
    /// Where `permits` are shared by sessions: one body that this session may hold beyond that, so that none starves while there is room
    /// for such bodies.
    own_body: Option<OwnBody>,
    bytes_max: usize,
    /// What all sessions have together, if this is one of several.
    whole: Option<UserRoom>,
    deadline: Duration,
}

/// Room for one body beyond what sessions share, within what all such bodies of a user and of all users may have.
#[derive(Debug, Clone)]
struct OwnBody {
    one: Arc<Semaphore>,
    within: UserRoom,
}

/// The room that one body takes.
#[derive(Debug)]
struct Room {
    _own: OwnedSemaphorePermit,
    _whole: Option<HeldRoom>,
}

/// Bodies from this size on get pages of their own from the system, which takes them back at once. The allocator would
/// keep freed chunks of varying sizes in the arena of every thread, several times what is in use.
const MAPPED_BYTES_MIN: usize = 512 * 1024;

impl UploadRoom {
    /// Makes room for `bytes_max` bytes; a body, once it is being read, must be complete within `deadline`.
    pub fn new(bytes_max: usize, deadline: Duration) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(bytes_max)),
            own_body: None,
            bytes_max,
            whole: None,
            deadline,
        }
    }

    /// Takes what is held from a room that others share, too.
    #[must_use]
    pub(crate) fn within(self, whole: UserRoom) -> Self {
        Self { whole: Some(whole), ..self }
    }

    /// Makes room for all sessions of one store: requests to a bucket take long, so many bodies have to be under way at
    /// once, and how many is up to the store rather than to how many sessions share it.
    pub(crate) fn of_store(bytes_max: usize, deadline: Duration) -> Self {
        Self::new(bytes_max, deadline)
    }

    /// Returns a session's part of the room of its store: what is free there, and room for one body of its own, within what all such
    /// bodies have together.
    pub(crate) fn of_session(&self, own_bodies: UserRoom) -> Self {
        let own_body = OwnBody { one: Arc::new(Semaphore::new(1)), within: own_bodies };
        Self { own_body: Some(own_body), ..self.clone() }
    }

    async fn enter(&self, bytes: usize) -> Result<Room, ApiError> {
        let weight = u32::try_from(bytes.min(self.bytes_max)).unwrap_or(u32::MAX);
        let shared = async {
            let own = Arc::clone(&self.permits).acquire_many_owned(weight).await.map_err(|_| ending())?;
            let whole = match &self.whole {
                Some(whole) => Some(whole.enter(bytes).await?),
                None => None,
            };
            Ok(Room { _own: own, _whole: whole })
        };
        match &self.own_body {
            None => shared.await,
            Some(own_body) => tokio::select! {
                biased;
                room = shared => room,
                room = own_body.enter(bytes) => room,
            },
        }
    }
}

impl OwnBody {
    async fn enter(&self, bytes: usize) -> Result<Room, ApiError> {
        let own = Arc::clone(&self.one).acquire_owned().await.map_err(|_| ending())?;
        Ok(Room { _own: own, _whole: Some(self.within.enter(bytes).await?) })
    }
}

fn ending() -> ApiError {
    ApiError::bad_request("the server is shutting down")
}

/// A body that has not been read yet.
pub struct Upload {
    body: RequestBody,
    room: UploadRoom,
    bytes_max: usize,
    pace: Pace,
}

/// A body in memory. The room it takes is free again when this is dropped, so keep it until the bytes are gone too.
#[derive(Debug)]
pub struct Uploaded {
    bytes: Bytes,
    _room: Room,
}

impl Uploaded {
    /// Returns the body.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Upload {
    pub(super) fn new(body: RequestBody, room: UploadRoom, bytes_max: usize) -> Self {
        Self { body, room, bytes_max, pace: Pace::default() }
    }

    /// Has the body arrive no faster than this allows.
    #[must_use]
    pub(super) fn paced(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Reads a body that must have exactly `bytes` bytes; waits for room first.
    ///
    /// # Errors
    /// 400 if it is longer or shorter, larger than the endpoint takes, or not complete in time.
    ///
    /// # Cancel safety
    /// Dropping the future gives the room back; the rest of the body is lost.
    pub async fn read_exact(self, bytes: usize) -> Result<Uploaded, ApiError> {
        if bytes > self.bytes_max {
            return Err(ApiError::bad_request(format!(
                "body of {bytes} bytes, more than {}",
                self.bytes_max
            )));
        }
        let uploaded = self.read(bytes).await?;
        if uploaded.bytes.len() != bytes {
            return Err(ApiError::bad_request(format!(
                "body has {} bytes, announced were {bytes}",
                uploaded.bytes.len()
            )));
        }
        Ok(uploaded)
    }

    /// Reads a body of any size up to what the endpoint takes; waits first for that much room, or for as much as the
    /// request's head announces.
    ///
    /// # Errors
    /// 400 if it is larger, or not complete in time.
    ///
    /// # Cancel safety
    /// As for [`Upload::read_exact`].
    pub async fn read_to_end(self) -> Result<Uploaded, ApiError> {
        let announced = self.body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = announced.map_or(self.bytes_max, |bytes| bytes.min(self.bytes_max));
        self.read(bytes).await
    }

    /// Reads and drops the body, block by block; returns its size.
    ///
    /// # Errors
    /// 400 if it is larger than the endpoint takes, or not complete in time.
    ///
    /// # Cancel safety
    /// Dropping the future loses the rest of the body.
    pub async fn discard(mut self) -> Result<u64, ApiError> {
        let (mut seen, bytes_max) = (0, self.bytes_max as u64);
        let mut arrival = Arrival::new(self.room.deadline, &self.pace);
        while let Some(block) = arrival.next(&mut self.body).await? {
            seen += block.len() as u64;
            if seen > bytes_max {
                return Err(ApiError::bad_request(format!("body longer than {bytes_max} bytes")));
            }
        }
        Ok(seen)
    }

    async fn read(self, bytes_max: usize) -> Result<Uploaded, ApiError> {
        let room = self.room.enter(bytes_max).await?;
        let bytes = collect(self.body, bytes_max, Arrival::new(self.room.deadline, &self.pace)).await?;
        Ok(Uploaded { bytes, _room: room })
    }
}

/// How the blocks of a body arrive: within a deadline, which counts only the time that the client takes, and at a pace.
pub(super) struct Arrival<'a> {
    deadline: Pin<Box<Sleep>>,
    pace: &'a Pace,
}

impl<'a> Arrival<'a> {
    pub(super) fn new(within: Duration, pace: &'a Pace) -> Self {
        Self { deadline: Box::pin(tokio::time::sleep(within)), pace }
    }

    /// Waits for the next block.
    async fn next(&mut self, body: &mut RequestBody) -> Result<Option<Bytes>, ApiError> {
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = &mut self.deadline => return Err(too_slow()),
            };
            let Some(frame) = frame else { return Ok(None) };
            let Ok(block) = frame.map_err(|error| cut(&*error))?.into_data() else { continue };
            let waited = self.pace.received(block.len()).await;
            if !waited.is_zero() {
                let later = self.deadline.deadline() + waited;
                self.deadline.as_mut().reset(later);
            }
            return Ok(Some(block));
        }
    }
}

/// Reads a body of at most `bytes_max` bytes into memory.
pub(super) async fn collect(
    mut body: RequestBody,
    bytes_max: usize,
    mut arrival: Arrival<'_>,
) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut whole: Option<Buffer> = None;
    let mut seen = 0;
    while let Some(block) = arrival.next(&mut body).await? {
        if seen + block.len() > bytes_max {
            return Err(ApiError::bad_request(format!("body longer than {bytes_max} bytes")));
        }
        if seen == 0 {
            // A body that comes in one block is passed on without a copy.
            first = block;
        } else {
            // Memory is reserved at once but only touched by what arrives, so a peer that announces much and sends
            // little costs little.
            let whole = whole.get_or_insert_with(|| Buffer::starting_with(&first, bytes_max));
            whole.put(seen, &block);
            seen += block.len();
            continue;
        }
        seen = first.len();
    }
    Ok(whole.map_or(first, |whole| whole.freeze(seen)))
}

/// Memory for one body.
enum Buffer {
    Allocated(BytesMut),
    Mapped(MmapMut),
}

impl Buffer {
    fn starting_with(first: &[u8], bytes: usize) -> Self {
        // Without a map the allocator may still have the memory.
        let map = (bytes >= MAPPED_BYTES_MIN).then(|| MmapMut::map_anon(bytes).ok()).flatten();
        let mut buffer = map.map_or_else(|| Self::Allocated(BytesMut::with_capacity(bytes)), Self::Mapped);
        buffer.put(0, first);
        buffer
    }

    /// Puts a block behind the `seen` bytes that are there already.
    fn put(&mut self, seen: usize, block: &[u8]) {
        match self {
            Self::Allocated(buffer) => buffer.extend_from_slice(block),
            Self::Mapped(map) => map[seen..seen + block.len()].copy_from_slice(block),
        }
    }

    fn freeze(self, seen: usize) -> Bytes {
        match self {
            Self::Allocated(buffer) => buffer.freeze(),
            Self::Mapped(map) => Bytes::from_owner(map).slice(..seen),
        }
    }
}

fn cut(error: &(dyn std::error::Error + Send + Sync + 'static)) -> ApiError {
    ApiError::bad_request(format!("body was cut short: {error}"))
}

fn too_slow() -> ApiError {
    ApiError::bad_request("body took too long")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{self, StreamExt};
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::super::room::WholeRoom;
    use super::*;

    fn body(blocks: &[&'static [u8]]) -> RequestBody {
        let blocks: Vec<_> =
            blocks.iter().map(|b| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b)))).collect();
        StreamBody::new(stream::iter(blocks)).map_err(|never| match never {}).boxed_unsync()
    }

    fn upload(blocks: &[&'static [u8]], room: &UploadRoom) -> Upload {
        Upload::new(body(blocks), room.clone(), 8)
    }

    #[tokio::test]
    async fn bodies_must_have_the_announced_size() {
        let room = UploadRoom::new(8, Duration::from_secs(5));
        assert_eq!(upload(&[b"abc", b"", b"de"], &room).read_exact(5).await.unwrap().bytes(), &b"abcde"[..]);
        for (blocks, announced) in [(&[&b"abc"[..]][..], 4), (&[b"abc", b"de"], 4), (&[b"abc"], 9), (&[], 1)]
        {
            assert_eq!(upload(blocks, &room).read_exact(announced).await.unwrap_err().status(), 400);
        }
        assert_eq!(upload(&[b"abcd", b"efgh", b"i"], &room).discard().await.unwrap_err().status(), 400);
        assert_eq!(upload(&[b"abcd", b"efgh"], &room).discard().await.unwrap(), 8);
    }

    #[tokio::test]
    async fn a_body_waits_until_those_before_it_are_dropped() {
        let room = UploadRoom::new(8, Duration::from_secs(5));
        let first = upload(&[b"abcde"], &room).read_exact(5).await.unwrap();
        let mut second = Box::pin(upload(&[b"abcde"], &room).read_exact(5));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(second.await.unwrap().bytes().len(), 5);
    }

    #[tokio::test]
    async fn a_session_gets_one_body_through_however_full_its_store_is() {
        let store = UploadRoom::new(8, Duration::from_secs(5));
        let beyond = WholeRoom::new(9).of_user(&"al@pbs".parse().unwrap());
        let session = || store.of_session(beyond.clone());
        let (busy, quiet, late) = (session(), session(), session());
        let _shared = upload(&[b"abcdefgh"], &busy).read_exact(8).await.unwrap();
        let own = upload(&[b"abcde"], &quiet).read_exact(5).await.unwrap();
        let mut third = Box::pin(upload(&[b"abc"], &quiet).read_exact(3));
        assert!(futures_util::poll!(&mut third).is_pending(), "more than one body beyond the store's room");
        // All such bodies together are bounded, too.
        let mut fourth = Box::pin(upload(&[b"abcde"], &late).read_exact(5));
        assert!(futures_util::poll!(&mut fourth).is_pending(), "more than there is beyond all rooms");
        drop(own);
        assert_eq!(third.await.unwrap().bytes().len(), 3);
        assert_eq!(fourth.await.unwrap().bytes().len(), 5);
    }

    #[tokio::test]
    async fn large_bodies_of_many_blocks_arrive_whole() {
        let blocks: Vec<Bytes> = (0..5_u8).map(|i| vec![i; MAPPED_BYTES_MIN / 2].into()).collect();
        let whole = blocks.concat();
        let room = UploadRoom::new(whole.len(), Duration::from_secs(5));
        let frames = blocks.into_iter().map(|block| Ok::<_, Infallible>(Frame::data(block)));
        let body = StreamBody::new(stream::iter(frames)).map_err(|never| match never {}).boxed_unsync();
        let uploaded = Upload::new(body, room, whole.len()).read_exact(whole.len()).await.unwrap();
        assert_eq!(uploaded.bytes(), &whole);
    }

    #[tokio::test]
    async fn sessions_share_the_whole_room() {
        let whole = WholeRoom::new(8);
        let user = "al@pbs".parse().unwrap();
        let room =
            |whole: &WholeRoom| UploadRoom::new(99, Duration::from_secs(5)).within(whole.of_user(&user));
        let (one, two) = (room(&whole), room(&whole));
        let first = upload(&[b"abcde"], &one).read_exact(5).await.unwrap();
        let mut second = Box::pin(upload(&[b"abcde"], &two).read_exact(5));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(second.await.unwrap().bytes().len(), 5);
        // What is larger than the whole waits for all of it, not for ever.
        let small = room(&WholeRoom::new(4));
        assert_eq!(upload(&[b"abcdefgh"], &small).read_exact(8).await.unwrap().bytes().len(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_bandwidth_does_not_count_as_slow() {
        let limits = crate::Bandwidth { user_in: 1, ..crate::Bandwidth::default() };
        let pace = crate::pace::Paces::new(limits).of(&"al@pbs".parse().unwrap(), None);
        let room = UploadRoom::new(8, Duration::from_secs(5));
        let begun = tokio::time::Instant::now();
        let read = upload(&[b"abcd", b"efgh"], &room).paced(pace).read_exact(8).await;
        assert_eq!(read.unwrap().bytes().len(), 8);
        assert_eq!(begun.elapsed().as_secs(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        let room = UploadRoom::new(8, Duration::from_secs(5));
        let stalled = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>().boxed());
        let body = stalled.map_err(|never| match never {}).boxed_unsync();
        let error = Upload::new(body, room.clone(), 8).read_exact(5).await.unwrap_err();
        assert!(error.message().contains("too long"), "{error}");
        let whole = Full::new(Bytes::from_static(b"abcdefgh")).map_err(|never| match never {}).boxed_unsync();
        assert!(Upload::new(whole, room, 8).read_exact(8).await.is_ok(), "the room was not given back");
    }
}
