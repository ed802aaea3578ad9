//! Garbage collection of a datastore as a task: what it reads, what it tells, and what it leaves behind.

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod log;
mod references;
mod status;

use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::AnyStore;
use coldkeep_datastore::{Datastore, NoMoves, ReferenceError, TreeError};
use coldkeep_gc::{CollectError, Control, End, Options, Report, StoreSweepError, SweepTarget, collect_into};
use futures_util::FutureExt as _;
pub(crate) use history::{PastRun, read as history};
use log::Watch;
pub use references::StoreReferences;
use serde_json::Value;
pub(crate) use status::stored_status;
use status::{GcStatus, StatusFile};

use crate::api::chain;
use crate::tasks::TaskHandle;

/// How often progress is looked at.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Why a collection failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectTaskError {
    #[error(transparent)]
    Collect(#[from] CollectError<StoreSweepError, ReferenceError>),
    #[error("stopped by request; what was removed until then was garbage")]
    Stopped,
    #[error("could not save the result")]
    Save(#[from] coldkeep_chunk_store::dir::DirError),
    #[error("could not save how much is stored")]
    Usage(#[source] TreeError),
}

/// Collects the garbage of a datastore; the result is logged and stored, and so is how a failed run ended.
pub(crate) async fn run(
    store: &Arc<Datastore>,
    options: &Options,
    task: &TaskHandle,
) -> Result<(), CollectTaskError> {
    let mode = if options.dry_run { " (dry run)" } else { "" };
    task.log(format!("starting garbage collection{mode} on store {}", store.name()));
    // R16: from before the mark lists the first index.
    let Some(_no_moves) = pause_moves(store, task).await else { return Err(CollectTaskError::Stopped) };
    let upid = task.upid().to_string();
    let begun = PastRun::begun(upid.clone(), store.chunks().now(), options.dry_run);
    if let Err(error) = history::add(store, &begun).await {
        // A disk without space is a reason to collect.
        task.log(format!("cannot note that the run begins: {}", chain(&error)));
    }
    let used_before = used(store).await;
    let mut report = Report::default();
    let collected = match store.chunks() {
        AnyStore::Folder(chunks) => drive(&**chunks, store, (options, &mut report), task).await,
        AnyStore::Bucket(chunks) => drive(&**chunks, store, (options, &mut report), task).await,
    };
    let has_begun = report.started_at != 0;
    if has_begun {
        log::log_report(&report, task);
    }
    let state = match &collected {
        Ok(()) if report.end == End::Cancelled => "stopped".to_owned(),
        // As the task itself ends: stock clients take warnings for an end as good as any.
        Ok(()) => task.status_if_done(),
        Err(error) => chain(error),
    };
    // What a run that failed did until then is counted, too.
    let counted = if has_begun { serde_json::to_value(&report).unwrap_or_default() } else { Value::Null };
    let past = PastRun {
        upid: upid.clone(),
        ended_at: store.chunks().now().unix_seconds(),
        state,
        dry_run: options.dry_run,
        report: counted,
    };
    let remembered = history::add(store, &past).await;
    collected?;
    if report.end == End::Cancelled {
        return Err(CollectTaskError::Stopped);
    }
    remembered?;
    if !report.dry_run {
        let status = GcStatus::of(&report, upid);
        status::save(store, &StatusFile { status, report: past.report }).await?;
        let stored_meanwhile = used(store).await.saturating_sub(used_before);
        note_usage(store, &report, stored_meanwhile).await?;
    }
    Ok(())
}

/// Waits for the end of moves; none if the task is to stop before.
async fn pause_moves(store: &Arc<Datastore>, task: &TaskHandle) -> Option<NoMoves> {
    let mut paused = std::pin::pin!(store.pause_moves());
    if let Some(no_moves) = paused.as_mut().now_or_never() {
        return Some(no_moves);
    }
    task.log("waiting for a move to end");
    tokio::select! {
        no_moves = paused => Some(no_moves),
        () = task.cancelled() => None,
    }
}

/// Runs the collection, tells of its progress, and cancels it if the task is to stop.
async fn drive<T: SweepTarget<Error = StoreSweepError>>(
    target: &T,
    store: &Arc<Datastore>,
    (options, report): (&Options, &mut Report),
    task: &TaskHandle,
) -> Result<(), CollectError<StoreSweepError, ReferenceError>> {
    let control = Control::new();
    let references = StoreReferences::new(Arc::clone(store));
    let mut collection = std::pin::pin!(collect_into(report, (target, &references), options, &control));
    let mut watch = Watch::default();
    loop {
        tokio::select! {
            ended = &mut collection => {
                watch.look(control.progress(), task);
                return ended;
            }
            // The run then ends by itself.
            () = task.cancelled(), if !control.is_cancelled() => control.cancel(),
            () = tokio::time::sleep(PROGRESS_INTERVAL) => watch.look(control.progress(), task),
        }
    }
}

/// How much is stored in a bucket, as far as that is known; what a filesystem says does not matter here.
async fn used(store: &Datastore) -> u64 {
    store.usage().await.map_or(0, |usage| usage.used)
}

/// A bucket does not tell how full it is: what the collection listed and left counts from now on, and what was stored
/// meanwhile. Some of that was listed, too; the next collection knows better.
async fn note_usage(
    store: &Datastore,
    report: &Report,
    stored_meanwhile: u64,
) -> Result<(), CollectTaskError> {
    if store.chunks().as_bucket().is_none() {
        return Ok(());
    }
    let left = [report.kept, report.pending, report.in_limbo, report.failed, report.bad_kept];
    let bytes = left.iter().fold(stored_meanwhile, |sum, tally| sum.saturating_add(tally.bytes));
    store.set_stored_bytes(bytes).await.map_err(CollectTaskError::Usage)
}
