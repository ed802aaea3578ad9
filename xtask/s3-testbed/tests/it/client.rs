//! A client that writes what it is told and reads what comes.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use coldkeep_s3_testbed::{MemoryS3, Options, TestClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The date of the examples in the S3 API reference.
pub(crate) const DATE: &str = "20130524T000000Z";

/// [`DATE`] as an instant.
pub(crate) fn date() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(15_849 * 24)
}

/// A server whose clock stands at [`DATE`], with a bucket `b`.
pub(crate) async fn origin() -> MemoryS3 {
    origin_with(Options::default()).await
}

/// A server of some kind, whose clock stands at [`DATE`], with a bucket `b`.
pub(crate) async fn origin_with(options: Options) -> MemoryS3 {
    let origin = MemoryS3::start_with(Options { clock: TestClock::at(date()), ..options }).await;
    origin.create_bucket("b");
    origin
}

/// The bytes of a request that is signed in form.
pub(crate) fn signed(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut names: Vec<&str> = vec!["host", "x-amz-content-sha256", "x-amz-date"];
    names.extend(headers.iter().map(|(name, _)| *name));
    names.sort_unstable();
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nx-amz-date: {DATE}\r\n");
    if !headers.iter().any(|(name, _)| *name == "x-amz-content-sha256") {
        text += "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n";
    }
    names.dedup();
    let _ = write!(text, "authorization: {}\r\n", authorization(&names.join(";")));
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let _ = write!(text, "content-length: {}\r\n\r\n", body.len());
    [text.as_bytes(), body].concat()
}

pub(crate) fn authorization(signed: &str) -> String {
    let signature = "0123456789abcdef".repeat(4);
    format!(
        "AWS4-HMAC-SHA256 Credential=AK/20130524/us-east-1/s3/aws4_request, SignedHeaders={signed}, Signature={signature}"
    )
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn has(&self, part: &str) -> bool {
        self.text().contains(part)
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    method: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        Client { stream, buffer: Vec::new(), method: String::new() }
    }

    /// One request on a connection of its own.
    pub(crate) async fn once(address: SocketAddr, request: &[u8]) -> Answer {
        let mut client = Client::connect(address).await;
        client.send(request).await.unwrap();
        client.answer().await.unwrap()
    }

    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        if let Some(end) = request.iter().position(|byte| *byte == b' ') {
            self.method = String::from_utf8_lossy(&request[..end]).into_owned();
        }
        self.stream.write_all(request).await
    }

    /// The next answer; an error where the connection ends before the answer does.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = loop {
            let head = self.head().await?;
            if head.status >= 200 {
                break head;
            }
        };
        let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
        let is_bodiless = self.method == "HEAD" || answer.status == 204 || answer.status == 304;
        match length {
            _ if is_bodiless => {}
            Some(length) => {
                while self.buffer.len() < length {
                    self.fill().await?;
                }
                answer.body = self.buffer.drain(..length).collect();
            }
            None => {
                let (body, end) = self.rest().await;
                end?;
                answer.body = body;
            }
        }
        Ok(answer)
    }

    /// The head of an answer, interim ones too.
    pub(crate) async fn head(&mut self) -> io::Result<Answer> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut head = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(len) = head.parse(&self.buffer).map_err(io::Error::other)? {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let headers = head.headers.iter();
                let headers =
                    headers.map(|header| (header.name.to_lowercase(), text(header.value))).collect();
                let answer = Answer { status: head.code.unwrap(), headers, body: Vec::new() };
                self.buffer.drain(..len);
                return Ok(answer);
            }
            self.fill().await?;
        }
    }

    /// Everything up to the end of the connection, and how it ended.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = std::mem::take(&mut self.buffer);
        let end = self.stream.read_to_end(&mut bytes).await;
        (bytes, end.map(|_| ()))
    }

    /// Exactly `count` further bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    async fn fill(&mut self) -> io::Result<()> {
        let count = self.stream.read_buf(&mut self.buffer).await?;
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
