//! The readers of what a store keeps in its folder and in the bucket beside the chunks, for the fuzz targets and nothing else.

use std::time::Duration;

use super::generation::{GenerationFile, Seen};
use super::journal::{Journal, Standing};
use super::{JournalCounts, JournalError, RequestLifetimes, recency};
use crate::backend::ETag;
use crate::digest::Digest;
use crate::store::state::ClockFile;
use crate::time::StoreTime;

/// A journal as the next owner of a store finds it.
pub struct ReadJournal(Journal);

impl ReadJournal {
    /// Reads the file.
    pub fn parse(file: &[u8]) -> Result<Self, JournalError> {
        Journal::parse(file).map(Self)
    }

    /// Writes the file again.
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// Takes it over as an open does; returns its digests.
    pub fn replay(&self, paths_until: StoreTime) -> Vec<Digest> {
        self.0.replay(paths_until)
    }

    /// Settles what has expired.
    pub fn expire(&self, date: StoreTime) {
        self.0.expire(date, Duration::ZERO);
    }

    /// Returns whether a digest may be used.
    pub fn is_free(&self, digest: &Digest) -> bool {
        self.0.standing(digest) == Standing::Free
    }

    /// Returns the numbers of what is in it.
    pub fn counts(&self) -> JournalCounts {
        self.0.counts()
    }
}

/// Reads the order of the cache and writes it again; returns the number of entries, too.
pub fn recency(file: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (is_clean, entries) = recency::decode(file)?;
    Some((entries.len(), recency::encode(&entries, is_clean)))
}

/// Reads the generation file, and writes what was understood of it.
pub fn generation_file(content: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&GenerationFile::parse(content)).expect("texts and numbers have a JSON form")
}

/// Returns how long a rebuild that the generation file tells of waits.
pub fn rebuild_wait(content: &[u8], lifetimes: &RequestLifetimes) -> Option<Duration> {
    GenerationFile::parse(content).rebuild?.wait(lifetimes)
}

/// Reads the generation object: its token, empty if it is damaged, and for how long its owner's requests last.
pub fn generation_object(content: &[u8]) -> (String, Duration) {
    let seen = Seen::parse(content, ETag(String::new()));
    (seen.token, seen.requests_last)
}

/// Returns whether the local state that the generation file tells of belongs to the generation of a token.
pub fn owns(file: &[u8], token: &str) -> bool {
    GenerationFile::parse(file).owns(token)
}

/// What was read of a clock file.
pub struct ReadClock {
    /// The saved value.
    pub clock: StoreTime,
    /// Whether the end was a clean one.
    pub is_clean: bool,
    /// The spans that were saved as suspect.
    pub saved: Vec<(i64, i64)>,
    /// The spans in which files are suspect from now on.
    pub suspects: Vec<(StoreTime, StoreTime)>,
}

/// Reads the clock file of a store that is opened at `now`.
pub fn clock_file(content: &[u8], now: StoreTime) -> Option<ReadClock> {
    let file = ClockFile::parse(content).ok()?;
    let suspects = file.suspect_spans(now);
    let clock = StoreTime::from_unix_nanos(file.clock);
    Some(ReadClock { clock, is_clean: file.clean, saved: file.suspects, suspects })
}
