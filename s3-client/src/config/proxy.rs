//! An HTTP proxy between the client and the service.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::ConfigError;
use super::endpoint::{is_host, split_port};

/// The port of `http://` (RFC 9110 §4.2.1).
const DEFAULT_PORT: u16 = 80;

/// An HTTP proxy: `http://[user:password@]host[:port]`.
///
/// Requests over TLS pass through a tunnel (`CONNECT`, RFC 9110 §9.3.6), so that the proxy sees neither headers nor content; plain
/// requests are sent to it in absolute form (RFC 9112 §3.2.2). The user and the password, percent-encoded where they hold `:`, `@` or
/// `/`, are sent by the scheme `Basic` (RFC 7617). `Debug` and errors show neither.
///
/// ```
/// use coldkeep_s3_client::Proxy;
/// assert!("http://user:p%40ss@proxy.example:3128".parse::<Proxy>().is_ok());
/// assert!("https://proxy.example".parse::<Proxy>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    authorization: Option<Zeroizing<String>>,
}

impl Proxy {
    /// Returns the host, an IPv6 address in brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of `Proxy-Authorization`. Handle with care.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_ref().map(|value| value.as_str())
    }
}

impl FromStr for Proxy {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Proxy, ConfigError> {
        let invalid = |rule| ConfigError::InvalidProxy { rule };
        let rest = text.strip_prefix("http://").ok_or_else(|| invalid("starting with `http://`"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, address) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((user, address)) => (Some(user), address),
        };
        let (host, port) = split_port(address).ok_or_else(|| invalid("a port from 1 to 65535"))?;
        if host.contains('{') || !is_host(host) {
            return Err(invalid("a host name or address, and nothing behind the port"));
        }
        let authorization = user.map(authorization).transpose()?;
        let port = port.map_or(DEFAULT_PORT, std::num::NonZeroU16::get);
        Ok(Proxy { host: host.to_ascii_lowercase(), port, authorization })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Proxy");
        shown.field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

fn authorization(user: &str) -> Result<Zeroizing<String>, ConfigError> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let user = Zeroizing::new(percent_decode_str(user).collect::<Vec<u8>>());
    let password = Zeroizing::new(percent_decode_str(password).collect::<Vec<u8>>());
    // RFC 7617 §2: no colon in the user, no control characters in either.
    let is_control = |byte: &u8| byte.is_ascii_control();
    if user.is_empty() || user.contains(&b':') || user.iter().chain(password.iter()).any(is_control) {
        return Err(ConfigError::InvalidProxy { rule: "a user without colon and control characters" });
    }
    let pair = Zeroizing::new([user.as_slice(), b":", password.as_slice()].concat());
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_slice()));
    Ok(Zeroizing::new(format!("Basic {}", encoded.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str) -> Proxy {
        text.parse().unwrap()
    }

    #[test]
    fn parts_are_read() {
        let plain = proxy("http://Proxy.example");
        assert_eq!((plain.host(), plain.port(), plain.authorization()), ("proxy.example", 80, None));
        assert_eq!(proxy("http://[::1]:3128/").to_string(), "http://[::1]:3128");
        // The example of RFC 7617 §2.
        let named = proxy("http://Aladdin:open%20sesame@10.0.0.1:8080");
        assert_eq!(named.authorization(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    }

    #[test]
    fn anything_else_is_refused_without_showing_it() {
        for bad in [
            "proxy:3128",
            "https://proxy:3128",
            "http://",
            "http://secret:pw@",
            "http://secret:pw@proxy:0",
            "http://secret:pw@proxy:80/path",
            "http://secret:pw@{{region}}.proxy",
            "http://:secret@proxy",
            "http://sec%3aret:pw@proxy",
            "http://secret:p%0aw@proxy",
        ] {
            let error = bad.parse::<Proxy>().unwrap_err();
            assert!(matches!(error, ConfigError::InvalidProxy { .. }), "{bad}");
            assert!(!format!("{error:?} {error}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{0:?} {0}", proxy("http://aladdin:geheim@proxy:1"));
        assert_eq!(text, "Proxy { host: \"proxy\", port: 1, .. } http://proxy:1");
    }
}
