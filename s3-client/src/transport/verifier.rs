//! The certificate check: a pinned leaf, or authorities.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use crate::config::Fingerprint;

/// Decides on server certificates; a refusal names the leaf's fingerprint, so that an operator can compare and pin it.
#[derive(Debug)]
pub(super) struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

/// What is checked.
#[derive(Debug)]
pub(super) enum Check {
    /// The leaf's fingerprint; neither chain, name nor dates matter.
    Pinned(Fingerprint),
    /// The chain up to a trusted authority, name and dates.
    Authorities(Arc<dyn ServerCertVerifier>),
}

/// Why a certificate was refused; travels inside the TLS library's error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Another certificate than the pinned one.
    #[error("fingerprint {got} instead of {expected}")]
    Mismatch { expected: Fingerprint, got: Fingerprint },
    /// The authorities' check failed.
    #[error("certificate with fingerprint {fingerprint}: {reason}")]
    Untrusted { fingerprint: Fingerprint, reason: Error },
}

impl Refused {
    /// Finds the reason in the error of a handshake.
    pub(super) fn find_in(error: &io::Error) -> Option<&Refused> {
        match error.get_ref()?.downcast_ref::<Error>()? {
            Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
            _ => None,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

impl Verifier {
    pub(super) fn new(check: Check, provider: Arc<CryptoProvider>) -> Verifier {
        Verifier { check, provider }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.check {
            Check::Pinned(expected) => match Fingerprint::of(leaf) {
                got if got == *expected => Ok(ServerCertVerified::assertion()),
                got => Err(Refused::Mismatch { expected: *expected, got }.into()),
            },
            Check::Authorities(inner) => inner
                .verify_server_cert(leaf, intermediates, name, ocsp, now)
                .map_err(|reason| Refused::Untrusted { fingerprint: Fingerprint::of(leaf), reason }.into()),
        }
    }

    // The signature proves that the peer holds the certificate's key: without it a pinned certificate could be replayed.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
