//! The parameters of one request, collected from path, query and body, and checked against their descriptions.

use std::fmt;
use std::str::FromStr;

use serde_json::Value as Json;

use super::error::ApiError;
use super::param::{Kind, LIST_LEN_MAX, Param, Presence};

/// Query key that browsers add against caching; ignored.
const CACHE_BUSTER: &str = "_dc";

/// The checked parameters of one request. Only what the endpoint describes is in it.
#[derive(Debug, Clone, Default)]
pub struct Params {
    values: Vec<(&'static str, Value)>,
}

#[derive(Debug, Clone)]
enum Value {
    One(String),
    Many(Vec<String>),
}

impl Params {
    /// Returns a parameter that is required or has a default.
    ///
    /// # Errors
    /// 400 if it is absent, or if `T` refuses its text.
    pub fn get<T>(&self, name: &str) -> Result<T, ApiError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.find(name)?.ok_or_else(|| missing(name))
    }

    /// Returns a parameter that may be absent.
    ///
    /// # Errors
    /// 400 if `T` refuses its text.
    pub fn find<T>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        match self.value(name) {
            Some(Value::One(text)) => text.parse().map(Some).map_err(|error| invalid(name, &error)),
            Some(Value::Many(_)) => Err(invalid(name, &"expected one value")),
            None => Ok(None),
        }
    }

    /// Returns the elements of a list; an absent list is empty.
    ///
    /// # Errors
    /// 400 if `T` refuses one of them.
    pub fn list<T>(&self, name: &str) -> Result<Vec<T>, ApiError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        match self.value(name) {
            Some(Value::Many(texts)) => {
                texts.iter().map(|text| text.parse().map_err(|error| invalid(name, &error))).collect()
            }
            Some(Value::One(text)) => Ok(vec![text.parse().map_err(|error| invalid(name, &error))?]),
            None => Ok(Vec::new()),
        }
    }

    /// Returns the text of a parameter, if it was given or has a default.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Some(Value::One(text)) => Some(text),
            _ => None,
        }
    }

    /// Lists all values, those of a list one after the other.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.values.iter().map(|(name, value)| match value {
            Value::One(text) => (*name, std::slice::from_ref(text)),
            Value::Many(texts) => (*name, texts.as_slice()),
        })
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// Parameters as they arrive, before they are checked.
#[derive(Debug, Default)]
pub(super) struct Raw {
    values: Vec<(String, RawValue)>,
}

#[derive(Debug)]
enum RawValue {
    Text(String),
    List(Vec<String>),
}

impl Raw {
    /// Adds what a path component stands for.
    pub(super) fn add_path_variable(&mut self, name: &str, text: &str) {
        self.values.push((name.to_owned(), RawValue::Text(text.to_owned())));
    }

    /// Adds the pairs of a query string or a form body.
    pub(super) fn add_form(&mut self, form: &str) -> Result<(), ApiError> {
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, text) = (decode_form(name)?, decode_form(text)?);
            if name != CACHE_BUSTER {
                self.values.push((name, RawValue::Text(text)));
            }
        }
        Ok(())
    }

    /// Adds the members of a JSON object; an empty body counts as an empty object.
    pub(super) fn add_json(&mut self, body: &[u8]) -> Result<(), ApiError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let parsed = serde_json::from_slice(body);
        let parsed = parsed.map_err(|error| ApiError::bad_request(format!("body is no JSON: {error}")))?;
        let Json::Object(members) = parsed else {
            return Err(ApiError::bad_request("body is no JSON object"));
        };
        for (name, value) in members {
            let value = match value {
                Json::Null => continue,
                Json::Array(elements) => RawValue::List(
                    elements.into_iter().map(|element| scalar(&name, element)).collect::<Result<_, _>>()?,
                ),
                single => RawValue::Text(scalar(&name, single)?),
            };
            self.values.push((name, value));
        }
        Ok(())
    }

    /// Checks everything against the descriptions: nothing unknown, nothing missing, each within its limits.
    pub(super) fn check(self, described: &'static [Param]) -> Result<Params, ApiError> {
        let mut params = Params::default();
        for (name, raw) in self.values {
            let Some(param) = described.iter().find(|param| is_same_name(param, &name)) else {
                return Err(ApiError::bad_request(format!("parameter '{}' is unknown", shown(&name))));
            };
            params.add(param, raw)?;
        }
        for param in described {
            match param.presence {
                Presence::Required if params.value(param.name).is_none() => return Err(missing(param.name)),
                Presence::Default(text) if params.value(param.name).is_none() => {
                    params.add(param, RawValue::Text(text.to_owned()))?;
                }
                _ => {}
            }
        }
        Ok(params)
    }
}

impl Params {
    fn add(&mut self, param: &Param, raw: RawValue) -> Result<(), ApiError> {
        let name = param.name;
        let normal = |text| param.kind.normalise(text).map_err(|error| invalid(name, &error));
        let is_list = matches!(param.kind, Kind::List(_));
        let known = self.values.iter_mut().find(|(known, _)| *known == name).map(|(_, value)| value);
        match (raw, is_list, known) {
            (RawValue::Text(text), true, Some(Value::Many(texts))) if texts.len() < LIST_LEN_MAX => {
                texts.push(normal(text)?);
            }
            (RawValue::Text(text), true, None) => self.values.push((name, Value::Many(vec![normal(text)?]))),
            (RawValue::Text(text), false, None) => self.values.push((name, Value::One(normal(text)?))),
            (RawValue::List(texts), true, None) if texts.len() <= LIST_LEN_MAX => {
                let texts = texts.into_iter().map(normal).collect::<Result<_, _>>()?;
                self.values.push((name, Value::Many(texts)));
            }
            (RawValue::List(_), false, _) => return Err(invalid(name, &"expected one value, not a list")),
            (_, true, _) => return Err(invalid(name, &"given twice, or too long a list")),
            (_, false, Some(_)) => return Err(invalid(name, &"given more than once")),
        }
        Ok(())
    }
}

/// Lists are also written with brackets in queries, as in `statusfilter[]=ok`.
fn is_same_name(param: &Param, name: &str) -> bool {
    param.name == name || (matches!(param.kind, Kind::List(_)) && name.strip_suffix("[]") == Some(param.name))
}

fn scalar(name: &str, value: Json) -> Result<String, ApiError> {
    match value {
        Json::String(text) => Ok(text),
        Json::Bool(value) => Ok(value.to_string()),
        Json::Number(number) => Ok(number.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => Err(ApiError::bad_request(format!(
            "parameter '{}': expected text, a number or a boolean",
            shown(name)
        ))),
    }
}

/// Decodes form style: `+` is a space, `%xx` a byte; the result must be UTF-8.
fn decode_form(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| ApiError::bad_request("parameters are not UTF-8"))
}

fn missing(name: &str) -> ApiError {
    ApiError::bad_request(format!("parameter '{name}' is missing"))
}

fn invalid(name: &str, reason: &dyn fmt::Display) -> ApiError {
    ApiError::bad_request(format!("parameter '{name}': {reason}"))
}

fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    static DESCRIBED: &[Param] = &[
        Param::required("wid", Kind::Integer { min: 1, max: 256 }, ""),
        Param::optional("notes", Kind::Text { bytes_max: 64 }, ""),
        Param::with_default("dry-run", Kind::Boolean, "false", ""),
        Param::optional("digest-list", Kind::List(&Kind::Text { bytes_max: 64 }), ""),
    ];

    fn form(text: &str) -> Result<Params, ApiError> {
        let mut raw = Raw::default();
        raw.add_form(text)?;
        raw.check(DESCRIBED)
    }

    fn json(text: &str) -> Result<Params, ApiError> {
        let mut raw = Raw::default();
        raw.add_json(text.as_bytes())?;
        raw.check(DESCRIBED)
    }

    #[test]
    fn form_and_json_give_the_same_values() {
        let (a, b) = (
            form("wid=7&notes=a+b%0Ac&dry-run=1&_dc=5").unwrap(),
            json(r#"{"wid":7,"notes":"a b\nc","dry-run":true}"#).unwrap(),
        );
        for params in [a, b] {
            assert_eq!(params.get::<u32>("wid").unwrap(), 7);
            assert_eq!(params.text("notes"), Some("a b\nc"));
            assert!(params.get::<bool>("dry-run").unwrap());
        }
    }

    #[test]
    fn defaults_fill_in_and_absent_ones_stay_absent() {
        let params = form("wid=1").unwrap();
        assert!(!params.get::<bool>("dry-run").unwrap());
        assert_eq!(params.find::<String>("notes").unwrap(), None);
        assert!(params.list::<String>("digest-list").unwrap().is_empty());
    }

    #[test]
    fn lists_come_as_arrays_or_repeated_keys() {
        for params in
            [json(r#"{"wid":1,"digest-list":["a","b"]}"#), form("wid=1&digest-list=a&digest-list[]=b")]
        {
            assert_eq!(params.unwrap().list::<String>("digest-list").unwrap(), ["a", "b"]);
        }
    }

    #[test]
    fn what_is_not_described_is_refused_with_the_name_of_the_parameter() {
        let refused = [
            (form("notes=x"), "'wid' is missing"),
            (form("wid=1&x=1"), "'x' is unknown"),
            (form("wid=1&wid=2"), "'wid': given more than once"),
            (form("wid=0"), "'wid'"),
            (json(r#"{"wid":[1]}"#), "'wid'"),
            (json(r#"{"wid":{"a":1}}"#), "'wid'"),
            (json("[1]"), "no JSON object"),
            (json("{"), "no JSON"),
            (form("wid=%ff"), "UTF-8"),
            (form("wid"), "'wid': expected an integer"),
        ];
        for (result, expected) in refused {
            let error = result.unwrap_err();
            assert_eq!(error.status(), 400);
            assert!(error.message().contains(expected), "{error} lacks {expected}");
        }
    }
}
