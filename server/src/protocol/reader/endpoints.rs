//! The endpoints of a reader session.

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_datastore::ArchiveName;
use http::StatusCode;

use super::session::ReaderSession;
use crate::api::datastore::params::FILE_NAME;
use crate::api::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Reply};
use crate::protocol::send_file;

/// What a speed test sends.
static SPEEDTEST: [u8; 1 << 20] = [b'A'; 1 << 20];

/// What a reader session answers.
pub(crate) static ENDPOINTS: &[Endpoint<ReaderSession>] = &[
    Endpoint {
        method: Method::Get,
        path: "/download",
        doc: "Sends a file of the snapshot as it is stored. After an index its chunks may be read. 404 if it is missing.",
        params: &[FILE_NAME],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(download(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/chunk",
        doc: "Sends a chunk as it is stored. 401 if no index that was downloaded in this session names it.",
        params: &[Param::required(
            "digest",
            Kind::name::<Digest>("SHA-256 in 64 lower-case hex digits"),
            "Name of the chunk.",
        )],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |call| Box::pin(chunk(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/speedtest",
        doc: "Sends 1 MiB of the letter A.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Session,
        handler: |_| Box::pin(async { Ok(Reply::bytes(Bytes::from_static(&SPEEDTEST))) }),
    },
];

async fn download(call: Call<ReaderSession>) -> Result<Reply, ApiError> {
    let name: ArchiveName = call.params.get("file-name")?;
    let file = call.state.reader.download(&name).await.map_err(|error| {
        let refusal = ApiError::failed(&error);
        if error.is_not_found() { refusal.with_status(StatusCode::NOT_FOUND) } else { refusal }
    })?;
    call.state.note_index(&name).await;
    call.state.log(format!("download {name}"));
    Ok(send_file(file))
}

async fn chunk(call: Call<ReaderSession>) -> Result<Reply, ApiError> {
    let digest: Digest = call.params.get("digest")?;
    let session = &call.state;
    let room = session.room().await?;
    match session.chunk(&digest).await {
        Ok(blob) => {
            let bytes = blob.into_bytes();
            session.server.metrics().note_chunk_read(bytes.len());
            Ok(Reply::bytes(room.hold(bytes)))
        }
        // The same whether the store has the chunk or not, and as late as every 401.
        Err(error) if error.is_not_allowed() => Err(ApiError::unauthorized(error.to_string())),
        Err(error) => Err(ApiError::failed(&error)),
    }
}
