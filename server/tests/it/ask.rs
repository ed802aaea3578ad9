//! Requests made from what the server's tables say of an endpoint, with good values for all parameters.

use bytes::Bytes;
use coldkeep_server::api::{BodyKind, Description, Kind, Method, Param, Presence};
use http::Request;
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::wire::{BYTES, FORM, JSON, Wire};

/// Good values of parameters that are names or texts: below which path, name, value. The first that fits counts. They name
/// what does not exist where a call that is let through would change it.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("/admin/datastore/{store}/namespace", "name", "made"),
    ("/admin/datastore/{store}/namespace", "ns", "nosuch"),
    ("/admin/datastore/{store}/move-namespace", "ns", "nosuch"),
    ("/config/acl", "path", "/datastore/another"),
    ("/config/datastore", "delete", "comment"),
    ("/config/datastore", "name", "nosuch"),
    ("/config/datastore", "path", "/nonexistent/nosuch"),
    ("/config/datastore", "store", "nosuch"),
    ("/config/job", "delete", "comment"),
    ("/config/job", "store", "nosuch"),
    ("/config/user", "delete", "comment"),
    ("/config/remote", "delete", "comment"),
    ("/config/remote", "name", "nosuch"),
    ("", "access-key", "key"),
    ("", "archive-name", "a.bin.didx"),
    ("", "auth-id", "root@pam"),
    ("", "backup-id", "nosuch"),
    ("", "backend-type", "s3"),
    ("", "backup-type", "host"),
    ("", "bucket", "a-bucket"),
    ("", "comment", "a comment"),
    ("", "csum", DIGEST),
    ("", "digest", DIGEST),
    ("", "digest-list", DIGEST),
    ("", "endpoint", "https://127.0.0.1:1"),
    ("", "file-name", "a.bin.didx"),
    ("", "fingerprint", FINGERPRINT),
    ("", "group-filter", "type:host"),
    ("", "host", "127.0.0.1"),
    ("", "id", "nosuch"),
    ("", "kind", "gc"),
    ("", "new-owner", "root@pam"),
    ("", "node", "localhost"),
    ("", "notes", "some notes"),
    ("", "notify", "always"),
    ("", "notify-secret", "secret"),
    ("", "notify-url", "https://example.com/hook"),
    ("", "ns", ""),
    ("", "owner", "root@pam"),
    ("", "parent", ""),
    ("", "password", "not the password"),
    ("", "path", "/access"),
    ("", "prefix", "a/b"),
    ("", "privs", "Sys.Audit"),
    ("", "region", "us-east-1"),
    ("", "remote", "nosuch"),
    ("", "remote-ns", "far/away"),
    ("", "remote-store", "tank"),
    ("", "reuse-csum", DIGEST),
    ("", "role", "Audit"),
    ("", "run-as", "root@pam"),
    ("", "schedule", "daily"),
    ("", "secret-key", "secret"),
    ("", "statusfilter", "ok"),
    ("", "store", "default"),
    ("", "target-ns", "nosuch"),
    ("", "tfa-challenge", "challenge"),
    ("", "token-name", "nosuch"),
    ("", "typefilter", "backup"),
    ("", "upid", "UPID:pbs1:000004D2:0000A1B2:00000001:6553F100:garbage_collection:store1:root@pam:"),
    ("", "userfilter", "root"),
    ("", "userid", "nosuch@pbs"),
    ("", "username", "root@pam"),
];

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const FINGERPRINT: &str =
    "01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef";

/// A good value of a parameter.
///
/// # Panics
/// If there is none in the table above: a new parameter needs a line there.
#[track_caller]
pub(crate) fn example(endpoint: &Description, param: &Param) -> String {
    let kind = if let Kind::List(of) = param.kind { of } else { &param.kind };
    match kind {
        Kind::Boolean => "true".to_owned(),
        Kind::Integer { min, .. } => min.to_string(),
        _ => {
            let fits = |(below, name, _): &&(&str, &str, &str)| {
                endpoint.path.starts_with(below) && *name == param.name
            };
            let found = EXAMPLES.iter().find(fits);
            let (.., value) = found.unwrap_or_else(|| {
                panic!("{} {}: no example of parameter '{}'", endpoint.method, endpoint.path, param.name)
            });
            (*value).to_owned()
        }
    }
}

/// How parameters travel that do not stand in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Query,
    Form,
    Json,
}

impl Style {
    /// All that an endpoint takes.
    pub(crate) fn of(endpoint: &Description) -> &'static [Self] {
        match endpoint.body {
            BodyKind::Params => &[Self::Query, Self::Form, Self::Json],
            BodyKind::Upload { .. } | BodyKind::Upgrade { .. } => &[Self::Query],
        }
    }

    /// How stock clients send parameters to an endpoint.
    pub(crate) fn stock(endpoint: &Description) -> Self {
        let is_json = endpoint.method == Method::Post && endpoint.body == BodyKind::Params;
        if is_json { Self::Json } else { Self::Query }
    }
}

/// A request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'e> {
    endpoint: &'e Description,
    values: Vec<(String, Value)>,
    is_upgrade: bool,
}

impl<'e> Ask<'e> {
    /// With all parameters that must be given.
    pub(crate) fn required(endpoint: &'e Description) -> Self {
        Self::choose(endpoint, |param| param.presence == Presence::Required)
    }

    /// With all parameters.
    pub(crate) fn all(endpoint: &'e Description) -> Self {
        Self::choose(endpoint, |_| true)
    }

    fn choose(endpoint: &'e Description, wanted: impl Fn(&Param) -> bool) -> Self {
        let params = endpoint.params.iter().filter(|param| wanted(param));
        let value = |param: &Param| match param.kind {
            Kind::List(_) => json!([example(endpoint, param)]),
            _ => json!(example(endpoint, param)),
        };
        let values = params.map(|param| (param.name.to_owned(), value(param))).collect();
        Self { endpoint, values, is_upgrade: false }
    }

    /// With one parameter of another value, or one more.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self = self.without(name);
        self.values.push((name.to_owned(), value.into()));
        self
    }

    /// As [`Ask::with`] where the endpoint has such a parameter.
    pub(crate) fn with_known(self, name: &str, value: &str) -> Self {
        let is_known = self.endpoint.params.iter().any(|param| param.name == name);
        if is_known { self.with(name, value) } else { self }
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.values.retain(|(known, _)| known != name);
        self
    }

    /// With a variable of the path once more outside of it.
    pub(crate) fn with_twice(mut self, name: &str) -> Self {
        self.values.push((name.to_owned(), "again".into()));
        self
    }

    /// With the headers of an upgrade, where the endpoint is one.
    pub(crate) fn upgrading(mut self) -> Self {
        self.is_upgrade = true;
        self
    }

    /// Path and query, and the body with its type.
    pub(crate) fn parts(&self, prefix: &str, style: Style) -> (String, &'static str, Bytes) {
        let mut path = format!("{prefix}{}", self.endpoint.path);
        let mut rest = Vec::new();
        for (name, value) in &self.values {
            let variable = format!("{{{name}}}");
            match value {
                Value::String(text) if path.contains(&variable) => {
                    path = path.replace(&variable, &encoded(text));
                }
                _ => rest.push((name.as_str(), value)),
            }
        }
        let body = Bytes::from_static(b"no blob");
        match (style, self.endpoint.body) {
            (_, BodyKind::Upload { .. }) => (format!("{path}?{}", form(&rest)), BYTES, body),
            (Style::Query, _) if rest.is_empty() => (path, FORM, Bytes::new()),
            (Style::Query, _) => (format!("{path}?{}", form(&rest)), FORM, Bytes::new()),
            (Style::Form, _) => (path, FORM, form(&rest).into()),
            (Style::Json, _) => {
                let object: Map<String, Value> =
                    rest.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())).collect();
                (path, JSON, Value::from(object).to_string().into())
            }
        }
    }

    pub(crate) fn request(&self, wire: &Wire, style: Style) -> Request<Full<Bytes>> {
        let (path, content_type, body) = self.parts("/api2/json", style);
        let method = http::Method::from_bytes(self.endpoint.method.as_str().as_bytes()).unwrap();
        let mut request = wire.request(method, &path, content_type, body);
        if let (true, BodyKind::Upgrade { protocol }) = (self.is_upgrade, self.endpoint.body) {
            request.headers_mut().insert("connection", "upgrade".parse().unwrap());
            request.headers_mut().insert("upgrade", protocol.parse().unwrap());
        }
        request
    }
}

fn form(values: &[(&str, &Value)]) -> String {
    let mut pairs = Vec::new();
    for (name, value) in values {
        let texts = value.as_array().map_or(std::slice::from_ref(*value), Vec::as_slice);
        for text in texts {
            let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
            pairs.push(format!("{}={}", encoded(name), encoded(&text)));
        }
    }
    pairs.join("&")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
