//! TCP with TLS 1.2 or 1.3.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use super::fingerprint::Fingerprint;
use super::verifier::{Check, Verifier};
use super::{BoxedStream, Connect, ConnectError, Connecting};

/// Longest time for TCP connection and TLS handshake together (spec `backup-protocol.md` §1).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which certificate a server must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// One that the system's certificate authorities vouch for.
    SystemRoots,
    /// Exactly the one with this fingerprint, whatever its chain, name and dates.
    Pinned(Fingerprint),
}

/// Connects over TCP with TLS; offers no ALPN, as stock clients do.
#[derive(Debug)]
pub struct TlsConnector {
    host: String,
    port: u16,
    authority: String,
    trust: Trust,
    // Reading the system's authorities costs milliseconds and does not change between connections.
    authorities: OnceLock<Check>,
}

impl TlsConnector {
    /// Makes a connector to a DNS name, an IPv4 address or an IPv6 address (without brackets).
    pub fn new(host: &str, port: u16, trust: Trust) -> Self {
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Self { host: host.to_owned(), port, authority, trust, authorities: OnceLock::new() }
    }

    async fn open(&self) -> Result<BoxedStream, ConnectError> {
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| ConnectError::HostName { host: self.host.clone() })?;
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(Verifier::new(self.check(&provider)?, Arc::clone(&provider)));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| self.handshake_error(std::io::Error::other(source)))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_no_client_auth();
        let unreachable = |source| ConnectError::Unreachable { authority: self.authority.clone(), source };
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        // HTTP/2 sends small frames between large ones; waiting for acknowledgements would stall them.
        tcp.set_nodelay(true).map_err(unreachable)?;
        match tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(source) => Err(self.refused(source, &verifier)),
        }
    }

    fn check(&self, provider: &Arc<CryptoProvider>) -> Result<Check, ConnectError> {
        if let Trust::Pinned(fingerprint) = self.trust {
            return Ok(Check::Pinned(fingerprint));
        }
        if let Some(known) = self.authorities.get() {
            return Ok(known.clone());
        }
        let mut roots = RootCertStore::empty();
        // Single unreadable or odd certificates are normal in system stores; the rest serves.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|_| ConnectError::NoRoots)?;
        Ok(self.authorities.get_or_init(|| Check::Authorities(verifier)).clone())
    }

    fn refused(&self, source: std::io::Error, verifier: &Verifier) -> ConnectError {
        let is_certificate = source
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
        match (is_certificate, verifier.seen(), self.trust) {
            (true, Some(got), Trust::Pinned(expected)) if got != expected => {
                ConnectError::FingerprintMismatch { authority: self.authority.clone(), expected, got }
            }
            (true, Some(fingerprint), Trust::SystemRoots) => {
                ConnectError::Untrusted { authority: self.authority.clone(), fingerprint, source }
            }
            _ => self.handshake_error(source),
        }
    }

    fn handshake_error(&self, source: std::io::Error) -> ConnectError {
        ConnectError::Handshake { authority: self.authority.clone(), source }
    }
}

impl Connect for TlsConnector {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            match tokio::time::timeout(CONNECT_TIMEOUT, self.open()).await {
                Ok(result) => result,
                Err(_) => Err(ConnectError::TimedOut {
                    authority: self.authority.clone(),
                    seconds: CONNECT_TIMEOUT.as_secs(),
                }),
            }
        })
    }

    fn authority(&self) -> &str {
        &self.authority
    }
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Starts a server with a fresh self-signed certificate that sends `ok` to `clients` clients.
    async fn server(clients: usize) -> (u16, Fingerprint, tokio::task::JoinHandle<()>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let fingerprint = Fingerprint::of(made.cert.der());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            for _ in 0..clients {
                let (tcp, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(tcp).await {
                    stream.write_all(b"ok").await.unwrap();
                    stream.shutdown().await.unwrap();
                }
            }
        });
        (port, fingerprint, task)
    }

    #[tokio::test]
    async fn a_pinned_self_signed_certificate_is_accepted() {
        let (port, fingerprint, task) = server(1).await;
        let connector = TlsConnector::new("127.0.0.1", port, Trust::Pinned(fingerprint));
        let mut stream = connector.connect().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "ok");
        task.await.unwrap();
    }

    #[tokio::test]
    async fn another_fingerprint_is_refused_and_both_are_named() {
        let (port, fingerprint, task) = server(1).await;
        let wrong = Fingerprint::of(b"another");
        let error = TlsConnector::new("localhost", port, Trust::Pinned(wrong)).connect().await.err().unwrap();
        match error {
            ConnectError::FingerprintMismatch { expected, got, .. } => {
                assert_eq!((expected, got), (wrong, fingerprint));
            }
            other => panic!("{other:?}"),
        }
        task.await.unwrap();
    }

    #[tokio::test]
    async fn system_roots_refuse_a_self_signed_certificate_and_name_its_fingerprint() {
        let (port, fingerprint, task) = server(1).await;
        let error = TlsConnector::new("localhost", port, Trust::SystemRoots).connect().await.err().unwrap();
        match error {
            ConnectError::Untrusted { fingerprint: shown, .. } => {
                assert_eq!(shown, fingerprint);
                task.await.unwrap();
            }
            // A machine without any certificate authority.
            ConnectError::NoRoots => task.abort(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = TlsConnector::new("127.0.0.1", port, Trust::SystemRoots).connect().await.err().unwrap();
        // Without authorities the check of them comes first.
        assert!(matches!(error, ConnectError::Unreachable { .. } | ConnectError::NoRoots), "{error:?}");
    }

    #[test]
    fn ipv6_addresses_get_brackets_in_the_authority() {
        assert_eq!(TlsConnector::new("fd00::7", 8007, Trust::SystemRoots).authority(), "[fd00::7]:8007");
        assert_eq!(TlsConnector::new("pbs1", 8007, Trust::SystemRoots).authority(), "pbs1:8007");
    }
}
