//! The proxy: its socket, its script, its record.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::odds::Odds;
use super::plan::Plan;
use super::seen::Seen;
use super::turn::{Next, Turn};
use super::wire::Wire;
use super::{End, Fault, RequestHead};
use crate::gate::Gate;
use crate::tasks::Tasks;

/// A proxy on a free port of loopback that does to requests what a test scripted. It ends when it is dropped.
///
/// Requests go to the origin byte for byte, `Host` included, so that signatures survive.
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

pub(crate) struct Shared {
    pub(crate) origin: SocketAddr,
    pub(crate) tasks: Tasks,
    script: Mutex<Script>,
    seen: watch::Sender<Vec<Seen>>,
}

#[derive(Default)]
struct Script {
    plan: Plan,
    /// Gates of faults by chance, and the number of requests at which each opens.
    gates: Vec<(usize, Gate)>,
    connections: usize,
    refusals: usize,
}

impl FaultProxy {
    /// Starts a proxy in front of `origin` that lets everything pass.
    ///
    /// # Panics
    /// Where loopback has no free port.
    pub async fn start(origin: SocketAddr) -> FaultProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port on loopback");
        let address = listener.local_addr().expect("invariant: a bound socket has an address");
        let shared = Arc::new(Shared {
            origin,
            tasks: Tasks::new(),
            script: Mutex::default(),
            seen: watch::Sender::new(Vec::new()),
        });
        shared.tasks.spawn(accept(listener, Arc::clone(&shared)));
        FaultProxy { shared, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Does this to the next request that no earlier call decides on: several calls make a queue.
    pub fn next(&self, fault: Fault) {
        self.next_for(|_| true, fault);
    }

    /// Does this to the next request that matches.
    pub fn next_for(&self, matcher: impl Fn(&RequestHead) -> bool + Send + 'static, fault: Fault) {
        self.shared.script().plan.add(Box::new(matcher), fault, true);
    }

    /// Does this to every request that matches and that no earlier call decides on.
    pub fn always(&self, matcher: impl Fn(&RequestHead) -> bool + Send + 'static, fault: Fault) {
        self.shared.script().plan.add(Box::new(matcher), fault, false);
    }

    /// Leaves requests that nothing else decides on to chance, which is the same for the same seed.
    pub fn randomly(&self, seed: u64, odds: Odds) {
        self.shared.script().plan.set_chance(seed, odds);
    }

    /// Forgets everything scripted: from now on requests pass.
    pub fn clear(&self) {
        self.shared.script().plan.clear();
    }

    /// Resets the next `count` connections as soon as they are there.
    pub fn refuse_connections(&self, count: usize) {
        self.shared.script().refusals += count;
    }

    /// Opens the gates of all faults that chance made: late effects happen now.
    pub fn release_all(&self) {
        self.shared.open_gates(usize::MAX);
    }

    /// Connections that clients have made, refused ones not included.
    pub fn connections(&self) -> usize {
        self.shared.script().connections
    }

    /// All requests so far, in the order of their heads.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.borrow().clone()
    }

    /// Waits until what was seen is as wanted, and returns it.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn until(&self, mut wanted: impl FnMut(&[Seen]) -> bool) -> Vec<Seen> {
        let mut seen = self.shared.seen.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = seen.wait_for(|seen| wanted(seen)).await;
        self.seen()
    }

    /// Waits until the heads of `count` requests have come.
    pub async fn arrived(&self, count: usize) -> Vec<Seen> {
        self.until(|seen| seen.len() >= count).await
    }

    /// Waits until nothing more will happen to `count` requests.
    pub async fn finished(&self, count: usize) -> Vec<Seen> {
        self.until(|seen| seen.iter().filter(|request| request.finished).count() >= count).await
    }

    /// Waits until `count` requests stand at a gate or stall, at the same time.
    pub async fn stalled(&self, count: usize) -> Vec<Seen> {
        self.until(|seen| seen.iter().filter(|request| request.stalled).count() >= count).await
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.tasks.end();
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of a request.
    pub(crate) fn note(&self, at: usize, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(|seen| {
            if let Some(request) = seen.get_mut(at) {
                change(request);
            }
        });
    }

    /// Records a request and says what is to be done to it.
    fn decide(&self, head: &RequestHead, connection: usize) -> (usize, Fault) {
        // Recorded under the script's lock: the order of decisions is the order of the record.
        let (at, fault) = {
            let mut script = self.script();
            let (fault, opens_after) = script.plan.decide(head);
            let mut at = 0;
            self.seen.send_modify(|seen| {
                at = seen.len();
                seen.push(Seen::new(head, connection, fault.kind()));
            });
            if let (Some(requests), Fault::Late { gate, .. } | Fault::Delay(gate)) = (opens_after, &fault) {
                script.gates.push((at + requests, gate.clone()));
            }
            (at, fault)
        };
        self.open_gates(at);
        (at, fault)
    }

    /// Opens the gates whose time has come.
    fn open_gates(&self, requests: usize) {
        self.script().gates.retain(|(opens_at, gate)| {
            let is_due = *opens_at <= requests;
            if is_due {
                gate.open();
            }
            !is_due
        });
    }

    /// The number of a new connection; `None` if it is to be refused.
    fn admit(&self) -> Option<usize> {
        let mut script = self.script();
        if script.refusals > 0 {
            script.refusals -= 1;
            return None;
        }
        script.connections += 1;
        Some(script.connections - 1)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // An error of `accept` is of that connection (or of the whole process' files), not of the listener.
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        match shared.admit() {
            Some(number) => shared.tasks.spawn(serve(stream, number, Arc::clone(&shared))),
            None => Wire::new(stream).end(End::Reset).await,
        }
    }
}

/// Serves one connection of a client to its end.
async fn serve(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    let mut wire = Wire::new(stream);
    let end = loop {
        match serve_one(&mut wire, number, &shared).await {
            Ok(Some(Next::KeepAlive)) => {}
            Ok(Some(Next::End(end))) => break end,
            Ok(None) => break End::Close,
            // A connection broke by itself, or the origin did: the client sees a reset, never a clean end.
            Err(_) => break End::Reset,
        }
    };
    wire.end(end).await;
}

/// Serves one request; `None` when no more come.
async fn serve_one(wire: &mut Wire, connection: usize, shared: &Arc<Shared>) -> io::Result<Option<Next>> {
    let Some((head, raw)) = wire.read_request_head().await? else { return Ok(None) };
    let (at, fault) = shared.decide(&head, connection);
    let is_late = matches!(fault, Fault::Late { .. });
    let body_left = head.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let result = if head.header("transfer-encoding").is_some() {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the proxy knows no chunked requests"))
    } else {
        Turn { wire, shared, at, head, raw, body_left }.run(fault).await
    };
    // A late effect finishes by itself, unless its request never came whole.
    if !is_late || result.is_err() {
        shared.note(at, |seen| (seen.stalled, seen.finished) = (false, true));
    }
    result.map(Some)
}
