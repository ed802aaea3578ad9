//! The description of one parameter: what the checks, the reference page and the tests are made from.

use std::fmt;
use std::str::FromStr;

/// Longest list in a JSON body, in elements; the body limit of 512 KiB allows no more than about this anyway.
pub const LIST_LEN_MAX: usize = 8192;

/// One parameter of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// The name in the path, query or body.
    pub name: &'static str,
    /// What values are taken.
    pub kind: Kind,
    /// Whether it must be given.
    pub presence: Presence,
    /// One sentence for the reference page.
    pub doc: &'static str,
    /// Whether its value is never written down, in the audit log for example.
    pub is_secret: bool,
}

/// Whether a parameter must be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Without it the request is refused with 400.
    Required,
    /// It may be absent.
    Optional,
    /// Absent means this value, written as in a query.
    Default(&'static str),
}

/// The type and limits of a parameter.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `true | 1 | on | yes` or `false | 0 | off | no`, in any case.
    Boolean,
    /// A decimal integer within these limits, both included.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// Any text of at most this many bytes.
    Text {
        /// Most bytes.
        bytes_max: usize,
    },
    /// A text that one of our types takes.
    Name(Name),
    /// Several values of one kind: a JSON array, or the same key several times.
    List(&'static Kind),
}

/// A kind of text that is checked by the type it is parsed into.
#[derive(Clone, Copy)]
pub struct Name {
    /// What it is, for messages and the reference page: "datastore name".
    pub what: &'static str,
    check: fn(&str) -> Result<(), String>,
}

impl Param {
    /// Describes a parameter that must be given.
    pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, presence: Presence::Required, doc, is_secret: false }
    }

    /// Describes a parameter that may be absent.
    pub const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, presence: Presence::Optional, doc, is_secret: false }
    }

    /// Describes a parameter that has `default` where it is absent.
    pub const fn with_default(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, presence: Presence::Default(default), doc, is_secret: false }
    }
}

impl Param {
    /// Returns the description of a parameter whose value is never written down. It is a text of any form, so that no
    /// refusal repeats it.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { is_secret: true, ..self }
    }
}

impl Kind {
    /// A text that `T` can be parsed from.
    pub const fn name<T>(what: &'static str) -> Self
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        Self::Name(Name { what, check: check::<T> })
    }

    /// Checks one value and returns it in its normal form: `true`, `false`, plain decimal digits.
    pub(crate) fn normalise(&self, value: String) -> Result<String, String> {
        match self {
            Self::Boolean => {
                boolean(&value).map(|value| value.to_string()).ok_or_else(|| "expected a boolean".to_owned())
            }
            Self::Integer { min, max } => match value.parse::<i64>() {
                Ok(number) if (*min..=*max).contains(&number) => Ok(number.to_string()),
                Ok(_) => Err(format!("must be from {min} to {max}")),
                Err(_) => Err("expected an integer".to_owned()),
            },
            Self::Text { bytes_max } if value.len() > *bytes_max => {
                Err(format!("longer than {bytes_max} bytes"))
            }
            Self::Text { .. } if value.contains('\0') => Err("contains a NUL byte".to_owned()),
            Self::Text { .. } => Ok(value),
            Self::Name(name) => (name.check)(&value).map(|()| value),
            Self::List(kind) => kind.normalise(value),
        }
    }
}

fn check<T>(text: &str) -> Result<(), String>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    text.parse::<T>().map(drop).map_err(|error| error.to_string())
}

/// Reads a boolean as stock servers do.
fn boolean(text: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match () {
        () if is(["true", "1", "on", "yes"]) => Some(true),
        () if is(["false", "0", "off", "no"]) => Some(false),
        () => None,
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(kind: Kind, text: &str) -> Result<String, String> {
        kind.normalise(text.to_owned())
    }

    #[test]
    fn every_spelling_of_a_boolean_is_taken() {
        for text in ["true", "TRUE", "1", "on", "Yes"] {
            assert_eq!(normal(Kind::Boolean, text).unwrap(), "true");
        }
        for text in ["false", "0", "Off", "no"] {
            assert_eq!(normal(Kind::Boolean, text).unwrap(), "false");
        }
        for text in ["", "2", "ja", "true "] {
            assert!(normal(Kind::Boolean, text).is_err());
        }
    }

    #[test]
    fn integers_keep_to_their_limits() {
        let kind = Kind::Integer { min: 1, max: 256 };
        assert_eq!(normal(kind, "0256").unwrap(), "256");
        for text in ["0", "257", "-1", "1.5", "", "99999999999999999999"] {
            assert!(normal(kind, text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn texts_are_bounded_in_bytes() {
        let kind = Kind::Text { bytes_max: 4 };
        assert!(normal(kind, "üü").is_ok());
        assert!(normal(kind, "üüü").is_err());
        assert!(normal(kind, "a\0").is_err());
    }
}
