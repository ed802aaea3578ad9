//! A server on a free port, in this process, with short delays.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::{Clock, SystemClock};
use coldkeep_client::{Client, Credentials, Secret, TlsConnector, Trust};
use coldkeep_server::auth::AclEntry;
use coldkeep_server::http::{Listener, Service};
use coldkeep_server::state::load_certificate;
use coldkeep_server::{Limits, Server, ServerOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::wire::Wire;

/// The password of every user that [`TestServer::user`] makes.
pub(crate) const PASSWORD: &str = "a password for tests";

/// A running server; it is told to end when this is dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) server: Arc<Server>,
    pub(crate) fingerprint: String,
    folder: tempfile::TempDir,
    root_password: Zeroizing<String>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// The limits of servers under test: refusals come at once, the end soon.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.unauthorized_delay = Duration::ZERO;
    limits.forbidden_delay = Duration::ZERO;
    // All come from one address; how guessing is stopped is a matter of tests of its own.
    (limits.logins.failures_per_address, limits.logins.failures_per_user_and_address) = (10_000, 10_000);
    limits.shutdown = Duration::from_secs(5);
    limits
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(limits()).await
    }

    /// Starts a server that collects garbage which is older than this, without a margin.
    pub(crate) async fn with_grace(grace: Duration) -> Self {
        let mut limits = limits();
        (limits.gc_grace, limits.gc_margin) = (grace, Duration::ZERO);
        Self::start_with(limits).await
    }

    pub(crate) async fn start_with(limits: Limits) -> Self {
        Self::start_at(limits, Arc::new(SystemClock::new())).await
    }

    /// Starts a server that goes by this clock.
    pub(crate) async fn start_at(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let server = Server::open(ServerOptions::new(data_dir, clock, limits)).await.unwrap();
        let root_password = server.identities().ensure_administrator().await.unwrap().unwrap();
        let certificate = load_certificate(server.data_dir(), &["localhost".to_owned()]).unwrap();
        let fingerprint = certificate.fingerprint();
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), &certificate).await.unwrap();
        let address = listener.address().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(listener.serve(Service::new(Arc::clone(&server)), stop.clone()));
        Self { address, server, fingerprint, folder, root_password, stop, serving }
    }

    /// Logs `root@pam` in.
    pub(crate) async fn root(&self) -> Wire {
        Wire::login(self.address, "root@pam", &self.root_password).await
    }

    /// A client that acts as `root@pam`.
    pub(crate) fn client(&self) -> Client {
        let trust = Trust::Pinned(self.fingerprint.parse().unwrap());
        let connector = TlsConnector::new("127.0.0.1", self.address.port(), trust);
        let secret = Secret::new(self.root_password.as_str());
        Client::new(connector, Credentials::new("root@pam".parse().unwrap(), secret))
    }

    /// Makes a user with this role on the store, and logs them in.
    pub(crate) async fn user(&self, name: &str, role: &str) -> Wire {
        let identities = self.server.identities();
        let (who, path) = (name.parse().unwrap(), "/datastore/default".parse().unwrap());
        identities.add_user(name.parse().unwrap(), Zeroizing::new(PASSWORD.to_owned()), None).await.unwrap();
        identities.grant(AclEntry { path, who, role: role.parse().unwrap(), propagate: true }).await.unwrap();
        Wire::login(self.address, name, PASSWORD).await
    }

    /// The folder of the store `default`.
    pub(crate) fn store_folder(&self) -> PathBuf {
        self.folder.path().join("data/stores/default")
    }

    /// The folder that everything of this server lies in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Asks the server to end, and waits until it has.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        (&mut self.serving).await.unwrap();
        self.server.shut_down().await;
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
