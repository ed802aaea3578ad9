//! Answers that come before the request was read (spec `s3-servers.md` §3 point 1).

use tokio::io::AsyncReadExt as _;

use super::*;
use crate::limits::{Bucket, Pace, Rate};
use crate::testing::TestClock;

const EARLY: &str = "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 5\r\n\r\nearly";

/// Reads `read_bytes` of the request, answers, and closes with the rest unread: the system resets the connection.
async fn early_server(read_bytes: usize, answer: &'static str) -> Server {
    Server::with(move |mut stream, _| async move {
        let mut start = vec![0; read_bytes];
        stream.read_exact(&mut start).await?;
        stream.write_all(answer.as_bytes()).await
    })
    .await
}

// Goal: no refusal is ever reported as a network error. Method: 1,000 uploads that meet the reset at whatever point they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_is_delivered_whole_though_writing_fails() {
    let body = Bytes::from(vec![7; 4 << 20]);
    let transport = transport();
    for read_bytes in [1, 10_000] {
        let server = early_server(read_bytes, EARLY).await;
        for round in 0..500 {
            let answer = send(&transport, put(server.port, body.clone())).await;
            let answer = answer.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
            assert_eq!(answer.status(), 412);
            assert_eq!(read(answer).await.unwrap(), b"early", "round {round}");
        }
        assert_eq!(server.connections(), 500, "an early answer leaves nothing to reuse");
    }
}

#[tokio::test]
async fn an_early_answer_without_end_is_an_error_of_its_body() {
    let server = early_server(1, "HTTP/1.1 501 Not Implemented\r\nContent-Length: 50\r\n\r\nshort").await;
    let answer = send(&transport(), put(server.port, vec![7; 4 << 20])).await.unwrap();
    assert_eq!(answer.status(), 501);
    read(answer).await.unwrap_err();
}

#[tokio::test]
async fn a_reset_without_an_answer_is_unclear_and_keeps_the_error_of_writing() {
    for answer in ["", "HTTP/1.1 412 Precond"] {
        let server = early_server(1, answer).await;
        let source = unclear(send(&transport(), put(server.port, vec![7; 16 << 20])).await);
        let kind = source.kind();
        let expected = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        assert!(expected.contains(&kind), "{source:?}");
    }
}

// Goal: the caller hears of the refusal while the server still reads. Method: the server reads the rest only when told.
#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_rest_of_the_request() {
    let go_on = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&go_on);
    let server = Server::with(move |mut stream, seen| {
        let waiting = Arc::clone(&waiting);
        async move {
            stream.write_all(EARLY.as_bytes()).await?;
            let _ = waiting.acquire().await;
            let request = read_request(&mut stream).await?;
            seen.requests.lock().unwrap().push(request);
            Ok(())
        }
    })
    .await;
    let answer = send(&transport(), put(server.port, vec![7; 64 << 20])).await.unwrap();
    assert_eq!(answer.status(), 412);
    assert_eq!(read(answer).await.unwrap(), b"early");
    go_on.add_permits(1);
    server.closed().await;
    assert!(server.requests().is_empty(), "the connection was closed in the middle of the request");
}

// Goal: a connection on which part of a request is still to come carries no other. Method: the limit of bandwidth holds the body back
// while the server, which wants no more of it, answers and keeps the connection.
#[tokio::test]
async fn a_connection_with_an_unfinished_request_is_not_reused() {
    let server = Server::with(move |mut stream, _| async move {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            stream.write_all(EARLY.as_bytes()).await?;
        }
    })
    .await;
    let bucket = Bucket::new(Rate::per_second(1).unwrap().with_burst(1), Arc::new(TestClock::new()));
    let mut held_back = put(server.port, "");
    held_back.headers_mut().insert("content-length", 1000.into());
    *held_back.body_mut() = RequestBody::new(vec![7; 1000].into(), Some(Pace::new(Arc::new(bucket))));
    let transport = transport();
    let answer = send(&transport, held_back).await.unwrap();
    assert_eq!(read(answer).await.unwrap(), b"early");
    assert_eq!(fetch(&transport, server.port).await, (412, b"early".to_vec()));
    assert_eq!(server.connections(), 2);
}

// Goal: nothing counts as stored that the server has not read. Method: it reads a part, says that all is well, and closes or waits.
#[tokio::test]
async fn a_success_before_the_request_was_sent_is_none() {
    let stored = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let closing = early_server(10_000, stored).await;
    let waiting = Server::with(move |mut stream, _| async move {
        stream.read_exact(&mut [0; 10_000]).await?;
        stream.write_all(stored.as_bytes()).await?;
        std::future::pending().await
    })
    .await;
    for server in [closing, waiting] {
        unclear(send(&transport(), put(server.port, vec![7; 64 << 20])).await);
    }
}
