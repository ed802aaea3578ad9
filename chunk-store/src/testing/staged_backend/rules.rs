//! Which request meets what.

use std::fmt;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::HeldRequest;
use crate::backend::Fault;

/// The requests of [`ObjectBackend`](crate::backend::ObjectBackend).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is named as its method")]
pub enum RequestKind {
    Put,
    PutNew,
    Get,
    Head,
    Copy,
    Delete,
    List,
}

impl RequestKind {
    /// Returns whether it can change something.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::PutNew | Self::Copy | Self::Delete)
    }

    pub(super) fn action(self) -> &'static str {
        match self {
            Self::Put | Self::PutNew => "put",
            Self::Get => "get",
            Self::Head => "look up",
            Self::Copy => "copy",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What kind it is.
    pub kind: RequestKind,
    /// The keys that it is about; of a copy source and target, of a listing the prefix.
    pub keys: Vec<String>,
}

/// Accepts some keys.
pub(super) type KeyTest = Box<dyn Fn(&str) -> bool + Send>;

/// Which requests a rule is for.
pub struct Which {
    /// `None`: any.
    kind: Option<RequestKind>,
    is_about: KeyTest,
    /// Let pass before the first.
    skipped: usize,
    /// `None`: any number.
    left: Option<usize>,
}

impl Which {
    /// The next request of a kind.
    pub fn next(kind: RequestKind) -> Self {
        Self { kind: Some(kind), ..Self::any() }
    }

    /// The next request, of whatever kind.
    pub fn any() -> Self {
        Self { kind: None, is_about: Box::new(|_| true), skipped: 0, left: Some(1) }
    }

    /// Every request of a kind from now on.
    pub fn every(kind: RequestKind) -> Self {
        Self::next(kind).always()
    }

    /// Takes the next `count` of them.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.left = Some(count);
        self
    }

    /// Takes all of them from now on.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.left = None;
        self
    }

    /// Lets the first `count` of them pass.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.skipped = count;
        self
    }

    /// Takes only those about a key that `is_about` accepts; of a batch one such key is enough.
    #[must_use]
    pub fn about(mut self, is_about: impl Fn(&str) -> bool + Send + 'static) -> Self {
        self.is_about = Box::new(is_about);
        self
    }

    /// Takes only those about this key.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "tests name keys by literals and by values")]
    pub fn key(self, key: impl ToString) -> Self {
        let key = key.to_string();
        self.about(move |about| about == key)
    }

    fn fits(&self, request: &Request) -> bool {
        self.kind.is_none_or(|kind| kind == request.kind)
            && self.left != Some(0)
            && request.keys.iter().any(|key| (self.is_about)(key))
    }

    /// Returns whether it is for this request, which is counted if it is to pass.
    fn takes(&mut self, request: &Request) -> bool {
        if self.fits(request) && self.skipped > 0 {
            self.skipped -= 1;
            return false;
        }
        self.fits(request)
    }
}

/// What happens to a request that a rule is for.
#[derive(Clone)]
pub(super) enum Action {
    HoldBefore(mpsc::UnboundedSender<HeldRequest>),
    HoldAfter(mpsc::UnboundedSender<HeldRequest>),
    /// No effect.
    Fail {
        fault: Fault,
        is_unclear: bool,
    },
    /// Effect, but no answer.
    LoseReply,
    /// Effect, but another answer.
    Falsify(Falsified),
}

/// What is wrong with an answer.
#[derive(Clone)]
pub(super) enum Falsified {
    /// Of a get: this content in place of the object's.
    Body(Bytes),
    /// Of a listing: so many objects, and nothing says that there are more.
    Cut(usize),
}

/// Rules in the order in which they were made; the first that fits a request decides it alone.
#[derive(Default)]
pub(super) struct Rules(Vec<(Which, Action)>);

impl Rules {
    pub(super) fn add(&mut self, which: Which, action: Action) {
        self.0.push((which, action));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the action for a request.
    pub(super) fn take(&mut self, request: &Request) -> Option<Action> {
        let at = self.0.iter_mut().position(|(which, _)| which.takes(request))?;
        let (which, action) = &mut self.0[at];
        let action = action.clone();
        which.left = which.left.map(|left| left.saturating_sub(1));
        if which.left == Some(0) {
            self.0.remove(at);
        }
        Some(action)
    }
}

impl fmt::Debug for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Which").field("kind", &self.kind).field("left", &self.left).finish_non_exhaustive()
    }
}
