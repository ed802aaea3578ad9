//! The report of a collection, for a person.

use std::time::Duration;

use coldkeep_gc::{End, Report, Tally};

use crate::cli::human;
use crate::cli::table::facts;

/// Names of one kind that are shown; the report has more.
const NAMES_MAX: usize = 5;

type Facts = Vec<(&'static str, String)>;

/// Writes what a collection found and did.
pub(in crate::cli) fn describe(report: &Report) -> String {
    let mut lines = Facts::new();
    match report.end {
        End::Completed => {}
        End::Cancelled => lines.push(("ended", "cancelled; what was done until then:".to_owned())),
        End::Failed => lines.push(("ended", "failed; what was done until then:".to_owned())),
    }
    lines.extend(chunks(report));
    lines.extend(rare(report));
    lines.extend(troubles(report));
    lines.extend(run(report));
    facts(&lines)
}

fn tally(tally: &Tally, noun: &str) -> String {
    format!("{} in {}", human::bytes(tally.bytes), human::count(tally.count, noun))
}

/// What is done in a real run, and would be in a dry one.
const fn removed_word(report: &Report) -> &'static str {
    if report.dry_run { "would be removed" } else { "removed" }
}

fn chunks(report: &Report) -> Facts {
    vec![
        ("indexes", format!("{}, {}", report.indexes, human::bytes(report.index_data_bytes))),
        ("references", format!("{} to {}", report.references, human::count(report.distinct_chunks, "chunk"))),
        ("listed", tally(&report.listed, "chunk")),
        ("kept", tally(&report.kept, "chunk")),
        (removed_word(report), tally(&report.removed, "chunk")),
        ("unused but too young", tally(&report.pending, "chunk")),
    ]
}

/// What is shown only where there is some of it.
fn rare(report: &Report) -> Facts {
    let removed = removed_word(report);
    let created = if report.dry_run { "would be created" } else { "created" };
    let left_over = report.temporary_removed.count.saturating_add(report.uploads_removed.count);
    let (healed, unfinished) = (&report.healed, &report.unfinished);
    let bad = (report.bad_removed.count, report.bad_kept.count);
    let markers = (healed.markers_created, healed.markers_removed);
    let all = [
        ("in limbo", report.in_limbo.count, tally(&report.in_limbo, "chunk")),
        ("not deleted", report.failed.count, tally(&report.failed, "object")),
        ("MISSING", report.missing.chunks, missing(report)),
        ("damaged", bad.0.saturating_add(bad.1), format!("{} {removed}, {} left", bad.0, bad.1)),
        ("left-over files", left_over, format!("{left_over} {removed}")),
        (
            "unfinished snapshots",
            unfinished.removed.saturating_add(unfinished.in_use),
            format!("{} {removed}, {} in use", unfinished.removed, unfinished.in_use),
        ),
        (
            "markers",
            markers.0.saturating_add(markers.1),
            format!("{} {created}, {} without object {removed}", markers.0, markers.1),
        ),
        (
            "failed sessions",
            healed.failed_sessions,
            format!("{}, which rely on chunks that are missing", healed.failed_sessions),
        ),
    ];
    all.into_iter().filter(|(_, count, _)| *count > 0).map(|(name, _, text)| (name, text)).collect()
}

fn troubles(report: &Report) -> Facts {
    let mut lines = Facts::new();
    lines.extend(report.missing.failure.iter().map(|failure| ("audit INCOMPLETE", failure.clone())));
    let unread = report.missing.unread_indexes;
    if unread > 0 {
        lines.push(("not read again", indexes(unread)));
    }
    let failures = report.failures.iter().map(|failure| format!("{}: {}", failure.digest, failure.reason));
    add_names(&mut lines, "refused", failures, report.failed.count);
    let unexpected = &report.unexpected_indexes;
    let count = report.unexpected_indexes_unnamed.saturating_add(unexpected.len() as u64);
    add_names(&mut lines, "unexpected index", unexpected.iter().cloned(), count);
    let failures = &report.unfinished.failures;
    let count = report.unfinished.failures_unnamed.saturating_add(failures.len() as u64);
    add_names(&mut lines, "not removed", failures.iter().cloned(), count);
    lines
}

/// Adds a line for each of the first names, and one that says how many more of `count` there are.
fn add_names(lines: &mut Facts, what: &'static str, names: impl Iterator<Item = String>, count: u64) {
    let before = lines.len();
    lines.extend(names.take(NAMES_MAX).map(|name| (what, name)));
    let more = count.saturating_sub((lines.len() - before) as u64);
    if more > 0 {
        lines.push((what, format!("and {more} more")));
    }
}

/// How the run went: requests, times, rates.
fn run(report: &Report) -> Facts {
    let mut lines = Facts::new();
    let requests: Vec<_> = report.requests.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    if !requests.is_empty() {
        lines.push(("requests", requests.join(", ")));
    }
    let time = |seconds: f64| human::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let phases = report.phases.iter().map(|phase| format!("{} {}", phase.phase, time(phase.seconds)));
    let phases = phases.collect::<Vec<_>>().join(", ");
    let all = time(report.phases.iter().map(|phase| phase.seconds).sum());
    lines.push(("duration", if phases.is_empty() { all } else { format!("{all}: {phases}") }));
    lines.push((
        "rates",
        format!(
            "{:.0} references/s, {:.0} chunks/s listed, {:.0} chunks/s {}",
            report.references_per_second,
            report.listed_per_second,
            report.removed_per_second,
            removed_word(report)
        ),
    ));
    lines.push(("deduplication", format!("{:.2} times", report.dedup_factor)));
    lines
}

fn missing(report: &Report) -> String {
    let missing = &report.missing;
    let broken = missing.broken_indexes_unnamed.saturating_add(missing.broken_indexes.len() as u64);
    let names = missing.broken_indexes.iter().take(NAMES_MAX).map(|broken| broken.index.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    format!(
        "{}; broken: {} ({names}{})",
        human::count(missing.chunks, "chunk"),
        indexes(broken),
        if broken > NAMES_MAX as u64 { ", …" } else { "" }
    )
}

fn indexes(count: u64) -> String {
    if count == 1 { "1 index".to_owned() } else { format!("{count} indexes") }
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::Digest;
    use coldkeep_gc::{BrokenIndex, Failure, Phase, PhaseTime};

    use super::*;

    #[test]
    fn a_report_is_shown_with_what_is_out_of_the_ordinary() {
        let mut report = Report::default();
        report.kept = Tally { count: 1, bytes: 4 << 20 };
        let text = describe(&report);
        assert!(text.contains("4.00 MiB in 1 chunk") && text.contains("removed:"), "{text}");
        assert!(
            !text.contains("MISSING") && !text.contains("in limbo") && !text.contains("requests"),
            "{text}"
        );
        report.dry_run = true;
        report.missing.chunks = 2;
        report.missing.broken_indexes =
            vec![BrokenIndex { index: "host/a/1/x.didx".to_owned(), missing_references: 3 }];
        report.requests.insert("ListObjectsV2".to_owned(), 7);
        let text = describe(&report);
        assert!(text.contains("would be removed:"), "{text}");
        assert!(text.contains("2 chunks; broken: 1 index (host/a/1/x.didx)"), "{text}");
        assert!(text.contains("ListObjectsV2 7"), "{text}");
    }

    #[test]
    fn a_report_is_shown_with_rates_times_and_reasons() {
        let mut report = Report::default();
        report.end = End::Completed;
        report.listed = Tally { count: 9, bytes: 9 << 20 };
        report.phases = vec![
            PhaseTime { phase: Phase::Mark, seconds: 2.0 },
            PhaseTime { phase: Phase::Sweep, seconds: 3.0 },
        ];
        (report.references_per_second, report.listed_per_second) = (5.0, 6.0);
        report.failed.count = 2;
        report.failures = vec![Failure { digest: Digest::of(b"x"), reason: "locked".to_owned() }];
        report.unexpected_indexes = (0..7).map(|number| format!("stray/{number}")).collect();
        report.unexpected_indexes_unnamed = 3;
        let text = describe(&report);
        for wanted in [
            "9.00 MiB in 9 chunks",
            "mark 2",
            "sweep 3",
            "5 references/s, 6 chunks/s listed",
            &format!("{}: locked\n", Digest::of(b"x")),
            "and 1 more\n",
            "stray/4\n",
            "and 5 more\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in {text}");
        }
        assert!(!text.contains("ended:") && !text.contains("markers:"), "{text}");
        report.dry_run = true;
        report.healed.markers_removed = 2;
        assert!(describe(&report).contains("2 without object would be removed"), "{}", describe(&report));
    }
}
