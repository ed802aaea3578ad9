//! What a collection tells its task's log, in the words of stock servers where they have some.

use coldkeep_gc::{Phase, Progress, Report};

use crate::tasks::TaskHandle;

/// Most names of one kind; the report has more of them.
const NAMES_MAX: usize = 10;

/// Most chunks that are named, all in one line.
const CHUNKS_MAX: usize = 3;

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
            if let Some(line) = progress_line(&progress, tenths * 10) {
                task.log(line);
            }
        }
    }
}

/// Says how far a phase is, how fast it is, and how long it still takes.
fn progress_line(progress: &Progress, percent: u64) -> Option<String> {
    let Progress { done, total, references, listed, elapsed, .. } = *progress;
    let per_second = |count: u64| count as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let (done, rate) = match progress.phase {
        Phase::Mark => (
            format!("marked {percent}% ({done} of {total} index files"),
            format!(", {:.0} references/s", per_second(references)),
        ),
        Phase::Sweep => (
            format!("processed {percent}% ({listed} chunks"),
            format!(", {:.0} chunks/s", per_second(listed)),
        ),
        Phase::Starting | Phase::FindMissing | Phase::Ended => return None,
    };
    let rate = if elapsed.is_zero() { String::new() } else { rate };
    let left = progress.remaining().filter(|left| !left.is_zero());
    let left = left.map(|left| format!(", about {:.0} s left", left.as_secs_f64().ceil()));
    Some(format!("{done}{rate}{})", left.unwrap_or_default()))
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// Something to know.
    Note(String),
    /// Something that somebody should look at.
    Warning(String),
}

pub(super) fn log_report(report: &Report, task: &TaskHandle) {
    for line in lines_of(report) {
        match line {
            Line::Note(text) => task.log(text),
            Line::Warning(text) => task.warn(text),
        }
    }
}

/// Says what a run came to, in a number of lines that does not depend on how many chunks there are.
fn lines_of(report: &Report) -> Vec<Line> {
    let notes = [notes_on_chunks(report), notes_on_others(report), notes_on_run(report)];
    let notes = notes.into_iter().flatten().map(Line::Note);
    let warnings = [warnings_of_removals(report), warnings_of_audit(report)];
    notes.chain(warnings.into_iter().flatten().map(Line::Warning)).collect()
}

fn notes_on_chunks(report: &Report) -> Vec<String> {
    let mut notes = vec![
        format!("marked {} references in {} index files", report.references, report.indexes),
        format!("processed {} chunks", report.listed.count),
    ];
    let removed = if report.dry_run {
        notes.push("dry run: nothing was removed; what follows says what would be".to_owned());
        "Would be removed"
    } else {
        "Removed"
    };
    notes.push(format!("{removed} garbage: {}", bytes(report.removed.bytes)));
    notes.push(format!("{removed} chunks: {}", report.removed.count));
    if report.pending.count > 0 {
        let (size, count) = (bytes(report.pending.bytes), report.pending.count);
        notes.push(format!("Pending removals: {size} (in {count} chunks)"));
    }
    if report.bad_removed.count > 0 {
        notes.push(format!("{removed} bad chunks: {}", report.bad_removed.count));
    }
    if report.bad_kept.count > 0 {
        notes.push(format!("Leftover bad chunks: {}", report.bad_kept.count));
    }
    let (stored, chunks) = (report.stored_bytes(), report.kept.count.saturating_add(report.pending.count));
    let percent = if report.index_data_bytes > 0 {
        stored as f64 * 100.0 / report.index_data_bytes as f64
    } else {
        0.0
    };
    notes.extend([
        format!("Original data usage: {}", bytes(report.index_data_bytes)),
        format!("On-Disk usage: {} ({percent:.2}%)", bytes(stored)),
        format!("On-Disk chunks: {chunks}"),
        format!("Deduplication factor: {:.2}", report.dedup_factor),
        format!("Average chunk size: {}", bytes(stored.checked_div(chunks).unwrap_or(0))),
    ]);
    notes
}

/// Tells what was put in order beside the chunks, or would be.
fn notes_on_others(report: &Report) -> Vec<String> {
    let [removed, created] =
        if report.dry_run { ["Would be removed", "Would be created"] } else { ["Removed", "Created"] };
    let counted = [
        (format!("{removed} left-over temporary files"), report.temporary_removed.count),
        (format!("{removed} left-over upload markers"), report.uploads_removed.count),
        (format!("{removed} unfinished snapshots"), report.unfinished.removed),
        ("Unfinished snapshots in use".to_owned(), report.unfinished.in_use),
        (format!("{created} missing markers"), report.healed.markers_created),
        ("Deletes without an answer, to be settled later".to_owned(), report.in_limbo.count),
    ];
    let counted = counted.into_iter().filter(|(_, count)| *count > 0);
    counted.map(|(what, count)| format!("{what}: {count}")).collect()
}

fn notes_on_run(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if !report.requests.is_empty() {
        let requests = report.requests.iter().map(|(kind, count)| format!("{kind} {count}"));
        notes.push(format!("Requests: {}", requests.collect::<Vec<_>>().join(", ")));
    }
    notes.extend(report.phases.iter().map(|time| format!("Phase {}: {:.1} s", time.phase, time.seconds)));
    notes.push(format!(
        "Rates: {:.0} references/s marked, {:.0} chunks/s listed, {:.0} chunks/s removed",
        report.references_per_second, report.listed_per_second, report.removed_per_second
    ));
    notes
}

fn warnings_of_removals(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let unfinished = &report.unfinished;
    let failures = unfinished.failures.iter().take(NAMES_MAX);
    warnings.extend(failures.map(|why| format!("an unfinished snapshot could not be removed: {why}")));
    let more = beyond(unfinished.failures.len(), unfinished.failures_unnamed);
    warnings.extend(more.map(|more| format!("{more} more unfinished snapshots could not be removed")));
    let unexpected = report.unexpected_indexes.iter().take(NAMES_MAX);
    warnings.extend(
        unexpected.map(|index| format!("an index stands where none is expected, and counts: {index}")),
    );
    let more = beyond(report.unexpected_indexes.len(), report.unexpected_indexes_unnamed);
    warnings.extend(more.map(|more| format!("{more} more unexpected indexes")));
    if report.failed.count > 0 {
        let some = report.failures.iter().map(|failure| format!("{}: {}", failure.digest, failure.reason));
        let some = some_of(some, report.failed.count);
        let count = report.failed.count;
        warnings.push(format!("{count} objects could not be deleted; the next run tries again: {some}"));
    }
    let healed = &report.healed;
    if healed.markers_removed > 0 {
        let removed = if report.dry_run { "would be" } else { "were" };
        let (markers, sessions) = (healed.markers_removed, healed.failed_sessions);
        let sessions =
            if sessions > 0 { format!("; {sessions} open sessions failed") } else { String::new() };
        warnings
            .push(format!("{markers} markers have no object in the bucket and {removed} removed{sessions}"));
    }
    warnings
}

fn warnings_of_audit(report: &Report) -> Vec<String> {
    let (mut warnings, missing) = (Vec::new(), &report.missing);
    if let Some(failure) = &missing.failure {
        warnings
            .push(format!("the audit is incomplete, snapshots may be broken that are not named: {failure}"));
    }
    if missing.unread_indexes > 0 {
        let count = missing.unread_indexes;
        warnings.push(format!("{count} indexes could not be read a second time; they may be broken"));
    }
    if missing.chunks > 0 {
        let some = some_of(missing.sample.iter().map(ToString::to_string), missing.chunks);
        warnings.push(format!("{} referenced chunks are missing: {some}", missing.chunks));
        let broken = missing.broken_indexes.iter().take(NAMES_MAX);
        warnings.extend(broken.map(|broken| {
            format!("{}: {} references to missing chunks", broken.index, broken.missing_references)
        }));
        let more = beyond(missing.broken_indexes.len(), missing.broken_indexes_unnamed);
        warnings.extend(more.map(|more| format!("{more} more indexes are broken")));
    }
    warnings
}

/// Returns how many are not named, if any: those beyond [`NAMES_MAX`], and those that the report does not name either.
fn beyond(named: usize, unnamed: u64) -> Option<u64> {
    Some(named.saturating_sub(NAMES_MAX) as u64 + unnamed).filter(|more| *more > 0)
}

/// Names the first of `count` chunks in one line.
fn some_of(names: impl Iterator<Item = String>, count: u64) -> String {
    let names: Vec<_> = names.take(CHUNKS_MAX).collect();
    match count.saturating_sub(names.len() as u64) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
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
    use std::time::Duration;

    use coldkeep_chunk_store::Digest;
    use coldkeep_gc::{BrokenIndex, Control, Failure};

    use super::*;

    /// A report of a run that met as much as a report can name.
    fn troubled() -> Report {
        let digests = || (0..1000_u32).map(|number| Digest::of(&number.to_le_bytes()));
        let mut report = Report::default();
        report.missing.chunks = 5000;
        report.missing.sample = digests().collect();
        let broken = |number| BrokenIndex { index: format!("host/{number}"), missing_references: 1 };
        report.missing.broken_indexes = (0..1000).map(broken).collect();
        report.missing.broken_indexes_unnamed = 7;
        report.failed.count = 300;
        let failure = |digest| Failure { digest, reason: "locked".to_owned() };
        report.failures = digests().take(100).map(failure).collect();
        report.unexpected_indexes = (0..1000).map(|number| format!("stray/{number}")).collect();
        report.unfinished.failures = (0..100).map(|number| format!("refused {number}")).collect();
        report.healed.markers_removed = 2;
        report.removed.count = 3;
        report
    }

    #[test]
    fn the_log_has_no_line_for_each_chunk() {
        let lines = lines_of(&troubled());
        assert!(lines.len() < 60, "{lines:#?}");
        let warnings: Vec<_> = lines
            .iter()
            .filter_map(|line| if let Line::Warning(text) = line { Some(text.as_str()) } else { None })
            .collect();
        let first = Digest::of(&0_u32.to_le_bytes()).to_string();
        for wanted in [
            format!("5000 referenced chunks are missing: {first}, "),
            format!("300 objects could not be deleted; the next run tries again: {first}: locked, "),
        ] {
            assert!(warnings.iter().any(|line| line.starts_with(&wanted)), "{wanted}: {warnings:#?}");
        }
        for wanted in
            ["and 4997 more", "and 297 more", "997 more indexes are broken", "990 more unexpected indexes"]
        {
            assert!(warnings.iter().any(|line| line.ends_with(wanted)), "{wanted}: {warnings:#?}");
        }
    }

    #[test]
    fn a_dry_run_says_what_would_be() {
        let mut report = troubled();
        report.dry_run = true;
        let text = format!("{:?}", lines_of(&report));
        assert!(text.contains("Would be removed chunks: 3"), "{text}");
        assert!(text.contains("2 markers have no object in the bucket and would be removed"), "{text}");
        assert!(!text.contains("Removed"), "{text}");
    }

    #[test]
    fn progress_is_told_with_rate_and_remaining_time() {
        let mut progress = Control::new().progress();
        (progress.phase, progress.done, progress.total) = (Phase::Mark, 3, 10);
        progress.references = 6000;
        assert_eq!(progress_line(&progress, 30).unwrap(), "marked 30% (3 of 10 index files)");
        progress.elapsed = Duration::from_secs(6);
        let line = progress_line(&progress, 30).unwrap();
        assert_eq!(line, "marked 30% (3 of 10 index files, 1000 references/s, about 14 s left)");
        (progress.phase, progress.listed) = (Phase::Sweep, 600);
        let line = progress_line(&progress, 30).unwrap();
        assert_eq!(line, "processed 30% (600 chunks, 100 chunks/s, about 14 s left)");
    }

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.500 KiB");
        assert_eq!(bytes(u64::MAX), "16384.000 PiB");
    }
}
