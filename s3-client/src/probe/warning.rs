//! What follows from a report for whoever keeps data on the server.

use std::fmt;
use std::time::Duration;

use super::findings::{BucketVersions, ConditionClass, Found, RequestBound, Verification};
use super::report::ProbeReport;

/// A `LastModified` that is further ahead than this is more than rounding (spec `s3-servers.md` §3, point 10).
const ROUNDING_MAX: Duration = Duration::from_secs(2);

/// A clock further off than this deserves to be set.
const CLOCK_OFFSET_MAX_MILLIS: u64 = 60_000;

/// Something that whoever keeps data there should know. `Display` says what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The probe did not come to its end.
    Incomplete,
    /// Keys of the probe are still there, or may appear.
    Remains,
    /// Nothing bounds when a delete without an answer takes effect.
    UnboundedDeletes,
    /// Nothing bounds when a put without an answer takes effect.
    UnboundedPuts,
    /// Compare-and-swap is no lock there.
    NoLock,
    /// Corruption on the way goes unnoticed by the server.
    UnverifiedUploads,
    /// Deleted objects stay as old versions.
    KeepsVersions,
    /// A lifecycle rule deletes objects.
    ExpiresObjects,
    /// A lifecycle rule moves objects where they may not be readable at once.
    MovesObjects,
    /// New objects are locked: deletes fail, or only hide.
    LocksObjects,
    /// Answers have no `Date`.
    NoDate,
    /// Our clock and the server's differ by more than a minute.
    ClockOffset,
    /// Objects are dated more than 2 s into the future.
    ModifiedAhead,
    /// Listings leave objects out, repeat them, or have them without a date.
    ListingUnreliable,
}

impl Warning {
    pub(super) fn of(report: &ProbeReport) -> Vec<Warning> {
        let (bucket, dates, listing) = (&report.bucket, &report.dates, &report.listing);
        let offset = dates.offset.map_or(0, |offset| offset.ahead_millis.unsigned_abs());
        let is_wrong = [listing.exact, listing.paging, listing.prefix, listing.last_modified];
        let is_verified = [report.integrity.payload_hash, report.integrity.crc32c, report.integrity.sha256];
        let all = [
            (Warning::Incomplete, !report.is_complete),
            (Warning::Remains, !report.remains.is_empty()),
            (Warning::UnboundedDeletes, report.delete_bound() == RequestBound::None),
            (Warning::UnboundedPuts, report.put_bound() == RequestBound::None),
            (Warning::NoLock, report.compare_and_swap.class != ConditionClass::Atomic),
            (Warning::UnverifiedUploads, !is_verified.contains(&Verification::Verified)),
            (Warning::KeepsVersions, bucket.versions == BucketVersions::Kept),
            (Warning::ExpiresObjects, bucket.expires_objects == Found::Yes),
            (Warning::MovesObjects, bucket.moves_objects == Found::Yes),
            (Warning::LocksObjects, bucket.locks_by_default == Found::Yes),
            (Warning::NoDate, dates.offset.is_none()),
            (Warning::ClockOffset, offset > CLOCK_OFFSET_MAX_MILLIS),
            (Warning::ModifiedAhead, dates.modified_ahead.is_some_and(|ahead| ahead > ROUNDING_MAX)),
            (Warning::ListingUnreliable, is_wrong.contains(&Found::No)),
        ];
        all.into_iter().filter(|(_, holds)| *holds).map(|(warning, _)| warning).collect()
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Warning::Incomplete => "the probe did not come to its end; what is unknown was not asked",
            Warning::Remains => "objects of the probe are left, or may appear; remove them",
            Warning::UnboundedDeletes => "a delete without an answer may take effect at any time",
            Warning::UnboundedPuts => "a put without an answer may take effect at any time",
            Warning::NoLock => "compare-and-swap is not known to be safe; do not build a lock on it",
            Warning::UnverifiedUploads => "the server compares no hash of an upload with its content",
            Warning::KeepsVersions => {
                "deleted objects stay as old versions and cost space until a rule ends them"
            }
            Warning::ExpiresObjects => "a lifecycle rule deletes objects; exempt the store's prefix",
            Warning::MovesObjects => {
                "a lifecycle rule moves objects; those in an archive cannot be read at once"
            }
            Warning::LocksObjects => {
                "new objects are locked; deleting them frees nothing until the lock ends"
            }
            Warning::NoDate => "answers have no date, so nobody can tell when a signature has expired",
            Warning::ClockOffset => "the clocks differ by more than a minute; set ours, or the server's",
            Warning::ModifiedAhead => {
                "objects are dated into the future; allow for it when judging their age"
            }
            Warning::ListingUnreliable => {
                "listings are incomplete, repeat keys or lack dates; do not collect there"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_report_warns_of_what_is_not_known_to_be_safe() {
        let warnings = ProbeReport::default().warnings();
        for expected in [Warning::Incomplete, Warning::UnboundedDeletes, Warning::NoLock, Warning::NoDate] {
            assert!(warnings.contains(&expected), "{expected}");
        }
        assert!(!warnings.contains(&Warning::KeepsVersions) && !warnings.contains(&Warning::Remains));
    }

    #[test]
    fn settings_of_the_bucket_warn() {
        let mut report = ProbeReport::default();
        report.bucket.versions = BucketVersions::Kept;
        report.bucket.expires_objects = Found::Yes;
        report.dates.modified_ahead = Some(Duration::from_secs(3));
        let warnings = report.warnings();
        for expected in [Warning::KeepsVersions, Warning::ExpiresObjects, Warning::ModifiedAhead] {
            assert!(warnings.contains(&expected), "{expected}");
        }
        report.dates.modified_ahead = Some(Duration::from_secs(1));
        assert!(!report.warnings().contains(&Warning::ModifiedAhead));
    }
}
