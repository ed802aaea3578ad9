//! Each fault, as a client meets it.

use std::io::ErrorKind;

use bytes::Bytes;
use coldkeep_s3_testbed::{Answer, EarlyEnd, End, Fault, FaultKind, FaultProxy, Gate, MemoryS3, Seen};

use crate::client::{Client, origin, signed};

/// Far more than the kernel buffers between two sockets of one machine.
const LARGE: usize = 32 << 20;

async fn both() -> (MemoryS3, FaultProxy) {
    let origin = origin().await;
    origin.insert("b", "old", "0123456789");
    let proxy = FaultProxy::start(origin.address()).await;
    (origin, proxy)
}

fn put() -> Vec<u8> {
    signed("PUT", "/b/k", &[], b"content")
}

fn get() -> Vec<u8> {
    signed("GET", "/b/old", &[], b"")
}

/// Sends the request and expects the connection to be reset before a byte of an answer.
async fn expect_reset(proxy: &FaultProxy, request: &[u8]) -> Seen {
    let mut client = Client::connect(proxy.address()).await;
    let _ = client.send(request).await;
    assert_eq!(client.answer().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    proxy.finished(1).await.remove(0)
}

fn stored(origin: &MemoryS3) -> bool {
    origin.object("b", "k").is_some()
}

#[tokio::test]
async fn requests_pass_unchanged_on_a_connection_that_stays() {
    let (origin, proxy) = both().await;
    let mut client = Client::connect(proxy.address()).await;
    for _ in 0..2 {
        client.send(&put()).await.unwrap();
        assert_eq!(client.answer().await.unwrap().status, 200);
        client.send(&signed("HEAD", "/b/old", &[], b"")).await.unwrap();
        assert_eq!(client.answer().await.unwrap().status, 200);
        client.send(&signed("GET", "/b/missing?x=1", &[], b"")).await.unwrap();
        assert!(client.answer().await.unwrap().has("NoSuchKey"));
    }
    assert_eq!(origin.log()[0].header("host"), Some("localhost"));
    let seen = proxy.finished(6).await;
    assert!(seen.iter().all(|request| request.connection == 0 && request.forwarded));
    assert_eq!((seen[2].path.as_str(), seen[2].query.as_str()), ("/b/missing", "x=1"));
    assert_eq!((seen[2].fault, seen[2].answered), (FaultKind::Pass, Some(404)));
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let (origin, proxy) = both().await;
    let body: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    let mut client = Client::connect(proxy.address()).await;
    client.send(&signed("PUT", "/b/k", &[], &body)).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
    client.send(&signed("GET", "/b/k", &[], b"")).await.unwrap();
    assert!(client.answer().await.unwrap().body == body);
    assert_eq!(origin.object("b", "k").unwrap().size, LARGE as u64);
}

#[tokio::test]
async fn a_queue_is_used_in_order_and_rules_only_where_they_match() {
    let (_origin, proxy) = both().await;
    proxy.next_for(|head| head.is("DELETE", "/b"), Fault::Answer(Answer::error(500, "InternalError")));
    proxy.next(Fault::Answer(Answer::error(503, "SlowDown").header("Retry-After", "7")));
    proxy.next(Fault::Answer(Answer::error(409, "ConditionalRequestConflict")));
    let slow = Client::once(proxy.address(), &get()).await;
    assert_eq!((slow.status, slow.header("retry-after")), (503, Some("7")));
    assert!(slow.has("<Code>SlowDown</Code>"));
    assert_eq!(Client::once(proxy.address(), &get()).await.status, 409);
    assert_eq!(Client::once(proxy.address(), &get()).await.status, 200);
    proxy.always(|_| true, Fault::Answer(Answer::new(502, "")));
    assert_eq!(Client::once(proxy.address(), &get()).await.status, 502);
    assert_eq!(Client::once(proxy.address(), &get()).await.status, 502);
    proxy.clear();
    assert_eq!(Client::once(proxy.address(), &signed("DELETE", "/b/old", &[], b"")).await.status, 204);
}

#[tokio::test]
async fn a_delayed_request_waits_for_its_gate() {
    let (origin, proxy) = both().await;
    let gate = Gate::closed();
    proxy.next(Fault::Delay(gate.clone()));
    let mut client = Client::connect(proxy.address()).await;
    client.send(&put()).await.unwrap();
    assert_eq!(proxy.stalled(1).await[0].answered, None);
    assert!(!stored(&origin));
    gate.open();
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert!(stored(&origin));
}

#[tokio::test]
async fn resets_before_forwarding_have_no_effect() {
    for fault in [Fault::ResetAtHead, Fault::ResetInBody { after: 3 }] {
        let (origin, proxy) = both().await;
        let kind = fault.kind();
        proxy.next(fault);
        let seen = expect_reset(&proxy, &put()).await;
        assert_eq!((seen.fault, seen.forwarded, seen.answered), (kind, false, None));
        assert!(origin.log().is_empty());
    }
}

#[tokio::test]
async fn a_reset_in_a_large_body_breaks_the_write() {
    let (origin, proxy) = both().await;
    proxy.next(Fault::ResetInBody { after: 100_000 });
    let mut client = Client::connect(proxy.address()).await;
    let error = client.send(&signed("PUT", "/b/k", &[], &vec![0; LARGE])).await.unwrap_err();
    assert!([ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()), "{error}");
    assert!(origin.log().is_empty());
}

#[tokio::test]
async fn a_lost_reply_leaves_its_effect() {
    let (origin, proxy) = both().await;
    proxy.next(Fault::LostReply(End::Reset));
    let seen = expect_reset(&proxy, &put()).await;
    assert!(stored(&origin) && seen.forwarded && seen.answered.is_none());

    proxy.next(Fault::LostReply(End::Close));
    let mut client = Client::connect(proxy.address()).await;
    client.send(&put()).await.unwrap();
    assert_eq!(client.answer().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn an_answer_can_hide_whether_there_was_an_effect() {
    let (origin, proxy) = both().await;
    proxy.next(Fault::Answer(Answer::error(500, "InternalError")));
    assert_eq!(Client::once(proxy.address(), &put()).await.status, 500);
    assert!(!stored(&origin) && !proxy.seen()[0].forwarded);
    proxy.next(Fault::AnswerAfter(Answer::error(500, "InternalError")));
    assert_eq!(Client::once(proxy.address(), &put()).await.status, 500);
    assert!(stored(&origin) && proxy.seen()[1].forwarded);
}

#[tokio::test]
async fn a_late_effect_comes_when_the_test_wants_it() {
    for answer in [Some(Answer::error(504, "GatewayTimeout")), None] {
        let (origin, proxy) = both().await;
        let gate = Gate::closed();
        let is_answered = answer.is_some();
        proxy.next(Fault::Late { answer, gate: gate.clone() });
        let mut client = Client::connect(proxy.address()).await;
        client.send(&put()).await.unwrap();
        match client.answer().await {
            Ok(answer) => assert!(is_answered && answer.status == 504),
            Err(error) => assert!(!is_answered && error.kind() == ErrorKind::ConnectionReset),
        }
        drop(client);
        assert!(!proxy.stalled(1).await[0].finished && !stored(&origin));
        gate.open();
        assert!(proxy.finished(1).await[0].forwarded && stored(&origin));
    }
}

#[tokio::test]
async fn a_connection_can_go_stale_without_a_word() {
    let (_origin, proxy) = both().await;
    proxy.next(Fault::CloseAfter);
    let mut client = Client::connect(proxy.address()).await;
    client.send(&get()).await.unwrap();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    assert!(client.rest().await.1.is_ok());
}

#[tokio::test]
async fn an_early_answer_waits_behind_a_write_that_fails() {
    let (origin, proxy) = both().await;
    let answer = Answer::error(412, "PreconditionFailed");
    proxy.next(Fault::EarlyAnswer { answer, end: EarlyEnd::Reset });
    let mut client = Client::connect(proxy.address()).await;
    client.send(&signed("PUT", "/b/k", &[], &vec![0; LARGE])).await.unwrap_err();
    assert_eq!(client.answer().await.unwrap().status, 412);
    assert!(origin.log().is_empty());
}

#[tokio::test]
async fn an_early_answer_may_leave_the_body_lying() {
    let (_origin, proxy) = both().await;
    let answer = Answer::error(501, "NotImplemented");
    proxy.next(Fault::EarlyAnswer { answer: answer.clone(), end: EarlyEnd::Stall });
    let mut client = Client::connect(proxy.address()).await;
    let large = signed("PUT", "/b/k", &[], &vec![0; LARGE]);
    client.send(&large[..1000]).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 501);
    proxy.stalled(1).await;
    drop(client);
    proxy.finished(1).await;

    proxy.next(Fault::EarlyAnswer { answer, end: EarlyEnd::Drain });
    let mut client = Client::connect(proxy.address()).await;
    client.send(&large).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 501);
    client.send(&get()).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_body_can_be_cut() {
    for (end, kind) in [(End::Close, ErrorKind::UnexpectedEof), (End::Reset, ErrorKind::ConnectionReset)] {
        let (_origin, proxy) = both().await;
        proxy.next(Fault::CutBody { after: 4, end });
        let mut client = Client::connect(proxy.address()).await;
        client.send(&get()).await.unwrap();
        assert_eq!(client.head().await.unwrap().header("content-length"), Some("10"));
        assert_eq!(client.bytes(4).await.unwrap(), b"0123");
        assert_eq!(client.bytes(1).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn both_directions_can_stall() {
    let (origin, proxy) = both().await;
    proxy.next(Fault::StallBody { after: 4 });
    let mut client = Client::connect(proxy.address()).await;
    client.send(&get()).await.unwrap();
    client.head().await.unwrap();
    assert_eq!(client.bytes(4).await.unwrap(), b"0123");
    assert!(proxy.stalled(1).await[0].forwarded);
    drop(client);
    proxy.finished(1).await;

    proxy.next(Fault::StallUpload { after: 10 });
    let mut client = Client::connect(proxy.address()).await;
    let large = signed("PUT", "/b/k", &[], &vec![0; LARGE]);
    {
        // The write never ends; that it was not taken is seen when it is given up.
        let write = client.send(&large);
        tokio::pin!(write);
        tokio::select! {
            result = &mut write => panic!("{LARGE} bytes were taken: {result:?}"),
            _ = proxy.stalled(1) => {}
        }
    }
    assert!(!stored(&origin));
}

#[tokio::test]
async fn a_length_can_be_wrong_either_way() {
    let (_origin, proxy) = both().await;
    proxy.next(Fault::WrongLength(5));
    let mut client = Client::connect(proxy.address()).await;
    client.send(&get()).await.unwrap();
    assert_eq!(client.head().await.unwrap().header("content-length"), Some("15"));
    let (body, end) = client.rest().await;
    assert!(body == b"0123456789" && end.is_ok());

    proxy.next(Fault::WrongLength(-5));
    let mut client = Client::connect(proxy.address()).await;
    client.send(&get()).await.unwrap();
    assert_eq!(client.answer().await.unwrap().body, b"01234");
    client.send(&get()).await.unwrap();
    assert!(client.answer().await.is_err(), "what is left over is no answer");
}

#[tokio::test]
async fn answers_can_be_endless_until_the_client_hangs_up() {
    for (fault, mark) in [
        (Fault::endless_body("<ListBucketResult>"), "<ListBucketResult>xxx"),
        (Fault::endless_headers(), "X-More: and more\r\nX-More"),
    ] {
        let (_origin, proxy) = both().await;
        proxy.next(fault);
        let mut client = Client::connect(proxy.address()).await;
        client.send(&get()).await.unwrap();
        let bytes = client.bytes(10 << 20).await.unwrap();
        assert!(String::from_utf8_lossy(&bytes[..500]).contains(mark));
        drop(client);
        proxy.finished(1).await;
    }
}

#[tokio::test]
async fn an_answer_can_be_no_http() {
    let (origin, proxy) = both().await;
    proxy.next(Fault::Garbage(Bytes::from_static(b"\0\x01 what?")));
    let mut client = Client::connect(proxy.address()).await;
    client.send(&put()).await.unwrap();
    let (bytes, end) = client.rest().await;
    assert!(bytes == b"\0\x01 what?" && end.is_ok() && !stored(&origin));
}

#[tokio::test]
async fn several_interim_answers_come_before_the_real_one() {
    let (origin, proxy) = both().await;
    proxy.next(Fault::Continues(3));
    let mut client = Client::connect(proxy.address()).await;
    client.send(&put()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(client.head().await.unwrap().status, 100);
    }
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert!(stored(&origin));
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    let (origin, proxy) = both().await;
    let request = signed("PUT", "/b/k", &[("expect", "100-continue")], b"content");
    let (head, body) = request.split_at(request.len() - 7);
    let mut client = Client::connect(proxy.address()).await;
    client.send(head).await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 100);
    client.send(body).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert!(stored(&origin));
}

#[tokio::test]
async fn connections_can_be_refused() {
    let (_origin, proxy) = both().await;
    proxy.refuse_connections(1);
    let mut client = Client::connect(proxy.address()).await;
    let _ = client.send(&get()).await;
    assert!(client.answer().await.is_err());
    assert_eq!(Client::once(proxy.address(), &get()).await.status, 200);
    assert_eq!((proxy.connections(), proxy.seen().len()), (1, 1));
}

#[tokio::test]
async fn an_origin_that_is_gone_looks_like_a_reset() {
    let (origin, proxy) = both().await;
    drop(origin);
    let mut client = Client::connect(proxy.address()).await;
    client.send(&get()).await.unwrap();
    assert!(client.answer().await.is_err());
    assert!(!proxy.finished(1).await[0].forwarded);
}
