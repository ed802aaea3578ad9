//! The least HTTP that is needed to see whether a server is up and to make a user in it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Longest wait for a connection, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Sends one request to a port of this machine; `head` is its first line and headers without `Host`.
pub(super) fn ask(port: u16, head: &[&str], body: &str) -> Result<Answer> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).context("cannot connect")?;
    stream.set_read_timeout(Some(TIMEOUT)).context("cannot set a timeout")?;
    stream.set_write_timeout(Some(TIMEOUT)).context("cannot set a timeout")?;
    let length = body.len();
    let request = format!(
        "{}\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}",
        head.join("\r\n")
    );
    stream.write_all(request.as_bytes()).context("cannot send")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).context("cannot read the answer")?;
    parse(&String::from_utf8_lossy(&answer))
}

fn parse(answer: &str) -> Result<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of its headers")?;
    ensure!(head.starts_with("HTTP/1."), "the answer is not HTTP");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer { status: status.context("the answer has no status")?, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = parse("HTTP/1.1 403 Forbidden\r\nDate: now\r\n\r\n<Error/>").unwrap();
        assert_eq!(answer.status, 403);
        assert_eq!(answer.body, "<Error/>");
    }

    #[test]
    fn anything_else_is_no_answer() {
        for answer in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 many\r\n\r\n"] {
            assert!(parse(answer).is_err(), "{answer:?}");
        }
    }
}
