//! Chunks on their way: snapshots that are got ready at the same time fetch what more than one of them needs only once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use coldkeep_chunk_store::Digest;
use tokio::sync::watch;

/// The chunks on their way, each with what turns true when it is stored; clones stand for the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Coming {
    chunks: Arc<Mutex<HashMap<Digest, watch::Receiver<bool>>>>,
}

/// Who fetches a chunk.
pub(super) enum Come {
    /// Whoever asked.
    Fetch(Arrival),
    /// Somebody who asked before.
    Wait(Expected),
}

/// A chunk that is being fetched; whoever waits for it hears when it is stored, or when this is dropped before.
pub(super) struct Arrival {
    digest: Digest,
    stored: watch::Sender<bool>,
    coming: Coming,
}

/// A chunk that somebody else fetches.
pub(super) struct Expected(watch::Receiver<bool>);

impl Coming {
    /// Tells who fetches a chunk that the copy does not hold.
    pub(super) fn ask(&self, digest: Digest) -> Come {
        match self.chunks.lock().unwrap_or_else(PoisonError::into_inner).entry(digest) {
            Entry::Occupied(coming) => Come::Wait(Expected(coming.get().clone())),
            Entry::Vacant(vacant) => {
                let (stored, seen) = watch::channel(false);
                vacant.insert(seen);
                Come::Fetch(Arrival { digest, stored, coming: self.clone() })
            }
        }
    }
}

impl Arrival {
    /// Tells those who wait that the copy holds the chunk.
    pub(super) fn stored(self) {
        self.stored.send_replace(true);
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        // From here on the copy holds it, or the next one who asks fetches it.
        self.coming.chunks.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

impl Expected {
    /// Waits for the chunk; `false` if whoever fetched it gave up.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn arrives(mut self) -> bool {
        self.0.wait_for(|stored| *stored).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn fetch(coming: &Coming) -> Arrival {
        match coming.ask(Digest::of(b"x")) {
            Come::Fetch(arrival) => arrival,
            Come::Wait(_) => panic!("somebody else fetches it"),
        }
    }

    fn wait(coming: &Coming) -> Expected {
        match coming.ask(Digest::of(b"x")) {
            Come::Wait(expected) => expected,
            Come::Fetch(_) => panic!("nobody fetches it"),
        }
    }

    /// Goal: who needs a chunk that another one fetches does not go on before it is stored.
    #[test]
    fn a_chunk_on_its_way_is_waited_for() {
        let coming = Coming::default();
        let arrival = fetch(&coming);
        let mut waits = [wait(&coming), wait(&coming)].map(|expected| Box::pin(expected.arrives()));
        assert!(waits.iter_mut().all(|waits| waits.as_mut().now_or_never().is_none()));
        arrival.stored();
        assert_eq!(waits.map(FutureExt::now_or_never), [Some(true); 2]);
        assert!(coming.chunks.lock().unwrap().is_empty());
    }

    #[test]
    fn a_chunk_that_is_given_up_is_fetched_by_who_waits() {
        let coming = Coming::default();
        let arrival = fetch(&coming);
        let waits = wait(&coming).arrives();
        drop(arrival);
        assert_eq!(waits.now_or_never(), Some(false));
        fetch(&coming);
    }
}
