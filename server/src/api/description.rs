//! What the tables say of endpoints, without their code: for the reference page (`docs/API.md`) and for tests.

use std::fmt;

use super::endpoint::{Access, BodyKind, Endpoint, Method};
use super::param::Param;
use crate::protocol::{backup, reader};

/// An endpoint without its handler, whatever state that works on.
#[derive(Clone, Copy)]
pub struct Description {
    /// The method.
    pub method: Method,
    /// The path, as in [`Endpoint::path`].
    pub path: &'static str,
    /// What it does and answers.
    pub doc: &'static str,
    /// The parameters; any other is refused.
    pub params: &'static [Param],
    /// What the body carries.
    pub body: BodyKind,
    /// Who may call it.
    pub access: Access,
}

impl<S: ?Sized> From<&Endpoint<S>> for Description {
    fn from(endpoint: &Endpoint<S>) -> Self {
        let Endpoint { method, path, doc, params, body, access, handler: _ } = *endpoint;
        Self { method, path, doc, params, body, access }
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// Describes the REST API, in the order of its tables.
pub fn rest() -> Vec<Description> {
    super::router().endpoints().map(Into::into).collect()
}

/// Describes what a backup session answers.
pub fn backup_session() -> Vec<Description> {
    backup::ENDPOINTS.iter().map(Into::into).collect()
}

/// Describes what a reader session answers.
pub fn reader_session() -> Vec<Description> {
    reader::ENDPOINTS.iter().map(Into::into).collect()
}
