//! TLS of a listener, with a certificate that can be exchanged while it serves.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};

use crate::state::Certificate;

/// What new connections are accepted with; those that are open keep what they began with.
pub struct Tls {
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Takes a certificate for TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// Certificate and key do not work together.
    pub fn new(certificate: &Certificate) -> Result<Self, rustls::Error> {
        Ok(Self { config: RwLock::new(config_of(certificate)?) })
    }

    /// Exchanges the certificate.
    ///
    /// # Errors
    /// Certificate and key do not work together; the old ones stay.
    pub fn replace(&self, certificate: &Certificate) -> Result<(), rustls::Error> {
        let config = config_of(certificate)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn config_of(certificate: &Certificate) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions)?;
    let (chain, key) = (certificate.chain.clone(), certificate.key.clone_key());
    Ok(Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?))
}
