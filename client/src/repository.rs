//! Where backups go: `[[auth-id@]host[:port]:]datastore`.

use std::fmt;
use std::str::FromStr;

use coldkeep_datastore::{NameError, StoreName};

use crate::auth_id::{AuthId, ParseAuthIdError};

/// Longest repository string in characters (spec `client.md` §1).
pub const REPOSITORY_CHARS_MAX: usize = 256;

/// Port of the protocol.
pub const DEFAULT_PORT: u16 = 8007;

const DEFAULT_HOST: &str = "localhost";
const DEFAULT_AUTH_ID: &str = "root@pam";

/// A datastore on a server, and who calls there (spec `client.md` §1).
///
/// # Examples
/// ```
/// let repository: coldkeep_client::Repository = "joe@pbs!ci@pbs1:8008:tank".parse()?;
/// assert_eq!(repository.auth_id.to_string(), "joe@pbs!ci");
/// assert_eq!((repository.host.as_str(), repository.port), ("pbs1", 8008));
/// # Ok::<(), coldkeep_client::ParseRepositoryError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// User or token; `root@pam` if none is written.
    pub auth_id: AuthId,
    /// DNS name or address, an IPv6 address without its brackets; `localhost` if none is written.
    pub host: String,
    /// Port; 8007 if none is written.
    pub port: u16,
    /// The datastore.
    pub store: StoreName,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}@{open}{}{close}:{}:{}", self.auth_id, self.host, self.port, self.store)
    }
}

/// The text is not a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseRepositoryError {
    /// More than 256 characters.
    #[error("a repository has at most {REPOSITORY_CHARS_MAX} characters")]
    TooLong,
    /// The last part is no datastore name.
    #[error("repository: bad datastore name")]
    Store(#[source] NameError),
    /// The part before the last `@` is no user or token.
    #[error("repository: bad user or token")]
    AuthId(#[source] ParseAuthIdError),
    /// The host is neither DNS name nor address (an IPv6 address needs square brackets).
    #[error("repository: {host:?} is no host name or address (write IPv6 addresses in square brackets)")]
    Host {
        /// The text.
        host: String,
    },
    /// The port is not a number from 1 to 65535.
    #[error("repository: {port:?} is no port")]
    Port {
        /// The text.
        port: String,
    },
}

impl FromStr for Repository {
    type Err = ParseRepositoryError;

    fn from_str(text: &str) -> Result<Self, ParseRepositoryError> {
        if text.chars().count() > REPOSITORY_CHARS_MAX {
            return Err(ParseRepositoryError::TooLong);
        }
        // No datastore name holds a colon, so the last one ends the server's part.
        let (server, store) = match text.rsplit_once(':') {
            Some((server, store)) => (Some(server), store),
            None => (None, text),
        };
        let store = store.parse().map_err(ParseRepositoryError::Store)?;
        // No host holds an `@`, so the last one ends the auth id.
        let (auth_id, address) = match server.map(|server| server.rsplit_once('@').ok_or(server)) {
            Some(Ok((auth_id, address))) => (auth_id, Some(address)),
            Some(Err(address)) => (DEFAULT_AUTH_ID, Some(address)),
            None => (DEFAULT_AUTH_ID, None),
        };
        let auth_id = auth_id.parse().map_err(ParseRepositoryError::AuthId)?;
        let (host, port) = match address {
            Some(address) => parse_address(address)?,
            None => (DEFAULT_HOST.to_owned(), DEFAULT_PORT),
        };
        Ok(Self { auth_id, host, port, store })
    }
}

fn parse_address(text: &str) -> Result<(String, u16), ParseRepositoryError> {
    let bad_host = || ParseRepositoryError::Host { host: text.to_owned() };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(bad_host)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| bad_host())?;
        let port = match port.strip_prefix(':') {
            Some(port) => parse_port(port)?,
            None if port.is_empty() => DEFAULT_PORT,
            None => return Err(bad_host()),
        };
        return Ok((host.to_owned(), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (text, DEFAULT_PORT),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if host.split('.').all(is_label) { Ok((host.to_owned(), port)) } else { Err(bad_host()) }
}

fn parse_port(text: &str) -> Result<u16, ParseRepositoryError> {
    let bad = || ParseRepositoryError::Port { port: text.to_owned() };
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        // client.md §1.
        for (text, auth_id, host, port, store) in [
            ("tank", "root@pam", "localhost", 8007, "tank"),
            ("pbs1:tank", "root@pam", "pbs1", 8007, "tank"),
            ("10.0.0.5:9001:tank", "root@pam", "10.0.0.5", 9001, "tank"),
            ("[fd00::7]:tank", "root@pam", "fd00::7", 8007, "tank"),
            ("joe@pbs@pbs1:tank", "joe@pbs", "pbs1", 8007, "tank"),
            ("joe@pbs!ci@pbs1:8008:tank", "joe@pbs!ci", "pbs1", 8008, "tank"),
        ] {
            let repository: Repository = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(repository.auth_id.to_string(), auth_id, "{text}");
            assert_eq!(repository.host, host, "{text}");
            assert_eq!(repository.port, port, "{text}");
            assert_eq!(repository.store.to_string(), store, "{text}");
            assert_eq!(repository.to_string().parse(), Ok(repository), "{text}");
        }
    }

    #[test]
    fn names_may_hold_an_at_sign() {
        let repository: Repository = "joe@home@pbs@pbs1:tank".parse().unwrap();
        assert_eq!(repository.auth_id.to_string(), "joe@home@pbs");
    }

    #[test]
    fn everything_else_is_refused() {
        use ParseRepositoryError as E;
        let parse = |text: &str| text.parse::<Repository>().unwrap_err();
        assert!(matches!(parse(""), E::Store(_)));
        assert!(matches!(parse("pbs1:"), E::Store(_)));
        assert!(matches!(parse("pbs1:../x"), E::Store(_)));
        assert!(matches!(parse(":tank"), E::Host { .. }));
        assert!(matches!(parse("a b:tank"), E::Host { .. }));
        assert!(matches!(parse("fd00::7:tank"), E::Port { .. } | E::Host { .. }));
        assert!(matches!(parse("[fd00::7:tank"), E::Host { .. }));
        assert!(matches!(parse("[fd00::7]x:tank"), E::Host { .. }));
        assert!(matches!(parse("pbs1:0:tank"), E::Port { .. }));
        assert!(matches!(parse("pbs1:65536:tank"), E::Port { .. }));
        assert!(matches!(parse("pbs1:+1:tank"), E::Port { .. }));
        assert!(matches!(parse("joe@pbs1:tank"), E::AuthId(_)));
        assert!(matches!(parse(&format!("{}:tank", "x".repeat(300))), E::TooLong));
    }
}
