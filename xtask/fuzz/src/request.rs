//! Requests, from the first line to the typed parameters of a handler.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coldkeep_server::api::{
    Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply, RequestBody, Router, UploadRoom,
};
use coldkeep_server::auth::Caller;
use http_body_util::{BodyExt, Full};

/// Every kind of parameter and body that the real tables use, in front of handlers that only look at them.
static ENDPOINTS: &[Endpoint<()>] = &[
    Endpoint {
        method: Method::Post,
        path: "/admin/{store}/things",
        doc: "Takes parameters.",
        params: &[
            Param::required("store", Kind::Text { bytes_max: 32 }, "A path variable."),
            Param::optional("flag", Kind::Boolean, "A boolean."),
            Param::with_default("limit", Kind::Integer { min: 1, max: 1000 }, "50", "A number."),
            Param::optional("digest-list", Kind::List(&Kind::Text { bytes_max: 64 }), "A list of texts."),
            Param::optional(
                "offset-list",
                Kind::List(&Kind::Integer { min: 0, max: i64::MAX }),
                "A list of numbers.",
            ),
        ],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(parameters(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/chunk",
        doc: "Takes data.",
        params: &[Param::required("size", Kind::Integer { min: 1, max: 16 << 20 }, "Bytes.")],
        body: BodyKind::Upload { bytes_max: 1 << 16 },
        access: Access::Session,
        handler: |call| Box::pin(upload(call)),
    },
];

async fn parameters(call: Call<()>) -> Result<Reply, ApiError> {
    let limit: i64 = call.params.get("limit")?;
    assert!((1..=1000).contains(&limit));
    let store: String = call.params.get("store")?;
    assert!(store.len() <= 32 && !store.contains('\0'));
    call.params.find::<bool>("flag")?;
    for digest in call.params.list::<String>("digest-list")? {
        assert!(digest.len() <= 64);
    }
    for offset in call.params.list::<i64>("offset-list")? {
        assert!(offset >= 0);
    }
    Reply::json(&store)
}

async fn upload(mut call: Call<()>) -> Result<Reply, ApiError> {
    let size: usize = call.params.get("size")?;
    let uploaded = call.take_upload()?.read_exact(size).await?;
    assert_eq!(uploaded.bytes().len(), size);
    Reply::json(&size)
}

/// Reads the input as `METHOD TARGET`, a line with the content type, and the body; sends it through the router.
pub fn check(input: &[u8]) {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let (Some(line), Some(content_type), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    let Some(space) = line.iter().position(|byte| *byte == b' ') else { return };
    let body = Full::new(Bytes::copy_from_slice(body)).map_err(|never| match never {});
    let request = http::Request::builder()
        .method(&line[..space])
        .uri(&line[space + 1..])
        .header("content-type", content_type)
        .body(RequestBody::new(body));
    // What hyper itself refuses never reaches the router.
    let Ok(request) = request else { return };
    let router = Router::new(&["api2", "json"], &[ENDPOINTS]);
    let room = UploadRoom::new(1 << 20, Duration::from_secs(5));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    let response = runtime.block_on(router.dispatch(request, Arc::new(()), &Caller::nobody(), &room));
    let status = response.status().as_u16();
    assert!(matches!(status, 200 | 400 | 401 | 403 | 404 | 414), "{status}");
}
