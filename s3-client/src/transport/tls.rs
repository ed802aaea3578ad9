//! TLS 1.2 and 1.3 over a connection.

use std::io;
use std::sync::Arc;

use http::uri::Authority;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::builder::SetupError;
use super::connect::ConnectError;
use super::verifier::{Check, Refused, Verifier};
use super::wire::Counted;
use crate::config::{Certificate, Trust};

/// Starts TLS on connections. Cloning is cheap; all clones resume each other's sessions.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// Prepares for servers that `trust` accepts; reads the system's authorities if they are part of it.
    pub(super) fn new(trust: &Trust) -> Result<Tls, SetupError> {
        let provider = Arc::new(ring::default_provider());
        let check = check(trust, &provider)?;
        // No ALPN: without it every server speaks HTTP/1.1 (RFC 9113 §3.2 asks for `h2` by ALPN), and some know no ALPN.
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| SetupError::Tls { source: io::Error::other(source) })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(check, provider)))
            .with_no_client_auth();
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Shakes hands on `stream` with a server that must be `host`.
    pub(super) async fn connect(
        &self,
        host: &str,
        authority: &Authority,
        stream: Counted,
    ) -> Result<TlsStream<Counted>, ConnectError> {
        let authority = || authority.to_string();
        let name = ServerName::try_from(host.to_owned()).map_err(|source| ConnectError::Handshake {
            authority: authority(),
            source: io::Error::new(io::ErrorKind::InvalidInput, source),
        })?;
        let refused = match self.connector.connect(name, stream).await {
            Ok(stream) => return Ok(stream),
            Err(source) => source,
        };
        Err(match Refused::find_in(&refused) {
            Some(&Refused::Mismatch { expected, got }) => {
                ConnectError::FingerprintMismatch { authority: authority(), expected, got }
            }
            Some(Refused::Untrusted { fingerprint, reason }) => ConnectError::Untrusted {
                authority: authority(),
                fingerprint: *fingerprint,
                source: io::Error::new(io::ErrorKind::InvalidData, reason.clone()),
            },
            None => ConnectError::Handshake { authority: authority(), source: refused },
        })
    }
}

fn check(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Check, SetupError> {
    let mut roots = RootCertStore::empty();
    let (uses_system, added): (_, &[Certificate]) = match trust {
        Trust::Pinned(fingerprint) => return Ok(Check::Pinned(*fingerprint)),
        Trust::SystemRoots => (true, &[]),
        Trust::SystemRootsAnd(added) => (true, added),
        Trust::Authorities(added) => (false, added),
    };
    if uses_system {
        // Single unreadable or odd certificates are normal in system stores; the rest serves.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for certificate in added {
        let source = |source| SetupError::Certificate {
            certificate: certificate.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, source),
        };
        roots.add(certificate.der().clone()).map_err(source)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|_| SetupError::NoAuthorities)?;
    Ok(Check::Authorities(verifier))
}
