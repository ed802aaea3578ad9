//! Removing a snapshot: its manifest first, then the rest.

use super::Context;
use super::place::Place;

/// Removes the snapshot of this number among the committed ones.
pub(crate) async fn prune(context: Context, number: usize) {
    let Some((path, _)) = context.ledger.pick(number) else { return };
    match remove(&context, &path).await {
        Ok(()) => context.note(|| format!("{path} is removed")),
        Err(error) => context.note(|| format!("{path} is not removed: {error}")),
    }
}

async fn remove(context: &Context, path: &str) -> Result<(), String> {
    let place = Place::of_old(context, path).await?;
    context.note(|| format!("{path} is given up"));
    // From here on nobody may rely on it.
    context.ledger.forget(path);
    let removed = place.remove(path).await;
    place.release().await;
    removed
}
