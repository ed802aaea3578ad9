//! The parts of DESIGN's rules, each with a switch.

/// One part of a rule: what breaks when only this is missing can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Rule {
    R1,
    R2Refresh,
    R2OneStep,
    R3,
    R4Last,
    R4Journal,
    R4Failed,
    R4OneStep,
    R5Refresh,
    R5Lookup,
    R5Base,
    R6Fill,
    R6Evict,
    R6Moment,
    R6Atime,
    R7OneStep,
    R7SkipJournal,
    R7UploadMarker,
    R7Marker,
    R7LocalFiles,
    R7Journal,
    R7Markers,
    R7MarkersFirst,
    R7Durable,
    R7ReplayMarkers,
    R7Replay,
    R7Expired,
    R7Cancel,
    R8TakeOut,
    R8Wait,
    R9Limbo,
    R9AnyAttempt,
    R9Wait,
    R9Clock,
    R9Signing,
    R10Open,
    R10Batch,
    R10Ours,
    R10Rebuild,
    R10RebuildWait,
    R10Unfinished,
    R10Discard,
    R10NeverBack,
    R10ReadBefore,
    R10ReadAfter,
    R10SignBefore,
    R10Index,
    R10IndexWait,
    R12,
    R12Floor,
    R12Use,
    R13Session,
    R13First,
    R14Heal,
    R14Told,
    R14Head,
    R14Lock,
    R14Journal,
    R15Told,
    R15Twice,
    R15Same,
    R15StartOver,
    R15Journal,
    R19Token,
    R19Path,
    R19Open,
    I6Index,
    I6Listing,
}

/// A switch as shown to people.
pub(crate) struct Part {
    pub(crate) rule: Rule,
    /// As given to `--off`.
    pub(crate) name: &'static str,
    /// What the rule demands, and what happens without it.
    pub(crate) text: &'static str,
}

const fn part(rule: Rule, name: &'static str, text: &'static str) -> Part {
    Part { rule, name, text }
}

/// Every part, in the order of the rules.
pub(crate) const PARTS: &[Part] = &[
    part(Rule::R1, "r1", "an upload sets its upload marker first; without: none, so nothing is watched"),
    part(Rule::R2Refresh, "r2-refresh", "a known chunk's atime is refreshed; without: it stays"),
    part(Rule::R2OneStep, "r2-one-step", "check and refresh are one step; without: two"),
    part(Rule::R3, "r3", "'already there' counts only for a good object; without: always"),
    part(Rule::R4Last, "r4-last", "the marker is placed after the acknowledgement; without: before the put"),
    part(
        Rule::R4Journal,
        "r4-journal",
        "an acknowledgement counts only if the digest was not journalled since; without: always",
    ),
    part(Rule::R4Failed, "r4-failed", "a failed upload leaves its upload marker; without: it removes it"),
    part(
        Rule::R4OneStep,
        "r4-one-step",
        "marker placed, then upload marker removed, under lock(d); without: the other order, in two steps",
    ),
    part(Rule::R5Refresh, "r5-refresh", "a referenced digest is refreshed; without: its atime stays"),
    part(Rule::R5Lookup, "r5-lookup", "a reference without marker is looked up; without: it is believed"),
    part(
        Rule::R5Base,
        "r5-base",
        "a snapshot that an open session builds on is not pruned; without: it may be",
    ),
    part(Rule::R6Fill, "r6-fill", "a download fills only a marker that is there; without: it creates one"),
    part(
        Rule::R6Evict,
        "r6-evict",
        "eviction empties only a marker that is there, in one step; without: it renames an empty file over whatever is there",
    ),
    part(
        Rule::R6Moment,
        "r6-moment",
        "eviction keeps the atime of that moment; without: the one it saw when it chose",
    ),
    part(
        Rule::R6Atime,
        "r6-atime",
        "eviction keeps the atime; without: the empty marker has the time of the eviction",
    ),
    part(Rule::R7OneStep, "r7-one-step", "the sweep judges and condemns in one step; without: two"),
    part(
        Rule::R7SkipJournal,
        "r7-skip-journal",
        "the sweep skips journalled digests; without: it condemns them again",
    ),
    part(Rule::R7UploadMarker, "r7-upload-marker", "a young upload marker keeps; without: it does not count"),
    part(Rule::R7Marker, "r7-marker", "a young marker keeps; without: it does not count"),
    part(
        Rule::R7LocalFiles,
        "r7-local-files",
        "markers and upload markers without object are judged too; without: only objects",
    ),
    part(
        Rule::R7Journal,
        "r7-journal",
        "what is to be deleted is journalled on disk first; without: in memory only",
    ),
    part(Rule::R7Markers, "r7-markers", "the markers of what is deleted are removed; without: they stay"),
    part(
        Rule::R7MarkersFirst,
        "r7-markers-first",
        "markers go before the delete; without: when it is settled",
    ),
    part(
        Rule::R7Durable,
        "r7-durable",
        "marker removals are durable before the entry is settled; without: some time",
    ),
    part(
        Rule::R7ReplayMarkers,
        "r7-replay-markers",
        "replay removes the markers of every entry; without: they stay",
    ),
    part(
        Rule::R7Replay,
        "r7-replay",
        "replay never deletes; without: it sends the deletes again and settles",
    ),
    part(
        Rule::R7Expired,
        "r7-expired",
        "nothing is sent once the expiry has passed; without: it is sent with its old signature",
    ),
    part(
        Rule::R7Cancel,
        "r7-cancel",
        "a cancelled run settles what was not sent; without: it stays journalled",
    ),
    part(
        Rule::R8TakeOut,
        "r8-take-out",
        "a use takes a condemned digest out of the batch; without: it is deleted all the same",
    ),
    part(Rule::R8Wait, "r8-wait", "a use of a journalled digest waits; without: it goes on"),
    part(Rule::R9Limbo, "r9-limbo", "an unclear delete goes to limbo; without: it is settled"),
    part(
        Rule::R9AnyAttempt,
        "r9-any-attempt",
        "a delete is unclear if any attempt was; without: only if the last was",
    ),
    part(Rule::R9Wait, "r9-wait", "limbo waits for the expiry; without: it ends at once"),
    part(
        Rule::R9Clock,
        "r9-clock",
        "only the backend's clock ends limbo; without: the local clock, which jumps",
    ),
    part(Rule::R9Signing, "r9-signing", "all attempts share one signing time; without: each is signed anew"),
    part(Rule::R10Open, "r10-open", "the token is advanced at open; without: only compared"),
    part(Rule::R10Batch, "r10-batch", "the token is advanced in every batch; without: not"),
    part(
        Rule::R10Ours,
        "r10-ours",
        "after a lost reply the token is ours only if it is the proposed one; without: it is taken for ours",
    ),
    part(
        Rule::R10Rebuild,
        "r10-rebuild",
        "a foreign token at open means a rebuild; without: the local state is trusted",
    ),
    part(
        Rule::R10RebuildWait,
        "r10-rebuild-wait",
        "a rebuild waits until earlier requests have expired; without: it lists at once",
    ),
    part(
        Rule::R10Unfinished,
        "r10-unfinished",
        "a rebuild that was cut short is begun anew; without: the next open finds its own token and goes on",
    ),
    part(Rule::R10Discard, "r10-discard", "a rebuild discards the old journal; without: it replays it"),
    part(
        Rule::R10NeverBack,
        "r10-never-back",
        "a running owner never takes the bucket back; without: it swaps the foreign token",
    ),
    part(Rule::R10ReadBefore, "r10-read-before", "commit reads the token before the manifest; without: not"),
    part(Rule::R10ReadAfter, "r10-read-after", "commit reads the token after the manifest; without: not"),
    part(
        Rule::R10SignBefore,
        "r10-sign-before",
        "the manifest is signed before the first read; without: when it is sent",
    ),
    part(Rule::R10Index, "r10-index", "an index without manifest counts as references; without: it does not"),
    part(
        Rule::R10IndexWait,
        "r10-index-wait",
        "such an index stays until its requests have expired; without: until its session has ended",
    ),
    part(Rule::R12, "r12", "the store clock never runs backwards; without: it follows the wall clock"),
    part(
        Rule::R12Floor,
        "r12-floor",
        "an open starts the clock no earlier than it was saved; without: at the wall clock",
    ),
    part(
        Rule::R12Use,
        "r12-use",
        "the clock is saved before a use far beyond what is saved; without: at starts of sessions and runs only",
    ),
    part(
        Rule::R13Session,
        "r13-session",
        "the oldest open session bounds the cutoff; without: the start of the run alone",
    ),
    part(Rule::R13First, "r13-first", "the cutoff is fixed before the mark; without: after it"),
    part(Rule::R14Heal, "r14-heal", "a marker without object is removed; without: it stays"),
    part(Rule::R14Told, "r14-told", "healing fails the sessions that were told; without: they go on"),
    part(Rule::R14Head, "r14-head", "healing asks the backend again; without: it believes the listing"),
    part(Rule::R14Lock, "r14-lock", "healing holds lock(d) over question and act; without: neither"),
    part(
        Rule::R14Journal,
        "r14-journal",
        "healing leaves journalled digests alone; without: it heals them too",
    ),
    part(Rule::R15Told, "r15-told", "setting aside fails the sessions that were told; without: they go on"),
    part(Rule::R15Twice, "r15-twice", "a chunk is corrupt if two bodies are; without: if one is"),
    part(Rule::R15Same, "r15-same", "what is set aside is still what was read; without: whatever is there"),
    part(Rule::R15StartOver, "r15-start-over", "uploads under way start over; without: they go on"),
    part(
        Rule::R15Journal,
        "r15-journal",
        "setting aside is journalled like a batch; without: the object is deleted at once",
    ),
    part(Rule::R19Token, "r19-token", "a removal reads the token first; without: it is just sent"),
    part(
        Rule::R19Path,
        "r19-path",
        "a path with an unclear request is closed until the expiry; without: it is used again",
    ),
    part(
        Rule::R19Open,
        "r19-open",
        "after an open every path is closed until earlier requests have expired; without: only those in the journal found",
    ),
    part(Rule::I6Index, "i6-index", "an unreadable index stops the run; without: it is passed over"),
    part(
        Rule::I6Listing,
        "i6-listing",
        "a cut listing stops the run; without: what is missing does not exist",
    ),
];

impl Rule {
    /// How it is shown to people.
    pub(crate) fn part(self) -> &'static Part {
        &PARTS[self as usize]
    }

    /// The rule of that name.
    pub(crate) fn named(name: &str) -> Option<Rule> {
        PARTS.iter().find(|part| part.name == name).map(|part| part.rule)
    }
}

/// The parts in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rules(u128);

impl Rules {
    /// All of them.
    pub(crate) const ALL: Rules = Rules(u128::MAX);

    /// These, less one.
    #[must_use]
    pub(crate) fn without(self, rule: Rule) -> Rules {
        Rules(self.0 & !(1 << rule as u8))
    }

    /// Whether a part is in force.
    pub(crate) fn has(self, rule: Rule) -> bool {
        self.0 & 1 << rule as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_in_the_order_of_their_rules() {
        for (position, part) in PARTS.iter().enumerate() {
            assert_eq!(part.rule as usize, position, "{}", part.name);
            assert_eq!(Rule::named(part.name), Some(part.rule));
        }
        assert!(PARTS.len() <= 128);
    }

    #[test]
    fn a_rule_is_switched_off_alone() {
        let rules = Rules::ALL.without(Rule::R8Wait);
        assert!(!rules.has(Rule::R8Wait) && rules.has(Rule::R8TakeOut) && rules.has(Rule::I6Listing));
    }
}
