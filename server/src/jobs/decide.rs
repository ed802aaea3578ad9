//! Which jobs are to be started now (spec `calendar.md` §1.4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coldkeep_client::JobId;
use coldkeep_datastore::StoreName;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Job, JobState};

/// The schedule is looked at as of full minutes, in seconds.
pub(super) const MINUTE: i64 = 60;
/// A job without a state counts as one that ran so long ago, in seconds: it does not fire at once.
const NO_STATE_SECONDS: i64 = 30;

/// Everything that matters for the decision.
pub(crate) struct Known<'a> {
    /// The jobs, each with what became of it.
    pub(crate) jobs: &'a [(Arc<Job>, JobState)],
    /// The jobs that run, with their datastores.
    pub(crate) running: &'a BTreeMap<JobId, StoreName>,
    /// The datastores that something else is being done on.
    pub(crate) occupied: &'a BTreeSet<StoreName>,
    /// How many jobs run at a time in the whole server.
    pub(crate) at_once: usize,
    /// The time, in Unix seconds.
    pub(crate) now: i64,
    /// The server's zone.
    pub(crate) zone: &'a TimeZone,
}

/// Why a job is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its schedule.
    Schedule,
    /// It failed before.
    Retry,
    /// Somebody wants it.
    Hand,
}

/// A job to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) job: Arc<Job>,
    pub(crate) cause: Cause,
}

/// A job that waits.
struct Waiting<'a> {
    job: &'a Arc<Job>,
    cause: Cause,
    /// Since when, in Unix seconds.
    since: i64,
    /// When it last began, in Unix seconds.
    began: Option<i64>,
}

/// Decides which jobs are started now, in this order.
pub(crate) fn decide(known: &Known<'_>) -> Vec<Start> {
    let mut stores: BTreeMap<&StoreName, Vec<Waiting<'_>>> = BTreeMap::new();
    for waiting in known.jobs.iter().filter_map(|(job, state)| waiting(job, state, known)) {
        stores.entry(&waiting.job.store).or_default().push(waiting);
    }
    let is_busy = |store: &StoreName| {
        known.occupied.contains(store) || known.running.values().any(|running| running == store)
    };
    let free = stores.into_iter().filter(|(store, _)| !is_busy(store));
    let mut firsts: Vec<(i64, Waiting<'_>)> = free.filter_map(|(_, waiting)| first(waiting)).collect();
    firsts.sort_by_cached_key(|(since, one)| (*since, one.job.kind, one.job.id.clone()));
    let room = known.at_once.saturating_sub(known.running.len());
    let starts = firsts.into_iter().take(room);
    starts.map(|(_, one)| Start { job: Arc::clone(one.job), cause: one.cause }).collect()
}

/// Returns whose turn it is in a store, and since when somebody waits there.
///
/// Who began while another one was waiting comes after it. Whoever began before all others did not: they were due later. So there
/// is always one that did not, and nobody waits for more than one run of each other.
fn first(waiting: Vec<Waiting<'_>>) -> Option<(i64, Waiting<'_>)> {
    let sinces: Vec<(JobId, i64)> = waiting.iter().map(|one| (one.job.id.clone(), one.since)).collect();
    let went_ahead = |one: &Waiting<'_>| {
        one.began.is_some_and(|began| sinces.iter().any(|(id, since)| *id != one.job.id && *since <= began))
    };
    let since = sinces.iter().map(|(_, since)| *since).min()?;
    let first =
        waiting.into_iter().min_by_key(|one| (went_ahead(one), one.job.kind, one.since, one.job.id.clone()));
    Some((since, first?))
}

/// Returns when a job that failed is next tried again, in Unix seconds.
pub(super) fn next_retry(known: &Known<'_>) -> Option<i64> {
    let retries = known.jobs.iter().filter(|(job, _)| job.enabled && !known.running.contains_key(&job.id));
    retries.filter_map(|(_, state)| state.retry_at).filter(|at| *at > known.now).min()
}

/// Returns when a job runs next by its schedule, in Unix seconds, as it is shown: counted from the end of the last run, or from the
/// time when the job was added or its schedule changed. A time that has passed means that it waits.
pub(crate) fn next_run(job: &Job, state: &JobState, now: i64, zone: &TimeZone) -> Option<i64> {
    let ended = state.last.as_ref().map(|last| last.ended.as_ref().map_or(now, |end| end.endtime));
    next_after(job, ended.max(state.changed_at).unwrap_or(now), zone)
}

fn waiting<'a>(job: &'a Arc<Job>, state: &JobState, known: &Known<'_>) -> Option<Waiting<'a>> {
    if !job.enabled || known.running.contains_key(&job.id) {
        return None;
    }
    let began = state.last.as_ref().map(super::state::LastRun::started_at);
    let last = began.max(state.changed_at);
    // After the clock was set back, nothing would run until it has caught up.
    let last = last.filter(|last| *last <= known.now).unwrap_or(known.now - NO_STATE_SECONDS);
    let minute = known.now - known.now.rem_euclid(MINUTE);
    let scheduled = next_after(job, last, known.zone).filter(|at| *at <= minute);
    let retry = state.retry_at.filter(|at| *at <= known.now);
    let since = scheduled.into_iter().chain(retry).min()?;
    let cause = if scheduled.is_some() { Cause::Schedule } else { Cause::Retry };
    Some(Waiting { job, cause, since, began })
}

fn next_after(job: &Job, after: i64, zone: &TimeZone) -> Option<i64> {
    let schedule = job.schedule.as_ref().filter(|_| job.enabled)?;
    Some(schedule.next_after(Timestamp::from_second(after).ok()?, zone)?.as_second())
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
