//! SHA-256 fingerprints of certificates.

use std::fmt;
use std::str::FromStr;

use coldkeep_chunk_store::Digest;

/// SHA-256 of a certificate's DER form, written as 32 hexadecimal pairs joined by colons.
///
/// Parsing takes either case (spec `conversation.md` §1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(Digest);

impl Fingerprint {
    /// Computes the fingerprint of a DER certificate.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Digest::of(certificate))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.as_bytes().iter().enumerate() {
            let colon = if position == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 32 hexadecimal pairs joined by colons")]
pub struct ParseFingerprintError;

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, ParseFingerprintError> {
        let mut pairs = 0;
        let mut digits = String::with_capacity(64);
        for pair in text.split(':') {
            if pair.len() != 2 {
                return Err(ParseFingerprintError);
            }
            digits.push_str(pair);
            pairs += 1;
            if pairs > 32 {
                return Err(ParseFingerprintError);
            }
        }
        let digest = digits.to_ascii_lowercase().parse().map_err(|_| ParseFingerprintError)?;
        Ok(Self(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back_in_either_case() {
        let fingerprint = Fingerprint::of(b"abc");
        let text = fingerprint.to_string();
        assert!(text.starts_with("ba:78:16:bf:"), "{text}");
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!(text.to_uppercase().parse(), Ok(fingerprint));
    }

    #[test]
    fn anything_else_is_refused() {
        let text = Fingerprint::of(b"abc").to_string();
        for bad in
            ["", "ba", &text[3..], &format!("{text}:00"), &text.replace(':', ""), &text.replace("ba", "gg")]
        {
            assert_eq!(bad.parse::<Fingerprint>(), Err(ParseFingerprintError), "{bad}");
        }
    }
}
