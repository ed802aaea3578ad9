//! Where credentials come from: a fixed pair, a provider that refreshes them, a profile, a lookup.
//!
//! The library reads neither files nor environment; the caller brings the text or the function.

mod cache;
mod lookup;
mod profile;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use thiserror::Error;

pub use cache::CachedCredentials;
pub use profile::Profile;

use crate::config::{ConfigError, Credentials};
use crate::sign::date::format_http_date;

/// What [`CredentialsProvider::credentials`] returns.
pub type CredentialsFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Credentials, CredentialsError>> + Send + 'a>>;

/// Gives out credentials, which may be others each time: those of a role, a metadata service, a vault.
///
/// The client asks through a [`CachedCredentials`]: one call at a time, and none while the last credentials are good for a while.
///
/// ```
/// use coldkeep_s3_client::Credentials;
/// use coldkeep_s3_client::credentials::{CredentialsError, CredentialsFuture, CredentialsProvider};
///
/// struct Vault;
///
/// impl CredentialsProvider for Vault {
///     fn credentials(&self) -> CredentialsFuture<'_> {
///         Box::pin(async {
///             let (access_key, secret_key) = ("AKIDEXAMPLE", "from the vault");
///             Credentials::new(access_key, secret_key).map_err(CredentialsError::invalid)
///         })
///     }
/// }
/// ```
pub trait CredentialsProvider: Send + Sync + 'static {
    /// Fetches credentials that are good now; with [`Credentials::with_expiry`] if they do not last.
    ///
    /// # Errors
    /// [`CredentialsError::provider`] wraps what went wrong; it must not show a secret.
    ///
    /// # Cancel safety
    /// The future may be dropped at any point: the request that waited for it can reach its deadline first.
    fn credentials(&self) -> CredentialsFuture<'_>;
}

/// A fixed pair is its own provider.
impl CredentialsProvider for Credentials {
    fn credentials(&self) -> CredentialsFuture<'_> {
        Box::pin(std::future::ready(Ok(self.clone())))
    }
}

impl<P: CredentialsProvider + ?Sized> CredentialsProvider for Box<P> {
    fn credentials(&self) -> CredentialsFuture<'_> {
        (**self).credentials()
    }
}

impl<P: CredentialsProvider + ?Sized> CredentialsProvider for Arc<P> {
    fn credentials(&self) -> CredentialsFuture<'_> {
        (**self).credentials()
    }
}

/// Why there are no credentials. No variant carries a secret.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The text has no such profile.
    #[error("no profile {profile:?} in the text")]
    NoProfile {
        /// The name asked for.
        profile: String,
    },
    /// A value that is needed is absent or empty.
    #[error("{name} is missing in {place}")]
    Missing {
        /// The name of the value.
        name: &'static str,
        /// Where it was looked for.
        place: String,
    },
    /// A value cannot be used.
    #[error("the credentials cannot be used")]
    Invalid {
        /// The rule that it breaks.
        source: ConfigError,
    },
    /// The provider gave credentials that have expired already.
    #[error(
        "the credentials expired at {}; check their provider and the clock",
        format_http_date(*expires_at).unwrap_or_default()
    )]
    Expired {
        /// From when on the server refuses them.
        expires_at: SystemTime,
    },
    /// The provider failed.
    #[error("the provider gave no credentials")]
    Provider {
        /// What went wrong there.
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl CredentialsError {
    /// Wraps the error of a provider's own.
    pub fn provider(source: impl Into<Box<dyn Error + Send + Sync>>) -> CredentialsError {
        CredentialsError::Provider { source: source.into().into() }
    }

    /// Wraps the refusal of a value by [`Credentials::new`] or [`Credentials::with_session_token`].
    pub fn invalid(source: ConfigError) -> CredentialsError {
        CredentialsError::Invalid { source }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[tokio::test]
    async fn a_fixed_pair_provides_itself() {
        let pair = Credentials::new("AKID", "geheim").unwrap();
        let boxed: Box<dyn CredentialsProvider> = Box::new(pair.clone());
        let shared: Arc<dyn CredentialsProvider> = Arc::new(boxed);
        assert_eq!(CredentialsProvider::credentials(&shared).await.unwrap(), pair);
    }

    #[test]
    fn messages_say_what_to_do_and_keep_the_cause() {
        let expired =
            CredentialsError::Expired { expires_at: UNIX_EPOCH + Duration::from_secs(1_700_000_000) };
        let expected =
            "the credentials expired at Tue, 14 Nov 2023 22:13:20 GMT; check their provider and the clock";
        assert_eq!(expired.to_string(), expected);

        let failed = CredentialsError::provider("no route to the vault");
        assert_eq!(failed.to_string(), "the provider gave no credentials");
        assert_eq!(failed.source().unwrap().to_string(), "no route to the vault");
    }
}
