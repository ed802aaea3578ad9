//! Named deviations of providers.

use std::fmt;
use std::str::FromStr;

use super::ConfigError;

/// A deviation of one provider that the client works around when told to. The [probe](crate::Client::probe) proposes those that a server
/// needs ([`ProbeReport::quirks`](crate::ProbeReport::quirks)); nothing is guessed from a host name.
///
/// | quirk | the client then | who needs it, and what was observed |
/// |---|---|---|
/// | `no-if-none-match` | puts without `If-None-Match`; [`put_new_or_overwrite`](crate::Client::put_new_or_overwrite) says `Overwritten` | rclone 1.75 (`serve s3`): answers 200 to the second put and overwrites. Others refuse the header with 501 or 400, some before they read the body. s3s-fs 0.14 takes it, yet up to 63 of 64 racing writers win: the header does no harm there, but is no lock |
/// | `no-if-match` | refuses `If-Match` on puts before anything is sent: a compare-and-swap that compares nothing would be a lie | rclone 1.75: ignores it |
/// | `unquoted-if-match` | sends the tag without quotes, on puts and gets | Ceph RADOS gateway 16: answers 412 to the quoted tag of RFC 9110, always |
/// | `no-multi-delete` | sends single deletes, 16 at a time ([`delete_batch`](crate::Client::delete_batch)) | services and proxies without `POST ?delete` (said of Google's interoperability API; none of the matrix). Without the quirk a 501 or a 5xx of the whole request leads to the same, one failed request later |
/// | `no-checksums` | sends no `x-amz-checksum-*` and asks for none | gateways that refuse headers they do not know (none of the matrix). Those that ignore them or do not compare (RADOS gateway 16, moto, rclone) do not need it |
/// | `no-list-encoding` | lists without `encoding-type=url`; keys with control characters then break the listing, which is an error | s3s-fs 0.14: says that names are encoded, and they are not, so `a+b` reads as `a b`. Gateways that refuse the parameter. Those that ignore it do not need it: names are decoded only if the answer says that they are encoded |
/// | `path-only` | addresses by path, whatever the template says | servers without wildcard names: moto, rclone and most of those that one runs by hand |
///
/// Versions are those of the matrix (`xtask/src/matrix/servers.rs`), November 2026; providers change, so probe.
///
/// # What needs no quirk
/// Handled on every server, always (spec `s3-servers.md` §3):
/// - an error document with status 200, as CopyObject, CompleteMultipartUpload and DeleteObjects send it, is an error;
/// - fields of a listing that a server may leave out may be missing: `IsTruncated`, `KeyCount`, `LastModified`, `ETag`, `StorageClass`,
///   `Owner`. A key and its size may not, nor the token of a page that is not the last;
/// - any XML namespace or none, errors with nothing but a code or without a body, HEAD errors that announce one, ranges answered with 200
///   and `Content-Range`, keys out of order, more keys on a page than asked for, pages without keys, and tokens that go in circles;
/// - `Content-MD5` goes with every multi-delete, as one server refuses it without; every `x-amz-*` header is signed, as half of them want;
/// - no chunked upload and no trailer is ever sent: a `Content-Length` and the real payload hash are what every server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Quirk {
    /// `If-None-Match: *` is refused, or ignored, so it is not sent: a put of a new object is a plain put.
    NoIfNoneMatch,
    /// `If-Match` on puts is refused or ignored, so a compare-and-swap is an error before it is sent.
    NoIfMatch,
    /// `If-Match` wants the tag without its quotes.
    UnquotedIfMatch,
    /// Multi-delete fails or does not exist; single deletes take its place.
    NoMultiDelete,
    /// `x-amz-checksum-*` headers are refused.
    NoChecksums,
    /// `encoding-type=url` is refused on listings, or claimed and not done. Without it keys with control characters break the XML.
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
