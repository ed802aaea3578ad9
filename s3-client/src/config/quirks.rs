//! Named deviations of providers.

use std::fmt;
use std::str::FromStr;

use super::ConfigError;

/// A deviation of one provider that the client works around when told to. The [probe](crate::Client::probe) proposes those that a server
/// needs; nothing is guessed from a host name.
///
/// What was observed is in parentheses; providers change, so probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Quirk {
    /// `If-None-Match: *` is refused, or ignored, so it is not sent: a put of a new object is a plain put (rclone ignores it; several
    /// providers answer 501).
    NoIfNoneMatch,
    /// `If-Match` on puts is refused or ignored, so a compare-and-swap is an error before it is sent (rclone).
    NoIfMatch,
    /// `If-Match` wants the tag without its quotes (Ceph RADOS gateway 16).
    UnquotedIfMatch,
    /// Multi-delete fails or does not exist; single deletes take its place (Google's interoperability API; proxies that refuse `POST`).
    NoMultiDelete,
    /// `x-amz-checksum-*` headers are refused (older gateways that refuse what they do not know).
    NoChecksums,
    /// `encoding-type=url` is refused on listings. Keys with control characters then break the XML (older gateways).
    NoListEncoding,
    /// Only path addressing works, whatever the endpoint's template says.
    PathOnly,
}

const NAMES: &[(Quirk, &str)] = &[
    (Quirk::NoIfNoneMatch, "no-if-none-match"),
    (Quirk::NoIfMatch, "no-if-match"),
    (Quirk::UnquotedIfMatch, "unquoted-if-match"),
    (Quirk::NoMultiDelete, "no-multi-delete"),
    (Quirk::NoChecksums, "no-checksums"),
    (Quirk::NoListEncoding, "no-list-encoding"),
    (Quirk::PathOnly, "path-only"),
];

impl Quirk {
    /// Returns the name by which configurations know it.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(quirk, _)| *quirk == self).map_or("", |(_, name)| name)
    }

    /// Lists all of them.
    pub fn all() -> impl Iterator<Item = Quirk> {
        NAMES.iter().map(|(quirk, _)| *quirk)
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Quirk {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Quirk, ConfigError> {
        let found = NAMES.iter().find(|(_, known)| *known == name).map(|(quirk, _)| *quirk);
        found.ok_or_else(|| ConfigError::UnknownQuirk { name: name.chars().take(80).collect() })
    }
}

/// The quirks of one provider.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quirks(Vec<Quirk>);

impl Quirks {
    /// Returns whether `quirk` is among them.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.0.contains(&quirk)
    }

    /// Adds one.
    pub fn insert(&mut self, quirk: Quirk) {
        if !self.has(quirk) {
            self.0.push(quirk);
            self.0.sort_unstable();
        }
    }

    /// Lists them in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = Quirk> {
        self.0.iter().copied()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Quirk> for Quirks {
    fn from_iter<I: IntoIterator<Item = Quirk>>(quirks: I) -> Quirks {
        let mut all = Quirks::default();
        quirks.into_iter().for_each(|quirk| all.insert(quirk));
        all
    }
}

impl<const N: usize> From<[Quirk; N]> for Quirks {
    fn from(quirks: [Quirk; N]) -> Quirks {
        quirks.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for quirk in Quirk::all() {
            assert_eq!(quirk.to_string().parse::<Quirk>(), Ok(quirk));
            assert!(!quirk.name().is_empty());
        }
        let error = "skip".parse::<Quirk>().unwrap_err();
        assert_eq!(error, ConfigError::UnknownQuirk { name: "skip".to_owned() });
    }

    #[test]
    fn a_set_keeps_each_once_and_in_order() {
        let quirks = Quirks::from([Quirk::PathOnly, Quirk::NoIfMatch, Quirk::PathOnly]);
        assert_eq!(quirks.iter().collect::<Vec<_>>(), [Quirk::NoIfMatch, Quirk::PathOnly]);
        assert!(quirks.has(Quirk::PathOnly) && !quirks.has(Quirk::NoChecksums));
    }
}
