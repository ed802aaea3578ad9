//! Endpoint templates.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use super::{BucketName, ConfigError, Region};

const BUCKET_LABEL: &str = "{{bucket}}";
const REGION_LABEL: &str = "{{region}}";
/// Most bytes of a host name (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// The transport under HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// TLS. The default.
    Https,
    /// No TLS; only where the endpoint says `http://`.
    Http,
}

/// Where the service is: scheme, host and port, with placeholders for bucket and region.
///
/// `{{bucket}}` may be the first label of the host name, `{{region}}` a later one:
///
/// ```
/// use coldkeep_s3_client::Endpoint;
/// for endpoint in ["{{bucket}}.s3.{{region}}.amazonaws.com", "https://s3.example.com:9000", "http://[::1]:8080"] {
///     assert!(endpoint.parse::<Endpoint>().is_ok());
/// }
/// assert!("s3.example.com/path".parse::<Endpoint>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: Scheme,
    has_bucket: bool,
    /// Without the bucket's label; `{{region}}` still in place.
    host: String,
    port: Option<NonZeroU16>,
}

impl Endpoint {
    /// Returns the scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns whether the host starts with `{{bucket}}`.
    pub fn has_bucket(&self) -> bool {
        self.has_bucket
    }

    /// Returns the port to connect to.
    pub fn port(&self) -> u16 {
        self.port.map_or(self.scheme.port(), NonZeroU16::get)
    }

    /// Returns the host name, and the port where it is not the scheme's own, with the placeholders filled in.
    ///
    /// The bucket's label is left out if there is no bucket to fill it with, as for path addressing and for listing buckets.
    pub fn authority(&self, region: &Region, bucket: Option<&BucketName>) -> String {
        let host = self.host.replace(REGION_LABEL, region.as_str());
        let host = match bucket {
            Some(bucket) if self.has_bucket => format!("{bucket}.{host}"),
            _ => host,
        };
        // A `Host` header with the default port would be signed differently by servers that leave it out.
        if self.port() == self.scheme.port() { host } else { format!("{host}:{}", self.port()) }
    }
}

impl Scheme {
    /// Returns the name as it stands in a URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Https => "https",
            Scheme::Http => "http",
        }
    }

    pub(crate) fn port(self) -> u16 {
        match self {
            Scheme::Https => 443,
            Scheme::Http => 80,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if self.has_bucket {
            write!(f, "{BUCKET_LABEL}.")?;
        }
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for Endpoint {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Endpoint, ConfigError> {
        // Whatever stands before an `@` may be a secret.
        let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
        let given = || shown.chars().take(300).collect::<String>();
        let (scheme, rest) = match text.split_once("://") {
            None | Some(("https", _)) => (Scheme::Https, text.strip_prefix("https://").unwrap_or(text)),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some((scheme, _)) => {
                let scheme = if scheme.contains('@') { "" } else { scheme };
                let scheme = scheme.chars().take(40).collect();
                return Err(ConfigError::UnknownScheme { endpoint: given(), scheme });
            }
        };
        if rest.contains(['/', '?', '#', '@']) {
            return Err(ConfigError::NotJustAHost { endpoint: given() });
        }
        let (has_bucket, host) = match rest.strip_prefix(BUCKET_LABEL) {
            None => (false, rest),
            Some(rest) => match rest.strip_prefix('.') {
                Some(host) => (true, host),
                None => return Err(ConfigError::InvalidPlaceholder { endpoint: given() }),
            },
        };
        let (host, port) = split_port(host).ok_or_else(|| ConfigError::InvalidPort { endpoint: given() })?;
        if host.replace(REGION_LABEL, "r").contains(['{', '}']) {
            return Err(ConfigError::InvalidPlaceholder { endpoint: given() });
        }
        // A label before an address makes no name.
        let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
        if !is_host(host) || (has_bucket && is_address) {
            return Err(ConfigError::InvalidHost { endpoint: given() });
        }
        Ok(Endpoint { scheme, has_bucket, host: host.to_ascii_lowercase(), port })
    }
}

/// Splits `host:port`, with an IPv6 address in brackets. `None`: the port is no number from 1 to 65535.
pub(super) fn split_port(text: &str) -> Option<(&str, Option<NonZeroU16>)> {
    let host_end = if text.starts_with('[') { text.find(']').map_or(text.len(), |at| at + 1) } else { 0 };
    match text[host_end..].find(':') {
        None => Some((text, None)),
        Some(at) => {
            let (host, port) = (&text[..host_end + at], &text[host_end + at + 1..]);
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|_| is_number)?;
            Some((host, Some(port)))
        }
    }
}

pub(super) fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    host.len() <= HOST_BYTES_MAX && host.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    if label == REGION_LABEL {
        return true;
    }
    // Providers put the region beside other text too: `s3-{{region}}`.
    let label = label.replace(REGION_LABEL, "r");
    label.len() <= 63
        && is_edge(label.bytes().next())
        && is_edge(label.bytes().next_back())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(endpoint: &str, bucket: Option<&str>) -> String {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        let bucket = bucket.map(|name| name.parse().unwrap());
        endpoint.authority(&"eu-1".parse().unwrap(), bucket.as_ref())
    }

    #[test]
    fn placeholders_are_filled() {
        assert_eq!(authority("{{bucket}}.s3.{{region}}.example.com", Some("one")), "one.s3.eu-1.example.com");
        assert_eq!(authority("{{bucket}}.s3.{{region}}.example.com", None), "s3.eu-1.example.com");
        assert_eq!(authority("s3-{{region}}.example.com", Some("one")), "s3-eu-1.example.com");
    }

    #[test]
    fn only_an_unusual_port_is_shown() {
        assert_eq!(authority("https://h.example:443", None), "h.example");
        assert_eq!(authority("http://h.example:80", None), "h.example");
        assert_eq!(authority("http://h.example:443", None), "h.example:443");
        assert_eq!(authority("http://[::1]:9000", None), "[::1]:9000");
        assert_eq!(authority("[::1]", None), "[::1]");
    }

    #[test]
    fn text_form_parses_to_the_same_value() {
        for text in
            ["https://{{bucket}}.s3.{{region}}.example.com:9000", "http://127.0.0.1:1", "https://[fd00::7]"]
        {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        for text in [
            "https://key:geheim@s3.example.com",
            "ftp://key:geheim@host",
            "key:geheim@host:0",
            "https://key:gehe@im@h/p",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("gehe"), "{error:?}");
        }
    }

    #[test]
    fn tls_is_the_default() {
        assert_eq!("s3.example.com".parse::<Endpoint>().unwrap().scheme(), Scheme::Https);
        assert_eq!("http://s3.example.com".parse::<Endpoint>().unwrap().scheme(), Scheme::Http);
    }

    #[test]
    fn each_flaw_has_its_error() {
        type Check = fn(&ConfigError) -> bool;
        let host: Check = |error| matches!(error, ConfigError::InvalidHost { .. });
        let port: Check = |error| matches!(error, ConfigError::InvalidPort { .. });
        let just: Check = |error| matches!(error, ConfigError::NotJustAHost { .. });
        let place: Check = |error| matches!(error, ConfigError::InvalidPlaceholder { .. });
        let scheme: Check = |error| matches!(error, ConfigError::UnknownScheme { .. });
        let bad: &[(&str, Check)] = &[
            ("", host),
            ("a..b", host),
            ("-a.b", host),
            ("a b", host),
            ("[::1", host),
            ("[zz]", host),
            ("{{bucket}}.[::1]", host),
            ("http://{{bucket}}.127.0.0.1:9000", host),
            ("a:0", port),
            ("a:65536", port),
            ("a:+1", port),
            ("a:", port),
            ("::1", port),
            ("a/b", just),
            ("u@a", just),
            ("a?x", just),
            ("{{bucket}}", place),
            ("a.{{bucket}}.b", place),
            ("{{zone}}.a", place),
            ("ftp://a", scheme),
        ];
        for (text, check) in bad {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(check(&error), "{text}: {error}");
        }
    }
}
