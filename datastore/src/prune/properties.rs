//! The plan compared with a naive statement of the rules.
//!
//! The statement follows the steps of calendar.md §4 one by one and takes dates from `jiff`, in time zones whose offset changes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const UTC: &str = "UTC0";
const EAST: &str = "<+14>-14";
const EUROPE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
const LORD_HOWE: &str = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
const CHILE: &str = "<-04>4<-03>,M9.1.6/24,M4.1.6/24";
/// Its clocks went back a minute after midnight, so that a day came twice.
const ST_JOHNS: &str = "NST3:30NDT,M3.2.0/0:01,M11.1.0/0:01";

/// Rules of a time zone, and a Unix time near which periods divide there.
const SCENES: [(&str, i64); 10] = [
    // 1970-01-02: times are positive, local years there may be 1969.
    (CHILE, 86_400),
    // 2021-01-01 and 2021-01-04: week 53 goes into the next year.
    (UTC, 1_609_459_200),
    (EAST, 1_609_718_400),
    // 2024-12-30: a Monday of week 1 of 2025.
    (UTC, 1_735_516_800),
    // 2024-02-29, a leap day.
    (EAST, 1_709_164_800),
    // 2024-03-31 01:00 and 2024-10-27 01:00: an hour is missing, an hour comes twice.
    (EUROPE, 1_711_846_800),
    (EUROPE, 1_729_990_800),
    // 2024-04-06 15:00: half an hour comes twice.
    (LORD_HOWE, 1_712_415_600),
    // 2024-04-07 03:00: midnight comes twice.
    (CHILE, 1_712_458_800),
    // 2024-11-03 02:30:30: the minute of the new day before the old one comes back.
    (ST_JOHNS, 1_730_601_030),
];

/// What a naive reader of the rules says of each snapshot: whether it stays, and why in one word.
type Said = BTreeMap<i64, (bool, &'static str)>;

/// The fields of a bucket: as many of them as the rule looks at.
type Bucket = Vec<i64>;

struct Naive<'a> {
    newest_first: Vec<PruneCandidate>,
    zone: &'a TimeZone,
    said: Said,
    chosen_by_rules: Vec<PruneCandidate>,
}

impl Naive<'_> {
    fn judge(snapshots: &[PruneCandidate], keep: &KeepOptions, zone: &TimeZone) -> Said {
        // 1. Sort newest first.
        let mut newest_first = snapshots.to_vec();
        newest_first.sort_by_key(|snapshot| -seconds(snapshot));
        let mut naive = Naive { newest_first, zone, said: Said::new(), chosen_by_rules: Vec::new() };
        let is_any_given = [keep.last, keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly]
            .iter()
            .any(Option::is_some);
        if is_any_given {
            naive.say_of_unfinished();
            naive.apply("keep-last", keep.last);
            naive.apply("keep-hourly", keep.hourly);
            naive.apply("keep-daily", keep.daily);
            naive.apply("keep-weekly", keep.weekly);
            naive.apply("keep-monthly", keep.monthly);
            naive.apply("keep-yearly", keep.yearly);
        }
        // 4. Undecided ones are removed, protected ones are always kept.
        for snapshot in &naive.newest_first {
            let undecided = if is_any_given { (false, "no-rule-left") } else { (true, "no-rule-given") };
            naive.said.entry(seconds(snapshot)).or_insert(undecided);
            if snapshot.protected {
                naive.said.insert(seconds(snapshot), (true, "protected"));
            }
        }
        naive.said
    }

    /// 2. The newest unfinished one is kept if nothing finished is newer; all others are removed.
    fn say_of_unfinished(&mut self) {
        let unfinished = self.newest_first.iter().filter(|snapshot| !snapshot.finished);
        let times: BTreeSet<i64> = unfinished.map(seconds).collect();
        let newest_finished = self
            .newest_first
            .iter()
            .filter(|snapshot| snapshot.finished)
            .map(seconds)
            .max()
            .unwrap_or(i64::MIN);
        for time in &times {
            let is_kept = Some(time) == times.last() && *time > newest_finished;
            self.said
                .insert(*time, if is_kept { (true, "may-be-running") } else { (false, "left-unfinished") });
        }
    }

    /// 3. One rule with count N.
    fn apply(&mut self, rule: &'static str, count: Option<u64>) {
        let Some(count) = count else { return };
        let covered: BTreeSet<Bucket> =
            self.chosen_by_rules.iter().map(|snapshot| bucket(rule, snapshot, self.zone)).collect();
        let mut seen: BTreeSet<Bucket> = BTreeSet::new();
        for snapshot in &self.newest_first {
            let bucket = bucket(rule, snapshot, self.zone);
            if self.said.contains_key(&seconds(snapshot)) || snapshot.protected || covered.contains(&bucket) {
                continue;
            }
            let is_new = !seen.contains(&bucket);
            if is_new && seen.len() as u64 == count {
                return;
            }
            if is_new {
                self.chosen_by_rules.push(*snapshot);
            }
            seen.insert(bucket);
            self.said.insert(seconds(snapshot), (is_new, rule));
        }
    }
}

fn bucket(rule: &str, snapshot: &PruneCandidate, zone: &TimeZone) -> Bucket {
    let local = Timestamp::from_second(seconds(snapshot)).unwrap().to_zoned(zone.clone());
    let (year, month, day) = (i64::from(local.year()), i64::from(local.month()), i64::from(local.day()));
    let week = local.date().iso_week_date();
    match rule {
        "keep-last" => vec![seconds(snapshot)],
        "keep-hourly" => vec![year, month, day, i64::from(local.hour())],
        "keep-daily" => vec![year, month, day],
        "keep-weekly" => vec![i64::from(week.year()), i64::from(week.week())],
        "keep-monthly" => vec![year, month],
        "keep-yearly" => vec![year],
        other => panic!("no such rule: {other}"),
    }
}

fn seconds(snapshot: &PruneCandidate) -> i64 {
    snapshot.time.unix_seconds()
}

/// Snapshots in one to three clusters, so that many share a period of some rule and many just do not; some are unfinished, some
/// protected.
fn group(centre: i64) -> impl Strategy<Value = Vec<PruneCandidate>> {
    let far = (-12_i64..=12, select(vec![0_i64, 3_600, 12 * 3_600, 86_400, 7 * 86_400, 30 * 86_400]));
    let near = (-40_i64..=40, select(vec![1_i64, 900, 3_600, 6 * 3_600, 86_400]));
    let flags = (proptest::bool::weighted(0.8), proptest::bool::weighted(0.15));
    let snapshots = btree_map((any::<usize>(), near), flags, 0..40);
    (vec(far, 1..4), snapshots).prop_map(move |(clusters, snapshots)| {
        let at = |cluster: usize, (steps, step): (i64, i64)| {
            let (far_steps, far_step) = clusters[cluster % clusters.len()];
            (centre + far_steps * far_step + steps * step).max(1)
        };
        // A group has one snapshot of a time.
        let by_time: BTreeMap<i64, (bool, bool)> =
            snapshots.into_iter().map(|((cluster, near), flags)| (at(cluster, near), flags)).collect();
        let candidate = |(time, (finished, protected))| PruneCandidate {
            time: BackupTime::from_unix(time).unwrap(),
            finished,
            protected,
        };
        by_time.into_iter().map(candidate).collect()
    })
}

fn options() -> impl Strategy<Value = KeepOptions> {
    let count = || option::weighted(0.4, 1_u64..6);
    (count(), count(), count(), count(), count(), count()).prop_map(
        |(last, hourly, daily, weekly, monthly, yearly)| KeepOptions {
            last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_plan_says_what_a_naive_reader_of_the_rules_says(
        (zone, snapshots) in select(SCENES.to_vec())
            .prop_flat_map(|(zone, centre)| (Just(zone), group(centre).prop_shuffle())),
        keep in options(),
    ) {
        let zone = TimeZone::posix(zone).unwrap();
        let offset_at = |unix_seconds| {
            i64::from(zone.to_offset(Timestamp::from_second(unix_seconds).unwrap()).seconds())
        };
        let decisions = plan(&snapshots, &keep, offset_at);
        let times: Vec<i64> = decisions.iter().map(|decision| seconds(&decision.candidate)).collect();
        prop_assert!(times.is_sorted(), "{:?}", times);
        let planned: Said = decisions
            .iter()
            .map(|decision| (seconds(&decision.candidate), (decision.keeps(), decision.reason.as_str())))
            .collect();
        prop_assert_eq!(planned, Naive::judge(&snapshots, &keep, &zone));
    }
}
