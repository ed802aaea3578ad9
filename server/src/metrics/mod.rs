//! What the server counts, and how Prometheus reads it.
//!
//! Counters that grow with requests are kept here, atomically; a request takes two short locks beside that, on series that it shares
//! with requests of its own endpoint only. Everything that something else knows already (tasks, datastores, buckets) is gathered when it
//! is asked for. Labels have few values: endpoints by their pattern, never by what a client sent; datastores by name.

mod gather;
mod meter;
mod process;
mod series;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coldkeep_datastore::StoreName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub(crate) use gather::{GcRun, text};
pub(crate) use meter::Metered;
pub use meter::RequestMeter;

/// Upper ends of the classes of durations, in seconds: from a look into memory to a slow commit.
const DURATIONS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0, 600.0];

/// The counters of a server.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<Answered, Counter>,
    durations: Family<Asked, Histogram, fn() -> Histogram>,
    connections: Gauge,
    accepted: Counter,
    refused: Counter,
    bytes_received: Counter,
    bytes_sent: Counter,
    chunks: Family<ChunkLabels, Counter>,
    chunk_bytes: Family<ChunkLabels, Counter>,
    index_entries: Counter,
    chunks_read: Counter,
    chunk_bytes_read: Counter,
    // What the last collection of each store came to, as far as somebody asked.
    collections: Mutex<Collections>,
}

#[derive(Debug, Default)]
struct Collections {
    known: BTreeMap<StoreName, Option<GcRun>>,
    /// How often something was forgotten: what was read before that is not to be kept.
    forgotten: u64,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    interface: &'static str,
    method: &'static str,
    path: &'static str,
}

/// What was asked for, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    interface: &'static str,
    method: &'static str,
    path: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChunkLabels {
    result: &'static str,
}

/// What became of an uploaded chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkUpload {
    /// It was stored.
    Stored,
    /// The store had it already.
    Known,
}

impl Metrics {
    /// Makes counters that stand at zero.
    pub fn new() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            connections: Gauge::default(),
            accepted: Counter::default(),
            refused: Counter::default(),
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
            chunks: Family::default(),
            chunk_bytes: Family::default(),
            index_entries: Counter::default(),
            chunks_read: Counter::default(),
            chunk_bytes_read: Counter::default(),
            collections: Mutex::default(),
        }
    }

    fn note_request(&self, asked: &Asked, status: u16, took: Duration) {
        let Asked { interface, method, path } = *asked;
        self.requests.get_or_create(&Answered { interface, method, path, status }).inc();
        self.durations.get_or_create(asked).observe(took.as_secs_f64());
    }

    /// Counts a connection that was refused because its address has too many.
    pub(crate) fn note_refused_connection(&self) {
        self.refused.inc();
    }

    /// Counts an uploaded chunk of so many encoded bytes.
    pub(crate) fn note_chunk(&self, upload: ChunkUpload, bytes: usize) {
        let labels = ChunkLabels {
            result: match upload {
                ChunkUpload::Stored => "stored",
                ChunkUpload::Known => "known",
            },
        };
        self.chunks.get_or_create(&labels).inc();
        self.chunk_bytes.get_or_create(&labels).inc_by(bytes as u64);
    }

    /// Counts entries of indexes, most of which name chunks that were not uploaded.
    pub(crate) fn note_index_entries(&self, count: usize) {
        self.index_entries.inc_by(count as u64);
    }

    /// Counts a chunk that a reader was sent.
    pub(crate) fn note_chunk_read(&self, bytes: usize) {
        self.chunks_read.inc();
        self.chunk_bytes_read.inc_by(bytes as u64);
    }

    /// Forgets what the last collection of a store came to: another one has ended.
    pub(crate) fn forget_collection(&self, store: &StoreName) {
        let mut collections = self.collections();
        collections.known.remove(store);
        collections.forgotten += 1;
    }

    fn collections(&self) -> MutexGuard<'_, Collections> {
        self.collections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "coldkeep_http_requests",
            "Requests by endpoint, by the pattern of its path, and status",
            self.requests.clone(),
        );
        registry.register(
            "coldkeep_http_request_duration_seconds",
            "Time from a request's head to the head of its answer",
            self.durations.clone(),
        );
        registry.register("coldkeep_connections", "Open connections", self.connections.clone());
        registry.register("coldkeep_connections_accepted", "Connections accepted", self.accepted.clone());
        registry.register(
            "coldkeep_connections_refused",
            "Connections refused because their address had too many",
            self.refused.clone(),
        );
        registry.register("coldkeep_network_receive_bytes", "Bytes received", self.bytes_received.clone());
        registry.register("coldkeep_network_transmit_bytes", "Bytes sent", self.bytes_sent.clone());
        registry.register("coldkeep_chunks_uploaded", "Chunks uploaded by backups", self.chunks.clone());
        registry.register(
            "coldkeep_chunks_uploaded_bytes",
            "Encoded bytes of chunks uploaded by backups",
            self.chunk_bytes.clone(),
        );
        registry.register(
            "coldkeep_index_entries",
            "Chunks named by backups; those that were not uploaded are deduplicated on the way",
            self.index_entries.clone(),
        );
        registry.register("coldkeep_chunks_read", "Chunks sent to readers", self.chunks_read.clone());
        registry.register(
            "coldkeep_chunks_read_bytes",
            "Encoded bytes of chunks sent to readers",
            self.chunk_bytes_read.clone(),
        );
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
