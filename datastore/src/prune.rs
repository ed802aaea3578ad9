//! Decides which snapshots of one group a retention rule keeps, and says which rule decided.
//!
//! Pure: snapshots and counts in, a decision on each snapshot out. Forgetting what is not kept is the caller's business.

use std::collections::BTreeSet;
use std::fmt;

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
        self.given().next().is_none()
    }

    /// Returns the rules that are given with their counts, in the order in which they apply.
    pub fn given(&self) -> impl Iterator<Item = (KeepRule, u64)> + use<> {
        let all = [
            (KeepRule::Last, self.last),
            (KeepRule::Hourly, self.hourly),
            (KeepRule::Daily, self.daily),
            (KeepRule::Weekly, self.weekly),
            (KeepRule::Monthly, self.monthly),
            (KeepRule::Yearly, self.yearly),
        ];
        all.into_iter().filter_map(|(rule, count)| Some((rule, count?)))
    }
}

/// A rule of [`KeepOptions`]; shown as the option is called, `keep-daily`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeepRule {
    /// Each snapshot is a period of its own.
    Last,
    /// Periods are hours.
    Hourly,
    /// Periods are days.
    Daily,
    /// Periods are ISO weeks.
    Weekly,
    /// Periods are months.
    Monthly,
    /// Periods are years.
    Yearly,
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

/// The decision on one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneDecision {
    /// The snapshot that was judged.
    pub candidate: PruneCandidate,
    /// Why it stays or goes.
    pub reason: Reason,
}

impl PruneDecision {
    /// Tells whether the snapshot stays.
    pub const fn keeps(&self) -> bool {
        self.reason.keeps()
    }
}

/// Why a snapshot stays or goes; shown as one word, rules as their option is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It stays: no rule is given.
    NoRuleGiven,
    /// It stays: it is protected.
    Protected,
    /// It stays: it is unfinished and the newest of all, so it may be a backup that is running.
    MayBeRunning,
    /// It goes: it is unfinished, and something newer says that nobody is going to finish it.
    LeftUnfinished,
    /// It stays: this rule chose it as the newest of its period.
    Chosen(KeepRule),
    /// It goes: this rule chose a newer one of the same period.
    Superseded(KeepRule),
    /// It goes: no rule is left that would keep it.
    NoRuleLeft,
}

impl Reason {
    /// Tells whether a snapshot stays for this reason.
    pub const fn keeps(self) -> bool {
        match self {
            Self::NoRuleGiven | Self::Protected | Self::MayBeRunning | Self::Chosen(_) => true,
            Self::LeftUnfinished | Self::Superseded(_) | Self::NoRuleLeft => false,
        }
    }

    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRuleGiven => "no-rule-given",
            Self::Protected => "protected",
            Self::MayBeRunning => "may-be-running",
            Self::LeftUnfinished => "left-unfinished",
            Self::Chosen(rule) | Self::Superseded(rule) => rule.as_str(),
            Self::NoRuleLeft => "no-rule-left",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Judges all snapshots of one group, oldest first (spec `calendar.md` §4).
///
/// `offset_at` gives the offset of local time from UTC in seconds at a Unix time: periods are those of the operator's calendar.
/// Protected snapshots always stay and count towards no rule. Of unfinished ones only the newest stays, and only if it is newer
/// than every finished one; it counts towards no rule either. Without any rule everything stays.
pub fn plan(
    snapshots: &[PruneCandidate],
    keep: &KeepOptions,
    offset_at: impl Fn(i64) -> i64,
) -> Vec<PruneDecision> {
    let mut sorted: Vec<PruneCandidate> = snapshots.to_vec();
    sorted.sort_by_key(|candidate| std::cmp::Reverse(candidate.time));
    let mut reasons: Vec<Option<Reason>> = sorted
        .iter()
        .map(|candidate| match () {
            () if candidate.protected => Some(Reason::Protected),
            () if keep.is_empty() => Some(Reason::NoRuleGiven),
            () => None,
        })
        .collect();
    decide_unfinished(&sorted, &mut reasons);
    for (rule, count) in keep.given() {
        let period = |candidate: &PruneCandidate| {
            let unix_seconds = candidate.time.unix_seconds();
            rule.period(unix_seconds, offset_at(unix_seconds))
        };
        apply_rule(&sorted, &mut reasons, (rule, count), period);
    }
    let decided = sorted.into_iter().zip(reasons);
    let mut plan: Vec<PruneDecision> = decided
        .map(|(candidate, reason)| PruneDecision { candidate, reason: reason.unwrap_or(Reason::NoRuleLeft) })
        .collect();
    plan.reverse();
    plan
}

fn decide_unfinished(newest_first: &[PruneCandidate], reasons: &mut [Option<Reason>]) {
    let mut is_newest = true;
    for (candidate, reason) in newest_first.iter().zip(reasons) {
        if !candidate.finished && reason.is_none() {
            *reason = Some(if is_newest { Reason::MayBeRunning } else { Reason::LeftUnfinished });
        }
        is_newest = false;
    }
}

fn apply_rule(
    newest_first: &[PruneCandidate],
    reasons: &mut [Option<Reason>],
    (rule, count): (KeepRule, u64),
    period: impl Fn(&PruneCandidate) -> i64,
) {
    // A period that an earlier rule chose a snapshot of is served already. What no rule chose serves none: neither a
    // protected snapshot nor an unfinished one, which may never be finished.
    let chosen = newest_first.iter().zip(reasons.iter());
    let chosen = chosen.filter(|(_, reason)| matches!(reason, Some(Reason::Chosen(_))));
    let served: BTreeSet<i64> = chosen.map(|(candidate, _)| period(candidate)).collect();
    let mut used = BTreeSet::new();
    for (candidate, reason) in newest_first.iter().zip(reasons) {
        let id = period(candidate);
        if reason.is_some() || served.contains(&id) {
            continue;
        }
        if used.contains(&id) {
            *reason = Some(Reason::Superseded(rule));
        } else if used.len() as u64 >= count {
            break;
        } else {
            used.insert(id);
            *reason = Some(Reason::Chosen(rule));
        }
    }
}

impl KeepRule {
    /// Returns the name of its option.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Last => "keep-last",
            Self::Hourly => "keep-hourly",
            Self::Daily => "keep-daily",
            Self::Weekly => "keep-weekly",
            Self::Monthly => "keep-monthly",
            Self::Yearly => "keep-yearly",
        }
    }

    /// A number that two instants share exactly if they lie in the same period of local time.
    fn period(self, unix_seconds: i64, offset_seconds: i64) -> i64 {
        let local_seconds = unix_seconds.saturating_add(offset_seconds);
        let day = local_seconds.div_euclid(86_400);
        match self {
            Self::Last => unix_seconds,
            Self::Hourly => local_seconds.div_euclid(3_600),
            Self::Daily => day,
            // 1970-01-01 was a Thursday: three days later a week of the ISO calendar begins.
            Self::Weekly => (day + 3).div_euclid(7),
            Self::Monthly => {
                let (year, month, _) = date_of_days(day);
                year * 12 + month
            }
            Self::Yearly => date_of_days(day).0,
        }
    }
}

impl fmt::Display for KeepRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
