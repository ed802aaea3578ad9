//! The client: one value for all requests to a bucket.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method};
use tokio::sync::Semaphore;

use crate::call::{
    Budget, CallOptions, Engine, Head, ObjectStream, Random, Reply, Signing, Whole, prepare, within,
};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::credentials::{CachedCredentials, CredentialsProvider};
use crate::error::{Cause, RequestError};
use crate::limits::Bucket;
use crate::observer::Observer;
use crate::ops::{GetObject, S3Operation};
use crate::outcome::Outcome;
use crate::sign::{SignAs, Signer};
use crate::stats::{Counters, Stats};
use crate::transport::Transport;

/// The transport that a [`Client`] has if none is named.
#[cfg(feature = "transport")]
pub type DefaultTransport = crate::transport::HttpTransport;

/// The transport that a [`Client`] has if none is named: without the feature `transport`, none.
#[cfg(not(feature = "transport"))]
pub type DefaultTransport = std::convert::Infallible;

/// Talks to one bucket. Clones share connections, limits, retry budget and counters.
///
/// An operation is a value; [`Client::send`] carries it out:
///
/// ```no_run
/// # async fn example(client: coldkeep_s3_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use coldkeep_s3_client::{GetObject, ObjectKey, PutObject};
///
/// let key = ObjectKey::new("greetings/hello.txt")?;
/// client.send(&PutObject::new(key.clone(), "hello").if_absent()).await?;
/// let object = client.send(&GetObject::new(key)).await?.into_value();
/// assert_eq!(object.content, "hello");
/// # Ok(())
/// # }
/// ```
pub struct Client<T = DefaultTransport> {
    engine: Arc<Engine<T>>,
}

impl<T> Clone for Client<T> {
    fn clone(&self) -> Client<T> {
        Client { engine: Arc::clone(&self.engine) }
    }
}

impl Client {
    /// Starts to build a client.
    pub fn builder(config: Config) -> ClientBuilder {
        let credentials = Box::new(config.credentials().clone());
        ClientBuilder {
            config,
            credentials,
            clock: None,
            observer: None,
            seed: None,
            #[cfg(feature = "tls")]
            trust: crate::config::Trust::default(),
            #[cfg(feature = "transport")]
            proxy: None,
        }
    }
}

impl<T: Transport> Client<T> {
    /// Carries out an operation by the client's configuration.
    ///
    /// # Errors
    /// [`RequestError`]: what was asked, how many attempts there were, why the last failed, and what they changed.
    ///
    /// # Cancel safety
    /// A read may be dropped at any time. Dropping another operation leaves it unknown whether it took effect, or will.
    pub async fn send<O: S3Operation>(&self, op: &O) -> Result<Reply<O::Output>, RequestError> {
        self.send_with(op, &CallOptions::default()).await
    }

    /// Carries out an operation with options of its own, such as a signing time that all attempts share.
    ///
    /// # Errors
    /// As [`Client::send`].
    ///
    /// # Cancel safety
    /// As [`Client::send`].
    pub async fn send_with<O: S3Operation>(
        &self,
        op: &O,
        options: &CallOptions,
    ) -> Result<Reply<O::Output>, RequestError> {
        self.engine.run(op, options, &Whole(op)).await
    }

    /// Reads an object piece by piece. Attempts are repeated until the answer begins; from then on an error is an error.
    ///
    /// # Errors
    /// As [`Client::send`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn stream(&self, op: &GetObject) -> Result<Reply<ObjectStream>, RequestError> {
        self.stream_with(op, &CallOptions::default()).await
    }

    /// Reads an object piece by piece, with options of its own.
    ///
    /// # Errors
    /// As [`Client::send`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn stream_with(
        &self,
        op: &GetObject,
        options: &CallOptions,
    ) -> Result<Reply<ObjectStream>, RequestError> {
        let reply = self.engine.run(op, options, &Head).await?;
        let Reply { value: opened, date, request_id, attempts, outcome } = reply;
        let subject = self.engine.subject(GetObject::OPERATION, &op.target());
        let clock = Arc::clone(&self.engine.clock);
        let counters = self.engine.counters.clone();
        match ObjectStream::new(op, subject.clone(), (clock, counters), opened) {
            Ok(value) => Ok(Reply { value, date, request_id, attempts, outcome }),
            Err(cause) => {
                self.engine.counters.error(GetObject::OPERATION, &cause);
                self.engine.counters.failed(GetObject::OPERATION);
                Err(RequestError::new(subject, attempts, outcome, cause).with_date(date))
            }
        }
    }

    /// Makes a link that carries out an operation until it expires, for whoever has it.
    ///
    /// `expires_in` is 1 s to 7 days, counted from `signed_at` by the server's clock. The link holds the access key's name and a signature, so
    /// treat it as a secret for as long as it counts. Nothing is sent.
    ///
    /// Source: S3 API reference, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
    ///
    /// # Errors
    /// [`Cause::Invalid`] for a time out of bounds; [`Cause::Credentials`] if there are none, [`Cause::TimedOut`] if their provider does not
    /// answer within the bound of an attempt.
    ///
    /// # Cancel safety
    /// Nothing is sent: dropping the future changes nothing.
    pub async fn presign<O: S3Operation>(
        &self,
        op: &O,
        signed_at: SystemTime,
        expires_in: Duration,
    ) -> Result<Presigned, RequestError> {
        let engine = &*self.engine;
        let signing = Signing::Presigned { signed_at, expires_in };
        let fail = |target: &crate::ops::Target, cause| {
            RequestError::new(engine.subject(O::OPERATION, target), 0, Outcome::NONE, cause)
        };
        let parts = op.request(engine.config.quirks());
        let parts = parts.map_err(|invalid| fail(&crate::ops::Target::Bucket, Cause::Invalid(invalid)))?;
        let target = parts.target.clone();
        let prepared = prepare(&engine.config, parts, signing).await;
        let prepared = prepared.map_err(|invalid| fail(&target, Cause::Invalid(invalid)))?;
        // A provider's call has no deadline of its own.
        let limit = engine.config.timeouts().attempt(0);
        let credentials = within(&*engine.clock, limit, engine.credentials.current()).await;
        let credentials = credentials.ok_or_else(|| fail(&target, Cause::TimedOut { limit }))?;
        let credentials = credentials.map_err(|error| fail(&target, Cause::Credentials(error)))?;
        let sign_as = SignAs { credentials: &credentials, region: engine.config.region(), signed_at };
        let request = prepared.sign(&engine.signer, &sign_as, signing, None);
        let (head, _) = request.map_err(|invalid| fail(&target, Cause::Invalid(invalid)))?.into_parts();
        Ok(Presigned { method: head.method, url: head.uri.to_string(), headers: head.headers })
    }

    /// Returns what this client and its clones did so far.
    pub fn stats(&self) -> Stats {
        self.engine.counters.snapshot()
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.engine.config
    }

    pub(crate) fn engine(&self) -> &Engine<T> {
        &self.engine
    }
}

impl<T> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.engine.config).finish_non_exhaustive()
    }
}

/// A request that anybody can send until it expires. `Debug` hides the signature.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presigned {
    /// The method to send it with.
    pub method: Method,
    /// The address, signature included: a secret.
    pub url: String,
    /// Headers that must be sent with it, because they are signed; `Host` among them.
    pub headers: HeaderMap,
}

impl fmt::Debug for Presigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("Presigned")
            .field("method", &self.method)
            .field("address", &address)
            .finish_non_exhaustive()
    }
}

/// Builds a [`Client`].
pub struct ClientBuilder {
    config: Config,
    credentials: Box<dyn CredentialsProvider>,
    clock: Option<Arc<dyn Clock>>,
    observer: Option<Arc<dyn Observer>>,
    seed: Option<u64>,
    #[cfg(feature = "tls")]
    trust: crate::config::Trust,
    #[cfg(feature = "transport")]
    proxy: Option<crate::config::Proxy>,
}

impl ClientBuilder {
    /// Takes credentials from a provider, which may refresh them, instead of the configuration's fixed pair.
    #[must_use]
    pub fn with_credentials(mut self, credentials: impl CredentialsProvider) -> ClientBuilder {
        self.credentials = Box::new(credentials);
        self
    }

    /// Goes by another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> ClientBuilder {
        self.clock = Some(clock);
        self
    }

    /// Tells `observer` of each attempt.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> ClientBuilder {
        self.observer = Some(observer);
        self
    }

    /// Fixes the seed of the jitter, so that a simulation repeats itself.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> ClientBuilder {
        self.seed = Some(seed);
        self
    }

    /// Says which certificates count.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_trust(mut self, trust: crate::config::Trust) -> ClientBuilder {
        self.trust = trust;
        self
    }

    /// Goes through a proxy.
    #[cfg(feature = "transport")]
    #[must_use]
    pub fn with_proxy(mut self, proxy: crate::config::Proxy) -> ClientBuilder {
        self.proxy = Some(proxy);
        self
    }

    /// Builds the client over the HTTP transport.
    ///
    /// # Errors
    /// TLS cannot be set up: no authorities to trust, or a certificate that is none.
    #[cfg(feature = "transport")]
    pub fn build(mut self) -> Result<Client, crate::transport::SetupError> {
        let clock = Arc::clone(self.clock.get_or_insert_with(|| Arc::new(SystemClock::new())));
        let mut transport = DefaultTransport::builder(self.config.endpoint().scheme())
            .with_clock(clock)
            .with_connect_timeout(self.config.timeouts().connect())
            .with_idle_connections(self.config.limits().requests_in_flight());
        if let Some(proxy) = self.proxy.take() {
            transport = transport.with_proxy(proxy);
        }
        #[cfg(feature = "tls")]
        let transport = transport.with_trust(std::mem::take(&mut self.trust));
        Ok(self.build_with(transport.build()?))
    }

    /// Builds the client over a transport of the caller's.
    pub fn build_with<T: Transport>(self, transport: T) -> Client<T> {
        let ClientBuilder { config, credentials, clock, observer, seed, .. } = self;
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let limits = config.limits();
        let bucket = |rate| Bucket::new(rate, Arc::clone(&clock));
        let engine = Engine {
            transport,
            credentials: CachedCredentials::new(credentials, Arc::clone(&clock)),
            signer: Signer::new(),
            observer,
            counters: Counters::default(),
            budget: Budget::new(config.retry().budget()),
            random: Random::new(seed.unwrap_or_else(|| RandomState::new().build_hasher().finish())),
            skew_millis: AtomicI64::new(0),
            slots: Arc::new(Semaphore::new(limits.requests_in_flight())),
            requests: limits.requests().map(bucket),
            upload: limits.upload().map(bucket).map(Arc::new),
            download: limits.download().map(bucket).map(Arc::new),
            clock,
            config,
        };
        Client { engine: Arc::new(engine) }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
