//! Percent-encoding of queries and path components (spec `conversation.md` §1).

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a form-encoded query keeps as it is, beside letters and digits; a space becomes `+`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b' ');

/// Encodes one path component: everything but letters and digits, as stock clients do.
pub(crate) fn path_component(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Encodes a token's secret for the `Authorization` header; servers decode it (spec `rest-api.md` §2.2).
pub(crate) fn token_secret(secret: &str) -> String {
    const SECRET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(secret, SECRET).to_string()
}

/// Parameters of one call, kept sorted by name as stock clients send them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters(Vec<(&'static str, serde_json::Value)>);

impl Parameters {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Self {
        let at = self.0.partition_point(|(known, _)| *known < name);
        self.0.insert(at, (name, value.into()));
        self
    }

    /// Adds a parameter if it has a value.
    pub(crate) fn with_some(self, name: &'static str, value: Option<impl Into<serde_json::Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a parameter if it is true: false is what servers take its absence for.
    pub(crate) fn with_flag(self, name: &'static str, value: bool) -> Self {
        if value { self.with(name, true) } else { self }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the parameters as a form-encoded query, without the question mark.
    pub(crate) fn to_query(&self) -> String {
        let mut query = String::new();
        for (name, value) in &self.0 {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            let text = match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            for (position, piece) in text.split(' ').enumerate() {
                if position > 0 {
                    query.push('+');
                }
                // Writing into a string cannot fail.
                let _ = write!(query, "{}", utf8_percent_encode(piece, QUERY));
            }
        }
        query
    }

    /// Writes the parameters as a JSON object.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let object: serde_json::Map<_, _> =
            self.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        serde_json::Value::Object(object).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The samples stand in conversation.md §1 and §3.
    #[test]
    fn queries_are_form_encoded_and_sorted() {
        let parameters = Parameters::new()
            .with("notes", "two words\nuser@pbs: 1+1")
            .with("backup-time", 1_700_000_000_i64)
            .with("ns", "a/b")
            .with_some("limit", None::<i64>)
            .with("verbose", true);
        assert_eq!(
            parameters.to_query(),
            "backup-time=1700000000&notes=two+words%0Auser%40pbs%3A+1%2B1&ns=a%2Fb&verbose=true"
        );
    }

    #[test]
    fn non_ascii_text_is_encoded_as_utf8() {
        assert_eq!(Parameters::new().with("notes", "ä").to_query(), "notes=%C3%A4");
    }

    #[test]
    fn path_components_keep_letters_and_digits_only() {
        assert_eq!(path_component("garbage_collection:a"), "garbage%5Fcollection%3Aa");
        assert_eq!(path_component("../x"), "%2E%2E%2Fx");
    }

    #[test]
    fn json_bodies_keep_types() {
        let parameters =
            Parameters::new().with("keep-last", 1_u64).with_flag("dry-run", true).with("ns", "a");
        let body = parameters.with_flag("verbose", false).with("list", vec!["b", "a"]).to_json();
        assert_eq!(body, br#"{"dry-run":true,"keep-last":1,"list":["b","a"],"ns":"a"}"#);
    }
}
