//! The client alone, over a stream of its caller's: a request goes out and its answer is understood.

use std::error::Error;

use coldkeep_client::{Client, Connect, Connecting, Credentials, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

/// A server that knows one answer.
struct Canned;

impl Connect for Canned {
    fn connect(&self) -> Connecting<'_> {
        let (ours, mut theirs) = duplex(4096);
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(theirs.read_u8().await?);
            }
            assert!(head.starts_with(b"GET /api2/json/version "), "{}", String::from_utf8_lossy(&head));
            let body = r#"{"data":{"version":"4.0","release":"1","repoid":""}}"#;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            theirs.write_all(answer.as_bytes()).await
        });
        Box::pin(async move { Ok(Box::new(ours) as _) })
    }

    fn authority(&self) -> &str {
        "nowhere:8007"
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let credentials = Credentials::new("joe@pbs!token".parse()?, Secret::new("secret"));
    let version = Client::new(Canned, credentials).version().await?;
    assert_eq!((version.version.as_str(), version.release.as_str()), ("4.0", "1"));
    Ok(())
}
