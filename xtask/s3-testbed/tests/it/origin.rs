//! Objects and buckets.

use coldkeep_s3_testbed::{ConditionalPut, Options};

use crate::client::{Client, date, origin, origin_with, signed};

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let origin = origin().await;
    let mut client = Client::connect(origin.address()).await;
    let headers = [("content-type", "text/plain"), ("x-amz-meta-from", "test")];
    client.send(&signed("PUT", "/b//a%20b%2Bc//%C3%BC", &headers, b"content")).await.unwrap();
    let put = client.answer().await.unwrap();
    // MD5 of "content".
    assert_eq!((put.status, put.header("etag")), (200, Some("\"9a0364b9e99bb480dd25e1f0284c8555\"")));
    assert_eq!(put.header("date"), Some("Fri, 24 May 2013 00:00:00 GMT"));

    client.send(&signed("GET", "/b//a%20b+c//%C3%BC", &[], b"")).await.unwrap();
    let got = client.answer().await.unwrap();
    assert_eq!((got.status, got.text().as_str()), (200, "content"));
    assert_eq!(got.header("content-type"), Some("text/plain"));
    assert_eq!(got.header("x-amz-meta-from"), Some("test"));
    assert_eq!(got.header("last-modified"), Some("Fri, 24 May 2013 00:00:00 GMT"));

    client.send(&signed("HEAD", "/b//a%20b+c//%C3%BC", &[], b"")).await.unwrap();
    let head = client.answer().await.unwrap();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("7"), 0));

    client.send(&signed("DELETE", "/b//a%20b+c//%C3%BC", &[], b"")).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 204);
    client.send(&signed("GET", "/b//a%20b+c//%C3%BC", &[], b"")).await.unwrap();
    let gone = client.answer().await.unwrap();
    assert!(gone.status == 404 && gone.has("<Code>NoSuchKey</Code>"));

    let log = origin.log();
    let facts: Vec<_> =
        log.iter().map(|entry| (entry.method.as_str(), entry.body_len, entry.status)).collect();
    assert_eq!(facts[0], ("PUT", Some(7), Some(200)));
    assert_eq!(facts[4], ("GET", Some(0), Some(404)));
    assert_eq!(log[0].path, "/b//a%20b%2Bc//%C3%BC");
}

#[tokio::test]
async fn ranges_are_answered_in_part() {
    let origin = origin().await;
    origin.insert("b", "k", "0123456789");
    let get = |range| signed("GET", "/b/k", &[("range", range)], b"");
    let part = Client::once(origin.address(), &get("bytes=2-4")).await;
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(Client::once(origin.address(), &get("bytes=10-")).await.status, 416);
}

#[tokio::test]
async fn conditions_of_a_put_hold() {
    let origin = origin().await;
    let once = |headers: &[(&str, &str)]| signed("PUT", "/b/k", headers, b"x");
    let new = once(&[("if-none-match", "*")]);
    assert_eq!(Client::once(origin.address(), &new).await.status, 200);
    assert_eq!(Client::once(origin.address(), &new).await.status, 412);
    let etag = origin.object("b", "k").unwrap().etag.clone();
    let swap = |etag: &str| once(&[("if-match", &format!("\"{etag}\""))]);
    assert_eq!(Client::once(origin.address(), &swap(&etag)).await.status, 200);
    assert_eq!(Client::once(origin.address(), &swap("other")).await.status, 412);
    origin.remove("b", "k");
    assert_eq!(Client::once(origin.address(), &swap(&etag)).await.status, 404);
}

#[tokio::test]
async fn classes_of_conditional_put_can_be_told_apart() {
    for (class, sequence, winners) in [
        (ConditionalPut::Atomic, [200, 412], 1..2),
        (ConditionalPut::Refused, [501, 501], 0..1),
        (ConditionalPut::Ignored, [200, 200], 16..17),
        (ConditionalPut::NotAtomic, [200, 412], 2..17),
    ] {
        let origin = origin_with(Options { conditional_put: class, ..Options::default() }).await;
        let put = |key: &str| signed("PUT", key, &[("if-none-match", "*")], b"x");
        for expected in sequence {
            assert_eq!(Client::once(origin.address(), &put("/b/k")).await.status, expected, "{class:?}");
        }
        let mut clients = Vec::new();
        for _ in 0..16 {
            let mut client = Client::connect(origin.address()).await;
            client.send(&put("/b/race")).await.unwrap();
            clients.push(client);
        }
        let mut won = 0;
        for client in &mut clients {
            won += usize::from(client.answer().await.unwrap().status == 200);
        }
        assert!(winners.contains(&won), "{class:?}: {won} winners");
    }
}

#[tokio::test]
async fn a_held_request_takes_effect_after_the_client_is_gone() {
    let origin = origin().await;
    let held = origin.hold(|request| request.is("PUT", "/k"));
    let mut client = Client::connect(origin.address()).await;
    client.send(&signed("PUT", "/b/k", &[], b"late")).await.unwrap();
    held.arrived().await;
    drop(client);
    assert!(origin.object("b", "k").is_none());
    held.release();
    held.applied().await;
    assert_eq!(origin.object("b", "k").unwrap().content(), b"late");
}

#[tokio::test]
async fn a_copy_keeps_or_replaces_metadata() {
    let origin = origin().await;
    let put = signed("PUT", "/b/k%20k", &[("x-amz-meta-a", "1")], b"x");
    assert_eq!(Client::once(origin.address(), &put).await.status, 200);
    let copy = |to: &str, more: &[(&str, &str)]| {
        signed("PUT", to, &[&[("x-amz-copy-source", "/b/k%20k")], more].concat(), b"")
    };
    let answer = Client::once(origin.address(), &copy("/b/copy", &[])).await;
    assert!(answer.status == 200 && answer.has("<CopyObjectResult>"));
    assert_eq!(origin.object("b", "copy").unwrap().header("x-amz-meta-a"), Some("1"));
    let replace = [("x-amz-meta-b", "2"), ("x-amz-metadata-directive", "REPLACE")];
    assert_eq!(Client::once(origin.address(), &copy("/b/k%20k", &replace)).await.status, 200);
    let replaced = origin.object("b", "k k").unwrap();
    assert_eq!((replaced.header("x-amz-meta-a"), replaced.header("x-amz-meta-b")), (None, Some("2")));
    assert_eq!(Client::once(origin.address(), &copy("/b/k%20k", &[])).await.status, 400);
}

#[tokio::test]
async fn buckets_live_and_die() {
    let origin = origin().await;
    let once = async |method: &str, target: &str| {
        Client::once(origin.address(), &signed(method, target, &[], b"")).await
    };
    assert_eq!(once("PUT", "/new").await.status, 200);
    assert_eq!(once("PUT", "/new").await.status, 409);
    assert!(once("GET", "/").await.has("<Bucket><Name>new</Name><CreationDate>2013-05-24T00:00:00.000Z<"));
    assert_eq!(once("HEAD", "/new").await.status, 200);
    origin.insert("new", "k", "");
    assert_eq!(once("DELETE", "/new").await.status, 409);
    origin.remove("new", "k");
    assert_eq!(once("DELETE", "/new").await.status, 204);
    assert_eq!(once("HEAD", "/new").await.status, 404);

    assert!(once("GET", "/b?versioning").await.has("<VersioningConfiguration"));
    assert_eq!(once("GET", "/b?lifecycle").await.status, 404);
    origin.set_document("b", "lifecycle", "<LifecycleConfiguration/>");
    assert!(once("GET", "/b?lifecycle").await.has("<LifecycleConfiguration/>"));
}

#[tokio::test]
async fn a_bucket_can_stand_in_the_host() {
    let origin = origin().await;
    let request = String::from_utf8(signed("PUT", "/k", &[], b"")).unwrap();
    let request = request.replace("host: localhost", "host: b.localhost:1234");
    assert_eq!(Client::once(origin.address(), request.as_bytes()).await.status, 200);
    assert_eq!(origin.keys("b"), ["k"]);
    assert_eq!(origin.object("b", "k").unwrap().modified_at, date());
}

#[tokio::test]
async fn fast_mode_checks_and_logs_nothing() {
    let origin = origin_with(Options { fast: true, ..Options::default() }).await;
    let put = b"PUT /b/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nhi";
    let answer = Client::once(origin.address(), put).await;
    // Tags that nobody takes for those of a content.
    assert!(answer.status == 200 && answer.header("etag").unwrap().ends_with("-1\""));
    assert_eq!(origin.object("b", "k").unwrap().content(), b"hi");
    assert!(origin.log().is_empty());
}
