//! Which chunks the server knows in this session (R17: only what it was asked about or sent).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use coldkeep_chunk_store::Digest;
use tokio::sync::watch;

use crate::error::RequestError;

/// `None` while a chunk is being sent, then how that ended.
type Outcome = Option<Result<(), Arc<RequestError>>>;

/// Chunks that may be referenced without being sent.
#[derive(Debug, Default)]
pub(super) struct KnownChunks {
    states: Mutex<HashMap<Digest, State>>,
}

#[derive(Debug)]
enum State {
    Stored,
    Sending(watch::Receiver<Outcome>),
}

/// What to do about one chunk.
#[derive(Debug)]
pub(super) enum Claim {
    /// The server has it.
    Stored,
    /// Somebody else in this session is sending it.
    Elsewhere(Elsewhere),
    /// It is ours to send.
    Ours(Sending),
}

/// Waits for a chunk that somebody else is sending.
#[derive(Debug)]
pub(super) struct Elsewhere(watch::Receiver<Outcome>);

/// The duty to send a chunk and to say how it went; dropping it unsaid tells the others that it failed.
#[derive(Debug)]
pub(super) struct Sending {
    known: Arc<KnownChunks>,
    digest: Digest,
    outcome: watch::Sender<Outcome>,
}

impl KnownChunks {
    /// Adds chunks that the server has.
    pub(super) fn extend(&self, digests: impl Iterator<Item = Digest>) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in digests {
            states.entry(digest).or_insert(State::Stored);
        }
    }

    /// Decides, once for all callers, who sends a chunk.
    pub(super) fn claim(self: &Arc<Self>, digest: Digest) -> Claim {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        match states.get(&digest) {
            Some(State::Stored) => Claim::Stored,
            Some(State::Sending(outcome)) => Claim::Elsewhere(Elsewhere(outcome.clone())),
            None => {
                let (outcome, watched) = watch::channel(None);
                states.insert(digest, State::Sending(watched));
                Claim::Ours(Sending { known: Arc::clone(self), digest, outcome })
            }
        }
    }
}

impl Elsewhere {
    /// Waits until the chunk is sent.
    ///
    /// `Err(None)` if the sender gave up without an error of its own: its upload was dropped.
    pub(super) async fn wait(mut self) -> Result<(), Option<Arc<RequestError>>> {
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => match &*outcome {
                Some(Err(error)) => Err(Some(Arc::clone(error))),
                _ => Ok(()),
            },
            Err(_) => Err(None),
        }
    }
}

impl Sending {
    /// Tells everybody how it ended and returns the error for the caller's own use.
    pub(super) fn ended(self, result: Result<(), RequestError>) -> Result<(), Arc<RequestError>> {
        let result = result.map_err(Arc::new);
        if result.is_ok() {
            let mut states = self.known.states.lock().unwrap_or_else(PoisonError::into_inner);
            states.insert(self.digest, State::Stored);
        }
        self.outcome.send_replace(Some(result.clone()));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Call;

    fn ours(known: &Arc<KnownChunks>, digest: Digest) -> Sending {
        match known.claim(digest) {
            Claim::Ours(sending) => sending,
            other => panic!("{other:?}"),
        }
    }

    fn elsewhere(known: &Arc<KnownChunks>, digest: Digest) -> Elsewhere {
        match known.claim(digest) {
            Claim::Elsewhere(elsewhere) => elsewhere,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_first_claims_and_the_others_wait_for_it() {
        let known = Arc::new(KnownChunks::default());
        let digest = Digest::of(b"a");
        let sending = ours(&known, digest);
        let waiting = elsewhere(&known, digest);
        sending.ended(Ok(())).unwrap();
        waiting.wait().await.unwrap();
        assert!(matches!(known.claim(digest), Claim::Stored));
    }

    #[tokio::test]
    async fn a_failure_reaches_everybody() {
        let known = Arc::new(KnownChunks::default());
        let digest = Digest::of(b"a");
        let sending = ours(&known, digest);
        let waiting = elsewhere(&known, digest);
        let call = Call::new(http::Method::POST, "/fixed_chunk");
        sending.ended(Err(RequestError::answer(call, "no"))).unwrap_err();
        assert!(waiting.wait().await.unwrap_err().is_some());
    }

    #[tokio::test]
    async fn a_dropped_duty_is_a_failure() {
        let known = Arc::new(KnownChunks::default());
        let digest = Digest::of(b"a");
        let sending = ours(&known, digest);
        let waiting = elsewhere(&known, digest);
        drop(sending);
        assert!(waiting.wait().await.unwrap_err().is_none());
    }

    #[test]
    fn chunks_of_the_previous_snapshot_are_stored() {
        let known = Arc::new(KnownChunks::default());
        known.extend([Digest::of(b"a"), Digest::of(b"a")].into_iter());
        assert!(matches!(known.claim(Digest::of(b"a")), Claim::Stored));
        assert!(matches!(known.claim(Digest::of(b"b")), Claim::Ours(_)));
    }
}
