//! How many uploads are under way at once: as many as the backend takes well and the memory allows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::BucketOptions;
use super::adaptive::{Adaptive, Ended, Upload};
use crate::backend::{BackendError, Fault};
use crate::time::StoreClock;

/// Bounds uploads by number and bytes. First come, first served: a large chunk is not overtaken by small ones for ever.
#[derive(Debug)]
pub(super) struct Gate {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    adaptive: Adaptive,
    bytes_max: usize,
    under_way: GateCounts,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    bytes: usize,
    admitted: oneshot::Sender<Admission>,
}

/// What passes the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct GateCounts {
    /// Uploads under way.
    pub(super) uploads: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    /// Uploads that may be under way at the moment.
    pub(super) allowed: usize,
}

impl Gate {
    /// Starts with nothing under way.
    pub(super) fn new(options: &BucketOptions) -> Self {
        let state = State {
            adaptive: Adaptive::new(options.uploads_max),
            bytes_max: options.upload_bytes,
            under_way: GateCounts::default(),
            waiting: VecDeque::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits until an upload of so many bytes may start. One that is larger than the bound passes alone.
    ///
    /// Dropping the future gives the place back.
    pub(super) async fn pass(&self, bytes: usize, clock: &StoreClock) -> Permit {
        // Dropped last: whoever stood behind one that gave up is looked at then.
        let _look_again = LookAgain(&self.state);
        let (admitted, admission) = oneshot::channel();
        admit(&self.state, |state| state.waiting.push_back(Waiter { bytes, admitted }));
        let admission = admission.await.expect("invariant: a waiter is dropped only once it is admitted");
        Permit { admission, started_at: clock.monotonic() }
    }

    /// Returns what is under way.
    pub(super) fn counts(&self) -> GateCounts {
        let state = lock(&self.state);
        GateCounts { allowed: state.adaptive.allowed(), ..state.under_way }
    }
}

/// Admits whoever may pass, once it is dropped.
struct LookAgain<'a>(&'a Arc<Mutex<State>>);

impl Drop for LookAgain<'_> {
    fn drop(&mut self) {
        admit(self.0, |_| {});
    }
}

/// A place among the uploads under way, until it is dropped.
#[derive(Debug)]
struct Admission {
    state: Arc<Mutex<State>>,
    bytes: usize,
}

impl Drop for Admission {
    fn drop(&mut self) {
        admit(&self.state, |state| {
            state.under_way.uploads -= 1;
            state.under_way.bytes -= self.bytes;
        });
    }
}

/// An upload that has passed the gate.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Admission,
    started_at: Duration,
}

impl Permit {
    /// Tells how the upload ended, and lets the next one pass. One that is dropped instead teaches nothing.
    pub(super) fn finish(self, ended: Ended, clock: &StoreClock) {
        let upload = Upload {
            started_at: self.started_at,
            ended_at: clock.monotonic(),
            bytes: self.admission.bytes,
            ended,
        };
        lock(&self.admission.state).adaptive.note(upload);
    }
}

impl From<&BackendError> for Ended {
    fn from(error: &BackendError) -> Self {
        match error.fault {
            Fault::Throttled => Self::Throttled,
            Fault::Unavailable | Fault::BadAnswer => Self::Failed,
            // The operator's business, not that of the number.
            _ => Self::Unrelated,
        }
    }
}

/// Changes the state and admits whoever may pass then.
fn admit(state: &Arc<Mutex<State>>, change: impl FnOnce(&mut State)) {
    let mut given_up = Vec::new();
    {
        let mut locked = lock(state);
        change(&mut locked);
        while let Some(waiter) = locked.take_next() {
            let admission = Admission { state: Arc::clone(state), bytes: waiter.bytes };
            if let Err(admission) = waiter.admitted.send(admission) {
                // Nobody waits for it any more. Its place is given back below, once the lock is free: that takes it.
                given_up.push(admission);
            }
        }
    }
    drop(given_up);
}

impl State {
    /// Takes the next waiter if there is room for it.
    fn take_next(&mut self) -> Option<Waiter> {
        self.forget_given_up();
        let bytes = self.waiting.front()?.bytes;
        let GateCounts { uploads, bytes: bytes_under_way, .. } = self.under_way;
        let has_room = uploads == 0 || bytes_under_way.saturating_add(bytes) <= self.bytes_max;
        if !has_room {
            return None;
        }
        if uploads >= self.adaptive.allowed() {
            self.adaptive.note_held_back();
            return None;
        }
        self.under_way.uploads += 1;
        self.under_way.bytes += bytes;
        self.waiting.pop_front()
    }

    fn forget_given_up(&mut self) {
        while self.waiting.front().is_some_and(|waiter| waiter.admitted.is_closed()) {
            self.waiting.pop_front();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;

    use super::*;
    use crate::testing::ManualClock;
    use crate::time::StoreTime;

    fn gate(upload_bytes: usize, uploads_max: usize) -> (Gate, StoreClock) {
        let source = Arc::new(ManualClock::at(StoreTime::from_unix(1000, 0)));
        let state = State {
            adaptive: Adaptive::new(uploads_max),
            bytes_max: upload_bytes,
            under_way: GateCounts::default(),
            waiting: VecDeque::new(),
        };
        (Gate { state: Arc::new(Mutex::new(state)) }, StoreClock::new(source, StoreTime::EPOCH))
    }

    fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_is_larger_than_the_bound_passes_alone_and_in_its_turn() {
        let (gate, clock) = gate(10, 8);
        let mut small = Box::pin(gate.pass(5, &clock));
        let small = poll(&mut small).unwrap();
        let mut large = Box::pin(gate.pass(100, &clock));
        let mut next = Box::pin(gate.pass(1, &clock));
        assert!(poll(&mut large).is_none() && poll(&mut next).is_none());
        drop(small);
        let large = poll(&mut large).unwrap();
        assert!(poll(&mut next).is_none());
        drop(large);
        let _next = poll(&mut next).unwrap();
        let mut large = Box::pin(gate.pass(100, &clock));
        let mut behind = Box::pin(gate.pass(1, &clock));
        assert!(poll(&mut large).is_none() && poll(&mut behind).is_none());
        drop(large);
        assert!(poll(&mut behind).is_some(), "nothing that ends need wake it");
    }

    #[test]
    fn who_gives_up_makes_room_before_and_after_being_admitted() {
        let (gate, clock) = gate(10, 8);
        let mut first = Box::pin(gate.pass(10, &clock));
        let first = poll(&mut first).unwrap();
        let mut waiting = Box::pin(gate.pass(10, &clock));
        let mut admitted = Box::pin(gate.pass(9, &clock));
        assert!(poll(&mut waiting).is_none() && poll(&mut admitted).is_none());
        let mut tiny = Box::pin(gate.pass(0, &clock));
        assert!(poll(&mut tiny).is_none());
        drop(waiting);
        drop(first);
        // Its place is taken although it has not been polled since.
        assert_eq!(gate.counts().bytes, 9);
        drop(poll(&mut tiny).unwrap());
        drop(admitted);
        assert_eq!(gate.counts(), GateCounts { uploads: 0, bytes: 0, allowed: 8 });
    }

    proptest! {
        /// Goal: neither bound is ever passed, nobody is forgotten. Method: random arrivals, ends and changes of mind.
        #[test]
        fn the_bounds_hold_and_everybody_passes(
            most in 1_usize..6,
            steps in prop::collection::vec((0_u8..4, 1_usize..15, any::<prop::sample::Index>()), 0..200),
        ) {
            const BYTES: usize = 20;
            let (gate, clock) = gate(BYTES, most);
            let (mut waiting, mut passed) = (Vec::new(), Vec::new());
            for (step, bytes, index) in steps {
                match step {
                    0 | 1 => waiting.push(Box::pin(gate.pass(bytes, &clock))),
                    2 if !passed.is_empty() => drop(passed.swap_remove(index.index(passed.len()))),
                    3 if !waiting.is_empty() => drop(waiting.remove(index.index(waiting.len()))),
                    _ => {}
                }
                waiting.retain_mut(|future| poll(future).map(|permit| passed.push(permit)).is_none());
                let counts = gate.counts();
                prop_assert_eq!(counts.uploads, passed.len());
                prop_assert!(counts.uploads <= most && counts.bytes <= BYTES);
            }
            while !waiting.is_empty() {
                prop_assert!(!passed.is_empty(), "somebody waits for nothing");
                passed.clear();
                waiting.retain_mut(|future| poll(future).map(|permit| passed.push(permit)).is_none());
            }
            drop(passed);
            prop_assert_eq!(gate.counts().uploads, 0);
        }
    }
}
