//! Sessions that use chunks while a run goes on.

use std::sync::Arc;

use coldkeep_chunk_store::{CacheUse, Session, TouchError};
use futures_util::future::join_all;

use super::scene::Store;
use crate::fixture::{chunk, digest};

/// How a session uses chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Insert,
    /// The same, and nothing is cached.
    InsertUncached,
    Reference,
}

/// A session that has used chunks and is still open.
pub(crate) struct Used {
    pub(crate) session: Session,
    /// The chunks that it was told are stored.
    pub(crate) told: Vec<u32>,
}

/// Lets a session of its own use some chunks, all at once.
pub(crate) async fn use_chunks(store: Arc<Store>, how: Use, numbers: Vec<u32>) -> Used {
    let cache = if how == Use::InsertUncached { CacheUse::Skip } else { CacheUse::Keep };
    let session = store.begin_session(cache).await.unwrap();
    let uses = numbers.into_iter().map(|number| use_chunk(&store, &session, how, number));
    let told = join_all(uses).await.into_iter().flatten().collect();
    Used { session, told }
}

/// Returns the number if the session was told that the chunk is stored.
async fn use_chunk(store: &Store, session: &Session, how: Use, number: u32) -> Option<u32> {
    if how != Use::Reference {
        store.insert(session, chunk(number)).await.unwrap();
        return Some(number);
    }
    match store.touch(session, &[digest(number)]).await {
        Ok(()) => Some(number),
        Err(TouchError::Missing { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}
