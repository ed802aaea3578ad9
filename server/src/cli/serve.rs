//! `coldkeep serve`.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use coldkeep_chunk_store::SystemClock;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::service;
use super::shell::Shell;
use crate::auth::root;
use crate::config::{Config, Loaded, LogConfig, LogFormat, ServerConfig};
use crate::http::{DEFAULT_PORT, ListenError, Listener, Monitor, Service, Tls};
use crate::state::{Certificate, load_certificate, read_certificate};
use crate::{Server, ServerOptions};

/// The arguments of `coldkeep serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address and port to listen on; default all addresses, port 8007.
    ///
    /// May be given several times.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
    /// Configuration file; default coldkeep.toml in the data folder, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug, trace, or levels by module.
    #[arg(long, value_name = "LEVEL", value_parser = parse_filter)]
    log_level: Option<String>,
    /// How a line of the log looks.
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// Seconds that running sessions and tasks may take to end after SIGTERM or SIGINT; default 30.
    #[arg(long, value_name = "SECONDS")]
    shutdown_timeout: Option<u64>,
    /// Seconds that chunks that nothing refers to stay after their last use; default 24 h 5 min.
    #[arg(long, value_name = "SECONDS")]
    gc_grace: Option<u64>,
    /// Seconds taken off that cutoff once more; default 5 min.
    #[arg(long, value_name = "SECONDS")]
    gc_margin: Option<u64>,
    /// What holds after the file and the options, once they were read.
    #[arg(skip)]
    loaded: Option<Box<Loaded>>,
}

impl Serve {
    /// Reads the configuration, puts the options of the command line over it, and returns what is to be logged. Blocks.
    pub(super) fn read_config(&mut self, data_dir: &Path) -> anyhow::Result<LogConfig> {
        let mut loaded = Config::load(self.config.as_deref(), data_dir)?;
        let config = &mut loaded.config;
        let span = |given: Option<u64>, of: &mut Duration| *of = given.map_or(*of, Duration::from_secs);
        span(self.shutdown_timeout, &mut config.limits.shutdown);
        span(self.gc_grace, &mut config.limits.gc_grace);
        span(self.gc_margin, &mut config.limits.gc_margin);
        if !self.listen.is_empty() {
            config.server.listen.clone_from(&self.listen);
        }
        if let Some(level) = &self.log_level {
            config.log.level.clone_from(level);
        }
        config.log.format = self.log_format.unwrap_or(config.log.format);
        let log = config.log.clone();
        self.loaded = Some(Box::new(loaded));
        Ok(log)
    }

    pub(super) async fn run(self, shell: &Shell) -> anyhow::Result<()> {
        let data_dir = shell.data_folder().path().to_owned();
        let s3_credentials = shell.environment.s3_credentials()?;
        let Loaded { config, file } = *self.loaded.context("the configuration was not read")?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot listen for signals")?;
        let stop = stop_on_signals().context("cannot listen for signals")?;
        let clock = Arc::new(SystemClock::new());
        let options =
            ServerOptions::new(&data_dir, clock, config.limits.clone()).with_s3_credentials(s3_credentials);
        let server = Server::open(options).await?;
        let source = CertificateSource::of(&config.server);
        let certificate = source.load(&server).await?;
        let fingerprint = certificate.fingerprint();
        let listener = if config.server.listen.is_empty() {
            bind_everywhere(&certificate).await?
        } else {
            Listener::bind_all(&config.server.listen, &certificate).await?
        };
        let watch = match config.metrics.listen {
            Some(address) => Some(Monitor::bind(address).await?),
            None => None,
        };
        let addresses = listener.addresses().context("cannot tell the addresses in use")?;
        // After everything that may fail at a first start: the password is shown now or never.
        let password =
            server.identities().ensure_administrator().await.context("cannot make the administrator")?;
        let mut text = format!("data folder   {}\n", data_dir.display());
        if let Some(file) = file {
            let _ = writeln!(text, "configuration {}", file.display());
        }
        for address in addresses {
            let _ = writeln!(text, "listening on  {address}");
        }
        if let Some(watch) = &watch {
            let address = watch.address().context("cannot tell the addresses in use")?;
            let _ = writeln!(text, "metrics on    {address}");
        }
        let _ = writeln!(text, "fingerprint   {fingerprint}");
        if let Some(password) = password {
            let _ = writeln!(text, "user          {}", root());
            let _ = writeln!(text, "password      {}   (shown only this once)", *password);
        }
        text.push_str("ready\n");
        std::io::stdout().write_all(text.as_bytes()).context("cannot print how to reach the server")?;
        service::ready();
        let house = {
            let (server, stop) = (Arc::clone(&server), stop.clone());
            tokio::spawn(async move { server.keep_house(&stop).await })
        };
        // Watched to the end: a load balancer is to see that the server leaves, not that it is gone.
        let watch_stop = CancellationToken::new();
        let watching = watch.map(|watch| tokio::spawn(watch.serve(Arc::clone(&server), watch_stop.clone())));
        // Sessions are told at the same time as connections: both share one time to end.
        let answering = Service::new(Arc::clone(&server));
        server.open_buckets();
        let jobs = {
            let (server, stop) = (Arc::clone(&server), stop.clone());
            tokio::spawn(async move { server.run_jobs(&stop).await })
        };
        let reloading = {
            let (server, tls) = (Arc::clone(&server), Arc::clone(listener.tls()));
            tokio::spawn(async move {
                // Ended with the server; a signal before that is heard in any case.
                while hangup.recv().await.is_some() {
                    service::reloading();
                    source.reload(&server, &tls).await;
                    service::ready();
                }
            })
        };
        let watchdog = tokio::spawn(service::keep_alive());
        let serving = listener.serve(answering, stop.clone());
        let ending = async {
            stop.cancelled().await;
            service::stopping();
            tracing::info!(running = server.tasks().running_count(), "shutting down");
            server.tasks().shut_down(server.limits().shutdown).await;
        };
        tokio::join!(serving, ending);
        server.shut_down().await;
        watch_stop.cancel();
        if let Some(watching) = watching {
            watching.await.context("the listener for monitoring failed")?;
        }
        house.await.context("the housekeeping failed")?;
        jobs.await.context("the scheduler of jobs failed")?;
        reloading.abort();
        watchdog.abort();
        Ok(())
    }
}

/// Takes what the log can be filtered by.
fn parse_filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
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

/// Where the certificate comes from.
#[derive(Debug, Clone)]
enum CertificateSource {
    /// Files of the operator.
    Own { chain: PathBuf, key: PathBuf },
    /// The data folder, where one is made if need be.
    DataFolder,
}

impl CertificateSource {
    fn of(config: &ServerConfig) -> Self {
        match (&config.certificate, &config.key) {
            (Some(chain), Some(key)) => Self::Own { chain: chain.clone(), key: key.clone() },
            _ => Self::DataFolder,
        }
    }

    async fn load(&self, server: &Arc<Server>) -> anyhow::Result<Certificate> {
        let (source, server) = (self.clone(), Arc::clone(server));
        let load = move || match source {
            Self::Own { chain, key } => read_certificate(&chain, &key),
            Self::DataFolder => load_certificate(server.data_dir(), &names()),
        };
        tokio::task::spawn_blocking(load).await?.context("cannot load the certificate")
    }

    /// Reads the certificate again and exchanges it; one that cannot be used is reported, and the old one stays.
    async fn reload(&self, server: &Arc<Server>, tls: &Tls) {
        let reloaded = self.load(server).await.and_then(|certificate| {
            tls.replace(&certificate).context("cannot use the certificate")?;
            Ok(certificate.fingerprint())
        });
        match reloaded {
            Ok(fingerprint) => tracing::info!(fingerprint, "certificate reloaded"),
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "certificate not reloaded; the old one stays in use"
            ),
        }
    }
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
