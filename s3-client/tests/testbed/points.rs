//! The 19 points of spec `s3-servers.md` §3, and where each is tested.
//!
//! Here stand the tests that no other module has. `unit` are tests beside the code, `it` is the scripted transport, `live` runs on servers
//! that others wrote (`cargo xtask matrix`).
//!
//! | point | what it is | tests |
//! |---|---|---|
//! | 1 | a put refused before its body was read | `early::*`; unit `transport::tests::early`, `transport::tests::tls::an_early_answer_…`; live `conditions::a_refused_put_of_a_large_body_is_no_network_error` |
//! | 2 | a retry that meets its own first attempt | `resets::after_a_lost_reply_…`, `errors::a_5xx_after_the_effect_…`, `race::a_writer_that_lost_its_reply_…`; it `put_new::a_put_that_meets_its_own_lost_attempt_…` |
//! | 3 | permanent errors dressed as passing ones | `errors::a_permanent_error_…`; it `retry_stops::attempts_are_counted` |
//! | 4 | an errored put that stored the object | `errors::a_put_that_was_refused_and_stored_…`; unit `call::classify::tests::an_errored_put_may_have_stored_the_object` |
//! | 5 | many codes for one thing | [`point_05_codes_of_one_meaning_are_one`], `hostile::a_server_of_another_region_…`; unit `xml::error_document::tests::point_05_…`; it `retry_table`; live `signatures` |
//! | 6 | several 100 Continue, bare errors | [`point_06_errors_may_be_bare`], `early::interim_answers_are_passed_over`; unit `xml::error_document::tests::point_06_…` |
//! | 7 | HEAD errors that announce a body | `hostile::errors_of_head_…`; unit `transport::tests::answers::answers_to_head_…`; it `retry_table::errors_of_head_…` |
//! | 8 | ranges in every form | [`point_08_ranges_come_in_every_form`]; unit `ops::get_object`; it `downloads`; live `ranges` |
//! | 9 | listings | [`point_09_encoding_may_be_ignored`], [`point_09_a_listing_in_circles_ends_with_an_error`]; unit `ops::list_objects_v2::tests::point_09_…`, `listing`; it `listing`; live `listing` |
//! | 10 | dates of objects: precision, later than `Date` | [`point_10_an_object_may_be_younger_than_the_answer`]; unit `ops::list_objects_v2::tests::point_10_…` |
//! | 11 | writing again refreshes the date | [`point_11_the_date_of_a_write_is_the_servers`]; unit `probe::freshness` |
//! | 12 | DELETE of what is missing; no `If-Match` on it | [`point_12_a_delete_is_plain_and_needs_nothing_to_delete`]; live `deletes::missing_objects_count_as_deleted` |
//! | 13 | multi-delete | [`point_13_a_batch_reports_each_key`], [`point_13_a_batch_that_fails_whole_is_done_singly`]; unit `ops::delete_objects::tests::point_13_…`; it `delete_batch`; live `deletes` |
//! | 14 | puts of the one form that all servers take | [`points_14_and_15_uploads_are_plain_and_all_headers_signed`]; it `uploads` |
//! | 15 | every `x-amz-*` header is signed | [`points_14_and_15_uploads_are_plain_and_all_headers_signed`]; unit `sign::tests` |
//! | 16 | until when a request is accepted | `late::*`; it `sticky`, `retry_stops::a_signature_that_expires_…`; unit `probe::signatures`; live `presigned`, `signatures` |
//! | 17 | interrupted puts, torn reads | [`point_17_an_interrupted_put_leaves_the_old_object`], `downloads::torn_content_…`; it `downloads` |
//! | 18 | keys | [`point_18_odd_keys_reach_the_server_as_they_are`]; unit `sign::encode`; live `keys` |
//! | 19 | 409 `ConditionalRequestConflict` | `errors::a_conflict_…`, `race::h05_…`; it `put_new::h05_…` |

use coldkeep_s3_client::ops::{CopyObject, DeleteTarget, ListObjectsV2};
use coldkeep_s3_client::{
    AnswerFlaw, ByteRange, CallOptions, Cause, DeleteObject, Effect, ErrorCode, HeadObject, Outcome, Pending,
    PutObject, ServiceError, XmlError,
};
use coldkeep_s3_testbed::{Answer, Fault, Lack, Options};

use crate::scene::*;
use crate::writes::Write;

async fn lacking(lack: Lack) -> Scene {
    Scene::with(Options { lacks: vec![lack], ..Options::default() }, |config| config).await
}

/// Goal: whatever a server calls it, wrong credentials are one error, a wrong hash another, a rate limit a third; only the last is retried.
#[tokio::test]
async fn point_05_codes_of_one_meaning_are_one() {
    let scene = Scene::new().await;
    let access = ["SignatureDoesNotMatch", "AccessDenied", "InvalidAccessKeyId", "NotSignedUp"];
    for code in access {
        scene.then([answered(403, code)]);
        let error = scene.client.send(&put("k", "new")).await.unwrap_err();
        assert!(error.is_access_denied(), "{code}: {error:?}");
        assert_eq!((error.attempts(), error.outcome()), (1, Outcome::NONE), "{code}");
    }
    scene.then([answered(400, "UnsupportedAlgorithm")]);
    let error = scene.client.send(&put("k", "new")).await.unwrap_err();
    let other = ErrorCode::Other("UnsupportedAlgorithm".to_owned());
    assert_eq!(error.service_error().map(|refused| refused.code().clone()), Some(other));
    assert_eq!((error.attempts(), error.outcome()), (1, Outcome::NONE));
    for code in ["XAmzContentSHA256Mismatch", "BadDigest", "InvalidDigest"] {
        scene.then([answered(400, code)]);
        let error = scene.client.send(&put("k", "new")).await.unwrap_err();
        assert_eq!(error.service_error().map(|refused| refused.code().clone()), Some(ErrorCode::BadDigest));
        let outcome = Outcome::new(Effect::Unknown, Pending::No);
        assert_eq!((error.attempts(), error.outcome()), (1, outcome), "{code}");
    }
    for (status, code) in [(503, "SlowDown"), (429, "TooManyRequests"), (403, "TooManyRequests")] {
        scene.then([answered(status, code)]);
        let reply = scene.client.send(&put("k", "new")).await.unwrap();
        assert_eq!((reply.attempts, reply.outcome), (2, Outcome::APPLIED), "{status} {code}");
    }
}

#[tokio::test]
async fn point_06_errors_may_be_bare() {
    let scene = Scene::new().await;
    for body in ["", " \r\n", "<Error><Code>AccessDenied</Code></Error>", "<Error/>"] {
        scene.then([Fault::Answer(Answer::new(403, body))]);
        let error = scene.client.send(&get("k")).await.unwrap_err();
        assert!(error.is_access_denied(), "{body:?}: {error:?}");
        assert_eq!(error.service_error().and_then(ServiceError::request_id), None);
    }
    scene.then([Fault::Answer(Answer::new(404, ""))]);
    assert!(scene.client.send(&get("k")).await.unwrap_err().is_not_found());
    scene.then([Fault::Answer(Answer::new(500, "").without_length())]);
    assert_eq!(scene.client.send(&put("k", "new")).await.unwrap().attempts, 2);
}

#[tokio::test]
async fn point_08_ranges_come_in_every_form() {
    let scene = Scene::new().await;
    scene.origin.insert(BUCKET, "k", "0123456789");
    scene.origin.insert(BUCKET, "empty", "");
    let asked = get("k").with_range(ByteRange::Bounded { first: 3, last: 5 });
    let part = |status, content: &'static str, range: &str| {
        let answer = Answer::new(status, content).header("ETag", "\"x\"");
        Fault::Answer(answer.header("Content-Range", range))
    };
    scene.then([Fault::Pass, part(200, "345", "bytes 3-5/10")]);
    for _ in 0..2 {
        let object = scene.client.send(&asked).await.unwrap().into_value();
        assert_eq!((object.content.as_ref(), object.range.map(|range| range.first)), (&b"345"[..], Some(3)));
    }
    let error = scene.client.send(&get("empty").with_range(ByteRange::From(0))).await.unwrap_err();
    assert_eq!(error.service_error().map(ServiceError::status), Some(416));
    for (fault, flaw) in [
        (part(206, "34", "bytes 3-5/10"), "WrongLength"),
        (part(206, "345", "bytes 4-6/10"), "WrongRange"),
        (Fault::Answer(Answer::new(200, "0123456789").header("ETag", "\"x\"")), "WrongRange"),
    ] {
        scene.then([fault]);
        let error = scene.client.send_with(&asked, &tries(1)).await.unwrap_err();
        let Cause::Malformed(got) = error.cause() else { panic!("{error:?}") };
        assert!(format!("{got:?}").starts_with(flaw), "{got:?} instead of {flaw}");
    }
}

#[tokio::test]
async fn point_09_encoding_may_be_ignored() {
    for scene in [Scene::new().await, lacking(Lack::EncodingType).await] {
        let names = ["a b+c", "a%20b", "ü/~", "z&<>\"'"];
        for name in names {
            scene.origin.insert(BUCKET, name, "x");
        }
        let mut listing = scene.client.list(ListObjectsV2::new().with_keys_max(1));
        let mut listed = Vec::new();
        while let Some(object) = listing.next_object().await.unwrap() {
            listed.push(object.key.as_str().to_owned());
        }
        listed.sort_unstable();
        let mut wanted = names.map(str::to_owned);
        wanted.sort_unstable();
        assert_eq!(listed, wanted);
    }
}

#[tokio::test]
async fn point_09_a_listing_in_circles_ends_with_an_error() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>on</NextContinuationToken>\
                <Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>";
    let empty = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>on</NextContinuationToken>\
                 </ListBucketResult>";
    for body in [page, empty] {
        let scene = Scene::new().await;
        scene.proxy.always(|_| true, Fault::Answer(Answer::new(200, body)));
        let mut listing = scene.client.list(ListObjectsV2::new());
        let error = loop {
            match listing.next_object().await {
                Ok(object) => assert!(object.is_some(), "an end without an error"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::EndlessListing)), "{error:?}");
        assert!(scene.counts().0 <= 4);
    }
    // It goes on, but not where.
    let scene = lacking(Lack::NextToken).await;
    for name in ["a", "b"] {
        scene.origin.insert(BUCKET, name, "x");
    }
    let list = ListObjectsV2::new().with_keys_max(1);
    let error = scene.client.send_with(&list, &tries(1)).await.unwrap_err();
    let Cause::Malformed(AnswerFlaw::Xml(XmlError::Missing { element, .. })) = error.cause() else {
        panic!("{error:?}")
    };
    assert_eq!(*element, "NextContinuationToken");
}

/// Goal: a date that a server rounded up, and so is later than its own clock, is handed on as it is, next to the server's `Date`: who
/// judges an object's age must compare the two and allow for it (R7).
#[tokio::test]
async fn point_10_an_object_may_be_younger_than_the_answer() {
    let scene = Scene::new().await;
    let rounded = start() + SECOND;
    for date in ["2023-11-14T22:13:21Z", "2023-11-14T22:13:21.0Z", "2023-11-14T22:13:21.000000000Z"] {
        let page = format!(
            "<ListBucketResult><Contents><Key>a</Key><LastModified>{date}</LastModified><Size>1</Size></Contents>\
             </ListBucketResult>"
        );
        let answer = Answer::new(200, page).header("Date", "Tue, 14 Nov 2023 22:13:20 GMT");
        scene.then([Fault::Answer(answer)]);
        let reply = scene.client.send(&ListObjectsV2::new()).await.unwrap();
        assert_eq!(reply.date, Some(start()));
        assert_eq!(reply.value.objects[0].last_modified, Some(rounded), "{date}");
        assert!(reply.date < reply.value.objects[0].last_modified);
    }
}

#[tokio::test]
async fn point_11_the_date_of_a_write_is_the_servers() {
    let scene = Scene::new().await;
    let head = HeadObject::new(key("k"));
    for round in 0..3 {
        scene.client.send(&put("k", "the same")).await.unwrap();
        let reply = scene.client.send(&head).await.unwrap();
        assert_eq!((reply.value.last_modified, reply.date), (reply.date, Some(start() + 5 * SECOND * round)));
        scene.clock.advance(5 * SECOND);
    }
    let copy = CopyObject::new(BUCKET.parse().unwrap(), key("k"), key("k"));
    let copy = copy.replace_metadata("text/plain", [("again", "yes")]);
    let reply = scene.client.send(&copy).await.unwrap();
    assert_eq!(reply.value.last_modified, Some(start() + 15 * SECOND));
}

#[tokio::test]
async fn point_12_a_delete_is_plain_and_needs_nothing_to_delete() {
    let scene = Scene::new().await;
    let reply = scene.client.send(&DeleteObject::new(key("missing"))).await.unwrap();
    assert_eq!((reply.attempts, reply.outcome), (1, Outcome::APPLIED));
    let log = scene.origin.log();
    let is_conditional = |name: &str| log.iter().any(|request| request.header(name).is_some());
    assert!(!is_conditional("if-match") && !is_conditional("if-none-match"));
}

#[tokio::test]
async fn point_13_a_batch_reports_each_key() {
    for scene in [Scene::new().await, lacking(Lack::QuietDelete).await] {
        for name in ["a", "b", "c"] {
            scene.origin.insert(BUCKET, name, "x");
        }
        scene.origin.refuse_delete("b", "AccessDenied");
        let targets = ["a", "b", "c", "missing"].map(|name| DeleteTarget::new(key(name)));
        let reply = scene.client.delete_batch(&targets, &CallOptions::default()).await.unwrap();
        let names = |deleted: &[coldkeep_s3_client::ops::DeletedObject]| {
            deleted.iter().map(|deleted| deleted.target.key.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&reply.value.deleted), ["a", "c", "missing"]);
        let [failed] = &reply.value.failed[..] else { panic!("{reply:?}") };
        assert_eq!((failed.target.key.as_str(), failed.error.code()), ("b", &ErrorCode::AccessDenied));
        assert_eq!(scene.origin.keys(BUCKET), ["b"]);
        assert!(scene.origin.log()[0].header("content-md5").is_some());
    }
}

#[tokio::test]
async fn point_13_a_batch_that_fails_whole_is_done_singly() {
    for (status, code) in [(500, "InternalError"), (501, "NotImplemented"), (405, "MethodNotAllowed")] {
        let scene = Scene::new().await;
        for name in ["a", "b"] {
            scene.origin.insert(BUCKET, name, "x");
        }
        scene.proxy.always(|request| request.method == "POST", answered(status, code));
        let targets = ["a", "b"].map(|name| DeleteTarget::new(key(name)));
        let reply = scene.client.delete_batch(&targets, &tries(2)).await.unwrap();
        assert_eq!(reply.value.deleted.len(), 2, "{code}");
        assert_eq!(scene.origin.keys(BUCKET), [""; 0], "{code}");
        // A 500 is no word on what became of the multi-delete.
        assert_eq!(reply.outcome.is_unclear(), status == 500, "{code}");
        assert_eq!(reply.outcome.effect(), Effect::Applied, "{code}");
    }
}

#[tokio::test]
async fn points_14_and_15_uploads_are_plain_and_all_headers_signed() {
    for write in Write::ALL {
        let scene = Scene::new().await;
        scene.write(write, |_| {}).await;
        scene.client.send(&PutObject::new(key("k"), vec![7; 1 << 20]).with_metadata("a", "b")).await.unwrap();
        for request in scene.origin.log() {
            let header = |name: &str| request.header(name).unwrap_or_default();
            assert_eq!(header("transfer-encoding"), "", "{request:?}");
            assert!(!header("content-encoding").contains("aws-chunked"), "{request:?}");
            assert_eq!(header("x-amz-trailer"), "", "{request:?}");
            let hash = header("x-amz-content-sha256");
            assert!(hash.len() == 64 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()), "{request:?}");
            if matches!(request.method.as_str(), "PUT" | "POST") {
                assert_eq!(Some(header("content-length").parse().unwrap()), request.body_len, "{request:?}");
            }
            let authorization = header("authorization");
            let (_, signed) = authorization.split_once("SignedHeaders=").unwrap();
            let signed: Vec<_> = signed.split(',').next().unwrap().split(';').collect();
            let names = request.headers.keys().map(http::HeaderName::as_str);
            for name in names.filter(|name| name.starts_with("x-amz-") || *name == "host") {
                assert!(signed.contains(&name), "{name} of {request:?}");
            }
        }
    }
}

#[tokio::test]
async fn point_17_an_interrupted_put_leaves_the_old_object() {
    let scene = Scene::new().await;
    scene.client.send(&put("k", "old")).await.unwrap();
    scene.then([Fault::ResetInBody { after: 1 << 20 }]);
    let large = PutObject::new(key("k"), vec![7; 8 << 20]);
    let error = scene.client.send_with(&large, &tries(1)).await.unwrap_err();
    assert_eq!((error.attempts(), error.outcome()), (1, unknown_and_pending()));
    assert_eq!(scene.client.send(&get("k")).await.unwrap().value.content, "old");
}

#[tokio::test]
async fn point_18_odd_keys_reach_the_server_as_they_are() {
    let scene = Scene::new().await;
    let names = [
        "a b",
        "a+b",
        "a%20b",
        "~",
        "ü",
        "//",
        "/lead",
        "a//b",
        "..",
        "a/../b",
        "./a",
        "?x=y",
        "#",
        "a:b@c,d;e",
    ];
    for name in names {
        scene.client.send(&put(name, name)).await.unwrap();
        assert_eq!(scene.held(name).as_deref(), Some(name));
        assert_eq!(scene.client.send(&get(name)).await.unwrap().value.content, name);
        scene.client.send(&DeleteObject::new(key(name))).await.unwrap();
        assert_eq!(scene.origin.keys(BUCKET), [""; 0]);
    }
}
