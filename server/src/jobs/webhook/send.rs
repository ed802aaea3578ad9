//! One POST to a server that nobody vouches for.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use coldkeep_client::{BoxedStream, Connect as _, ConnectError, TlsConnector, Trust};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::WebhookUrl;
use crate::jobs::NotifySecret;

/// Longest time from the first byte to the head of the answer.
const DEADLINE: Duration = Duration::from_secs(15);
/// Longest head of an answer, in bytes; its body is not read.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A POST did not get through.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("no connection")]
    Connect(#[source] ConnectError),
    #[error("cannot connect to {authority}")]
    Unreachable {
        authority: String,
        #[source]
        source: io::Error,
    },
    #[error("the request cannot be written")]
    Request(#[from] http::Error),
    #[error("the secret cannot stand in a header")]
    Secret,
    #[error("there was no answer")]
    Http(#[from] hyper::Error),
    #[error("there was no answer within {} s", DEADLINE.as_secs())]
    TooLate,
    #[error("the answer was {status}; redirects are not followed")]
    Answer { status: StatusCode },
    #[error("stopped by request")]
    Stopped,
}

/// Sends a body of JSON.
///
/// # Cancel safety
/// It may have been sent.
pub(super) async fn post(
    url: &WebhookUrl,
    secret: Option<&NotifySecret>,
    body: Bytes,
) -> Result<(), SendError> {
    let request = request(url, secret, body)?;
    let answered = async {
        let stream = connect(url).await?;
        let (mut sender, connection) =
            Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(async move {
            // The request reports what goes wrong.
            let _ = connection.await;
        }));
        Ok(sender.send_request(request).await?.status())
    };
    let status: StatusCode =
        tokio::time::timeout(DEADLINE, answered).await.unwrap_or(Err(SendError::TooLate))?;
    if status.is_success() { Ok(()) } else { Err(SendError::Answer { status }) }
}

fn request(
    url: &WebhookUrl,
    secret: Option<&NotifySecret>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, SendError> {
    let mut request = Request::post(url.path.as_str())
        .header(HOST, url.authority.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("coldkeep/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))?;
    if let Some(secret) = secret {
        let mut value = HeaderValue::from_str(secret.reveal()).map_err(|_| SendError::Secret)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

async fn connect(url: &WebhookUrl) -> Result<BoxedStream, SendError> {
    if url.is_tls {
        let connector = TlsConnector::new(&url.host, url.port, Trust::SystemRoots);
        return connector.connect().await.map_err(SendError::Connect);
    }
    let unreachable = |source| SendError::Unreachable { authority: url.authority.clone(), source };
    Ok(Box::new(TcpStream::connect((url.host.as_str(), url.port)).await.map_err(unreachable)?))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with this, and returns what it was.
    async fn exchange(answer: &'static str, secret: Option<&str>) -> (Result<(), SendError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap()).parse().unwrap();
        let secret = secret.map(|text| text.parse().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = Vec::new();
            while !got.ends_with(b"{\"x\":1}") {
                assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(got).unwrap()
        };
        tokio::join!(post(&url, secret.as_ref(), Bytes::from_static(b"{\"x\":1}")), server)
    }

    #[tokio::test]
    async fn a_post_has_the_facts_and_shows_the_secret() {
        let (sent, request) = exchange("HTTP/1.1 204 No Content\r\n\r\n", Some("Bearer hush")).await;
        sent.unwrap();
        let lower = request.to_lowercase();
        assert!(request.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{request}");
        for line in
            ["content-type: application/json\r\n", "authorization: bearer hush\r\n", "host: 127.0.0.1:"]
        {
            assert!(lower.contains(line), "{request}");
        }
        let (sent, request) = exchange("HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n", None).await;
        sent.unwrap();
        assert!(!request.to_lowercase().contains("authorization"), "{request}");
    }

    #[tokio::test]
    async fn anything_but_success_is_a_failure() {
        for (answer, said) in [
            ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\n", "302"),
            ("HTTP/1.1 500 No\r\n\r\n", "500"),
            ("nonsense\r\n\r\n", "there was no answer"),
            ("", "there was no answer"),
        ] {
            let (sent, _) = exchange(answer, None).await;
            let text = sent.unwrap_err().to_string();
            assert!(text.contains(said), "{answer:?}: {text}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: WebhookUrl = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let error = post(&url, None, Bytes::new()).await.unwrap_err();
        assert!(matches!(error, SendError::Unreachable { .. }), "{error:?}");
    }
}
