//! The `{"data": …}` around every JSON answer.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Call, RequestError};

/// Parses an answer and returns its `data`. An empty body counts as `null`; a missing `data` is an error.
pub(crate) fn data<T: DeserializeOwned>(call: &Call, body: &[u8]) -> Result<T, RequestError> {
    // `Option` fields may be missing for serde, so a plain struct field of type `T` would accept a missing `data`
    // wherever `T` is an option.
    #[derive(Deserialize)]
    struct Envelope<T> {
        #[serde(deserialize_with = "Deserialize::deserialize", bound(deserialize = "T: Deserialize<'de>"))]
        data: T,
    }
    let body = if body.is_empty() { &br#"{"data":null}"#[..] } else { body };
    whole::<Envelope<T>>(call, body).map(|envelope| envelope.data)
}

/// Parses a whole answer: for the calls that put facts beside `data`.
pub(crate) fn whole<T: DeserializeOwned>(call: &Call, body: &[u8]) -> Result<T, RequestError> {
    serde_json::from_slice(body).map_err(|source| RequestError::unparsed(call.clone(), &source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_must_be_there_unless_the_body_is_empty() {
        let call = Call::new(http::Method::GET, "/x");
        assert_eq!(data::<Option<i64>>(&call, br#"{"data":null,"total":1}"#).unwrap(), None);
        assert_eq!(data::<Option<i64>>(&call, b"").unwrap(), None);
        assert_eq!(data::<i64>(&call, br#"{"data":5}"#).unwrap(), 5);
        assert!(data::<Option<i64>>(&call, br#"{"total":1}"#).is_err());
        assert!(data::<i64>(&call, b"<html>").is_err());
    }

    #[test]
    fn what_is_said_of_an_answer_repeats_little_of_it() {
        use std::error::Error as _;

        let call = Call::new(http::Method::GET, "/x");
        let long = format!(r#"{{"data":"{}"}}"#, "é\u{7f}".repeat(100_000));
        let error = data::<bool>(&call, long.as_bytes()).unwrap_err();
        let text = error.source().unwrap().to_string();
        assert!(text.starts_with("invalid type: string \"é") && text.len() <= 1024, "{}", text.len());
        let error = data::<bool>(&call, br#"{"data":5}"#).unwrap_err();
        assert!(error.source().unwrap().to_string().ends_with("expected a boolean at line 1 column 9"));
    }
}
