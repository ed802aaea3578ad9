//! Where it is told how jobs end.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use http::Uri;
use rustls_pki_types::ServerName;

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 1024;

/// A URL of `http` or `https`, without a user in it; shown as it was written. Whoever may set it can have the server send a few
/// facts to any address that the server reaches. Path and query are often a secret; `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    text: String,
    pub(super) is_tls: bool,
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As it stands in the header `Host`.
    pub(super) authority: String,
    /// Path and query.
    pub(super) path: String,
}

/// A text that is no such URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a URL of http or https with a host and without a user, up to {URL_BYTES_MAX} bytes, as in https://alerts.example.com/hook"
)]
pub struct WebhookUrlError;

impl WebhookUrl {
    /// Returns what anybody may be told of it: the scheme, the host and the port.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.authority)
    }
}

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, WebhookUrlError> {
        let is_plain = text.len() <= URL_BYTES_MAX && !text.contains('#');
        let uri: Uri = text.parse().ok().filter(|_| is_plain).ok_or(WebhookUrlError)?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(WebhookUrlError),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or(WebhookUrlError)?;
        let host = match authority.host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().map_err(|_| WebhookUrlError)?.to_string(),
            None => authority.host().to_owned(),
        };
        ServerName::try_from(host.as_str()).map_err(|_| WebhookUrlError)?;
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(port) if port > 0 => port,
            None if !has_port => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            _ => return Err(WebhookUrlError),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { text: text.to_owned(), is_tls, host, port, authority: authority.to_string(), path })
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({}/..)", self.origin())
    }
}

/// All of it, for the file and for whoever may set it.
impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, expected) in [
            ("http://alerts.example.com", (false, "alerts.example.com", 80, "/")),
            ("https://alerts.example.com/a/b?c=d", (true, "alerts.example.com", 443, "/a/b?c=d")),
            ("https://10.0.0.7:8443/hook", (true, "10.0.0.7", 8443, "/hook")),
            ("http://[fd00::7]:81/", (false, "fd00::7", 81, "/")),
            ("http://[::1]", (false, "::1", 80, "/")),
            ("http://localhost?x=1", (false, "localhost", 80, "/?x=1")),
        ] {
            let url: WebhookUrl = text.parse().unwrap();
            assert_eq!((url.is_tls, url.host.as_str(), url.port, url.path.as_str()), expected, "{text}");
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn path_and_query_are_told_to_nobody() {
        let url: WebhookUrl = "https://alerts.example.com:8443/geheim?geheim".parse().unwrap();
        assert_eq!(url.origin(), "https://alerts.example.com:8443");
        assert!(!format!("{url:?}").contains("geheim"));
    }

    #[test]
    fn what_is_no_url_of_a_web_server_is_refused() {
        let long = format!("http://a/{}", "x".repeat(URL_BYTES_MAX));
        for bad in [
            "",
            "a",
            "/hook",
            "a.example.com/hook",
            "ftp://a/",
            "file:///etc/passwd",
            "http://",
            "http:///hook",
            "http://joe@a/",
            "http://joe:pw@a/",
            "http://joe@a:80/",
            "http://a:0/",
            "http://a:65536/",
            "http://a:/",
            "http://a:b/",
            "http://a b/",
            "http://a/b c",
            "http://a/#x",
            "http://a..b/",
            "http://[::1",
            "http://[a]/",
            "http://ü/",
            "http://a/\r\nx: y",
            &long,
        ] {
            assert_eq!(bad.parse::<WebhookUrl>(), Err(WebhookUrlError), "{bad:?}");
        }
    }
}
