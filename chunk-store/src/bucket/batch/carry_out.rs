//! Carrying a batch out (R7, R9).

use std::collections::BTreeSet;

use futures_util::StreamExt;

use super::underway::{Sent, Underway};
use super::{Batch, BatchOutcome, Fate};
use crate::backend::{DELETE_KEYS_MAX, ObjectBackend};
use crate::bucket::BucketStore;
use crate::digest::Digest;
use crate::dir::MarkerDir;
use crate::store::StoreError;

/// Most delete requests of a batch that are under way at once: all of a full one.
const PARALLEL_MAX: usize = 8;

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Deletes the chunks of a batch, in R7's order: journal, markers, generation, objects, sync, journal.
    ///
    /// `is_cancelled` is asked before each step that can still be left out: what was not sent is settled then, and what was
    /// sent is waited for.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was sent, or what was sent is in limbo. The run must stop; a later one decides afresh.
    ///
    /// # Cancel safety
    /// Dropping the future settles the batch if nothing was sent, and puts it in limbo otherwise.
    pub async fn carry_out(
        &self,
        batch: Batch,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<BatchOutcome, StoreError> {
        self.check_open()?;
        let all = |fate: Fate| batch.digests().iter().map(|digest| (*digest, fate.clone())).collect();
        if is_cancelled() {
            return Ok(all(Fate::Unsent));
        }
        let mut outcome: BatchOutcome = all(Fate::Rescued);
        let Some(mut underway) = self.enter(batch.digests()) else { return Ok(outcome) };
        let cutoff = batch.cutoff;
        // Its digests are in the journal now.
        drop(batch);
        underway.announce(Some(cutoff)).await?;
        let mut unclear = BTreeSet::new();
        if is_cancelled() || underway.has_expired() {
            outcome.extend(underway.digests().iter().map(|digest| (*digest, Fate::Unsent)));
        } else {
            underway.begin_sending();
            for (digests, sent) in send(&underway, is_cancelled).await {
                if matches!(sent, Sent::Unclear { .. }) {
                    unclear.extend(&digests);
                }
                outcome.extend(fates(digests, sent));
            }
        }
        underway.finish(&unclear).await?;
        Ok(outcome)
    }
}

/// Sends the deletes, several at a time; returns what became of each request.
async fn send<D: MarkerDir, B: ObjectBackend>(
    underway: &Underway<'_, D, B>,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Vec<(Vec<Digest>, Sent)> {
    let digests: Vec<Digest> = underway.digests().iter().copied().collect();
    let requests: Vec<Vec<Digest>> = digests.chunks(DELETE_KEYS_MAX).map(<[Digest]>::to_vec).collect();
    let requests = requests.into_iter().map(|digests| async move {
        let sent = if is_cancelled() || underway.has_expired() {
            Sent::Nothing
        } else {
            underway.delete(&digests).await
        };
        (digests, sent)
    });
    futures_util::stream::iter(requests).buffered(PARALLEL_MAX).collect().await
}

/// Tells the fate of each digest of a request.
fn fates(digests: Vec<Digest>, sent: Sent) -> BatchOutcome {
    let (fate, is_unclear, refused) = match sent {
        Sent::Certain { refused } => (Fate::Deleted, false, refused),
        Sent::Unclear { refused } => (Fate::InLimbo, true, refused),
        Sent::Nothing => (Fate::Unsent, false, Vec::new()),
    };
    let mut fates: BatchOutcome = digests.into_iter().map(|digest| (digest, fate.clone())).collect();
    fates.extend(refused.into_iter().map(|(digest, reason)| (digest, Fate::Refused { reason, is_unclear })));
    fates
}
