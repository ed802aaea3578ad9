//! What a store remembers of its clock and its last sync (R12, hazard H38).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;

use super::{OpenError, StoreError};
use crate::dir::{ChunkDir, StateFile};
use crate::time::{Clock, StoreClock, StoreTime};

/// The clock is saved once a minute (R12): a file written just before an unclean end may be this much later than the
/// saved value. Half a minute is for a slow disk.
const UNSAVED_MAX: Duration = Duration::from_secs(90);

/// Content of the clock file; byte layout in `docs/FORMAT.md`. Times are nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ClockFile {
    /// The clock's value when this was written: the floor at the next open.
    clock: i64,
    /// Everything written before this instant is durable.
    synced_at: i64,
    /// The store was closed cleanly after this was written.
    clean: bool,
    /// Files with an mtime in this span (both ends included) may be torn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suspect: Option<(i64, i64)>,
}

/// Which chunk files must be checked before they count.
#[derive(Debug)]
pub(super) struct Suspects {
    /// Files with an mtime in this span (both ends included) may be torn.
    span: Option<(StoreTime, StoreTime)>,
    synced_at: Mutex<StoreTime>,
    /// Two saves at once would write one temporary file.
    saving: AsyncMutex<()>,
}

/// Reads the saved state, starts the clock and marks the store as open.
pub(super) async fn open<D: ChunkDir>(
    dir: &D,
    source: Arc<dyn Clock>,
) -> Result<(StoreClock, Suspects), OpenError> {
    let saved = match dir.load_state(StateFile::Clock).await? {
        Some(content) => Some(
            serde_json::from_slice::<ClockFile>(&content).map_err(|source| OpenError::State { source })?,
        ),
        None => None,
    };
    if saved.as_ref().is_some_and(|saved| !saved.clean) {
        // If only the process died, what it wrote is still on its way to the disk: from here on it is durable, so that
        // `synced_at` below is true at every sync level.
        dir.sync().await?;
    }
    let floor = saved.as_ref().map_or(StoreTime::EPOCH, |saved| StoreTime::from_unix_nanos(saved.clock));
    let clock = StoreClock::new(source, floor);
    let now = clock.now();
    let suspects = Suspects {
        span: saved.as_ref().and_then(|saved| suspect_span(saved, now)),
        // Without a file there is nothing of ours that could be torn. What power loss tore stays suspect in `span`.
        synced_at: Mutex::new(now),
        saving: AsyncMutex::default(),
    };
    suspects.save(dir, &clock, false).await.map_err(|error| OpenError::Dir(error.0))?;
    Ok((clock, suspects))
}

fn suspect_span(saved: &ClockFile, now: StoreTime) -> Option<(StoreTime, StoreTime)> {
    let earlier =
        saved.suspect.map(|(from, to)| (StoreTime::from_unix_nanos(from), StoreTime::from_unix_nanos(to)));
    if saved.clean {
        return earlier;
    }
    let from = StoreTime::from_unix_nanos(saved.synced_at);
    let to = now.max(StoreTime::from_unix_nanos(saved.clock).plus(UNSAVED_MAX));
    // One span that covers both: what was found good since the earlier end is read once more, which harms nobody.
    Some(earlier.map_or((from, to), |(first, last)| (first.min(from), last.max(to))))
}

impl Suspects {
    /// Returns whether a file with this mtime must be checked before it counts.
    pub(super) fn contains(&self, written_at: StoreTime) -> bool {
        self.span.is_some_and(|(from, to)| (from..=to).contains(&written_at))
    }

    /// Records that everything written before `at` is durable.
    pub(super) fn synced(&self, at: StoreTime) {
        let mut synced_at = self.synced_at.lock().unwrap_or_else(PoisonError::into_inner);
        *synced_at = at.max(*synced_at);
    }

    pub(super) async fn save<D: ChunkDir>(
        &self,
        dir: &D,
        clock: &StoreClock,
        clean: bool,
    ) -> Result<(), StoreError> {
        let _saving = self.saving.lock().await;
        let content = ClockFile {
            clock: clock.now().unix_nanos(),
            synced_at: self.synced_at.lock().unwrap_or_else(PoisonError::into_inner).unix_nanos(),
            clean,
            suspect: self.span.map(|(from, to)| (from.unix_nanos(), to.unix_nanos())),
        };
        let content = serde_json::to_vec(&content).expect("invariant: numbers and flags have a JSON form");
        Ok(dir.save_state(StateFile::Clock, Bytes::from(content)).await?)
    }
}
