//! Every form of an answer.

use super::*;

/// Sends two requests, the first answered by `first`; returns that answer's status and body, and the number of connections.
async fn exchange(first: Reply) -> (u16, Result<Vec<u8>, io::ErrorKind>, usize) {
    let first = Arc::new(Mutex::new(Some(first)));
    let server = Server::start(move |_| {
        let next = first.lock().unwrap().take();
        next.unwrap_or_else(|| Reply::keep("HTTP/1.1 204 No Content\r\n\r\n"))
    })
    .await;
    let transport = transport();
    let answer = send(&transport, get(server.port)).await.unwrap();
    let status = answer.status().as_u16();
    let body = read(answer).await.map_err(|error| error.kind());
    assert_eq!(fetch(&transport, server.port).await, (204, vec![]));
    (status, body, server.connections())
}

#[tokio::test]
async fn the_request_arrives_as_it_is() {
    let server = Server::start(|_| Reply::keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).await;
    let transport = transport();
    fetch(&transport, server.port).await;
    let body = Payload::from_pieces([vec![1; 100_000], vec![2; 300_000]].map(Bytes::from));
    let mut request = put(server.port, "");
    request.headers_mut().insert("content-length", 400_000.into());
    *request.body_mut() = RequestBody::new(body, None);
    read(send(&transport, request).await.unwrap()).await.unwrap();
    let [(get, nothing), (put, body)] = server.requests().try_into().unwrap();
    let port = server.port;
    let lines = |head: &str| head.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let expected = |first: &str, len: u64| {
        lines(&format!(
            "{first} HTTP/1.1\nhost: 127.0.0.1:{port}\nx-amz-date: 20231114T221320Z\ncontent-length: {len}\n\n"
        ))
    };
    assert_eq!(lines(&get), expected("GET /bucket/a%20key?x=%2F", 0));
    assert_eq!(lines(&put), expected("PUT /bucket/key", 400_000));
    assert!(nothing.is_empty());
    assert_eq!(body, [vec![1; 100_000], vec![2; 300_000]].concat());
}

#[tokio::test]
async fn a_body_with_a_length_comes_in_large_pieces_or_whole() {
    let content: Vec<u8> = (0..10_000_000u32).map(|n| (n % 251) as u8).collect();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
    let reply = [head.as_bytes(), &content].concat();
    let server = Server::start(move |_| Reply::keep(&reply)).await;
    let transport = transport();
    let mib = 1 << 20;
    let rest = 10_000_000 - 9 * mib;
    for (wanted, lens_expected) in [
        (0, [vec![mib; 9], vec![rest]].concat()),
        (4 * mib, vec![4 * mib, 4 * mib, 10_000_000 - 8 * mib]),
        (16 * mib, vec![10_000_000]),
    ] {
        let mut body = send(&transport, get(server.port)).await.unwrap().into_body();
        body.want_whole(wanted);
        let mut pieces = Vec::new();
        while let Some(piece) = body.next().await {
            pieces.push(piece.unwrap());
        }
        let lens: Vec<_> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(lens, lens_expected);
        assert!(pieces.concat() == content);
        assert!(body.next().await.is_none());
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn short_bodies_are_one_piece() {
    let (status, body, connections) =
        exchange(Reply::keep("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc")).await;
    assert_eq!((status, body, connections), (404, Ok(b"abc".to_vec()), 1));
}

#[tokio::test]
async fn chunked_bodies_are_joined_and_the_connection_is_kept() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n";
    assert_eq!(exchange(Reply::keep(chunked)).await, (200, Ok(b"abcde".to_vec()), 1));
}

#[tokio::test]
async fn answers_to_head_have_no_body_whatever_their_length_says() {
    let server =
        Server::start(|_| Reply::keep("HTTP/1.1 404 Not Found\r\nContent-Length: 300\r\n\r\n")).await;
    let transport = transport();
    for _ in 0..2 {
        let uri = format!("http://127.0.0.1:{}/bucket/key", server.port);
        let answer = send(&transport, request(Method::HEAD, &uri, "")).await.unwrap();
        assert_eq!(answer.headers()["content-length"], "300");
        assert_eq!(read(answer).await.unwrap(), b"");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn informational_answers_are_skipped() {
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n".repeat(5);
    let reply = format!("{go_on}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(exchange(Reply::keep(reply)).await, (200, Ok(b"ok".to_vec()), 1));
}

#[tokio::test]
async fn redirects_are_answers_like_others() {
    let moved =
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(exchange(Reply::keep(moved)).await, (307, Ok(vec![]), 1));
}

#[tokio::test]
async fn http_1_0_works_without_keeping_the_connection() {
    let plain = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(exchange(Reply::close(plain)).await, (200, Ok(b"ok".to_vec()), 2));
    let kept = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(exchange(Reply::keep(kept)).await, (200, Ok(b"ok".to_vec()), 2));
    let unsized_body = "HTTP/1.0 200 OK\r\n\r\nall of it";
    assert_eq!(exchange(Reply::close(unsized_body)).await, (200, Ok(b"all of it".to_vec()), 2));
}

#[tokio::test]
async fn close_is_honoured_though_the_server_keeps_the_connection_open() {
    for (name, value) in [("Connection", "close"), ("Connection", "x, CLOSE"), ("Proxy-Connection", "close")]
    {
        let reply = format!("HTTP/1.1 200 OK\r\n{name}: {value}\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(exchange(Reply::keep(reply)).await, (200, Ok(b"ok".to_vec()), 2), "{value}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_an_error() {
    let (status, body, connections) =
        exchange(Reply::close("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")).await;
    assert_eq!((status, body, connections), (200, Err(io::ErrorKind::UnexpectedEof), 2));
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n".to_owned();
    let (_, body, _) = exchange(Reply::close(head + &"x".repeat(8_999_999))).await;
    assert_eq!(body, Err(io::ErrorKind::UnexpectedEof));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let (_, body, _) = exchange(Reply::close(chunked)).await;
    assert_eq!(body, Err(io::ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn bytes_behind_a_body_are_not_read_as_an_answer() {
    for len in [2, 200_000] {
        let body = "x".repeat(len);
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{body}HTTP/1.1 500 No\r\n\r\n");
        assert_eq!(exchange(Reply::keep(reply)).await, (200, Ok(body.into_bytes()), 2));
    }
}

#[tokio::test]
async fn a_length_that_is_none_is_refused() {
    for length in ["-1", "ten", "18446744073709551616", "1\r\nContent-Length: 2"] {
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nabc");
        let server = Server::start(move |_| Reply::keep(&reply)).await;
        let source = unclear(send(&transport(), get(server.port)).await);
        assert_eq!(source.kind(), io::ErrorKind::InvalidData, "{length}: {source:?}");
    }
}

// Goal: a huge length costs no memory. Method: announce more than any machine has, send nothing.
#[tokio::test]
async fn an_announced_length_allocates_no_more_than_a_piece() {
    let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nabc", u64::MAX / 2);
    let (_, body, _) = exchange(Reply::close(reply)).await;
    assert_eq!(body, Err(io::ErrorKind::UnexpectedEof));
}

// Goal: who sent a refusal can be told though its end never comes. Method: what came of the body is read before the error.
#[tokio::test]
async fn what_came_of_a_body_that_is_cut_is_handed_out_before_the_error() {
    let server =
        Server::start(|_| Reply::close("HTTP/1.1 403 Forbidden\r\nContent-Length: 5000\r\n\r\n<html>")).await;
    let mut body = send(&transport(), get(server.port)).await.unwrap().into_body();
    assert_eq!(body.next().await.unwrap().unwrap(), "<html>");
    assert_eq!(body.next().await.unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert!(body.next().await.is_none());
}
