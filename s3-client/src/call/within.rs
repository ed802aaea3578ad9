//! A deadline by the client's clock.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::clock::Clock;

/// Runs `work` for at most `limit`; `None` if the time was up first.
pub(super) async fn within<F: Future>(clock: &dyn Clock, limit: Duration, work: F) -> Option<F::Output> {
    let (mut work, mut timer) = (pin!(work), clock.sleep(limit));
    poll_fn(|cx| {
        // The work first: an answer that is there counts, however late it is looked at.
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        timer.as_mut().poll(cx).map(|()| None)
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
