//! Plain requests through a proxy; for tunnels see the tests of TLS.

use super::*;

#[tokio::test]
async fn a_plain_request_goes_to_the_proxy_in_absolute_form() {
    let proxy = Server::start(|_| Reply::keep("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).await;
    let address = format!("http://aladdin:geheim@127.0.0.1:{}", proxy.port);
    let builder = HttpTransport::builder(Scheme::Http).with_proxy(address.parse().unwrap());
    let shown = format!("{builder:?}");
    let transport = builder.build().unwrap();
    for _ in 0..2 {
        let answer =
            send(&transport, request(Method::GET, "http://s3.example:9000/b/k?x", "")).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), b"ok");
    }
    for (head, _) in proxy.requests() {
        assert!(head.starts_with("GET http://s3.example:9000/b/k?x HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nhost: s3.example:9000\r\n"), "{head}");
        assert!(head.contains("\r\nproxy-authorization: Basic YWxhZGRpbjpnZWhlaW0=\r\n"), "{head}");
    }
    assert_eq!((proxy.connections(), proxy.requests().len()), (1, 2));
    let shown = format!("{shown} {transport:?}");
    assert!(!shown.contains("geheim") && !shown.contains("YWxhZGRpb"), "{shown}");
}

#[tokio::test]
async fn an_unreachable_proxy_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    drop(listener);
    let proxy = format!("http://{address}").parse().unwrap();
    let transport = HttpTransport::builder(Scheme::Http).with_proxy(proxy).build().unwrap();
    let source = not_sent(send(&transport, request(Method::GET, "http://s3.example/", "")).await);
    assert_eq!(source.to_string(), format!("cannot connect to {address}"));
}
