//! Parameters of the REST API.

use super::faults::edges;
use super::{
    Answer, Ask, BodyKind, Description, Fault, Kind, Line, Param, Presence, QUERY_TEXT_BYTES_MAX, Style,
    TestServer, Value, Wire, content, description, faults_of, is_bad_parameter, is_variable, json,
};

const TASKS: &str = "/api2/json/nodes/localhost/tasks";

/// What was answered otherwise than with 400 and the name of the parameter.
struct Faults<'w> {
    wire: &'w Wire,
    line: Line,
    found: Vec<String>,
    asked: usize,
}

impl<'w> Faults<'w> {
    async fn new(wire: &'w Wire) -> Self {
        Self { wire, line: wire.line().await, found: Vec::new(), asked: 0 }
    }

    async fn ask(&mut self, ask: &Ask<'_>, style: Style) -> Answer {
        self.asked += 1;
        self.line.send(ask.request(self.wire, style)).await
    }

    /// Expects a refusal that names the parameter.
    async fn expect(&mut self, endpoint: &Description, ask: &Ask<'_>, style: Style, named: &str) {
        let answer = self.ask(ask, style).await;
        if answer.status != 400 || !answer.text().contains(&format!("'{named}'")) {
            let (status, text) = (answer.status, answer.text());
            let what = format!("{endpoint:?} ({style:?}) '{named}' in {ask:?}");
            self.found.push(format!("{what:.400}: {status} {text:.200}"));
        }
    }

    #[track_caller]
    fn assert_none(&self, asked_min: usize) {
        assert!(self.found.is_empty(), "{}", self.found.join("\n"));
        assert!(self.asked > asked_min, "only {} requests", self.asked);
    }
}

/// Values of path variables cannot be all things: empty ones are no component, and dots and NUL are the path's matter.
fn fits_variable(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && !text.contains('\0'))
}

fn fits_query(value: &Value) -> bool {
    let len = |text: &Value| text.as_str().map_or(0, str::len);
    value.as_array().map_or(len(value), |texts| texts.iter().map(len).sum()) <= QUERY_TEXT_BYTES_MAX
}

/// Names that are nearly any text.
fn is_fine(param: &Param, value: &Value) -> bool {
    let texts = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    texts.iter().filter_map(Value::as_str).any(|text| match param.name {
        "notify-secret" => !text.contains(char::is_control),
        "prefix" => text.starts_with("x y"),
        _ => false,
    })
}

fn can_tell(endpoint: &Description, param: &Param, fault: &Fault, style: Style) -> bool {
    let is_variable = is_variable(endpoint, param);
    fault.styles.contains(&style)
        && (!is_variable || fits_variable(&fault.value))
        && (style != Style::Query && !is_variable || fits_query(&fault.value))
}

/// Goal: no wrong parameter gets past the table, whoever sends it, and none does anything. Method: `root@pam` sends each
/// endpoint a good request with one fault, in each style; the files of the server are compared, and the number of tasks.
#[tokio::test]
async fn every_wrong_parameter_is_refused_by_name_and_changes_nothing() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let before = (content(server.folder()), root.get(TASKS).await.json()["total"].clone());
    let mut faults = Faults::new(&root).await;
    for endpoint in description::rest() {
        for style in Style::of(&endpoint) {
            let good = Ask::required(&endpoint);
            faults.expect(&endpoint, &good.clone().with("nosuch", "1"), *style, "nosuch").await;
            for param in endpoint.params {
                let name = param.name;
                if is_variable(&endpoint, param) {
                    // Given a second time outside of the path.
                    let twice = Ask::required(&endpoint).with_twice(name);
                    faults.expect(&endpoint, &twice, *style, name).await;
                } else if param.presence == Presence::Required {
                    faults.expect(&endpoint, &good.clone().without(name), *style, name).await;
                }
                for fault in faults_of(&endpoint, param) {
                    if !is_fine(param, &fault.value) && can_tell(&endpoint, param, &fault, *style) {
                        faults.expect(&endpoint, &good.clone().with(name, fault.value), *style, name).await;
                    }
                }
            }
        }
    }
    faults.assert_none(3000);
    let after = (content(server.folder()), root.get(TASKS).await.json()["total"].clone());
    assert_eq!(before.1, after.1, "a task was started");
    let changed: Vec<_> = after.0.iter().filter(|(path, bytes)| before.0.get(*path) != Some(bytes)).collect();
    assert!(changed.is_empty() && before.0.len() == after.0.len(), "{changed:?}");
}

/// Goal: what the table allows is taken, up to its limits. Method: a user without privileges sends each endpoint all
/// parameters, then each at the edge of its range; nothing is refused for a parameter, and what asks for a privilege is 403.
#[tokio::test]
async fn every_good_parameter_is_taken_up_to_its_limits() {
    let server = TestServer::start().await;
    let nobody = server.user("no@pbs", "NoAccess").await;
    let mut faults = Faults::new(&nobody).await;
    for endpoint in description::rest() {
        for style in Style::of(&endpoint) {
            let mut asks = vec![Ask::all(&endpoint), Ask::required(&endpoint)];
            for param in endpoint.params.iter().filter(|param| !is_variable(&endpoint, param)) {
                for value in edges(&param.kind) {
                    if *style != Style::Query || value.len() <= QUERY_TEXT_BYTES_MAX {
                        let value =
                            if matches!(param.kind, Kind::List(_)) { json!([value]) } else { json!(value) };
                        asks.push(Ask::required(&endpoint).with(param.name, value));
                    }
                }
            }
            // Each costs a hash.
            asks.truncate(if endpoint.path == "/access/ticket" { 3 } else { usize::MAX });
            for ask in asks {
                let answer = faults.ask(&ask, *style).await;
                let is_denied = answer.status == 403 || answer.text().contains("permission check failed");
                if is_bad_parameter(&answer) || (asks_for_privilege(&endpoint) && !is_denied) {
                    let text = answer.text();
                    faults
                        .found
                        .push(format!("{endpoint:?} ({style:?}) {ask:.300?}: {} {text:.200}", answer.status));
                }
            }
        }
    }
    faults.assert_none(500);
}

fn asks_for_privilege(endpoint: &Description) -> bool {
    use coldkeep_server::api::Access;
    !matches!(endpoint.access, Access::Anyone | Access::Authenticated)
}

/// Form bodies are merged with the query, JSON bodies replace it, other types are refused, and `_dc` is nobody's parameter.
#[tokio::test]
async fn query_form_and_json_are_taken_as_stock_servers_do() {
    let server = TestServer::start().await;
    let nobody = server.user("no@pbs", "NoAccess").await;
    let mut line = nobody.line().await;
    for endpoint in description::rest().into_iter().filter(|one| one.body == BodyKind::Params) {
        let method = http::Method::from_bytes(endpoint.method.as_str().as_bytes()).unwrap();
        let good = Ask::required(&endpoint);
        let mut send = async |path: &str, content_type: &str, body: bytes::Bytes| {
            let mut request = nobody.request(method.clone(), path, content_type, body);
            if content_type.is_empty() {
                request.headers_mut().remove("content-type");
            }
            line.send(request).await
        };
        let (path, json_type, body) = good.parts("/api2/json", Style::Json);
        let answer = send(&format!("{path}?nosuch=1"), json_type, body.clone()).await;
        assert!(!is_bad_parameter(&answer), "{endpoint:?}: the query counts beside JSON: {}", answer.text());
        let typed = "Application/JSON; charset=UTF-8";
        assert!(!is_bad_parameter(&send(&path, typed, body.clone()).await), "{endpoint:?}");
        send(&path, "text/plain", body).await.refused(400, "content type");
        for (text, named) in [("[1]", "object"), ("{", "JSON"), ("null", "object"), ("\"a\"", "object")] {
            send(&path, json_type, text.into()).await.refused(400, named);
        }
        let (path, form_type, body) = good.parts("/api2/json", Style::Form);
        assert!(!is_bad_parameter(&send(&format!("{path}?_dc=17"), form_type, body.clone()).await));
        assert!(!is_bad_parameter(&send(&path, "", body.clone()).await), "{endpoint:?}: no type is a form");
        send(&format!("{path}?nosuch=1"), form_type, body).await.refused(400, "'nosuch'");
        send(&path, form_type, bytes::Bytes::from_static(b"a=%ff")).await.refused(400, "UTF-8");
        send(&path, form_type, bytes::Bytes::from_static(b"a=\xff")).await.refused(400, "UTF-8");
    }
}
