//! A tunnel through an HTTP proxy (RFC 9110 §9.3.6, `CONNECT`).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::connect::ConnectError;
use crate::config::Proxy;

/// Most bytes of a proxy's answer: a status line and a few headers. Error pages follow the head and are not read.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// Asks the proxy at the other end of `stream` for a tunnel to `authority`.
pub(super) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    authority: &str,
) -> Result<(), ConnectError> {
    let shown = || format!("{}:{}", proxy.host(), proxy.port());
    let status = ask(stream, proxy, authority).await;
    match status.map_err(|source| ConnectError::Tunnel { proxy: shown(), source })? {
        200..=299 => Ok(()),
        status => {
            Err(ConnectError::TunnelRefused { proxy: shown(), authority: authority.to_owned(), status })
        }
    }
}

async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    authority: &str,
) -> io::Result<u16> {
    let mut head = Zeroizing::new(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"));
    if let Some(authorization) = proxy.authorization() {
        // Room first: growing would leave copies of the secret behind.
        head.reserve(authorization.len() + 64);
        head.push_str("Proxy-Authorization: ");
        head.push_str(authorization);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let status = parse_status(&answer).ok_or_else(|| invalid("no HTTP status line"))?;
            // In TLS the client speaks first, so whatever follows did not come from the service.
            let is_clean = end + 4 == answer.len() || !(200..=299).contains(&status);
            return if is_clean { Ok(status) } else { Err(invalid("bytes after the head of the answer")) };
        }
        if answer.len() >= ANSWER_BYTES_MAX {
            return Err(invalid("the head of the answer is too long"));
        }
        if (&mut *stream).take((ANSWER_BYTES_MAX - answer.len()) as u64).read_buf(&mut answer).await? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed before the answer was complete",
            ));
        }
    }
}

/// Reads the status from `HTTP/1.x NNN …` (RFC 9112 §4).
pub(crate) fn parse_status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    let (b'0' | b'1', b' ') = (rest.first()?, rest.get(1)?) else { return None };
    let digits = rest.get(2..5)?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(rest.get(5)?, b' ' | b'\r') {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets a proxy answer `answer` and close; returns the result and what the proxy was asked.
    async fn tunnel(proxy: &str, answer: &[u8]) -> (Result<(), ConnectError>, String) {
        let (mut near, mut far) = tokio::io::duplex(64 << 10);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        let result = open(&mut near, &proxy.parse().unwrap(), "s3.example:443").await;
        drop(near);
        let mut asked = String::new();
        far.read_to_string(&mut asked).await.unwrap();
        (result, asked)
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_and_opened() {
        let (result, asked) =
            tunnel("http://proxy:3128", b"HTTP/1.0 200 Connection established\r\n\r\n").await;
        result.unwrap();
        assert_eq!(asked, "CONNECT s3.example:443 HTTP/1.1\r\nHost: s3.example:443\r\n\r\n");
        let (result, asked) = tunnel("http://a:b@proxy", b"HTTP/1.1 200\r\nVia: x\r\n\r\n").await;
        result.unwrap();
        assert!(asked.contains("\r\nProxy-Authorization: Basic YTpi\r\n\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_status() {
        let (result, _) =
            tunnel("http://proxy", b"HTTP/1.1 407 Who are you?\r\nContent-Length: 4\r\n\r\npage").await;
        assert!(matches!(result, Err(ConnectError::TunnelRefused { status: 407, .. })), "{result:?}");
    }

    #[tokio::test]
    async fn every_other_answer_is_an_error() {
        let endless = [b"HTTP/1.1 200 OK\r\n".as_slice(), &[b'x'; ANSWER_BYTES_MAX]].concat();
        for answer in [
            b"".as_slice(),
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            &endless,
        ] {
            let (result, _) = tunnel("http://proxy", answer).await;
            let shown = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
            assert!(matches!(result, Err(ConnectError::Tunnel { .. })), "{shown}: {result:?}");
        }
    }
}
