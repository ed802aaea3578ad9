//! How a store in a bucket is opened.

use std::sync::Arc;
use std::time::Duration;

use super::{Holder, RebuildProgress};
use crate::random::Random;
use crate::time::Clock;

/// For how long S3 takes a request after the date in its signed headers (S3 API reference, `RequestTimeTooSkewed`).
const FOREIGN: Duration = Duration::from_mins(15);

/// For how long the backend takes requests of each kind after they were signed, and with which margin a later `Date`
/// counts as proof that it no longer does (R9, R19). A probe of the backend finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestLifetimes {
    /// Deletes of chunks.
    pub delete: Duration,
    /// Puts and deletes of snapshot objects.
    pub object: Duration,
    /// Requests of a server that is not ours and had the bucket before: it signs by headers, and is not asked how.
    pub foreign: Duration,
    /// What a `Date` must be later than an expiry for it to have passed: also for what the backend took in time and is not done
    /// with.
    pub margin: Duration,
}

impl Default for RequestLifetimes {
    /// Those of a backend that enforces the expiry of presigned requests: one minute each, and a margin of one and a half.
    /// Ceph's gateway (16) was seen to end multi-deletes 66 s after it had taken them, while their client was being killed.
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        Self { delete: minute, object: minute, foreign: FOREIGN, margin: Duration::from_secs(90) }
    }
}

impl RequestLifetimes {
    /// Takes one bound for all requests.
    #[must_use]
    pub fn all(lifetime: Duration, margin: Duration) -> Self {
        Self { delete: lifetime, object: lifetime, foreign: lifetime, margin }
    }

    /// Returns the longest of them: when it and the margin have passed, nothing that was signed before takes effect.
    pub fn longest(&self) -> Duration {
        self.delete.max(self.object)
    }
}

/// What to do about an in-use object that names somebody else (R11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Takeover {
    /// The open fails and names the holder.
    #[default]
    Refuse,
    /// The bucket is taken over; the other server fails its next commit.
    Force,
}

/// How a store in a bucket is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct BucketOptions {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where tokens come from.
    pub random: Arc<dyn Random>,
    /// Who opens it.
    pub holder: Holder,
    /// A random number unknown to clients: keeps their choice of digests from slowing down sets of digests.
    pub set_key: u64,
    /// Most bytes of cached content.
    pub cache_bytes: u64,
    /// For how long requests can take effect.
    pub lifetimes: RequestLifetimes,
    /// Most bytes of chunks that are being uploaded at once.
    pub upload_bytes: usize,
    /// Most chunks that are being uploaded at once.
    pub uploads_max: usize,
    /// What to do if somebody else holds the bucket.
    pub takeover: Takeover,
    /// Rebuild the local state from the bucket even if it belongs to the bucket's generation.
    pub rebuild: bool,
    /// Whether the backend's compare-and-swap is atomic; else a token is written and read back (R10).
    pub swaps_atomically: bool,
    /// Told how far a rebuild is.
    pub progress: Option<Arc<dyn Fn(RebuildProgress) + Send + Sync>>,
}

impl BucketOptions {
    /// Takes the defaults: 64 GiB of cache, 128 MiB and 128 chunks in flight.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>, holder: Holder) -> Self {
        Self {
            clock,
            random,
            holder,
            set_key: 0,
            cache_bytes: 64 << 30,
            lifetimes: RequestLifetimes::default(),
            upload_bytes: 128 << 20,
            uploads_max: 128,
            takeover: Takeover::default(),
            rebuild: false,
            swaps_atomically: true,
            progress: None,
        }
    }
}

impl std::fmt::Debug for BucketOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketOptions").field("holder", &self.holder).finish_non_exhaustive()
    }
}
