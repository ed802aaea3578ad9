use coldkeep_client::{JobKind, JobOptions, NotifyWhen};

use super::*;
use crate::jobs::state::Outcome;
use crate::tasks::{Finished, Upid};

/// A full minute.
const NOW: i64 = 1_700_000_040;

fn job(id: &str, kind: JobKind, schedule: &str) -> Job {
    Job {
        id: id.parse().unwrap(),
        store: "tank".parse().unwrap(),
        kind,
        run_as: "root@pam".parse().unwrap(),
        schedule: (!schedule.is_empty()).then(|| schedule.parse().unwrap()),
        enabled: true,
        retries: 0,
        retry_wait: 60,
        notify_url: None,
        notify: NotifyWhen::Never,
        notify_secret: None,
        comment: None,
        options: JobOptions::default(),
    }
}

fn upid(started_at: i64) -> Upid {
    format!("UPID:n:00000001:00000002:00000003:{started_at:08X}:prunejob:tank:root@pam:").parse().unwrap()
}

fn changed_at(at: i64) -> JobState {
    JobState { changed_at: Some(at), ..JobState::default() }
}

fn ran_at(at: i64) -> JobState {
    let mut state = changed_at(at - 1000);
    state.begin(upid(at), false);
    state
}

/// What goes on beside the jobs that wait.
struct Amid {
    running: BTreeMap<JobId, StoreName>,
    occupied: BTreeSet<StoreName>,
    at_once: usize,
}

impl Amid {
    /// Nothing.
    fn nothing() -> Self {
        Self { running: BTreeMap::new(), occupied: BTreeSet::new(), at_once: 4 }
    }

    fn running(id: &str, store: &str) -> Self {
        Self { running: [(id.parse().unwrap(), store.parse().unwrap())].into(), ..Self::nothing() }
    }
}

/// What starts of these jobs, by id, with the reason.
fn starts(jobs: &[(Job, JobState)], now: i64, amid: &Amid) -> Vec<(String, Cause)> {
    let jobs: Vec<_> = jobs.iter().map(|(job, state)| (Arc::new(job.clone()), state.clone())).collect();
    let Amid { running, occupied, at_once } = amid;
    let (at_once, zone) = (*at_once, &TimeZone::UTC);
    let known = Known { jobs: &jobs, running, occupied, at_once, now, zone };
    decide(&known).into_iter().map(|start| (start.job.id.to_string(), start.cause)).collect()
}

fn starts_alone(job: &Job, state: &JobState, now: i64) -> Option<Cause> {
    starts(&[(job.clone(), state.clone())], now, &Amid::nothing()).pop().map(|(_, cause)| cause)
}

#[test]
fn a_job_starts_when_an_event_has_come_since_it_last_began() {
    let hourly = job("hourly", JobKind::Gc, "hourly");
    let hour = NOW - NOW.rem_euclid(3600);
    for (state, now, expected) in [
        // Added within the hour, an hour before, ran at the last full hour, long ago.
        (changed_at(hour + 1), NOW, None),
        (changed_at(hour), NOW, None),
        (changed_at(hour - 1), NOW, Some(Cause::Schedule)),
        (ran_at(hour), NOW, None),
        (ran_at(hour - 3600), NOW, Some(Cause::Schedule)),
        (ran_at(hour - 360_000), NOW, Some(Cause::Schedule)),
        // Changed after the last run: what it missed before does not count.
        (JobState { changed_at: Some(hour + 5), ..ran_at(hour - 3600) }, NOW, None),
        // Without a state it ran 30 s ago.
        (JobState::default(), NOW, None),
        (JobState::default(), hour + 29, Some(Cause::Schedule)),
        (JobState::default(), hour + 30, None),
        // The clock was set back: as without a state.
        (ran_at(hour + 360_000), hour + 10, Some(Cause::Schedule)),
        (ran_at(hour + 360_000), hour + 40, None),
    ] {
        assert_eq!(starts_alone(&hourly, &state, now), expected, "{state:?} at {now}");
    }
    let by_hand = job("by-hand", JobKind::Gc, "");
    let never = job("never", JobKind::Gc, "2020-1-1");
    let disabled = Job { enabled: false, ..hourly.clone() };
    for job in [by_hand, never, disabled] {
        assert_eq!(starts_alone(&job, &changed_at(NOW - 7200), NOW), None, "{job:?}");
    }
}

#[test]
fn seconds_of_an_event_count_to_the_minute() {
    let seconds = job("seconds", JobKind::Gc, "*:*:20");
    let state = changed_at(NOW);
    assert_eq!(starts_alone(&seconds, &state, NOW + 59), None);
    assert_eq!(starts_alone(&seconds, &state, NOW + 60), Some(Cause::Schedule));
}

#[test]
fn a_run_that_failed_is_tried_again_and_the_schedule_starts_the_count_anew() {
    let mut nightly = job("nightly", JobKind::Pull, "02:00");
    (nightly.retries, nightly.retry_wait) = (2, 100);
    let failed = |at: i64| Finished { endtime: at, status: "no".to_owned() };
    let mut state = ran_at(NOW);
    state.end(&nightly, &upid(NOW), (failed(NOW + 10), Outcome::Failed));
    assert_eq!((state.retry_at, state.retries_done), (Some(NOW + 110), 0));
    assert_eq!(starts_alone(&nightly, &state, NOW + 109), None);
    assert_eq!(starts_alone(&nightly, &state, NOW + 110), Some(Cause::Retry));
    let day = 86_400;
    assert_eq!(starts_alone(&nightly, &state, NOW + day), Some(Cause::Schedule));

    state.begin(upid(NOW + 110), true);
    // The end of another run changes nothing.
    state.end(&nightly, &upid(NOW), (failed(NOW + 111), Outcome::Failed));
    assert_eq!(state.retry_at, None);
    state.end(&nightly, &upid(NOW + 110), (failed(NOW + 120), Outcome::Failed));
    assert_eq!((state.retry_at, state.retries_done), (Some(NOW + 320), 1));
    state.begin(upid(NOW + 320), true);
    state.end(&nightly, &upid(NOW + 320), (failed(NOW + 330), Outcome::Failed));
    assert_eq!((state.retry_at, state.retries_done), (None, 2));
    state.begin(upid(NOW + day), false);
    assert_eq!(state.retries_done, 0);
    // It ran by hand: it is not to be tried again when it is enabled some day.
    let (disabled, mut by_hand) = (Job { enabled: false, ..nightly.clone() }, state.clone());
    by_hand.end(&disabled, &upid(NOW + day), (failed(NOW + day), Outcome::Failed));
    assert_eq!(by_hand.retry_at, None);
    for outcome in [Outcome::Good, Outcome::Stopped] {
        let mut state = state.clone();
        state.end(&nightly, &upid(NOW + day), (failed(NOW + day), outcome));
        assert_eq!(state.retry_at, None, "{outcome:?}");
    }
}

#[test]
fn pauses_between_retries_are_bounded() {
    let mut nightly = job("nightly", JobKind::Pull, "02:00");
    (nightly.retries, nightly.retry_wait) = (u32::MAX, 60);
    let waits = [0, 1, 2, 8, 9, 64, 1000].map(|done| nightly.retry_wait_after(done).unwrap());
    assert_eq!(waits, [60, 120, 240, 15_360, 21_600, 21_600, 21_600]);
}

#[test]
fn what_is_due_at_the_same_time_goes_in_order_one_in_a_store() {
    let all = [JobKind::Gc, JobKind::Verify, JobKind::Prune, JobKind::Push, JobKind::Pull];
    let mut jobs: Vec<(Job, JobState)> =
        all.iter().map(|kind| (job(&format!("a-{kind}"), *kind, "hourly"), ran_at(NOW - 7200))).collect();
    let mut order = Vec::new();
    for minute in 0..6 {
        let now = NOW + minute * 60;
        let started = starts(&jobs, now, &Amid::nothing());
        assert!(started.len() <= 1);
        for (id, _) in started {
            let (_, state) = jobs.iter_mut().find(|(job, _)| job.id.as_str() == id).unwrap();
            state.begin(upid(now), false);
            order.push(id);
        }
    }
    assert_eq!(order, ["a-pull", "a-push", "a-prune", "a-verify", "a-gc"]);
}

#[test]
fn busy_stores_running_jobs_and_the_bound_let_jobs_wait() {
    let due = |id: &str, store: &str| {
        (Job { store: store.parse().unwrap(), ..job(id, JobKind::Prune, "hourly") }, ran_at(NOW - 7200))
    };
    let jobs = [due("one", "tank"), due("two", "tank"), due("three", "other"), due("four", "third")];
    let ids = |amid: &Amid| starts(&jobs, NOW, amid).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(&Amid::nothing()), ["four", "one", "three"]);
    let occupied = Amid { occupied: ["tank".parse().unwrap()].into(), ..Amid::nothing() };
    assert_eq!(ids(&occupied), ["four", "three"]);
    // It was removed from the list meanwhile, and still runs.
    assert_eq!(ids(&Amid::running("gone", "other")), ["four", "one"]);
    assert_eq!(ids(&Amid::running("four", "tank")), ["three"]);
    assert_eq!(ids(&Amid { at_once: 2, ..Amid::nothing() }), ["four", "one"]);
    assert!(ids(&Amid { at_once: 1, ..Amid::running("gone", "other") }).is_empty());
}

#[test]
fn the_next_run_is_counted_from_the_last_end() {
    let hourly = job("hourly", JobKind::Gc, "hourly");
    let hour = NOW - NOW.rem_euclid(3600);
    let next = |state: &JobState| next_run(&hourly, state, NOW, &TimeZone::UTC);
    assert_eq!(next(&changed_at(hour - 1)), Some(hour));
    assert_eq!(next(&JobState::default()), Some(hour + 3600));
    let mut state = ran_at(hour - 3600);
    assert_eq!(next(&state), Some(hour + 3600), "it runs");
    for (endtime, expected) in [(hour - 10, hour), (hour + 10, hour + 3600)] {
        let ended = Finished { endtime, status: "OK".to_owned() };
        state.end(&hourly, &upid(hour - 3600), (ended, Outcome::Good));
        assert_eq!(next(&state), Some(expected));
    }
    assert_eq!(next_run(&Job { enabled: false, ..hourly }, &state, NOW, &TimeZone::UTC), None);
}

#[test]
fn the_scheduler_wakes_for_the_first_retry_to_come() {
    let with = |id: &str, retry_at| {
        let state = JobState { retry_at, ..JobState::default() };
        (Arc::new(job(id, JobKind::Gc, "")), state)
    };
    let mut jobs = vec![with("one", Some(NOW + 9)), with("two", Some(NOW + 5)), with("past", Some(NOW))];
    let off = Job { enabled: false, ..job("off", JobKind::Gc, "") };
    jobs.push((Arc::new(off), JobState { retry_at: Some(NOW + 1), ..JobState::default() }));
    let (running, occupied) = (BTreeMap::new(), BTreeSet::new());
    let zone = &TimeZone::UTC;
    let known = Known { jobs: &jobs, running: &running, occupied: &occupied, at_once: 1, now: NOW, zone };
    assert_eq!(next_retry(&known), Some(NOW + 5));
}
