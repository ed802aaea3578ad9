//! URI encoding as S3 signs it, and the decoding of URL-encoded listings.
//!
//! S3 escapes every byte of the UTF-8 text except `A-Z a-z 0-9 - . _ ~`, with upper-case hexadecimal digits, exactly once, and
//! never normalises a path: `//`, `.` and `..` are part of the key (S3 API reference, "Authenticating Requests: Using the
//! Authorization Header", `UriEncode`). What is sent must be what is signed, so the same functions serve both.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use thiserror::Error;

/// Everything but the unreserved characters of RFC 3986 §2.3.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &COMPONENT.remove(b'/');

/// Appends `raw`, an object key or a path of one, encoded with its slashes kept.
///
/// ```
/// let mut path = String::from("/bucket/");
/// coldkeep_s3_client::sign::encode::append_path(&mut path, "a b/c+d~/é");
/// assert_eq!(path, "/bucket/a%20b/c%2Bd~/%C3%A9");
/// ```
pub fn append_path(out: &mut String, raw: &str) {
    out.extend(utf8_percent_encode(raw, PATH));
}

/// Appends `raw`, a name or value of a query parameter, encoded with its slashes escaped.
pub fn append_component(out: &mut String, raw: &str) {
    out.extend(component(raw));
}

/// Gives the pieces of the encoded `raw`, so that it can be hashed or compared without being written down.
pub(super) fn component(raw: &str) -> PercentEncode<'_> {
    utf8_percent_encode(raw, COMPONENT)
}

/// Decodes percent escapes and leaves `+` alone.
///
/// ```
/// use coldkeep_s3_client::sign::encode::{decode, decode_plus};
/// assert_eq!(decode("a%20b+c").as_deref(), Ok("a b+c"));
/// assert_eq!(decode_plus("a%20b+c").as_deref(), Ok("a b c"));
/// ```
///
/// # Errors
/// [`DecodeError`]: the text is not what an encoder wrote; taken as it stands it might name another object.
pub fn decode(text: &str) -> Result<String, DecodeError> {
    decode_with(text, b'+')
}

/// Decodes percent escapes, and `+` as a space, the form in which AWS and others write keys of a listing with `encoding-type=url`
/// (S3 API reference, `ListObjectsV2`: "encoded like the input of an HTML form").
///
/// # Errors
/// As [`decode`].
pub fn decode_plus(text: &str) -> Result<String, DecodeError> {
    decode_with(text, b' ')
}

fn decode_with(text: &str, plus: u8) -> Result<String, DecodeError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => {
                let at = text.len() - rest.len() - 1;
                let byte = escaped(rest).ok_or(DecodeError::InvalidEscape { at })?;
                decoded.push(byte);
                rest = &rest[2..];
            }
            b'+' => decoded.push(plus),
            byte => decoded.push(*byte),
        }
    }
    String::from_utf8(decoded)
        .map_err(|error| DecodeError::NotUtf8 { valid_bytes: error.utf8_error().valid_up_to() })
}

fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| digits.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// Why a text is no URL-encoded key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A `%` without two hexadecimal digits after it.
    #[error("invalid percent escape at byte {at}")]
    InvalidEscape {
        /// Where it stands in the encoded text.
        at: usize,
    },
    /// The decoded bytes are not UTF-8, which every key is.
    #[error("not UTF-8 after {valid_bytes} decoded bytes")]
    NotUtf8 {
        /// How many decoded bytes are.
        valid_bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(raw: &str) -> String {
        let mut out = String::new();
        append_path(&mut out, raw);
        out
    }

    fn name(raw: &str) -> String {
        let mut out = String::new();
        append_component(&mut out, raw);
        out
    }

    #[test]
    fn unreserved_characters_stay_and_all_others_are_escaped() {
        let unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
        for byte in 0..=0x7f_u8 {
            let raw = char::from(byte).to_string();
            let expected = if unreserved.contains(&raw) { raw.clone() } else { format!("%{byte:02X}") };
            assert_eq!(name(&raw), expected);
            assert_eq!(path(&raw), if raw == "/" { raw } else { expected });
        }
    }

    #[test]
    fn odd_keys_are_encoded_once_and_not_normalised() {
        let keys = [
            ("a b", "a%20b"),
            ("a+b", "a%2Bb"),
            ("100%", "100%25"),
            ("%2F", "%252F"),
            ("~me", "~me"),
            ("ሴ/é", "%E1%88%B4/%C3%A9"),
            ("//a//b/", "//a//b/"),
            ("/leading", "/leading"),
            ("a/./b/../c", "a/./b/../c"),
            ("vm/1/2025-07-14T14:20:02Z", "vm/1/2025-07-14T14%3A20%3A02Z"),
            ("!'()*", "%21%27%28%29%2A"),
            ("\u{1f480}\n\0", "%F0%9F%92%80%0A%00"),
        ];
        for (key, expected) in keys {
            assert_eq!(path(key), expected);
        }
        assert_eq!(name("a/b=c&d"), "a%2Fb%3Dc%26d");
    }

    #[test]
    fn lower_case_digits_are_decoded_too() {
        assert_eq!(decode("%c3%a9%2f").as_deref(), Ok("é/"));
    }

    #[test]
    fn what_no_encoder_writes_is_refused() {
        for (text, at) in [("%", 0), ("ab%4", 2), ("%4g", 0), ("%%41", 0), ("é%+1", 2), ("%é", 0)] {
            assert_eq!(decode(text), Err(DecodeError::InvalidEscape { at }), "{text}");
        }
        assert_eq!(decode_plus("ab%ff"), Err(DecodeError::NotUtf8 { valid_bytes: 2 }));
    }

    proptest! {
        #[test]
        fn any_text_survives_the_round_trip(text in any::<String>()) {
            prop_assert_eq!(decode(&path(&text)), Ok(text.clone()));
            prop_assert_eq!(decode_plus(&name(&text)), Ok(text.clone()));
            prop_assert_eq!(decode_plus(&name(&text).replace("%20", "+")), Ok(text));
        }

        #[test]
        fn decoding_never_panics(text in "[%+0-9a-fA-Fé]{0,40}") {
            let _ = (decode(&text), decode_plus(&text));
        }
    }
}
