//! From a request to the handler and back: the one place that checks parameters and privileges.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, UPGRADE};
use http::request::Parts;
use http::{Request, Response, StatusCode};

use super::endpoint::{Access, BodyKind, Call, Endpoint, Method, Scope};
use super::error::ApiError;
use super::params::{Params, Raw};
use super::path::{Path, Pattern};
use super::reply::{ResponseBody, refusal};
use super::upload::{Arrival, RequestBody, Upload, UploadRoom, collect};
use super::watch::{Asked, Watch};
use crate::auth::{AclPath, Caller, Privileges};
use crate::pace::Pace;

/// Longest path with query, in bytes; longer ones are answered 414 (rest-api.md 1).
pub const URI_BYTES_MAX: usize = 3072;
/// JSON and form bodies must be shorter than this (rest-api.md 1).
pub const PARAMS_BODY_BYTES_LIMIT: usize = 512 * 1024;
/// Longest time for a JSON or form body to arrive.
const PARAMS_BODY_DEADLINE: Duration = Duration::from_mins(1);

/// Finds the endpoint for a request and calls it.
pub struct Router<S: ?Sized + 'static> {
    prefix: &'static [&'static str],
    routes: Vec<(Pattern, &'static Endpoint<S>)>,
}

/// Stands in the extensions of an answer: the path of the endpoint that was asked, as its table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched(pub &'static str);

/// Tells who makes a request.
pub trait Admit: Send + Sync {
    /// Checks the credentials in a request's head.
    ///
    /// # Errors
    /// 401 if they are missing, wrong or expired.
    fn admit(&self, head: &Parts) -> impl Future<Output = Result<Caller, ApiError>> + Send;

    /// Returns how fast bodies of this caller may come and go, on this datastore if the request names one.
    fn pace(&self, _caller: &Caller, _store: Option<&str>) -> Pace {
        Pace::default()
    }

    /// Returns the address that requests come from; `None` within the same process.
    fn peer(&self) -> Option<IpAddr> {
        None
    }
}

/// The caller of a connection that was checked as a whole.
impl Admit for Caller {
    async fn admit(&self, _head: &Parts) -> Result<Caller, ApiError> {
        Ok(self.clone())
    }

    fn peer(&self) -> Option<IpAddr> {
        Self::peer(self)
    }
}

impl<S: ?Sized + Send + Sync + 'static> Router<S> {
    /// Makes a router of endpoint tables for paths below `prefix`, such as `["api2", "json"]`.
    pub fn new(prefix: &'static [&'static str], tables: &[&'static [Endpoint<S>]]) -> Self {
        let endpoints = tables.iter().copied().flatten();
        Self { prefix, routes: endpoints.map(|endpoint| (Pattern::parse(endpoint.path), endpoint)).collect() }
    }

    /// Lists the endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = &'static Endpoint<S>> {
        self.routes.iter().map(|(_, endpoint)| *endpoint)
    }

    /// Answers one request.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handler's.
    pub async fn dispatch(
        &self,
        request: Request<RequestBody>,
        state: Arc<S>,
        admit: &impl Admit,
        room: &UploadRoom,
    ) -> Response<ResponseBody> {
        self.dispatch_watched(request, state, admit, (room, &mut ())).await
    }

    /// Answers one request, and tells `watch` about it.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handler's; `watch` was told what was asked if it had begun.
    pub async fn dispatch_watched(
        &self,
        request: Request<RequestBody>,
        state: Arc<S>,
        admit: &impl Admit,
        (room, watch): (&UploadRoom, &mut impl Watch),
    ) -> Response<ResponseBody> {
        let mut matched = None;
        let answered = self.try_dispatch(request, state, (admit, room), (&mut matched, &mut *watch)).await;
        let mut response = answered.unwrap_or_else(|error| {
            watch.refused(&error);
            refusal(&error)
        });
        if let Some(path) = matched {
            response.extensions_mut().insert(Matched(path));
        }
        response
    }

    async fn try_dispatch(
        &self,
        mut request: Request<RequestBody>,
        state: Arc<S>,
        (admit, room): (&impl Admit, &UploadRoom),
        (matched, watch): (&mut Option<&'static str>, &mut impl Watch),
    ) -> Result<Response<ResponseBody>, ApiError> {
        let uri = request.uri();
        if uri.path_and_query().map_or(0, |text| text.as_str().len()) > URI_BYTES_MAX {
            return Err(ApiError::new(StatusCode::URI_TOO_LONG, "path and query are too long"));
        }
        let path = Path::parse(uri.path())?;
        let found = self.find(request.method(), &path);
        *matched = found.as_ref().map(|(endpoint, _)| endpoint.path);
        let is_open = matches!(&found, Some((endpoint, _)) if endpoint.access == Access::Anyone);
        if let Some((endpoint, _)) = &found {
            watch.found(endpoint.path);
        }
        let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        // Credentials come before everything else, so that strangers do not learn which paths exist.
        let caller =
            if is_open { Caller::nobody().with_peer(admit.peer()) } else { admit.admit(&head).await? };
        watch.admitted(&caller);
        let Some((endpoint, variables)) = found else {
            return Err(ApiError::not_found(format!(
                "no such endpoint: {} {}",
                head.method,
                head.uri.path()
            )));
        };

        let mut raw = Raw::default();
        for (name, text) in variables {
            raw.add_path_variable(name, text);
        }
        let query = head.uri.query().unwrap_or_default();
        let mut upload = None;
        match endpoint.body {
            BodyKind::Params => add_query_and_body(&mut raw, query, &head.headers, body).await?,
            BodyKind::Upload { bytes_max } => {
                raw.add_form(query)?;
                upload = Some(Upload::new(body, room.clone(), bytes_max));
            }
            BodyKind::Upgrade { .. } => raw.add_form(query)?,
        }
        let params = raw.check(endpoint.params)?;
        watch.asked(&Asked { path: endpoint.path, described: endpoint.params, params: &params });
        let scope = check_access(endpoint.access, &caller, &params)?;
        let upgrade = match endpoint.body {
            BodyKind::Upgrade { protocol } => {
                if head.headers.get(UPGRADE).is_none_or(|value| value != protocol) {
                    return Err(ApiError::bad_request(format!("expected the header 'upgrade: {protocol}'")));
                }
                upgrade
            }
            _ => None,
        };
        let pace = admit.pace(&caller, params.text("store"));
        let upload = upload.map(|upload| upload.paced(pace.clone()));
        let call = Call { state, caller, scope, params, upload, upgrade };
        let reply = (endpoint.handler)(call).await?;
        if let Some(user) = reply.logged_in() {
            watch.logged_in(user);
        }
        Ok(reply.into_response().map(|body| pace.send(body)))
    }

    /// Returns the endpoint for a path, with what the variables in its pattern stand for.
    fn find<'p>(
        &self,
        method: &http::Method,
        path: &'p Path,
    ) -> Option<(&'static Endpoint<S>, Variables<'p>)> {
        let (method, components) = (Method::of(method)?, path.below(self.prefix)?);
        let mut of_method = self.routes.iter().filter(|(_, endpoint)| endpoint.method == method);
        of_method.find_map(|(pattern, endpoint)| Some((*endpoint, pattern.variables(components)?)))
    }
}

type Variables<'p> = Vec<(&'static str, &'p str)>;

async fn add_query_and_body(
    raw: &mut Raw,
    query: &str,
    headers: &HeaderMap,
    body: RequestBody,
) -> Result<(), ApiError> {
    let content_type = headers.get(CONTENT_TYPE).map_or(Ok(""), |value| value.to_str()).unwrap_or("?");
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let pace = Pace::default();
    let body = collect(body, PARAMS_BODY_BYTES_LIMIT - 1, Arrival::new(PARAMS_BODY_DEADLINE, &pace)).await?;
    match essence.as_str() {
        // The query does not count beside a JSON object.
        "application/json" => raw.add_json(&body),
        "" | "application/x-www-form-urlencoded" => {
            raw.add_form(query)?;
            raw.add_form(std::str::from_utf8(&body).map_err(|_| ApiError::bad_request("body is not UTF-8"))?)
        }
        other => Err(ApiError::bad_request(format!("content type {other:?} is not supported"))),
    }
}

/// Checks an endpoint's access rule for a caller.
fn check_access(access: Access, caller: &Caller, params: &Params) -> Result<Scope, ApiError> {
    let denied = |path: &AclPath| ApiError::forbidden(format!("permission check failed on {path}"));
    let need = |path: AclPath, any: Privileges| {
        caller.privileges(&path).has_any(any).then_some(Scope::Full).ok_or_else(|| denied(&path))
    };
    match access {
        Access::Anyone | Access::Authenticated | Access::Session => Ok(Scope::Full),
        Access::Datastore { full, own } => {
            let store = params.text("store").unwrap_or_default();
            let path = AclPath::datastore(store, params.text("ns").unwrap_or_default());
            match caller.privileges(&path) {
                granted if granted.has_any(full) => Ok(Scope::Full),
                granted if granted.has_any(own) => Ok(Scope::Own),
                _ => Err(denied(&path)),
            }
        }
        Access::Remote { any } => need(AclPath::remote(params.text("name").unwrap_or_default(), None), any),
        Access::User { others } => {
            let is_own = params.text("userid").is_some_and(|user| user == caller.auth_id().to_string());
            match need(AclPath::users(), others) {
                Err(_) if is_own => Ok(Scope::Own),
                checked => checked,
            }
        }
        Access::At { path, any } => need(path.parse().map_err(|error| ApiError::failed(&error))?, any),
    }
}

#[cfg(test)]
mod tests;
