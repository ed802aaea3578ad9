//! `s3-delay --origin HOST:PORT --delay-ms N`: a proxy that holds every answer back for a while, as distance does.
//!
//! Throughput is not touched: bytes of an answer leave in the order and at the pace in which they came, each `N` ms later. Prints
//! `http://127.0.0.1:PORT` on the first line and serves until its standard input ends.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lexopt::prelude::{Long, ValueExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

/// Most bytes of one connection that are held back at once: a second's worth of a gigabyte a second, at 30 ms.
const HELD_BYTES_MAX: usize = 32 << 20;
const READ_BYTES: usize = 256 << 10;

fn main() -> ExitCode {
    match parse_flags()
        .map_err(|error| error.to_string())
        .and_then(|flags| run(&flags).map_err(|error| error.to_string()))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("s3-delay: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Flags {
    origin: String,
    delay: Duration,
}

fn parse_flags() -> Result<Flags, lexopt::Error> {
    let (mut origin, mut delay) = (None, None);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("origin") => origin = Some(parser.value()?.string()?),
            Long("delay-ms") => delay = Some(Duration::from_millis(parser.value()?.parse()?)),
            other => return Err(other.unexpected()),
        }
    }
    match (origin, delay) {
        (Some(origin), Some(delay)) => Ok(Flags { origin, delay }),
        _ => Err("--origin and --delay-ms are needed".into()),
    }
}

fn run(flags: &Flags) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("http://{}", listener.local_addr()?);
        io::stdout().flush()?;
        let (origin, delay) = (flags.origin.clone(), flags.delay);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let origin = origin.clone();
                // A connection that breaks is the client's to notice.
                tokio::spawn(async move { serve(client, &origin, delay).await.ok() });
            }
        });
        let mut input = tokio::io::stdin();
        let mut rest = [0; 64];
        while input.read(&mut rest).await? > 0 {}
        Ok::<_, io::Error>(())
    })?;
    runtime.shutdown_background();
    Ok(())
}

async fn serve(client: TcpStream, origin: &str, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect(origin).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let up = async move {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    tokio::try_join!(up, delayed(from_server, to_client, delay))?;
    Ok(())
}

/// Copies an answer, each piece `delay` after it came.
async fn delayed(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(HELD_BYTES_MAX));
    let (send, mut pieces) = mpsc::unbounded_channel::<(Instant, Vec<u8>, OwnedSemaphorePermit)>();
    let read = async move {
        loop {
            let mut piece = vec![0; READ_BYTES];
            let read = from.read(&mut piece).await?;
            if read == 0 {
                return Ok::<_, io::Error>(());
            }
            piece.truncate(read);
            let permit = Arc::clone(&room).acquire_many_owned(read as u32).await.map_err(io::Error::other)?;
            if send.send((Instant::now() + delay, piece, permit)).is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((at, piece, _permit)) = pieces.recv().await {
            tokio::time::sleep_until(at).await;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}
