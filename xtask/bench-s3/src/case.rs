//! The cases, the same for every client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, TryStreamExt};

use crate::clients::Client;
use crate::flags::{Case, Flags};
use crate::measure::{Measured, Stopwatch};

/// Most keys in one multi-delete (S3 API reference, DeleteObjects).
const DELETE_KEYS_MAX: usize = 1000;

/// Does one case and says what it cost.
pub(crate) async fn run<C: Client>(flags: &Flags, client: C) -> Result<Measured> {
    let client = Arc::new(client);
    match flags.case {
        Case::Put => put(flags, client).await,
        Case::Get => get(flags, client).await,
        Case::List => list(flags, client).await,
        Case::Delete => delete(flags, client).await,
    }
}

/// All objects have the same contents, in memory before the clock starts: the memory that is measured is then the client's.
async fn put<C: Client>(flags: &Flags, client: Arc<C>) -> Result<Measured> {
    let (contents, keys) = (contents(flags.size), Keys::new(flags));
    let stopwatch = Stopwatch::start();
    each(flags.in_flight, flags.objects, move |index| {
        let (client, contents, key) = (Arc::clone(&client), contents.clone(), keys.name(index));
        async move { client.put(key, contents).await }
    })
    .await?;
    stopwatch.stop(flags.objects as u64, (flags.objects * flags.size) as u64)
}

async fn get<C: Client>(flags: &Flags, client: Arc<C>) -> Result<Measured> {
    let (size, keys) = (flags.size, Keys::new(flags));
    let stopwatch = Stopwatch::start();
    each(flags.in_flight, flags.objects, move |index| {
        let (client, key) = (Arc::clone(&client), keys.name(index));
        async move {
            let contents = client.get(key).await?;
            ensure!(contents.len() == size, "got {} bytes instead of {size}", contents.len());
            Ok(())
        }
    })
    .await?;
    stopwatch.stop(flags.objects as u64, (flags.objects * flags.size) as u64)
}

async fn list<C: Client>(flags: &Flags, client: Arc<C>) -> Result<Measured> {
    let prefix = Keys::new(flags).prefix;
    let stopwatch = Stopwatch::start();
    // In a task, as the others are: what `block_on` runs is not in a worker thread.
    let listed = tokio::spawn(async move { client.list(prefix).await }).await??;
    let measured = stopwatch.stop(listed as u64, 0)?;
    ensure!(listed == flags.objects, "listed {listed} keys instead of {}", flags.objects);
    Ok(measured)
}

async fn delete<C: Client>(flags: &Flags, client: Arc<C>) -> Result<Measured> {
    let (objects, keys) = (flags.objects, Keys::new(flags));
    let stopwatch = Stopwatch::start();
    each(flags.in_flight, objects.div_ceil(DELETE_KEYS_MAX), move |batch| {
        let client = Arc::clone(&client);
        let first = batch * DELETE_KEYS_MAX;
        let keys: Vec<String> =
            (first..objects.min(first + DELETE_KEYS_MAX)).map(|index| keys.name(index)).collect();
        async move {
            let wanted = keys.len();
            let deleted = client.delete(keys).await?;
            ensure!(deleted == wanted, "deleted {deleted} keys instead of {wanted}");
            Ok(())
        }
    })
    .await?;
    stopwatch.stop(objects as u64, 0)
}

/// Calls `request` with each number below `count`, with `in_flight` calls under way: one task each, as in a server.
async fn each<F: Future<Output = Result<()>> + Send + 'static>(
    in_flight: usize,
    count: usize,
    request: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Result<()> {
    let shared = Arc::new((request, AtomicUsize::new(0)));
    let tasks: FuturesUnordered<_> = (0..in_flight)
        .map(|_| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let (request, next) = &*shared;
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return anyhow::Ok(());
                    }
                    request(index).await?;
                }
            })
        })
        .collect();
    let failed = tasks.map_err(anyhow::Error::from).try_for_each(std::future::ready);
    failed.await.context("a request failed")
}

/// The names of objects.
struct Keys {
    /// The folder of all objects of one size; the empty ones are listed and deleted.
    prefix: String,
    distinct: usize,
}

impl Keys {
    fn new(flags: &Flags) -> Keys {
        Keys { prefix: format!("size-{}/", flags.size), distinct: flags.keys }
    }

    /// As long as the names of chunks, which end in 64 digits.
    fn name(&self, index: usize) -> String {
        format!("{}{:064x}", self.prefix, index % self.distinct)
    }
}

/// Bytes that nobody compresses on the way.
fn contents(size: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..size).map(|_| byte()).collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_have_the_size_and_no_pattern() {
        let contents = contents(1 << 16);
        assert_eq!(contents.len(), 1 << 16);
        for value in 0..=255_u8 {
            let count = contents.iter().filter(|byte| **byte == value).count();
            assert!((128..512).contains(&count), "{value} comes {count} times");
        }
    }
}
