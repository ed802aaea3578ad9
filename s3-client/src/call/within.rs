//! A deadline by the client's clock.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use crate::clock::Clock;
use crate::limits::Waited;

/// Runs `work` for at most `limit`; `None` if the time was up first.
pub(crate) async fn within<F: Future>(clock: &dyn Clock, limit: Duration, work: F) -> Option<F::Output> {
    within_plus(clock, limit, &Waited::default(), work).await
}

/// The same, not counting what `work` had to wait for limits of ours: that is not the server's fault.
pub(super) async fn within_plus<F: Future>(
    clock: &dyn Clock,
    limit: Duration,
    waited: &Waited,
    work: F,
) -> Option<F::Output> {
    let (mut work, mut timer) = (pin!(work), clock.sleep(limit));
    poll_fn(|cx| {
        // The work first: an answer that is there counts, however late it is looked at.
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            let more = waited.take();
            if more.is_zero() {
                return Poll::Ready(None);
            }
            timer = clock.sleep(more);
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::testing::TestClock;

    #[tokio::test]
    async fn the_earlier_one_decides_and_the_work_wins_a_tie() {
        let clock = TestClock::skipping(Duration::from_secs(2));
        let second = Duration::from_secs(1);
        assert_eq!(within(&clock, second, ready(7)).await, Some(7));
        assert_eq!(within(&clock, second, pending::<()>()).await, None);
    }
}
