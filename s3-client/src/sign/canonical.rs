//! The canonical request.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Query, SignError, ToSign};

/// The headers that get signed: all that are present, sorted by name, except `authorization`.
///
/// The sorted list is the only thing allocated for a signature; the canonical request is hashed piece by piece as it is written.
pub(super) struct SignedHeaders<'a> {
    headers: &'a HeaderMap,
    names: Vec<&'a HeaderName>,
}

impl<'a> SignedHeaders<'a> {
    /// # Errors
    /// [`SignError::MissingHost`] where the one header that must be signed is not there.
    pub(super) fn of(headers: &'a HeaderMap) -> Result<SignedHeaders<'a>, SignError> {
        if !headers.contains_key(header::HOST) {
            return Err(SignError::MissingHost);
        }
        let mut names: Vec<&HeaderName> =
            headers.keys().filter(|name| *name != header::AUTHORIZATION).collect();
        names.sort_unstable_by_key(|name| name.as_str());
        Ok(SignedHeaders { headers, names })
    }

    /// Writes the names, joined by `;`.
    pub(super) fn write_names(&self, write: &mut impl FnMut(&str)) {
        for (idx, name) in self.names.iter().enumerate() {
            if idx > 0 {
                write(";");
            }
            write(name.as_str());
        }
    }

    /// Writes the canonical request (S3 API reference, "Signature Calculations for the Authorization Header", task 1).
    ///
    /// # Errors
    /// [`SignError::HeaderNotAscii`]; what was written until then is of no use.
    pub(super) fn write_request(
        &self,
        request: &ToSign<'_>,
        query: &Query,
        payload: &str,
        write: &mut impl FnMut(&str),
    ) -> Result<(), SignError> {
        write(request.method.as_str());
        write("\n");
        write(request.path);
        write("\n");
        query.write_canonical(write);
        write("\n");
        self.write_lines(write)?;
        write("\n");
        self.write_names(write);
        write("\n");
        write(payload);
        Ok(())
    }

    /// Writes `name:value` lines. The values of one name are joined by commas, in the order in which they are sent.
    fn write_lines(&self, write: &mut impl FnMut(&str)) -> Result<(), SignError> {
        for name in &self.names {
            write(name.as_str());
            for (idx, value) in self.headers.get_all(*name).iter().enumerate() {
                write(if idx == 0 { ":" } else { "," });
                write_trimmed(visible(name, value)?, write);
            }
            write("\n");
        }
        Ok(())
    }
}

/// Returns a header's value as text. Other bytes are refused here: some servers read them as Latin-1, some as UTF-8, and each would
/// compute another signature.
fn visible<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, SignError> {
    value.to_str().map_err(|_| SignError::HeaderNotAscii { name: name.clone() })
}

/// Writes `value` without white space at its ends and with one space for each run of it within.
fn write_trimmed(value: &str, write: &mut impl FnMut(&str)) {
    for (idx, word) in value.split_ascii_whitespace().enumerate() {
        if idx > 0 {
            write(" ");
        }
        write(word);
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::*;

    fn canonical(headers: &HeaderMap) -> Result<String, SignError> {
        let request = ToSign { method: &Method::GET, path: "/", query: &Query::new() };
        let mut text = String::new();
        SignedHeaders::of(headers)?
            .write_request(&request, request.query, "HASH", &mut |part| text.push_str(part))?;
        Ok(text)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn values_are_trimmed_and_joined() {
        let mut headers =
            headers(&[("x-one", "  a   b \t c  "), ("host", "h"), ("x-empty", ""), ("authorization", "no")]);
        headers.append("x-one", HeaderValue::from_static("d,  e"));
        let expected = "GET\n/\n\nhost:h\nx-empty:\nx-one:a b c,d, e\n\nhost;x-empty;x-one\nHASH";
        assert_eq!(canonical(&headers).unwrap(), expected);
    }

    #[test]
    fn a_request_without_host_is_refused() {
        assert_eq!(canonical(&HeaderMap::new()), Err(SignError::MissingHost));
    }

    #[test]
    fn a_value_that_servers_read_differently_is_refused() {
        for value in ["é".as_bytes(), b"\xff", b"a\x80b"] {
            let mut headers = headers(&[("host", "h")]);
            headers.insert("x-amz-meta-name", HeaderValue::from_bytes(value).unwrap());
            let name = HeaderName::from_static("x-amz-meta-name");
            assert_eq!(canonical(&headers), Err(SignError::HeaderNotAscii { name }));
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_does_not_depend_on_the_order(
            (given, shuffled) in prop::collection::btree_map("x-[a-z0-9-]{0,4}", "[ -~]{0,12}", 0..8)
                .prop_map(|pairs| pairs.into_iter().collect::<Vec<_>>())
                .prop_flat_map(|pairs| (Just(pairs.clone()), Just(pairs).prop_shuffle())),
        ) {
            let headers = |pairs: Vec<(String, String)>| {
                let host = ("host".to_owned(), "h".to_owned());
                let pairs = pairs.into_iter().chain([host]);
                pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
            };
            prop_assert_eq!(canonical(&headers(given)), canonical(&headers(shuffled)));
        }
    }
}
