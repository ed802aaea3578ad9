//! The protocols behind an upgrade: backup and reader sessions over HTTP/2.

pub(crate) mod backup;
mod gate;
mod idle;
pub(crate) mod reader;

pub(crate) use gate::{SessionGate, SessionPlace};

use std::io;

use coldkeep_datastore::StoredFile;
use futures_util::stream::{self, StreamExt};

use crate::api::Reply;

/// Answers a file as it is stored, without a length in the header.
pub(crate) fn send_file(file: StoredFile) -> Reply {
    let blocks = stream::try_unfold(file, |mut file| async move {
        let block = file.next_block().await.map_err(io::Error::other)?;
        io::Result::Ok(block.map(|block| (block, file)))
    });
    Reply::stream(blocks.boxed())
}
