//! Conditions on puts: put if absent, and compare-and-swap.
//!
//! A sequence of requests tells whether a condition is refused or ignored. Only a race tells whether it is atomic: writers with different
//! content start at once, and one of them may win.

use bytes::Bytes;
use futures_util::future::join_all;

use super::bare::Bare;
use super::findings::{ConditionClass, TagForm};
use super::report::ConditionalPut;
use super::session::{Answered, Attempts, Session};
use crate::call::{RawAnswer, Signing};
use crate::config::Quirk;
use crate::error::RequestError;
use crate::key::ObjectKey;
use crate::ops::{ETag, PutObject, header_text};
use crate::transport::Transport;

/// Length of what writers race with: long enough to leave a gap between look and write, short enough for a slow line.
const RACE_BYTES: usize = 16 << 10;

/// A condition on a put.
#[derive(Debug, Clone)]
enum Condition {
    Absent,
    Match(ETag, TagForm),
}

/// What came of the condition when nobody else was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sequence {
    /// Of a put whose condition holds.
    met: Answered,
    /// Of a put whose condition does not hold.
    unmet: Answered,
    /// After that, the object was as before.
    is_kept: Option<bool>,
}

/// What came of a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Race {
    won: u32,
    /// Lost because the condition does not hold.
    lost: u32,
    /// Lost by another error.
    failed: u32,
    /// The object is what a winner wrote.
    is_winners: Option<bool>,
}

/// Finds out what put if absent does.
pub(super) async fn put_if_absent<T: Transport>(session: &Session<'_, T>) -> ConditionalPut {
    let key = session.key("absent/sequence");
    let met = Answered::of(&put(session, &key, "first", &Condition::Absent).await);
    let mut sequence = Sequence { met, unmet: Answered::Silent, is_kept: None };
    let mut races = Vec::new();
    if met == Answered::Done {
        sequence.unmet = Answered::of(&put(session, &key, "second", &Condition::Absent).await);
        sequence.is_kept = session.content(&key).await.map(|content| content == "first");
        if holds_in_sequence(sequence) {
            for number in 0..session.races {
                let key = session.key(&format!("absent/race-{number}"));
                races.push(race(session, &key, &Condition::Absent).await);
            }
        }
    }
    result(session, sequence, &races)
}

/// Finds out what compare-and-swap does, and how it wants the tag.
pub(super) async fn compare_and_swap<T: Transport>(
    session: &Session<'_, T>,
) -> (ConditionalPut, Option<TagForm>) {
    let key = session.key("match/sequence");
    let mut sequence = Sequence { met: Answered::Silent, unmet: Answered::Silent, is_kept: None };
    let Some(stale) = start(session, &key).await else { return (result(session, sequence, &[]), None) };
    let mut form = TagForm::Quoted;
    let mut swapped = put(session, &key, "first", &Condition::Match(stale.clone(), form)).await;
    sequence.met = Answered::of(&swapped);
    if matches!(sequence.met, Answered::Unmet(_) | Answered::Refused(_)) {
        form = TagForm::Unquoted;
        swapped = put(session, &key, "first", &Condition::Match(stale.clone(), form)).await;
        sequence.met = Answered::of(&swapped);
    }
    let mut races = Vec::new();
    if sequence.met == Answered::Done {
        sequence.unmet = Answered::of(&put(session, &key, "second", &Condition::Match(stale, form)).await);
        sequence.is_kept = session.content(&key).await.map(|content| content == "first");
        if holds_in_sequence(sequence) {
            for number in 0..session.races {
                let key = session.key(&format!("match/race-{number}"));
                if let Some(etag) = start(session, &key).await {
                    races.push(race(session, &key, &Condition::Match(etag, form)).await);
                }
            }
        }
    }
    let found = result(session, sequence, &races);
    let is_known = matches!(found.class, ConditionClass::Atomic | ConditionClass::NotAtomic { .. });
    (found, is_known.then_some(form))
}

/// Puts what will be swapped; returns its tag.
async fn start<T: Transport>(session: &Session<'_, T>, key: &ObjectKey) -> Option<ETag> {
    let put = Bare::new(PutObject::new(key.clone(), "start"));
    let raw = session.put(key, &put).await.ok()?;
    match header_text(&raw.answer.headers, "etag") {
        Some(etag) => Some(ETag::new(etag)),
        None => session.head(key).await.ok()?.etag,
    }
}

/// Puts once, under a condition.
async fn put<T: Transport>(
    session: &Session<'_, T>,
    key: &ObjectKey,
    content: impl Into<Bytes>,
    condition: &Condition,
) -> Result<RawAnswer, RequestError> {
    let op = PutObject::new(key.clone(), content.into());
    let op = match condition {
        Condition::Absent => Bare::new(op.if_absent()),
        Condition::Match(etag, form) => {
            let op = Bare::new(op.with_condition(crate::ops::PutCondition::IfMatch(etag.clone())));
            if *form == TagForm::Unquoted { op.with_quirk(Quirk::UnquotedIfMatch) } else { op }
        }
    };
    session.put_with(key, &op, Attempts::One, Signing::EachAttempt).await
}

async fn race<T: Transport>(session: &Session<'_, T>, key: &ObjectKey, condition: &Condition) -> Race {
    // Connections that are open already, so that all puts arrive at once. What the reads say does not matter.
    join_all((0..session.writers).map(|_| session.exists(key))).await;
    let contents: Vec<Bytes> = (0..session.writers).map(race_content).collect();
    let puts = contents.iter().map(|content| put(session, key, content.clone(), condition));
    let answers: Vec<Answered> = join_all(puts).await.iter().map(Answered::of).collect();
    let stored = session.content(key).await;
    let is_winners = stored.map(|stored| {
        let mut writers = answers.iter().zip(&contents);
        writers.any(|(answer, content)| *answer == Answered::Done && *content == stored)
    });
    let count = |is: fn(&Answered) -> bool| answers.iter().filter(|answer| is(answer)).count() as u32;
    Race {
        won: count(|answer| *answer == Answered::Done),
        lost: count(|answer| matches!(answer, Answered::Unmet(_))),
        failed: count(|answer| {
            matches!(answer, Answered::Refused(_) | Answered::Trouble(_) | Answered::Silent)
        }),
        is_winners,
    }
}

/// Returns what a writer puts: different from what every other writer does.
fn race_content(writer: u32) -> Bytes {
    let line = format!("writer {writer:04}\n");
    let mut content = line.repeat(RACE_BYTES / line.len() + 1);
    content.truncate(RACE_BYTES);
    content.into()
}

fn result<T>(session: &Session<'_, T>, sequence: Sequence, races: &[Race]) -> ConditionalPut {
    ConditionalPut {
        class: class(sequence, races),
        races: races.iter().filter(|race| race.is_conclusive()).count() as u32,
        writers: session.writers,
        losers_can_fail: races.iter().any(|race| race.failed > 0),
    }
}

/// Returns whether the condition does what it should as long as nobody else is there.
fn holds_in_sequence(sequence: Sequence) -> bool {
    sequence.met == Answered::Done
        && matches!(sequence.unmet, Answered::Unmet(_))
        && sequence.is_kept == Some(true)
}

/// Decides the class.
fn class(sequence: Sequence, races: &[Race]) -> ConditionClass {
    match (sequence.met, sequence.unmet, sequence.is_kept) {
        // A condition that holds and is said not to is of no more use than one that is refused.
        (Answered::Refused(status) | Answered::Unmet(status), ..)
        | (Answered::Done, Answered::Refused(status), _) => ConditionClass::Refused { status },
        (Answered::Done, Answered::Done, _) | (Answered::Done, Answered::Unmet(_), Some(false)) => {
            ConditionClass::Ignored
        }
        (Answered::Done, Answered::Unmet(_), Some(true)) => class_of_races(races),
        _ => ConditionClass::Unknown,
    }
}

fn class_of_races(races: &[Race]) -> ConditionClass {
    let winners = races.iter().map(Race::winners).max().unwrap_or(0);
    match winners {
        2.. => ConditionClass::NotAtomic { winners },
        _ if races.iter().any(Race::is_conclusive) => ConditionClass::Atomic,
        _ => ConditionClass::Unknown,
    }
}

impl Race {
    /// Counts who wrote: a writer that did not win and yet left its content is one more.
    fn winners(&self) -> u32 {
        if self.won > 0 && self.is_winners == Some(false) { self.won + 1 } else { self.won }
    }

    /// A race without a winner tells nothing: one that got no proper answer may have won. Nor does one without anybody who was beaten: the
    /// winner may have been alone, as a single writer is, or one whose rivals were refused before the condition was looked at.
    fn is_conclusive(&self) -> bool {
        self.won > 0 && self.won + self.lost > 1 && self.is_winners.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Sequence = Sequence { met: Answered::Done, unmet: Answered::Unmet(412), is_kept: Some(true) };

    fn race(won: u32, is_winners: Option<bool>) -> Race {
        Race { won, lost: 15 - won, failed: 0, is_winners }
    }

    #[test]
    fn races_tell_atomic_from_not() {
        let one = race(1, Some(true));
        assert_eq!(class(GOOD, &[one, one]), ConditionClass::Atomic);
        let several = class(GOOD, &[one, race(3, Some(true))]);
        assert_eq!(several, ConditionClass::NotAtomic { winners: 3 });
        let usurped = class(GOOD, &[one, race(1, Some(false))]);
        assert_eq!(usurped, ConditionClass::NotAtomic { winners: 2 });
    }

    #[test]
    fn races_that_tell_nothing_leave_it_unknown() {
        assert_eq!(class(GOOD, &[]), ConditionClass::Unknown);
        assert_eq!(class(GOOD, &[race(0, Some(false)), race(1, None)]), ConditionClass::Unknown);
        assert_eq!(class(GOOD, &[race(0, None), race(1, Some(true))]), ConditionClass::Atomic);
        let alone = Race { won: 1, lost: 0, failed: 15, is_winners: Some(true) };
        assert_eq!(class(GOOD, &[alone]), ConditionClass::Unknown);
        assert_eq!(class(GOOD, &[alone, Race { lost: 1, ..alone }]), ConditionClass::Atomic);
    }

    #[test]
    fn a_sequence_tells_refused_and_ignored() {
        let sequence = |met, unmet, is_kept| class(Sequence { met, unmet, is_kept }, &[]);
        let refused = ConditionClass::Refused { status: 501 };
        assert_eq!(sequence(Answered::Refused(501), Answered::Silent, None), refused);
        assert_eq!(sequence(Answered::Done, Answered::Refused(501), Some(true)), refused);
        let ignored = ConditionClass::Ignored;
        assert_eq!(sequence(Answered::Done, Answered::Done, Some(false)), ignored);
        assert_eq!(sequence(Answered::Done, Answered::Unmet(412), Some(false)), ignored);
        for (met, unmet, is_kept) in [
            (Answered::Trouble(503), Answered::Silent, None),
            (Answered::Silent, Answered::Silent, None),
            (Answered::Done, Answered::Trouble(500), Some(true)),
            (Answered::Done, Answered::Unmet(412), None),
        ] {
            assert_eq!(sequence(met, unmet, is_kept), ConditionClass::Unknown, "{met:?} {unmet:?}");
        }
    }

    #[test]
    fn writers_have_contents_of_their_own() {
        assert_eq!(race_content(0).len(), RACE_BYTES);
        assert_ne!(race_content(1), race_content(11));
    }
}
