//! Starts jobs when they are due.

use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::StoreTime;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::decide::{Known, MINUTE, decide, next_retry};
use super::run;
use crate::Server;
use crate::api::chain;

/// Starts jobs when they are due, until `stop`. Looks at every full minute, and when something has ended or changed.
///
/// # Cancel safety
/// Dropping the future starts nothing more; what runs goes on.
pub(crate) async fn run(server: &Arc<Server>, stop: &CancellationToken) {
    run::note_cut_short(server).await;
    let zone = TimeZone::system();
    while !stop.is_cancelled() {
        let (pause, started_all) = start_due(server, &zone).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = server.clock().sleep(pause) => {}
            // A start that failed has freed what it took: who woke of that would try again at once, and again.
            () = server.occupancy().freed(), if started_all => {}
            () = server.jobs().changed(), if started_all => {}
        }
    }
}

/// Starts what is due; returns how long to wait for more, and whether all of it was started.
async fn start_due(server: &Arc<Server>, zone: &TimeZone) -> (Duration, bool) {
    let jobs = server.jobs().known();
    let (running, occupied) = (server.jobs().running(), server.occupancy().stores());
    let known = Known {
        jobs: &jobs,
        running: &running,
        occupied: &occupied,
        at_once: server.limits().jobs_at_once,
        now: server.clock().wall().unix_seconds(),
        zone,
    };
    let mut started_all = true;
    for start in decide(&known) {
        let id = start.job.id.clone();
        if let Err(error) = run::start(server, start.job, start.cause).await {
            // Too many tasks, or the server ends: it is still due the next time.
            started_all = false;
            tracing::warn!(job = %id, error = %chain(&error), "cannot start a job that is due");
        }
    }
    // Later than it was: starting takes a moment.
    (pause(server.clock().wall(), next_retry(&known)), started_all)
}

/// Returns the time until the next full minute, or the next retry if that comes before.
fn pause(now: StoreTime, next_retry: Option<i64>) -> Duration {
    let seconds = now.unix_seconds();
    let minute = seconds - seconds.rem_euclid(MINUTE) + MINUTE;
    let until = next_retry.map_or(minute, |retry| retry.min(minute));
    StoreTime::from_unix(until, 0).since(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_wakes_at_full_minutes_and_for_retries() {
        let now = StoreTime::from_unix(1_700_000_000, 500_000_000);
        // That is at 22:13:20.
        assert_eq!(pause(now, None), Duration::from_millis(39_500));
        assert_eq!(pause(now, Some(1_700_000_010)), Duration::from_millis(9_500));
        assert_eq!(pause(now, Some(1_700_000_100)), Duration::from_millis(39_500));
        let full = StoreTime::from_unix(1_700_000_040, 0);
        assert_eq!(pause(full, None), Duration::from_mins(1));
    }
}
