//! The calls below `/config/remote`: the other servers that a server pulls from and pushes to.
//!
//! Parameters are named as stock servers have them (spec `pull.md` §1).

use std::fmt;
use std::str::FromStr;

use coldkeep_datastore::RemoteName;
use http::Method;
use serde::{Deserialize, Serialize};

use super::types::DatastoreItem;
use crate::auth_id::AuthId;
use crate::client::Client;
use crate::connect::Fingerprint;
use crate::credentials::Secret;
use crate::encoding::{Parameters, path_component};
use crate::error::RequestError;

const PATH: &str = "/config/remote";

/// A remote as a server tells of it: without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RemoteItem {
    /// Its name.
    pub name: RemoteName,
    /// DNS name or address.
    pub host: String,
    /// Port; `None` means 8007.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The user or token there.
    pub auth_id: String,
    /// SHA-256 of the certificate that it must show; `None` means one that the system's authorities vouch for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// A comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A remote to be added.
#[derive(Debug, Clone)]
pub struct NewRemote {
    /// Its name.
    pub name: RemoteName,
    /// DNS name or address, an IPv6 address without its brackets.
    pub host: String,
    /// Port, if it is not 8007.
    pub port: Option<u16>,
    /// The user or token there.
    pub auth_id: AuthId,
    /// The user's password or the token's secret.
    pub secret: Secret,
    /// SHA-256 of the certificate that it must show.
    pub fingerprint: Option<Fingerprint>,
    /// A comment.
    pub comment: Option<String>,
}

/// What changes of a remote; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct RemoteUpdate {
    /// DNS name or address, an IPv6 address without its brackets.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// The user or token there.
    pub auth_id: Option<AuthId>,
    /// The user's password or the token's secret.
    pub secret: Option<Secret>,
    /// SHA-256 of the certificate that it must show.
    pub fingerprint: Option<Fingerprint>,
    /// A comment.
    pub comment: Option<String>,
    /// What is unset before that.
    pub delete: Vec<RemoteProperty>,
}

/// What a remote may be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RemoteProperty {
    /// The port.
    Port,
    /// The fingerprint.
    Fingerprint,
    /// The comment.
    Comment,
}

/// A text that names nothing which a remote may be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only port, fingerprint and comment can be unset")]
pub struct ParseRemotePropertyError;

impl RemoteProperty {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::Port, Self::Fingerprint, Self::Comment];

    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Fingerprint => "fingerprint",
            Self::Comment => "comment",
        }
    }
}

impl fmt::Display for RemoteProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RemoteProperty {
    type Err = ParseRemotePropertyError;

    fn from_str(text: &str) -> Result<Self, ParseRemotePropertyError> {
        Self::ALL.into_iter().find(|property| property.as_str() == text).ok_or(ParseRemotePropertyError)
    }
}

impl Client {
    /// Lists the remotes that the caller may see, by name.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn remotes(&self) -> Result<Vec<RemoteItem>, RequestError> {
        self.query(Method::GET, PATH, &Parameters::new()).await
    }

    /// Returns one remote.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn remote(&self, name: &RemoteName) -> Result<RemoteItem, RequestError> {
        self.query(Method::GET, &path_of(name), &Parameters::new()).await
    }

    /// Adds a remote.
    ///
    /// # Cancel safety
    /// The remote may have been added.
    pub async fn add_remote(&self, new: &NewRemote) -> Result<(), RequestError> {
        let parameters = Parameters::new()
            .with("name", new.name.as_str())
            .with("host", new.host.as_str())
            .with_some("port", new.port)
            .with("auth-id", new.auth_id.as_str())
            .with("password", new.secret.reveal())
            .with_some("fingerprint", new.fingerprint.map(|fingerprint| fingerprint.to_string()))
            .with_some("comment", new.comment.as_deref());
        self.post(PATH, &parameters).await
    }

    /// Changes a remote.
    ///
    /// # Cancel safety
    /// The remote may have been changed.
    pub async fn update_remote(&self, name: &RemoteName, update: &RemoteUpdate) -> Result<(), RequestError> {
        let delete: Vec<&str> = update.delete.iter().map(|property| property.as_str()).collect();
        let parameters = Parameters::new()
            .with_some("host", update.host.as_deref())
            .with_some("port", update.port)
            .with_some("auth-id", update.auth_id.as_ref().map(AuthId::as_str))
            .with_some("password", update.secret.as_ref().map(Secret::reveal))
            .with_some("fingerprint", update.fingerprint.map(|fingerprint| fingerprint.to_string()))
            .with_some("comment", update.comment.as_deref())
            .with_some("delete", (!delete.is_empty()).then_some(delete));
        self.put(&path_of(name), &parameters).await
    }

    /// Removes a remote. What was pulled from it stays.
    ///
    /// # Cancel safety
    /// The remote may have been removed.
    pub async fn remove_remote(&self, name: &RemoteName) -> Result<(), RequestError> {
        self.query(Method::DELETE, &path_of(name), &Parameters::new()).await
    }

    /// Has the server list the datastores that a remote shows it.
    ///
    /// # Errors
    /// `Refused` with 400 and the whole reason, if the server cannot reach the remote, sees another certificate, or is not
    /// let in.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn scan_remote(&self, name: &RemoteName) -> Result<Vec<DatastoreItem>, RequestError> {
        self.query(Method::GET, &format!("{}/scan", path_of(name)), &Parameters::new()).await
    }
}

fn path_of(name: &RemoteName) -> String {
    format!("{PATH}/{}", path_component(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_found_by_their_names() {
        for property in RemoteProperty::ALL {
            assert_eq!(property.to_string().parse(), Ok(property));
        }
        assert_eq!("host".parse::<RemoteProperty>(), Err(ParseRemotePropertyError));
    }

    #[test]
    fn secrets_are_not_shown() {
        let new = NewRemote {
            name: "far".parse().unwrap(),
            host: "far.example.com".to_owned(),
            port: None,
            auth_id: "joe@pbs!ci".parse().unwrap(),
            secret: Secret::new("hush"),
            fingerprint: None,
            comment: None,
        };
        let update = RemoteUpdate { secret: Some(Secret::new("hush")), ..RemoteUpdate::default() };
        assert!(!format!("{new:?} {update:?}").contains("hush"));
    }
}
