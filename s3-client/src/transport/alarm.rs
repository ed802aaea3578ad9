//! Waking without waking oneself.
//!
//! hyper's connection and the futures that wait for it wake each other. Here one task polls them all, one after the other, so that
//! such a wake says nothing new; but a task that is woken while it runs is queued again, and the runtime calls another thread to take
//! it: two system calls and a migration for each request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Stands between a connection and the task that drives it.
#[derive(Debug)]
pub(super) struct Alarm {
    bell: Arc<Bell>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Bell(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Who is to be woken: set only while the task waits.
    task: Option<Waker>,
    /// Rung while nobody waited.
    has_rung: bool,
}

impl Alarm {
    pub(super) fn new() -> Alarm {
        let bell = Arc::<Bell>::default();
        Alarm { waker: Waker::from(Arc::clone(&bell)), bell }
    }

    /// Polls with a waker that reaches the task of `cx` only after the poll ended and left the task waiting.
    ///
    /// Whatever rings meanwhile has `poll` called once more: that is enough for what the polled wake in each other. If it rings again
    /// then, the task is woken as usual; a poll that gives way to others does that.
    pub(super) fn poll<T>(
        &self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        *self.bell.lock() = State::default();
        let mut guarded = Context::from_waker(&self.waker);
        for is_last in [false, true] {
            if let Poll::Ready(done) = poll(&mut guarded) {
                return Poll::Ready(done);
            }
            let mut state = self.bell.lock();
            if !std::mem::take(&mut state.has_rung) {
                state.task = Some(cx.waker().clone());
                return Poll::Pending;
            }
            drop(state);
            if is_last {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.lock();
        let task = state.task.take();
        state.has_rung = task.is_none();
        // Waking runs the runtime's code.
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls something that wakes itself in its first `rings` polls; returns how often it was polled and the task woken.
    fn polls_and_wakes(rings: usize) -> (usize, usize) {
        let (count, alarm) = (Arc::new(Count::default()), Alarm::new());
        let task = Waker::from(Arc::clone(&count));
        let mut polls = 0;
        let _: Poll<()> = alarm.poll(&Context::from_waker(&task), |cx| {
            polls += 1;
            if polls <= rings {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        });
        (polls, count.0.load(Ordering::SeqCst))
    }

    #[test]
    fn a_ring_during_a_poll_repeats_it_once_and_then_wakes_the_task() {
        assert_eq!(polls_and_wakes(0), (1, 0));
        assert_eq!(polls_and_wakes(1), (2, 0));
        assert_eq!(polls_and_wakes(9), (2, 1));
    }

    #[test]
    fn a_ring_after_the_poll_wakes_the_task_once() {
        let (count, alarm) = (Arc::new(Count::default()), Alarm::new());
        let task = Waker::from(Arc::clone(&count));
        let mut inner = None;
        let _: Poll<()> = alarm.poll(&Context::from_waker(&task), |cx| {
            inner = Some(cx.waker().clone());
            Poll::Pending
        });
        let inner = inner.unwrap();
        inner.wake_by_ref();
        inner.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_ring_after_the_result_is_nobodys_business() {
        let (count, alarm) = (Arc::new(Count::default()), Alarm::new());
        let task = Waker::from(Arc::clone(&count));
        let inner = alarm.poll(&Context::from_waker(&task), |cx| Poll::Ready(cx.waker().clone()));
        let Poll::Ready(inner) = inner else { panic!("ready") };
        inner.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
    }
}
