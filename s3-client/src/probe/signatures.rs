//! How long signed requests are accepted.
//!
//! Nothing here waits: requests are signed at times that have passed already, or are still to come. A request counts as refused only if the
//! server says so *and* nothing was done.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;

use super::bare::Bare;
use super::findings::{Presigning, SignatureWindow};
use super::report::{SignatureAge, Signatures};
use super::session::{Answered, Attempts, IN_FLIGHT, Session};
use crate::call::Signing;
use crate::key::ObjectKey;
use crate::ops::{DeleteObjects, HeadObject, Integrity, PutObject};
use crate::transport::Transport;

/// How far signing times of headers are from the server's clock. The first is the control: what is refused at once has no window.
const DISTANCES: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_mins(5),
    Duration::from_mins(14),
    Duration::from_mins(16),
    Duration::from_mins(30),
    Duration::from_hours(1),
    Duration::from_hours(25),
];

/// How long after their expiry presigned requests are sent.
const LATENESSES: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(5), Duration::from_hours(1)];

/// Life of presigned requests: what deletes will have (R9: at most 60 s). One for all, so that those that are late differ in nothing else
/// from the one that is not: a server that takes no short lives would seem to enforce their end.
const LIFE: Duration = Duration::from_mins(1);

/// Time that a request may take on its way before a distance is no longer what it says, and is put right.
const WAY_MAX: Duration = Duration::from_secs(2);

/// Kinds of requests, each of which a server may treat in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Put,
    Delete,
    MultiDelete,
}

/// How a request is signed, in relation to the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// In its headers, so long ago.
    Behind(Duration),
    /// In its headers, so far in the future.
    Ahead(Duration),
    /// In its query, and expired so long ago.
    Late(Duration),
    /// In its query, and still good.
    InTime,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    distance: Duration,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// Refused, and nothing was done.
    Refused(u16),
    Unclear,
}

/// Finds out how long requests are accepted. `has_multi_delete`: only then are multi-deletes sent.
pub(super) async fn signatures<T: Transport>(session: &Session<'_, T>, has_multi_delete: bool) -> Signatures {
    let multi_delete =
        if has_multi_delete { age(session, Kind::MultiDelete).await } else { SignatureAge::default() };
    Signatures {
        read: age(session, Kind::Read).await,
        put: age(session, Kind::Put).await,
        delete: age(session, Kind::Delete).await,
        multi_delete,
    }
}

async fn age<T: Transport>(session: &Session<'_, T>, kind: Kind) -> SignatureAge {
    let behind = points(session, kind, &DISTANCES.map(Trial::Behind)).await;
    let ahead = points(session, kind, &DISTANCES.map(Trial::Ahead)).await;
    let late = points(session, kind, &LATENESSES.map(Trial::Late)).await;
    let in_time = points(session, kind, &[Trial::InTime]).await;
    SignatureAge {
        behind: window(&behind),
        ahead: window(&ahead),
        presigned: presigning(in_time.first().map_or(Verdict::Unclear, |point| point.verdict), &late),
    }
}

impl Trial {
    fn name(self) -> String {
        match self {
            Trial::Behind(distance) => format!("behind-{}", distance.as_secs()),
            Trial::Ahead(distance) => format!("ahead-{}", distance.as_secs()),
            Trial::Late(distance) => format!("late-{}", distance.as_secs()),
            Trial::InTime => "in-time".to_owned(),
        }
    }

    fn distance(self) -> Duration {
        match self {
            Trial::Behind(distance) | Trial::Ahead(distance) | Trial::Late(distance) => distance,
            Trial::InTime => Duration::ZERO,
        }
    }

    /// Signs for a server whose clock shows something between `earliest` and `latest`: it finds the request at most as old, or late, as it
    /// is meant to be, however its clock and the way there turn out.
    fn signing(self, (earliest, latest): (SystemTime, SystemTime)) -> Signing {
        let middle = earliest + latest.duration_since(earliest).unwrap_or_default() / 2;
        let before = |span| (latest + WAY_MAX).checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH);
        match self {
            // The control is to be as good as it gets.
            Trial::Behind(Duration::ZERO) => Signing::FixedHeaders { signed_at: middle },
            Trial::Behind(distance) => Signing::FixedHeaders { signed_at: before(distance) },
            Trial::Ahead(distance) => Signing::FixedHeaders { signed_at: middle + distance },
            Trial::Late(distance) => {
                Signing::Presigned { signed_at: before(distance + LIFE), expires_in: LIFE }
            }
            // Some refuse what is signed in the future.
            Trial::InTime => Signing::Presigned { signed_at: earliest, expires_in: LIFE },
        }
    }
}

async fn points<T: Transport>(session: &Session<'_, T>, kind: Kind, trials: &[Trial]) -> Vec<Point> {
    let mut all = Vec::new();
    for group in trials.chunks(IN_FLIGHT) {
        all.extend(join_all(group.iter().map(|trial| point(session, kind, *trial))).await);
    }
    all
}

async fn point<T: Transport>(session: &Session<'_, T>, kind: Kind, trial: Trial) -> Point {
    let name = format!("signed/{kind:?}-{}", trial.name());
    let key = session.key(&name);
    let unclear = Point { distance: trial.distance(), verdict: Verdict::Unclear };
    if kind != Kind::Put && session.put_plain(&name, "x").await.is_err() {
        return unclear;
    }
    let clock = session.notes().clock;
    // Without a date nobody can tell when anything has expired, whatever the server enforces.
    let Some(span) = clock.span(session.engine.clock.now()) else { return unclear };
    let begun_at = session.engine.clock.monotonic();
    let answer = send(session, kind, &key, trial.signing(span)).await;
    let took = session.engine.clock.monotonic().saturating_sub(begun_at);
    let is_done = match (kind, answer) {
        (_, Answered::Done) => Some(true),
        // Nothing to be done.
        (Kind::Read, _) => Some(false),
        (Kind::Put, _) => session.exists(&key).await,
        (Kind::Delete | Kind::MultiDelete, _) => session.exists(&key).await.map(|is_there| !is_there),
    };
    Point { distance: at_most(trial.distance(), took), verdict: verdict(answer, is_done) }
}

/// Returns the distance, put right for a request that was long on its way; whole seconds.
fn at_most(distance: Duration, took: Duration) -> Duration {
    let exact = distance + took.saturating_sub(WAY_MAX);
    Duration::from_secs(exact.as_secs() + u64::from(exact.subsec_nanos() > 0))
}

async fn send<T: Transport>(
    session: &Session<'_, T>,
    kind: Kind,
    key: &ObjectKey,
    signing: Signing,
) -> Answered {
    match kind {
        Kind::Read => {
            let head = Bare::new(HeadObject::new(key.clone()));
            Answered::of(&session.ask_with(&head, Attempts::One, signing).await)
        }
        Kind::Put => {
            let put = Bare::new(PutObject::new(key.clone(), "x"));
            Answered::of(&session.put_with(key, &put, Attempts::One, signing).await)
        }
        Kind::Delete => Answered::of(&session.delete(key, Attempts::One, signing).await),
        Kind::MultiDelete => {
            let delete = Bare::new(DeleteObjects::new([key.clone()])).with_integrity(Integrity::Md5);
            match session.delete_many(&delete, Attempts::One, signing).await {
                Ok((report, _)) if report.deleted.is_empty() => {
                    let status = report.failed.first().map(|failed| failed.error.status());
                    status.map_or(Answered::Silent, Answered::Refused)
                }
                other => Answered::of(&other),
            }
        }
    }
}

/// Decides whether a request was accepted.
fn verdict(answer: Answered, is_done: Option<bool>) -> Verdict {
    match (answer, is_done) {
        (Answered::Done, _) | (_, Some(true)) => Verdict::Accepted,
        (Answered::Refused(status) | Answered::Unmet(status), Some(false)) => Verdict::Refused(status),
        // One server answers 500 to presigned requests that it cannot read; another might be at it still.
        _ => Verdict::Unclear,
    }
}

/// Decides the window, from the nearest distance to the furthest. What is unclear counts as not refused.
fn window(points: &[Point]) -> SignatureWindow {
    let is_usable = points.first().is_some_and(|control| control.verdict == Verdict::Accepted);
    let last = points.iter().rposition(|point| !matches!(point.verdict, Verdict::Refused(_)));
    let Some(last) = last.filter(|_| is_usable) else { return SignatureWindow::Unknown };
    let accepted = points[..=last].iter().filter(|point| point.verdict == Verdict::Accepted);
    let accepted = accepted.map(|point| point.distance).max().unwrap_or_default();
    match (points.get(last + 1), points[last].verdict) {
        (Some(refused), _) => SignatureWindow::Bounded { accepted, refused: refused.distance },
        (None, Verdict::Accepted) => SignatureWindow::Unbounded,
        (None, _) => SignatureWindow::Unknown,
    }
}

/// Decides what presigning is worth, from one request in time and late ones, the least late first.
fn presigning(in_time: Verdict, late: &[Point]) -> Presigning {
    match in_time {
        Verdict::Accepted => {}
        Verdict::Refused(status) => return Presigning::Refused { status },
        Verdict::Unclear => return Presigning::Unknown,
    }
    let last = late.iter().rposition(|point| !matches!(point.verdict, Verdict::Refused(_)));
    let first_refused = last.map_or(0, |last| last + 1);
    match (late.get(first_refused), late.last().map(|point| point.verdict)) {
        (Some(refused), _) => Presigning::Enforced { late: refused.distance },
        (None, Some(Verdict::Accepted)) => Presigning::NotEnforced,
        (None, _) => Presigning::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKEWED: Verdict = Verdict::Refused(403);

    /// Verdicts at 0, 1, 2, … minutes.
    fn points(verdicts: &[Verdict]) -> Vec<Point> {
        let point = |(idx, verdict): (usize, &Verdict)| Point { distance: minutes(idx), verdict: *verdict };
        verdicts.iter().enumerate().map(point).collect()
    }

    fn minutes(idx: usize) -> Duration {
        Duration::from_mins(idx as u64)
    }

    fn bounded(accepted: usize, refused: usize) -> SignatureWindow {
        SignatureWindow::Bounded { accepted: minutes(accepted), refused: minutes(refused) }
    }

    #[test]
    fn a_window_ends_where_everything_beyond_is_refused() {
        use Verdict::{Accepted, Unclear};
        assert_eq!(window(&points(&[Accepted, Accepted, SKEWED, SKEWED])), bounded(1, 2));
        assert_eq!(window(&points(&[Accepted, SKEWED, SKEWED])), bounded(0, 1));
        // Whatever the server means by that, the later one was accepted.
        assert_eq!(window(&points(&[Accepted, SKEWED, Accepted, SKEWED])), bounded(2, 3));
        assert_eq!(window(&points(&[Accepted, Unclear, SKEWED])), bounded(0, 2));
    }

    #[test]
    fn a_window_without_an_end_or_a_control_is_none() {
        use Verdict::{Accepted, Unclear};
        assert_eq!(window(&points(&[Accepted, Accepted])), SignatureWindow::Unbounded);
        assert_eq!(window(&points(&[Accepted, SKEWED, Unclear])), SignatureWindow::Unknown);
        for control in [SKEWED, Unclear] {
            assert_eq!(window(&points(&[control, SKEWED, SKEWED])), SignatureWindow::Unknown);
        }
        assert_eq!(window(&[]), SignatureWindow::Unknown);
    }

    #[test]
    fn presigning_must_work_and_end() {
        use Verdict::{Accepted, Unclear};
        let late = |verdicts: &[Verdict]| presigning(Accepted, &points(verdicts));
        assert_eq!(late(&[SKEWED, SKEWED]), Presigning::Enforced { late: minutes(0) });
        assert_eq!(late(&[Accepted, SKEWED]), Presigning::Enforced { late: minutes(1) });
        assert_eq!(late(&[Accepted, Accepted]), Presigning::NotEnforced);
        assert_eq!(late(&[SKEWED, Unclear]), Presigning::Unknown);
        assert_eq!(presigning(SKEWED, &points(&[SKEWED])), Presigning::Refused { status: 403 });
        assert_eq!(presigning(Unclear, &points(&[SKEWED])), Presigning::Unknown);
    }

    #[test]
    fn a_refusal_counts_only_if_nothing_was_done() {
        assert_eq!(verdict(Answered::Refused(403), Some(false)), SKEWED);
        assert_eq!(verdict(Answered::Refused(403), Some(true)), Verdict::Accepted);
        assert_eq!(verdict(Answered::Refused(403), None), Verdict::Unclear);
        assert_eq!(verdict(Answered::Trouble(500), Some(false)), Verdict::Unclear);
        assert_eq!(verdict(Answered::Done, None), Verdict::Accepted);
    }

    #[test]
    fn old_requests_are_never_older_than_they_are_meant_to_be() {
        let earliest = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let span = (earliest, earliest + Duration::from_secs(1));
        let Signing::FixedHeaders { signed_at } = Trial::Behind(minutes(16)).signing(span) else { panic!() };
        // At once on a clock that is behind, after two seconds on one that is ahead.
        assert_eq!(earliest.duration_since(signed_at).unwrap(), Duration::from_secs(16 * 60 - 3));
        assert_eq!((span.1 + WAY_MAX).duration_since(signed_at).unwrap(), minutes(16));
        let late = Trial::Late(Duration::from_secs(5)).signing(span);
        let Signing::Presigned { signed_at, expires_in } = late else { panic!() };
        let expired_at = signed_at + expires_in;
        assert_eq!((span.1 + WAY_MAX).duration_since(expired_at).unwrap(), Duration::from_secs(5));
        // And it is late even if the server's clock is behind.
        assert!(expired_at < earliest);
    }

    #[test]
    fn a_slow_way_makes_the_distance_larger() {
        assert_eq!(at_most(minutes(16), Duration::from_millis(1999)), minutes(16));
        assert_eq!(at_most(minutes(16), Duration::from_millis(2001)), minutes(16) + Duration::from_secs(1));
    }
}
