//! A line to a distant server: a TCP proxy that hands each byte on a while after it came.
//!
//! Distance takes no throughput here: bytes leave in the order and at the pace in which they came, each half a round trip later, and so do
//! ends of streams. Making a connection takes a round trip, too. The windows of TCP are no part of this: they are those of loopback, on
//! either side of the proxy, and the kernel grows them by itself (to set their sizes would cap them at `net.core.rmem_max`). What is
//! measured is how the two ends use the line: how many requests are under way, and the windows of HTTP/2.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Most bytes that one direction of a connection holds back: at 25 ms they pass 2.5 GiB a second.
const HELD_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 256 << 10;

/// A proxy on a free port of loopback. It ends, and its connections with it, when it is dropped.
pub(crate) struct Line {
    address: SocketAddr,
    is_closed: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// Where the line leads to, and how long it is.
#[derive(Debug, Clone, Copy)]
struct Course {
    origin: SocketAddr,
    round_trip: Duration,
}

impl Line {
    /// Opens a line to `origin`. Without a round trip it still copies all bytes, so that lines of two lengths compare.
    pub(crate) fn open(origin: SocketAddr, round_trip: Duration) -> Result<Line> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open a line")?;
        let address = listener.local_addr().context("cannot open a line")?;
        let is_closed = Arc::new(AtomicBool::new(false));
        let acceptor = {
            let (course, is_closed) = (Course { origin, round_trip }, Arc::clone(&is_closed));
            thread::spawn(move || accept(&listener, course, &is_closed))
        };
        Ok(Line { address, is_closed, acceptor: Some(acceptor) })
    }

    /// The near end.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Release);
        // The acceptor looks at that when the next connection comes: this one.
        if TcpStream::connect(self.address).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            // A panic has been printed by its thread.
            acceptor.join().ok();
        }
    }
}

fn accept(listener: &TcpListener, course: Course, is_closed: &AtomicBool) {
    let mut connections: Vec<Connection> = Vec::new();
    for near in listener.incoming() {
        if is_closed.load(Ordering::Acquire) {
            break;
        }
        connections.retain(|connection| !connection.has_ended());
        // If there is no far end, the client notices: its connection is closed.
        connections.extend(near.and_then(|near| Connection::start(near, course)));
    }
    connections.into_iter().for_each(Connection::end);
}

/// A connection of a client, and ours to the origin.
struct Connection {
    sockets: [Arc<TcpStream>; 2],
    threads: Vec<JoinHandle<()>>,
}

impl Connection {
    fn start(near: TcpStream, course: Course) -> io::Result<Connection> {
        let far = TcpStream::connect(course.origin)?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let (near, far) = (Arc::new(near), Arc::new(far));
        let delay = course.round_trip / 2;
        // The client was told at once that it is connected; over a distance it would have learnt it, and sent, a round trip later.
        let connected_at = Instant::now() + course.round_trip;
        let up = Direction { from: Arc::clone(&near), to: Arc::clone(&far), delay, connected_at };
        let down = Direction { from: Arc::clone(&far), to: Arc::clone(&near), ..up.clone() };
        let threads = [up.start(), down.start()].into_iter().flatten().collect();
        Ok(Connection { sockets: [near, far], threads })
    }

    fn has_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    fn end(self) {
        for socket in &self.sockets {
            // An error means that it was closed already.
            socket.shutdown(Shutdown::Both).ok();
        }
        for thread in self.threads {
            thread.join().ok();
        }
    }
}

/// Bytes, and when they are to leave.
type Piece = (Instant, Vec<u8>);

#[derive(Clone)]
struct Direction {
    from: Arc<TcpStream>,
    to: Arc<TcpStream>,
    delay: Duration,
    connected_at: Instant,
}

impl Direction {
    fn start(self) -> [JoinHandle<()>; 2] {
        let (send, pieces) = mpsc::channel();
        let room = Arc::new(Room::new(HELD_BYTES_MAX));
        let (reading, reading_room) = (self.clone(), Arc::clone(&room));
        let reader = thread::spawn(move || reading.read(&send, &reading_room));
        let writer = thread::spawn(move || self.write(&pieces, &room));
        [reader, writer]
    }

    /// Takes what comes until the stream ends or breaks; the writer then ends it on the other side, behind all bytes that came.
    fn read(&self, pieces: &Sender<Piece>, room: &Room) {
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(length @ 1..) = (&*self.from).read(&mut buffer) {
            let leaves_at = Instant::now().max(self.connected_at) + self.delay;
            room.take(length);
            if pieces.send((leaves_at, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    }

    fn write(&self, pieces: &Receiver<Piece>, room: &Room) {
        for (leaves_at, piece) in pieces {
            thread::sleep(leaves_at.saturating_duration_since(Instant::now()));
            if (&*self.to).write_all(&piece).is_err() {
                // Nobody listens there any more. Whoever sends here learns it, and so does a reader that waits.
                self.from.shutdown(Shutdown::Both).ok();
                room.open_wide();
                return;
            }
            room.give(piece.len());
        }
        self.to.shutdown(Shutdown::Write).ok();
    }
}

/// Counts the bytes that are held back, and makes the reader wait while they are too many.
struct Room {
    bytes_max: usize,
    /// `None` when nobody counts any more.
    held_bytes: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Room {
    fn new(bytes_max: usize) -> Room {
        Room { bytes_max, held_bytes: Mutex::new(Some(0)), changed: Condvar::new() }
    }

    /// Waits until there is room for that many more.
    fn take(&self, bytes: usize) {
        let held = self.held_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |held: &mut Option<usize>| held.is_some_and(|held| held + bytes > self.bytes_max);
        let mut held = self.changed.wait_while(held, is_full).unwrap_or_else(PoisonError::into_inner);
        *held = held.map(|held| held + bytes);
    }

    /// Says that so many have left.
    fn give(&self, bytes: usize) {
        self.change(|held| held.map(|held| held - bytes));
    }

    /// Lets everything in: what comes is thrown away.
    fn open_wide(&self) {
        self.change(|_| None);
    }

    fn change(&self, change: impl FnOnce(Option<usize>) -> Option<usize>) {
        let mut held = self.held_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *held = change(*held);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::RecvTimeoutError;

    use super::*;

    /// Starts a server for one connection.
    fn origin<T: Send + 'static>(
        serve: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> (SocketAddr, JoinHandle<T>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (address, thread::spawn(move || serve(listener.accept().unwrap().0)))
    }

    fn echo(mut stream: TcpStream) {
        let mut byte = [0];
        while stream.read(&mut byte).unwrap() == 1 {
            stream.write_all(&byte).unwrap();
        }
    }

    /// Waits for the end of a connection, but not for ever.
    fn has_ended(client: &mut TcpStream) -> bool {
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        match client.read(&mut [0]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    #[test]
    fn a_ping_takes_a_round_trip_and_the_first_one_two() {
        let round_trip = Duration::from_millis(30);
        let (address, server) = origin(echo);
        let line = Line::open(address, round_trip).unwrap();
        let mut client = TcpStream::connect(line.address()).unwrap();
        for (ping, at_least) in [(1, 2 * round_trip), (2, round_trip), (3, round_trip)] {
            let sent_at = Instant::now();
            client.write_all(&[ping]).unwrap();
            let mut answer = [0];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [ping]);
            assert!(sent_at.elapsed() >= at_least, "{:?} for {ping}", sent_at.elapsed());
        }
        drop(client);
        server.join().unwrap();
    }

    /// How long it takes until all bytes have come, in order, with the end of the stream.
    fn transfer(round_trip: Duration) -> Duration {
        let mut bytes = vec![0; 64 << 20];
        bytes.chunks_mut(8191).enumerate().for_each(|(number, run)| run.fill(number as u8));
        let (address, server) = origin(|mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all
        });
        let line = Line::open(address, round_trip).unwrap();
        let began_at = Instant::now();
        let mut client = TcpStream::connect(line.address()).unwrap();
        client.write_all(&bytes).unwrap();
        drop(client);
        let all = server.join().unwrap();
        let elapsed = began_at.elapsed();
        assert!(all == bytes, "other bytes came out");
        elapsed
    }

    /// Goal: distance takes no throughput. Method: a line that waited for answers would send one read of 256 KiB per round trip, or 25 s
    /// for all; the same bytes without distance say how fast this machine is, and the slack is for what else runs on it.
    #[test]
    fn many_bytes_take_little_longer_over_a_distance() {
        let (near, far) = (transfer(Duration::ZERO), transfer(Duration::from_millis(100)));
        assert!(far < 4 * near + Duration::from_secs(2), "{far:?} after {near:?}");
    }

    #[test]
    fn a_line_to_nowhere_ends_the_connection() {
        let nowhere = {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            listener.local_addr().unwrap()
        };
        let line = Line::open(nowhere, Duration::ZERO).unwrap();
        let mut client = TcpStream::connect(line.address()).unwrap();
        assert!(has_ended(&mut client));
    }

    #[test]
    fn connections_end_with_the_line() {
        let (address, server) = origin(echo);
        let line = Line::open(address, Duration::from_millis(1)).unwrap();
        let mut client = TcpStream::connect(line.address()).unwrap();
        client.write_all(&[1]).unwrap();
        client.read_exact(&mut [0]).unwrap();
        drop(line);
        assert!(has_ended(&mut client));
        server.join().unwrap();
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        let room = Arc::new(Room::new(100));
        room.take(60);
        let (send, taken) = mpsc::channel();
        let taker = {
            let room = Arc::clone(&room);
            thread::spawn(move || {
                for _ in 0..3 {
                    room.take(60);
                    send.send(()).unwrap();
                }
            })
        };
        assert_eq!(taken.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
        room.give(60);
        taken.recv().unwrap();
        assert_eq!(taken.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
        room.open_wide();
        taken.recv().unwrap();
        taker.join().unwrap();
    }
}
