//! What is known elsewhere, put together for one answer.

use std::collections::BTreeSet;

use coldkeep_chunk_store::bucket::BucketStatus;
use coldkeep_datastore::{Datastore, StoreName};
use coldkeep_gc::Report;
use coldkeep_s3_client::Stats;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

use super::process;
use super::series::{Gathered, Labels, Series};
use crate::Server;
use crate::collect;
use crate::state::OpenStore;

/// What the last collection of a datastore came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GcRun {
    ended_at: i64,
    is_good: bool,
    seconds: f64,
    removed_chunks: u64,
    removed_bytes: u64,
    pending_bytes: u64,
    missing_chunks: u64,
}

/// Writes everything in the text format of Prometheus.
pub(crate) async fn text(server: &Server) -> String {
    let mut gathered = vec![
        Series::gauge("coldkeep_build_info", "Version of the server")
            .labelled("version", env!("CARGO_PKG_VERSION")),
    ];
    gathered.extend(tasks(server));
    gathered.extend(stores(server).await);
    gathered.extend(tokio::task::spawn_blocking(process::gather).await.unwrap_or_default());
    let mut registry = Registry::default();
    server.metrics().register(&mut registry);
    registry.register_collector(Box::new(Gathered(gathered)));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

fn tasks(server: &Server) -> [Series; 3] {
    let counts = server.tasks().counts();
    let mut ended = Series::counter("coldkeep_tasks", "Tasks that ended, by type and result");
    for ((worker_type, result), count) in counts.ended {
        let labels = vec![("type", worker_type), ("result", result.to_owned())];
        ended.add(labels, count as f64);
    }
    let mut running = Series::gauge("coldkeep_tasks_running", "Tasks that run, by type");
    let mut sessions = Series::gauge("coldkeep_sessions", "Open sessions, by kind");
    for kind in ["backup", "reader"] {
        let count = counts.running.get(kind).copied().unwrap_or_default();
        sessions.add(vec![("kind", kind.to_owned())], count as f64);
    }
    for (worker_type, count) in counts.running {
        running.add(vec![("type", worker_type)], count as f64);
    }
    [ended, running, sessions]
}

/// The metrics of datastores.
struct StoreSeries {
    up: Series,
    size: Series,
    used: Series,
    gc: [Series; 7],
    cache: [Series; 5],
    s3: [Series; 5],
}

async fn stores(server: &Server) -> Vec<Series> {
    let mut all = StoreSeries::new();
    let open = server.open_stores();
    for config in server.datastore_configs() {
        let is_open = open.iter().any(|open| *open.store.name() == config.name);
        all.up.add(label(&config.name), f64::from(u8::from(is_open)));
    }
    for OpenStore { store, bucket } in &open {
        if let Ok(usage) = store.usage().await {
            let usage = bucket.as_ref().map_or(usage, |bucket| bucket.space(usage));
            all.used.add(label(store.name()), usage.used as f64);
            all.size.add(label(store.name()), usage.total as f64);
        }
        if let Some(run) = last_collection(server, store).await {
            all.collection(store.name(), &run);
        }
        if let (Some(bucket), Some(chunks)) = (bucket, store.chunks().as_bucket()) {
            all.cache(store.name(), &chunks.status());
            all.s3(store.name(), &bucket.stats());
        }
    }
    let StoreSeries { up, size, used, gc, cache, s3 } = all;
    [up, size, used].into_iter().chain(gc).chain(cache).chain(s3).collect()
}

impl StoreSeries {
    fn new() -> Self {
        let (counter, gauge) = (Series::counter, Series::gauge);
        Self {
            up: gauge("coldkeep_datastore_up", "Whether the datastore is open"),
            size: gauge(
                "coldkeep_datastore_size_bytes",
                "Space of the datastore's filesystem, or of its quota",
            ),
            used: gauge(
                "coldkeep_datastore_used_bytes",
                "Space in use on the datastore's filesystem, or in its bucket",
            ),
            gc: [
                gauge("coldkeep_gc_last_end_timestamp_seconds", "When the last collection ended"),
                gauge("coldkeep_gc_last_success", "Whether the last collection came to its end"),
                gauge("coldkeep_gc_last_duration_seconds", "How long the last collection took"),
                gauge("coldkeep_gc_last_removed_chunks", "Chunks that the last collection removed"),
                gauge("coldkeep_gc_last_removed_bytes", "Bytes that the last collection removed"),
                gauge(
                    "coldkeep_gc_last_pending_bytes",
                    "Bytes of garbage that was too young for the last collection",
                ),
                gauge("coldkeep_gc_last_missing_chunks", "Chunks that the last collection found missing"),
            ],
            cache: [
                counter("coldkeep_cache_hits", "Chunks that the cache of a bucket served"),
                counter("coldkeep_cache_misses", "Chunks that were fetched from a bucket"),
                gauge("coldkeep_cache_bytes", "Bytes of cached chunks"),
                gauge("coldkeep_cache_size_bytes", "Most bytes of cached chunks"),
                gauge("coldkeep_cache_chunks", "Cached chunks"),
            ],
            s3: [
                counter("coldkeep_s3_requests", "Requests to a bucket"),
                counter("coldkeep_s3_attempts", "Attempts made for requests to a bucket"),
                counter(
                    "coldkeep_s3_errors",
                    "Attempts that failed, by the code that the service gave or the kind of failure",
                ),
                counter("coldkeep_s3_transmit_bytes", "Bytes of bodies sent to a bucket"),
                counter("coldkeep_s3_receive_bytes", "Bytes of bodies received from a bucket"),
            ],
        }
    }

    fn collection(&mut self, store: &StoreName, run: &GcRun) {
        let counts = [run.removed_chunks, run.removed_bytes, run.pending_bytes, run.missing_chunks];
        let [removed_chunks, removed_bytes, pending_bytes, missing_chunks] = counts.map(|count| count as f64);
        let is_good = f64::from(u8::from(run.is_good));
        let values = [
            run.ended_at as f64,
            is_good,
            run.seconds,
            removed_chunks,
            removed_bytes,
            pending_bytes,
            missing_chunks,
        ];
        for (series, value) in self.gc.iter_mut().zip(values) {
            series.add(label(store), value);
        }
    }

    fn cache(&mut self, store: &StoreName, status: &BucketStatus) {
        let BucketStatus { cache_hits, cache_misses, cache_bytes, cache_bytes_max, cached_chunks, .. } =
            *status;
        let values = [cache_hits, cache_misses, cache_bytes, cache_bytes_max, cached_chunks];
        for (series, value) in self.cache.iter_mut().zip(values) {
            series.add(label(store), value as f64);
        }
    }

    fn s3(&mut self, store: &StoreName, stats: &Stats) {
        let [requests, attempts, errors, sent, received] = &mut self.s3;
        for (operation, counts) in &stats.operations {
            let labels = || [label(store), vec![("operation", format!("{operation:?}"))]].concat();
            requests.add(labels(), counts.requests as f64);
            attempts.add(labels(), counts.attempts as f64);
            sent.add(labels(), counts.bytes_sent as f64);
            received.add(labels(), counts.bytes_received as f64);
            for (kind, count) in &counts.errors {
                errors.add([labels(), vec![("kind", kind.clone())]].concat(), *count as f64);
            }
        }
    }
}

fn label(store: &StoreName) -> Labels {
    vec![("datastore", store.to_string())]
}

/// Returns what the last collection came to; dry runs, and those that were interrupted, do not count. What is in memory goes before what is
/// in the store's folder.
async fn last_collection(server: &Server, store: &Datastore) -> Option<GcRun> {
    let (known, forgotten) = {
        let collections = server.metrics().collections();
        (collections.known.get(store.name()).copied(), collections.forgotten)
    };
    if let Some(known) = known {
        return known;
    }
    let runs = collect::history(store).await;
    let run = runs.iter().find(|run| !run.is_dry() && !run.report.is_null()).map(|run| {
        let report: Report = serde_json::from_value(run.report.clone()).unwrap_or_default();
        GcRun {
            ended_at: run.ended_at,
            // Whoever is warned looks at the report; the run itself was complete.
            is_good: run.state == "OK" || run.state.starts_with("WARNINGS"),
            seconds: report.phases.iter().map(|phase| phase.seconds).sum(),
            removed_chunks: report.removed.count,
            removed_bytes: report.removed.bytes,
            pending_bytes: report.pending.bytes,
            missing_chunks: report.missing.chunks,
        }
    });
    let mut collections = server.metrics().collections();
    if collections.forgotten == forgotten {
        collections.known.insert(store.name().clone(), run);
        // Stores that are gone left their entry behind.
        let names: BTreeSet<_> = server.datastore_configs().into_iter().map(|config| config.name).collect();
        collections.known.retain(|name, _| names.contains(name));
    }
    run
}
