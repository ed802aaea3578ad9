//! Objects of snapshots: everything below `.cnt/` (R10, R19).
//!
//! Whoever writes there claims the path first. The claim stands in the journal, synced, before anything is sent, so that
//! after a crash the path stays closed until what was sent can no longer take effect (hazard H35).

mod claim;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use claim::PathClaim;

use super::journal::PathState;
use super::listing::Listing;
use super::{BucketStore, Closed, CommitError};
use crate::backend::{BackendError, ObjectBackend, ObjectInfo, ObjectKey};
use crate::dir::{DirError, MarkerDir};
use crate::store::StoreError;
use crate::time::StoreTime;

/// How often a wait for an expiry asks the backend for its date, at most and at least.
const POLL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// How much longer than expected a wait goes on before it gives up: the backend's clock may run slower than ours.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why an object of a snapshot could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Somebody works on the path.
    #[error("{path} is in use; try again later")]
    InUse {
        /// The path.
        path: String,
    },
    /// A request for the path may still take effect.
    #[error(
        "{path} cannot be used yet: an earlier request for it may still take effect; try again in some minutes"
    )]
    NotExpired {
        /// The path.
        path: String,
        /// Until when, in the backend's clock.
        until: StoreTime,
    },
    /// The key does not lie in the claimed path: a bug of the caller.
    #[error("{key} does not lie in the claimed path {path}")]
    Outside {
        /// The key.
        key: ObjectKey,
        /// The claimed path.
        path: String,
    },
    /// The backend refused to delete some objects; the others are deleted.
    #[error("the backend refused to delete {} objects, first {}", refused.len(), first_refused(refused))]
    Refused {
        /// Those that stay, each with the backend's reason.
        refused: Vec<(ObjectKey, String)>,
    },
    /// The store takes no more work.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// A request failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A file operation failed, mostly that of the journal.
    #[error(transparent)]
    Dir(#[from] DirError),
}

fn first_refused(refused: &[(ObjectKey, String)]) -> String {
    refused.first().map(|(key, reason)| format!("{key} ({reason})")).unwrap_or_default()
}

impl From<CommitError> for PathError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Closed(error) => Self::Closed(error),
            CommitError::Backend(error) => Self::Backend(error),
        }
    }
}

impl From<StoreError> for PathError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Dir(error) => Self::Dir(error),
            StoreError::Backend(error) => Self::Backend(error),
            StoreError::Closed(error) => Self::Closed(error),
        }
    }
}

impl PathError {
    /// Makes an error of what stands in the way of a claim.
    fn blocked((path, state): (String, PathState)) -> Self {
        match state {
            PathState::Claimed => Self::InUse { path },
            PathState::Closed(until) => Self::NotExpired { path, until },
        }
    }
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Claims a path below `.cnt/`, such as `.cnt/vm/100/2025-07-14T14:20:02Z`, for writing and deleting. The claim covers
    /// everything inside the path, and nobody else claims that or what is around it meanwhile.
    ///
    /// # Errors
    /// [`PathError::InUse`] and [`PathError::NotExpired`]: try again later, see [`Self::wait_until_open`];
    /// [`PathError::Closed`]; [`PathError::Backend`] if the backend's date was needed and could not be had;
    /// [`PathError::Dir`] if the journal could not be saved.
    ///
    /// # Cancel safety
    /// Dropping the future claims nothing.
    pub async fn claim(self: &Arc<Self>, path: &str) -> Result<PathClaim<D, B>, PathError> {
        self.check_open()?;
        let mut claimed = self.journal.claim_path(path);
        if let Err((_, PathState::Closed(_))) = claimed {
            self.expire_by_date().await?;
            claimed = self.journal.claim_path(path);
        }
        claimed.map_err(PathError::blocked)?;
        // From here on dropping it gives the path free again.
        let claim = PathClaim::new(Arc::clone(self), path);
        self.save_journal().await?;
        Ok(claim)
    }

    /// Returns whether a [`Self::claim`] of the path would succeed now, as far as can be told without asking the backend.
    pub fn is_path_free(&self, path: &str) -> bool {
        self.journal.is_path_free(path)
    }

    /// Returns whether every request for an object of a snapshot that may still take effect is known here, as far as can be
    /// told without asking the backend. It is not so for some minutes after an open that follows no clean end: the disk may
    /// be one from before, whose token is right all the same (R10), and lack what sessions claimed since. What looks forsaken
    /// may then be about to be committed (hazard H25), and what looks free may be hit by a late request (hazard H35): every
    /// path is closed until then.
    pub fn knows_all_claims(&self) -> bool {
        self.journal.earlier_until().is_none()
    }

    /// Waits until [`Self::knows_all_claims`], so that a new backup after a crash is late rather than refused, unless that
    /// takes longer than `longest`, as far as can be told.
    ///
    /// # Errors
    /// [`PathError::NotExpired`], at once if it takes too long; else as [`Self::wait_until_open`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn wait_for_earlier(&self, longest: Duration) -> Result<(), PathError> {
        let earlier = || Some(("what lies in the bucket".to_owned(), self.journal.earlier_until()?));
        if let Some((path, until)) = earlier()
            && until.plus(self.options.lifetimes.margin).since(self.backend_clock.estimate(&self.clock))
                > longest
        {
            return Err(PathError::NotExpired { path, until });
        }
        self.wait_while(earlier).await
    }

    /// Waits until no request for the path, or for what lies inside or around it, can still take effect. Whether somebody
    /// works on it is another matter: [`Self::claim`] says.
    ///
    /// # Errors
    /// [`PathError::NotExpired`] if the backend's clock takes far longer than ours; [`PathError::Closed`];
    /// [`PathError::Backend`] if the backend does not tell its date.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn wait_until_open(&self, path: &str) -> Result<(), PathError> {
        self.wait_while(|| self.journal.closed_until(path)).await
    }

    /// Waits as long as there is something that is closed, and until when.
    async fn wait_while(
        &self,
        closed: impl Fn() -> Option<(String, StoreTime)> + Send,
    ) -> Result<(), PathError> {
        let started_at = self.clock.monotonic();
        let mut patience = None;
        loop {
            self.check_owned()?;
            if closed().is_none() {
                return Ok(());
            }
            self.expire_by_date().await?;
            let Some((path, until)) = closed() else { return Ok(()) };
            let ends_at = until.plus(self.options.lifetimes.margin);
            let left = ends_at.since(self.backend_clock.estimate(&self.clock));
            let waited = self.clock.monotonic().saturating_sub(started_at);
            if waited > *patience.get_or_insert(2 * left + PATIENCE) {
                return Err(PathError::NotExpired { path, until });
            }
            self.clock.sleep(left.clamp(POLL.0, POLL.1)).await;
        }
    }

    /// Asks the backend for its date, and settles and opens what has expired by it.
    pub(super) async fn expire_by_date(&self) -> Result<(), StoreError> {
        let key = ObjectKey::new(".generation").expect("invariant: a valid key");
        self.backend_clock.noted(self.backend.head(&key).await, &self.clock)?;
        self.expire_journal().await?;
        Ok(())
    }

    /// Returns the facts about an object; `None` if there is none. What a listing should name and does not is asked for by
    /// itself (I6).
    ///
    /// # Errors
    /// [`PathError::Closed`], [`PathError::Backend`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn find_object(&self, key: &ObjectKey) -> Result<Option<ObjectInfo>, PathError> {
        self.check_owned()?;
        Ok(self.backend_clock.noted(self.backend.head(key).await, &self.clock)?.value)
    }

    /// Reads an object and the facts about what was read; `None` if there is none.
    ///
    /// # Errors
    /// [`PathError::Closed`], [`PathError::Backend`].
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn read_object(&self, key: &ObjectKey) -> Result<Option<(ObjectInfo, Bytes)>, PathError> {
        self.check_owned()?;
        let answer = self.backend_clock.noted(self.backend.get(key).await, &self.clock)?;
        Ok(answer.value)
    }

    /// Lists all objects whose keys start with `prefix`, ascending: all pages, or an error (I6). A prefix that means a
    /// folder ends with `/` (hazard H33).
    ///
    /// # Errors
    /// [`PathError::Closed`], [`PathError::Backend`]: nothing may be concluded from what was listed so far.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn list_objects(&self, prefix: &str) -> Result<Vec<ObjectInfo>, PathError> {
        self.check_owned()?;
        let (mut listing, mut objects) = (Listing::of(prefix), Vec::new());
        while let Some(page) = self.next_page(&mut listing).await? {
            objects.extend(page);
        }
        Ok(objects)
    }
}
