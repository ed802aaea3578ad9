//! Hashes of uploads: are they accepted, compared, and returned?
//!
//! An upload with a wrong one is sent twice if an error of the server's answers it, like every other: a passing 503 is no comparison.

use super::bare::Bare;
use super::findings::{Found, Verification};
use super::report::Integrity;
use super::session::{Answered, Session};
use crate::ops::{self, Checksums, HeadObject, PutObject};
use crate::transport::Transport;

/// The check input of the CRC catalogue, whose checksums are published.
const CONTENT: &str = "123456789";

/// A checksum header.
struct Algorithm {
    name: &'static str,
    header: &'static str,
    /// That of [`CONTENT`], in Base64.
    right: &'static str,
    /// That of something else.
    wrong: &'static str,
    returned: fn(&Checksums) -> Option<&str>,
}

const CRC32C: Algorithm = Algorithm {
    name: "crc32c",
    header: "x-amz-checksum-crc32c",
    right: "4waSgw==",
    wrong: "AAAAAA==",
    returned: |sums| sums.crc32c.as_deref(),
};

const SHA256: Algorithm = Algorithm {
    name: "sha256",
    header: "x-amz-checksum-sha256",
    right: "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
    wrong: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    returned: |sums| sums.sha256.as_deref(),
};

/// Finds out what hashes of uploads are worth.
pub(super) async fn integrity<T: Transport>(session: &Session<'_, T>) -> Integrity {
    let (crc32c, crc32c_returned) = checksum(session, &CRC32C).await;
    let (sha256, sha256_returned) = checksum(session, &SHA256).await;
    let payload_hash = payload_hash(session).await;
    Integrity { crc32c, crc32c_returned, sha256, sha256_returned, payload_hash }
}

async fn checksum<T: Transport>(session: &Session<'_, T>, algorithm: &Algorithm) -> (Verification, Found) {
    let right = session.key(&format!("checksum/{}-right", algorithm.name));
    let put =
        Bare::new(PutObject::new(right.clone(), CONTENT)).with_header(algorithm.header, algorithm.right);
    let accepted = Answered::of(&session.put(&right, &put).await);
    if accepted != Answered::Done {
        return (verification(accepted, Answered::Silent, None), Found::Unknown);
    }
    let wrong = session.key(&format!("checksum/{}-wrong", algorithm.name));
    let put =
        Bare::new(PutObject::new(wrong.clone(), CONTENT)).with_header(algorithm.header, algorithm.wrong);
    let refused = Answered::of(&session.put(&wrong, &put).await);
    let is_stored = session.exists(&wrong).await;
    let head = Bare::new(HeadObject::new(right).with_checksums());
    let returned = session.ask(&head).await.and_then(|raw| session.read(&head, raw));
    let returned = returned.ok().map(|meta| (algorithm.returned)(&meta.checksums) == Some(algorithm.right));
    (verification(accepted, refused, is_stored), returned.into())
}

async fn payload_hash<T: Transport>(session: &Session<'_, T>) -> Verification {
    let key = session.key("checksum/payload");
    let claimed = ops::Integrity::Claimed([0x5a; 32]);
    let put = Bare::new(PutObject::new(key.clone(), CONTENT)).with_integrity(claimed);
    let answer = Answered::of(&session.put(&key, &put).await);
    // That right hashes are accepted has shown before: every put has one.
    verification(Answered::Done, answer, session.exists(&key).await)
}

/// Decides what a hash is worth, from an upload with a right one, one with a wrong one, and whether the latter is there.
fn verification(right: Answered, wrong: Answered, is_stored: Option<bool>) -> Verification {
    match (right, wrong, is_stored) {
        (Answered::Refused(status) | Answered::Unmet(status), ..) => Verification::Refused { status },
        (Answered::Done, Answered::Done, _) => Verification::Ignored,
        // Whatever the error says (spec §3, points 3 and 5: some say 500), what counts is whether it was stored.
        (
            Answered::Done,
            Answered::Refused(_) | Answered::Unmet(_) | Answered::Trouble(_),
            Some(is_stored),
        ) => {
            if is_stored {
                Verification::StoredAnyway
            } else {
                Verification::Verified
            }
        }
        _ => Verification::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_what_was_stored() {
        let wrong = |answer, stored| verification(Answered::Done, answer, stored);
        assert_eq!(wrong(Answered::Refused(400), Some(false)), Verification::Verified);
        assert_eq!(wrong(Answered::Trouble(500), Some(false)), Verification::Verified);
        assert_eq!(wrong(Answered::Refused(400), Some(true)), Verification::StoredAnyway);
        assert_eq!(wrong(Answered::Done, Some(true)), Verification::Ignored);
        assert_eq!(wrong(Answered::Refused(400), None), Verification::Unknown);
        assert_eq!(wrong(Answered::Silent, Some(false)), Verification::Unknown);
        let refused = verification(Answered::Refused(400), Answered::Silent, None);
        assert_eq!(refused, Verification::Refused { status: 400 });
        assert_eq!(verification(Answered::Trouble(503), Answered::Silent, None), Verification::Unknown);
    }
}
