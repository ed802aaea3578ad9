//! The result of a request that succeeded.

use std::time::SystemTime;

use crate::outcome::Outcome;

/// What an operation returned, and what is known of the request behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply<T> {
    /// The operation's result.
    pub value: T,
    /// The server's `Date` in the answer: the only clock that tells when a signature has expired there. Whole seconds.
    pub date: Option<SystemTime>,
    /// The id by which the provider finds the request in its logs.
    pub request_id: Option<String>,
    /// How many attempts it took.
    pub attempts: u32,
    /// What all attempts together changed; [unclear](Outcome::is_unclear) if one of them got no answer and may still take effect (R9).
    pub outcome: Outcome,
}

impl<T> Reply<T> {
    /// Returns the operation's result alone.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Changes the result and keeps the rest.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reply<U> {
        let Reply { value, date, request_id, attempts, outcome } = self;
        Reply { value: change(value), date, request_id, attempts, outcome }
    }
}
