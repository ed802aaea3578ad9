//! The server in the process of its client: the same code behind a stream in memory, without TLS, TCP or credentials.

use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Caller;
use crate::http::Service;
use crate::{Server, ServerError, ServerOptions};

/// How much one side of a stream may be ahead of the other. One HTTP/2 frame of a chunk or so; more costs memory, less
/// costs wake-ups.
const STREAM_BYTES: usize = 512 * 1024;

/// An embedded server. Whoever connects acts as `root@pam`: it runs with the rights of a process that can read and write
/// the folder anyway.
pub struct Embedded {
    service: Arc<Service>,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl Embedded {
    /// Opens the data folder and serves it to this process.
    ///
    /// # Errors
    /// [`ServerError`]; [`ServerError::owner`] tells whether another process has the folder, which may pass.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the folder to the next opener.
    pub async fn open(options: ServerOptions) -> Result<Self, ServerError> {
        let service = Service::new(Server::open(options).await?);
        let (connections, stop) = (TaskTracker::new(), CancellationToken::new());
        let keep = { (Arc::clone(service.server()), stop.clone()) };
        connections.spawn(async move { keep.0.keep_house(&keep.1).await });
        Ok(Self { service, connections, stop })
    }

    /// Returns the server behind it.
    pub fn server(&self) -> &Arc<Server> {
        self.service.server()
    }

    /// Opens a connection: the client's end of a stream that speaks HTTP/1.1 and can be upgraded.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        let (service, stop) = (Arc::clone(&self.service), self.stop.clone());
        self.connections.spawn(async move {
            let served = service.serve_connection(ours, Arc::new(Caller::local_root()), &stop).await;
            if let Err(error) = served {
                tracing::debug!(%error, "embedded connection ended early");
            }
        });
        theirs
    }

    /// Ends it: running tasks may finish within the limits, then the stores are closed. Drop the client's ends first.
    ///
    /// # Cancel safety
    /// Dropping the future leaves tasks running and stores open.
    pub async fn close(self) {
        self.stop.cancel();
        self.connections.close();
        self.connections.wait().await;
        self.service.server().shut_down().await;
    }
}
