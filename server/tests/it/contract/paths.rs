//! Paths, methods, and the bounds of URIs and bodies.

use http::Method;

use super::{
    Ask, BodyKind, Description, Style, TestServer, Value, content, description, is_bad_parameter, json,
};

const URI_BYTES_MAX: usize = 3072;
const BODY_BYTES_LIMIT: usize = 512 * 1024;

fn path_of(endpoint: &Description) -> (String, String) {
    let (path, ..) = Ask::required(endpoint).parts("/api2/json", Style::Query);
    let (path, query) = path.split_once('?').map_or((path.as_str(), ""), |(path, query)| (path, query));
    (path.to_owned(), query.to_owned())
}

fn method_of(endpoint: &Description) -> Method {
    Method::from_bytes(endpoint.method.as_str().as_bytes()).unwrap()
}

#[tokio::test]
async fn every_path_collapses_empty_components_and_refuses_dots_and_others_are_unknown() {
    let server = TestServer::start().await;
    let nobody = server.user("no@pbs", "NoAccess").await;
    let endpoints = description::rest();
    let mut line = nobody.line().await;
    for endpoint in &endpoints {
        let (path, query) = path_of(endpoint);
        let mut ask = async |method: Method, path: &str| {
            line.send(nobody.request(
                method,
                &format!("{path}?{query}"),
                crate::wire::FORM,
                bytes::Bytes::new(),
            ))
            .await
        };
        let plain = ask(method_of(endpoint), &path).await;
        assert_ne!(plain.status, 404, "{endpoint:?}");
        let slashed = ask(method_of(endpoint), &format!("{}//", path.replace('/', "//"))).await;
        assert_eq!((slashed.status, slashed.text()), (plain.status, plain.text()), "{endpoint:?}");
        for (i, component) in path.split('/').enumerate().skip(1) {
            for dotted in [".", "..", ".x", "%2e%2e", "%2Ex"] {
                let mut components: Vec<&str> = path.split('/').collect();
                components[i] = dotted;
                let answer = ask(method_of(endpoint), &components.join("/")).await;
                assert_eq!(
                    answer.status,
                    400,
                    "{endpoint:?} with {dotted} for {component}: {}",
                    answer.text()
                );
                components.insert(i, component);
                assert_eq!(ask(method_of(endpoint), &components.join("/")).await.status, 400, "{endpoint:?}");
            }
        }
        assert_eq!(ask(method_of(endpoint), &format!("{path}/nosuch/x")).await.status, 404, "{endpoint:?}");
        let known = |method: &Method| {
            let same =
                |one: &&Description| one.path == endpoint.path && one.method.as_str() == method.as_str();
            endpoints.iter().any(|one| same(&one))
        };
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS]
        {
            if !known(&method) {
                assert_eq!(ask(method.clone(), &path).await.status, 404, "{method} {}", endpoint.path);
            }
        }
    }
    nobody.get("/api2/extjs/version").await.refused(404, "extjs");
    nobody.get("/api2/json").await.refused(404, "");
}

/// Goal: URIs and bodies are bounded for every endpoint, at exactly the bound. Method: good requests filled up to it.
#[tokio::test]
async fn every_endpoint_bounds_uri_and_body() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let nobody = server.user("no@pbs", "NoAccess").await;
    let before = content(server.folder());
    for endpoint in description::rest() {
        let (path, query) = path_of(&endpoint);
        let filled = |bytes: usize| {
            let start = format!("{path}?{query}&_dc=");
            format!("{start}{}", "x".repeat(bytes - start.len()))
        };
        // Without privileges, lest what fits be done.
        let mut line = nobody.line().await;
        for (bytes, is_refused) in [(URI_BYTES_MAX, false), (URI_BYTES_MAX + 1, true)] {
            let uri = filled(bytes);
            let request = nobody.request(method_of(&endpoint), &uri, crate::wire::FORM, bytes::Bytes::new());
            let answer = line.send(request).await;
            assert_eq!(answer.status == 414, is_refused, "{endpoint:?}: {bytes} bytes: {}", answer.text());
            assert!(!is_bad_parameter(&answer), "{endpoint:?}: {}", answer.text());
        }
        if endpoint.body != BodyKind::Params {
            continue;
        }
        let (path, content_type, body) = Ask::required(&endpoint).parts("/api2/json", Style::Json);
        let body: Value = serde_json::from_slice(&body).unwrap();
        let filled = |bytes: usize| {
            let text = body.to_string();
            let rest = bytes - text.len();
            text + &" ".repeat(rest)
        };
        for (wire, bytes, is_refused) in [
            (&nobody, BODY_BYTES_LIMIT - 1, false),
            (&root, BODY_BYTES_LIMIT, true),
            (&root, BODY_BYTES_LIMIT * 4, true),
        ] {
            let request = wire.request(method_of(&endpoint), &path, content_type, filled(bytes).into());
            let answer = wire.send(request).await;
            let is_too_long = answer.status == 400 && answer.text().contains("longer than");
            assert_eq!(is_too_long, is_refused, "{endpoint:?}: {bytes} bytes: {}", answer.text());
        }
    }
    assert!(content(server.folder()) == before, "something was changed");
    root.post_json("/api2/json/version", &json!({})).await.refused(404, "version");
}
