//! Calls of a directory in memory that stand still until the test says so.

use tokio::sync::{mpsc, oneshot};

/// The call that [`MemoryDir::hold_call`](super::MemoryDir::hold_call) waits for. Dropping it lets the call pass.
#[derive(Debug)]
pub struct HeldCalls(mpsc::UnboundedReceiver<HeldCall>);

/// A call that stands still before it has any effect. Dropping it lets it go on; for one that never does, as in a crash, the
/// future that waits for it is dropped first.
#[derive(Debug)]
pub struct HeldCall {
    method: &'static str,
    _going_on: oneshot::Sender<()>,
}

impl HeldCalls {
    /// Returns the call if it has arrived already.
    pub fn try_arrived(&mut self) -> Option<HeldCall> {
        self.0.try_recv().ok()
    }
}

impl HeldCall {
    /// Returns the name of the method that was called.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// Lets it go on.
    pub fn release(self) {}
}

/// Which calls are to wait.
#[derive(Debug, Default)]
pub(super) struct Stops(Vec<(usize, mpsc::UnboundedSender<HeldCall>)>);

/// The wait of one call.
pub(super) struct Stop(oneshot::Receiver<()>);

impl Stops {
    pub(super) fn add(&mut self, skipped: usize) -> HeldCalls {
        let (held, calls) = mpsc::unbounded_channel();
        self.0.push((skipped, held));
        HeldCalls(calls)
    }

    /// Counts a call, and returns its wait if it is to be held.
    pub(super) fn enter(&mut self, method: &'static str) -> Option<Stop> {
        let mut due = None;
        self.0.retain_mut(|(left, held)| {
            if *left == 0 && due.is_none() {
                due = Some(held.clone());
                return false;
            }
            *left = left.saturating_sub(1);
            true
        });
        let (going_on, released) = oneshot::channel();
        due?.send(HeldCall { method, _going_on: going_on }).ok()?;
        Some(Stop(released))
    }
}

impl Stop {
    pub(super) async fn released(self) {
        // Released by being dropped.
        let _ = self.0.await;
    }
}
