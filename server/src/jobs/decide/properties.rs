//! Histories of jobs of random length in stores that are busy at random.

use coldkeep_client::{JobKind, JobOptions, NotifyWhen};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::jobs::state::LastRun;
use crate::tasks::Upid;

const START: i64 = 1_700_000_040;
const SCHEDULES: [&str; 4] = ["minutely", "*/5", "hourly", "*:*/2:30"];

/// A job, and how many minutes each of its runs takes.
#[derive(Debug, Clone)]
struct Made {
    kind: JobKind,
    store: u8,
    schedule: &'static str,
    minutes: i64,
}

fn made() -> impl Strategy<Value = Made> {
    (select(&JobKind::ALL[..]), 0..3_u8, select(&SCHEDULES[..]), 1..9_i64)
        .prop_map(|(kind, store, schedule, minutes)| Made { kind, store, schedule, minutes })
}

fn job(number: usize, made: &Made) -> Arc<Job> {
    Arc::new(Job {
        id: format!("job-{number}").parse().unwrap(),
        store: format!("store{}", made.store).parse().unwrap(),
        kind: made.kind,
        run_as: "root@pam".parse().unwrap(),
        schedule: Some(made.schedule.parse().unwrap()),
        enabled: true,
        retries: 0,
        retry_wait: 60,
        notify_url: None,
        notify: NotifyWhen::Never,
        notify_secret: None,
        comment: None,
        options: JobOptions::default(),
    })
}

fn number_of(id: &JobId) -> usize {
    id.as_str()[4..].parse().unwrap()
}

fn upid(started_at: i64) -> Upid {
    format!("UPID:n:00000001:00000002:00000003:{started_at:08X}:prunejob:tank:root@pam:").parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Goal: one job at a time in a store, no more than allowed in the server, none before it is due, none twice for one event, and
    // none waits for more than one run of each other job.
    // Method: play four hours, minute by minute.
    #[test]
    fn jobs_take_turns(all in vec(made(), 1..7), at_once in 1..4_usize) {
        let mut jobs: Vec<(Arc<Job>, JobState)> = all
            .iter()
            .enumerate()
            .map(|(i, made)| (job(i, made), JobState { changed_at: Some(START), ..JobState::default() }))
            .collect();
        let occupied = BTreeSet::new();
        let mut running: BTreeMap<JobId, StoreName> = BTreeMap::new();
        let mut ends: BTreeMap<JobId, i64> = BTreeMap::new();
        // Runs of others since a job has been waiting.
        let mut passed: BTreeMap<JobId, BTreeMap<JobId, usize>> = BTreeMap::new();
        for minute in 0..240 {
            let now = START + minute * MINUTE;
            ends.retain(|id, end| {
                let runs = *end > now;
                if !runs {
                    running.remove(id);
                }
                runs
            });
            let known = Known {
                jobs: &jobs, running: &running, occupied: &occupied, at_once, now, zone: &TimeZone::UTC,
            };
            let waits = jobs.iter().filter(|(job, state)| waiting(job, state, &known).is_some());
            let waits: BTreeSet<JobId> = waits.map(|(job, _)| job.id.clone()).collect();
            let starts = decide(&known);
            for Start { job, .. } in starts {
                prop_assert!(waits.contains(&job.id), "not due");
                prop_assert!(running.values().all(|store| *store != job.store), "two in a store");
                running.insert(job.id.clone(), job.store.clone());
                prop_assert!(running.len() <= at_once);
                let number = number_of(&job.id);
                ends.insert(job.id.clone(), now + all[number].minutes * MINUTE);
                let state = &mut jobs[number].1;
                let began = state.last.as_ref().map_or(START, LastRun::started_at);
                let due = next_after(&job, began, &TimeZone::UTC);
                prop_assert!(due.is_some_and(|due| due <= now));
                state.begin(upid(now), false);
                for other in &waits {
                    let passed = passed.entry(other.clone()).or_default();
                    *passed.entry(job.id.clone()).or_default() += 1;
                    let is_rival = *other != job.id && jobs[number_of(other)].0.store == job.store;
                    prop_assert!(!is_rival || passed[&job.id] <= 1, "{other} waits for {} again", job.id);
                }
                passed.remove(&job.id);
            }
        }
        // Nothing that is due is forgotten.
        prop_assert!(jobs.iter().all(|(_, state)| state.last.is_some()));
    }
}
