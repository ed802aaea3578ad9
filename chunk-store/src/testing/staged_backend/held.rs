//! Requests that stand still until the test says what becomes of them.

use std::future::Future;
use std::pin::Pin;

use tokio::sync::{mpsc, oneshot};

use super::Request;
use crate::backend::BackendError;

/// What takes place when a request reaches the backend after all.
type Effect = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<(), BackendError>> + Send>> + Send>;

/// The requests that one rule holds, in the order of their arrival. Dropping it lets later ones pass.
#[derive(Debug)]
pub struct Held(pub(super) mpsc::UnboundedReceiver<HeldRequest>);

/// A request that stands still, before its effect or between effect and reply. Dropping it lets it go on.
pub struct HeldRequest {
    request: Request,
    decision: oneshot::Sender<Decision>,
    /// Of a request held before its effect.
    effect: Option<Effect>,
}

/// An effect on its way, whose caller has given it up.
pub struct Late {
    request: Request,
    effect: Effect,
}

/// What becomes of a held request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes on.
    Release,
    /// It ends here; its caller gets no answer.
    Lose,
    /// It ends here and is repeated at once.
    Repeat,
}

impl Held {
    /// Waits until a request has arrived.
    ///
    /// # Panics
    /// If none can arrive any more: the backend is gone, or the rule has had all its requests.
    pub async fn arrived(&mut self) -> HeldRequest {
        self.0.recv().await.expect("a request that the rule holds")
    }

    /// Returns a request that has arrived already.
    pub fn try_arrived(&mut self) -> Option<HeldRequest> {
        self.0.try_recv().ok()
    }
}

impl HeldRequest {
    pub(super) fn new(request: Request, effect: Option<Effect>) -> (Self, oneshot::Receiver<Decision>) {
        let (decision, decided) = oneshot::channel();
        (Self { request, decision, effect }, decided)
    }

    /// Returns what was asked for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Lets it go on as if nothing had been.
    pub fn release(self) {
        self.decide(Decision::Release);
    }

    /// Gives its caller an unclear error. One held before its effect never has any; one held after it had it.
    pub fn lose(self) {
        self.decide(Decision::Lose);
    }

    /// Gives its caller an unclear error now; the effect takes place when the test says so (hazards H10, H25, H35).
    ///
    /// # Panics
    /// If it had its effect before it was held.
    pub fn lose_now_land_later(mut self) -> Late {
        let late = self.take_late();
        self.decide(Decision::Lose);
        late
    }

    /// Has the backend client repeat it with success; the first attempt takes effect once more when the test says so
    /// (hazard H21).
    ///
    /// # Panics
    /// If it had its effect before it was held.
    pub fn repeat_now_land_later(mut self) -> Late {
        let late = self.take_late();
        self.decide(Decision::Repeat);
        late
    }

    fn take_late(&mut self) -> Late {
        let effect = self.effect.take().expect("a request held before its effect");
        Late { request: self.request.clone(), effect }
    }

    fn decide(self, decision: Decision) {
        // Its caller may have dropped the request meanwhile.
        let _ = self.decision.send(decision);
    }
}

impl Late {
    /// Returns what was asked for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Lets the effect take place, if the backend still takes the request.
    ///
    /// # Errors
    /// The backend's answer, which nobody but the test sees: [`Fault::Expired`](crate::backend::Fault::Expired) if the
    /// request's validity has passed by the backend's clock.
    pub async fn land(self) -> Result<(), BackendError> {
        (self.effect)().await
    }
}

impl std::fmt::Debug for HeldRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeldRequest").field("request", &self.request).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Late").field("request", &self.request).finish_non_exhaustive()
    }
}
