//! Where the objects of a datastore live, as the list of datastores says it. Credentials are never part of it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use coldkeep_chunk_store::bucket::RequestLifetimes;
use coldkeep_s3_client::probe::{ConditionClass, ProbeReport, RequestBound};
use coldkeep_s3_client::{
    Addressing, BucketName, Config, ConfigError, Credentials, Endpoint, Fingerprint, Region,
    SIGNATURE_WINDOW_DEFAULT,
};
use serde::{Deserialize, Serialize};

/// Most bytes of cached content if nothing is said.
pub const CACHE_SIZE_DEFAULT: u64 = 64 << 30;
/// For how long a presigned request is good (R9, R19).
const PRESIGNED: Duration = Duration::from_mins(1);
/// What the backend's clock must show beyond an expiry for it to have passed; see [`RequestLifetimes`].
const MARGIN: Duration = Duration::from_secs(90);
/// Longest prefix, in bytes: the longest path of a snapshot's file must fit behind it (spec `s3-backend.md` §2).
const PREFIX_BYTES_MAX: usize = 128;

/// Where the objects of a datastore live, if not beside its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BackendConfig {
    /// In a bucket of an S3 server.
    S3(Box<S3Config>),
}

/// A bucket of an S3 server, and what is known of that server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct S3Config {
    /// The server, with `{{bucket}}` and `{{region}}` where these belong.
    #[serde(with = "text")]
    pub endpoint: Endpoint,
    /// The bucket.
    #[serde(with = "text")]
    pub bucket: BucketName,
    /// Its region.
    #[serde(with = "text")]
    pub region: Region,
    /// Whether the bucket stands in the path whatever the endpoint says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub path_style: bool,
    /// What all keys of the store begin with, without the slash behind it.
    pub prefix: Prefix,
    /// The certificate to trust instead of what the system's authorities vouch for.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_text")]
    pub fingerprint: Option<Fingerprint>,
    /// Most bytes of cached content.
    pub cache_size: u64,
    /// Whether a server is taken that bounds the age of no request (R9): I1 is not guaranteed then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_late_requests: bool,
    /// Bytes that there are room for; absent means as good as endless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// For how many seconds requests that must not be late are good (R9, R19); absent: as long as the probe suggests.
    ///
    /// A presigned request expires so soon. Where requests are signed in their headers, the server's own window holds
    /// whatever is set here. The wait of a rebuild follows the setting of the server that rebuilds: all servers that have
    /// the bucket one after the other need the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_lifetime: Option<u64>,
    /// How many seconds the server's clock must show beyond an expiry for it to have passed; absent: one minute.
    ///
    /// A `Date` is whole seconds, so that less than two would be no margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_margin: Option<u64>,
    /// What the probe found when the store was created; absent if it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeReport>,
}

impl S3Config {
    /// Returns how the client is to talk to the server.
    ///
    /// # Errors
    /// [`ConfigError`] if the parts do not fit together.
    pub fn client_config(&self, credentials: Credentials) -> Result<Config, ConfigError> {
        let (endpoint, region, bucket) = (self.endpoint.clone(), self.region.clone(), self.bucket.clone());
        let mut config = Config::new(endpoint, region, bucket, credentials)?;
        if self.path_style {
            config = config.with_addressing(Addressing::Path)?;
        }
        let Some(probe) = &self.probe else { return Ok(config) };
        let config = config.with_quirks(probe.quirks());
        // Where nothing bounds a request, creation was told to assume what S3 promises.
        let window = probe.signature_window().unwrap_or(SIGNATURE_WINDOW_DEFAULT);
        Ok(config.with_signature_window(Some(window)))
    }

    /// Returns for how long requests can take effect after they were signed (R9, R19).
    ///
    /// Without a probe, and where no bound was found, 15 minutes are assumed.
    pub fn lifetimes(&self) -> RequestLifetimes {
        let lasts = self.request_lifetime.map_or_else(|| self.lifetime_found(), Duration::from_secs);
        let margin = self.expiry_margin.map_or(MARGIN, Duration::from_secs);
        match self.bound() {
            // The server's leeway comes on top of what the margin allows for: it is not known to be part of the same error.
            RequestBound::Presigned { late } => RequestLifetimes::all(lasts, margin.saturating_add(late)),
            _ => RequestLifetimes::all(lasts, margin),
        }
    }

    /// Returns for how long requests are good if nothing is set.
    fn lifetime_found(&self) -> Duration {
        match self.bound() {
            RequestBound::Presigned { .. } => PRESIGNED,
            RequestBound::SignedHeaders { window } => window,
            _ => SIGNATURE_WINDOW_DEFAULT,
        }
    }

    /// Returns for how long the server takes requests, where that is longer than what is set.
    pub fn lifetime_exceeded(&self) -> Option<Duration> {
        let is_presigned = matches!(self.bound(), RequestBound::Presigned { .. });
        let set = self.request_lifetime.filter(|_| !is_presigned)?;
        Some(self.lifetime_found()).filter(|found| Duration::from_secs(set) < *found)
    }

    /// Returns what bounds the age of all requests that must not be late, one way for them all.
    pub fn bound(&self) -> RequestBound {
        self.probe.as_ref().map_or(RequestBound::None, bound_of)
    }

    /// Returns whether the server's compare-and-swap is atomic, as far as is known (R10).
    pub fn swaps_atomically(&self) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.compare_and_swap.class == ConditionClass::Atomic)
    }

    /// Returns what is not guaranteed on this server.
    pub fn caveats(&self) -> Vec<&'static str> {
        let mut caveats = Vec::new();
        if self.lifetime_exceeded().is_some() {
            caveats.push(
                "the settings say how long requests are good for, and the server does not enforce that: that every \
                 chunk of a committed snapshot can be read (I1) is not guaranteed",
            );
        }
        let Some(probe) = &self.probe else {
            caveats.push(
                "the server was never checked: it is assumed to refuse requests 15 minutes after they were signed, and to \
                 have no atomic compare-and-swap",
            );
            return caveats;
        };
        if bound_of(probe) == RequestBound::None {
            caveats.push(
                "the server bounds the age of no request: that every chunk of a committed snapshot can be read (I1) \
                 is not guaranteed",
            );
        }
        if !self.swaps_atomically() {
            caveats.push(
                "the server has no atomic compare-and-swap: that two servers never own the bucket at once is not guaranteed",
            );
        }
        caveats
    }
}

/// Returns what bounds the age of deletes and of puts alike: presigned where that holds for both.
pub(super) fn bound_of(probe: &ProbeReport) -> RequestBound {
    match (probe.delete_bound(), probe.put_bound(), probe.signature_window()) {
        (RequestBound::Presigned { late }, RequestBound::Presigned { late: other }, _) => {
            RequestBound::Presigned { late: late.max(other) }
        }
        (_, _, Some(window)) => RequestBound::SignedHeaders { window },
        _ => RequestBound::None,
    }
}

/// What all keys of a store begin with: path components without a slash at either end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

/// The text is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a prefix has 1 to {PREFIX_BYTES_MAX} bytes, no control characters, no slash at either end and no empty, `.` or `..` part"
)]
pub struct InvalidPrefix;

impl Prefix {
    /// Returns the text, without a slash behind it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for Prefix {
    type Error = InvalidPrefix;

    fn try_from(text: String) -> Result<Self, InvalidPrefix> {
        // The rules for keys are those for what they begin with.
        let is_key = coldkeep_chunk_store::backend::ObjectKey::new(text.as_str()).is_ok();
        if is_key && text.len() <= PREFIX_BYTES_MAX { Ok(Self(text)) } else { Err(InvalidPrefix) }
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Values of the client's types as the text they are made of.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The same, where there may be none.
mod optional_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(super) fn serialize<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text: Option<String> = Option::deserialize(from)?;
        text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use coldkeep_s3_client::probe::{Presigning, SignatureWindow};

    use super::*;

    fn config() -> S3Config {
        S3Config {
            endpoint: "http://127.0.0.1:9000".parse().unwrap(),
            bucket: "backups".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
            path_style: false,
            prefix: "tank".parse().unwrap(),
            fingerprint: None,
            cache_size: CACHE_SIZE_DEFAULT,
            accept_late_requests: false,
            quota: None,
            request_lifetime: None,
            expiry_margin: None,
            probe: None,
        }
    }

    #[test]
    fn the_stored_form_round_trips_and_refuses_what_it_does_not_know() {
        let backend =
            BackendConfig::S3(Box::new(S3Config { probe: Some(ProbeReport::default()), ..config() }));
        let text = serde_json::to_string(&backend).unwrap();
        assert!(
            text.contains(r#""type":"s3""#) && text.contains(r#""endpoint":"http://127.0.0.1:9000""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<BackendConfig>(&text).unwrap(), backend);
        let secret = text.replacen(r#""bucket""#, r#""secret-key":"x","bucket""#, 1);
        assert!(serde_json::from_str::<BackendConfig>(&secret).is_err(), "credentials are no part of it");
    }

    #[test]
    fn prefixes_that_make_no_keys_are_refused() {
        for bad in ["", "/a", "a/", "a//b", "a/../b", ".", "a\nb", &"a".repeat(129)] {
            assert_eq!(bad.parse::<Prefix>(), Err(InvalidPrefix), "{bad:?}");
        }
        assert_eq!("site/a".parse::<Prefix>().unwrap().as_str(), "site/a");
    }

    #[test]
    fn lifetimes_follow_from_the_probe() {
        let quarter = Duration::from_mins(15);
        assert_eq!(config().lifetimes(), RequestLifetimes::all(quarter, MARGIN));
        assert!(!config().swaps_atomically() && !config().caveats().is_empty());

        let mut probe = ProbeReport::default();
        let late = Duration::from_secs(5);
        let window = Duration::from_mins(16);
        let signatures = &mut probe.signatures;
        signatures.delete.presigned = Presigning::Enforced { late };
        signatures.put.presigned = Presigning::Enforced { late };
        probe.compare_and_swap.class = ConditionClass::Atomic;
        let presigned = S3Config { probe: Some(probe.clone()), ..config() };
        assert_eq!(presigned.lifetimes(), RequestLifetimes::all(PRESIGNED, MARGIN + late));
        assert!(presigned.swaps_atomically() && presigned.caveats().is_empty());

        let (request_lifetime, expiry_margin) = (Some(5), Some(2));
        let short = S3Config { request_lifetime, expiry_margin, ..presigned.clone() };
        assert_eq!(
            short.lifetimes(),
            RequestLifetimes::all(Duration::from_secs(5), Duration::from_secs(2) + late)
        );
        assert_eq!(short.lifetime_exceeded(), None);
        assert!(short.caveats().is_empty());

        // One kind that cannot be presigned has all of them signed in their headers.
        let bounded = SignatureWindow::Bounded { accepted: quarter, refused: window };
        probe.signatures.put.presigned = Presigning::NotEnforced;
        (probe.signatures.put.behind, probe.signatures.delete.behind) = (bounded, bounded);
        let signed = S3Config { probe: Some(probe.clone()), ..config() };
        assert_eq!(signed.lifetimes(), RequestLifetimes::all(window, MARGIN));
        assert!(S3Config { request_lifetime, ..signed }.caveats()[0].contains("I1"));
        probe.signatures.delete.behind = SignatureWindow::Unbounded;
        let unbounded = S3Config { probe: Some(probe), ..config() };
        assert_eq!(unbounded.bound(), RequestBound::None);
    }

    #[test]
    fn an_endless_margin_is_no_overflow() {
        let mut probe = ProbeReport::default();
        let late = Duration::from_secs(5);
        probe.signatures.delete.presigned = Presigning::Enforced { late };
        probe.signatures.put.presigned = Presigning::Enforced { late };
        let endless = S3Config { expiry_margin: Some(u64::MAX), probe: Some(probe), ..config() };
        assert!(endless.lifetimes().margin >= Duration::from_secs(u64::MAX));
    }

    #[test]
    fn a_lifetime_that_the_server_does_not_enforce_is_told() {
        assert_eq!(config().lifetime_exceeded(), None);
        let set = |seconds| S3Config { request_lifetime: Some(seconds), ..config() };
        assert_eq!(set(899).lifetime_exceeded(), Some(SIGNATURE_WINDOW_DEFAULT));
        assert!(set(899).caveats()[0].contains("I1"), "{:?}", set(899).caveats());
        assert_eq!(set(900).lifetime_exceeded(), None);
        assert!(!set(900).caveats()[0].contains("I1"), "{:?}", set(900).caveats());
    }

    #[test]
    fn a_server_without_bounds_is_named_as_such() {
        let config = S3Config { probe: Some(ProbeReport::default()), ..config() };
        assert_eq!(config.lifetimes().delete, SIGNATURE_WINDOW_DEFAULT);
        assert!(config.caveats()[0].contains("I1"), "{:?}", config.caveats());
    }
}
