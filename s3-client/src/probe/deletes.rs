//! Deletes, one by one and many at once.

use super::bare::Bare;
use super::findings::{Found, MultiDelete};
use super::report::Deletes;
use super::session::{Answered, Attempts, Session};
use crate::call::{RawAnswer, Signing};
use crate::key::ObjectKey;
use crate::ops::{DeleteObjects, DeleteReport, Integrity};
use crate::transport::Transport;
use crate::xml;

/// What came of a multi-delete of two objects and a missing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    answer: Answered,
    /// The answer can be understood, and says that both objects are gone.
    says_gone: bool,
    /// One of them is still there.
    is_there: Option<bool>,
}

/// Finds out how deletes behave. `keeps_versions`: the bucket does, and quiet mode would leave markers of which nobody tells.
pub(super) async fn deletes<T: Transport>(session: &Session<'_, T>, keeps_versions: bool) -> Deletes {
    let missing = session.key("delete/missing");
    let single = session.delete(&missing, Attempts::Two, Signing::EachAttempt).await;
    let missing_key_is_fine = match Answered::of(&single) {
        Answered::Done => Found::Yes,
        Answered::Refused(_) => Found::No,
        _ => Found::Unknown,
    };
    let mut found = Deletes { missing_key_is_fine, ..Deletes::default() };
    let Some(keys) = objects(session, "multi").await else { return found };
    let (facts, report) = multi_delete(session, &keys, &missing).await;
    let multi = multi(facts);
    found.multi = multi;
    if let (MultiDelete::Works, Some(report)) = (multi, report) {
        let is_complete = report.failed.is_empty() && report.unreported.is_empty();
        found.multi_reports_all = is_complete.into();
        found.quiet = if keeps_versions { Found::Unknown } else { quiet(session).await };
        found.needs_md5 = needs_md5(session).await;
    }
    found
}

/// Puts two objects to delete; `None` if that is not possible: a missing key is deleted by any server.
async fn objects<T: Transport>(session: &Session<'_, T>, name: &str) -> Option<[ObjectKey; 2]> {
    let names = [format!("delete/{name}-1"), format!("delete/{name}-2")];
    for name in &names {
        session.put_plain(name, "x").await.ok()?;
    }
    Some(names.map(|name| session.key(&name)))
}

async fn multi_delete<T: Transport>(
    session: &Session<'_, T>,
    keys: &[ObjectKey; 2],
    missing: &ObjectKey,
) -> (Facts, Option<DeleteReport>) {
    let all = keys.iter().chain([missing]).cloned();
    let op = Bare::new(DeleteObjects::new(all)).with_integrity(Integrity::Md5);
    let result = session.delete_many(&op, Attempts::Two, Signing::EachAttempt).await;
    let answer = Answered::of(&result);
    let report = result.ok().map(|(report, _)| report);
    let is_gone = |report: &DeleteReport, key: &ObjectKey| {
        report.deleted.iter().any(|deleted| deleted.target.key == *key)
    };
    let says_gone = report.as_ref().is_some_and(|report| keys.iter().all(|key| is_gone(report, key)));
    let mut is_there = Some(false);
    for key in keys {
        is_there = match (is_there, session.exists(key).await) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
    }
    (Facts { answer, says_gone, is_there }, report)
}

/// Decides whether multi-delete works.
fn multi(facts: Facts) -> MultiDelete {
    match (facts.answer, facts.is_there) {
        (Answered::Done, Some(false)) if facts.says_gone => MultiDelete::Works,
        (Answered::Done, _) if facts.is_there.is_some() => MultiDelete::Unreliable,
        // A server that cannot do it for now and one that never can look alike; single deletes do for both (spec §3, point 13).
        (Answered::Refused(status) | Answered::Trouble(status) | Answered::Unmet(status), _) => {
            MultiDelete::Refused { status }
        }
        _ => MultiDelete::Unknown,
    }
}

async fn quiet<T: Transport>(session: &Session<'_, T>) -> Found {
    let Some(keys) = objects(session, "quiet").await else { return Found::Unknown };
    let op = Bare::new(DeleteObjects::new(keys).quiet()).with_integrity(Integrity::Md5);
    let result = session.delete_many(&op, Attempts::Two, Signing::EachAttempt).await;
    let Ok((_, raw)) = result else { return Found::Unknown };
    successes(&raw).map(|successes| successes == 0).into()
}

/// Counts the successes that an answer names.
fn successes(raw: &RawAnswer) -> Option<u32> {
    let count = xml::parse(&raw.answer.body, "DeleteResult", |reader| {
        let mut count = 0;
        while let Some(name) = reader.next_child()? {
            count += u32::from(name == "Deleted");
            reader.skip()?;
        }
        Ok(count)
    });
    count.ok()
}

async fn needs_md5<T: Transport>(session: &Session<'_, T>) -> Found {
    let op = Bare::new(DeleteObjects::new([session.key("delete/missing")]));
    match Answered::of(&session.delete_many(&op, Attempts::One, Signing::EachAttempt).await) {
        Answered::Done => Found::No,
        Answered::Refused(_) => Found::Yes,
        _ => Found::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Answer;

    #[test]
    fn a_multi_delete_must_do_what_it_says() {
        let decide = |answer, says_gone, is_there| multi(Facts { answer, says_gone, is_there });
        assert_eq!(decide(Answered::Done, true, Some(false)), MultiDelete::Works);
        assert_eq!(decide(Answered::Done, true, Some(true)), MultiDelete::Unreliable);
        assert_eq!(decide(Answered::Done, false, Some(false)), MultiDelete::Unreliable);
        assert_eq!(decide(Answered::Done, true, None), MultiDelete::Unknown);
        assert_eq!(decide(Answered::Refused(501), false, Some(true)), MultiDelete::Refused { status: 501 });
        assert_eq!(decide(Answered::Trouble(500), false, Some(true)), MultiDelete::Refused { status: 500 });
        assert_eq!(decide(Answered::Silent, false, None), MultiDelete::Unknown);
    }

    #[test]
    fn successes_are_counted_in_what_the_server_sent() {
        let raw = |body: &'static str| {
            let answer = Answer { headers: http::HeaderMap::new(), body: body.into() };
            successes(&RawAnswer { status: 200, answer })
        };
        let two = "<DeleteResult><Deleted><Key>a</Key></Deleted><Error/><Deleted/></DeleteResult>";
        assert_eq!((raw("<DeleteResult/>"), raw(two), raw("")), (Some(0), Some(2), None));
    }
}
