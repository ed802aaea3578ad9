//! `coldkeep serve`.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use coldkeep_chunk_store::SystemClock;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::shell::Shell;
use crate::auth::root;
use crate::http::{DEFAULT_PORT, ListenError, Listener, Service};
use crate::state::{Certificate, load_certificate};
use crate::{Limits, Server, ServerOptions};

/// The arguments of `coldkeep serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address and port to listen on; default all addresses, port 8007.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Seconds that running sessions and tasks may take to end after SIGTERM or SIGINT.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    shutdown_timeout: u64,
    /// Seconds that chunks that nothing refers to stay after their last use; default 24 h 5 min.
    #[arg(long, value_name = "SECONDS")]
    gc_grace: Option<u64>,
    /// Seconds taken off that cutoff once more; default 5 min.
    #[arg(long, value_name = "SECONDS")]
    gc_margin: Option<u64>,
}

impl Serve {
    pub(super) async fn run(self, shell: &Shell) -> anyhow::Result<()> {
        let data_dir = shell.data_folder().path().to_owned();
        let s3_credentials = shell.environment.s3_credentials()?;
        let mut limits = Limits { shutdown: Duration::from_secs(self.shutdown_timeout), ..Limits::default() };
        limits.gc_grace = self.gc_grace.map_or(limits.gc_grace, Duration::from_secs);
        limits.gc_margin = self.gc_margin.map_or(limits.gc_margin, Duration::from_secs);
        let stop = stop_on_signals().context("cannot listen for signals")?;
        let clock = Arc::new(SystemClock::new());
        let options = ServerOptions::new(&data_dir, clock, limits).with_s3_credentials(s3_credentials);
        let server = Server::open(options).await?;
        let certificate = certificate(Arc::clone(&server)).await?;
        let fingerprint = certificate.fingerprint();
        let listener = match self.listen {
            Some(address) => Listener::bind(address, &certificate).await?,
            None => bind_everywhere(&certificate).await?,
        };
        let address = listener.address().context("cannot tell the address in use")?;
        // After everything that may fail at a first start: the password is shown now or never.
        let password =
            server.identities().ensure_administrator().await.context("cannot make the administrator")?;
        let mut text = format!(
            "data folder   {}\nlistening on  {address}\nfingerprint   {fingerprint}\n",
            data_dir.display()
        );
        if let Some(password) = password {
            let _ = writeln!(text, "user          {}", root());
            let _ = writeln!(text, "password      {}   (shown only this once)", *password);
        }
        text.push_str("ready\n");
        std::io::stdout().write_all(text.as_bytes()).context("cannot print how to reach the server")?;
        let house = {
            let (server, stop) = (Arc::clone(&server), stop.clone());
            tokio::spawn(async move { server.keep_house(&stop).await })
        };
        // Sessions are told at the same time as connections: both share one time to end.
        let service = Service::new(Arc::clone(&server));
        server.open_buckets();
        let serving = listener.serve(service, stop.clone());
        let ending = async {
            stop.cancelled().await;
            tracing::info!(running = server.tasks().running_count(), "shutting down");
            server.tasks().shut_down(server.limits().shutdown).await;
        };
        tokio::join!(serving, ending);
        server.shut_down().await;
        house.await.context("the housekeeping failed")?;
        Ok(())
    }
}

/// Listens on all addresses: on both families where the machine has IPv6, else on IPv4.
async fn bind_everywhere(certificate: &Certificate) -> Result<Listener, ListenError> {
    let address = |ip: IpAddr| SocketAddr::new(ip, DEFAULT_PORT);
    match Listener::bind(address(Ipv6Addr::UNSPECIFIED.into()), certificate).await {
        Err(ListenError::Bind { source, .. }) if source.kind() != ErrorKind::AddrInUse => {
            Listener::bind(address(Ipv4Addr::UNSPECIFIED.into()), certificate).await
        }
        bound => bound,
    }
}

async fn certificate(server: Arc<Server>) -> anyhow::Result<Certificate> {
    let load = move || load_certificate(server.data_dir(), &names());
    Ok(tokio::task::spawn_blocking(load).await.context("cannot load the certificate")??)
}

/// The names that a certificate made here is good for.
fn names() -> Vec<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !host.is_empty() && !names.contains(&host) {
        names.push(host);
    }
    names
}

fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let guard = stop.clone();
    // Lives as long as the process; a second signal is then handled like the first, that is, ignored.
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => guard.cancel(),
                _ = interrupt.recv() => guard.cancel(),
            }
        }
    });
    Ok(stop)
}
