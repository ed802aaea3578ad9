//! What a datastore in a bucket tells about itself: for the REST interface, the command line and people.

use std::time::Duration;

use coldkeep_chunk_store::bucket::{BucketStatus, Closed, RebuildPhase, RebuildProgress};
use coldkeep_datastore::Usage;
use coldkeep_s3_client::{Operation, OperationStats, Stats};
use serde_json::{Map, Value, json};

use super::config::S3Config;

/// What a month has, for the estimate of requests: providers bill by 30 days or so.
const MONTH: Duration = Duration::from_hours(30 * 24);

/// Counters of stock servers (rest-api.md §4.2).
pub(crate) fn stock_statistics(stats: &Stats) -> Value {
    let mut counts = [0_u64; 5];
    let total = stats.total();
    for (operation, one) in &stats.operations {
        counts[method_of(*operation)] += one.attempts;
    }
    let [get, post, put, head, delete] = counts;
    json!({
        "downloaded": total.bytes_received,
        "uploaded": total.bytes_sent,
        "get": get,
        "post": post,
        "put": put,
        "head": head,
        "delete": delete,
    })
}

/// Returns the place of an operation's method among `get`, `post`, `put`, `head`, `delete`.
fn method_of(operation: Operation) -> usize {
    match operation {
        Operation::DeleteObjects | Operation::CreateMultipartUpload | Operation::CompleteMultipartUpload => 1,
        Operation::PutObject | Operation::CopyObject | Operation::UploadPart | Operation::CreateBucket => 2,
        Operation::HeadBucket | Operation::HeadObject => 3,
        Operation::DeleteObject | Operation::DeleteBucket | Operation::AbortMultipartUpload => 4,
        _ => 0,
    }
}

/// Says everything there is to say; `elapsed` is for how long the client has been counting.
pub(crate) fn report(status: &BucketStatus, stats: &Stats, elapsed: Duration, config: &S3Config) -> Value {
    let loads = status.cache_hits + status.cache_misses;
    let hit_rate = (loads > 0).then(|| status.cache_hits as f64 / loads as f64);
    json!({
        "state": state_of(status),
        "bucket": config.bucket.to_string(),
        "endpoint": config.endpoint.to_string(),
        "prefix": config.prefix.to_string(),
        "caveats": config.caveats(),
        "cache": {
            "bytes": status.cache_bytes,
            "bytes-max": status.cache_bytes_max,
            "chunks": status.cached_chunks,
            "hits": status.cache_hits,
            "misses": status.cache_misses,
            "hit-rate": hit_rate,
        },
        "uploads": {
            "running": status.uploads,
            "allowed": status.uploads_allowed,
            "bytes": status.upload_bytes,
        },
        "journal": journal(status),
        "operations": operations(stats),
        "requests-per-month": monthly(stats.total().attempts, elapsed),
    })
}

fn journal(status: &BucketStatus) -> Value {
    let counts = &status.journal;
    json!({ "journalled": counts.journalled, "in-limbo": counts.in_limbo, "closed-paths": counts.closed_paths })
}

fn operations(stats: &Stats) -> Value {
    let entry = |one: &OperationStats| {
        json!({
            "requests": one.requests,
            "attempts": one.attempts,
            "failed": one.failed,
            "bytes-sent": one.bytes_sent,
            "bytes-received": one.bytes_received,
        })
    };
    let entries = stats.operations.iter().map(|(operation, one)| (format!("{operation:?}"), entry(one)));
    Value::Object(entries.collect::<Map<_, _>>())
}

fn state_of(status: &BucketStatus) -> String {
    match (&status.closed, &status.rebuild) {
        (_, Some(progress)) => describe_rebuild(Some(*progress)),
        (Some(Closed::Superseded), _) => "taken over by another server".to_owned(),
        (Some(closed), _) => closed.to_string(),
        (None, None) => "ready".to_owned(),
    }
}

/// Says in a few words how far an open or a rebuild is; `None` before it is known that there is a rebuild.
pub(crate) fn describe_rebuild(progress: Option<RebuildProgress>) -> String {
    let Some(RebuildProgress { phase, done, total, chunks }) = progress else {
        return "being opened".to_owned();
    };
    let percent = (done.saturating_mul(100)).checked_div(total).unwrap_or(0).min(100);
    match phase {
        RebuildPhase::Waiting => format!(
            "being rebuilt from its bucket: waiting until earlier requests have expired, {done} of {total} s"
        ),
        RebuildPhase::Listing => {
            format!("being rebuilt from its bucket: listing, {percent} % ({chunks} chunks)")
        }
        RebuildPhase::Metadata => {
            format!("being rebuilt from its bucket: fetching snapshots, {percent} % ({chunks} chunks)")
        }
    }
}

/// Estimates the requests of a month from those counted so far; `None` before there is anything to go by.
fn monthly(requests: u64, elapsed: Duration) -> Option<u64> {
    let seconds = elapsed.as_secs_f64();
    (seconds >= 1.0).then(|| (requests as f64 * MONTH.as_secs_f64() / seconds) as u64)
}

/// Returns the space that the quota leaves; `avail` is never zero, because clients take that for "full".
pub(crate) fn space(usage: Usage, quota: Option<u64>) -> Usage {
    let Some(quota) = quota else { return usage };
    let avail = quota.saturating_sub(usage.used).max(1);
    Usage { total: usage.used.saturating_add(avail), avail, ..usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_never_zero() {
        let usage = |total, used, avail| Usage { total, used, avail };
        assert_eq!(space(usage(100, 7, 93), None), usage(100, 7, 93));
        assert_eq!(space(usage(100, 7, 93), Some(10)), usage(10, 7, 3));
        assert_eq!(space(usage(100, 12, 88), Some(10)), usage(13, 12, 1));
    }

    #[test]
    fn a_rebuild_is_described() {
        let at =
            |phase, done, total| describe_rebuild(Some(RebuildProgress { phase, done, total, chunks: 7 }));
        assert_eq!(describe_rebuild(None), "being opened");
        assert!(at(RebuildPhase::Waiting, 30, 120).ends_with("30 of 120 s"));
        assert!(at(RebuildPhase::Listing, 1, 4).ends_with("listing, 25 % (7 chunks)"));
        assert!(at(RebuildPhase::Metadata, 0, 0).contains("0 %"));
    }

    #[test]
    fn requests_are_estimated_for_a_month() {
        assert_eq!(monthly(10, Duration::ZERO), None);
        assert_eq!(monthly(10, Duration::from_hours(24)), Some(300));
    }
}
