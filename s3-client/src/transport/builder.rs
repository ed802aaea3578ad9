//! Settings of the HTTP transport.

use std::fmt;
#[cfg(feature = "tls")]
use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::connect::Connector;
use super::http::HttpTransport;
use super::pool::Pool;
use crate::clock::{Clock, SystemClock};
#[cfg(feature = "tls")]
use crate::config::{Certificate, Trust};
use crate::config::{Proxy, Scheme};

/// Longest time to connect (spec `s3-backend.md` §4.2).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle time before TCP asks whether the peer is still there (spec `s3-backend.md` §4.2).
const KEEP_ALIVE: Duration = Duration::from_mins(2);
/// Idle connections kept: as many as a busy client has requests in flight.
const IDLE_MAX: usize = 64;
/// Servers close idle connections, some after 10 s or less; a request that meets such a close has an unclear outcome.
const IDLE_TIME: Duration = Duration::from_secs(8);

/// Makes an [`HttpTransport`].
///
/// ```
/// use coldkeep_s3_client::{Scheme, transport::HttpTransport};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = HttpTransport::builder(Scheme::Http).with_proxy("http://proxy.example:3128".parse()?).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct HttpTransportBuilder {
    scheme: Scheme,
    clock: Arc<dyn Clock>,
    connect_timeout: Duration,
    keep_alive: Duration,
    idle_max: usize,
    idle_time: Duration,
    proxy: Option<Proxy>,
    #[cfg(feature = "tls")]
    trust: Trust,
}

impl HttpTransportBuilder {
    pub(super) fn new(scheme: Scheme) -> HttpTransportBuilder {
        HttpTransportBuilder {
            scheme,
            clock: Arc::new(SystemClock::new()),
            connect_timeout: CONNECT_TIMEOUT,
            keep_alive: KEEP_ALIVE,
            idle_max: IDLE_MAX,
            idle_time: IDLE_TIME,
            proxy: None,
            #[cfg(feature = "tls")]
            trust: Trust::default(),
        }
    }

    /// Replaces the clock, by which connecting is limited and idle connections grow old; the system's otherwise.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> HttpTransportBuilder {
        self.clock = clock;
        self
    }

    /// Sets the longest time for name lookup, TCP, a proxy's tunnel and the TLS handshake together; 10 s otherwise.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> HttpTransportBuilder {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how many idle connections are kept, over all hosts; 64 otherwise. With 0 each request makes its own connection.
    pub fn with_idle_connections(mut self, count_max: usize) -> HttpTransportBuilder {
        self.idle_max = count_max;
        self
    }

    /// Sets how long an idle connection is kept; 8 s otherwise. It should be shorter than the server's own limit: a request that meets
    /// the server's close has an unclear outcome.
    pub fn with_idle_time(mut self, time: Duration) -> HttpTransportBuilder {
        self.idle_time = time;
        self
    }

    /// Sets after which silence TCP asks whether the peer is still there (RFC 9293 §3.8.4); 2 min otherwise.
    pub fn with_tcp_keep_alive(mut self, idle: Duration) -> HttpTransportBuilder {
        self.keep_alive = idle;
        self
    }

    /// Sends every request through a proxy.
    pub fn with_proxy(mut self, proxy: Proxy) -> HttpTransportBuilder {
        self.proxy = Some(proxy);
        self
    }

    /// Sets which certificates are accepted under TLS; those that the system's authorities vouch for otherwise.
    #[cfg(feature = "tls")]
    pub fn with_trust(mut self, trust: Trust) -> HttpTransportBuilder {
        self.trust = trust;
        self
    }

    /// Builds the transport. Opens no connection; under TLS it reads the system's certificate authorities from their files, if they
    /// are trusted, which takes some milliseconds.
    ///
    /// # Errors
    /// Every variant of [`SetupError`]: the settings, the build or the system need a change.
    pub fn build(self) -> Result<HttpTransport, SetupError> {
        #[cfg(not(feature = "tls"))]
        if self.scheme == Scheme::Https {
            return Err(SetupError::NoTls);
        }
        #[cfg(feature = "tls")]
        let tls = match self.scheme {
            Scheme::Https => Some(super::tls::Tls::new(&self.trust)?),
            Scheme::Http => None,
        };
        let pool = Pool::new(self.idle_max, self.idle_time, Arc::clone(&self.clock));
        let connector = Connector {
            clock: self.clock,
            timeout: self.connect_timeout,
            keep_alive: self.keep_alive,
            scheme: self.scheme,
            proxy: self.proxy,
            #[cfg(feature = "tls")]
            tls,
        };
        Ok(HttpTransport::new(connector, pool))
    }
}

impl fmt::Debug for HttpTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("HttpTransportBuilder");
        shown.field("scheme", &self.scheme).field("proxy", &self.proxy);
        #[cfg(feature = "tls")]
        shown.field("trust", &self.trust);
        shown.field("connect_timeout", &self.connect_timeout).finish_non_exhaustive()
    }
}

/// Why a transport could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The endpoint wants TLS, which this build does not have.
    #[cfg(not(feature = "tls"))]
    #[error("https needs the feature `tls` of coldkeep-s3-client, which is off in this build")]
    NoTls,
    /// The system has no certificate authorities, or the list of them is empty.
    #[cfg(feature = "tls")]
    #[error(
        "there are no certificate authorities to trust; install the system's, name some, or pin a fingerprint"
    )]
    NoAuthorities,
    /// A certificate cannot serve as an authority.
    #[cfg(feature = "tls")]
    #[error("{certificate:?} cannot serve as a certificate authority")]
    Certificate {
        /// The certificate.
        certificate: Certificate,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The TLS library refused the settings.
    #[cfg(feature = "tls")]
    #[error("cannot set up TLS")]
    Tls {
        /// What it reported.
        #[source]
        source: io::Error,
    },
}
