//! TLS: certificates, early answers, tunnels.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::{Certificate, Fingerprint, Trust};
use crate::testing::TestClock;
use crate::transport::tls::Tls;
use crate::transport::wire::{Counted, Wire};
use crate::transport::{ConnectError, SetupError};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An authority, and a server certificate for `localhost` that it signed.
struct Issued {
    authority: Certificate,
    leaf: CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

fn issue() -> Issued {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap().der().clone();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let authority = Certificate::from_der(authority.der().to_vec());
    Issued { authority, leaf, acceptor: TlsAcceptor::from(Arc::new(config)) }
}

async fn server(issued: &Issued, answer: impl Fn(usize) -> Reply + Clone + Send + Sync + 'static) -> Server {
    let acceptor = issued.acceptor.clone();
    Server::with(move |tcp, seen| {
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        async move { serve(acceptor.accept(tcp).await?, &seen, answer).await }
    })
    .await
}

fn trusting(trust: Trust) -> HttpTransport {
    HttpTransport::builder(Scheme::Https).with_trust(trust).build().unwrap()
}

fn https(host: &str, port: u16, body: impl Into<Bytes>) -> Request<RequestBody> {
    request(Method::PUT, &format!("https://{host}:{port}/bucket/key"), body)
}

async fn refusal(transport: &HttpTransport, host: &str, port: u16) -> ConnectError {
    let source = not_sent(send(transport, https(host, port, "x")).await);
    *source.into_inner().unwrap().downcast().unwrap()
}

#[tokio::test]
async fn a_pinned_certificate_is_accepted_whatever_its_name() {
    let issued = issue();
    let server = server(&issued, |_| Reply::keep(OK)).await;
    let transport = trusting(Trust::Pinned(Fingerprint::of(&issued.leaf)));
    for _ in 0..3 {
        let answer = send(&transport, https("127.0.0.1", server.port, vec![1; 1 << 20])).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), b"ok");
    }
    assert_eq!(server.connections(), 1);
    assert!(server.requests().iter().all(|(_, body)| *body == vec![1; 1 << 20]));
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused_and_both_are_named() {
    let issued = issue();
    let server = server(&issued, |_| Reply::keep(OK)).await;
    let pinned = Fingerprint::of(b"another");
    match refusal(&trusting(Trust::Pinned(pinned)), "localhost", server.port).await {
        ConnectError::FingerprintMismatch { expected, got, .. } => {
            assert_eq!((expected, got), (pinned, Fingerprint::of(&issued.leaf)));
        }
        other => panic!("{other:?}"),
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_certificate_of_a_named_authority_is_accepted() {
    let issued = issue();
    let server = server(&issued, |_| Reply::keep(OK)).await;
    for trust in
        [Trust::Authorities(vec![issued.authority.clone()]), Trust::SystemRootsAnd(vec![issued.authority])]
    {
        let transport = trusting(trust);
        let answer = send(&transport, https("localhost", server.port, "x")).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), b"ok");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_name_is_refused_with_its_fingerprint() {
    let issued = issue();
    let server = server(&issued, |_| Reply::keep(OK)).await;
    let right = Trust::Authorities(vec![issued.authority.clone()]);
    let wrong = Trust::Authorities(vec![issue().authority]);
    for (trust, host) in [(wrong, "localhost"), (right, "127.0.0.1")] {
        match refusal(&trusting(trust), host, server.port).await {
            ConnectError::Untrusted { fingerprint, .. } => {
                assert_eq!(fingerprint, Fingerprint::of(&issued.leaf), "{host}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(server.requests().is_empty());
}

#[test]
fn authorities_that_cannot_serve_are_refused_at_once() {
    let build = |trust| HttpTransport::builder(Scheme::Https).with_trust(trust).build().err().unwrap();
    let garbage = Certificate::from_der(*b"garbage");
    assert!(matches!(build(Trust::Authorities(vec![garbage])), SetupError::Certificate { .. }));
    assert!(matches!(build(Trust::Authorities(vec![])), SetupError::NoAuthorities));
}

#[tokio::test]
async fn a_server_without_tls_is_not_sent() {
    let server = Server::with(|mut stream, _| async move { stream.write_all(OK.as_bytes()).await }).await;
    let error = refusal(&trusting(Trust::Pinned(Fingerprint::of(b""))), "localhost", server.port).await;
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error:?}");
}

// Goal: a handshake that never ends is given up. Method: the server says nothing; the time passes when its part was read.
#[tokio::test]
async fn a_silent_handshake_ends_at_the_time_limit_and_is_not_sent() {
    let clock = Arc::new(TestClock::new());
    let passing = Arc::clone(&clock);
    let server = Server::with(move |mut stream, _| {
        let passing = Arc::clone(&passing);
        async move {
            stream.read_u8().await?;
            passing.advance(Duration::from_secs(3));
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
        }
    })
    .await;
    let transport = HttpTransport::builder(Scheme::Https)
        .with_trust(Trust::Pinned(Fingerprint::of(b"")))
        .with_clock(clock)
        .with_connect_timeout(Duration::from_secs(3))
        .build()
        .unwrap();
    let error = refusal(&transport, "127.0.0.1", server.port).await;
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error:?}");
    server.closed().await;
}

#[tokio::test]
async fn large_answers_come_whole_and_cut_ones_are_errors() {
    let issued = issue();
    let len = 9 << 20;
    let whole =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n").into_bytes(), vec![3; len]].concat();
    let server = server(&issued, move |n| match n {
        0 | 1 => Reply::keep(&whole),
        _ => Reply::close(&whole[..whole.len() - 1]),
    })
    .await;
    let transport = trusting(Trust::Pinned(Fingerprint::of(&issued.leaf)));
    for _ in 0..2 {
        let answer = send(&transport, https("localhost", server.port, "x")).await.unwrap();
        assert!(read(answer).await.unwrap() == vec![3; len]);
    }
    let answer = send(&transport, https("localhost", server.port, "x")).await.unwrap();
    assert_eq!(read(answer).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_tls_connection_closed_meanwhile_is_replaced() {
    let issued = issue();
    let server = server(&issued, |_| Reply::close(OK)).await;
    let transport = trusting(Trust::Pinned(Fingerprint::of(&issued.leaf)));
    for round in 1..=10 {
        let answer = send(&transport, https("localhost", server.port, "x")).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), b"ok");
        server.closed().await;
        assert_eq!((server.connections(), server.requests().len()), (round, round));
    }
}

// Goal: a request that hyper hands back unsent goes out on another connection. Method: bytes behind the body end up decrypted inside the
// TLS session of the kept connection, where only hyper finds them.
#[tokio::test]
async fn a_request_handed_back_goes_out_on_another_connection() {
    let issued = issue();
    let body = "x".repeat(1_000_000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let server = server(&issued, move |_| Reply::keep(format!("{head}{body}HTTP/1.1 500 No\r\n\r\n"))).await;
    let transport = trusting(Trust::Pinned(Fingerprint::of(&issued.leaf)));
    for round in 1..=3 {
        let answer = send(&transport, https("localhost", server.port, "x")).await.unwrap();
        assert_eq!(read(answer).await.unwrap().len(), 1_000_000);
        assert_eq!((server.connections(), server.requests().len()), (round, round));
    }
}

// Goal: session tickets, which come unasked, do not cost the connection. Method: look at one that carried nothing yet.
#[tokio::test]
async fn session_tickets_leave_a_connection_idle() {
    let issued = issue();
    let shaken = Arc::new(Semaphore::new(0));
    let (acceptor, done) = (issued.acceptor.clone(), Arc::clone(&shaken));
    let server = Server::with(move |tcp, _| {
        let (acceptor, done) = (acceptor.clone(), Arc::clone(&done));
        async move {
            let mut stream = acceptor.accept(tcp).await?;
            stream.flush().await?;
            done.add_permits(1);
            stream.read_u8().await?;
            stream.shutdown().await
        }
    })
    .await;
    let tls = Tls::new(&Trust::Pinned(Fingerprint::of(&issued.leaf))).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let authority = "127.0.0.1:1".parse().unwrap();
    let stream = tls.connect("127.0.0.1", &authority, Counted::new(tcp)).await.unwrap();
    shaken.acquire().await.unwrap().forget();
    let mut wire = Wire::encrypted(stream);
    // The runtime may have to hear of the tickets first.
    let mut looks = 0;
    while !wire.is_idle() {
        looks += 1;
        assert!(looks < 10_000, "the tickets were taken for an answer");
        tokio::task::yield_now().await;
    }
    wire.write_all(b"x").await.unwrap();
    server.closed().await;
    assert!(!wire.is_idle(), "closed by the server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_is_delivered_through_tls() {
    let issued = issue();
    let acceptor = issued.acceptor.clone();
    let server = Server::with(move |tcp, _| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(tcp).await?;
            stream.read_u8().await?;
            stream.write_all(b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 5\r\n\r\nearly").await?;
            stream.flush().await
        }
    })
    .await;
    let transport = trusting(Trust::Pinned(Fingerprint::of(&issued.leaf)));
    let body = Bytes::from(vec![7; 4 << 20]);
    for round in 0..100 {
        let answer = send(&transport, https("localhost", server.port, body.clone())).await;
        let answer = answer.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        assert_eq!(answer.status(), 412);
        assert_eq!(read(answer).await.unwrap(), b"early", "round {round}");
    }
}

#[tokio::test]
async fn tls_passes_through_a_tunnel_that_sees_only_the_name() {
    let issued = issue();
    let server = server(&issued, |_| Reply::keep(OK)).await;
    let proxy = Server::with(|mut near, seen| async move {
        let (head, _) = read_request(&mut near).await?;
        let authority = head.split(' ').nth(1).unwrap().to_owned();
        seen.requests.lock().unwrap().push((head, Vec::new()));
        let mut far = TcpStream::connect(authority).await?;
        near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
    })
    .await;
    let address = format!("http://aladdin:geheim@127.0.0.1:{}", proxy.port);
    let transport = HttpTransport::builder(Scheme::Https)
        .with_trust(Trust::Authorities(vec![issued.authority]))
        .with_proxy(address.parse().unwrap())
        .build()
        .unwrap();
    for _ in 0..2 {
        let answer = send(&transport, https("localhost", server.port, "x")).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), b"ok");
    }
    let [(connect, _)] = proxy.requests().try_into().unwrap();
    let port = server.port;
    assert!(connect.starts_with(&format!("CONNECT localhost:{port} HTTP/1.1\r\n")), "{connect}");
    assert!(connect.contains("\r\nProxy-Authorization: Basic YWxhZGRpbjpnZWhlaW0=\r\n"), "{connect}");
    assert!(server.requests().iter().all(|(head, _)| head.starts_with("PUT /bucket/key ")));
    assert!(server.requests().iter().all(|(head, _)| !head.to_lowercase().contains("proxy")));
}

#[tokio::test]
async fn a_refused_tunnel_is_not_sent() {
    let proxy = Server::start(|_| Reply::keep("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")).await;
    let address = format!("http://aladdin:geheim@127.0.0.1:{}", proxy.port);
    let transport = HttpTransport::builder(Scheme::Https).with_proxy(address.parse().unwrap());
    let transport = transport.with_trust(Trust::Pinned(Fingerprint::of(b""))).build().unwrap();
    let error = refusal(&transport, "s3.example", 443).await;
    assert!(matches!(error, ConnectError::TunnelRefused { status: 407, .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("geheim"));
}

// Goal: what a server says beyond the end of an answer is not taken for the next one. Method: the surplus comes in one TLS record with the
// end of a body that is read straight from the connection, so that the socket holds nothing more.
#[tokio::test]
async fn a_surplus_within_a_record_does_not_answer_the_next_request() {
    let issued = issue();
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(1_000_000));
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    let server =
        server(&issued, move |n| Reply::keep(if n == 0 { format!("{long}{forged}") } else { OK.to_owned() }))
            .await;
    let transport = trusting(Trust::Authorities(vec![issued.authority]));
    let answer = send(&transport, https("localhost", server.port, "x")).await.unwrap();
    assert_eq!(read(answer).await.unwrap().len(), 1_000_000);
    let answer = send(&transport, https("localhost", server.port, "x")).await.unwrap();
    assert_eq!(read(answer).await.unwrap(), b"ok");
    assert_eq!(server.connections(), 2);
}
