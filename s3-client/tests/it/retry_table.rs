//! What is retried, and what each failure says about its request: the table in the documentation of `RetryPolicy`.

use coldkeep_s3_client::ops::CopyObject;
use coldkeep_s3_client::{
    AnswerFlaw, CallOptions, Cause, Effect, ErrorCode, HeadObject, Outcome, Pending, RequestError,
    RetryPolicy, S3Operation,
};

use crate::scripted::*;

/// One failure and what follows from it.
struct Row {
    name: &'static str,
    fail: fn() -> Step,
    is_retried: bool,
    /// What a request that changes something has done after it.
    outcome: Expected,
}

#[derive(Clone, Copy)]
enum Expected {
    /// It did nothing.
    Nothing,
    /// It may have been carried out, and will not be any more.
    Maybe,
    /// It may have been carried out, or still be.
    Unclear,
}

use Expected::{Maybe, Nothing, Unclear};

impl Expected {
    fn outcome(self) -> Outcome {
        match self {
            Nothing => Outcome::NONE,
            Maybe => Outcome::new(Effect::Unknown, Pending::No),
            // Signed at the start, with the clock at rest until then.
            Unclear => Outcome::new(Effect::Unknown, Pending::Until(start() + WINDOW)),
        }
    }
}

fn row(name: &'static str, is_retried: bool, outcome: Expected, fail: fn() -> Step) -> Row {
    Row { name, fail, is_retried, outcome }
}

fn table() -> Vec<Row> {
    vec![
        row("not sent", true, Nothing, || Step::NotSent),
        row("connection lost", true, Unclear, || Step::Broken),
        row("no answer in time", true, Unclear, || Step::Stall(31 * SECOND)),
        row("500", true, Unclear, || answer(500).into()),
        row("500 InternalError", true, Unclear, || refusal(500, "InternalError").into()),
        row("500 page", true, Unclear, || page(500).into()),
        row("500 cut", true, Unclear, || {
            answer(500).body("<Error><Co").header("content-length", "9999").cut().into()
        }),
        row("503 SlowDown cut", true, Nothing, || {
            refusal(503, "SlowDown").header("content-length", "9999").cut().into()
        }),
        row("500 of one server for a lost race", true, Unclear, || refusal(500, "UnknownError").into()),
        row("502", true, Unclear, || answer(502).into()),
        row("502 page", true, Unclear, || page(502).into()),
        row("503", true, Unclear, || answer(503).into()),
        row("503 page", true, Unclear, || page(503).into()),
        row("503 ServiceUnavailable", true, Unclear, || refusal(503, "ServiceUnavailable").into()),
        row("503 Retry-After", true, Unclear, || answer(503).header("retry-after", "3").into()),
        row("503 SlowDown", true, Nothing, || refusal(503, "SlowDown").into()),
        row("503 SlowDown Retry-After", true, Nothing, || {
            refusal(503, "SlowDown").header("retry-after", "3").into()
        }),
        row("503 only a code", true, Nothing, || {
            answer(503).body("<Error><Code>SlowDown</Code></Error>").into()
        }),
        row("504", true, Unclear, || answer(504).into()),
        row("504 page", true, Unclear, || page(504).into()),
        row("507 of an unknown kind", false, Unclear, || refusal(507, "Odd").into()),
        row("501", false, Nothing, || answer(501).into()),
        row("501 NotImplemented", false, Nothing, || refusal(501, "NotImplemented").into()),
        row("429", true, Nothing, || answer(429).into()),
        row("429 page", true, Nothing, || page(429).into()),
        row("429 Retry-After", true, Nothing, || answer(429).header("retry-after", "2").into()),
        row("403 of a rate limit", true, Nothing, || refusal(403, "TooManyRequests").into()),
        row("403", false, Nothing, || answer(403).into()),
        row("403 AccessDenied", false, Nothing, || refusal(403, "AccessDenied").into()),
        row("403 SignatureDoesNotMatch", false, Nothing, || refusal(403, "SignatureDoesNotMatch").into()),
        row("403 InvalidAccessKeyId", false, Nothing, || refusal(403, "InvalidAccessKeyId").into()),
        row("403 skewed without a date", false, Nothing, || refusal(403, "RequestTimeTooSkewed").into()),
        row("403 page", true, Unclear, || page(403).into()),
        row("403 page cut", true, Unclear, || page(403).header("content-length", "9999").cut().into()),
        row("403 page without end", false, Unclear, || answer(403).body("<html>".repeat(20_000)).into()),
        row("408", true, Unclear, || answer(408).into()),
        row("409", true, Nothing, || answer(409).into()),
        row("409 of a condition", true, Nothing, || refusal(409, "ConditionalRequestConflict").into()),
        row("409 OperationAborted", true, Nothing, || refusal(409, "OperationAborted").into()),
        row("409 for good", false, Nothing, || refusal(409, "BucketNotEmpty").into()),
        row("412", false, Nothing, || answer(412).into()),
        row("412 PreconditionFailed", false, Nothing, || refusal(412, "PreconditionFailed").into()),
        row("412 cut", false, Nothing, || {
            answer(412).body("<Error>").header("content-length", "9999").cut().into()
        }),
        row("400", false, Nothing, || answer(400).into()),
        row("400 RequestTimeout", true, Unclear, || refusal(400, "RequestTimeout").into()),
        row("400 InvalidArgument", false, Nothing, || refusal(400, "InvalidArgument").into()),
        row("400 only a code", false, Nothing, || {
            answer(400).body("<Error><Code>KeyTooLongError</Code></Error>").into()
        }),
        row("400 BadDigest", false, Maybe, || refusal(400, "BadDigest").into()),
        row("400 wrong payload hash", false, Maybe, || refusal(400, "XAmzContentSHA256Mismatch").into()),
        row("400 wrong region", false, Nothing, || refusal(400, "AuthorizationHeaderMalformed").into()),
        row("400 not XML", true, Unclear, || answer(400).body("no").into()),
        row("404", false, Nothing, || answer(404).into()),
        row("404 NoSuchKey", false, Nothing, || refusal(404, "NoSuchKey").into()),
        row("404 NoSuchBucket", false, Nothing, || refusal(404, "NoSuchBucket").into()),
        row("404 page", true, Unclear, || page(404).into()),
        row("404 cut", true, Unclear, || {
            answer(404).body("<Error>").header("content-length", "9999").cut().into()
        }),
        row("404 NoSuchKey cut", false, Nothing, || {
            refusal(404, "NoSuchKey").header("content-length", "9999").cut().into()
        }),
        row("405", false, Nothing, || answer(405).into()),
        row("301", false, Nothing, || answer(301).header("location", "http://other.example.com/").into()),
        row("307 TemporaryRedirect", false, Nothing, || refusal(307, "TemporaryRedirect").into()),
        row("200 cut", true, Unclear, || {
            answer(200).body("12345").header("content-length", "10").cut().into()
        }),
        row("200 page", true, Unclear, || page(200).into()),
        row("200 text", true, Unclear, || answer(200).body("Service ready").into()),
    ]
}

/// Runs an operation once under each row: without retries for the failure's own outcome, and with them for what follows.
async fn check<O: S3Operation>(op: &O, success: fn() -> Answer, is_checked: impl Fn(&Row) -> bool) {
    for row in table().into_iter().filter(is_checked) {
        let name = row.name;
        let expected = if O::OPERATION.is_read() { Outcome::NONE } else { row.outcome.outcome() };
        let scene = Scene::new([(row.fail)()]);
        let once = CallOptions::new().with_retry(RetryPolicy::never());
        let error = scene.client.send_with(op, &once).await.err().expect(name);
        assert_eq!((error.attempts(), scene.script.count()), (1, 1), "{name}: {error:?}");
        assert_eq!(error.outcome(), expected, "{name}: {error:?}");
        assert_eq!(error.is_retryable(), row.is_retried, "{name}: {error:?}");

        let scene = Scene::new([(row.fail)(), success().into()]);
        let result = scene.client.send(op).await;
        assert_eq!(scene.script.count(), if row.is_retried { 2 } else { 1 }, "{name}");
        match result {
            Ok(reply) => {
                assert!(row.is_retried, "{name}");
                let applied = if O::OPERATION.is_read() { Outcome::NONE } else { Outcome::APPLIED };
                assert_eq!((reply.attempts, reply.outcome), (2, expected.and(applied)), "{name}");
            }
            Err(error) => {
                assert!(!row.is_retried, "{name}: {error:?}");
                assert_eq!((error.attempts(), error.outcome()), (1, expected), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn puts_are_retried_and_judged_by_the_table() {
    check(&put(), || answer(200), |_| true).await;
}

#[tokio::test]
async fn deletes_are_retried_and_judged_by_the_table() {
    check(&delete(), || answer(204), |_| true).await;
}

#[tokio::test]
async fn reads_are_retried_by_the_table_and_change_nothing() {
    // A page with status 200 may be the object.
    check(&get(), || answer(200).body("x"), |row| !["200 page", "200 text"].contains(&row.name)).await;
}

#[tokio::test]
async fn errors_of_head_have_no_body_whatever_their_headers_say() {
    let head = HeadObject::new(key());
    for (status, is_retried) in [(404, false), (403, false), (412, false), (500, true), (503, true)] {
        // A transport that knows its HTTP gives no body; this one shows that nobody waits for it either.
        let fail = || answer(status).header("content-length", "243").stalled(SECOND);
        let scene = Scene::new([fail(), answer(200)]);
        let result = scene.client.send(&head).await;
        assert_eq!(scene.script.count(), 1 + usize::from(is_retried), "{status}");
        assert_eq!(result.is_ok(), is_retried, "{status}");
        assert_eq!(result.err().is_some_and(|error| error.is_not_found()), status == 404);
    }
}

#[tokio::test]
async fn an_error_in_the_body_of_a_success_is_an_error() {
    let copy = CopyObject::new("bucket".parse().unwrap(), key(), key());
    let failed = |code: &str| answer(200).body(format!("<Error><Code>{code}</Code></Error>"));
    let copied = || answer(200).body("<CopyObjectResult><ETag>\"a\"</ETag></CopyObjectResult>");
    let scene = Scene::new([failed("InternalError"), failed("SlowDown"), copied()]);
    let reply = scene.client.send(&copy).await.unwrap();
    assert_eq!(reply.attempts, 3);
    assert_eq!(reply.outcome, Outcome::APPLIED);

    let once = CallOptions::new().with_retry(RetryPolicy::never());
    for code in ["AccessDenied", "SlowDown", "NotImplemented"] {
        let scene = Scene::new([failed(code)]);
        let error = scene.client.send_with(&copy, &once).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::new(Effect::Unknown, Pending::No), "{code}");
    }
    let scene = Scene::new([failed("AccessDenied")]);
    let error = scene.client.send(&copy).await.unwrap_err();
    assert!(error.is_access_denied());
    assert_eq!(error.service_error().unwrap().status(), 200);
}

#[tokio::test]
async fn a_success_without_its_document_is_no_success() {
    let copy = CopyObject::new("bucket".parse().unwrap(), key(), key());
    let once = CallOptions::new().with_retry(RetryPolicy::never());
    for broken in
        [answer(200), page(200), answer(200).body("<CopyObjectResult><ETag>a"), answer(200).body("<x/>")]
    {
        let scene = Scene::new([broken]);
        let error = scene.client.send_with(&copy, &once).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::Xml(_))), "{error:?}");
        assert_eq!(error.outcome(), Unclear.outcome());
    }
}

/// Fails once and returns the error.
async fn refused(fail: Answer) -> RequestError {
    let scene = Scene::new([fail]);
    let error = scene.client.send(&get()).await.unwrap_err();
    assert_eq!(scene.script.count(), 1, "{error:?}");
    error
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_names_the_region() {
    let location = "http://bucket.s3.eu-west-1.example.com/key";
    for status in [301, 307, 308] {
        let redirect =
            || answer(status).header("location", location).header("x-amz-bucket-region", "eu-west-1");
        let xml =
            "<Error><Code>PermanentRedirect</Code><Endpoint>s3.eu-west-1.example.com</Endpoint></Error>";
        for fail in [redirect(), redirect().body(xml), redirect().body("<html>moved</html>")] {
            let error = refused(fail).await;
            let service = error.service_error().unwrap_or_else(|| panic!("{error:?}"));
            assert_eq!((service.code(), service.region()), (&ErrorCode::WrongRegion, Some("eu-west-1")));
        }
    }
    let xml = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>";
    let error = refused(answer(400).body(xml)).await;
    assert_eq!(error.service_error().unwrap().region(), Some("eu-west-1"));
}

#[tokio::test]
async fn a_page_of_a_proxy_never_passes_for_a_missing_object() {
    let once = CallOptions::new().with_retry(RetryPolicy::never());
    let long = "x".repeat(100_000);
    let pages = [
        page(404),
        answer(404).body("not found"),
        answer(404).body(format!("<html>{long}")),
        answer(404).body("<html>").header("content-length", "100000").cut(),
        answer(404).chunks(&["<html>"]).cut(),
        answer(404).body("<html>").header("content-length", "100").stalled(31 * SECOND),
        answer(404).body("<html>").header("content-length", "much"),
    ];
    for (idx, fail) in pages.into_iter().enumerate() {
        let scene = Scene::new([fail]);
        let error = scene.client.send_with(&get(), &once).await.unwrap_err();
        assert!(!error.is_not_found() && error.service_error().is_none(), "{idx}: {error:?}");
    }
    assert!(refused(refusal(404, "NoSuchKey")).await.is_not_found());
    assert!(refused(answer(404)).await.is_not_found());
    assert!(!refused(refusal(404, "NoSuchBucket")).await.is_not_found());
}

#[tokio::test]
async fn facts_of_an_error_are_kept() {
    let date = "Tue, 14 Nov 2023 22:13:25 GMT";
    let error = refused(refusal(403, "AccessDenied").header("date", date)).await;
    assert_eq!(error.date(), Some(start() + 5 * SECOND));
    let service = error.service_error().unwrap();
    assert_eq!((service.status(), service.message(), service.request_id()), (403, "no", Some("R1")));
    let error = refused(answer(403).header("x-amz-request-id", "R2")).await;
    assert_eq!(error.service_error().unwrap().request_id(), Some("R2"));
}
