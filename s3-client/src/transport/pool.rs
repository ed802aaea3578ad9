//! Connections that wait for the next request.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::Authority;

use super::wire::Wire;
use crate::clock::Clock;

/// Idle connections, the longest idle one first.
///
/// No task watches them: those that are idle for too long are closed when a connection is taken or given back, and a connection is
/// checked when it is taken.
pub(super) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
    count_max: usize,
    time_max: Duration,
    clock: Arc<dyn Clock>,
}

struct Idle {
    authority: Authority,
    wire: Wire,
    since: Duration,
}

impl Pool {
    /// Keeps at most `count_max` connections, each for less than `time_max`.
    pub(super) fn new(count_max: usize, time_max: Duration, clock: Arc<dyn Clock>) -> Pool {
        Pool { idle: Mutex::default(), count_max, time_max, clock }
    }

    /// Takes a connection to `authority` that its server has not closed; the one used last, so that a surplus grows old.
    pub(super) fn take(&self, authority: &Authority) -> Option<Wire> {
        loop {
            let found = {
                let mut idle = self.lock();
                self.close_old(&mut idle);
                let position = idle.iter().rposition(|idle| idle.authority == *authority)?;
                idle.remove(position)?
            };
            // Asks the system: outside of the lock.
            let mut wire = found.wire;
            if wire.is_idle() {
                return Some(wire);
            }
        }
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(super) fn give_back(&self, authority: Authority, wire: Wire) {
        if self.count_max == 0 {
            return;
        }
        let mut idle = self.lock();
        self.close_old(&mut idle);
        if idle.len() >= self.count_max {
            idle.pop_front();
        }
        idle.push_back(Idle { authority, wire, since: self.clock.monotonic() });
    }

    fn close_old(&self, idle: &mut VecDeque<Idle>) {
        let now = self.clock.monotonic();
        while idle.front().is_some_and(|oldest| now.saturating_sub(oldest.since) >= self.time_max) {
            idle.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        // Nothing panics while the lock is held, and a list is whole between any two statements.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::testing::TestClock;
    use crate::transport::wire::Counted;

    #[tokio::test]
    async fn the_last_one_given_back_that_is_still_open_is_taken() {
        let pool = Pool::new(9, Duration::from_secs(1), Arc::new(TestClock::new()));
        let authority = Authority::from_static("s3.example");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut ends = Vec::new();
        for _ in 0..3 {
            let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            pool.give_back(authority.clone(), Wire::plain(Counted::new(near)));
            ends.push(listener.accept().await.unwrap().0);
        }
        drop(ends.pop());
        for mut end in ends.into_iter().rev() {
            let mut wire = pool.take(&authority).unwrap();
            wire.write_all(b"x").await.unwrap();
            assert_eq!(end.read_u8().await.unwrap(), b'x');
        }
        assert!(pool.take(&authority).is_none());
    }
}
