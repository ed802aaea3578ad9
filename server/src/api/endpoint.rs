//! Endpoints as data: one table serves the router, the checks, the reference page and the tests.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::upgrade::OnUpgrade;

use super::error::ApiError;
use super::param::Param;
use super::params::Params;
use super::reply::Reply;
use super::upload::Upload;
use crate::auth::{Caller, Privileges};

/// One endpoint of the REST API (`S` is [`crate::Server`]) or of an upgraded connection (`S` is its session).
///
/// ```
/// # use coldkeep_server::api::*;
/// struct Counter { start: i64 }
///
/// static ENDPOINTS: &[Endpoint<Counter>] = &[Endpoint {
///     method: Method::Get,
///     path: "/add/{number}",
///     doc: "Adds a number to the counter's start.",
///     params: &[Param::required("number", Kind::Integer { min: 0, max: 99 }, "What is added.")],
///     body: BodyKind::Params,
///     access: Access::Session,
///     handler: |call| Box::pin(add(call)),
/// }];
///
/// async fn add(call: Call<Counter>) -> Result<Reply, ApiError> {
///     Reply::json(&(call.state.start + call.params.get::<i64>("number")?))
/// }
/// ```
pub struct Endpoint<S: ?Sized + 'static> {
    /// The method.
    pub method: Method,
    /// The path below the API's root; `{name}` stands for one component and needs a parameter of that name.
    pub path: &'static str,
    /// What it does and answers, in a sentence or two, for the reference page.
    pub doc: &'static str,
    /// The parameters; any other is refused.
    pub params: &'static [Param],
    /// What the body carries.
    pub body: BodyKind,
    /// Who may call it; checked before the handler runs.
    pub access: Access,
    /// What it does.
    pub handler: Handler<S>,
}

/// The code of an endpoint, written `|call| Box::pin(name_of_async_fn(call))`.
pub type Handler<S> = fn(Call<S>) -> Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send>>;

/// The methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Does or creates something.
    Post,
    /// Changes something.
    Put,
    /// Removes something.
    Delete,
}

/// What a request's body carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// Parameters or nothing: a form is merged with the query, a JSON object replaces it. Less than 512 KiB.
    Params,
    /// Data of at most this many bytes, of any content type; parameters stand in the query. The handler reads it
    /// ([`Call::take_upload`]).
    Upload {
        /// Most bytes.
        bytes_max: usize,
    },
    /// Nothing; the connection turns to this protocol after the answer ([`Call::take_upgrade`]). Parameters stand in
    /// the query. A request without this exact `Upgrade` header is refused.
    Upgrade {
        /// Value of the `Upgrade` header.
        protocol: &'static str,
    },
}

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone; credentials are not looked at and the caller is [`Caller::nobody`].
    Anyone,
    /// Any user or token with good credentials; the handler checks what more it needs.
    Authenticated,
    /// Who has one of the privileges on `/datastore/{store}/{ns}`, taken from the parameters `store` and `ns`: one of
    /// `full` gives [`Scope::Full`], else one of `own` gives [`Scope::Own`], else 403.
    Datastore {
        /// Any of these opens the whole namespace.
        full: Privileges,
        /// Any of these opens the caller's own groups; [`Privileges::NONE`] where ownership does not matter.
        own: Privileges,
    },
    /// Who has one of the privileges on `/remote/{name}`, taken from the parameter `name`.
    Remote {
        /// Any of these.
        any: Privileges,
    },
    /// Who has one of the privileges on `/access/users`, which gives [`Scope::Full`], or is the user that the parameter
    /// `userid` names, which gives [`Scope::Own`]. A token is never its user here: it would get all its rights.
    User {
        /// Any of these opens all users.
        others: Privileges,
    },
    /// Who has one of the privileges on this path.
    At {
        /// The access list path.
        path: &'static str,
        /// Any of these.
        any: Privileges,
    },
    /// Decided when the connection was upgraded.
    Session,
}

/// How far the caller's privileges reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All groups.
    Full,
    /// Only what is the caller's own: groups, of which the handler must check each owner, or the caller as a user.
    Own,
}

/// One request, checked against its endpoint's description.
pub struct Call<S: ?Sized> {
    /// The server or the session.
    pub state: Arc<S>,
    /// Who asks.
    pub caller: Caller,
    /// How far their privileges reach; [`Scope::Full`] unless [`Access::Datastore`] or [`Access::User`] says otherwise.
    pub scope: Scope,
    /// The parameters.
    pub params: Params,
    pub(super) upload: Option<Upload>,
    pub(super) upgrade: Option<OnUpgrade>,
}

impl<S: ?Sized> Call<S> {
    /// Takes the unread body of an endpoint with [`BodyKind::Upload`].
    ///
    /// # Errors
    /// 400 for any other endpoint, and the second time.
    pub fn take_upload(&mut self) -> Result<Upload, ApiError> {
        self.upload.take().ok_or_else(|| ApiError::bad_request("this request carries no upload"))
    }

    /// Takes what becomes the upgraded connection once [`Reply::switch_to`] is sent, for an endpoint with
    /// [`BodyKind::Upgrade`]. It fails if the client goes away before.
    ///
    /// # Errors
    /// 400 for any other endpoint, and the second time.
    pub fn take_upgrade(&mut self) -> Result<OnUpgrade, ApiError> {
        self.upgrade.take().ok_or_else(|| ApiError::bad_request("this request is no upgrade"))
    }
}

impl Method {
    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// Recognises a method.
    pub fn of(method: &http::Method) -> Option<Self> {
        [Self::Get, Self::Post, Self::Put, Self::Delete]
            .into_iter()
            .find(|known| known.as_str() == method.as_str())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<S: ?Sized> fmt::Debug for Endpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}
