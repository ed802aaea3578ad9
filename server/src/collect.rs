//! Garbage collection of a datastore: the references that the collector reads, the task, and the stored result.

use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::durable::replace_file;
use coldkeep_datastore::{Datastore, IndexFile, IndexRead, ReferenceError};
use coldkeep_gc::{
    CollectError, Control, End, Options, Outcome, Phase, Progress, References, Report, Sink, StoreSweepError,
    collect,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tasks::TaskHandle;

/// File in the store's folder that holds the result of the last complete collection, as stock servers keep it.
const STATUS_FILE: &str = ".gc-status";
/// How often progress is looked at.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The indexes of a datastore, as `coldkeep-gc` wants them.
///
/// This is all that a store of references has to say to be collected: what there is, and what each refers to.
pub struct StoreReferences(pub Arc<Datastore>);

impl References for StoreReferences {
    type Index = IndexFile;
    type Error = ReferenceError;

    async fn list(&self) -> Result<Vec<IndexFile>, ReferenceError> {
        self.0.index_files().await
    }

    async fn read(&self, index: &IndexFile, mut sink: Sink) -> Result<Outcome, ReferenceError> {
        Ok(match self.0.read_index(index, move |digests| sink.push(digests)).await? {
            IndexRead::Read { references, data_bytes } => Outcome::Read { references, data_bytes },
            IndexRead::Gone => Outcome::Gone,
        })
    }
}

/// Why a collection failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectTaskError {
    #[error(transparent)]
    Collect(#[from] CollectError<StoreSweepError, ReferenceError>),
    #[error("datastores in a bucket cannot be collected by this version yet")]
    Bucket,
    #[error("stopped by request; what was removed until then was garbage")]
    Stopped,
    #[error("could not save the result")]
    Save(#[source] coldkeep_chunk_store::dir::DirError),
}

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
struct StatusFile {
    #[serde(flatten)]
    status: GcStatus,
    /// Our own report, which says more.
    #[serde(rename = "coldkeep-report", skip_serializing_if = "Value::is_null")]
    report: Value,
}

impl GcStatus {
    fn of(report: &Report, upid: String) -> Self {
        Self {
            upid: Some(upid),
            index_file_count: report.indexes,
            index_data_bytes: report.index_data_bytes,
            disk_bytes: report.stored_bytes(),
            disk_chunks: report.kept.count + report.pending.count,
            removed_bytes: report.removed.bytes,
            removed_chunks: report.removed.count,
            pending_bytes: report.pending.bytes,
            pending_chunks: report.pending.count,
            removed_bad: report.bad_removed.count,
            still_bad: report.bad_kept.count,
        }
    }
}

/// Collects the garbage of a datastore; the result is logged and stored.
pub(crate) async fn run(
    store: &Arc<Datastore>,
    options: &Options,
    task: &TaskHandle,
) -> Result<(), CollectTaskError> {
    task.log(format!("starting garbage collection on store {}", store.name()));
    let control = Control::new();
    let references = StoreReferences(Arc::clone(store));
    let chunks = store.chunks().as_folder().ok_or(CollectTaskError::Bucket)?;
    let mut collection = std::pin::pin!(collect(&**chunks, &references, options, &control));
    let mut watch = Watch::default();
    let report = loop {
        tokio::select! {
            report = &mut collection => break report?,
            // The run then ends by itself, between two removals.
            () = task.cancelled(), if !control.is_cancelled() => control.cancel(),
            () = tokio::time::sleep(PROGRESS_INTERVAL) => watch.look(control.progress(), task),
        }
    };
    watch.look(control.progress(), task);
    log_report(&report, task);
    if report.end == End::Cancelled {
        return Err(CollectTaskError::Stopped);
    }
    let status = GcStatus::of(&report, task.upid().to_string());
    let report = serde_json::to_value(&report).unwrap_or_default();
    save(store, &StatusFile { status, report }).await.map_err(CollectTaskError::Save)
}

/// Returns the result of the last complete collection; zeros if there was none or it cannot be read.
pub(crate) async fn stored_status(store: &Datastore) -> GcStatus {
    let path = store.folder().join(STATUS_FILE);
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    let text = read.ok().and_then(Result::ok).unwrap_or_default();
    serde_json::from_slice::<StatusFile>(&text).unwrap_or_default().status
}

async fn save(store: &Datastore, status: &StatusFile) -> Result<(), coldkeep_chunk_store::dir::DirError> {
    let path = store.folder().join(STATUS_FILE);
    let text = serde_json::to_vec(status).unwrap_or_default();
    let saved = tokio::task::spawn_blocking(move || replace_file(&path, &text, 0o644)).await;
    // The thread ends early only while the process shuts down; the next run saves its result.
    saved.unwrap_or(Ok(()))
}

/// Logs how far a run is, each phase and each tenth of it once.
#[derive(Debug, Default)]
struct Watch {
    phase: Phase,
    tenths: u64,
}

impl Watch {
    fn look(&mut self, progress: Progress, task: &TaskHandle) {
        if progress.phase != self.phase {
            *self = Self { phase: progress.phase, tenths: 0 };
            match progress.phase {
                Phase::Mark => task.log("Start GC phase1 (mark used chunks)"),
                Phase::Sweep => task.log("Start GC phase2 (sweep unused chunks)"),
                Phase::FindMissing => {
                    task.log("some referenced chunks are missing; looking for the snapshots they break");
                }
                Phase::Starting | Phase::Ended => {}
            }
        }
        let tenths = (progress.done * 10).checked_div(progress.total).unwrap_or(0);
        if tenths > self.tenths {
            self.tenths = tenths;
            let (percent, done, total) = (tenths * 10, progress.done, progress.total);
            match progress.phase {
                Phase::Mark => task.log(format!("marked {percent}% ({done} of {total} index files)")),
                Phase::Sweep => task.log(format!("processed {percent}% ({} chunks)", progress.listed)),
                Phase::Starting | Phase::FindMissing | Phase::Ended => {}
            }
        }
    }
}

fn log_report(report: &Report, task: &TaskHandle) {
    task.log(format!("marked {} references in {} index files", report.references, report.indexes));
    task.log(format!("processed {} chunks", report.listed.count));
    task.log(format!("Removed garbage: {}", bytes(report.removed.bytes)));
    task.log(format!("Removed chunks: {}", report.removed.count));
    if report.pending.count > 0 {
        task.log(format!(
            "Pending removals: {} (in {} chunks)",
            bytes(report.pending.bytes),
            report.pending.count
        ));
    }
    if report.bad_removed.count > 0 {
        task.log(format!("Removed bad chunks: {}", report.bad_removed.count));
    }
    if report.bad_kept.count > 0 {
        task.log(format!("Leftover bad chunks: {}", report.bad_kept.count));
    }
    task.log(format!("Original data usage: {}", bytes(report.index_data_bytes)));
    let (stored, chunks) = (report.stored_bytes(), report.kept.count + report.pending.count);
    let percent = if report.index_data_bytes > 0 {
        stored as f64 * 100.0 / report.index_data_bytes as f64
    } else {
        0.0
    };
    task.log(format!("On-Disk usage: {} ({percent:.2}%)", bytes(stored)));
    task.log(format!("On-Disk chunks: {chunks}"));
    task.log(format!("Deduplication factor: {:.2}", report.dedup_factor));
    task.log(format!("Average chunk size: {}", bytes(stored.checked_div(chunks).unwrap_or(0))));
    if report.missing.chunks > 0 {
        task.warn(format!("{} referenced chunks are missing", report.missing.chunks));
        for digest in &report.missing.sample {
            task.log(format!("missing chunk {digest}"));
        }
        for broken in &report.missing.broken_indexes {
            task.warn(format!(
                "{}: {} references to missing chunks",
                broken.index, broken.missing_references
            ));
        }
        if report.missing.broken_indexes_unnamed > 0 {
            task.warn(format!("{} more indexes are broken", report.missing.broken_indexes_unnamed));
        }
    }
}

/// Writes a number of bytes for people: `512 B`, `1.5 MiB`.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.3} {unit}")
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

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.500 KiB");
        assert_eq!(bytes(u64::MAX), "16384.000 PiB");
    }
}
