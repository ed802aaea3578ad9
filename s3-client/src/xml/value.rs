//! Values that elements hold, each read together with its element.

use std::borrow::Cow;
use std::time::SystemTime;

use super::{Reader, XmlError};
use crate::key::ObjectKey;
use crate::sign::date::parse_iso8601;
use crate::sign::encode::decode_plus;

/// How names are written in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Encoding {
    /// As they are.
    #[default]
    Plain,
    /// Percent-encoded, with `+` for a space: what `<EncodingType>url` announces.
    Url,
}

impl Encoding {
    /// Returns the name that a text stands for; nothing if it is not written in this way.
    pub(crate) fn decode(self, text: &str) -> Option<Cow<'_, str>> {
        match self {
            Encoding::Plain => Some(Cow::Borrowed(text)),
            Encoding::Url => decode_plus(text).ok().map(Cow::Owned),
        }
    }
}

impl Reader<'_> {
    /// Reads a text, without the white space around it.
    pub(crate) fn word(&mut self) -> Result<String, XmlError> {
        self.text().map(|text| text.trim().to_owned())
    }

    /// Reads a text that counts only if it is not empty.
    pub(crate) fn optional_word(&mut self) -> Result<Option<String>, XmlError> {
        self.word().map(|text| (!text.is_empty()).then_some(text))
    }

    /// Reads `true` or `false`, in any case: servers differ.
    pub(crate) fn bool(&mut self) -> Result<bool, XmlError> {
        let text = self.text()?;
        match text.trim() {
            word if word.eq_ignore_ascii_case("true") => Ok(true),
            word if word.eq_ignore_ascii_case("false") => Ok(false),
            other => Err(self.invalid("true or false", other)),
        }
    }

    /// Reads a number of digits only.
    pub(crate) fn number(&mut self) -> Result<u64, XmlError> {
        let text = self.text()?;
        // `parse` would also take a sign.
        let digits = Some(text.trim()).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.ok_or_else(|| self.invalid("a whole number", &text))
    }

    /// Reads a number that is small by its nature: of days, of a part.
    pub(crate) fn small_number(&mut self) -> Result<u32, XmlError> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| self.invalid("a small whole number", &number.to_string()))
    }

    /// Reads a time; an empty element is none, nor is the year 1, which is the zero of servers written in Go.
    pub(crate) fn time(&mut self) -> Result<Option<SystemTime>, XmlError> {
        let text = self.text()?;
        let text = text.trim();
        if text.is_empty() || text.starts_with("0001-01-01T") {
            return Ok(None);
        }
        parse_iso8601(text).map(Some).ok_or_else(|| self.invalid("a time", text))
    }

    /// Reads a key that is written as it is.
    pub(crate) fn key(&mut self) -> Result<ObjectKey, XmlError> {
        let text = self.text()?;
        ObjectKey::new(&*text).map_err(|_| self.invalid("a key of 1 to 1024 bytes", &text))
    }
}
