//! What a store remembers of its clock and its last sync (R12, hazard H38).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;

use super::OpenError;
use crate::dir::{ChunkDir, DirError, StateFile};
use crate::locks::{DigestGuard, GuardWatch};
use crate::time::{Clock, StoreClock, StoreTime};

/// No file is written, and no use recorded, at a time that is this much later than the saved value of the clock. So the
/// next open knows how far the times of files may reach, and a wrong date keeps no garbage once it is right again (hazard
/// H30). The clock is saved once a minute (R12); half a minute is for a slow disk.
pub(crate) const UNSAVED_MAX: Duration = Duration::from_secs(90);

/// Most suspect spans that are kept apart; there is one for each unclean end, and the nearest two become one beyond.
const SPANS_MAX: usize = 32;

/// Files with an mtime between these two instants, both included, may be torn.
pub(crate) type Span = (StoreTime, StoreTime);

/// Content of the clock file; byte layout in `docs/FORMAT.md`. Times are nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClockFile {
    /// The clock's value when this was written: the floor at the next open.
    pub(crate) clock: i64,
    /// Everything written before this instant is durable.
    synced_at: i64,
    /// The store was closed cleanly after this was written.
    pub(crate) clean: bool,
    /// Files with an mtime in one of these spans (both ends included) may be torn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) suspects: Vec<(i64, i64)>,
}

/// Which chunk files must be checked before they count.
#[derive(Debug)]
pub(crate) struct Suspects {
    /// Ascending, apart from each other, at most [`SPANS_MAX`].
    spans: Vec<Span>,
    synced_at: Mutex<StoreTime>,
    /// The clock's value in the file on disk.
    saved_at: Mutex<StoreTime>,
    /// Writes that may be under way: the time that the file gets, and lock(d), which is held until the file is written.
    writing: Mutex<Vec<(StoreTime, GuardWatch)>>,
    /// Two saves at once would write one temporary file.
    saving: AsyncMutex<()>,
    follows_clean_end: bool,
}

/// Reads the saved state, starts the clock and marks the store as open.
pub(crate) async fn open<D: ChunkDir>(
    dir: &D,
    source: Arc<dyn Clock>,
) -> Result<(StoreClock, Suspects), OpenError> {
    let saved = match dir.load_state(StateFile::Clock).await? {
        Some(content) => Some(ClockFile::parse(&content).map_err(|source| OpenError::State { source })?),
        None => None,
    };
    if saved.as_ref().is_none_or(|saved| !saved.clean) {
        // If only the process died, or a stock server had the store until now, what was written is still on its way to
        // the disk: from here on it is durable, so that `synced_at` below is true at every sync level.
        dir.sync().await?;
    }
    let floor = saved.as_ref().map_or(StoreTime::EPOCH, |saved| StoreTime::from_unix_nanos(saved.clock));
    let clock = StoreClock::new(source, floor);
    let now = clock.now();
    let suspects = Suspects {
        spans: saved.as_ref().map_or_else(Vec::new, |saved| saved.suspect_spans(now)),
        // Without a file there is nothing of ours that could be torn. What power loss tore stays suspect in `spans`.
        synced_at: Mutex::new(now),
        saved_at: Mutex::new(floor),
        writing: Mutex::default(),
        saving: AsyncMutex::default(),
        follows_clean_end: saved.is_some_and(|saved| saved.clean),
    };
    suspects.save(dir, &clock, false).await?;
    Ok((clock, suspects))
}

impl ClockFile {
    /// Reads the file.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(content)
    }

    /// Returns when files were written that may be torn, if the store is opened at `now`.
    pub(crate) fn suspect_spans(&self, now: StoreTime) -> Vec<Span> {
        let time = StoreTime::from_unix_nanos;
        // One that ends before it begins is damage, and must not cut others short.
        let span = |(a, b): &(i64, i64)| (time(*a.min(b)), time(*a.max(b)));
        let mut spans: Vec<Span> = self.suspects.iter().map(span).collect();
        if !self.clean {
            spans.push((time(self.synced_at), now.max(time(self.clock).plus(UNSAVED_MAX))));
        }
        joined(spans)
    }
}

/// Sorts spans, joins those that meet, and the nearest ones as long as there are more than [`SPANS_MAX`]: what lies
/// between them is read once more, which harms nobody.
fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut apart: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match apart.last_mut() {
            Some(before) if span.0 <= before.1 => before.1 = before.1.max(span.1),
            _ => apart.push(span),
        }
    }
    while apart.len() > SPANS_MAX {
        let gap = |position: &usize| apart[position + 1].0.since(apart[*position].1);
        let Some(nearest) = (0..apart.len() - 1).min_by_key(gap) else { break };
        apart[nearest].1 = apart.remove(nearest + 1).1;
    }
    apart
}

impl Suspects {
    /// Returns whether the store was closed cleanly before this open, as far as its file says.
    pub(crate) const fn follows_clean_end(&self) -> bool {
        self.follows_clean_end
    }

    /// Returns whether a file with this mtime must be checked before it counts.
    pub(crate) fn contains(&self, written_at: StoreTime) -> bool {
        self.spans.iter().any(|(from, to)| (*from..=*to).contains(&written_at))
    }

    /// Returns the time for a file that is about to be written under `held`; the clock is saved before if need be (see
    /// [`UNSAVED_MAX`]).
    pub(crate) async fn begin_write<D: ChunkDir>(
        &self,
        dir: &D,
        clock: &StoreClock,
        held: &DigestGuard,
    ) -> Result<StoreTime, DirError> {
        let at = {
            let mut writing = lock(&self.writing);
            writing.retain(|(_, watch)| watch.is_held());
            let at = clock.now();
            writing.push((at, held.watch()));
            at
        };
        self.save_if_behind(dir, clock, at).await?;
        Ok(at)
    }

    /// Returns the time for a use that is about to be recorded; the clock is saved before if need be (see
    /// [`UNSAVED_MAX`]).
    pub(crate) async fn begin_use<D: ChunkDir>(
        &self,
        dir: &D,
        clock: &StoreClock,
    ) -> Result<StoreTime, DirError> {
        let at = clock.now();
        self.save_if_behind(dir, clock, at).await?;
        Ok(at)
    }

    async fn save_if_behind<D: ChunkDir>(
        &self,
        dir: &D,
        clock: &StoreClock,
        at: StoreTime,
    ) -> Result<(), DirError> {
        let is_behind = at > lock(&self.saved_at).plus(UNSAVED_MAX);
        if is_behind { self.save(dir, clock, false).await } else { Ok(()) }
    }

    /// Returns the instant of a sync that begins now: every file with an earlier time is written by now.
    pub(crate) fn begin_sync(&self, clock: &StoreClock) -> StoreTime {
        let writing = lock(&self.writing);
        let now = clock.now();
        let under_way = writing.iter().filter(|(_, watch)| watch.is_held());
        under_way.map(|(at, _)| *at).min().unwrap_or(now)
    }

    /// Records that everything written before `at` is durable.
    pub(crate) fn synced(&self, at: StoreTime) {
        let mut synced_at = lock(&self.synced_at);
        *synced_at = at.max(*synced_at);
    }

    pub(crate) async fn save<D: ChunkDir>(
        &self,
        dir: &D,
        clock: &StoreClock,
        clean: bool,
    ) -> Result<(), DirError> {
        let _saving = self.saving.lock().await;
        let now = clock.now();
        let content = ClockFile {
            clock: now.unix_nanos(),
            synced_at: lock(&self.synced_at).unix_nanos(),
            clean,
            suspects: self.spans.iter().map(|(from, to)| (from.unix_nanos(), to.unix_nanos())).collect(),
        };
        let content = serde_json::to_vec(&content).expect("invariant: numbers and flags have a JSON form");
        dir.save_state(StateFile::Clock, Bytes::from(content)).await?;
        *lock(&self.saved_at) = now;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, to: i64) -> Span {
        (StoreTime::from_unix(from, 0), StoreTime::from_unix(to, 0))
    }

    #[test]
    fn a_span_that_ends_before_it_begins_makes_no_other_trusted() {
        let mut suspects: Vec<(i64, i64)> = (0..34).map(|n| (1000 * n, 1000 * n + 300)).collect();
        suspects[5] = (5000, 10);
        let file = ClockFile { clock: 0, synced_at: 0, clean: true, suspects: suspects.clone() };
        let spans = file.suspect_spans(StoreTime::EPOCH);
        assert!(spans.len() <= SPANS_MAX);
        let nanos = StoreTime::from_unix_nanos;
        suspects[5] = (10, 5000);
        for (from, to) in suspects {
            assert!(spans.iter().any(|span| span.0 <= nanos(from) && nanos(to) <= span.1), "{from} to {to}");
        }
    }

    #[test]
    fn spans_that_meet_are_joined() {
        let spans = vec![span(30, 40), span(1, 5), span(5, 8), span(2, 3), span(9, 9)];
        assert_eq!(joined(spans), [span(1, 8), span(9, 9), span(30, 40)]);
    }

    #[test]
    fn the_nearest_spans_are_joined_where_there_are_too_many() {
        let mut spans: Vec<Span> = (0..=SPANS_MAX as i64).map(|n| span(100 * n, 100 * n + 10)).collect();
        spans[7] = span(690, 710);
        let few = joined(spans.clone());
        assert_eq!(few.len(), SPANS_MAX);
        assert_eq!(few[6], span(600, 710));
        assert!(spans.iter().all(|(from, to)| few.iter().any(|span| span.0 <= *from && *to <= span.1)));
    }
}
