//! Some lines of a report for a person.

use std::fmt::{Display, Formatter, Result};

use super::{End, Healed, Report, Tally};
use crate::control::Phase;

/// Most names of one kind; the report has more of them.
const NAMES_MAX: usize = 10;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.end {
            End::Completed => {}
            End::Cancelled => writeln!(f, "cancelled; what was done until then:")?,
            End::Failed => writeln!(f, "failed; what was done until then:")?,
        }
        self.write_chunks(f)?;
        self.write_others(f)?;
        self.write_troubles(f)?;
        self.write_missing(f)?;
        if !self.requests.is_empty() {
            let requests = self.requests.iter().map(|(kind, count)| format!("{kind} {count}"));
            writeln!(f, "requests: {}", requests.collect::<Vec<_>>().join(", "))?;
        }
        if !self.phases.is_empty() {
            let phases = self.phases.iter().map(|time| format!("{} {:.1} s", time.phase, time.seconds));
            writeln!(f, "time: {}", phases.collect::<Vec<_>>().join(", "))?;
        }
        write!(f, "deduplication factor {:.2}", self.dedup_factor)
    }
}

impl Report {
    const fn removed_word(&self) -> &'static str {
        if self.dry_run { "would remove" } else { "removed" }
    }

    fn write_chunks(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(
            f,
            "marked {} references to {} chunks in {} indexes ({:.0}/s)",
            self.references, self.distinct_chunks, self.indexes, self.references_per_second
        )?;
        let line = |tally: Tally| format!("{} chunks, {} bytes", tally.count, tally.bytes);
        writeln!(f, "listed {} ({:.0}/s)", line(self.listed), self.listed_per_second)?;
        writeln!(f, "kept {}", line(self.kept))?;
        writeln!(f, "pending (used too recently) {}", line(self.pending))?;
        let removed = self.removed_word();
        writeln!(f, "{removed} {} ({:.0}/s)", line(self.removed), self.removed_per_second)
    }

    fn write_others(&self, f: &mut Formatter<'_>) -> Result {
        let removed = self.removed_word();
        if self.bad_kept.count > 0 || self.bad_removed.count > 0 {
            writeln!(f, "bad copies: kept {}, {removed} {}", self.bad_kept.count, self.bad_removed.count)?;
        }
        for (what, tally) in [
            ("left-over temporary files", self.temporary_removed),
            ("left-over upload markers", self.uploads_removed),
        ] {
            if tally.count > 0 {
                writeln!(f, "{what}: {removed} {}", tally.count)?;
            }
        }
        if self.unfinished.removed > 0 || self.unfinished.in_use > 0 {
            let (count, in_use) = (self.unfinished.removed, self.unfinished.in_use);
            writeln!(f, "unfinished snapshots: {removed} {count}, in use {in_use}")?;
        }
        let Healed { markers_created, markers_removed, failed_sessions } = self.healed;
        if markers_created > 0 || markers_removed > 0 {
            let created = if self.dry_run { "would create" } else { "created" };
            writeln!(f, "markers: {created} {markers_created}, {removed} {markers_removed}")?;
        }
        if failed_sessions > 0 {
            writeln!(f, "{failed_sessions} open sessions failed: they rely on chunks that are missing")?;
        }
        Ok(())
    }

    fn write_troubles(&self, f: &mut Formatter<'_>) -> Result {
        let failures = &self.unfinished.failures;
        for failure in failures.iter().take(NAMES_MAX) {
            writeln!(f, "an unfinished snapshot could not be removed: {failure}")?;
        }
        write_more(f, failures.len(), self.unfinished.failures_unnamed)?;
        for index in self.unexpected_indexes.iter().take(NAMES_MAX) {
            writeln!(f, "an index stands where none is expected, and counts: {index}")?;
        }
        write_more(f, self.unexpected_indexes.len(), self.unexpected_indexes_unnamed)?;
        if self.in_limbo.count > 0 {
            writeln!(f, "in limbo (deletes without an answer) {} chunks", self.in_limbo.count)?;
        }
        if self.failed.count > 0 {
            writeln!(f, "FAILED to delete {}; the next run tries again", self.failed.count)?;
            for failure in self.failures.iter().take(NAMES_MAX) {
                writeln!(f, "  {}: {}", failure.digest, failure.reason)?;
            }
            let unnamed = self.failed.count.saturating_sub(self.failures.len() as u64);
            write_more(f, self.failures.len(), unnamed)?;
        }
        Ok(())
    }

    fn write_missing(&self, f: &mut Formatter<'_>) -> Result {
        let missing = &self.missing;
        if let Some(failure) = &missing.failure {
            writeln!(f, "the audit is INCOMPLETE: {failure}")?;
        }
        if missing.unread_indexes > 0 {
            writeln!(f, "{} indexes could not be read a second time", missing.unread_indexes)?;
        }
        if missing.chunks == 0 {
            return Ok(());
        }
        let broken = missing.broken_indexes_unnamed.saturating_add(missing.broken_indexes.len() as u64);
        writeln!(f, "MISSING {} referenced chunks; broken: {broken} indexes", missing.chunks)?;
        for broken in missing.broken_indexes.iter().take(NAMES_MAX) {
            writeln!(f, "  {}: {} references to missing chunks", broken.index, broken.missing_references)?;
        }
        write_more(f, missing.broken_indexes.len(), missing.broken_indexes_unnamed)
    }
}

/// Tells how many of a list are not named: those beyond [`NAMES_MAX`], and those that are not in the list either.
fn write_more(f: &mut Formatter<'_>, listed: usize, unnamed: u64) -> Result {
    match (listed.saturating_sub(NAMES_MAX) as u64).saturating_add(unnamed) {
        0 => Ok(()),
        more => writeln!(f, "  and {more} more"),
    }
}

impl Display for Phase {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Starting => "start",
            Self::Mark => "mark",
            Self::Sweep => "sweep",
            Self::FindMissing => "search for what is missing",
            Self::Ended => "end",
        })
    }
}

#[cfg(test)]
mod tests {
    use coldkeep_chunk_store::Digest;

    use super::*;
    use crate::report::{BrokenIndex, Failure, PhaseTime};

    #[test]
    fn a_report_tells_rates_times_and_some_of_what_went_wrong() {
        let mut report = Report { references_per_second: 5.0, listed_per_second: 6.0, ..Report::default() };
        report.removed_per_second = 7.0;
        report.end = End::Failed;
        report.phases = vec![PhaseTime { phase: Phase::Mark, seconds: 1.25 }];
        report.failed.count = 150;
        report.failures = (0..100_u8)
            .map(|number| Failure { digest: Digest::of(&[number]), reason: "locked".to_owned() })
            .collect();
        report.unexpected_indexes = vec!["stray/a.didx".to_owned()];
        report.unexpected_indexes_unnamed = 3;
        report.missing.chunks = 2;
        let broken = |number| BrokenIndex { index: format!("host/{number}"), missing_references: 1 };
        report.missing.broken_indexes = (0..1000).map(broken).collect();
        report.missing.broken_indexes_unnamed = 5;
        let text = report.to_string();
        for wanted in [
            "failed; what was done until then",
            "(5/s)",
            "(6/s)",
            "(7/s)",
            "time: mark 1.2 s",
            ": locked\n",
            "  and 140 more\n",
            "stray/a.didx\n  and 3 more\n",
            "broken: 1005 indexes\n",
            "  and 995 more\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in {text}");
        }
        assert!(text.lines().count() < 50, "{text}");
    }
}
