//! Removing a snapshot: its manifest first, then the rest.

use coldkeep_chunk_store::bucket::PathError;

use super::{Context, chain, key};
use crate::ledger::{index_key, manifest_key};

/// Removes the snapshot of this number among the committed ones.
pub(crate) async fn prune(context: Context, number: usize) {
    let Some((path, _)) = context.ledger.pick(number) else { return };
    match remove(&context, &path).await {
        Ok(()) => context.note(|| format!("{path} is removed")),
        Err(error) => context.note(|| format!("{path} is not removed: {}", chain(&error))),
    }
}

async fn remove(context: &Context, path: &str) -> Result<(), PathError> {
    let claim = context.store.claim(path).await?;
    context.note(|| format!("{path} is given up"));
    // From here on nobody may rely on it.
    context.ledger.forget(path);
    let removed = async {
        claim.delete(&[key(&manifest_key(path))]).await?;
        claim.delete(&[key(&index_key(path))]).await
    }
    .await;
    let released = claim.release().await;
    removed.and(released)
}
