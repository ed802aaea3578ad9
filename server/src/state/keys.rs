//! The server's own keys: the one that signs tickets, and the TLS certificate. Both are made when they are first needed.

use std::path::Path;

use coldkeep_chunk_store::Digest;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::json_file::{PUBLIC_MODE, SECRET_MODE, read_bytes, write_bytes};
use super::{DataDir, StateError};
use crate::auth::{TICKET_KEY_BYTES, TicketKey};

/// Most names in a certificate that is made here.
const NAMES_MAX: usize = 16;

/// A TLS certificate with its private key.
pub struct Certificate {
    /// The chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key of the leaf.
    pub key: PrivateKeyDer<'static>,
}

impl Certificate {
    /// Returns the SHA-256 of the leaf as clients write it: 32 pairs of hexadecimal digits joined by colons.
    pub fn fingerprint(&self) -> String {
        let leaf = self.chain.first().map(AsRef::as_ref).unwrap_or_default();
        let pairs = Digest::of(leaf).as_bytes().map(|byte| format!("{byte:02x}"));
        pairs.join(":")
    }
}

/// Reads the key that signs tickets, or makes one. Blocks.
pub(crate) fn load_ticket_key(data_dir: &DataDir) -> Result<TicketKey, StateError> {
    let path = data_dir.secret("ticket.key");
    let mut key = Zeroizing::new([0; TICKET_KEY_BYTES]);
    match read_bytes(&path)?.map(Zeroizing::new) {
        Some(bytes) if bytes.len() == TICKET_KEY_BYTES => key.copy_from_slice(&bytes),
        Some(_) => return Err(StateError::Key { path }),
        None => {
            getrandom::fill(key.as_mut()).map_err(StateError::Random)?;
            write_bytes(&path, &key[..], SECRET_MODE)?;
        }
    }
    Ok(TicketKey::new(key))
}

/// Reads the certificate and its key, or makes a self-signed one for `names` (host names and addresses). Blocks.
///
/// # Errors
/// [`StateError::Key`] if a file holds no usable key or certificate.
pub fn load_certificate(data_dir: &DataDir, names: &[String]) -> Result<Certificate, StateError> {
    let (chain_path, key_path) = (data_dir.secret("tls.pem"), data_dir.secret("tls.key"));
    if read_bytes(&chain_path)?.is_none() {
        make_certificate(&chain_path, &key_path, names)?;
    }
    read_certificate(&chain_path, &key_path).map_err(|error| match error {
        StateError::NoKey { path } => StateError::Key { path },
        other => other,
    })
}

/// Reads a certificate with its chain, leaf first, and its key from files in PEM form. Blocks.
///
/// # Errors
/// [`StateError::NoKey`] if a file is missing or holds no key or certificate; [`StateError::Io`].
pub fn read_certificate(chain_path: &Path, key_path: &Path) -> Result<Certificate, StateError> {
    let unusable = |path: &Path| StateError::NoKey { path: path.to_owned() };
    let chain_text = read_bytes(chain_path)?.unwrap_or_default();
    let key_text = Zeroizing::new(read_bytes(key_path)?.unwrap_or_default());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain_text).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| unusable(chain_path))?;
    let key = PrivateKeyDer::from_pem_slice(&key_text).map_err(|_| unusable(key_path))?;
    Ok(Certificate { chain, key })
}

fn make_certificate(chain_path: &Path, key_path: &Path, names: &[String]) -> Result<(), StateError> {
    let failed = |source| StateError::Certificate { source };
    let names: Vec<String> = names.iter().take(NAMES_MAX).cloned().collect();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "Coldkeep backup server");
    // Clients pin the certificate by its fingerprint, so it must not expire by itself.
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1));
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    // The key first: a certificate without its key would be kept, a key without certificate is replaced.
    write_bytes(key_path, Zeroizing::new(key.serialize_pem()).as_bytes(), SECRET_MODE)?;
    write_bytes(chain_path, certificate.pem().as_bytes(), PUBLIC_MODE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn open(folder: &Path) -> DataDir {
        DataDir::open(folder).unwrap()
    }

    #[test]
    fn the_certificate_stays_the_same_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = open(folder.path());
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let fingerprint = load_certificate(&data_dir, &names).unwrap().fingerprint();
        assert_eq!((fingerprint.len(), fingerprint.matches(':').count()), (95, 31));
        assert_eq!(load_certificate(&data_dir, &names).unwrap().fingerprint(), fingerprint);
        for (name, mode) in [("tls.key", 0o600), ("", 0o700)] {
            let metadata = std::fs::metadata(data_dir.secret(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
        }
    }

    #[test]
    fn tickets_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = open(folder.path());
        let ticket = load_ticket_key(&data_dir).unwrap().ticket(&crate::auth::root(), "hash", 5);
        let stored = |_: &crate::auth::AuthId| Some("hash".to_owned());
        assert!(load_ticket_key(&data_dir).unwrap().check_ticket(&ticket, stored, 5).is_ok());
    }

    #[test]
    fn spoilt_key_files_are_named_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = open(folder.path());
        for name in ["ticket.key", "tls.pem"] {
            std::fs::write(data_dir.secret(name), "x").unwrap();
        }
        assert!(matches!(load_ticket_key(&data_dir), Err(StateError::Key { .. })));
        assert!(matches!(load_certificate(&data_dir, &[]), Err(StateError::Key { .. })));
        assert_eq!(std::fs::read(data_dir.secret("tls.pem")).unwrap(), b"x");
    }
}
