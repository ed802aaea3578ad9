//! One TCP connection, from either side.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use super::framing::{AnswerHead, answer_head, request_head};
use super::{End, RequestHead};

/// A connection and what was read from it too early.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
}

/// An answer of the origin whose body is still on the wire.
pub(crate) struct Reply {
    pub(crate) head: AnswerHead,
    /// The head as it came, with its empty line.
    pub(crate) raw: Bytes,
    pub(crate) wire: Wire,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Wire {
        let _ = stream.set_nodelay(true);
        Wire { stream, buffer: BytesMut::new() }
    }

    /// Reads the head of the next request; `None` when the client has hung up instead.
    pub(crate) async fn read_request_head(&mut self) -> io::Result<Option<(RequestHead, Bytes)>> {
        loop {
            if let Some((head, len)) = request_head(&self.buffer).map_err(invalid)? {
                return Ok(Some((head, self.buffer.split_to(len).freeze())));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads exactly `len` bytes.
    pub(crate) async fn read_exactly(&mut self, len: u64) -> io::Result<Bytes> {
        let len = usize::try_from(len).map_err(invalid)?;
        while self.buffer.len() < len {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.split_to(len).freeze())
    }

    /// Whatever comes next; empty at the end.
    pub(crate) async fn read_some(&mut self) -> io::Result<Bytes> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(self.buffer.split().freeze())
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Waits until the other side has closed or reset the connection, and reads nothing meanwhile.
    pub(crate) async fn hung_up(&self) {
        while let Ok(ready) = self.stream.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // Data that nobody will read: forget about it until something changes.
            let nothing: io::Result<()> =
                self.stream.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
            drop(nothing);
        }
    }

    pub(crate) async fn end(mut self, end: End) {
        match end {
            End::Close => drop(self.stream.shutdown().await),
            // With a linger time of zero, closing sends RST (tcp(7), socket(7)).
            End::Reset => drop(self.stream.set_zero_linger()),
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.buffer).await
    }
}

/// Bytes asked of the kernel at once.
const READ_BYTES: usize = 64 << 10;

/// Sends a request to the origin on a connection of its own and waits for the head of the answer.
pub(crate) async fn forward(origin: SocketAddr, request: &[Bytes], method: &str) -> io::Result<Reply> {
    let mut wire = Wire::new(TcpStream::connect(origin).await?);
    let (raw, head) = {
        let Wire { stream, buffer } = &mut wire;
        let (mut reader, mut writer) = stream.split();
        let write = async {
            for part in request {
                writer.write_all(part).await?;
            }
            Ok::<_, io::Error>(())
        };
        tokio::pin!(write);
        let mut is_written = false;
        loop {
            match answer_head(buffer, method).map_err(invalid)? {
                // Interim answers are between the origin and the proxy, which sends the body unasked.
                Some((head, len)) if head.status < 200 => drop(buffer.split_to(len)),
                Some((head, len)) => break (buffer.split_to(len).freeze(), head),
                None => {
                    buffer.reserve(READ_BYTES);
                    tokio::select! {
                        // A write that fails is no end: a refusal may wait to be read.
                        _ = &mut write, if !is_written => is_written = true,
                        count = reader.read_buf(buffer) => if count? == 0 {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        },
                    }
                }
            }
        }
    };
    Ok(Reply { head, raw, wire })
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
