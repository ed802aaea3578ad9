//! One remote.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::str::FromStr;

use coldkeep_client::{
    AuthId, Client, Credentials, DEFAULT_PORT, Fingerprint, RemoteItem, RemoteProperty, Secret, TlsConnector,
    Trust,
};
use coldkeep_datastore::RemoteName;
use rustls_pki_types::ServerName;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest answer of a remote to a plain call: lists of a hundred thousand snapshots of one group are below it.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Another server, and what this one shows there. `Debug` does not show the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The name here.
    pub name: RemoteName,
    /// Where it is.
    pub host: RemoteHost,
    /// Its port, if it is not 8007.
    pub port: Option<NonZeroU16>,
    /// The user or token there. Only the form is checked: who there is, that server knows.
    pub auth_id: AuthId,
    /// The user's password or the token's secret.
    pub secret: Secret,
    /// The certificate that it must show; `None` means one that the system's authorities vouch for.
    pub fingerprint: Option<Fingerprint>,
    /// Free text.
    pub comment: Option<String>,
}

/// What changes of a remote; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct RemoteUpdate {
    /// Where it is.
    pub host: Option<RemoteHost>,
    /// Its port.
    pub port: Option<NonZeroU16>,
    /// The user or token there.
    pub auth_id: Option<AuthId>,
    /// The user's password or the token's secret.
    pub secret: Option<Secret>,
    /// The certificate that it must show.
    pub fingerprint: Option<Fingerprint>,
    /// Free text.
    pub comment: Option<String>,
    /// What is unset before the rest is set.
    pub delete: Vec<RemoteProperty>,
}

impl Remote {
    /// Makes a client that calls there. Nothing is sent yet.
    pub fn client(&self) -> Client {
        let trust = self.fingerprint.map_or(Trust::SystemRoots, Trust::Pinned);
        let port = self.port.map_or(DEFAULT_PORT, NonZeroU16::get);
        let connector = TlsConnector::new(self.host.as_str(), port, trust);
        Client::with_answers_up_to(
            ANSWER_BYTES_MAX,
            connector,
            Credentials::new(self.auth_id.clone(), self.secret.clone()),
        )
    }

    /// Returns what anybody may be told who may see the remote: all but the secret.
    pub fn to_item(&self) -> RemoteItem {
        RemoteItem {
            name: self.name.clone(),
            host: self.host.as_str().to_owned(),
            port: self.port.map(NonZeroU16::get),
            auth_id: self.auth_id.as_str().to_owned(),
            fingerprint: self.fingerprint.map(|fingerprint| fingerprint.to_string()),
            comment: self.comment.clone(),
        }
    }

    /// Returns the remote with a change made.
    pub(super) fn with(&self, update: RemoteUpdate) -> Self {
        let mut remote = self.clone();
        for property in update.delete {
            match property {
                RemoteProperty::Port => remote.port = None,
                RemoteProperty::Fingerprint => remote.fingerprint = None,
                RemoteProperty::Comment => remote.comment = None,
            }
        }
        Self {
            name: remote.name,
            host: update.host.unwrap_or(remote.host),
            port: update.port.or(remote.port),
            auth_id: update.auth_id.unwrap_or(remote.auth_id),
            secret: update.secret.unwrap_or(remote.secret),
            fingerprint: update.fingerprint.or(remote.fingerprint),
            comment: update.comment.or(remote.comment),
        }
    }
}

/// A remote as it stands in the file. It has no `Debug`, so that it cannot be printed by accident.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Stored<'a> {
    name: Cow<'a, str>,
    host: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<NonZeroU16>,
    auth_id: Cow<'a, str>,
    password: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<Cow<'a, str>>,
}

impl Serialize for Remote {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = Stored {
            name: self.name.as_str().into(),
            host: self.host.as_str().into(),
            port: self.port,
            auth_id: self.auth_id.as_str().into(),
            password: self.secret.reveal().into(),
            fingerprint: self.fingerprint.map(|fingerprint| fingerprint.to_string()),
            comment: self.comment.as_deref().map(Into::into),
        };
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Remote {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        // Taken over before anything else can fail, so that it is wiped then too.
        let secret = Secret::new(stored.password);
        Ok(Self {
            name: stored.name.parse().map_err(D::Error::custom)?,
            host: stored.host.parse().map_err(D::Error::custom)?,
            port: stored.port,
            auth_id: stored.auth_id.parse().map_err(D::Error::custom)?,
            secret,
            fingerprint: stored.fingerprint.map(|text| text.parse()).transpose().map_err(D::Error::custom)?,
            comment: stored.comment.map(Cow::into_owned),
        })
    }
}

/// Where a server is: a DNS name, an IPv4 address, or an IPv6 address (shown without brackets, taken with or without).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteHost(String);

/// A text that is neither a host's name nor an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no host name or address")]
pub struct RemoteHostError {
    /// The text, cut to a length that can be shown.
    pub text: String,
}

impl RemoteHost {
    /// Returns the name or address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RemoteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RemoteHost {
    type Err = RemoteHostError;

    fn from_str(text: &str) -> Result<Self, RemoteHostError> {
        let bad = || RemoteHostError { text: text.chars().take(80).collect() };
        if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = address.parse().map_err(|_| bad())?;
            return Ok(Self(address.to_string()));
        }
        // What TLS takes as the name of the other side, a connection can be opened to.
        ServerName::try_from(text).map_err(|_| bad())?;
        Ok(Self(text.to_owned()))
    }
}
