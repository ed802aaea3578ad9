//! Missing chunks: what an index refers to and the sweep did not find.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use coldkeep_chunk_store::{Digest, DigestSet};
use futures_util::StreamExt as _;
use futures_util::stream;

use crate::control::{Control, Phase};
use crate::mark::read_one;
use crate::references::{Purpose, References};
use crate::report::{BrokenIndex, Missing, Report};
use crate::target::SweepTarget;

/// Most missing chunks that a report names.
pub const MISSING_SAMPLE_MAX: usize = 1000;

/// Most broken indexes that a report names.
pub const BROKEN_INDEXES_MAX: usize = 1000;

/// Passes over the indexes: a further one is made when a second look found chunks that the sweep had overlooked.
const PASSES_MAX: usize = 3;

/// Chunks looked for once more at once.
const LOOKS: usize = 16;

/// Why a cancelled audit is not complete.
const CANCELLED: &str = "the run was cancelled before all missing chunks were looked for once more";

/// What one pass over an index looks for.
#[derive(Debug)]
pub(crate) struct Findings {
    referenced: Arc<DigestSet>,
    sample: Arc<Mutex<BTreeSet<Digest>>>,
    missing_references: AtomicU64,
}

impl Findings {
    /// Counts those of `digests` that are missing, and keeps the lowest of them.
    pub(crate) fn look_at(&self, digests: &[Digest]) {
        for digest in digests.iter().filter(|digest| self.referenced.is_unvisited(digest)) {
            self.missing_references.fetch_add(1, Ordering::Relaxed);
            let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
            sample.insert(*digest);
            if sample.len() > MISSING_SAMPLE_MAX {
                sample.pop_last();
            }
        }
    }
}

/// What one pass over all indexes found.
#[derive(Debug, Default)]
struct Pass {
    sample: BTreeSet<Digest>,
    broken: Vec<BrokenIndex>,
    unread: u64,
    failure: Option<String>,
}

/// Names the digests of `referenced` that were not visited, and the indexes that refer to them.
///
/// Nothing is removed any more, so what cannot be read or listed now is told in the report and is no error. A directory
/// listing may overlook a file that is replaced while it is read; so each chunk of the sample is looked for once more.
pub(crate) async fn find_missing<T: SweepTarget, R: References>(
    (target, references): (&T, &R),
    (mut referenced, parallel): (DigestSet, usize),
    control: &Control,
    report: &mut Report,
) {
    if referenced.unvisited() == 0 {
        return;
    }
    let started = target.monotonic();
    let mut pass = Pass::default();
    for _ in 0..PASSES_MAX {
        let shared = Arc::new(referenced);
        pass = look_through((target, references), (&shared, parallel), control).await;
        let there = confirm(target, control, &mut pass).await;
        referenced = Arc::try_unwrap(shared).unwrap_or_else(|shared| DigestSet::clone(&shared));
        if there.is_empty() || control.is_cancelled() {
            break;
        }
        for digest in &there {
            referenced.visit(digest);
        }
    }
    if control.is_cancelled() {
        pass.failure = Some(CANCELLED.to_owned());
    }
    // Below the bound the sample is complete, and does without digests whose snapshot was removed after the mark.
    let complete = pass.sample.len() < MISSING_SAMPLE_MAX && pass.unread == 0 && pass.failure.is_none();
    let chunks = if complete { pass.sample.len() as u64 } else { referenced.unvisited() };
    pass.broken.sort_unstable_by(|a, b| a.index.cmp(&b.index));
    let unnamed = pass.broken.len().saturating_sub(BROKEN_INDEXES_MAX) as u64;
    pass.broken.truncate(BROKEN_INDEXES_MAX);
    report.missing = Missing {
        chunks,
        sample: pass.sample.into_iter().collect(),
        broken_indexes: pass.broken,
        broken_indexes_unnamed: unnamed,
        unread_indexes: pass.unread,
        failure: pass.failure,
    };
    report.note_find_missing(target.monotonic().saturating_sub(started));
}

async fn look_through<T: SweepTarget, R: References>(
    (target, references): (&T, &R),
    (referenced, parallel): (&Arc<DigestSet>, usize),
    control: &Control,
) -> Pass {
    let mut pass = Pass::default();
    let indexes = match control.unless_cancelled(references.list()).await {
        Some(Ok(indexes)) => indexes,
        Some(Err(error)) => {
            pass.failure = Some(error.to_string());
            Vec::new()
        }
        None => Vec::new(),
    };
    control.begin_phase(Phase::FindMissing, indexes.len() as u64, target.monotonic());
    let sample = Arc::new(Mutex::new(BTreeSet::new()));
    let mut reads = stream::iter(indexes)
        .map(|index| {
            let findings = Arc::new(Findings {
                referenced: referenced.clone(),
                sample: sample.clone(),
                missing_references: AtomicU64::new(0),
            });
            async move {
                if control.is_cancelled() {
                    return (findings, Ok(None));
                }
                let purpose = Purpose::FindMissing(findings.clone());
                (findings, read_one::<T::Error, R>(references, index, purpose, control).await)
            }
        })
        .buffer_unordered(parallel);
    while let Some(Some((findings, outcome))) = control.unless_cancelled(reads.next()).await {
        control.note_done(target.monotonic());
        let missing_references = findings.missing_references.load(Ordering::Relaxed);
        match outcome {
            Ok(Some((index, _))) if missing_references > 0 => {
                pass.broken.push(BrokenIndex { index: index.to_string(), missing_references });
            }
            Ok(_) => {}
            Err(_) => pass.unread += 1,
        }
    }
    drop(reads);
    pass.sample = std::mem::take(&mut *sample.lock().unwrap_or_else(PoisonError::into_inner));
    pass
}

/// Takes those digests out of the sample whose chunk is there after all, and returns them.
async fn confirm<T: SweepTarget>(target: &T, control: &Control, pass: &mut Pass) -> BTreeSet<Digest> {
    let mut there = BTreeSet::new();
    let mut looks = stream::iter(pass.sample.clone())
        .map(|digest| async move { (digest, target.is_stored(&digest).await) })
        .buffer_unordered(LOOKS);
    while let Some(Some((digest, look))) = control.unless_cancelled(looks.next()).await {
        match look {
            Ok(true) => {
                there.insert(digest);
            }
            Ok(false) => {}
            Err(error) => {
                pass.failure = Some(error.to_string());
                break;
            }
        }
    }
    drop(looks);
    pass.sample.retain(|digest| !there.contains(digest));
    there
}
