//! A whole request, taken apart.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use super::answer::S3Error;

/// A request whose body has arrived.
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Empty for requests to the service itself.
    pub(crate) bucket: String,
    /// Decoded; empty for requests to a bucket.
    pub(crate) key: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) pages: Vec<Bytes>,
}

impl Request {
    pub(crate) fn new(parts: &Parts, pages: Vec<Bytes>) -> Result<Request, S3Error> {
        let (bucket, key) = target(parts)?;
        Ok(Request {
            method: parts.method.clone(),
            bucket,
            key,
            query: Query::parse(parts.uri.query().unwrap_or(""))?,
            headers: parts.headers.clone(),
            pages,
        })
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body, where it must be a document.
    pub(crate) fn text(&self) -> Result<String, S3Error> {
        String::from_utf8(self.pages.concat()).map_err(|_| S3Error::malformed_xml())
    }
}

/// Decoded pairs of a query, in the order sent.
#[derive(Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: &str) -> Result<Query, S3Error> {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Query(pairs.collect::<Result<_, S3Error>>()?))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Percent-decodes; a `+` stays one, as in a key's path. (A client that means a space sends `%20`.)
pub(crate) fn decode(text: &str) -> Result<String, S3Error> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| S3Error::new(400, "InvalidURI", "Couldn't parse the specified URI."))
}

/// The bucket and the key, from `bucket.localhost` or the first step of the path.
fn target(parts: &Parts) -> Result<(String, String), S3Error> {
    let path = parts.uri.path().strip_prefix('/').unwrap_or_default();
    let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if let Some(bucket) = name.strip_suffix(".localhost") {
        return Ok((bucket.to_owned(), decode(path)?));
    }
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    Ok((decode(bucket)?, decode(key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(uri: &str, host: &str) -> (String, String) {
        let request = http::Request::builder().uri(uri).header("host", host).body(()).unwrap();
        target(&request.into_parts().0).unwrap()
    }

    #[test]
    fn both_styles_of_addressing_are_understood() {
        let expected = ("bucket".to_owned(), "/a b+c//d".to_owned());
        assert_eq!(target_of("/bucket//a%20b+c//d", "127.0.0.1:9"), expected);
        assert_eq!(target_of("//a%20b+c//d", "bucket.localhost:9"), expected);
        assert_eq!(target_of("/", "localhost:9"), (String::new(), String::new()));
    }

    #[test]
    fn a_bare_name_is_an_empty_value() {
        let query = Query::parse("delete&prefix=a%26b").unwrap();
        assert_eq!(query.value("delete"), Some(""));
        assert_eq!(query.value("prefix"), Some("a&b"));
        assert!(!query.has("uploads"));
    }
}
