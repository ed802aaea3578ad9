//! The rules by example, those of the spec included.

use super::*;

const DAY: i64 = 86_400;
/// 2023-11-13 00:00:00 UTC, a Monday.
const MONDAY: i64 = 1_699_833_600;

fn finished(unix_seconds: i64) -> PruneCandidate {
    PruneCandidate { time: BackupTime::from_unix(unix_seconds).unwrap(), finished: true, protected: false }
}

fn kept(snapshots: &[PruneCandidate], keep: KeepOptions) -> Vec<i64> {
    let plan = plan(snapshots, &keep, |_| 0);
    assert_eq!(plan.len(), snapshots.len());
    plan.iter()
        .filter(|decision| decision.keeps())
        .map(|decision| decision.candidate.time.unix_seconds())
        .collect()
}

#[test]
fn without_a_rule_everything_stays() {
    let unfinished = PruneCandidate { finished: false, ..finished(MONDAY) };
    assert_eq!(kept(&[unfinished, finished(MONDAY + 1)], KeepOptions::default()), [MONDAY, MONDAY + 1]);
}

#[test]
fn keep_last_keeps_the_newest_and_lists_oldest_first() {
    let snapshots: Vec<_> = (0..5).map(|n| finished(MONDAY + n)).collect();
    assert_eq!(
        kept(&snapshots, KeepOptions { last: Some(2), ..Default::default() }),
        [MONDAY + 3, MONDAY + 4]
    );
}

#[test]
fn a_day_keeps_its_newest_snapshot() {
    let snapshots =
        [finished(MONDAY), finished(MONDAY + 3_600), finished(MONDAY + DAY), finished(MONDAY + DAY + 7_200)];
    let keep = KeepOptions { daily: Some(7), ..Default::default() };
    assert_eq!(kept(&snapshots, keep), [MONDAY + 3_600, MONDAY + DAY + 7_200]);
}

#[test]
fn a_later_rule_skips_periods_an_earlier_one_serves() {
    // keep-last takes today's, so keep-daily takes the days before.
    let snapshots: Vec<_> = (0..4).map(|n| finished(MONDAY + n * DAY)).collect();
    let keep = KeepOptions { last: Some(1), daily: Some(2), ..Default::default() };
    assert_eq!(kept(&snapshots, keep), [MONDAY + DAY, MONDAY + 2 * DAY, MONDAY + 3 * DAY]);
}

#[test]
fn a_snapshot_removed_by_one_rule_is_not_kept_by_the_next() {
    let snapshots = [finished(MONDAY), finished(MONDAY + 3_600)];
    let keep = KeepOptions { daily: Some(1), yearly: Some(5), ..Default::default() };
    assert_eq!(kept(&snapshots, keep), [MONDAY + 3_600]);
}

#[test]
fn weeks_begin_on_monday() {
    let snapshots = [finished(MONDAY - 1), finished(MONDAY), finished(MONDAY + 6 * DAY)];
    let keep = KeepOptions { weekly: Some(9), ..Default::default() };
    assert_eq!(kept(&snapshots, keep), [MONDAY - 1, MONDAY + 6 * DAY]);
}

#[test]
fn months_and_years_follow_the_calendar() {
    // 2024-02-29 23:59:59 and 2024-03-01, 2023-12-31 23:59:59 and 2024-01-01.
    let (leap_day, march) = (1_709_251_199, 1_709_251_200);
    let (old_year, new_year) = (1_704_067_199, 1_704_067_200);
    let snapshots: Vec<_> = [old_year, new_year, leap_day, march].map(finished).to_vec();
    let monthly = KeepOptions { monthly: Some(9), ..Default::default() };
    assert_eq!(kept(&snapshots, monthly), [old_year, new_year, leap_day, march]);
    let yearly = KeepOptions { yearly: Some(9), ..Default::default() };
    assert_eq!(kept(&snapshots, yearly), [old_year, march]);
}

#[test]
fn periods_are_those_of_local_time() {
    let snapshots = [finished(MONDAY - 1), finished(MONDAY + 1)];
    let keep = KeepOptions { daily: Some(9), ..Default::default() };
    assert_eq!(kept(&snapshots, keep), [MONDAY - 1, MONDAY + 1]);
    let east: Vec<_> =
        plan(&snapshots, &keep, |_| 7_200).into_iter().map(|decision| decision.keeps()).collect();
    assert_eq!(east, [false, true]);
}

#[test]
fn protected_snapshots_stay_and_use_up_nothing() {
    let protected = PruneCandidate { protected: true, ..finished(MONDAY + 9) };
    let snapshots = [finished(MONDAY), finished(MONDAY + 1), protected];
    assert_eq!(
        kept(&snapshots, KeepOptions { last: Some(1), ..Default::default() }),
        [MONDAY + 1, MONDAY + 9]
    );
    assert_eq!(
        kept(&snapshots, KeepOptions { daily: Some(1), ..Default::default() }),
        [MONDAY + 1, MONDAY + 9]
    );
}

#[test]
fn only_an_unfinished_snapshot_newer_than_all_finished_ones_stays() {
    let unfinished = |unix_seconds| PruneCandidate { finished: false, ..finished(unix_seconds) };
    let keep = KeepOptions { last: Some(1), ..Default::default() };
    let snapshots =
        [unfinished(MONDAY), finished(MONDAY + 1), unfinished(MONDAY + 2), unfinished(MONDAY + 3)];
    assert_eq!(kept(&snapshots, keep), [MONDAY + 1, MONDAY + 3]);
    assert_eq!(kept(&[unfinished(MONDAY), finished(MONDAY + 1)], keep), [MONDAY + 1]);
}

#[test]
fn an_unfinished_snapshot_takes_no_part_in_the_rules() {
    // It lies on the day of the newest finished one, which must stay all the same (calendar.md §4, step 2).
    let unfinished = PruneCandidate { finished: false, ..finished(MONDAY + DAY + 7_200) };
    let snapshots = [finished(MONDAY), finished(MONDAY + DAY), unfinished];
    let keep = KeepOptions { daily: Some(1), ..Default::default() };
    assert_eq!(kept(&snapshots, keep), [MONDAY + DAY, MONDAY + DAY + 7_200]);
}

/// The group of the examples in calendar.md §4, newest first.
const EXAMPLE: [&str; 17] = [
    "2024-03-15T20:00:00Z",
    "2024-03-15T08:00:00Z",
    "2024-03-14T20:00:00Z",
    "2024-03-13T20:00:00Z",
    "2024-03-12T20:00:00Z",
    "2024-03-11T20:00:00Z",
    "2024-03-10T20:00:00Z",
    "2024-03-09T20:00:00Z",
    "2024-03-04T20:00:00Z",
    "2024-03-03T20:00:00Z",
    "2024-02-29T20:00:00Z",
    "2024-02-28T20:00:00Z",
    "2024-02-25T20:00:00Z",
    "2024-01-31T20:00:00Z",
    "2024-01-01T08:00:00Z",
    "2023-12-31T20:00:00Z",
    "2023-06-01T20:00:00Z",
];

/// Judges the example group after `change` was applied to its newest snapshot; gives `day hour reason` of what stays, newest
/// first.
fn example(keep: KeepOptions, change: impl FnOnce(&mut PruneCandidate)) -> Vec<String> {
    let mut group =
        EXAMPLE.map(|time| PruneCandidate { time: time.parse().unwrap(), finished: true, protected: false });
    change(&mut group[0]);
    let decisions = plan(&group, &keep, |_| 0);
    let kept = decisions.iter().rev().filter(|decision| decision.keeps());
    kept.map(|decision| format!("{} {}", &decision.candidate.time.to_string()[..13], decision.reason))
        .collect()
}

#[test]
fn the_examples_of_the_spec_hold() {
    let none = KeepOptions::default();
    assert_eq!(
        example(KeepOptions { last: Some(2), ..none }, |_| {}),
        ["2024-03-15T20 keep-last", "2024-03-15T08 keep-last"]
    );
    assert_eq!(
        example(KeepOptions { daily: Some(3), ..none }, |_| {}),
        ["2024-03-15T20 keep-daily", "2024-03-14T20 keep-daily", "2024-03-13T20 keep-daily"]
    );
    let several = KeepOptions {
        last: Some(2),
        daily: Some(2),
        weekly: Some(2),
        monthly: Some(2),
        yearly: Some(1),
        ..none
    };
    assert_eq!(
        example(several, |_| {}),
        [
            "2024-03-15T20 keep-last",
            "2024-03-15T08 keep-last",
            "2024-03-14T20 keep-daily",
            "2024-03-13T20 keep-daily",
            "2024-03-10T20 keep-weekly",
            "2024-03-03T20 keep-weekly",
            "2024-02-25T20 keep-monthly",
            "2024-01-31T20 keep-monthly",
            "2023-12-31T20 keep-yearly",
        ]
    );
    assert_eq!(
        example(KeepOptions { hourly: Some(3), yearly: Some(5), ..none }, |_| {}),
        [
            "2024-03-15T20 keep-hourly",
            "2024-03-15T08 keep-hourly",
            "2024-03-14T20 keep-hourly",
            "2023-12-31T20 keep-yearly",
        ]
    );
    assert_eq!(
        example(KeepOptions { weekly: Some(3), ..none }, |newest| newest.protected = true),
        [
            "2024-03-15T20 protected",
            "2024-03-15T08 keep-weekly",
            "2024-03-10T20 keep-weekly",
            "2024-03-03T20 keep-weekly",
        ]
    );
    assert_eq!(
        example(KeepOptions { last: Some(1), ..none }, |newest| newest.finished = false),
        ["2024-03-15T20 may-be-running", "2024-03-15T08 keep-last"]
    );
}

#[test]
fn whatever_goes_names_what_decided_that() {
    // Tuesday twice, Monday, the Sunday and the Thursday before; something unfinished in between.
    let unfinished = PruneCandidate { finished: false, ..finished(MONDAY + 7) };
    let snapshots = [
        finished(MONDAY - 4 * DAY),
        finished(MONDAY - DAY),
        finished(MONDAY),
        unfinished,
        finished(MONDAY + DAY),
        finished(MONDAY + DAY + 60),
    ];
    let keep = KeepOptions { daily: Some(1), weekly: Some(1), ..Default::default() };
    let reasons: Vec<Reason> =
        plan(&snapshots, &keep, |_| 0).iter().map(|decision| decision.reason).collect();
    assert_eq!(
        reasons,
        [
            Reason::Superseded(KeepRule::Weekly),
            Reason::Chosen(KeepRule::Weekly),
            // Its day is one too many, its week has Tuesday's.
            Reason::NoRuleLeft,
            Reason::LeftUnfinished,
            Reason::Superseded(KeepRule::Daily),
            Reason::Chosen(KeepRule::Daily),
        ]
    );
    assert_eq!((reasons[0].keeps(), reasons[0].to_string().as_str()), (false, "keep-weekly"));
}

#[test]
fn without_a_rule_only_protection_is_told() {
    let protected = PruneCandidate { protected: true, ..finished(MONDAY + 1) };
    let decisions = plan(&[finished(MONDAY), protected], &KeepOptions::default(), |_| 0);
    let reasons: Vec<Reason> = decisions.iter().map(|decision| decision.reason).collect();
    assert_eq!(reasons, [Reason::NoRuleGiven, Reason::Protected]);
}
