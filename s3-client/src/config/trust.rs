//! Which certificates a server may show.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use super::ConfigError;

/// Most certificates taken from one PEM text: system stores hold some 150.
const CERTIFICATES_MAX: usize = 10_000;

/// Which certificate a server must show under TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Trust {
    /// One that the system's certificate authorities vouch for. The default.
    #[default]
    SystemRoots,
    /// One that these authorities, or the system's, vouch for.
    SystemRootsAnd(Vec<Certificate>),
    /// One that these authorities vouch for; the system's do not count.
    Authorities(Vec<Certificate>),
    /// Exactly the one with this fingerprint, whatever its chain, name and dates (spec `s3-backend.md` §3, `fingerprint`).
    Pinned(Fingerprint),
}

/// The certificate of an authority, in DER form (RFC 5280).
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(CertificateDer<'static>);

impl Certificate {
    /// Takes the DER form. Whether it can serve as an authority shows when a transport is built with it.
    pub fn from_der(der: impl Into<Vec<u8>>) -> Certificate {
        Certificate(CertificateDer::from(der.into()))
    }

    /// Reads every certificate of a PEM text (RFC 7468); other sections are left out.
    ///
    /// # Errors
    /// [`ConfigError::InvalidCertificates`] if the text is malformed or holds no certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Certificate>, ConfigError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).take(CERTIFICATES_MAX).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found.into_iter().map(Certificate).collect()),
            Ok(_) => Err(ConfigError::InvalidCertificates { rule: "at least one section `CERTIFICATE`" }),
            Err(_) => Err(ConfigError::InvalidCertificates { rule: "well-formed PEM sections" }),
        }
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.0
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&Fingerprint::of(&self.0)).finish()
    }
}

/// SHA-256 of a certificate's DER form, written as 32 hexadecimal pairs joined by colons. Parsing takes either case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Computes the fingerprint of a DER certificate.
    pub fn of(certificate: &[u8]) -> Fingerprint {
        Fingerprint(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
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

impl FromStr for Fingerprint {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Fingerprint, ConfigError> {
        let invalid = || ConfigError::InvalidFingerprint { given: text.chars().take(100).collect() };
        let mut bytes = [0; 32];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            // `from_str_radix` alone would take a sign.
            let is_hex = |pair: &&str| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            let pair = pairs.next().filter(is_hex).ok_or_else(invalid)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
        }
        pairs.next().map_or(Ok(Fingerprint(bytes)), |_| Err(invalid()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_to_text_and_back_in_either_case() {
        // SHA-256 of "abc": FIPS 180-2, appendix B.1.
        let fingerprint = Fingerprint::of(b"abc");
        let text = fingerprint.to_string();
        assert!(text.starts_with("ba:78:16:bf:") && text.ends_with(":15:ad"), "{text}");
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!(text.to_uppercase().parse(), Ok(fingerprint));
    }

    #[test]
    fn anything_else_is_no_fingerprint() {
        let text = Fingerprint::of(b"abc").to_string();
        let signed = text.replacen("ba", "+a", 1);
        for bad in ["", "ba", &text[3..], &format!("{text}:00"), &text.replace(':', ""), &signed] {
            assert!(
                matches!(bad.parse::<Fingerprint>(), Err(ConfigError::InvalidFingerprint { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn every_certificate_of_a_pem_text_is_read() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let text = format!("{}{}{}", made.cert.pem(), made.signing_key.serialize_pem(), made.cert.pem());
        let expected = Certificate::from_der(made.cert.der().to_vec());
        assert_eq!(Certificate::from_pem(text.as_bytes()).unwrap(), [expected.clone(), expected]);
        for bad in ["", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            let error = Certificate::from_pem(bad.as_bytes()).unwrap_err();
            assert!(matches!(error, ConfigError::InvalidCertificates { .. }), "{bad:?}");
        }
    }
}
