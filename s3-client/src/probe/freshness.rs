//! Does writing an object again refresh its date?
//!
//! Without a wait that shows only if dates are finer than the probe is quick: the objects are written when it begins, and again when it ends.

use std::time::{Duration, SystemTime};

use super::bare::Bare;
use super::findings::{KeyEncoding, Refresh};
use super::listing::list;
use super::session::{Answered, Attempts, Session};
use crate::call::Signing;
use crate::ops::{CopyObject, ListObjectsV2};
use crate::transport::Transport;

const PUT_AGAIN: &str = "fresh/put";
const COPIED: &str = "fresh/copy";

/// How far apart two writes must be before equal dates tell something: more than dates are coarse.
const WHOLE_SECONDS_APART: Duration = Duration::from_millis(2100);
const FRACTIONS_APART: Duration = Duration::from_millis(50);

/// Objects that were written when the probe began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    put_again: Option<SystemTime>,
    copied: Option<SystemTime>,
    /// By the monotonic clock.
    at: Duration,
}

/// Dates before and after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    again: Answered,
    before: Option<SystemTime>,
    after: Option<SystemTime>,
    /// The writes were at least this far apart.
    apart: Duration,
}

/// Writes the objects.
pub(super) async fn begin<T: Transport>(session: &Session<'_, T>) -> Begun {
    for name in [PUT_AGAIN, COPIED] {
        // An object that cannot be put has no date.
        let _ = session.put_plain(name, "x").await;
    }
    let at = session.engine.clock.monotonic();
    Begun { put_again: modified(session, PUT_AGAIN).await, copied: modified(session, COPIED).await, at }
}

/// Writes them again; returns what puts do, and copies.
pub(super) async fn end<T: Transport>(session: &Session<'_, T>, begun: Begun) -> (Refresh, Refresh) {
    let apart = session.engine.clock.monotonic().saturating_sub(begun.at);
    let again = Answered::of(&session.put_plain(PUT_AGAIN, "x").await);
    let after = modified(session, PUT_AGAIN).await;
    let put_again = refresh(Facts { again, before: begun.put_again, after, apart });

    let key = session.key(COPIED);
    let bucket = session.engine.config.bucket().clone();
    let copy = CopyObject::new(bucket, key.clone(), key.clone());
    // A copy onto itself that changes nothing is refused (S3 API reference, CopyObject).
    let copy = Bare::new(copy.replace_metadata("application/octet-stream", [("probe", "again")]));
    let copied = session.put_with(&key, &copy, Attempts::Two, Signing::EachAttempt).await;
    let again = Answered::of(&copied.and_then(|raw| session.read(&copy, raw)));
    let after = modified(session, COPIED).await;
    (put_again, refresh(Facts { again, before: begun.copied, after, apart }))
}

/// Returns an object's date: from a listing, where it is finer on many servers, and which is what a collector goes by.
async fn modified<T: Transport>(session: &Session<'_, T>, name: &str) -> Option<SystemTime> {
    let key = session.key(name);
    let op = ListObjectsV2::new().with_prefix(key.as_str());
    let page = list(session, KeyEncoding::Unknown, op).await.ok();
    let object = page.and_then(|page| page.objects.into_iter().find(|object| object.key == key));
    match object.and_then(|object| object.last_modified) {
        Some(modified) => Some(modified),
        None => session.head(&key).await.ok()?.last_modified,
    }
}

/// Decides whether a write refreshed the date.
fn refresh(facts: Facts) -> Refresh {
    match facts.again {
        Answered::Done => {}
        Answered::Refused(status) | Answered::Unmet(status) => return Refresh::Refused { status },
        Answered::Trouble(_) | Answered::Silent => return Refresh::Unknown,
    }
    let (Some(before), Some(after)) = (facts.before, facts.after) else { return Refresh::Unknown };
    let is_fine = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.subsec_nanos() > 0)
    };
    let least = if is_fine(before) { FRACTIONS_APART } else { WHOLE_SECONDS_APART };
    match after.cmp(&before) {
        std::cmp::Ordering::Greater => Refresh::Refreshed,
        std::cmp::Ordering::Equal if facts.apart >= least => Refresh::Kept,
        _ => Refresh::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(before_millis: u64, after_millis: u64, apart_millis: u64) -> Facts {
        let at = |millis| Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
        Facts {
            again: Answered::Done,
            before: at(before_millis),
            after: at(after_millis),
            apart: Duration::from_millis(apart_millis),
        }
    }

    #[test]
    fn a_later_date_is_a_fresh_one() {
        assert_eq!(refresh(facts(5000, 6000, 300)), Refresh::Refreshed);
        assert_eq!(refresh(facts(5001, 5002, 1)), Refresh::Refreshed);
    }

    #[test]
    fn equal_dates_tell_something_only_if_they_are_finer_than_the_time_between() {
        assert_eq!(refresh(facts(5000, 5000, 300)), Refresh::Unknown);
        assert_eq!(refresh(facts(5000, 5000, 3000)), Refresh::Kept);
        assert_eq!(refresh(facts(5123, 5123, 300)), Refresh::Kept);
        assert_eq!(refresh(facts(6000, 5000, 3000)), Refresh::Unknown);
    }

    #[test]
    fn a_refusal_is_told_from_trouble() {
        let refused = Facts { again: Answered::Refused(501), ..facts(5000, 5000, 3000) };
        assert_eq!(refresh(refused), Refresh::Refused { status: 501 });
        let trouble = Facts { again: Answered::Trouble(503), ..facts(5000, 5000, 3000) };
        assert_eq!(refresh(trouble), Refresh::Unknown);
    }
}
