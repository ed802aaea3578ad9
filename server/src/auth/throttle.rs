//! Keeps guessing of passwords and token secrets slow, however many connections guess at once.
//!
//! Failures are counted per address, per user at one address, and per user. The first two refuse further attempts, without
//! looking at what was shown, until their window has passed. The third only makes attempts wait: refusing there would let
//! anybody lock a user out.
//!
//! An attempt counts as failed until it is known to be right: what is under way is therefore part of every bound, and what
//! would go beyond it waits for the others to end. So a burst of right logins behind one address is only put in order.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coldkeep_chunk_store::Clock;
use tokio::sync::Notify;

use super::AuthId;
use crate::LoginLimits;

/// Counts failed attempts.
pub(super) struct Throttle {
    limits: LoginLimits,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Told whenever an attempt ended.
    ended: Notify,
}

/// There were too many failures; what was shown is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Throttled;

/// An attempt under way. Unless it is said to be right, it counts as failed: also if whoever waits for it goes away.
pub(super) struct Attempt<'a> {
    throttle: &'a Throttle,
    /// Nothing is counted without one: the server in the same process.
    source: Option<Source>,
}

#[derive(Clone)]
struct Source {
    who: AuthId,
    network: Network,
}

/// What counts as one address: whoever has an IPv6 address usually has all of its /64 (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

struct State {
    addresses: Counts<Network>,
    users_at: Counts<(AuthId, Network)>,
    users: Counts<AuthId>,
}

struct Counts<K> {
    entries: HashMap<K, Count>,
    entries_max: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    failures: u32,
    /// Attempts under way.
    pending: u32,
    /// When the failures are forgotten, on the monotonic clock.
    ends: Duration,
}

/// What becomes of an attempt.
enum Admission {
    Begins { is_slowed: bool },
    Waits,
    Refused,
}

impl Throttle {
    pub(super) fn new(limits: LoginLimits, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            addresses: Counts::new(limits.entries_max),
            users_at: Counts::new(limits.entries_max),
            users: Counts::new(limits.entries_max),
        };
        Self { limits, clock, state: Mutex::new(state), ended: Notify::new() }
    }

    /// Begins an attempt of `who` from `address`; `None` is the server in the same process, which nobody guesses at.
    ///
    /// # Cancel safety
    /// Dropping the future begins nothing, or leaves a failure behind.
    pub(super) async fn begin(
        &self,
        who: &AuthId,
        address: Option<IpAddr>,
    ) -> Result<Attempt<'_>, Throttled> {
        let Some(address) = address else { return Ok(Attempt { throttle: self, source: None }) };
        let source = Source { who: who.clone(), network: Network::of(address) };
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            let admission = self.lock().admit(&source, &self.limits, self.clock.monotonic());
            match admission {
                Admission::Refused => return Err(Throttled),
                Admission::Waits => ended.await,
                Admission::Begins { is_slowed } => {
                    let attempt = Attempt { throttle: self, source: Some(source) };
                    if is_slowed {
                        self.clock.sleep(self.limits.user_delay).await;
                    }
                    return Ok(attempt);
                }
            }
        }
    }

    fn end(&self, source: &Source, is_right: bool) {
        self.lock().end(source, is_right, self.clock.monotonic(), self.limits.window);
        self.ended.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Ends the attempt: what was shown is right.
    pub(super) fn succeed(mut self) {
        if let Some(source) = self.source.take() {
            self.throttle.end(&source, true);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            self.throttle.end(&source, false);
        }
    }
}

impl State {
    fn admit(&mut self, source: &Source, limits: &LoginLimits, now: Duration) -> Admission {
        let user_at = (source.who.clone(), source.network);
        let bounded = [
            (self.addresses.get(&source.network, now), limits.failures_per_address),
            (self.users_at.get(&user_at, now), limits.failures_per_user_and_address),
        ];
        if bounded.iter().any(|(count, max)| count.failures >= *max) {
            return Admission::Refused;
        }
        if bounded.iter().any(|(count, max)| count.failures + count.pending >= *max) {
            return Admission::Waits;
        }
        self.addresses.change(source.network, now).pending += 1;
        self.users_at.change(user_at, now).pending += 1;
        let of_user = self.users.change(source.who.clone(), now);
        of_user.pending += 1;
        Admission::Begins { is_slowed: of_user.failures >= limits.failures_per_user }
    }

    fn end(&mut self, source: &Source, is_right: bool, now: Duration, window: Duration) {
        let user_at = (source.who.clone(), source.network);
        self.addresses.change(source.network, now).end(is_right, now, window);
        self.users.change(source.who.clone(), now).end(is_right, now, window);
        let here = self.users_at.change(user_at, now);
        here.end(is_right, now, window);
        if is_right {
            // Whoever knows the secret may have mistyped it. The address does not start over: an attacker with an account
            // would log in now and then.
            here.failures = 0;
        }
    }
}

impl<K: Eq + Hash + Clone> Counts<K> {
    fn new(entries_max: usize) -> Self {
        Self { entries: HashMap::new(), entries_max }
    }

    fn get(&self, key: &K, now: Duration) -> Count {
        self.entries.get(key).copied().unwrap_or_default().at(now)
    }

    fn change(&mut self, key: K, now: Duration) -> &mut Count {
        if self.entries.len() >= self.entries_max && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        let count = self.entries.entry(key).or_default();
        *count = count.at(now);
        count
    }

    /// Forgets what counts no more, else the entry with the fewest failures: who has many addresses pushes out other
    /// addresses of his own, not what is refused.
    fn make_room(&mut self, now: Duration) {
        self.entries.retain(|_, count| count.pending > 0 || count.at(now).failures > 0);
        if self.entries.len() < self.entries_max {
            return;
        }
        let idle = self.entries.iter().filter(|(_, count)| count.pending == 0);
        let least = idle.min_by_key(|(_, count)| (count.failures, count.ends)).map(|(key, _)| key.clone());
        // What is under way stays, beyond the bound if need be: connections are bounded.
        if let Some(key) = least {
            self.entries.remove(&key);
        }
    }
}

impl Count {
    /// Returns the count without failures whose window has passed.
    fn at(self, now: Duration) -> Self {
        if now < self.ends { self } else { Self { failures: 0, ..self } }
    }

    fn end(&mut self, is_right: bool, now: Duration, window: Duration) {
        self.pending = self.pending.saturating_sub(1);
        if is_right {
            return;
        }
        if self.failures == 0 {
            self.ends = now + window;
        }
        self.failures = self.failures.saturating_add(1);
    }
}

impl Network {
    fn of(address: IpAddr) -> Self {
        // A socket that listens for both families shows IPv4 addresses as IPv6 ones, all of one /64.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

#[cfg(test)]
mod tests;
