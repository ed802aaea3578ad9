//! Which failures are certainly not sent, and which are unclear (R9).

use std::error::Error as _;

use super::*;
use crate::transport::ConnectError;

fn connect_error(source: &io::Error) -> &ConnectError {
    source.get_ref().and_then(|inner| inner.downcast_ref()).unwrap_or_else(|| panic!("{source:?}"))
}

#[tokio::test]
async fn a_closed_port_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let source = not_sent(send(&transport(), get(port)).await);
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
    assert!(matches!(connect_error(&source), ConnectError::Unreachable { .. }), "{source:?}");
    assert_eq!(source.to_string(), format!("cannot connect to 127.0.0.1:{port}"));
    assert!(source.source().is_some());
}

#[cfg(not(feature = "tls"))]
#[test]
fn https_without_the_feature_is_refused_at_once() {
    let error = HttpTransport::builder(Scheme::Https).build().err().unwrap();
    assert!(matches!(error, crate::transport::SetupError::NoTls));
    assert!(error.to_string().contains("feature `tls`"), "{error}");
}

#[tokio::test]
async fn another_scheme_is_not_sent() {
    for uri in ["https://127.0.0.1:1/", "ftp://127.0.0.1:1/"] {
        let source = not_sent(send(&transport(), request(Method::GET, uri, "")).await);
        assert!(
            matches!(connect_error(&source), ConnectError::Address { scheme: Scheme::Http }),
            "{source:?}"
        );
    }
}

#[tokio::test]
async fn no_answer_is_unclear() {
    let server = Server::start(|_| Reply::close("")).await;
    let source = unclear(send(&transport(), get(server.port)).await);
    assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof, "{source:?}");
    let source = unclear(send(&transport(), put(server.port, vec![1; 1 << 20])).await);
    assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof, "{source:?}");
    assert_eq!(server.requests().len(), 2);
}

// Goal: a request of which a byte left is never repeated, on a kept connection neither. Method: the server reads the second and closes.
#[tokio::test]
async fn no_answer_on_a_kept_connection_is_unclear_and_not_repeated() {
    let server = Server::start(|n| match n {
        0 => Reply::keep("HTTP/1.1 204 No Content\r\n\r\n"),
        _ => Reply::close(""),
    })
    .await;
    let transport = transport();
    fetch(&transport, server.port).await;
    unclear(send(&transport, get(server.port)).await);
    assert_eq!((server.connections(), server.requests().len()), (1, 2));
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_unclear() {
    for bytes in ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n"] {
        let server = Server::start(move |_| Reply::keep(bytes)).await;
        let source = unclear(send(&transport(), get(server.port)).await);
        assert_eq!(source.kind(), io::ErrorKind::InvalidData, "{bytes}: {source:?}");
    }
}

// Goal: a hostile server cannot make the client collect a head for ever. Method: endless heads of both kinds, far over the limits.
#[tokio::test]
async fn the_head_of_an_answer_is_bounded() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(64 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(101));
    for head in [long, many] {
        let server = Server::start(move |_| Reply::keep(&head)).await;
        let source = unclear(send(&transport(), get(server.port)).await);
        assert_eq!(source.kind(), io::ErrorKind::InvalidData, "{source:?}");
    }
}
