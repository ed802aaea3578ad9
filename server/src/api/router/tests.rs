//! Requests as stock clients send them, and requests as they should not be.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use super::*;
use crate::api::{Kind, Param, Reply};
use crate::auth::{Acl, AclEntry, Role};

static ENDPOINTS: &[Endpoint<str>] = &[
    Endpoint {
        method: Method::Get,
        path: "/datastore/{store}/notes",
        doc: "",
        params: &[
            Param::required("store", Kind::Text { bytes_max: 32 }, ""),
            Param::optional("ns", Kind::Text { bytes_max: 256 }, ""),
            Param::optional("text", Kind::Text { bytes_max: 8 }, ""),
        ],
        body: BodyKind::Params,
        access: Access::Datastore { full: Privileges::DATASTORE_AUDIT, own: Privileges::DATASTORE_BACKUP },
        handler: |call| Box::pin(show(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/notes",
        doc: "",
        params: &[Param::required("text", Kind::Text { bytes_max: 1 << 20 }, "")],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(length(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/upload",
        doc: "",
        params: &[],
        body: BodyKind::Upload { bytes_max: 4 },
        access: Access::Session,
        handler: |call| Box::pin(upload(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/open",
        doc: "",
        params: &[],
        body: BodyKind::Params,
        access: Access::Anyone,
        handler: |call| Box::pin(async move { Reply::json(&call.caller.is_nobody()) }),
    },
    Endpoint {
        method: Method::Get,
        path: "/switch",
        doc: "",
        params: &[],
        body: BodyKind::Upgrade { protocol: "test-v1" },
        access: Access::At { path: "/system", any: Privileges::SYS_AUDIT },
        handler: |mut call| Box::pin(async move { call.take_upgrade().map(|_| Reply::switch_to("test-v1")) }),
    },
];

async fn show(call: Call<str>) -> Result<Reply, ApiError> {
    let text: Option<String> = call.params.find("text")?;
    Reply::json(&format!(
        "{} {} {:?} {text:?}",
        &*call.state,
        call.params.get::<String>("store")?,
        call.scope
    ))
}

async fn length(call: Call<str>) -> Result<Reply, ApiError> {
    Reply::json(&call.params.text("text").map(str::len))
}

async fn upload(mut call: Call<str>) -> Result<Reply, ApiError> {
    Reply::json(&call.take_upload()?.discard().await?)
}

struct Nobody;

impl Admit for Nobody {
    async fn admit(&self, _head: &Parts) -> Result<Caller, ApiError> {
        Err(ApiError::unauthorized("no credentials"))
    }
}

fn backup_user() -> Caller {
    let mut acl = Acl::default();
    let path = "/datastore/s1".parse().unwrap();
    acl.add(AclEntry { path, who: "al@pbs".parse().unwrap(), role: Role::DatastoreBackup, propagate: true });
    Caller::authenticated("al@pbs".parse().unwrap(), Arc::new(acl))
}

async fn ask(admit: &impl Admit, request: http::request::Builder, body: &str) -> (u16, String) {
    let router = Router::new(&["api2", "json"], &[ENDPOINTS]);
    let room = UploadRoom::new(64, Duration::from_secs(1));
    let body =
        Full::new(Bytes::copy_from_slice(body.as_bytes())).map_err(|never| match never {}).boxed_unsync();
    let response = router.dispatch(request.body(body).unwrap(), Arc::from("state"), admit, &room).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn get(uri: &str) -> http::request::Builder {
    Request::get(uri).header(CONTENT_TYPE, "application/x-www-form-urlencoded")
}

#[tokio::test]
async fn double_slashes_and_a_bare_question_mark_are_fine() {
    let root = Caller::local_root();
    for uri in [
        "//api2/json/datastore/s1/notes?",
        "/api2/json//datastore/s%31/notes",
        "/api2/json/datastore/s1/notes/?_dc=1",
    ] {
        assert_eq!(ask(&root, get(uri), "").await, (200, r#"{"data":"state s1 Full None"}"#.into()), "{uri}");
    }
}

#[tokio::test]
async fn form_bodies_are_merged_with_the_query_and_json_bodies_replace_it() {
    let root = Caller::local_root();
    let post = |kind: &str| Request::post("/api2/json/notes?text=abc").header(CONTENT_TYPE, kind.to_owned());
    assert_eq!(ask(&root, post("application/x-www-form-urlencoded"), "").await.1, r#"{"data":3}"#);
    assert_eq!(ask(&root, post("application/x-www-form-urlencoded"), "text=x").await.0, 400, "given twice");
    assert_eq!(
        ask(&root, post("application/json; charset=utf-8"), r#"{"text":"abcde"}"#).await.1,
        r#"{"data":5}"#
    );
    assert_eq!(ask(&root, post("application/json"), "").await.0, 400, "the query was used");
    assert_eq!(ask(&root, post("text/plain"), "").await.0, 400);
    let plain = Request::post("/api2/json/notes");
    assert_eq!(ask(&root, plain, "text=ab").await.1, r#"{"data":2}"#, "no content type is a form");
}

#[tokio::test]
async fn bodies_and_uris_are_bounded() {
    let root = Caller::local_root();
    let json = |bytes: usize| format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes - 11));
    let post = || Request::post("/api2/json/notes").header(CONTENT_TYPE, "application/json");
    assert_eq!(ask(&root, post(), &json(PARAMS_BODY_BYTES_LIMIT - 1)).await.0, 200);
    assert_eq!(ask(&root, post(), &json(PARAMS_BODY_BYTES_LIMIT)).await.0, 400);
    let uri = |bytes: usize| format!("/api2/json/open?_dc={}", "x".repeat(bytes - 20));
    assert_eq!(ask(&root, get(&uri(URI_BYTES_MAX)), "").await.0, 200);
    assert_eq!(ask(&root, get(&uri(URI_BYTES_MAX + 1)), "").await.0, 414);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_404_but_only_for_those_with_credentials() {
    let root = Caller::local_root();
    for request in [
        get("/api2/json/nothing"),
        get("/api2/json/notes"),
        get("/api2/json/"),
        get("/open"),
        Request::head("/api2/json/open"),
    ] {
        assert_eq!(ask(&root, request, "").await.0, 404);
    }
    assert_eq!(ask(&Nobody, get("/api2/json/nothing"), "").await.0, 401);
    assert_eq!(ask(&Nobody, get("/api2/json/datastore/s1/notes"), "").await.0, 401);
    assert_eq!(ask(&Nobody, get("/api2/json/open"), "").await, (200, r#"{"data":true}"#.into()));
}

#[tokio::test]
async fn parameters_are_checked_against_the_table() {
    let root = Caller::local_root();
    for (query, expected) in
        [("x=1", "'x'"), ("text=123456789", "'text'"), ("store=s2", "'store'"), ("text=a&text=b", "'text'")]
    {
        let (status, message) = ask(&root, get(&format!("/api2/json/datastore/s1/notes?{query}")), "").await;
        assert_eq!(status, 400);
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn own_privileges_narrow_the_scope_and_missing_ones_are_403() {
    let caller = backup_user();
    let (status, body) = ask(&caller, get("/api2/json/datastore/s1/notes?ns=a%2Fb"), "").await;
    assert_eq!((status, body.as_str()), (200, r#"{"data":"state s1 Own None"}"#));
    assert_eq!(ask(&caller, get("/api2/json/datastore/s2/notes"), "").await.0, 403);
    assert_eq!(ask(&caller, get("/api2/json/switch").header(UPGRADE, "test-v1"), "").await.0, 403);
}

#[tokio::test]
async fn an_upgrade_needs_its_exact_header() {
    let root = Caller::local_root();
    assert_eq!(ask(&root, get("/api2/json/switch"), "").await.0, 400);
    assert_eq!(ask(&root, get("/api2/json/switch").header(UPGRADE, "test-v2"), "").await.0, 400);
    assert_eq!(ask(&root, get("/api2/json/switch").header(UPGRADE, "test-v1"), "").await.0, 101);
}

#[tokio::test]
async fn uploads_of_any_type_are_bounded_by_their_endpoint() {
    let root = Caller::local_root();
    let post =
        || Request::post("/api2/json/upload").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    assert_eq!(ask(&root, post(), "abcd").await, (200, r#"{"data":4}"#.into()));
    assert_eq!(ask(&root, post(), "abcde").await.0, 400);
}

#[test]
fn every_path_variable_is_described_as_a_required_parameter() {
    crate::api::assert_tables_are_sound(ENDPOINTS);
    crate::api::router()
        .endpoints()
        .for_each(|endpoint| crate::api::assert_tables_are_sound(std::slice::from_ref(endpoint)));
}
