//! Mark: every reference of every index into one set.

use std::future::poll_fn;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;

use coldkeep_chunk_store::switch::is_off;
use coldkeep_chunk_store::{DigestSet, DigestSetBuilder};
use futures_util::StreamExt as _;
use futures_util::stream;

use crate::collect::CollectError;
use crate::control::{Control, Phase};
use crate::references::{Marking, Outcome, Purpose, References, Sink};
use crate::report::Report;
use crate::target::SweepTarget;

/// Times that an index may vanish while it is read and be listed again, before the run gives up.
const READ_ROUNDS_MAX: usize = 3;

/// Reads all indexes, `parallel` at once; `None` if the run was cancelled.
///
/// Returns a set only if each listed index was read to its end or is gone from a fresh listing (I6).
pub(crate) async fn mark<T: SweepTarget, R: References>(
    (target, references): (&T, &R),
    (set, parallel): (DigestSetBuilder, usize),
    control: &Control,
    report: &mut Report,
) -> Result<Option<DigestSet>, CollectError<T::Error, R::Error>> {
    let started = target.monotonic();
    let marked = mark_all((target, references), (set, parallel), control, report).await;
    report.note_mark(target.monotonic().saturating_sub(started));
    marked
}

async fn mark_all<T: SweepTarget, R: References>(
    (target, references): (&T, &R),
    (set, parallel): (DigestSetBuilder, usize),
    control: &Control,
    report: &mut Report,
) -> Result<Option<DigestSet>, CollectError<T::Error, R::Error>> {
    let marking: Marking = Arc::new(RwLock::new(Some(set)));
    let _end = EndOfMark(&marking);
    let started = target.monotonic();
    let Some(mut indexes) = list(references, control).await? else { return Ok(None) };
    let unexpected = indexes.iter().filter(|index| references.is_unexpected(index));
    report.note_unexpected(unexpected.map(ToString::to_string).collect());
    control.begin_phase(Phase::Mark, indexes.len() as u64, started);
    for round in 1.. {
        let mut vanished =
            read_all(references, &marking, (indexes, parallel), control, &mut |count, bytes| {
                control.note_done(target.monotonic());
                report.indexes += 1;
                report.references += count;
                // A damaged index may state anything.
                report.index_data_bytes = report.index_data_bytes.saturating_add(bytes);
            })
            .await?;
        if control.is_cancelled() {
            return Ok(None);
        }
        if vanished.is_empty() {
            break;
        }
        // I6: an index that vanished is no error if it is gone from a fresh listing. One that is listed is read again:
        // it may belong to a new snapshot of the same name.
        let Some(mut listed) = list(references, control).await? else { return Ok(None) };
        listed.sort_unstable();
        let before = vanished.len();
        let as_listed_now = |index: &R::Index| Some(listed[listed.binary_search(index).ok()?].clone());
        vanished = vanished.iter().filter_map(as_listed_now).collect();
        report.vanished_indexes += (before - vanished.len()) as u64;
        match vanished.first() {
            None => break,
            Some(_) if is_off("i6") => break,
            Some(index) if round == READ_ROUNDS_MAX => {
                return Err(CollectError::IndexUnstable { index: index.to_string() });
            }
            Some(_) => indexes = vanished,
        }
    }
    let set = marking.write().unwrap_or_else(PoisonError::into_inner).take();
    let mut set = set.expect("invariant: only this function takes the set, here and at its end");
    while set.settle_some() {
        yield_now().await;
    }
    let set = set.finish();
    report.distinct_chunks = set.len();
    report.set_memory_bytes = set.memory_bytes();
    Ok(Some(set))
}

/// Takes the set away, so that threads that still read stop with their next push, however the mark ended.
struct EndOfMark<'a>(&'a Marking);

impl Drop for EndOfMark<'_> {
    fn drop(&mut self) {
        let set = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        // Freed when no reader waits for it any more.
        drop(set);
    }
}

/// Lets other tasks of this thread have their turn.
async fn yield_now() {
    let mut has_yielded = false;
    let turn = poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    });
    turn.await;
}

/// Lists the indexes; `None` if the run was cancelled, whatever came of the listing then.
async fn list<E, R: References>(
    references: &R,
    control: &Control,
) -> Result<Option<Vec<R::Index>>, CollectError<E, R::Error>> {
    match control.unless_cancelled(references.list()).await {
        None => Ok(None),
        Some(Err(_)) if control.is_cancelled() => Ok(None),
        Some(Err(_)) if is_off("i6") => Ok(Some(Vec::new())),
        Some(listed) => listed.map(Some).map_err(CollectError::ListIndexes),
    }
}

/// Reads `indexes`, reports references and data bytes of each to `read`, and returns those that vanished. What it returns
/// means nothing if the run was cancelled.
async fn read_all<E, R: References>(
    references: &R,
    marking: &Marking,
    (indexes, parallel): (Vec<R::Index>, usize),
    control: &Control,
    read: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Vec<R::Index>, CollectError<E, R::Error>> {
    let mut reads = stream::iter(indexes)
        .map(|index| async move {
            if control.is_cancelled() {
                return Ok(None);
            }
            read_one(references, index, Purpose::Mark(marking.clone()), control).await
        })
        .buffer_unordered(parallel);
    let mut vanished = Vec::new();
    // Requests of a read may go on and on while the backend is away: they are dropped when the run is cancelled.
    while let Some(Some(outcome)) = control.unless_cancelled(reads.next()).await {
        match outcome {
            Ok(Some((_, Outcome::Read { references, data_bytes }))) => read(references, data_bytes),
            Ok(Some((index, Outcome::Gone))) => vanished.push(index),
            // Cancelled.
            Ok(None) => {}
            Err(_) if is_off("i6") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(vanished)
}

/// Reads one index and checks that all of it came through; `None` if the run was cancelled meanwhile.
pub(crate) async fn read_one<E, R: References>(
    references: &R,
    index: R::Index,
    purpose: Purpose,
    control: &Control,
) -> Result<Option<(R::Index, Outcome)>, CollectError<E, R::Error>> {
    let (sink, passed) = Sink::new(purpose, control);
    let outcome = references.read(&index, sink).await;
    if control.is_cancelled() {
        return Ok(None);
    }
    let outcome = outcome.map_err(|source| CollectError::ReadIndex { index: index.to_string(), source })?;
    if let Outcome::Read { references: stated, .. } = outcome
        && stated != passed.count()
    {
        return Err(CollectError::IndexCut { index: index.to_string(), stated, read: passed.count() });
    }
    Ok(Some((index, outcome)))
}
