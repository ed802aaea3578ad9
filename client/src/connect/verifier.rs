//! The certificate check: a pinned leaf, or the system's authorities.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::fingerprint::Fingerprint;

/// How one handshake decides on the server's certificate; remembers the leaf it saw, for the error message.
#[derive(Debug)]
pub(super) struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Fingerprint>>,
}

/// What is checked.
#[derive(Debug, Clone)]
pub(super) enum Check {
    /// The leaf's fingerprint; neither chain, name nor dates matter.
    Pinned(Fingerprint),
    /// The chain up to one of the system's authorities, name and dates.
    Authorities(Arc<dyn ServerCertVerifier>),
}

impl Verifier {
    pub(super) fn new(check: Check, provider: Arc<CryptoProvider>) -> Self {
        Self { check, provider, seen: Mutex::new(None) }
    }

    /// Returns the fingerprint of the leaf that the server showed.
    pub(super) fn seen(&self) -> Option<Fingerprint> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
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
        let got = Fingerprint::of(leaf.as_ref());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(got);
        match &self.check {
            Check::Pinned(expected) if *expected == got => Ok(ServerCertVerified::assertion()),
            Check::Pinned(_) => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            Check::Authorities(inner) => inner.verify_server_cert(leaf, intermediates, name, ocsp, now),
        }
    }

    // The signature proves that the peer holds the certificate's key: without it a pinned certificate could be replayed.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
