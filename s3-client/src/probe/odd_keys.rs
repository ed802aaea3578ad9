//! Keys that S3 allows and not every server can hold.
//!
//! Each is put, read and listed on its own, so that one that breaks listings breaks no other's. They also show whether names are encoded
//! where a listing says so: plain names look the same either way.

use futures_util::future::join_all;

use super::bare::Bare;
use super::findings::{KeyEncoding, KeyFault, OddKey};
use super::listing::list;
use super::session::{Answered, IN_FLIGHT, Session};
use crate::key::{KEY_BYTES_MAX, ObjectKey};
use crate::ops::{ListObjectsV2, PutObject};
use crate::transport::Transport;

/// What is odd, and the end of the key that shows it.
const KINDS: [(&str, &str); 14] = [
    ("space", "a b"),
    ("plus", "a+b"),
    ("percent", "a%20b%"),
    ("tilde", "a~b"),
    ("unicode", "ä-日本-😀"),
    ("unicode, not composed", "a\u{308}"),
    ("double slash", "a//b"),
    ("trailing slash", "a/"),
    ("dot segment", "a/./b"),
    ("double-dot segment", "a/../b"),
    ("quotes and brackets", "\"'<&>[]"),
    ("backslash", "a\\b"),
    ("question mark and hash", "a?b#c"),
    ("control character", "a\u{1}b"),
];

/// How many there are, with the longest key and the one with a leading slash.
const KINDS_TRIED: usize = KINDS.len() + 2;

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    put: Answered,
    /// A get returns what was put.
    is_readable: bool,
    /// What a listing shows in its place; `None` if it could not be understood.
    listed: Option<Vec<String>>,
    /// It is listed as it is only if no encoding is asked for.
    is_plain: bool,
}

/// What odd keys showed.
pub(super) struct Found {
    /// Those that do not work.
    pub(super) faults: Vec<OddKey>,
    pub(super) tried: u32,
    /// How listings encode keys.
    pub(super) encoding: KeyEncoding,
}

/// Tries odd keys. `encoding` is what listings say of themselves.
pub(super) async fn odd_keys<T: Transport>(session: &Session<'_, T>, encoding: KeyEncoding) -> Found {
    let mut found = Found { faults: Vec::new(), tried: KINDS_TRIED as u32, encoding };
    for group in kinds(session.prefix()).chunks(IN_FLIGHT) {
        let tries = group.iter().map(|(kind, place, key)| async move {
            let facts = facts(session, encoding, place, key).await;
            let fault = fault(&facts, key.as_str()).map(|fault| {
                let fault = fault.behind(session.prefix());
                OddKey { kind: (*kind).to_owned(), fault }
            });
            (fault, facts.is_plain)
        });
        for (fault, is_plain) in join_all(tries).await {
            found.faults.extend(fault);
            if is_plain {
                found.encoding = KeyEncoding::Claimed;
            }
        }
    }
    found
}

/// Lists what to try: what is odd, what to list, the key.
fn kinds(prefix: &str) -> Vec<(&'static str, String, ObjectKey)> {
    let mut kinds = Vec::with_capacity(KINDS_TRIED);
    let mut add = |kind, place: String, end: &str| {
        if let Ok(key) = ObjectKey::new(format!("{place}{end}")) {
            kinds.push((kind, place, key));
        }
    };
    for (idx, (kind, end)) in KINDS.into_iter().enumerate() {
        add(kind, format!("{prefix}odd/{idx}-"), end);
    }
    // Below a prefix the leading slash is one that follows another.
    add("slash at the start of a name", format!("{prefix}odd/"), "/a");
    let place = format!("{prefix}odd/long-");
    let end = "x".repeat(KEY_BYTES_MAX - place.len());
    add("1024 bytes", place, &end);
    kinds
}

async fn facts<T: Transport>(
    session: &Session<'_, T>,
    encoding: KeyEncoding,
    place: &str,
    key: &ObjectKey,
) -> Facts {
    // Different from what any other key has, so that no other object passes for this one.
    let content = format!("content of {}", key.as_str());
    let put = Bare::new(PutObject::new(key.clone(), content.clone()));
    let put = Answered::of(&session.put(key, &put).await);
    if put != Answered::Done {
        return Facts { put, is_readable: false, listed: None, is_plain: false };
    }
    let is_readable = session.content(key).await.is_some_and(|got| got == content);
    let listed = names(session, encoding, place).await;
    if encoding == KeyEncoding::Url && !shows(listed.as_deref(), key.as_str()) {
        let plain = names(session, KeyEncoding::Claimed, place).await;
        if shows(plain.as_deref(), key.as_str()) {
            return Facts { put, is_readable, listed: plain, is_plain: true };
        }
    }
    Facts { put, is_readable, listed, is_plain: false }
}

async fn names<T: Transport>(
    session: &Session<'_, T>,
    encoding: KeyEncoding,
    place: &str,
) -> Option<Vec<String>> {
    let page = list(session, encoding, ListObjectsV2::new().with_prefix(place)).await.ok()?;
    Some(page.objects.iter().map(|object| object.key.as_str().to_owned()).collect())
}

fn shows(listed: Option<&[String]>, key: &str) -> bool {
    listed.is_some_and(|listed| listed.iter().any(|listed| listed == key))
}

/// Decides what is wrong, if anything.
fn fault(facts: &Facts, key: &str) -> Option<KeyFault> {
    if facts.put != Answered::Done {
        return Some(match facts.put.error_status() {
            Some(status) => KeyFault::Refused { status },
            None => KeyFault::Failed,
        });
    }
    if !facts.is_readable {
        return Some(KeyFault::Lost);
    }
    match facts.listed.as_deref() {
        listed if shows(listed, key) => None,
        Some([listed]) => Some(KeyFault::Altered { listed: listed.clone() }),
        _ => Some(KeyFault::Unlisted),
    }
}

impl KeyFault {
    /// Leaves out what is the same for all keys of the probe, and of no use after it.
    fn behind(self, prefix: &str) -> KeyFault {
        match self {
            KeyFault::Altered { listed } => {
                let listed = listed.strip_prefix(prefix).unwrap_or(&listed).to_owned();
                KeyFault::Altered { listed }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(listed: Option<&[&str]>) -> Facts {
        let listed = listed.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        Facts { put: Answered::Done, is_readable: true, listed, is_plain: false }
    }

    #[test]
    fn a_key_must_be_read_and_listed_as_it_is() {
        assert_eq!(fault(&read(Some(&["p/a b"])), "p/a b"), None);
        let altered = fault(&read(Some(&["p/a+b"])), "p/a b").unwrap();
        assert_eq!(altered.behind("p/"), KeyFault::Altered { listed: "a+b".to_owned() });
        assert_eq!(fault(&read(Some(&[])), "k"), Some(KeyFault::Unlisted));
        assert_eq!(fault(&read(None), "k"), Some(KeyFault::Unlisted));
        let lost = Facts { is_readable: false, ..read(Some(&["k"])) };
        assert_eq!(fault(&lost, "k"), Some(KeyFault::Lost));
        let refused = |put| fault(&Facts { put, ..read(None) }, "k");
        assert_eq!(refused(Answered::Trouble(503)), Some(KeyFault::Refused { status: 503 }));
        assert_eq!(refused(Answered::Silent), Some(KeyFault::Failed));
    }

    #[test]
    fn every_kind_has_a_key_below_the_prefix() {
        let prefix = "x".repeat(crate::probe::PROBE_PREFIX_BYTES_MAX + 40);
        let kinds = kinds(&prefix);
        assert_eq!(kinds.len(), KINDS_TRIED);
        assert!(kinds.iter().all(|(_, place, key)| key.as_str().starts_with(place.as_str())));
        assert!(kinds.iter().all(|(_, place, _)| place.starts_with(&prefix)));
        assert!(kinds.iter().any(|(_, _, key)| key.as_str().len() == KEY_BYTES_MAX));
    }
}
