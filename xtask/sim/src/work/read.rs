//! Readers and the verifier.

use coldkeep_chunk_store::LoadError;

use super::{Context, chain, read_index};
use crate::chunks::Need;
use crate::ledger::Snapshot;

/// Restores the snapshot of this number among the committed ones.
pub(crate) async fn read_snapshot(context: Context, number: usize) {
    if let Some((path, snapshot)) = context.ledger.pick(number) {
        restore(&context, &path, &snapshot).await;
    }
}

/// Reads a snapshot whole; returns whether that worked. What is missing while the snapshot is committed is a broken promise.
pub(crate) async fn restore(context: &Context, path: &str, snapshot: &Snapshot) -> bool {
    let broken = |what: String| {
        if context.ledger.is_committed(path, snapshot) {
            context.ledger.report(format!("I1: {} cannot restore {path}: {what}", context.process));
        }
        false
    };
    match read_index(context, path).await {
        Ok(Some(numbers)) if numbers.iter().eq(snapshot.needs.iter().map(|need| &need.number)) => {}
        Ok(Some(_)) => return broken("its index is another one".to_owned()),
        Ok(None) => return broken("it has no index".to_owned()),
        Err(error) => {
            context.note(|| format!("the index of {path} cannot be read: {error}"));
            return false;
        }
    }
    for need in &snapshot.needs {
        let number = need.number;
        // It may be stored again while it is read.
        let was_rotten = context.ledger.is_rotten(path, number);
        let loaded = context.store.load(&context.chunks.digest(number)).await;
        let is_excused = was_rotten || context.ledger.is_rotten(path, number);
        match loaded {
            Ok(blob) if context.chunks.is_needed(context.net.excused(&context.chunks, *need), &blob) => {}
            Ok(_) if is_excused => context.note(|| format!("chunk {number} went bad and is a claim by now")),
            Err(error) if is_excused => {
                context.note(|| format!("chunk {number} went bad and is not read: {}", chain(&error)));
            }
            Ok(_) => return broken(format!("chunk {number} has another content")),
            Err(LoadError::Missing { .. }) => return broken(format!("chunk {number} is missing")),
            Err(LoadError::Corrupt { .. }) if !context.net.has_cut() => {
                return broken(format!("chunk {number} is corrupt"));
            }
            Err(error) => {
                context.note(|| format!("chunk {number} cannot be read: {}", chain(&error)));
                return false;
            }
        }
    }
    true
}

/// Reads one chunk, whoever has it.
pub(crate) async fn read_chunk(context: Context, number: usize) {
    match context.store.load(&context.chunks.digest(number)).await {
        Ok(blob) if !context.chunks.is_needed(Need { number, is_honest: false }, &blob) => {
            context.ledger.report(format!("a read of chunk {number} returned another content"));
        }
        Ok(_) => context.note(|| format!("chunk {number} is read")),
        Err(error) => context.note(|| format!("chunk {number} is not read: {}", chain(&error))),
    }
}

/// Looks at a chunk as verification does, and sets it aside if it is corrupt (R15).
pub(crate) async fn verify(context: Context, number: usize) {
    match context.store.quarantine(&context.chunks.digest(number)).await {
        Ok(found) => context.note(|| format!("chunk {number} is verified: {found:?}")),
        Err(error) => context.note(|| format!("chunk {number} is not verified: {}", chain(&error))),
    }
}
