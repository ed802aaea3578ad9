//! Reading: ranges, empty objects, lengths.

use super::bare::Bare;
use super::findings::{Found, Ranges};
use super::report::Reading;
use super::session::{Answered, Session};
use crate::ops::{ByteRange, GetObject, HeadObject, header_text};
use crate::transport::Transport;

const CONTENT: &str = "0123456789";

/// The range asked for, what it holds, and how an answer names it.
const RANGE: ByteRange = ByteRange::Bounded { first: 2, last: 4 };
const PART: &str = "234";
const CONTENT_RANGE: &str = "bytes 2-4/10";

/// Finds out how reading behaves.
pub(super) async fn reading<T: Transport>(session: &Session<'_, T>) -> Reading {
    let (full, empty) = (session.key("read/full"), session.key("read/empty"));
    let mut found = Reading::default();
    if session.put_plain("read/full", CONTENT).await.is_ok() {
        let get = Bare::new(GetObject::new(full.clone()).with_range(RANGE));
        let result = session.ask(&get).await;
        found.ranges = match &result {
            Ok(raw) => {
                let content_range = header_text(&raw.answer.headers, "content-range");
                ranges(raw.status, content_range, &raw.answer.body)
            }
            Err(_) => match Answered::of(&result) {
                Answered::Refused(status) | Answered::Unmet(status) => Ranges::Refused { status },
                _ => Ranges::Unknown,
            },
        };
        let head = Bare::new(HeadObject::new(full));
        let length = session.ask(&head).await.ok();
        let length = length.map(|raw| header_text(&raw.answer.headers, "content-length") == Some("10"));
        found.head_length = length.into();
    }
    found.empty_object = match Answered::of(&session.put_plain("read/empty", "").await) {
        Answered::Done => session.content(&empty).await.map(|content| content.is_empty()).into(),
        Answered::Refused(_) => Found::No,
        _ => Found::Unknown,
    };
    found
}

/// Decides what a server makes of ranges.
fn ranges(status: u16, content_range: Option<&str>, body: &[u8]) -> Ranges {
    match (status, content_range) {
        (206, Some(CONTENT_RANGE)) if body == PART.as_bytes() => Ranges::Partial,
        (200, Some(CONTENT_RANGE)) if body == PART.as_bytes() => Ranges::Whole,
        (200, None) if body == CONTENT.as_bytes() => Ranges::Ignored,
        _ => Ranges::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_told_by_status_header_and_body() {
        assert_eq!(ranges(206, Some(CONTENT_RANGE), b"234"), Ranges::Partial);
        assert_eq!(ranges(200, Some(CONTENT_RANGE), b"234"), Ranges::Whole);
        assert_eq!(ranges(200, None, b"0123456789"), Ranges::Ignored);
        for (status, content_range, body) in [
            (206, Some("bytes 2-5/10"), &b"2345"[..]),
            (206, None, b"234"),
            (206, Some(CONTENT_RANGE), b"23"),
        ] {
            assert_eq!(ranges(status, content_range, body), Ranges::Wrong, "{content_range:?}");
        }
    }
}
