//! What the probe found, as a value.

use std::time::Duration;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::findings::{
    BucketVersions, ClockOffset, ConditionClass, Found, KeyEncoding, MultiDelete, OddKey, Presigning, Ranges,
    Refresh, RequestBound, SignatureWindow, TagForm, Verification,
};
use super::warning::Warning;
use crate::config::{Quirk, Quirks};

/// What a server does, found out by [`Client::probe`](crate::Client::probe).
///
/// It can be printed (`Display`: a line for each capability and what follows from it), compared, and with the feature `serde` stored
/// (`to_json`, `from_json`). What it says holds for the day on which it was made: servers change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(default))]
#[non_exhaustive]
pub struct ProbeReport {
    /// What the server calls itself (`Server` header). Nothing follows from it.
    pub server: Option<String>,
    /// Everything was asked. If not, time was up, and what is missing is unknown.
    pub is_complete: bool,
    /// Put if absent (`If-None-Match: *`).
    pub put_if_absent: ConditionalPut,
    /// Compare-and-swap (`If-Match` on puts).
    pub compare_and_swap: ConditionalPut,
    /// How compare-and-swap, if it works, wants the tag.
    pub tag_form: Option<TagForm>,
    /// Deletes.
    pub deletes: Deletes,
    /// Hashes of uploads.
    pub integrity: Integrity,
    /// How long a signed request is accepted.
    pub signatures: Signatures,
    /// The server's clock, and its dates of objects.
    pub dates: Dates,
    /// Listings.
    pub listing: Listings,
    /// Odd keys that do not work; empty if all those tried do.
    pub odd_keys: Vec<OddKey>,
    /// How many odd keys were tried.
    pub odd_keys_tried: u32,
    /// Reading objects.
    pub reading: Reading,
    /// Settings of the bucket.
    pub bucket: BucketSettings,
    /// Keys that could not be removed, and those whose write got no answer and may still take effect.
    pub remains: Vec<String>,
}

/// A condition on puts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(default))]
#[non_exhaustive]
pub struct ConditionalPut {
    /// What the server makes of it.
    pub class: ConditionClass,
    /// Races that told something.
    pub races: u32,
    /// Writers of each race.
    pub writers: u32,
    /// Losers of races got answers other than "the condition does not hold" (412, 409): expect server errors there.
    pub losers_can_fail: bool,
}

/// Deletes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(default))]
#[non_exhaustive]
pub struct Deletes {
    /// Deleting a missing key succeeds (204).
    pub missing_key_is_fine: Found,
    /// Multi-delete.
    pub multi: MultiDelete,
    /// The answer to a multi-delete names every key, missing ones too.
    pub multi_reports_all: Found,
    /// Quiet mode of multi-delete leaves successes out.
    pub quiet: Found,
    /// A multi-delete without `Content-MD5` is refused.
    pub needs_md5: Found,
}

/// Hashes of uploads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(default))]
#[non_exhaustive]
pub struct Integrity {
    /// `x-amz-checksum-crc32c`.
    pub crc32c: Verification,
    /// It comes back with the object.
    pub crc32c_returned: Found,
    /// `x-amz-checksum-sha256`.
    pub sha256: Verification,
    /// It comes back with the object.
    pub sha256_returned: Found,
    /// The payload hash of the signature (`x-amz-content-sha256`).
    pub payload_hash: Verification,
}

/// How long a signed request is accepted, for each kind of request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(default))]
#[non_exhaustive]
pub struct Signatures {
    /// Reads (`HEAD`).
    pub read: SignatureAge,
    /// Puts.
    pub put: SignatureAge,
    /// Single deletes.
    pub delete: SignatureAge,
    /// Multi-deletes.
    pub multi_delete: SignatureAge,
}

/// How long a kind of request is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(default))]
#[non_exhaustive]
pub struct SignatureAge {
    /// Signed in its headers, at a time in the past.
    pub behind: SignatureWindow,
    /// Signed in its headers, at a time to come.
    pub ahead: SignatureWindow,
    /// Signed in its query.
    pub presigned: Presigning,
}

/// The server's clock, and its dates of objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(default))]
#[non_exhaustive]
pub struct Dates {
    /// Difference of the clocks; `None` if answers have no `Date`.
    pub offset: Option<ClockOffset>,
    /// The furthest that a `LastModified` was seen after the `Date` of the answer which told it: zero, or the server rounds up.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "modified_ahead_millis", with = "super::stored::optional_millis")
    )]
    pub modified_ahead: Option<Duration>,
    /// Putting the same content again refreshes `LastModified`.
    pub put_again: Refresh,
    /// Copying an object onto itself refreshes `LastModified`.
    pub copy_onto_itself: Refresh,
}

/// Listings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(default))]
#[non_exhaustive]
pub struct Listings {
    /// How keys are encoded.
    pub encoding: KeyEncoding,
    /// Objects that were put are listed, each once, and deleted ones are not.
    pub exact: Found,
    /// Keys come in ascending order of their bytes.
    pub ascending: Found,
    /// Pages hold no more keys than asked for.
    pub page_size: Found,
    /// Pages together hold all keys, each once.
    pub paging: Found,
    /// `prefix` holds.
    pub prefix: Found,
    /// `delimiter` holds.
    pub delimiter: Found,
    /// `start-after` holds.
    pub start_after: Found,
    /// Objects come with `LastModified`.
    pub last_modified: Found,
    /// Objects come with their tag.
    pub etag: Found,
}

/// Reading objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(default))]
#[non_exhaustive]
pub struct Reading {
    /// Ranges.
    pub ranges: Ranges,
    /// An empty object can be put and read.
    pub empty_object: Found,
    /// HEAD tells the right length.
    pub head_length: Found,
}

/// Settings of the bucket that a store should know of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(default))]
#[non_exhaustive]
pub struct BucketSettings {
    /// Old versions.
    pub versions: BucketVersions,
    /// Object lock is on.
    pub object_lock: Found,
    /// New objects are locked for some time unless they say otherwise.
    pub locks_by_default: Found,
    /// A lifecycle rule in force deletes current objects.
    pub expires_objects: Found,
    /// A lifecycle rule in force moves current objects to another storage class.
    pub moves_objects: Found,
}

impl ProbeReport {
    /// Proposes the quirks that the server needs. [`Quirk::PathOnly`] is never among them: the probe goes the way that the configuration
    /// says.
    pub fn quirks(&self) -> Quirks {
        let mut quirks = Quirks::default();
        let is_useless = |class| matches!(class, ConditionClass::Ignored | ConditionClass::Refused { .. });
        if is_useless(self.put_if_absent.class) {
            quirks.insert(Quirk::NoIfNoneMatch);
        }
        if is_useless(self.compare_and_swap.class) {
            quirks.insert(Quirk::NoIfMatch);
        } else if self.tag_form == Some(TagForm::Unquoted) {
            quirks.insert(Quirk::UnquotedIfMatch);
        }
        if matches!(self.deletes.multi, MultiDelete::Refused { .. } | MultiDelete::Unreliable) {
            quirks.insert(Quirk::NoMultiDelete);
        }
        if matches!(self.integrity.crc32c, Verification::Refused { .. }) {
            quirks.insert(Quirk::NoChecksums);
        }
        if self.listing.encoding.is_not_to_be_asked_for() {
            quirks.insert(Quirk::NoListEncoding);
        }
        quirks
    }

    /// Returns how long the server takes a write with signed headers after its signing time at the latest, as
    /// [`Config::with_signature_window`](crate::Config::with_signature_window) wants it; `None` if there is no end to it, or it could not
    /// be told.
    pub fn signature_window(&self) -> Option<Duration> {
        let ages = [Some(&self.signatures.put), Some(&self.signatures.delete), self.multi_delete()];
        longest(ages.into_iter().flatten())
    }

    /// Returns what bounds the time at which a delete without an answer can still be accepted (R9): for
    /// [`Client::delete_batch`](crate::Client::delete_batch), under [the quirks](ProbeReport::quirks) that the server needs.
    pub fn delete_bound(&self) -> RequestBound {
        let single = &self.signatures.delete;
        let Some(multi) = self.multi_delete() else { return bound(single) };
        // Single deletes take the place of multi-deletes that fail, so they must end as soon; refused ones never begin.
        match (multi.presigned, single.presigned) {
            (Presigning::Enforced { late }, Presigning::Enforced { late: other }) => {
                return RequestBound::Presigned { late: late.max(other) };
            }
            (Presigning::Enforced { late }, Presigning::Refused { .. }) => {
                return RequestBound::Presigned { late };
            }
            _ => {}
        }
        longest([multi, single]).map_or(RequestBound::None, |window| RequestBound::SignedHeaders { window })
    }

    /// Returns the same for puts (R19).
    pub fn put_bound(&self) -> RequestBound {
        bound(&self.signatures.put)
    }

    /// Lists what whoever keeps data there should know.
    pub fn warnings(&self) -> Vec<Warning> {
        Warning::of(self)
    }

    /// Returns what is known of multi-deletes, if there are any.
    fn multi_delete(&self) -> Option<&SignatureAge> {
        (self.deletes.multi == MultiDelete::Works).then_some(&self.signatures.multi_delete)
    }
}

/// Returns what bounds requests of one kind.
fn bound(age: &SignatureAge) -> RequestBound {
    match (age.presigned, age.behind) {
        (Presigning::Enforced { late }, _) => RequestBound::Presigned { late },
        (_, SignatureWindow::Bounded { refused, .. }) => RequestBound::SignedHeaders { window: refused },
        _ => RequestBound::None,
    }
}

/// Returns the longest window for signed headers, if all have one.
fn longest<'a>(ages: impl IntoIterator<Item = &'a SignatureAge>) -> Option<Duration> {
    let window = |age: &SignatureAge| match age.behind {
        SignatureWindow::Bounded { refused, .. } => Some(refused),
        _ => None,
    };
    ages.into_iter().try_fold(Duration::ZERO, |longest, age| Some(longest.max(window(age)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: Duration = Duration::from_mins(16);

    fn aged(presigned: Presigning) -> SignatureAge {
        let behind = SignatureWindow::Bounded { accepted: Duration::from_mins(14), refused: QUARTER };
        SignatureAge { behind, ahead: behind, presigned }
    }

    fn late(seconds: u64) -> Presigning {
        Presigning::Enforced { late: Duration::from_secs(seconds) }
    }

    fn report(multi: Presigning, single: Presigning) -> ProbeReport {
        let deletes = Deletes { multi: MultiDelete::Works, ..Deletes::default() };
        let signatures = Signatures {
            put: aged(late(5)),
            delete: aged(single),
            multi_delete: aged(multi),
            ..Signatures::default()
        };
        ProbeReport { deletes, signatures, ..ProbeReport::default() }
    }

    #[test]
    fn deletes_are_bounded_by_what_holds_for_both_kinds() {
        let bound = |multi, single| report(multi, single).delete_bound();
        let presigned = |seconds| RequestBound::Presigned { late: Duration::from_secs(seconds) };
        let headers = RequestBound::SignedHeaders { window: QUARTER };
        assert_eq!(bound(late(5), late(30)), presigned(30));
        assert_eq!(bound(late(5), Presigning::Refused { status: 400 }), presigned(5));
        assert_eq!(bound(late(5), Presigning::NotEnforced), headers);
        assert_eq!(bound(late(5), Presigning::Unknown), headers);
        assert_eq!(bound(Presigning::Refused { status: 500 }, late(5)), headers);
    }

    #[test]
    fn without_multi_delete_single_ones_count_alone() {
        let mut report = report(Presigning::Unknown, late(5));
        report.deletes.multi = MultiDelete::Refused { status: 501 };
        report.signatures.multi_delete = SignatureAge::default();
        assert_eq!(report.delete_bound(), RequestBound::Presigned { late: Duration::from_secs(5) });
        assert_eq!(report.signature_window(), Some(QUARTER));
        assert_eq!(report.quirks(), Quirks::from([Quirk::NoMultiDelete]));
    }

    #[test]
    fn what_is_not_known_bounds_nothing() {
        let report = ProbeReport::default();
        assert_eq!((report.delete_bound(), report.put_bound()), (RequestBound::None, RequestBound::None));
        assert_eq!(report.signature_window(), None);
        assert!(report.quirks().is_empty());
    }

    #[test]
    fn one_kind_without_a_window_leaves_the_client_none() {
        let mut report = report(late(5), late(5));
        assert_eq!(report.signature_window(), Some(QUARTER));
        report.signatures.put.behind = SignatureWindow::Unbounded;
        assert_eq!(report.signature_window(), None);
        assert_eq!(report.put_bound(), RequestBound::Presigned { late: Duration::from_secs(5) });
        report.signatures.put.presigned = Presigning::NotEnforced;
        assert_eq!(report.put_bound(), RequestBound::None);
    }

    #[test]
    fn quirks_follow_from_classes() {
        let mut report = ProbeReport::default();
        report.put_if_absent.class = ConditionClass::Refused { status: 501 };
        report.compare_and_swap.class = ConditionClass::Atomic;
        report.tag_form = Some(TagForm::Unquoted);
        report.integrity.crc32c = Verification::Refused { status: 400 };
        report.listing.encoding = KeyEncoding::Refused { status: 400 };
        let all = [Quirk::NoIfNoneMatch, Quirk::UnquotedIfMatch, Quirk::NoChecksums, Quirk::NoListEncoding];
        assert_eq!(report.quirks(), Quirks::from(all));
        report.listing.encoding = KeyEncoding::Claimed;
        assert!(report.quirks().has(Quirk::NoListEncoding));
        report.compare_and_swap.class = ConditionClass::Ignored;
        assert!(report.quirks().has(Quirk::NoIfMatch) && !report.quirks().has(Quirk::UnquotedIfMatch));
        // It costs nothing to ask, and saves uploads.
        report.put_if_absent.class = ConditionClass::NotAtomic { winners: 3 };
        assert!(!report.quirks().has(Quirk::NoIfNoneMatch));
    }
}
