//! Decides which snapshots of one group a retention rule keeps.
//!
//! Pure: snapshots and counts in, a verdict for each snapshot out. Forgetting what is not kept is the caller's business.

use std::collections::BTreeSet;

use crate::BackupTime;
use crate::name::date_of_days;

/// How many snapshots to keep, per kind of period; `None` switches a rule off.
///
/// The rules apply in the order of the fields, each to what the ones before it left undecided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepOptions {
    /// The newest snapshots, whenever they were made.
    pub last: Option<u64>,
    /// The newest snapshot of each of so many hours.
    pub hourly: Option<u64>,
    /// The newest snapshot of each of so many days.
    pub daily: Option<u64>,
    /// The newest snapshot of each of so many ISO weeks (they begin on Monday).
    pub weekly: Option<u64>,
    /// The newest snapshot of each of so many months.
    pub monthly: Option<u64>,
    /// The newest snapshot of each of so many years.
    pub yearly: Option<u64>,
}

impl KeepOptions {
    /// Whether no rule is given at all; then everything is kept.
    pub fn is_empty(&self) -> bool {
        self.rules().into_iter().all(|(_, count)| count.is_none())
    }

    fn rules(&self) -> [(Period, Option<u64>); 6] {
        [
            (Period::Snapshot, self.last),
            (Period::Hour, self.hourly),
            (Period::Day, self.daily),
            (Period::Week, self.weekly),
            (Period::Month, self.monthly),
            (Period::Year, self.yearly),
        ]
    }
}

/// What the decision needs to know of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneCandidate {
    /// When the backup was made.
    pub time: BackupTime,
    /// Whether it has a manifest.
    pub finished: bool,
    /// Whether it is protected from removal.
    pub protected: bool,
}

/// The verdict on one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneDecision {
    /// The snapshot that was judged.
    pub candidate: PruneCandidate,
    /// Whether it stays.
    pub keep: bool,
}

/// Judges all snapshots of one group, oldest first.
///
/// `offset_at` gives the offset of local time from UTC in seconds at a Unix time: periods are those of the operator's calendar.
/// Protected snapshots always stay and count towards no rule. Of unfinished ones only the newest stays, and only if it is newer
/// than every finished one (it may be a backup that is running). Without any rule everything stays (rest-api.md §4.5).
pub fn plan(
    snapshots: &[PruneCandidate],
    keep: &KeepOptions,
    offset_at: impl Fn(i64) -> i64,
) -> Vec<PruneDecision> {
    let mut sorted: Vec<PruneCandidate> = snapshots.to_vec();
    sorted.sort_by_key(|candidate| std::cmp::Reverse(candidate.time));
    let mut verdicts: Vec<Option<bool>> =
        sorted.iter().map(|candidate| (keep.is_empty() || candidate.protected).then_some(true)).collect();
    decide_unfinished(&sorted, &mut verdicts);
    for (period, count) in keep.rules() {
        let Some(count) = count else { continue };
        let bucket = |candidate: &PruneCandidate| {
            let unix_seconds = candidate.time.unix_seconds();
            period.bucket(unix_seconds, offset_at(unix_seconds))
        };
        apply_rule(&sorted, &mut verdicts, count, bucket);
    }
    let decided = sorted.into_iter().zip(verdicts);
    let mut plan: Vec<PruneDecision> = decided
        .map(|(candidate, verdict)| PruneDecision { candidate, keep: verdict.unwrap_or(false) })
        .collect();
    plan.reverse();
    plan
}

fn decide_unfinished(newest_first: &[PruneCandidate], verdicts: &mut [Option<bool>]) {
    let mut may_be_running = true;
    for (candidate, verdict) in newest_first.iter().zip(verdicts) {
        if !candidate.finished && verdict.is_none() {
            *verdict = Some(may_be_running);
        }
        may_be_running = false;
    }
}

fn apply_rule(
    newest_first: &[PruneCandidate],
    verdicts: &mut [Option<bool>],
    count: u64,
    bucket: impl Fn(&PruneCandidate) -> i64,
) {
    // A period that an earlier rule keeps a snapshot of is served already. What no rule chose serves none: neither a
    // protected snapshot nor an unfinished one, which may never be finished.
    let kept = newest_first
        .iter()
        .zip(verdicts.iter())
        .filter(|(candidate, verdict)| **verdict == Some(true) && !candidate.protected && candidate.finished);
    let served: BTreeSet<i64> = kept.map(|(candidate, _)| bucket(candidate)).collect();
    let mut chosen = BTreeSet::new();
    for (candidate, verdict) in newest_first.iter().zip(verdicts) {
        let id = bucket(candidate);
        if verdict.is_some() || served.contains(&id) {
            continue;
        }
        if chosen.contains(&id) {
            *verdict = Some(false);
        } else if chosen.len() as u64 >= count {
            break;
        } else {
            chosen.insert(id);
            *verdict = Some(true);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Period {
    Snapshot,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    /// A number that two instants share exactly if they lie in the same period of local time.
    fn bucket(self, unix_seconds: i64, offset_seconds: i64) -> i64 {
        let local_seconds = unix_seconds.saturating_add(offset_seconds);
        let day = local_seconds.div_euclid(86_400);
        match self {
            Period::Snapshot => unix_seconds,
            Period::Hour => local_seconds.div_euclid(3_600),
            Period::Day => day,
            // 1970-01-01 was a Thursday: three days later a week of the ISO calendar begins.
            Period::Week => (day + 3).div_euclid(7),
            Period::Month => {
                let (year, month, _) = date_of_days(day);
                year * 12 + month
            }
            Period::Year => date_of_days(day).0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    /// 2023-11-13 00:00:00 UTC, a Monday.
    const MONDAY: i64 = 1_699_833_600;

    fn finished(unix_seconds: i64) -> PruneCandidate {
        PruneCandidate {
            time: BackupTime::from_unix(unix_seconds).unwrap(),
            finished: true,
            protected: false,
        }
    }

    fn kept(snapshots: &[PruneCandidate], keep: KeepOptions) -> Vec<i64> {
        let plan = plan(snapshots, &keep, |_| 0);
        assert_eq!(plan.len(), snapshots.len());
        plan.iter()
            .filter(|decision| decision.keep)
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
        let snapshots = [
            finished(MONDAY),
            finished(MONDAY + 3_600),
            finished(MONDAY + DAY),
            finished(MONDAY + DAY + 7_200),
        ];
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
            plan(&snapshots, &keep, |_| 7_200).into_iter().map(|decision| decision.keep).collect();
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
}
