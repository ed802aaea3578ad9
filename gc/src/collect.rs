//! One run, from cutoff to report.

use coldkeep_chunk_store::DigestSetBuilder;

use crate::control::{Control, Phase};
use crate::mark::mark;
use crate::missing::find_missing;
use crate::options::Options;
use crate::references::References;
use crate::report::{End, Report, Tally};
use crate::sweep::Sweep;
use crate::target::SweepTarget;

/// Why a run ended without a report. `T` is the error of the store, `R` that of the references.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError<T, R> {
    /// The run did not begin: another one is under way, or the store cannot tell when chunks were used.
    #[error("could not begin the collection")]
    Begin(#[source] T),
    /// Some indexes may be unknown (I6).
    #[error("could not list all indexes, so nothing was removed; repair the cause and collect again")]
    ListIndexes(#[source] R),
    /// The chunks of an index are not known (I6).
    #[error(
        "could not read index {index}, so nothing was removed; repair it or forget its snapshot, then collect again"
    )]
    ReadIndex {
        /// The index.
        index: String,
        /// The cause.
        #[source]
        source: R,
    },
    /// The reader of an index passed on another number of digests than the index states (I6).
    #[error(
        "index {index} states {stated} references, {read} came through, so nothing was removed; repair it or forget its snapshot, then collect again"
    )]
    IndexCut {
        /// The index.
        index: String,
        /// References that it states to hold.
        stated: u64,
        /// References that came through.
        read: u64,
    },
    /// An index is listed, but was gone each time it was to be read (I6).
    #[error("index {index} is listed but cannot be found, so nothing was removed; collect again")]
    IndexUnstable {
        /// The index.
        index: String,
    },
    /// Listing or removing failed; what was removed until then was garbage.
    #[error("could not sweep the whole store; {count} chunks were removed before; repair the cause and collect again", count = removed.count)]
    Sweep {
        /// Chunks removed before.
        removed: Tally,
        /// The cause.
        #[source]
        source: T,
    },
}

/// Collects: marks what `references` name, then removes from `target` what is neither marked nor recently used.
///
/// A run that is cancelled through `control` ends soon, whatever it waits for, and its report says [`End::Cancelled`]: also
/// if a request failed meanwhile. One that is cancelled before it began reports no times.
///
/// # Errors
/// - [`CollectError::Begin`]: nothing was done.
/// - [`CollectError::ListIndexes`], [`CollectError::ReadIndex`], [`CollectError::IndexCut`],
///   [`CollectError::IndexUnstable`]: nothing was removed (I6); the message says what to do.
/// - [`CollectError::Sweep`]: what was removed was garbage; collecting again goes on.
///
/// # Cancel safety
/// Dropping the future at any point loses no chunk in use: each removal stands on its own, after a complete mark.
pub async fn collect<T: SweepTarget, R: References>(
    target: &T,
    references: &R,
    options: &Options,
    control: &Control,
) -> Result<Report, CollectError<T::Error, R::Error>> {
    let mut report = Report::default();
    collect_into(&mut report, (target, references), options, control).await?;
    Ok(report)
}

/// Does what [`collect`] does, and puts what it counts into `report`, whatever it held: so what a run that failed did until
/// then is known, too. Its end is [`End::Failed`] then, and its times are 0 if the run did not begin.
///
/// # Errors
/// As [`collect`].
///
/// # Cancel safety
/// As [`collect`]; the report means nothing if the future is dropped.
pub async fn collect_into<T: SweepTarget, R: References>(
    report: &mut Report,
    (target, references): (&T, &R),
    options: &Options,
    control: &Control,
) -> Result<(), CollectError<T::Error, R::Error>> {
    *report = Report::new(options.dry_run);
    let result = collect_phases(report, (target, references), options, control).await;
    if result.is_err() {
        report.end = End::Failed;
    }
    control.begin_phase(Phase::Ended, 0, target.monotonic());
    result
}

async fn collect_phases<T: SweepTarget, R: References>(
    report: &mut Report,
    (target, references): (&T, &R),
    options: &Options,
    control: &Control,
) -> Result<(), CollectError<T::Error, R::Error>> {
    let began = target.monotonic();
    control.begin_phase(Phase::Starting, 0, began);
    // R13: before the first listing of the mark, so that a session that is not yet listed is younger than the cutoff.
    let begin = control.unless_cancelled(target.begin_run(options.grace, options.margin)).await;
    let run = match begin {
        None => return Ok(()),
        Some(Err(_)) if control.is_cancelled() => return Ok(()),
        Some(run) => run.map_err(CollectError::Begin)?,
    };
    let times = T::times(&run);
    report.note_begun(times);
    let parallel = options.mark_parallel.max(1);
    let requests_before = target.requests();
    let tidied = references.tidy(times.cutoff, options.dry_run, control).await;
    report.note_tidied(tidied, target.monotonic().saturating_sub(began));
    let swept = mark_and_sweep((target, references), &run, (options, parallel), control, report).await;
    report.note_requests(&requests_before, target.requests());
    swept
}

async fn mark_and_sweep<T: SweepTarget, R: References>(
    (target, references): (&T, &R),
    run: &T::Run,
    (options, parallel): (&Options, usize),
    control: &Control,
    report: &mut Report,
) -> Result<(), CollectError<T::Error, R::Error>> {
    let times = T::times(run);
    // Whoever chose the digests did so before this instant was known.
    let set = DigestSetBuilder::with_key(times.started_at.unix_nanos().cast_unsigned());
    let Some(mut referenced) = mark((target, references), (set, parallel), control, report).await? else {
        return Ok(());
    };
    let sweep = Sweep { target, run, cutoff: times.cutoff, options, control };
    let swept = sweep.run(&mut referenced, report).await;
    // A request that fails once the run is to end says nothing that anybody asked for.
    if control.is_cancelled() {
        return Ok(());
    }
    swept.map_err(|source| CollectError::Sweep { removed: report.removed, source })?;
    find_missing((target, references), (referenced, parallel), control, report).await;
    if !control.is_cancelled() {
        report.end = End::Completed;
    }
    Ok(())
}
