//! Turns: snapshots that are got ready at the same time order their chunks one after the other.
//!
//! Without them all would be complete at the same moment, and the next ones be opened only then: some round trips in which nothing is
//! fetched.

use std::convert::Infallible;

use tokio::sync::oneshot;

/// A place in the queue; dropping it lets the next one have its turn.
pub(super) struct Turn {
    before: oneshot::Receiver<Infallible>,
    _after: oneshot::Sender<Infallible>,
}

/// Hands out turns in order.
pub(super) struct Turns {
    last: oneshot::Receiver<Infallible>,
}

impl Turns {
    /// Makes a queue in which nobody stands.
    pub(super) fn new() -> Self {
        Self { last: oneshot::channel().1 }
    }

    /// Adds the next place to the queue.
    pub(super) fn next(&mut self) -> Turn {
        let (after, last) = oneshot::channel();
        Turn { before: std::mem::replace(&mut self.last, last), _after: after }
    }
}

impl Turn {
    /// Waits until the turn before is over: those before it are, too, unless it was given up early, which costs the order only.
    ///
    /// # Cancel safety
    /// Dropping the future keeps the place.
    pub(super) async fn comes(&mut self) {
        // Nothing can be sent: this ends when the one before is dropped.
        let _ = (&mut self.before).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_turn_comes_when_those_before_are_over() {
        let mut turns = Turns::new();
        let [mut first, mut second, mut third] = [turns.next(), turns.next(), turns.next()];
        assert_eq!(first.comes().now_or_never(), Some(()));
        assert_eq!(second.comes().now_or_never(), None);
        drop(first);
        assert_eq!(second.comes().now_or_never(), Some(()));
        assert_eq!(third.comes().now_or_never(), None);
        drop(second);
        assert_eq!(third.comes().now_or_never(), Some(()));
    }
}
