//! From credentials to a caller: logins, tickets in cookies, API tokens.

use std::sync::Arc;

use coldkeep_chunk_store::Clock;
use http::request::Parts;
use http::{HeaderMap, Method};
use zeroize::Zeroizing;

use super::api_token::{Malformed, ShownToken, token_of};
use super::cookie::tickets_of;
use super::token_cache::TokenCache;
use super::{AuthId, Caller, TicketKey};
use crate::api::{Admit, ApiError};
use crate::state::Identities;

/// The header with the CSRF token; header names are compared without case.
const CSRF_HEADER: &str = "csrfpreventiontoken";

/// Checks credentials.
pub struct Authenticator {
    identities: Arc<Identities>,
    key: TicketKey,
    cache: TokenCache,
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
        clock: Arc<dyn Clock>,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self { identities, key, cache: TokenCache::new()?, clock })
    }

    /// Logs a user in by password, or by a ticket that is still good in its place.
    ///
    /// # Errors
    /// 401 if the user is unknown or disabled, or the password wrong; it does not say which.
    ///
    /// # Cancel safety
    /// Dropping the future wastes the work.
    pub async fn log_in(&self, user: &AuthId, password: Zeroizing<String>) -> Result<Login, ApiError> {
        let now = self.now();
        let is_renewal = self.key.check_ticket(&password, now).is_ok_and(|of| of == *user)
            && self.identities.is_active_user(user, now);
        let is_right = is_renewal
            || self
                .identities
                .check_password(user, password, now)
                .await
                .map_err(|error| ApiError::failed(&error))?;
        if !is_right || user.token().is_some() {
            tracing::warn!(%user, "login refused");
            return Err(refused());
        }
        let (ticket, csrf_token) = (self.key.ticket(user, now), self.key.csrf_token(user, now));
        Ok(Login { user: user.clone(), ticket, csrf_token })
    }

    async fn check_token(&self, shown: ShownToken, now: i64) -> Result<AuthId, ApiError> {
        let ShownToken { id: token, secret } = shown;
        let stored = self.identities.active_token(&token, now);
        if stored.as_ref().is_some_and(|stored| self.cache.knows(stored, &secret)) {
            return Ok(token);
        }
        let is_right = self.identities.check_secret(secret.clone(), stored.clone()).await;
        let is_right = is_right.map_err(|error| ApiError::failed(&error))?;
        let Some(stored) = stored.filter(|_| is_right) else {
            tracing::warn!(%token, "API token refused");
            return Err(refused());
        };
        self.cache.remember(&stored, &secret);
        Ok(token)
    }

    fn check_ticket(&self, method: &Method, headers: &HeaderMap, now: i64) -> Result<AuthId, ApiError> {
        let tickets = tickets_of(headers);
        if tickets.is_empty() {
            return Err(ApiError::unauthorized("authentication failed - no credentials"));
        }
        let user =
            tickets.iter().find_map(|ticket| self.key.check_ticket(ticket, now).ok()).ok_or_else(refused)?;
        if !self.identities.is_active_user(&user, now) {
            return Err(refused());
        }
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

impl Admit for Authenticator {
    async fn admit(&self, head: &Parts) -> Result<Caller, ApiError> {
        let now = self.now();
        let who = match token_of(&head.headers) {
            Some(Ok(shown)) => self.check_token(shown, now).await?,
            Some(Err(Malformed)) => return Err(refused()),
            None => self.check_ticket(&head.method, &head.headers, now)?,
        };
        Ok(Caller::authenticated(who, self.identities.acl()))
    }
}

fn refused() -> ApiError {
    ApiError::unauthorized("authentication failed")
}

#[cfg(test)]
mod tests;
