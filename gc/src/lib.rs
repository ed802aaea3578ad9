//! Mark-and-sweep collection of unreferenced chunks that cannot lose one in use.
//!
//! [`collect`] reads every index of a store into one compact set, lists the store shard by shard, and removes what no
//! index refers to and nobody used recently. It takes the references through a trait ([`References`]) and the store
//! through another ([`SweepTarget`], implemented for [`ChunkStore`](coldkeep_chunk_store::ChunkStore) and
//! [`BucketStore`](coldkeep_chunk_store::bucket::BucketStore)), so that every store shares one sweep.
//!
//! It is not a retention policy (which snapshots to forget is decided elsewhere, before), it does not know snapshots,
//! and it starts nothing by itself: no schedule, no task, no clock of its own. It needs no async runtime beyond what the
//! target needs.
//!
//! ```
//! use coldkeep_chunk_store::StoreTime;
//! use coldkeep_gc::testing::{MemoryReferences, MemoryStore};
//! use coldkeep_gc::{Control, Options, collect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::at(StoreTime::from_unix(1_700_000_000, 0));
//! let references = MemoryReferences::new();
//! let report = collect(&store, &references, &Options::default(), &Control::new()).await?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```
//!
//! | feature | adds |
//! |---|---|
//! | `testing` | a store and references in memory |
//!
//! # Safety argument
//!
//! Rules (R…), invariants (I…) and hazards (H…) are those of the design. All tests named below stand in `tests/it/`. What
//! follows is about the real [`ChunkStore`](coldkeep_chunk_store::ChunkStore), where chunk, marker and object are one file;
//! what is different in a bucket has a section of its own.
//!
//! ## Definitions
//!
//! - A chunk is **referenced** if an index that [`References::list`] names holds its digest.
//! - The **cutoff** is fixed when the run begins, in one step with the registration of sessions, and before the first
//!   listing of indexes (R13): `min(run start − grace, start of the oldest open session) − margin`.
//! - The **last use** of a chunk is the atime of its file, always set from the store clock, which never runs backwards
//!   (R12).
//!
//! ## Claim (I1, I3)
//!
//! A run removes chunk d only if, at one instant under lock(d), its last use lies before the cutoff, and no index that
//! existed when the mark read it holds d. Then nobody needs d:
//!
//! 1. *Snapshots committed before the run began.* Their indexes are listed and read to the end, or the run stops before
//!    it condemns anything (I6): a failed listing, an unreadable index, an index that passes on fewer digests than it
//!    states, and one that is listed but cannot be found are all errors ([`CollectError`]). An index that vanished is
//!    tolerated only if a fresh listing does not name it. `h15_…` (switch `i6`).
//! 2. *Sessions open when the run began.* Whatever such a session inserted or referenced was refreshed to a time at or
//!    after its start (R2, R5), and the cutoff is no later than that start. So d stays, whatever becomes of the
//!    snapshot it came from. `h07_…` (switches `r5`, `r13`).
//! 3. *Sessions that began later.* They start after the cutoff was fixed, and refresh all they use to a time after it.
//!    `h02_…` (switches `r2`, `r7`).
//!
//! Neither grace nor margin appears in the argument; both may be zero (`grace_and_margin_of_zero_…`).
//!
//! ## Interleavings
//!
//! | with | what happens | upheld by | test |
//! |---|---|---|---|
//! | insert of a new chunk | it is younger than the cutoff whenever it is listed | R13 | `h07_the_cutoff_…` |
//! | insert or reference of a known chunk, before its shard is listed | it is listed with its new time: pending | R2, R5 | `h02_a_known_chunk_…`, `h07_a_reused_chunk_…` |
//! | the same, between decision and removal | the removal looks again under lock(d), in one step with the unlink, and keeps it | R7 | `h02_a_chunk_used_between_…` |
//! | the same, after the removal | the chunk is unknown then: uploaded again, or the reference is refused | R2, R5 | (chunk-store) |
//! | load | needs no protection: it reads a chunk of a snapshot, which is referenced, or fails cleanly | I1 | `garbage_goes_…` |
//! | forget of a snapshot during the mark | its indexes vanish; what only they named may go, now or in the next run | I6 | `a_snapshot_removed_…` |
//! | forget and a new backup of the same name during the mark | the index is listed again, so it is read again | I6 | `an_index_that_was_replaced_…` |
//! | a chunk set aside as bad | the bad copy stays while an index refers to the digest; the chunk is reported as missing | R15 | `bad_copies_stay_…` |
//! | a wall clock that steps | last uses and cutoff follow the store clock | R12 | `h13_…` (switch `r12`) |
//! | another run | does not begin | R7 | `one_run_at_a_time` |
//! | cancel | listings, reads and looks are given up, batches come to their end; what was removed until then was garbage | | `a_cancelled_…`, `a_run_is_cancelled_…` |
//! | dropping the future, crash | each removal stands on its own, after a complete mark; the next run starts afresh. A removal that goes on for a moment on another thread keeps to the old cutoff, and that only keeps more | R7 | `dropping_a_run_…` |
//! | an error in the middle of the sweep | the same as cancel; the other shards end, the error says how much was removed | | `a_failed_sweep_…` |
//!
//! All of this at once: `h02_h07_h13_nothing_promised_…` plays random histories in which sessions, commits, removals of
//! snapshots and clock steps happen between the steps of runs; it fails with any of `r2`, `r5`, `r7`, `r12`, `r13` off.
//!
//! ## In a bucket
//!
//! The claim is the same, and so are its three cases; the last use of a chunk is then the latest of marker, upload marker and
//! object. What a [`BucketStore`](coldkeep_chunk_store::bucket::BucketStore) does when it is told to remove chunks, and why
//! nothing is lost by it, is argued in the documentation of `coldkeep_chunk_store::bucket`. A run relies on it as follows. The
//! tests (`tests/it/bucket/`) stop the run before and after each of its requests and before each of its file operations, or
//! have each answer in question go wrong or come late; they fail with the switches named.
//!
//! | step of a run, or what happens meanwhile | relies on | test | switch |
//! |---|---|---|---|
//! | fix the cutoff | R13: no session that is open lies before it, nor the upload marker of its longest upload | `h20_…` | `r13`, `r1` |
//! | and settle what has expired of earlier runs | R9: only the backend's own clock ends limbo | `h10_…`, `h21_…`, `h30_one_date_…` | `r9` |
//! | times of uses | R12: the store clock never runs back, and a date that was far ahead keeps nothing for ever | `h13_…`, `h30_what_was_used_…` | `r12` |
//! | mark | I6, as above | `h15_an_index_…` | `i6` |
//! | list the objects, then the local names beside them | I6: a failed page ends the run; R14: what a page lacks is looked for before a marker goes or an alarm is given | `h15_a_listing_that_fails_…` | `i6` |
//! | judge what was listed | nothing: it is a first choice, and the store looks again | | |
//! | remove: condemn under lock(d) | R1, R7: an upload marker speaks for an object whose upload is not over, whatever its age seems to be | `h01_…`, `h03_an_object_found_there_stays_…`, `h08_…` | `r1`, `r7` |
//! | | R2, R5, R7: a use under lock(d) comes before the decision and is seen | `h02_a_known_chunk_…` | `r2`, `r5`, `r7` |
//! | | R8: or it comes after it, and takes the chunk out of the batch, or waits | `h02_…`, `h03_…` | `r8` |
//! | remove: journal, markers, generation, deletes, sync | R7: a crash at any point leaves no marker over nothing, and replay deletes nothing | `h09_…`, `h28_…` | `r7` |
//! | remove: the answer | R9: an unclear one keeps its chunks out of use; R7: refused keys are reported and go later | `h10_…`, `h21_…`, `h18_…` | `r9`, `r7` |
//! | heal what does not agree, also a marker without object that somebody used since it was listed | R14: under lock(d), by a HEAD, not if journalled; whoever was told fails | `h16_…`, `h26_…` | `r14` |
//! | audit | as above; an object that no page showed is looked for | `h15_a_listing_that_is_cut_…` | |
//! | end early | R7: what was not sent is settled, the rest is in limbo | `h27_a_run_that_is_dropped_…`, `a_disk_that_fails_…` | `r7` |
//! | a download or an eviction ends after the removal | R6: it makes no marker | `h06_…` | `r6` |
//! | a chunk is set aside, and an upload replaces it | R4: an acknowledgement from before a delete does not count; R14: no marker over it | `h22_…`, `h26_no_marker_…` | `r4`, `r14` |
//!
//! All of this in any order, with lost, late and repeated requests of everybody, crashes, and disks that are restored:
//! `nothing_promised_is_ever_lost_in_a_bucket_…`. With enough histories it fails with any of `r2`, `r5`, `r7`, `r8`, `r9`, `r10`
//! off; it plays few of them each time.
//!
//! The age of objects (R7) protects nothing that the other signs of life do not; tests of these let the backend's clock leap,
//! so that the age says nothing. Some tests fail with no switch, because what they show has none: a cut listing, a run that is
//! cancelled and so ends its batch as any run does (`h27_a_run_that_is_cancelled_…`), and a request that fails
//! (`a_request_that_fails_…`).
//!
//! ## Moves
//!
//! Moving a group or namespace may hide an index from the mark: whoever implements [`References`] keeps moves and runs
//! apart (R16).
//!
//! ## The set
//!
//! References are kept as 59 bits of a keyed hash ([`DigestSet`](coldkeep_chunk_store::DigestSet)). A digest that was
//! marked is always found; a false match keeps a piece of garbage. The key is the start of the run in nanoseconds,
//! which nobody knew when the digests were chosen.
//!
//! ## Garbage goes (I5)
//!
//! A complete run removes every chunk that is neither referenced nor used since the cutoff, bad copies of digests that
//! no index refers to, and temporary files of before the run (`a_second_run_…`, `temporary_files_…`). What is
//! pending goes with the first run whose cutoff has passed its last use (`young_chunks_…`).
//!
//! ## The audit
//!
//! The sweep notes which referenced digests it met. If some are left, the indexes are read once more to name them and
//! the indexes that they break; each is looked for again first, since a directory listing may overlook a file that is
//! being replaced (`tests/it/missing.rs`).

mod bucket;
mod collect;
mod control;
mod mark;
mod missing;
mod options;
mod references;
mod report;
mod store;
mod sweep;
mod target;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod verdict;

pub use collect::{CollectError, collect, collect_into};
pub use control::{Control, Phase, Progress};
pub use missing::{BROKEN_INDEXES_MAX, MISSING_SAMPLE_MAX};
pub use options::{GRACE_DEFAULT, MARGIN_DEFAULT, Options};
pub use references::{Outcome, References, Sink, Tidied};
pub use report::{
    BrokenIndex, End, FAILURES_MAX, Failure, Healed, Missing, PhaseTime, Report, Tally, UNEXPECTED_MAX,
};
pub use store::StoreSweepError;
pub use target::{Agreement, Description, Page, Removal, Repair, RunTimes, SweepTarget};
pub use verdict::{Candidate, Verdict, verdict};

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
