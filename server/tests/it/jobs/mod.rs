//! Jobs: through REST, by their schedules on a clock that the test turns, and from the command line.

mod command;
mod rest;
mod runs;

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Longest wait for what is to be heard.
const PATIENCE: Duration = Duration::from_secs(30);

/// A web server that hears how jobs ended; it answers what it is told to, then success.
struct Hook {
    url: String,
    heard: mpsc::UnboundedReceiver<(String, Value)>,
}

impl Hook {
    async fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut answers = answers.iter();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answers.next().copied().unwrap_or("204 No Content");
                if tell.send(exchange(stream, answer).await).is_err() {
                    return;
                }
            }
        });
        Self { url, heard }
    }

    /// What is heard next.
    async fn next(&mut self) -> Value {
        self.next_with_head().await.1
    }

    /// What is heard next, with the head of the request.
    async fn next_with_head(&mut self) -> (String, Value) {
        let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
        heard.expect("nothing is heard").unwrap()
    }

    fn is_quiet(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }
}

async fn exchange(mut stream: TcpStream, answer: &str) -> (String, Value) {
    let mut got = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0, "cut");
        let text = std::str::from_utf8(&got).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            let head = head.to_owned();
            stream.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.unwrap();
            return (head, body);
        }
    }
}
