//! Files of snapshots: download, raw and decoded, and upload of the client's log.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, Blob, CHUNK_BYTES_MAX, ENCODE_BYTES_MAX};
use coldkeep_datastore::index::IndexReader;
use coldkeep_datastore::manifest::CryptMode;
use coldkeep_datastore::{ArchiveKind, ArchiveName, SnapshotName, SnapshotReader, StoredFile};
use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::READ;
use super::params::{self, BACKUP_ID, BACKUP_TIME, BACKUP_TYPE, FILE_NAME, NS, STORE};
use super::place::Place;
use crate::Server;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Method, Reply};
use crate::auth::Privileges;
use crate::protocol::send_file;

/// Entries of an index that are read ahead of the chunks.
const ENTRIES_AHEAD: usize = 256;

pub(in crate::api) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/download",
        doc: "Sends a file of a snapshot as it is stored.",
        params: &[STORE, NS, BACKUP_TYPE, BACKUP_ID, BACKUP_TIME, FILE_NAME],
        body: BodyKind::Params,
        access: READ,
        handler: |call| Box::pin(download(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/admin/datastore/{store}/download-decoded",
        doc: "Sends the content of a file of a snapshot: of an index the archive, of a blob its data. Encrypted ones are refused.",
        params: &[STORE, NS, BACKUP_TYPE, BACKUP_ID, BACKUP_TIME, FILE_NAME],
        body: BodyKind::Params,
        access: READ,
        handler: |call| Box::pin(download_decoded(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/admin/datastore/{store}/upload-backup-log",
        doc: "Adds the client's log, a blob, to a snapshot of one's own; refused if there is one already.",
        params: &[STORE, NS, BACKUP_TYPE, BACKUP_ID, BACKUP_TIME],
        body: BodyKind::Upload { bytes_max: BLOB_ENCODED_BYTES_MAX },
        access: Access::Datastore { full: Privileges::NONE, own: Privileges::DATASTORE_BACKUP },
        handler: |call| Box::pin(upload_log(call)),
    },
];

async fn download(call: Call<Server>) -> Result<Reply, ApiError> {
    let (place, snapshot) = (Place::of(&call)?, params::snapshot(&call.params)?);
    let (_reader, file) = open(&place, &snapshot, &call.params.get("file-name")?).await?;
    Ok(send_file(file))
}

/// Opens a file that the caller may read.
async fn open(
    place: &Place,
    snapshot: &SnapshotName,
    name: &ArchiveName,
) -> Result<(SnapshotReader, StoredFile), ApiError> {
    place.check_owner(&snapshot.group).await?;
    let opened = place.store.open_snapshot(&place.ns, snapshot).await;
    let reader = opened.map_err(|error| ApiError::failed(&error))?;
    let file = reader.download(name).await.map_err(|error| ApiError::failed(&error))?;
    Ok((reader, file))
}

async fn download_decoded(call: Call<Server>) -> Result<Reply, ApiError> {
    let (place, snapshot) = (Place::of(&call)?, params::snapshot(&call.params)?);
    let name: ArchiveName = call.params.get("file-name")?;
    let (reader, file) = open(&place, &snapshot, &name).await?;
    let manifest = place.store.manifest(&place.ns, reader.snapshot()).await;
    let manifest = manifest.map_err(|error| ApiError::failed(&error))?;
    if manifest.file(&name).is_some_and(|file| file.crypt_mode == CryptMode::Encrypt) {
        return Err(ApiError::bad_request(format!(
            "{name} is encrypted; only its owner's client can decode it"
        )));
    }
    match name.kind() {
        ArchiveKind::Blob => decoded_blob(&call.state, file).await,
        ArchiveKind::Index(_) => {
            let index = reader.index(&name).await.map_err(|error| ApiError::failed(&error))?;
            Ok(decoded_archive(Arc::clone(&call.state), reader, index))
        }
    }
}

async fn decoded_blob(server: &Server, mut file: StoredFile) -> Result<Reply, ApiError> {
    if file.len() > BLOB_ENCODED_BYTES_MAX as u64 {
        return Err(ApiError::bad_request(format!("the blob has {} bytes, too many to decode", file.len())));
    }
    let mut whole = BytesMut::new();
    while let Some(block) = file.next_block().await.map_err(|error| ApiError::failed(&error))? {
        whole.extend_from_slice(&block);
    }
    let decode = move || Blob::parse(whole.freeze())?.decode(ENCODE_BYTES_MAX);
    let data = server.on_cpu(decode).await?.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::bytes(data))
}

/// Sends an archive chunk by chunk, one in memory at a time.
fn decoded_archive(server: Arc<Server>, reader: SnapshotReader, index: IndexReader) -> Reply {
    let (entries, ahead) = mpsc::channel::<io::Result<Digest>>(ENTRIES_AHEAD);
    tokio::task::spawn_blocking(move || {
        for span in index.spans() {
            // The other side is gone when the client is.
            if entries.blocking_send(span.map(|span| span.digest).map_err(io::Error::other)).is_err() {
                return;
            }
        }
    });
    let chunks = stream::try_unfold((server, reader, ahead), |(server, reader, mut ahead)| async move {
        let Some(digest) = ahead.recv().await.transpose()? else { return Ok(None) };
        let data = decoded_chunk(&server, &reader, digest).await.map_err(io::Error::other)?;
        Ok(Some((data, (server, reader, ahead))))
    });
    Reply::stream(chunks.boxed())
}

async fn decoded_chunk(server: &Server, reader: &SnapshotReader, digest: Digest) -> Result<Bytes, ApiError> {
    let blob = reader.chunk(&digest).await.map_err(|error| ApiError::failed(&error))?;
    let decoded = server.on_cpu(move || blob.decode(CHUNK_BYTES_MAX)).await?;
    decoded.map_err(|error| ApiError::failed(&error))
}

async fn upload_log(mut call: Call<Server>) -> Result<Reply, ApiError> {
    let place = Place::of(&call)?;
    let snapshot = params::snapshot(&call.params)?;
    place.check_owner(&snapshot.group).await?;
    let body = call.take_upload()?.read_to_end().await?;
    let stored = place.store.upload_log(&place.ns, &snapshot, body.bytes().clone()).await;
    stored.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}
