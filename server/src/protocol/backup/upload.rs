//! What carries data: chunks and blobs.

use coldkeep_chunk_store::{CheckedChunk, Digest, Inserted};
use coldkeep_datastore::{ArchiveName, IndexKind};

use super::session::BackupSession;
use crate::api::{ApiError, Call, Reply};
use crate::metrics::ChunkUpload;

/// `POST /dynamic_chunk` and `POST /fixed_chunk`.
pub(super) async fn chunk(mut call: Call<BackupSession>, kind: IndexKind) -> Result<Reply, ApiError> {
    call.state.touch();
    let wid: u32 = call.params.get("wid")?;
    let digest: Digest = call.params.get("digest")?;
    let plain_len: u64 = call.params.get("size")?;
    // The room for the body is given back only when the chunk is stored: memory stays bounded while the disk is slow.
    let body = call.take_upload()?.read_exact(call.params.get("encoded-size")?).await?;
    let bytes = body.bytes().clone();
    let check = move || CheckedChunk::check(digest, plain_len, bytes);
    let chunk = call.state.on_cpu(check).await?.map_err(|error| ApiError::failed(&error))?;
    let stored = call.state.writer().upload_chunk(wid, kind, chunk).await;
    let stored = match stored.map_err(|error| ApiError::failed(&error))? {
        Inserted::New { .. } => ChunkUpload::Stored,
        Inserted::Known => ChunkUpload::Known,
    };
    call.state.metrics().note_chunk(stored, body.bytes().len());
    call.state.touch();
    Reply::json(&digest)
}

/// `POST /blob`.
pub(super) async fn blob(mut call: Call<BackupSession>) -> Result<Reply, ApiError> {
    call.state.touch();
    let name: ArchiveName = call.params.get("file-name")?;
    let encoded_len: usize = call.params.get("encoded-size")?;
    let body = call.take_upload()?.read_exact(encoded_len).await?;
    let stored = call.state.writer().upload_blob(&name, body.bytes().clone()).await;
    stored.map_err(|error| ApiError::failed(&error))?;
    call.state.log(format!("add blob {name} ({encoded_len} bytes)"));
    Ok(Reply::null())
}
