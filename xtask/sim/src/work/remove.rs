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
    // R19: whoever has lost the bucket by now refuses, so that the snapshot stays what it was. With whoever has it, nobody may
    // rely on it from here on, whatever the answer is and whenever it comes.
    let is_owner = context.is_owner();
    if is_owner {
        context.note(|| format!("{path} is given up"));
        context.ledger.forget(path);
    }
    let removed = place.remove(path).await;
    if removed.is_ok() && !is_owner {
        context
            .ledger
            .report(format!("R19: {} removes {path} although it has lost the bucket", context.process));
    }
    place.release().await;
    removed
}
