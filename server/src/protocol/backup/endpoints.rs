//! The endpoints of a backup session (backup-protocol.md §3): parameters, one call to the writer, the answer.

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, CHUNK_BYTES_MAX};
use coldkeep_datastore::{ArchiveName, IndexKind, IndexTotals};
use serde_json::json;

use super::session::BackupSession;
use super::upload;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::protocol::send_file;

/// Most writers of one session (backup-protocol.md §6).
const WRITER_IDS_MAX: i64 = 256;
/// Most bytes of one speed test: a stock client sends 4 MiB at a time.
const SPEEDTEST_BYTES_MAX: usize = 64 << 20;
/// Shortest encoded chunk: a header and one byte.
const CHUNK_ENCODED_BYTES_MIN: i64 = 13;
/// Shortest encoded blob: a header.
const BLOB_ENCODED_BYTES_MIN: i64 = 12;

const DIGEST: Kind = Kind::name::<Digest>("SHA-256 in 64 lower-case hex digits");
const OFFSET: Kind = Kind::Integer { min: 0, max: i64::MAX };

const WID: Param =
    Param::required("wid", Kind::Integer { min: 1, max: WRITER_IDS_MAX }, "Number of the index writer.");
const ARCHIVE_NAME: Param = Param::required(
    "archive-name",
    Kind::name::<ArchiveName>("archive name"),
    "Name of the file, with its suffix `.fidx`, `.didx` or `.blob`.",
);
const CHUNK_PARAMS: &[Param] = &[
    WID,
    Param::required("digest", DIGEST, "Name of the chunk."),
    Param::required(
        "size",
        Kind::Integer { min: 1, max: CHUNK_BYTES_MAX as i64 },
        "Plain bytes of the chunk.",
    ),
    Param::required(
        "encoded-size",
        Kind::Integer { min: CHUNK_ENCODED_BYTES_MIN, max: BLOB_ENCODED_BYTES_MAX as i64 },
        "Bytes of the body.",
    ),
];
const APPEND_PARAMS: &[Param] = &[
    WID,
    Param::required("digest-list", Kind::List(&DIGEST), "Names of the chunks."),
    Param::required("offset-list", Kind::List(&OFFSET), "Where each chunk starts in the archive."),
];
const CSUM: Param = Param::required("csum", DIGEST, "Checksum of the index.");
const CHUNK_BODY: BodyKind = BodyKind::Upload { bytes_max: BLOB_ENCODED_BYTES_MAX };

/// What a backup session answers.
pub(crate) static ENDPOINTS: &[Endpoint<BackupSession>] = &[
    Endpoint {
        method: Method::Get,
        path: "/",
        doc: "Lists the paths of the session.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(list_paths(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/previous_backup_time",
        doc: "Returns the time of the group's newest finished snapshot, or null.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(previous_backup_time(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/previous",
        doc: "Sends a file of the group's newest finished snapshot. After an index its chunks may be named without uploading them.",
        params: &[ARCHIVE_NAME],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(previous(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/blob",
        doc: "Stores a blob as a file of the snapshot; one of the same name is replaced.",
        params: &[
            Param::required(
                "file-name",
                Kind::name::<ArchiveName>("archive name"),
                "Name of the file, ending in `.blob`.",
            ),
            Param::required(
                "encoded-size",
                Kind::Integer { min: BLOB_ENCODED_BYTES_MIN, max: BLOB_ENCODED_BYTES_MAX as i64 },
                "Bytes of the body.",
            ),
        ],
        body: CHUNK_BODY,
        access: Access::Session,
        handler: |call| Box::pin(upload::blob(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/dynamic_index",
        doc: "Opens a dynamic index; returns the number of its writer.",
        params: &[ARCHIVE_NAME],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(create_dynamic(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/fixed_index",
        doc: "Opens a fixed index; returns the number of its writer.",
        params: &[
            ARCHIVE_NAME,
            Param::optional(
                "size",
                Kind::Integer { min: 1, max: i64::MAX },
                "Size of the image; absent if it is not known yet.",
            ),
            Param::optional(
                "reuse-csum",
                DIGEST,
                "Checksum of the previous index of this name, to start from a copy of it.",
            ),
        ],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(create_fixed(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/dynamic_chunk",
        doc: "Stores a chunk; returns its digest.",
        params: CHUNK_PARAMS,
        body: CHUNK_BODY,
        access: Access::Session,
        handler: |call| Box::pin(upload::chunk(call, IndexKind::Dynamic)),
    },
    Endpoint {
        method: Method::Post,
        path: "/fixed_chunk",
        doc: "Stores a chunk of at most 4 MiB; returns its digest.",
        params: CHUNK_PARAMS,
        body: CHUNK_BODY,
        access: Access::Session,
        handler: |call| Box::pin(upload::chunk(call, IndexKind::Fixed)),
    },
    Endpoint {
        method: Method::Put,
        path: "/dynamic_index",
        doc: "Appends chunks to a dynamic index, without a gap. They must have been uploaded in this session or stand in an index that `previous` sent.",
        params: APPEND_PARAMS,
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(append(call, IndexKind::Dynamic)),
    },
    Endpoint {
        method: Method::Put,
        path: "/fixed_index",
        doc: "Puts chunks at their places in a fixed index. They must have been uploaded in this session or stand in an index that `previous` sent.",
        params: APPEND_PARAMS,
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(append(call, IndexKind::Fixed)),
    },
    Endpoint {
        method: Method::Post,
        path: "/dynamic_close",
        doc: "Completes a dynamic index.",
        params: &[
            WID,
            Param::required("chunk-count", Kind::Integer { min: 0, max: i64::MAX }, "Chunks appended."),
            Param::required("size", Kind::Integer { min: 0, max: i64::MAX }, "Plain bytes of the archive."),
            CSUM,
        ],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(close(call, IndexKind::Dynamic)),
    },
    Endpoint {
        method: Method::Post,
        path: "/fixed_close",
        doc: "Completes a fixed index.",
        params: &[
            WID,
            Param::required("chunk-count", Kind::Integer { min: 0, max: i64::MAX }, "Chunks appended."),
            Param::required(
                "size",
                Kind::Integer { min: 0, max: i64::MAX },
                "Bytes of the image; not checked after `reuse-csum`.",
            ),
            CSUM,
        ],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(close(call, IndexKind::Fixed)),
    },
    Endpoint {
        method: Method::Post,
        path: "/finish",
        doc: "Commits the snapshot. The answer comes when everything is on disk.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(finish(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/speedtest",
        doc: "Reads and drops the body.",
        params: &[],
        body: BodyKind::Upload { bytes_max: SPEEDTEST_BYTES_MAX },
        access: Access::Session,
        handler: |call| Box::pin(speedtest(call)),
    },
];

async fn list_paths(call: Call<BackupSession>) -> Result<Reply, ApiError> {
    call.state.touch();
    let mut names: Vec<&str> =
        ENDPOINTS.iter().map(|endpoint| &endpoint.path[1..]).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    let entries: Vec<_> = names.into_iter().map(|name| json!({ "subdir": name })).collect();
    Reply::json(&entries)
}

async fn previous_backup_time(call: Call<BackupSession>) -> Result<Reply, ApiError> {
    call.state.touch();
    Reply::json(&call.state.writer().previous_time())
}

async fn previous(call: Call<BackupSession>) -> Result<Reply, ApiError> {
    call.state.touch();
    let name: ArchiveName = call.params.get("archive-name")?;
    let file = call.state.writer().previous_file(&name).await.map_err(|error| ApiError::failed(&error))?;
    call.state.log(format!("download '{name}' from previous backup."));
    Ok(send_file(file))
}

async fn create_dynamic(call: Call<BackupSession>) -> Result<Reply, ApiError> {
    call.state.touch();
    let name: ArchiveName = call.params.get("archive-name")?;
    let wid = call.state.writer().create_dynamic(&name).await.map_err(|error| ApiError::failed(&error))?;
    call.state.log(format!("created new dynamic index {wid} ({name})"));
    Reply::json(&wid)
}

async fn create_fixed(call: Call<BackupSession>) -> Result<Reply, ApiError> {
    call.state.touch();
    let name: ArchiveName = call.params.get("archive-name")?;
    let size: Option<u64> = call.params.find("size")?;
    let reuse_csum: Option<Digest> = call.params.find("reuse-csum")?;
    let created = call.state.writer().create_fixed(&name, size, reuse_csum).await;
    let wid = created.map_err(|error| ApiError::failed(&error))?;
    call.state.log(format!("created new fixed index {wid} ({name})"));
    Reply::json(&wid)
}

async fn append(call: Call<BackupSession>, kind: IndexKind) -> Result<Reply, ApiError> {
    call.state.touch();
    let digests: Vec<Digest> = call.params.list("digest-list")?;
    let offsets: Vec<u64> = call.params.list("offset-list")?;
    if digests.len() != offsets.len() {
        let (digests, offsets) = (digests.len(), offsets.len());
        return Err(ApiError::bad_request(format!(
            "digest-list has {digests} entries, offset-list has {offsets}"
        )));
    }
    let entries: Vec<(Digest, u64)> = digests.into_iter().zip(offsets).collect();
    let appended = call.state.writer().append(call.params.get("wid")?, kind, &entries).await;
    appended.map_err(|error| ApiError::failed(&error))?;
    call.state.metrics().note_index_entries(entries.len());
    Ok(Reply::null())
}

async fn close(call: Call<BackupSession>, kind: IndexKind) -> Result<Reply, ApiError> {
    call.state.touch();
    let wid: u32 = call.params.get("wid")?;
    let expected = IndexTotals {
        chunk_count: call.params.get("chunk-count")?,
        size: call.params.get("size")?,
        csum: call.params.get("csum")?,
    };
    let writer = call.state.writer();
    let closed = match kind {
        IndexKind::Dynamic => writer.close_dynamic(wid, expected).await,
        IndexKind::Fixed => writer.close_fixed(wid, expected).await,
    };
    closed.map_err(|error| ApiError::failed(&error))?;
    call.state.log(format!("successfully closed {kind} index {wid}"));
    Ok(Reply::null())
}

async fn finish(call: Call<BackupSession>) -> Result<Reply, ApiError> {
    call.state.touch();
    call.state.finish().await?;
    Ok(Reply::null())
}

async fn speedtest(mut call: Call<BackupSession>) -> Result<Reply, ApiError> {
    call.state.touch();
    call.take_upload()?.discard().await?;
    Ok(Reply::null())
}
