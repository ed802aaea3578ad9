//! One request as it becomes a line.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::UPGRADE;
use http::{Method, Request, StatusCode};

use super::{AuditLog, Event};
use crate::api::{ApiError, Asked, Watch};
use crate::auth::{AuthId, Caller, claimed_by};

/// Longest path of a request that no endpoint has, in bytes.
const PATH_BYTES_MAX: usize = 256;
/// What is noted if nobody waits for the answer any more; the change may have been made.
const GONE: &str = "the client went away before the answer";

/// What is known of a request; a line is written when it ends.
pub(crate) struct Record {
    log: Arc<AuditLog>,
    method: Method,
    path: String,
    is_upgrade: bool,
    is_in_session: bool,
    who: Option<AuthId>,
    claims: Option<AuthId>,
    peer: Option<IpAddr>,
    params: BTreeMap<&'static str, String>,
    error: Option<String>,
    has_ended: bool,
}

impl Record {
    /// Begins with what the head of a request says.
    pub(crate) fn begin<B>(log: Arc<AuditLog>, request: &Request<B>, peer: Option<IpAddr>) -> Self {
        let path = request.uri().path();
        Self {
            log,
            method: request.method().clone(),
            path: path[..path.floor_char_boundary(PATH_BYTES_MAX)].to_owned(),
            is_upgrade: request.headers().contains_key(UPGRADE),
            is_in_session: false,
            who: None,
            claims: claimed_by(request.headers()),
            peer: peer.map(|peer| peer.to_canonical()),
            params: BTreeMap::new(),
            error: None,
            has_ended: false,
        }
    }

    /// Begins with a request in a session of this caller: it has a line only if it is refused.
    pub(crate) fn begin_in_session<B>(log: Arc<AuditLog>, request: &Request<B>, caller: &Caller) -> Self {
        let mut record = Self::begin(log, request, caller.peer());
        record.is_in_session = true;
        record.admitted(caller);
        record
    }

    /// Writes the line, if such a request with this answer is to have one.
    pub(crate) fn end(mut self, status: StatusCode) {
        self.has_ended = true;
        let is_denial = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if is_denial || self.is_change() {
            self.write(Some(status), self.error.as_deref());
        }
    }

    /// Sessions count as changes: who reads or writes backups begins with one. Strangers change nothing; if they had lines for
    /// what costs them nothing, they could push out those of everybody else.
    fn is_change(&self) -> bool {
        let may_change = !matches!(self.method, Method::GET | Method::HEAD) || self.is_upgrade;
        may_change && !self.is_in_session && self.who.is_some()
    }

    fn write(&self, status: Option<StatusCode>, error: Option<&str>) {
        self.log.add(Event {
            who: self.who.as_ref(),
            claims: self.claims.as_ref().filter(|_| self.who.is_none()),
            address: self.peer,
            method: self.method.as_str(),
            path: &self.path,
            params: &self.params,
            status: status.map(|status| status.as_u16()),
            error,
            ..Event::empty()
        });
    }
}

impl Watch for Record {
    fn found(&mut self, path: &'static str) {
        path.clone_into(&mut self.path);
    }

    fn admitted(&mut self, caller: &Caller) {
        // Endpoints of sessions are called by nobody; it is known whose session it is.
        if !caller.is_nobody() {
            self.who = Some(caller.auth_id().clone());
        }
    }

    fn asked(&mut self, asked: &Asked<'_>) {
        self.params = asked.shown().collect();
    }

    fn logged_in(&mut self, user: &AuthId) {
        self.who = Some(user.clone());
    }

    fn refused(&mut self, error: &ApiError) {
        self.error = Some(error.message().to_owned());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.has_ended && self.is_change() {
            self.write(None, Some(GONE));
        }
    }
}
