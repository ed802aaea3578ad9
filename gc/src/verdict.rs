//! What becomes of one listed file or object: a pure decision.

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::dir::EntryKind;
use coldkeep_chunk_store::switch::is_off;

use crate::target::Agreement;

/// What is known about one listed file or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// What the file or object is.
    pub kind: EntryKind,
    /// Whether an index refers to its digest.
    pub referenced: bool,
    /// Last use: the atime of the chunk's local file, or the time of the last write to a temporary file.
    pub used_at: Option<StoreTime>,
    /// Start of the latest upload of the digest (atime of the upload marker), where there is an object backend.
    pub upload_started_at: Option<StoreTime>,
    /// Last write of the object in the store's own clock, corrected for skew, where there is an object backend.
    pub modified_at: Option<StoreTime>,
    /// Whether object and local record agree, where there is an object backend.
    pub agreement: Agreement,
}

/// What becomes of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Stays: an index refers to it.
    Keep,
    /// Stays for now: not referenced, but used or written at or after the cutoff, or its age is not known.
    Pending,
    /// Goes.
    Condemn,
    /// Stays, and its object and its local record are made to agree (R14).
    Heal,
}

/// Decides about one candidate (R7, R14, R15); what it does not know, it keeps.
///
/// A bad copy stays while an index refers to its digest. A temporary file and an upload marker matter only to the one
/// upload that made them, so only their age counts. An object without marker to which nothing refers is garbage, or a
/// chunk whose upload is not over; a marker without object that is in use would make every later backup rely on nothing
/// (hazard H16).
pub fn verdict(candidate: &Candidate, cutoff: StoreTime) -> Verdict {
    let protects = match candidate.kind {
        EntryKind::Chunk => candidate.referenced,
        EntryKind::Bad(_) => candidate.referenced && !is_off("r15"),
        EntryKind::Temporary | EntryKind::UploadMarker => false,
    };
    if protects {
        return if candidate.agreement == Agreement::Agrees { Verdict::Keep } else { Verdict::Heal };
    }
    // R7: each of these is a sign of life; the newest one counts.
    let seen = [candidate.upload_started_at, candidate.used_at, candidate.modified_at];
    match seen.into_iter().flatten().max() {
        Some(seen_at) if seen_at < cutoff => Verdict::Condemn,
        _ if candidate.agreement == Agreement::NoObject => Verdict::Heal,
        _ => Verdict::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUTOFF: StoreTime = StoreTime::from_unix(1000, 0);

    fn times() -> [Option<StoreTime>; 5] {
        [
            None,
            Some(StoreTime::EPOCH),
            Some(StoreTime::from_unix_nanos(CUTOFF.unix_nanos() - 1)),
            Some(CUTOFF),
            Some(StoreTime::from_unix(2000, 0)),
        ]
    }

    fn candidates() -> Vec<Candidate> {
        let kinds = [EntryKind::Chunk, EntryKind::Bad(3), EntryKind::Temporary, EntryKind::UploadMarker];
        let mut all = Vec::new();
        for kind in kinds {
            for referenced in [false, true] {
                for agreement in [Agreement::Agrees, Agreement::NoMarker, Agreement::NoObject] {
                    for used_at in times() {
                        for upload_started_at in times() {
                            all.extend(times().map(|modified_at| Candidate {
                                kind,
                                referenced,
                                used_at,
                                upload_started_at,
                                modified_at,
                                agreement,
                            }));
                        }
                    }
                }
            }
        }
        all
    }

    #[test]
    fn every_combination_gets_the_verdict_of_the_rules() {
        // Goal: the whole decision table. Method: all 3,000 combinations against the rules stated the other way round.
        let mut seen = [0; 4];
        for candidate in candidates() {
            let times = [candidate.used_at, candidate.upload_started_at, candidate.modified_at];
            let alive = times.iter().any(|time| time.is_some_and(|time| time >= CUTOFF));
            let age_known = times.iter().any(Option::is_some);
            let needed =
                candidate.referenced && matches!(candidate.kind, EntryKind::Chunk | EntryKind::Bad(_));
            let expected = match (needed, alive || !age_known, candidate.agreement) {
                (false, false, _) => Verdict::Condemn,
                (true, _, Agreement::Agrees) => Verdict::Keep,
                (false, true, Agreement::Agrees | Agreement::NoMarker) => Verdict::Pending,
                (true, ..) | (_, _, Agreement::NoObject) => Verdict::Heal,
            };
            assert_eq!(verdict(&candidate, CUTOFF), expected, "{candidate:?}");
            seen[expected as usize] += 1;
        }
        assert_eq!(seen.iter().sum::<i32>(), 3000);
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }

    #[test]
    fn use_at_the_cutoff_itself_protects() {
        let mut candidate = Candidate {
            kind: EntryKind::Chunk,
            referenced: false,
            used_at: Some(CUTOFF),
            upload_started_at: None,
            modified_at: None,
            agreement: Agreement::Agrees,
        };
        assert_eq!(verdict(&candidate, CUTOFF), Verdict::Pending);
        candidate.used_at = Some(StoreTime::from_unix_nanos(CUTOFF.unix_nanos() - 1));
        assert_eq!(verdict(&candidate, CUTOFF), Verdict::Condemn);
    }
}
