//! Requests that the server accepts now and carries out later.

use http::request::Parts;

use crate::fault::RequestHead;
use crate::gate::Gate;

/// A hold on the next request that matches: the server takes it, checks it, and waits with its effect.
///
/// The effect happens on [`release`](Held::release) even if the client has hung up: a late effect.
#[derive(Clone, Debug)]
pub struct Held {
    pub(crate) gate: Gate,
    pub(crate) done: Gate,
}

impl Held {
    /// Waits until the request has arrived whole and passed its checks.
    pub async fn arrived(&self) {
        self.gate.reached(1).await;
    }

    /// Lets the effect happen.
    pub fn release(&self) {
        self.gate.open();
    }

    /// Waits until the effect has happened.
    pub async fn applied(&self) {
        self.done.pass().await;
    }
}

pub(crate) type Matcher = Box<dyn Fn(&RequestHead) -> bool + Send>;

/// Holds in the order in which they were set.
#[derive(Default)]
pub(crate) struct Holds(Vec<(Matcher, Held)>);

impl Holds {
    pub(crate) fn add(&mut self, matcher: Matcher) -> Held {
        let held = Held { gate: Gate::closed(), done: Gate::closed() };
        self.0.push((matcher, held.clone()));
        held
    }

    /// The hold on this request, used up.
    pub(crate) fn take(&mut self, parts: &Parts) -> Option<Held> {
        // The usual case costs nothing.
        if self.0.is_empty() {
            return None;
        }
        let head = RequestHead::of(parts);
        let at = self.0.iter().position(|(matcher, _)| matcher(&head))?;
        Some(self.0.remove(at).1)
    }
}
