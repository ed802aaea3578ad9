//! Objects whose bytes do not all come, or are not theirs.

use coldkeep_s3_client::{AnswerFlaw, Cause, Outcome};
use coldkeep_s3_testbed::{Answer, End, Fault};

use crate::scene::*;

fn large() -> String {
    "0123456789abcdef".repeat(1 << 16)
}

async fn scene() -> Scene {
    let scene = Scene::new().await;
    scene.client.send(&put("k", &large())).await.unwrap();
    scene
}

#[tokio::test]
async fn a_download_that_is_cut_is_repeated_and_right() {
    for after in [0, 1, 1000, (1 << 20) - 1] {
        for end in [End::Close, End::Reset] {
            let scene = scene().await;
            scene.then([Fault::CutBody { after, end }]);
            let reply = scene.client.send(&get("k")).await.unwrap();
            assert_eq!((reply.attempts, reply.outcome), (2, Outcome::NONE), "{after} {end:?}");
            assert!(reply.value.content == large(), "{after} {end:?}");
            assert_eq!(scene.counts(), (3, 3), "{after} {end:?}");
        }
    }
}

#[tokio::test]
async fn a_download_that_is_cut_every_time_is_a_typed_error() {
    let scene = scene().await;
    scene.proxy.always(|_| true, Fault::CutBody { after: 1000, end: End::Close });
    let error = scene.client.send_with(&get("k"), &tries(3)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Connection { .. }), "{error:?}");
    assert_eq!((error.attempts(), error.outcome(), error.is_retryable()), (3, Outcome::NONE, true));
    assert_eq!(scene.counts(), (4, 4));
}

#[tokio::test]
async fn a_stream_that_is_cut_is_an_error_and_not_repeated() {
    for end in [End::Close, End::Reset] {
        let scene = scene().await;
        scene.then([Fault::CutBody { after: 1000, end }]);
        let mut stream = scene.client.stream(&get("k")).await.unwrap().into_value();
        let mut bytes = 0;
        let error = loop {
            match stream.next().await {
                Ok(piece) => bytes += piece.expect("no end before the error").len(),
                Err(error) => break error,
            }
        };
        assert!(bytes <= 1000, "{bytes}");
        assert!(matches!(error.cause(), Cause::Connection { .. }), "{error:?}");
        assert!(stream.next().await.unwrap().is_none());
        assert_eq!(scene.counts(), (2, 2));
        // The connection is not used again, and the client goes on.
        assert!(scene.client.send(&get("k")).await.unwrap().value.content == large());
    }
}

#[tokio::test]
async fn a_download_that_stalls_ends_at_its_deadline_and_is_repeated() {
    let scene = scene().await;
    scene.then([Fault::StallBody { after: 10 }]);
    let op = get("k");
    let reply = scene.client.send(&op);
    let time = async {
        scene.proxy.stalled(1).await;
        // The deadline grows with what is to come: 1 MiB at 64 KiB/s.
        scene.clock.advance(TOO_LONG + 16 * SECOND);
    };
    let (reply, ()) = tokio::join!(reply, time);
    let reply = reply.unwrap();
    assert_eq!((reply.attempts, reply.value.content == large()), (2, true));
}

#[tokio::test]
async fn a_stream_that_stalls_is_an_error_at_the_deadline_of_a_piece() {
    let scene = scene().await;
    scene.then([Fault::StallBody { after: 10 }]);
    let mut stream = scene.client.stream(&get("k")).await.unwrap().into_value();
    let drained = async {
        loop {
            match stream.next().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        }
    };
    let error = scene_while(&scene, drained).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::TimedOut { .. }), "{error:?}");
    assert_eq!(scene.counts(), (2, 2));
}

/// Runs `work` while the last request stalls, then lets the time of a piece pass.
async fn scene_while<F: Future>(scene: &Scene, work: F) -> F::Output {
    let mut work = std::pin::pin!(work);
    scene.proxy.stalled(1).await;
    // What has come is read first: the deadline of a piece begins when one waits for it.
    for _ in 0..100 {
        tokio::select! {
            biased;
            output = &mut work => return output,
            () = tokio::task::yield_now() => {}
        }
    }
    // A large piece on a slow line takes longer than an attempt without content: 1 MiB at 64 KiB/s.
    scene.clock.advance(TOO_LONG + 16 * SECOND);
    work.await
}

#[tokio::test]
async fn a_wrong_content_length_never_becomes_a_short_or_long_result() {
    for change in [-7, 7, 1 << 40] {
        let scene = scene().await;
        scene.then([Fault::WrongLength(change)]);
        let result = scene.client.send(&get("k").with_bytes_max(2 << 20)).await;
        if change == 1 << 40 {
            let error = result.unwrap_err();
            let is_typed = matches!(error.cause(), Cause::Malformed(AnswerFlaw::TooLong { .. }));
            assert!(is_typed && error.attempts() == 1, "{error:?}");
        } else {
            let reply = result.unwrap();
            assert_eq!((reply.attempts, reply.value.content == large()), (2, true), "{change}");
        }
        // What was left over on the connection is not taken for the next answer.
        assert!(scene.client.send(&get("k")).await.unwrap().value.content == large(), "{change}");
    }
}

/// Goal: content that is not what its checksum says (a read that was torn by an overwrite, point 17) is repeated, and an error if it
/// stays so.
#[tokio::test]
async fn torn_content_does_not_pass_its_checksum() {
    let scene = scene().await;
    let torn = || {
        let answer = Answer::new(200, "half of this, half of that");
        let answer = answer.header("ETag", "\"0123\"").header("x-amz-checksum-crc32c", "AAAAAA==");
        Fault::Answer(answer)
    };
    scene.then([torn()]);
    let reply = scene.client.send(&get("k")).await.unwrap();
    assert_eq!((reply.attempts, reply.value.content == large()), (2, true));

    scene.proxy.always(|_| true, torn());
    let error = scene.client.send_with(&get("k"), &tries(3)).await.unwrap_err();
    let is_typed =
        matches!(error.cause(), Cause::Malformed(AnswerFlaw::WrongChecksum { algorithm: "CRC32C" }));
    assert!(is_typed && error.attempts() == 3, "{error:?}");
    let mut stream = scene.client.stream(&get("k")).await.unwrap().into_value();
    let error = loop {
        match stream.next().await {
            Ok(piece) => assert!(piece.is_some(), "an end without an error"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::WrongChecksum { .. })), "{error:?}");
}
