//! From credentials to a caller: logins, tickets in cookies, API tokens.

use std::net::IpAddr;
use std::sync::Arc;

use coldkeep_chunk_store::Clock;
use http::request::Parts;
use http::{HeaderMap, Method};
use zeroize::Zeroizing;

use super::api_token::{Malformed, ShownToken, token_of};
use super::cookie::tickets_of;
use super::throttle::{Attempt, Throttle};
use super::ticket::user_of;
use super::token_cache::TokenCache;
use super::{AuthId, Caller, TicketKey, TicketRefused};
use crate::LoginLimits;
use crate::api::ApiError;
use crate::state::Identities;

/// The header with the CSRF token; header names are compared without case.
const CSRF_HEADER: &str = "csrfpreventiontoken";

/// Checks credentials.
pub struct Authenticator {
    identities: Arc<Identities>,
    key: TicketKey,
    cache: TokenCache,
    throttle: Throttle,
    clock: Arc<dyn Clock>,
}

/// What a login gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Who logged in.
    pub user: AuthId,
    /// The ticket, to be sent as a cookie.
    pub ticket: String,
    /// The CSRF token, to be sent with everything but GET.
    pub csrf_token: String,
}

impl Authenticator {
    /// Makes an authenticator for the users and tokens in `identities`.
    ///
    /// # Errors
    /// The system gave no random bytes.
    pub fn new(
        identities: Arc<Identities>,
        key: TicketKey,
        limits: LoginLimits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, getrandom::Error> {
        let throttle = Throttle::new(limits, Arc::clone(&clock));
        Ok(Self { identities, key, cache: TokenCache::new()?, throttle, clock })
    }

    /// Logs a user in by password, or by a ticket that is still good in its place. `peer` is where the request came from.
    ///
    /// # Errors
    /// 401 if the user is unknown or disabled, the password wrong, or too many were; it does not say which.
    ///
    /// # Cancel safety
    /// Dropping the future wastes the work, and the password counts as wrong.
    pub async fn log_in(
        &self,
        user: &AuthId,
        password: Zeroizing<String>,
        peer: Option<IpAddr>,
    ) -> Result<Login, ApiError> {
        let now = self.now();
        let mut of_ticket = None;
        let stored = |of: &AuthId| {
            of_ticket = self.identities.active_password(of, now);
            of_ticket.clone()
        };
        let stored_password = match self.key.check_ticket(&password, stored, now) {
            Ok(of) if of == *user => of_ticket,
            // Whoever shows what this server signed once does not guess, so nothing is counted.
            Err(TicketRefused::Expired | TicketRefused::Ended) => None,
            _ => self.check_password(user, password, now, peer).await?,
        };
        // Of the password that was shown, which may have been exchanged since.
        let Some(stored_password) = stored_password.filter(|_| user.token().is_none()) else {
            tracing::warn!(%user, peer = peer.map(tracing::field::display), "login refused");
            return Err(refused());
        };
        let ticket = self.key.ticket(user, &stored_password, now);
        let csrf_token = self.key.csrf_token(user, now);
        Ok(Login { user: user.clone(), ticket, csrf_token })
    }

    /// Checks the credentials in a request's head; `peer` is where it came from.
    ///
    /// # Errors
    /// 401 if they are missing, wrong or expired, or if too many were wrong.
    ///
    /// # Cancel safety
    /// Dropping the future wastes the work, and a secret counts as wrong.
    pub async fn admit(&self, head: &Parts, peer: Option<IpAddr>) -> Result<Caller, ApiError> {
        let now = self.now();
        let who = match token_of(&head.headers) {
            Some(Ok(shown)) => self.check_token(shown, now, peer).await?,
            Some(Err(Malformed)) => return Err(refused()),
            None => self.check_ticket(&head.method, &head.headers, now)?,
        };
        Ok(Caller::authenticated(who, self.identities.acl()).with_peer(peer))
    }

    async fn check_password(
        &self,
        user: &AuthId,
        password: Zeroizing<String>,
        now: i64,
        peer: Option<IpAddr>,
    ) -> Result<Option<String>, ApiError> {
        let attempt = self.begin(user, peer).await?;
        let stored = self.identities.check_password(user, password, now).await;
        let stored = stored.map_err(|error| ApiError::failed(&error))?;
        if stored.is_some() {
            attempt.succeed();
        }
        Ok(stored)
    }

    async fn check_token(
        &self,
        shown: ShownToken,
        now: i64,
        peer: Option<IpAddr>,
    ) -> Result<AuthId, ApiError> {
        let ShownToken { id: token, secret } = shown;
        let stored = self.identities.active_token(&token, now);
        // Before anything is counted: a client that works is not stopped by one beside it that does not.
        if stored.as_ref().is_some_and(|stored| self.cache.knows(&token, stored, &secret)) {
            return Ok(token);
        }
        let attempt = self.begin(&token, peer).await?;
        let is_right = self.identities.check_secret(secret.clone(), stored.clone()).await;
        let is_right = is_right.map_err(|error| ApiError::failed(&error))?;
        let Some(stored) = stored.filter(|_| is_right) else {
            tracing::warn!(%token, peer = peer.map(tracing::field::display), "API token refused");
            return Err(refused());
        };
        attempt.succeed();
        self.cache.remember(&token, &stored, &secret);
        Ok(token)
    }

    async fn begin(&self, who: &AuthId, peer: Option<IpAddr>) -> Result<Attempt<'_>, ApiError> {
        self.throttle.begin(who, peer).await.map_err(|_throttled| {
            tracing::warn!(%who, peer = peer.map(tracing::field::display), "too many failures; nothing is looked at");
            refused()
        })
    }

    fn check_ticket(&self, method: &Method, headers: &HeaderMap, now: i64) -> Result<AuthId, ApiError> {
        let tickets = tickets_of(headers);
        if tickets.is_empty() {
            return Err(ApiError::unauthorized("authentication failed - no credentials"));
        }
        let stored = |user: &AuthId| self.identities.active_password(user, now);
        let user = tickets.iter().find_map(|ticket| self.key.check_ticket(ticket, stored, now).ok());
        let user = user.ok_or_else(refused)?;
        if method != Method::GET {
            let token = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
            let token = token.ok_or_else(|| ApiError::unauthorized("missing CSRF prevention token"))?;
            let is_good = self.key.check_csrf_token(token, &user, now).is_ok();
            is_good.then_some(()).ok_or_else(|| ApiError::unauthorized("wrong CSRF prevention token"))?;
        }
        Ok(user)
    }

    fn now(&self) -> i64 {
        self.clock.wall().unix_seconds()
    }
}

/// Returns who a request says that it is from, without a proof: for the audit log.
pub(crate) fn claimed_by(headers: &HeaderMap) -> Option<AuthId> {
    match token_of(headers) {
        Some(shown) => shown.ok().map(|shown| shown.id),
        None => tickets_of(headers).iter().find_map(|ticket| user_of(ticket)),
    }
}

fn refused() -> ApiError {
    ApiError::unauthorized("authentication failed")
}

#[cfg(test)]
mod tests;
