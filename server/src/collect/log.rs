//! What a collection tells its task's log, in the words of stock servers where they have some.

use coldkeep_gc::{Phase, Progress, Report};

use crate::tasks::TaskHandle;

/// Logs how far a run is, each phase and each tenth of it once.
#[derive(Debug, Default)]
pub(super) struct Watch {
    phase: Phase,
    tenths: u64,
}

impl Watch {
    pub(super) fn look(&mut self, progress: Progress, task: &TaskHandle) {
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

pub(super) fn log_report(report: &Report, task: &TaskHandle) {
    task.log(format!("marked {} references in {} index files", report.references, report.indexes));
    task.log(format!("processed {} chunks", report.listed.count));
    if report.dry_run {
        task.log("dry run: nothing was removed; what follows says what would have been");
    }
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
    let (stored, chunks) = (report.stored_bytes(), report.kept.count.saturating_add(report.pending.count));
    let percent = if report.index_data_bytes > 0 {
        stored as f64 * 100.0 / report.index_data_bytes as f64
    } else {
        0.0
    };
    task.log(format!("On-Disk usage: {} ({percent:.2}%)", bytes(stored)));
    task.log(format!("On-Disk chunks: {chunks}"));
    task.log(format!("Deduplication factor: {:.2}", report.dedup_factor));
    task.log(format!("Average chunk size: {}", bytes(stored.checked_div(chunks).unwrap_or(0))));
    log_leftovers(report, task);
    log_troubles(report, task);
}

/// Logs what was put in order beside the chunks.
fn log_leftovers(report: &Report, task: &TaskHandle) {
    let counted = [
        ("Removed left-over temporary files", report.temporary_removed.count),
        ("Removed left-over upload markers", report.uploads_removed.count),
        ("Removed unfinished snapshots", report.unfinished.removed),
        ("Unfinished snapshots in use", report.unfinished.in_use),
        ("Created missing markers", report.healed.markers_created),
        ("Deletes without an answer, to be settled later", report.in_limbo.count),
    ];
    for (what, count) in counted.into_iter().filter(|(_, count)| *count > 0) {
        task.log(format!("{what}: {count}"));
    }
    if !report.requests.is_empty() {
        let requests = report.requests.iter().map(|(kind, count)| format!("{kind} {count}"));
        task.log(format!("Requests: {}", requests.collect::<Vec<_>>().join(", ")));
    }
    for time in &report.phases {
        task.log(format!("Phase {:?}: {:.1} s", time.phase, time.seconds));
    }
}

/// Logs what somebody should look at.
fn log_troubles(report: &Report, task: &TaskHandle) {
    for failure in &report.unfinished.failures {
        task.warn(format!("an unfinished snapshot could not be removed: {failure}"));
    }
    for index in &report.unexpected_indexes {
        task.warn(format!("an index stands where none is expected, and counts: {index}"));
    }
    if report.unexpected_indexes_unnamed > 0 {
        task.warn(format!("{} more unexpected indexes", report.unexpected_indexes_unnamed));
    }
    if report.failed.count > 0 {
        task.warn(format!("{} objects could not be deleted; the next run tries again", report.failed.count));
        for failure in &report.failures {
            task.log(format!("not deleted: {}: {}", failure.digest, failure.reason));
        }
    }
    if report.healed.markers_removed > 0 {
        task.warn(format!(
            "{} markers had no object in the bucket and were removed; {} open sessions failed",
            report.healed.markers_removed, report.healed.failed_sessions
        ));
    }
    if let Some(failure) = &report.missing.failure {
        task.warn(format!("the audit is incomplete, snapshots may be broken that are not named: {failure}"));
    }
    if report.missing.unread_indexes > 0 {
        task.warn(format!(
            "{} indexes could not be read a second time; they may be broken",
            report.missing.unread_indexes
        ));
    }
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
    fn bytes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.500 KiB");
        assert_eq!(bytes(u64::MAX), "16384.000 PiB");
    }
}
