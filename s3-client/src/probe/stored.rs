//! The form in which a report is stored: JSON, whose names are pinned by a test.

use super::ProbeReport;

impl ProbeReport {
    /// Writes the report as JSON. Fields and their meaning stay as they are; later versions add some.
    ///
    /// # Errors
    /// None that this type can cause.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Reads what [`ProbeReport::to_json`] of this or an earlier version wrote; what it does not hold is unknown.
    ///
    /// # Errors
    /// It is no such text.
    pub fn from_json(text: &str) -> Result<ProbeReport, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Durations as whole milliseconds.
pub(super) mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in crate::probe) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    pub(in crate::probe) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// The same, where there may be none.
pub(super) mod optional_millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(in crate::probe) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => super::millis::serialize(span, to),
            None => to.serialize_none(),
        }
    }

    pub(in crate::probe) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::probe::{
        ClockOffset, ConditionClass, Found, KeyFault, MultiDelete, OddKey, Presigning, SignatureWindow,
        TagForm, Verification,
    };

    fn report() -> ProbeReport {
        let mut report = ProbeReport { is_complete: true, odd_keys_tried: 16, ..ProbeReport::default() };
        report.put_if_absent.class = ConditionClass::NotAtomic { winners: 3 };
        report.compare_and_swap.class = ConditionClass::Refused { status: 501 };
        report.tag_form = Some(TagForm::Unquoted);
        report.deletes.multi = MultiDelete::Works;
        report.deletes.quiet = Found::No;
        report.integrity.crc32c = Verification::StoredAnyway;
        let (accepted, refused) = (Duration::from_mins(14), Duration::from_mins(16));
        report.signatures.delete.behind = SignatureWindow::Bounded { accepted, refused };
        report.signatures.put.presigned = Presigning::Enforced { late: Duration::from_secs(5) };
        report.dates.offset = Some(ClockOffset { ahead_millis: -7, uncertainty_millis: 500 });
        report.dates.modified_ahead = Some(Duration::from_secs(1));
        let listed = "a+b".to_owned();
        report.odd_keys.push(OddKey { kind: "plus".to_owned(), fault: KeyFault::Altered { listed } });
        report
    }

    /// Reports are kept for years: what was written once must be read, so a change here is a new name, not another one.
    #[test]
    fn the_stored_form_stays_as_it_is() {
        let text = report().to_json().unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (pointer, expected) in [
            ("/is_complete", serde_json::json!(true)),
            ("/put_if_absent/class", serde_json::json!({ "not_atomic": { "winners": 3 } })),
            ("/compare_and_swap/class", serde_json::json!({ "refused": { "status": 501 } })),
            ("/tag_form", serde_json::json!("unquoted")),
            ("/deletes/multi", serde_json::json!("works")),
            ("/deletes/quiet", serde_json::json!("no")),
            ("/integrity/crc32c", serde_json::json!("stored_anyway")),
            (
                "/signatures/delete/behind/bounded",
                serde_json::json!({ "accepted_millis": 840_000, "refused_millis": 960_000 }),
            ),
            ("/signatures/put/presigned/enforced/late_millis", serde_json::json!(5000)),
            ("/dates/offset", serde_json::json!({ "ahead_millis": -7, "uncertainty_millis": 500 })),
            ("/dates/modified_ahead_millis", serde_json::json!(1000)),
            (
                "/odd_keys/0",
                serde_json::json!({ "kind": "plus", "fault": { "altered": { "listed": "a+b" } } }),
            ),
            ("/bucket/versions", serde_json::json!("unknown")),
        ] {
            assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
        }
        assert_eq!(ProbeReport::from_json(&text).unwrap(), report());
    }

    #[test]
    fn what_an_earlier_version_did_not_know_is_unknown() {
        let earlier = r#"{ "is_complete": true, "deletes": { "multi": "works" } }"#;
        let report = ProbeReport::from_json(earlier).unwrap();
        assert_eq!((report.deletes.multi, report.deletes.quiet), (MultiDelete::Works, Found::Unknown));
        assert!(ProbeReport::from_json("7").is_err());
    }
}
