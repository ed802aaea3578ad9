//! A client of one server: connections, login, plain calls.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::api::envelope;
use crate::connect::Connect;
use crate::credentials::{Credentials, Secret};
use crate::encoding::Parameters;
use crate::error::{Call, RequestError};
use crate::http::{
    FORM, JSON, JSON_BYTES_MAX, OCTETS, REST_TIMEOUT, RestConnection, SendError, Session, USER_AGENT,
    Upgrade, read,
};

/// Prefix of every plain call.
pub(crate) const PREFIX: &str = "/api2/json";

/// Most idle connections kept for the next call.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// A connection idle for longer is not trusted to be open still; stock servers keep it for 120 s.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Age at which a ticket is renewed; servers accept it for two hours (spec `conversation.md` §2).
const RENEW_AFTER: Duration = Duration::from_mins(15);

/// A client of one server; cloning shares connections and login.
///
/// Nothing is sent before the first call. With [`Credentials::User`] the first call logs in, and the ticket is renewed
/// every 15 minutes for as long as a clone lives.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connector: Box<dyn Connect>,
    credentials: Credentials,
    answer_bytes_max: usize,
    ticket: Mutex<Option<Ticket>>,
    idle: Mutex<Vec<RestConnection>>,
    renewal: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// A login's result.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// The ticket, which also serves as a password for the next login.
    pub ticket: Secret,
    csrf: Secret,
    obtained_at: Instant,
}

impl Client {
    /// Makes a client that connects with `connector` and shows `credentials`.
    pub fn new(connector: impl Connect, credentials: Credentials) -> Self {
        Self::with_answers_up_to(JSON_BYTES_MAX, connector, credentials)
    }

    /// Does the same for a server that is not to be trusted with much memory: it may answer a plain call with so many bytes at
    /// most, instead of 256 MiB. A snapshot in a list has about 500.
    pub fn with_answers_up_to(bytes: usize, connector: impl Connect, credentials: Credentials) -> Self {
        Self {
            inner: Arc::new(Inner {
                connector: Box::new(connector),
                credentials,
                answer_bytes_max: bytes,
                ticket: Mutex::new(None),
                idle: Mutex::new(Vec::new()),
                renewal: Mutex::new(None),
            }),
        }
    }

    /// Returns `host:port` of the server.
    pub fn authority(&self) -> &str {
        self.inner.connector.authority()
    }

    /// Logs in now and returns the ticket, for a caller that keeps it for later runs; `None` if the credentials
    /// need no login.
    ///
    /// # Errors
    /// [`RequestError::is_unauthorized`]: name, password or ticket are wrong. Servers delay that answer by seconds.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the client without a login; the next call logs in.
    pub async fn login(&self) -> Result<Option<Ticket>, RequestError> {
        match &self.inner.credentials {
            Credentials::User { .. } => self.inner.log_in().await.map(Some),
            Credentials::Local | Credentials::Token { .. } => Ok(None),
        }
    }

    /// GET, PUT or DELETE: parameters go into the query.
    pub(crate) async fn query<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        parameters: &Parameters,
    ) -> Result<T, RequestError> {
        let (call, body) = self.query_raw(method, path, parameters).await?;
        envelope::data(&call, &body)
    }

    /// Like [`query`](Self::query), for answers with facts beside `data`.
    pub(crate) async fn query_whole<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &Parameters,
    ) -> Result<T, RequestError> {
        let (call, body) = self.query_raw(Method::GET, path, parameters).await?;
        envelope::whole(&call, &body)
    }

    async fn query_raw(
        &self,
        method: Method,
        path: &str,
        parameters: &Parameters,
    ) -> Result<(Call, Bytes), RequestError> {
        let call = Call::new(method, &format!("{PREFIX}{path}"));
        let outgoing = Outgoing { query: parameters.to_query(), content_type: FORM, body: Bytes::new() };
        let body = self.inner.call(&call, outgoing).await?;
        Ok((call, body))
    }

    /// POST: parameters go into a JSON body.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &Parameters,
    ) -> Result<T, RequestError> {
        let call = Call::new(Method::POST, &format!("{PREFIX}{path}"));
        let body = self.inner.call(&call, Outgoing::json(parameters)).await?;
        envelope::data(&call, &body)
    }

    /// PUT with the parameters in a JSON body: for secrets, which do not belong into a URL, and for lists.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &Parameters,
    ) -> Result<T, RequestError> {
        let call = Call::new(Method::PUT, &format!("{PREFIX}{path}"));
        let body = self.inner.call(&call, Outgoing::json(parameters)).await?;
        envelope::data(&call, &body)
    }

    /// POST of raw bytes, with parameters in the query.
    pub(crate) async fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &Parameters,
        body: Bytes,
    ) -> Result<T, RequestError> {
        let call = Call::new(Method::POST, &format!("{PREFIX}{path}"));
        let outgoing = Outgoing { query: parameters.to_query(), content_type: OCTETS, body };
        let body = self.inner.call(&call, outgoing).await?;
        envelope::data(&call, &body)
    }

    /// Upgrades a connection; the last call's, if it is idle, since a line of 50 ms takes 100 ms for a fresh one.
    pub(crate) async fn upgrade(
        &self,
        upgrade: Upgrade,
        parameters: &Parameters,
    ) -> Result<Session, RequestError> {
        let call = Call::new(Method::GET, upgrade.path());
        let mut headers = self.inner.proof().await?;
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade.protocol());
        let outgoing = Outgoing { query: parameters.to_query(), content_type: FORM, body: Bytes::new() };
        let request = self.inner.request(&call, &outgoing, headers)?;
        within(&call, async {
            // The connection lives until hyper has handed its stream over.
            let (_connection, response) = self.inner.send(&call, request).await?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                let status = response.status();
                read(&call, response, self.inner.answer_bytes_max).await?;
                return Err(RequestError::answer(call.clone(), format!("status {status} instead of 101")));
            }
            let upgraded = hyper::upgrade::on(response)
                .await
                .map_err(|source| RequestError::transport(call.clone(), source))?;
            Session::start(&call, upgraded).await
        })
        .await
    }
}

impl Ticket {
    fn is_fresh(&self) -> bool {
        self.obtained_at.elapsed() < RENEW_AFTER
    }
}

/// Tells whether a call may be made twice. The beginning of a backup may not: the first one may have begun it.
fn changes_nothing(call: &Call) -> bool {
    *call.method() == Method::GET && call.path() != Upgrade::Backup.path()
}

/// What goes out with one plain call.
struct Outgoing {
    query: String,
    content_type: &'static str,
    body: Bytes,
}

impl Outgoing {
    fn json(parameters: &Parameters) -> Self {
        if parameters.is_empty() {
            return Self { query: String::new(), content_type: FORM, body: Bytes::new() };
        }
        Self { query: String::new(), content_type: JSON, body: parameters.to_json().into() }
    }
}

impl Inner {
    /// Makes a call and returns its body. A ticket that the server no longer takes is replaced once.
    async fn call(self: &Arc<Self>, call: &Call, outgoing: Outgoing) -> Result<Bytes, RequestError> {
        let proof = self.proof().await?;
        let had_ticket = self.ticket().is_some();
        match self.exchange(call, &outgoing, proof).await {
            Err(error) if error.is_unauthorized() && had_ticket => {
                // The server may have been restarted with new keys; a right password helps.
                self.log_in().await?;
                let proof = self.proof().await?;
                self.exchange(call, &outgoing, proof).await
            }
            result => result,
        }
    }

    async fn exchange(
        &self,
        call: &Call,
        outgoing: &Outgoing,
        proof: HeaderMap,
    ) -> Result<Bytes, RequestError> {
        let request = self.request(call, outgoing, proof)?;
        within(call, async {
            let (connection, response) = self.send(call, request).await?;
            self.finish(call, connection, response).await
        })
        .await
    }

    /// Sends a request on an idle connection, or on a fresh one if there is none, and waits for the head of its answer.
    ///
    /// What changes nothing is sent once more if an idle connection ends under it: the server may have closed it just then.
    async fn send(
        &self,
        call: &Call,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(RestConnection, Response<Incoming>), RequestError> {
        while let Some(mut connection) = self.take_idle() {
            let again = changes_nothing(call).then(|| request.clone());
            match (connection.send(request).await, again) {
                (Ok(response), _) => return Ok((connection, response)),
                // The server closed it meanwhile and saw nothing of this request.
                (Err(SendError { unsent: Some(unsent), .. }), _) => request = unsent,
                (Err(_), Some(again)) => {
                    request = again;
                    break;
                }
                (Err(error), None) => return Err(error.of(call)),
            }
        }
        let mut connection = self.connect(call).await?;
        match connection.send(request).await {
            Ok(response) => Ok((connection, response)),
            Err(error) => Err(error.of(call)),
        }
    }

    async fn finish(
        &self,
        call: &Call,
        mut connection: RestConnection,
        response: Response<Incoming>,
    ) -> Result<Bytes, RequestError> {
        let result = read(call, response, self.answer_bytes_max).await;
        if matches!(result, Ok(_) | Err(RequestError::Refused { .. })) {
            connection.rest();
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_CONNECTIONS_MAX {
                idle.push(connection);
            }
        }
        result
    }

    fn take_idle(&self) -> Option<RestConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_usable(IDLE_MAX) {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self, call: &Call) -> Result<RestConnection, RequestError> {
        let stream = self.connector.connect().await?;
        RestConnection::open(stream)
            .await
            .map_err(|source| RequestError::Transport { call: call.clone(), source })
    }

    fn request(
        &self,
        call: &Call,
        outgoing: &Outgoing,
        mut headers: HeaderMap,
    ) -> Result<Request<Full<Bytes>>, RequestError> {
        let failed = |source: http::Error| RequestError::transport(call.clone(), source);
        let query = if outgoing.query.is_empty() { String::new() } else { format!("?{}", outgoing.query) };
        let host =
            HeaderValue::from_str(self.connector.authority()).map_err(|source| failed(source.into()))?;
        headers.insert(header::HOST, host);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(outgoing.content_type));
        let mut request = Request::builder()
            .method(call.method().clone())
            .uri(format!("{}{query}", call.path()))
            .body(Full::new(outgoing.body.clone()))
            .map_err(failed)?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Returns the headers that show who calls, after a login if one is due.
    async fn proof(self: &Arc<Self>) -> Result<HeaderMap, RequestError> {
        let call = Call::new(Method::POST, LOGIN_PATH);
        let mut headers = HeaderMap::new();
        match &self.credentials {
            Credentials::Local => {}
            Credentials::Token { id, secret } => {
                let secret = crate::encoding::token_secret(secret.reveal());
                let value = sensitive(&call, &format!("PBSAPIToken={id}:{secret}"))?;
                headers.insert(header::AUTHORIZATION, value);
            }
            Credentials::User { .. } => {
                let ticket = match self.ticket() {
                    Some(ticket) if ticket.is_fresh() => ticket,
                    _ => self.log_in().await?,
                };
                headers.insert(
                    header::COOKIE,
                    sensitive(&call, &format!("PBSAuthCookie={}", ticket.ticket.reveal()))?,
                );
                headers.insert("csrfpreventiontoken", sensitive(&call, ticket.csrf.reveal())?);
            }
        }
        Ok(headers)
    }

    fn ticket(&self) -> Option<Ticket> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs in with the ticket at hand, else, or if it is refused, with the password.
    async fn log_in(self: &Arc<Self>) -> Result<Ticket, RequestError> {
        let Credentials::User { user, secret } = &self.credentials else {
            return Err(RequestError::answer(
                Call::new(Method::POST, LOGIN_PATH),
                "these credentials need no login",
            ));
        };
        let user = user.to_string();
        let fresh = match self.ticket() {
            Some(old) => match self.obtain(&user, &old.ticket).await {
                Err(error) if error.is_unauthorized() => self.obtain(&user, secret).await?,
                result => result?,
            },
            None => self.obtain(&user, secret).await?,
        };
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.clone());
        self.keep_renewing();
        Ok(fresh)
    }

    async fn obtain(&self, user: &str, secret: &Secret) -> Result<Ticket, RequestError> {
        #[derive(Deserialize)]
        struct Answer {
            ticket: String,
            #[serde(rename = "CSRFPreventionToken")]
            csrf: String,
        }
        let call = Call::new(Method::POST, LOGIN_PATH);
        let parameters = Parameters::new().with("username", user).with("password", secret.reveal());
        let body = self.exchange(&call, &Outgoing::json(&parameters), HeaderMap::new()).await?;
        let answer: Answer = envelope::data(&call, &body)?;
        // A ticket of this form only opens the second-factor dialogue (spec `rest-api.md` §2.1).
        if answer.ticket.starts_with("PBS:!tfa!") {
            return Err(RequestError::SecondFactor { user: user.to_owned() });
        }
        Ok(Ticket {
            ticket: Secret::new(answer.ticket),
            csrf: Secret::new(answer.csrf),
            obtained_at: Instant::now(),
        })
    }

    /// Renews the ticket in the background: a backup may run for longer than a ticket lives, with no plain call
    /// between.
    fn keep_renewing(self: &Arc<Self>) {
        let mut renewal = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        if renewal.is_some() {
            return;
        }
        let weak = Arc::downgrade(self);
        *renewal = Some(AbortOnDropHandle::new(tokio::spawn(renew(weak))));
    }
}

const LOGIN_PATH: &str = "/api2/json/access/ticket";

async fn renew(weak: Weak<Inner>) {
    loop {
        tokio::time::sleep(RENEW_AFTER).await;
        let Some(inner) = weak.upgrade() else { return };
        let due = inner.ticket().is_some_and(|ticket| !ticket.is_fresh());
        if due && let Err(error) = inner.log_in().await {
            // The next call logs in itself and reports what is wrong.
            tracing::debug!(%error, "ticket not renewed");
        }
    }
}

/// Bounds a plain call in time.
async fn within<T>(
    call: &Call,
    exchange: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    match tokio::time::timeout(REST_TIMEOUT, exchange).await {
        Ok(result) => result,
        Err(_) => Err(RequestError::TimedOut { call: call.clone(), limit: REST_TIMEOUT }),
    }
}

fn sensitive(call: &Call, text: &str) -> Result<HeaderValue, RequestError> {
    let mut value =
        HeaderValue::from_str(text).map_err(|source| RequestError::transport(call.clone(), source))?;
    value.set_sensitive(true);
    Ok(value)
}
