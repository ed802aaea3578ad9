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
