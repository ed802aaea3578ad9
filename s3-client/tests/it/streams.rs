//! Objects piece by piece.

use std::pin::pin;

use coldkeep_s3_client::{
    AnswerFlaw, ByteRange, CallOptions, Cause, GetObject, Limits, ObjectStream, Operation, RequestError,
    RetryPolicy,
};

use crate::scripted::*;

async fn open(op: &GetObject, answer: Answer) -> (Scene, ObjectStream) {
    let scene =
        Scene::with(config().with_limits(Limits::default().with_requests_in_flight(1).unwrap()), [answer]);
    let stream = scene.client.stream(op).await.unwrap().into_value();
    (scene, stream)
}

/// Reads to the end: what came, and how it ended.
async fn drain(stream: &mut ObjectStream) -> (String, Option<RequestError>) {
    let mut text = String::new();
    loop {
        match stream.next().await {
            Ok(Some(piece)) => text.push_str(std::str::from_utf8(&piece).unwrap()),
            Ok(None) => return (text, None),
            Err(error) => return (text, Some(error)),
        }
    }
}

#[tokio::test]
async fn pieces_come_as_they_are_and_facts_before_them() {
    let (_scene, mut stream) =
        open(&get(), answer(200).chunks(&["ab", "", "cde"]).header("etag", "\"e\"")).await;
    assert_eq!(stream.meta().etag.as_ref().unwrap().as_str(), "e");
    assert_eq!(stream.range(), None);
    let (text, error) = drain(&mut stream).await;
    assert_eq!((text.as_str(), error.is_none()), ("abcde", true));
    assert_eq!(stream.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_never_early() {
    let cut = answer(200).body("abc").header("content-length", "9").cut();
    let short = answer(200).body("abc").header("content-length", "9");
    let silent = answer(200).body("abc").header("content-length", "9").stalled(47 * SECOND);
    let chunked = answer(200).chunks(&["a", "bc"]).cut();
    for fail in [cut, short, silent, chunked] {
        let (scene, mut stream) = open(&get(), fail).await;
        let (text, error) = drain(&mut stream).await;
        let error = error.unwrap();
        assert_eq!(text, "abc");
        assert!(
            matches!(
                error.cause(),
                Cause::Connection { .. }
                    | Cause::TimedOut { .. }
                    | Cause::Malformed(AnswerFlaw::WrongLength { expected: 9, got: 3 })
            ),
            "{error:?}"
        );
        assert_eq!((error.operation(), error.target()), (Operation::GetObject, "bucket/key"));
        // It is over, and nothing was repeated behind the caller's back.
        assert_eq!(stream.next().await.unwrap(), None);
        assert_eq!(scene.script.count(), 1);
    }
}

#[tokio::test]
async fn a_wrong_checksum_is_an_error_at_the_end() {
    let (_scene, mut stream) =
        open(&get(), answer(200).body("123456780").header("x-amz-checksum-crc32c", "4waSgw==")).await;
    let (text, error) = drain(&mut stream).await;
    assert_eq!(text, "123456780");
    let error = error.unwrap();
    assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::WrongChecksum { .. })), "{error:?}");
    let (_scene, mut stream) =
        open(&get(), answer(200).body("123456789").header("x-amz-checksum-crc32c", "4waSgw==")).await;
    assert!(drain(&mut stream).await.1.is_none());
}

#[tokio::test]
async fn a_part_must_be_as_long_as_its_range() {
    let asked = get().with_range(ByteRange::Bounded { first: 0, last: 8 });
    let part = |answer: Answer| answer.header("content-range", "bytes 0-8/9");
    let (_scene, mut stream) = open(&asked, part(answer(206).body("123456789"))).await;
    assert_eq!((stream.range().unwrap().len(), stream.meta().size), (9, Some(9)));
    assert!(drain(&mut stream).await.1.is_none());

    // A length that fits the body, but not the range that the answer claims to hold (spec `s3-servers.md` §3, point 8).
    for short in [answer(206).body("123"), answer(206).chunks(&["123"])] {
        let scene = Scene::new([part(short)]);
        let error = match scene.client.stream(&asked).await {
            Ok(reply) => drain(&mut reply.into_value()).await.1.unwrap(),
            Err(error) => error,
        };
        let flaw = AnswerFlaw::WrongLength { expected: 9, got: 3 };
        assert_eq!(format!("{:?}", error.cause()), format!("{:?}", Cause::Malformed(flaw)));
    }
    let scene = Scene::new([answer(200).body("123456789")]);
    let error = scene.client.stream(&asked).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::WrongRange { .. })), "{error:?}");
    // The connection is free again.
    scene.script.then([answer(200)]);
    scene.client.send(&put()).await.unwrap();
}

#[tokio::test]
async fn a_whole_object_that_comes_as_a_range_is_checked_as_a_whole() {
    let ranged = |body: &'static str| {
        let answer = answer(206).body(body).header("content-range", "bytes 0-8/9");
        answer.header("x-amz-checksum-crc32c", "4waSgw==")
    };
    let (_scene, mut stream) = open(&get(), ranged("123456789")).await;
    assert_eq!(stream.range(), None);
    assert!(drain(&mut stream).await.1.is_none());
    let (_scene, mut stream) = open(&get(), ranged("123456780")).await;
    let error = drain(&mut stream).await.1.unwrap();
    assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::WrongChecksum { .. })), "{error:?}");
}

#[tokio::test]
async fn content_without_a_length_is_not_streamed() {
    let scene = Scene::new([answer(200).until_close(&["abc"])]);
    let error = scene.client.stream(&get()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::UnknownLength)), "{error:?}");
}

#[tokio::test]
async fn attempts_are_repeated_until_the_answer_begins() {
    let scene = Scene::new([Step::Broken, answer(503).into(), answer(200).body("abc").into()]);
    let reply = scene.client.stream(&get()).await.unwrap();
    assert_eq!(reply.attempts, 3);
    let mut stream = reply.into_value();
    assert_eq!(drain(&mut stream).await.0, "abc");
    let scene = Scene::new([refusal(404, "NoSuchKey")]);
    assert!(scene.client.stream(&get()).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_stream_holds_its_place_until_its_end() {
    let (scene, mut stream) = open(&get(), answer(200).body("abc")).await;
    scene.script.then([answer(200), answer(200)]);
    let op = put();
    let mut waiting = pin!(scene.client.send(&op));
    assert!(poll_once(waiting.as_mut()).await.is_none());
    assert!(stream.next().await.unwrap().is_some());
    assert!(poll_once(waiting.as_mut()).await.is_none());
    assert_eq!((stream.next().await.unwrap(), scene.script.count()), (None, 1));
    waiting.await.unwrap();
    // Though the stream is still there.
    assert_eq!(stream.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_that_fails_or_is_dropped_gives_its_place_back() {
    let (scene, mut stream) = open(&get(), answer(200).body("abc").cut().header("content-length", "9")).await;
    assert!(drain(&mut stream).await.1.is_some());
    scene.script.then([answer(200), answer(200).body("abc"), answer(200)]);
    scene.client.send(&put()).await.unwrap();
    drop(scene.client.stream(&get()).await.unwrap());
    scene.client.send(&put()).await.unwrap();
}

#[tokio::test]
async fn streamed_bytes_are_counted() {
    let (scene, mut stream) = open(&get(), answer(200).chunks(&["ab", "cde"])).await;
    stream.next().await.unwrap();
    assert_eq!(scene.client.stats().total().bytes_received, 2);
    stream.next().await.unwrap();
    drop(stream);
    assert_eq!(scene.client.stats().total().bytes_received, 5);
}

#[tokio::test]
async fn a_piece_may_take_as_long_as_the_slowest_transfer_takes_for_it() {
    // 1 MiB, the largest piece of the transport, at 64 KiB/s; and 30 s, the bound of an attempt.
    let silent = answer(200).body("abc").header("content-length", "9").stalled(47 * SECOND);
    let (_scene, mut stream) = open(&get(), silent).await;
    let error = drain(&mut stream).await.1.unwrap();
    assert!(matches!(error.cause(), Cause::TimedOut { limit } if *limit == 46 * SECOND), "{error:?}");
}

#[tokio::test]
async fn a_stream_takes_options_of_its_own() {
    let scene = Scene::new([answer(503)]);
    let once = CallOptions::new().with_retry(RetryPolicy::never());
    assert_eq!(scene.client.stream_with(&get(), &once).await.unwrap_err().attempts(), 1);
}

#[tokio::test]
async fn an_answer_that_cannot_be_streamed_is_counted_as_a_failure() {
    let scene = Scene::new([answer(200).until_close(&["abc"])]);
    scene.client.stream(&get()).await.unwrap_err();
    let total = scene.client.stats().total();
    assert_eq!((total.failed, total.errors["malformed"]), (1, 1));
    let (scene, mut stream) = open(&get(), answer(200).body("abc").header("content-length", "9")).await;
    assert!(drain(&mut stream).await.1.is_some());
    let total = scene.client.stats().total();
    assert_eq!((total.failed, total.errors["malformed"]), (1, 1));
}
