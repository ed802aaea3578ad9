//! Connections that are kept.

use std::time::Duration;

use super::*;
use crate::testing::TestClock;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn with_clock(clock: &Arc<TestClock>) -> HttpTransport {
    let idle = Duration::from_secs(8);
    let clock: Arc<TestClock> = Arc::clone(clock);
    HttpTransport::builder(Scheme::Http).with_clock(clock).with_idle_time(idle).build().unwrap()
}

#[tokio::test]
async fn one_connection_serves_one_request_after_the_other() {
    let server = Server::start(|_| Reply::keep(OK)).await;
    let transport = transport();
    for _ in 0..10 {
        assert_eq!(fetch(&transport.clone(), server.port).await, (200, b"ok".to_vec()));
        let answer = send(&transport, put(server.port, vec![1; 300_000])).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), b"ok");
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 20));
}

#[tokio::test]
async fn a_connection_is_not_shared_by_two_hosts() {
    let server = Server::start(|_| Reply::keep(OK)).await;
    let transport = transport();
    fetch(&transport, server.port).await;
    let uri = format!("http://localhost:{}/", server.port);
    read(send(&transport, request(Method::GET, &uri, "")).await.unwrap()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_old_connection_is_not_used() {
    let clock = Arc::new(TestClock::new());
    let transport = with_clock(&clock);
    let server = Server::start(|_| Reply::keep(OK)).await;
    fetch(&transport, server.port).await;
    clock.advance(Duration::from_millis(7999));
    fetch(&transport, server.port).await;
    assert_eq!(server.connections(), 1);
    clock.advance(Duration::from_secs(8));
    fetch(&transport, server.port).await;
    assert_eq!(server.connections(), 2);
    server.closed().await;
}

// Goal: a burst leaves no more connections behind than allowed. Method: two bursts of three; what the second opens was not kept.
#[tokio::test]
async fn no_more_are_kept_than_allowed() {
    for (kept_max, connections) in [(0, 6), (1, 5), (3, 3)] {
        let transport = HttpTransport::builder(Scheme::Http).with_idle_connections(kept_max).build().unwrap();
        // Longer than what is read with the head: the connections are busy until the bodies are read.
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(1_000_000));
        let server = Server::start(move |_| Reply::keep(&reply)).await;
        for _ in 0..2 {
            let mut answers = Vec::new();
            for _ in 0..3 {
                answers.push(send(&transport, get(server.port)).await.unwrap());
            }
            for answer in answers {
                read(answer).await.unwrap();
            }
        }
        assert_eq!(server.connections(), connections, "{kept_max} kept");
    }
}

// Goal: a connection that the server has closed costs no attempt. Method: the server closes behind each answer, without saying so.
#[tokio::test]
async fn a_connection_closed_meanwhile_is_replaced() {
    let server = Server::start(|_| Reply::close(OK)).await;
    let transport = transport();
    for round in 1..=20 {
        let answer = send(&transport, put(server.port, vec![1; 100_000])).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), b"ok");
        server.closed().await;
        assert_eq!(server.connections(), round);
    }
    assert_eq!(server.requests().len(), 20, "each request was sent once");
}

#[tokio::test]
async fn a_connection_that_said_something_unasked_is_not_used() {
    let server = Server::start(|n| match n {
        0 => Reply::keep(format!("{OK}HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")),
        _ => Reply::keep(OK),
    })
    .await;
    let transport = transport();
    for _ in 0..2 {
        assert_eq!(fetch(&transport, server.port).await, (200, b"ok".to_vec()));
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn dropping_an_answer_or_a_request_closes_its_connection() {
    let server = Server::start(|n| match n {
        0 => Reply::keep(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 9 << 20)),
        1 => Reply::keep("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        2 => Reply::keep(""),
        _ => Reply::keep(OK),
    })
    .await;
    let transport = transport();
    for _ in 0..2 {
        drop(send(&transport, get(server.port)).await.unwrap());
        server.closed().await;
    }
    let mut sending = Box::pin(send(&transport, get(server.port)));
    tokio::select! {
        answer = &mut sending => panic!("{answer:?}"),
        () = async { while server.requests().len() < 3 { tokio::task::yield_now().await } } => {}
    }
    drop(sending);
    server.closed().await;
    assert_eq!(fetch(&transport, server.port).await, (200, b"ok".to_vec()));
    assert_eq!(server.connections(), 4);
}
