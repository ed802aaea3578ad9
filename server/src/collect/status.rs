//! The stored result of the last complete collection, as stock servers keep it.

use std::sync::PoisonError;

use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::durable::replace_file;
use coldkeep_datastore::Datastore;
use coldkeep_gc::Report;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// File in the store's folder that holds the result.
const STATUS_FILE: &str = ".gc-status";

/// The result of a collection as stock clients know it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct GcStatus {
    upid: Option<String>,
    index_file_count: u64,
    index_data_bytes: u64,
    disk_bytes: u64,
    disk_chunks: u64,
    removed_bytes: u64,
    removed_chunks: u64,
    pending_bytes: u64,
    pending_chunks: u64,
    removed_bad: u64,
    still_bad: u64,
}

/// The content of [`STATUS_FILE`].
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StatusFile {
    #[serde(flatten)]
    pub(super) status: GcStatus,
    /// Our own report, which says more.
    #[serde(rename = "coldkeep-report", skip_serializing_if = "Value::is_null")]
    pub(super) report: Value,
}

impl StatusFile {
    /// Reads the file; one that cannot be read says that there was no collection.
    pub(super) fn parse(text: &[u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_default()
    }
}

impl GcStatus {
    pub(super) fn of(report: &Report, upid: String) -> Self {
        Self {
            upid: Some(upid),
            index_file_count: report.indexes,
            index_data_bytes: report.index_data_bytes,
            disk_bytes: report.stored_bytes(),
            disk_chunks: report.kept.count.saturating_add(report.pending.count),
            removed_bytes: report.removed.bytes,
            removed_chunks: report.removed.count,
            pending_bytes: report.pending.bytes,
            pending_chunks: report.pending.count,
            removed_bad: report.bad_removed.count,
            still_bad: report.bad_kept.count,
        }
    }
}

/// Returns the result of the last complete collection; zeros if there was none or it cannot be read.
pub(crate) async fn stored_status(store: &Datastore) -> GcStatus {
    let path = store.folder().join(STATUS_FILE);
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    let text = read.ok().and_then(Result::ok).unwrap_or_default();
    StatusFile::parse(&text).status
}

/// Saves the result of a complete collection.
pub(super) async fn save(store: &Datastore, status: &StatusFile) -> Result<(), DirError> {
    let path = store.folder().join(STATUS_FILE);
    let text = serde_json::to_vec(status).unwrap_or_default();
    let turn = store.writing_results();
    let saved = tokio::task::spawn_blocking(move || {
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        replace_file(&path, &text, 0o644)
    });
    let saved = saved.await;
    // The thread ends early only while the process shuts down; the next run saves its result.
    saved.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_status_has_the_stock_shape() {
        let vector =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors/json/status-verbose.json"));
        let vector: Value = serde_json::from_str(vector).unwrap();
        assert_eq!(serde_json::to_value(StatusFile::default()).unwrap(), vector["data"]["gc-status"]);
        // What a stock server wrote is read, unknown members and all.
        let stock = r#"{"upid":"UPID:x","index-file-count":2,"disk-chunks":3,"cache-stats":{"hits":1}}"#;
        let read: StatusFile = serde_json::from_str(stock).unwrap();
        assert_eq!((read.status.index_file_count, read.status.disk_chunks), (2, 3));
    }
}
