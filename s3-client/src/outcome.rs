//! What a request changed, and what it may still change.
//!
//! A request that got no answer is not a request that failed: the server may have carried it out, may be about to, or may get it later from
//! some queue on the way. Whoever deletes must know (R9 of Coldkeep's design), so every reply and every error carries an [`Outcome`] that
//! covers all attempts, not just the last.

use std::time::SystemTime;

use crate::switch::is_off;

/// What a request and its attempts changed, as far as the answers tell, and whether an attempt may still take effect.
///
/// It is sticky: if attempt 1 timed out and attempt 2 succeeded, the effect is [`Effect::Applied`] and attempt 1 is still [pending](Pending).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    effect: Effect,
    pending: Pending,
}

/// What a request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// It certainly changed nothing: it only reads, it never left, or the server refused it.
    None,
    /// It may have been carried out.
    Unknown,
    /// It was certainly carried out.
    Applied,
}

/// Whether an attempt may still be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pending {
    /// Every attempt was answered, or never left.
    No,
    /// An attempt without an answer can be accepted until this instant of the *server's* clock: its signature expires then. It has passed
    /// once an answer bears a later `Date`; leave a margin for requests that were accepted and take their time.
    Until(SystemTime),
    /// An attempt without an answer can be accepted at any time: the server does not check how old a signature is.
    Unbounded,
}

impl Outcome {
    /// Nothing happened, and nothing will.
    pub const NONE: Outcome = Outcome { effect: Effect::None, pending: Pending::No };

    /// It happened, once.
    pub const APPLIED: Outcome = Outcome { effect: Effect::Applied, pending: Pending::No };

    /// Combines what is known.
    pub fn new(effect: Effect, pending: Pending) -> Outcome {
        Outcome { effect, pending }
    }

    /// Returns what the request did.
    pub fn effect(self) -> Effect {
        self.effect
    }

    /// Returns whether an attempt may still be accepted, and until when.
    pub fn pending(self) -> Pending {
        self.pending
    }

    /// Returns whether some attempt ended without an answer and may still take effect, whatever the others did (R9).
    pub fn is_unclear(self) -> bool {
        self.pending != Pending::No
    }

    /// Adds a later attempt of the same request: nothing that an attempt may have done is undone by another one's answer.
    #[must_use]
    pub fn and(self, later: Outcome) -> Outcome {
        if is_off("r9") {
            return later;
        }
        Outcome { effect: self.effect.max(later.effect), pending: self.pending.max(later.pending) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn until(seconds: u64) -> Pending {
        Pending::Until(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn an_unclear_attempt_stays_so_after_a_success() {
        let timed_out = Outcome::new(Effect::Unknown, until(9));
        let both = timed_out.and(Outcome::APPLIED);
        assert_eq!((both.effect(), both.pending()), (Effect::Applied, until(9)));
        assert!(both.is_unclear());
        assert!(!Outcome::APPLIED.is_unclear());
    }

    #[test]
    fn a_refusal_does_not_undo_an_unclear_attempt() {
        let both = Outcome::new(Effect::Unknown, until(9)).and(Outcome::NONE);
        assert_eq!(both, Outcome::new(Effect::Unknown, until(9)));
    }

    #[test]
    fn the_latest_expiry_counts_and_none_counts_more() {
        let merged = |a, b| Outcome::new(Effect::Unknown, a).and(Outcome::new(Effect::Unknown, b)).pending();
        assert_eq!(merged(until(9), until(5)), until(9));
        assert_eq!(merged(until(9), Pending::Unbounded), Pending::Unbounded);
        assert_eq!(merged(Pending::No, until(5)), until(5));
    }
}
