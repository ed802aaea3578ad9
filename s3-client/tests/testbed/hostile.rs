//! Answers that are none of S3: each is a typed error, in bounded time and memory, and the client stays usable.

use bytes::Bytes;
use coldkeep_s3_client::ops::{DeleteObjects, ListObjectsV2, S3Operation};
use coldkeep_s3_client::{
    AnswerFlaw, Cause, DeleteObject, Effect, ErrorCode, GetObject, HeadObject, Operation, Outcome,
    RequestError, XmlError,
};
use coldkeep_s3_testbed::{Answer, Fault, MemoryS3};

use crate::scene::*;
use crate::writes::Write;

/// Asks while every answer is this one; returns the error of the last of 2 attempts and checks that the client is usable afterwards.
async fn ask<O: S3Operation>(op: &O, fault: Fault) -> (Scene, RequestError) {
    let scene = Scene::new().await;
    scene.proxy.always(|_| true, fault);
    let Err(error) = scene.client.send_with(op, &tries(2)).await else { panic!("taken for an answer") };
    scene.proxy.clear();
    scene.client.send(&put("k", "new")).await.unwrap();
    assert_eq!(scene.held("k").as_deref(), Some("new"));
    (scene, error)
}

async fn list_answered(body: impl Into<Bytes>) -> RequestError {
    ask(&ListObjectsV2::new(), Fault::Answer(Answer::new(200, body))).await.1
}

/// The flaw of the XML, whichever way it was found.
fn xml_error(error: &RequestError) -> &XmlError {
    match error.cause() {
        Cause::Malformed(AnswerFlaw::Xml(xml) | AnswerFlaw::NoErrorDocument { source: xml, .. }) => xml,
        other => panic!("{other:?}"),
    }
}

const PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>";

#[tokio::test]
async fn xml_bombs_and_entity_tricks_are_refused() {
    let laughs =
        "<!DOCTYPE r [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><ListBucketResult>&b;</ListBucketResult>";
    let file =
        "<!DOCTYPE r [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><ListBucketResult>&f;</ListBucketResult>";
    for bomb in [laughs, file] {
        assert!(matches!(xml_error(&list_answered(bomb).await), XmlError::Doctype { .. }));
    }
    let reference = "<ListBucketResult><Prefix>&b;</Prefix></ListBucketResult>";
    assert!(matches!(xml_error(&list_answered(reference).await), XmlError::Reference { .. }));
    let deep = format!("<ListBucketResult>{}", "<a>".repeat(100_000));
    assert!(matches!(xml_error(&list_answered(deep).await), XmlError::TooDeep { .. }));
    let long = format!("<ListBucketResult><NextContinuationToken>{}", "x".repeat(1 << 20));
    assert!(matches!(xml_error(&list_answered(long).await), XmlError::TooLong { .. }));
}

#[tokio::test]
async fn documents_that_are_cut_empty_or_others_are_refused() {
    assert!(matches!(xml_error(&list_answered("").await), XmlError::Empty));
    assert!(matches!(xml_error(&list_answered(" \n").await), XmlError::Empty));
    assert!(matches!(xml_error(&list_answered(PAGE).await), XmlError::HtmlPage));
    assert!(matches!(xml_error(&list_answered("{\"ok\":true}").await), XmlError::NotXml { .. }));
    assert!(matches!(xml_error(&list_answered("<ListBucketResult><Con").await), XmlError::Truncated { .. }));
    assert!(matches!(xml_error(&list_answered("<Other></Other>").await), XmlError::UnexpectedRoot { .. }));
    let not_utf8 = Bytes::from_static(b"<ListBucketResult>\xff\xfe</ListBucketResult>");
    assert!(matches!(xml_error(&list_answered(not_utf8).await), XmlError::NotUtf8 { .. }));
    let twice = "<ListBucketResult></ListBucketResult><ListBucketResult></ListBucketResult>";
    assert!(matches!(xml_error(&list_answered(twice).await), XmlError::TrailingContent { .. }));
}

/// Goal: a good status without its document is no success of a write, and what happened is not known.
#[tokio::test]
async fn an_empty_body_or_a_page_is_no_success_of_a_write() {
    for body in ["", PAGE] {
        for write in [Write::MultiDelete, Write::Complete, Write::Copy] {
            let scene = Scene::new().await;
            let answer = Fault::AnswerAfter(Answer::new(200, body));
            let ended = scene.write_with(write, &tries(1), |scene| scene.then([answer])).await;
            let error = ended.error.unwrap();
            assert!(matches!(xml_error(&error), XmlError::Empty | XmlError::HtmlPage), "{write:?}");
            assert_eq!((ended.attempts, ended.outcome), (1, unknown_and_pending()), "{write:?}");
            assert!(scene.has_effect(write), "{write:?}");
        }
    }
    for write in [Write::Put, Write::PutIfAbsent, Write::Delete] {
        let scene = Scene::new().await;
        let page = Fault::Answer(Answer::new(200, PAGE));
        let ended = scene.write_with(write, &tries(1), |scene| scene.then([page])).await;
        assert!(matches!(xml_error(&ended.error.unwrap()), XmlError::HtmlPage), "{write:?}");
        assert_eq!(ended.outcome, unknown_and_pending(), "{write:?}");
        assert!(!scene.has_effect(write), "{write:?}");
    }
}

#[tokio::test]
async fn pages_of_a_proxy_are_no_word_of_the_service() {
    for status in [400, 403, 404, 407] {
        let (_, error) = ask(&get("k"), Fault::Answer(Answer::new(status, PAGE))).await;
        assert!(matches!(xml_error(&error), XmlError::HtmlPage), "{status}");
        assert!(!error.is_not_found(), "{status}");
        let deletes = DeleteObjects::new([key("k")]);
        let (_, error) = ask(&deletes, Fault::Answer(Answer::new(status, PAGE))).await;
        assert_eq!(error.outcome().effect(), Effect::Unknown, "{status}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_left_at_the_bound() {
    let read = |scene: &Scene, operation| scene.client.stats().operations[&operation].bytes_received;

    let (scene, error) = ask(&ListObjectsV2::new(), Fault::endless_body("<ListBucketResult>")).await;
    let Cause::Malformed(AnswerFlaw::TooLong { limit }) = error.cause() else { panic!("{error:?}") };
    assert_eq!(error.attempts(), 1, "the next one would be no shorter");
    assert!(read(&scene, Operation::ListObjectsV2) <= limit + (1 << 20));

    // A body that only the end of its connection ends could be cut unnoticed, and so is not read at all.
    let (scene, error) = ask(&get("k"), Fault::endless_body("")).await;
    assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::UnknownLength)), "{error:?}");
    assert_eq!(read(&scene, Operation::GetObject), 0);

    for status in [403, 500] {
        let start = format!("HTTP/1.1 {status} No\r\n\r\n<Error><Code>");
        let fault = Fault::Endless { start: start.into(), unit: Bytes::from(vec![b'x'; 16 << 10]) };
        let (scene, error) = ask(&DeleteObject::new(key("k")), fault).await;
        match error.cause() {
            Cause::Refused(refused) => assert_eq!(refused.status(), status),
            // No error document of the service is that long: not its word, then.
            Cause::Malformed(AnswerFlaw::TooLong { .. }) => assert!(error.outcome().is_unclear()),
            other => panic!("{status}: {other:?}"),
        }
        assert!(read(&scene, Operation::DeleteObject) <= 2 * ((64 << 10) + (1 << 20)));
    }
}

#[tokio::test]
async fn chunks_without_end_are_left_at_the_bound() {
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"x\"\r\n\r\n";
    let unit = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let fault = Fault::Endless { start: start.into(), unit: unit.into() };
    let (scene, error) = ask(&get("k").with_bytes_max(1 << 20), fault).await;
    assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::TooLong { limit: 1_048_576 })), "{error:?}");
    let received = scene.client.stats().operations[&Operation::GetObject].bytes_received;
    assert!(received <= 2 << 20, "{received}");
}

#[tokio::test]
async fn headers_without_end_and_garbage_are_errors_of_the_connection() {
    let unit = Bytes::from(vec![b'x'; 16 << 10]);
    let faults = [
        Fault::endless_headers(),
        Fault::Endless { start: "HTTP/1.1 200 OK\r\nX-Long: ".into(), unit },
        Fault::Garbage("\u{16}\u{3}\u{1} no HTTP at all\r\n\r\n".into()),
        Fault::Garbage("HTTP/1.1 two hundred\r\n\r\n".into()),
        Fault::Garbage("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".into()),
        Fault::Garbage("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab".into()),
        Fault::Garbage("HTTP/1.1 200 OK\r\nContent-Len".into()),
        Fault::Garbage(Bytes::new()),
    ];
    for fault in faults {
        let (_, error) = ask(&get("k"), fault.clone()).await;
        assert!(matches!(error.cause(), Cause::Connection { .. }), "{fault:?}: {error:?}");
        assert_eq!((error.attempts(), error.outcome()), (2, Outcome::NONE));
        let (_, error) = ask(&DeleteObject::new(key("k")), fault).await;
        assert_eq!((error.outcome().effect(), error.outcome().is_unclear()), (Effect::Unknown, true));
    }
}

#[tokio::test]
async fn broken_chunks_are_errors() {
    for body in ["zz\r\nab\r\n0\r\n\r\n", "5\r\nab", "2\r\nabc\r\n0\r\n\r\n", "ffffffffffffffffff\r\nab"] {
        let answer = format!("HTTP/1.1 200 OK\r\nETag: \"x\"\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let (_, error) = ask(&get("k"), Fault::Garbage(answer.into())).await;
        assert!(matches!(error.cause(), Cause::Connection { .. }), "{body:?}: {error:?}");
    }
}

/// Goal: a redirect is reported with its region and not followed: the signature names the host, and following would take the request
/// where nobody asked.
#[tokio::test]
async fn a_redirect_to_another_region_is_an_error_and_not_followed() {
    let elsewhere = MemoryS3::start().await;
    elsewhere.create_bucket(BUCKET);
    for (status, code) in [(301, "PermanentRedirect"), (307, "TemporaryRedirect")] {
        for body in [Answer::error(status, code), Answer::new(status, "")] {
            let answer = body
                .header("Location", &format!("{}/{BUCKET}/k", elsewhere.endpoint()))
                .header("x-amz-bucket-region", "eu-west-1");
            let (_, error) = ask(&get("k"), Fault::Answer(answer.clone())).await;
            let refused = error.service_error().unwrap();
            assert_eq!((refused.code(), refused.region()), (&ErrorCode::WrongRegion, Some("eu-west-1")));
            assert_eq!(error.attempts(), 1);
            let (_, error) = ask(&DeleteObject::new(key("k")), Fault::Answer(answer)).await;
            assert_eq!((error.attempts(), error.outcome()), (1, Outcome::NONE));
        }
    }
    assert_eq!(elsewhere.log().len(), 0);
}

#[tokio::test]
async fn a_server_of_another_region_is_an_error_that_names_it() {
    let options = coldkeep_s3_testbed::Options { region: Some("eu-west-1".to_owned()), ..Default::default() };
    let scene = Scene::with(options, |config| config).await;
    let error = scene.client.send(&put("k", "new")).await.unwrap_err();
    let refused = error.service_error().unwrap();
    assert_eq!((refused.code(), refused.region()), (&ErrorCode::WrongRegion, Some("eu-west-1")));
    assert_eq!((error.attempts(), error.outcome()), (1, Outcome::NONE));
}

#[tokio::test]
async fn errors_of_head_have_no_body_whatever_their_length_says() {
    let scene = Scene::new().await;
    scene.client.send(&put("k", "new")).await.unwrap();
    scene.then([Fault::Answer(Answer::new(404, "x".repeat(99))), Fault::Answer(Answer::new(403, PAGE))]);
    let error = scene.client.send(&HeadObject::new(key("k"))).await.unwrap_err();
    assert!(error.is_not_found() && error.attempts() == 1, "{error:?}");
    let error = scene.client.send(&HeadObject::new(key("k"))).await.unwrap_err();
    assert!(error.is_access_denied() && error.attempts() == 1, "{error:?}");
    let meta = scene.client.send(&HeadObject::new(key("k"))).await.unwrap().into_value();
    assert_eq!(meta.size, Some(3));
    assert_eq!(scene.proxy.connections(), 1, "nobody waited for the bodies");
}

/// Goal: a good status alone does not make an object of an empty answer or of a page.
#[tokio::test]
async fn an_answer_without_an_etag_is_no_object() {
    for body in ["", PAGE] {
        let (_, error) = ask(&GetObject::new(key("k")), Fault::Answer(Answer::new(200, body))).await;
        let is_typed = matches!(error.cause(), Cause::Malformed(AnswerFlaw::MissingHeader { .. }));
        assert!(is_typed && error.attempts() == 2, "{error:?}");
        let (_, error) = ask(&HeadObject::new(key("k")), Fault::Answer(Answer::new(200, body))).await;
        assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::MissingHeader { .. })), "{error:?}");
    }
}
