//! What a sweep counts.

use coldkeep_chunk_store::dir::EntryKind;

use super::Facts;
use crate::report::{FAILURES_MAX, Failure, Healed, Report, Tally};
use crate::target::{Agreement, Removal, Repair};

/// What a sweep amounted to.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) listed: Tally,
    chunks: Fates,
    bad: Fates,
    temporary: Fates,
    uploads: Fates,
    in_limbo: Tally,
    failed: Tally,
    failures: Vec<Failure>,
    healed: Healed,
}

/// What became of the files of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fates {
    pub(super) kept: Tally,
    pub(super) pending: Tally,
    removed: Tally,
}

impl Counts {
    pub(super) fn of(&mut self, kind: EntryKind) -> &mut Fates {
        match kind {
            EntryKind::Chunk => &mut self.chunks,
            EntryKind::Bad(_) => &mut self.bad,
            EntryKind::Temporary => &mut self.temporary,
            EntryKind::UploadMarker => &mut self.uploads,
        }
    }

    /// Counts what was to go and stays for now.
    pub(super) fn note_kept(&mut self, facts: Facts) {
        self.of(facts.kind).pending.add(facts.size);
    }

    /// Counts what became of a batch; returns how many chunks were removed.
    pub(super) fn note_removals(&mut self, removals: impl Iterator<Item = (Facts, Removal)>) -> Tally {
        let mut removed_chunks = Tally::default();
        for (facts, removal) in removals {
            match removal {
                // A marker without object is no chunk.
                Removal::Removed if facts.agreement == Agreement::NoObject => {
                    self.healed.markers_removed += 1;
                }
                Removal::Removed => {
                    self.of(facts.kind).removed.add(facts.size);
                    if facts.kind == EntryKind::Chunk {
                        removed_chunks.add(facts.size);
                    }
                }
                Removal::Kept => self.note_kept(facts),
                Removal::InLimbo => self.in_limbo.add(facts.size),
                Removal::Refused(reason) => self.note_refused(facts, reason),
            }
        }
        removed_chunks
    }

    /// Keeps the first reasons; of a bucket that refuses all deletes there could be millions.
    fn note_refused(&mut self, facts: Facts, reason: String) {
        self.failed.add(facts.size);
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(Failure { digest: facts.digest, reason });
        }
    }

    /// Counts what healing came to; in a dry run, what it would come to.
    pub(super) fn note_repair(&mut self, repair: Repair) {
        match repair {
            Repair::MarkerCreated => self.healed.markers_created += 1,
            Repair::MarkerRemoved { failed_sessions } => {
                self.healed.markers_removed += 1;
                self.healed.failed_sessions += failed_sessions;
            }
            Repair::Nothing => {}
        }
    }

    pub(super) fn write(self, report: &mut Report) {
        report.listed = self.listed;
        report.kept = self.chunks.kept;
        report.pending = self.chunks.pending;
        report.removed = self.chunks.removed;
        report.in_limbo = self.in_limbo;
        report.failed = self.failed;
        report.failures = self.failures;
        report.bad_kept = self.bad.stayed();
        report.bad_removed = self.bad.removed;
        report.temporary_kept = self.temporary.stayed();
        report.temporary_removed = self.temporary.removed;
        report.uploads_kept = self.uploads.stayed();
        report.uploads_removed = self.uploads.removed;
        report.healed = self.healed;
    }
}

impl Fates {
    fn stayed(&self) -> Tally {
        let mut stayed = self.kept;
        stayed.merge(self.pending);
        stayed
    }
}
