//! Access keys.

use std::fmt;
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::ConfigError;

/// An access key with its secret, and the session token of temporary credentials.
///
/// `Debug` shows the access key, which is a name, and nothing else. The secret parts are wiped from memory on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key: String,
    secret_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
    expires_at: Option<SystemTime>,
}

impl Credentials {
    /// Takes long-lived credentials.
    ///
    /// # Errors
    /// [`ConfigError::InvalidCredentials`] if a part is empty, or the access key cannot stand in an `Authorization` header.
    pub fn new(access_key: &str, secret_key: &str) -> Result<Credentials, ConfigError> {
        // The key stands in `Credential=KEY/date/region/…, SignedHeaders=…`: a slash or comma in it would shift what follows.
        let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b',');
        if access_key.is_empty() || !access_key.bytes().all(fits) {
            let rule = "visible ASCII characters without `/` and `,`";
            return Err(ConfigError::InvalidCredentials { part: "access key", rule });
        }
        if secret_key.is_empty() {
            return Err(ConfigError::InvalidCredentials { part: "secret key", rule: "not empty" });
        }
        let secret_key = Zeroizing::new(secret_key.to_owned());
        let access_key = access_key.to_owned();
        Ok(Credentials { access_key, secret_key, session_token: None, expires_at: None })
    }

    /// Adds the session token of temporary credentials (S3 API reference, `x-amz-security-token`).
    ///
    /// # Errors
    /// [`ConfigError::InvalidCredentials`] if it is empty or cannot stand in a header.
    pub fn with_session_token(mut self, token: &str) -> Result<Credentials, ConfigError> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let rule = "visible ASCII characters";
            return Err(ConfigError::InvalidCredentials { part: "session token", rule });
        }
        self.session_token = Some(Zeroizing::new(token.to_owned()));
        Ok(self)
    }

    /// Sets the instant from which the server refuses these credentials, so that they are replaced in time.
    #[must_use]
    pub fn with_expiry(mut self, expires_at: SystemTime) -> Credentials {
        self.expires_at = Some(expires_at);
        self
    }

    /// Returns the access key.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Returns the secret key. Handle with care: neither log it nor copy it.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// Returns the session token, if these are temporary credentials.
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.as_str())
    }

    /// Returns the instant from which the server refuses these credentials; `None` for long-lived ones.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_name_only() {
        let credentials = Credentials::new("AKID", "geheim").unwrap().with_session_token("fleeting").unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials { access_key: \"AKID\", .. }");
        assert_eq!(credentials.secret_key(), "geheim");
        assert_eq!(credentials.session_token(), Some("fleeting"));
    }

    #[test]
    fn parts_that_break_a_request_are_refused() {
        for access_key in ["", "a/b", "a,b", "a b", "é", "a\r\nx: y"] {
            assert!(Credentials::new(access_key, "s").is_err(), "{access_key:?}");
        }
        assert!(Credentials::new("a", "").is_err());
        for token in ["", "a b", "a\nb"] {
            assert!(Credentials::new("a", "s").unwrap().with_session_token(token).is_err(), "{token:?}");
        }
    }

    #[test]
    fn errors_hold_no_secret() {
        let error = Credentials::new("a b", "geheim").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("geheim"));
    }
}
