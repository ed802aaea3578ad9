//! The credentials of a bucket: a file of their own, which only the server's user may read.

use std::path::{Path, PathBuf};

use coldkeep_s3_client::Credentials;
use coldkeep_s3_client::credentials::{CredentialsError, CredentialsFuture, CredentialsProvider};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::state::{StateError, json_file};

/// The content of the file. It has no `Debug`, so that it cannot be printed by accident.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Stored {
    access_key: String,
    secret_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
}

/// Saves credentials. Blocks.
pub(crate) fn save(path: &Path, credentials: &Credentials) -> Result<(), StateError> {
    let stored = Stored {
        access_key: credentials.access_key().to_owned(),
        secret_key: credentials.secret_key().to_owned(),
        session_token: credentials.session_token().map(str::to_owned),
    };
    json_file::write(path, &stored, json_file::SECRET_MODE)
}

/// Reads credentials; `None` if there is no file. Blocks.
pub(crate) fn read(path: &Path) -> Result<Option<Credentials>, CredentialsFileError> {
    let Some(text) = json_file::read_bytes(path)?.map(Zeroizing::new) else { return Ok(None) };
    // The parser's own message may quote what it did not expect, so only the place is told.
    let malformed = |error: serde_json::Error| CredentialsFileError::Malformed {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    };
    let stored: Stored = serde_json::from_slice(&text).map_err(malformed)?;
    let invalid = |source| CredentialsFileError::Invalid { path: path.to_owned(), source };
    let credentials = Credentials::new(&stored.access_key, &stored.secret_key).map_err(invalid)?;
    match &stored.session_token {
        Some(token) => credentials.with_session_token(token).map(Some).map_err(invalid),
        None => Ok(Some(credentials)),
    }
}

/// A file with credentials cannot be used. Never tells a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsFileError {
    /// It could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// It does not hold what it should.
    #[error("{} is malformed at line {line}, column {column}: it wants access-key, secret-key and perhaps session-token", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// A value in it cannot be right.
    #[error("{} holds no usable credentials", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The rule that is broken.
        #[source]
        source: coldkeep_s3_client::ConfigError,
    },
}

/// Reads the file whenever the client asks, so that keys can be replaced while the server runs.
pub(crate) struct FromFile {
    path: PathBuf,
    /// What was read last: an unreadable file is no reason to stop while the keys still work.
    fallback: Credentials,
}

impl FromFile {
    pub(crate) fn new(path: PathBuf, fallback: Credentials) -> Self {
        Self { path, fallback }
    }
}

impl CredentialsProvider for FromFile {
    fn credentials(&self) -> CredentialsFuture<'_> {
        let path = self.path.clone();
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || read(&path)).await;
            match found.map_err(CredentialsError::provider)? {
                Ok(Some(credentials)) => Ok(credentials),
                Ok(None) => Ok(self.fallback.clone()),
                Err(error) => {
                    tracing::warn!(error = %crate::api::chain(&error), "cannot read the credentials of a bucket");
                    Ok(self.fallback.clone())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_saved_is_read_and_belongs_to_us_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s3-tank.json");
        assert!(read(&path).unwrap().is_none());
        let first = Credentials::new("AKID", "geheim").unwrap();
        save(&path, &first).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap(), Some(first.clone()));

        let provider = FromFile::new(path.clone(), first.clone());
        let second = Credentials::new("AKID", "neu").unwrap().with_session_token("token").unwrap();
        save(&path, &second).unwrap();
        assert_eq!(provider.credentials().await.unwrap(), second, "the file was not read again");
        std::fs::write(&path, r#"{"access-key":"a","secret-key":"geheim","more":1}"#).unwrap();
        assert_eq!(provider.credentials().await.unwrap(), first);
    }

    #[test]
    fn errors_hold_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s3-tank.json");
        for text in [
            r#"{"access-key":"a/b","secret-key":"geheim"}"#,
            r#"{"access-key":"ab","secret-key":"geheim","session-token":"to ken"}"#,
            r#"{"access-key":"ab","secret-key":"x","session-token":["geheim"]}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err();
            let shown = format!("{} {error:?}", crate::api::chain(&error));
            assert!(!shown.contains("geheim") && !shown.contains("to ken"), "{shown}");
        }
    }
}
