//! What the directory of an S3-backed store does beyond [`ChunkDir`]: markers and upload markers.

use std::future::Future;

use bytes::Bytes;

use super::{ChunkDir, DirError};
use crate::blob::ChunkClass;
use crate::digest::Digest;
use crate::locks::DigestGuard;
use crate::time::StoreTime;

/// A marker: the object exists in the backend. Empty: its content is not cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Bytes of cached content; 0 if there is none.
    pub len: u64,
    /// The chunk's last use (R12).
    pub used_at: StoreTime,
    /// The chunk's class, by the cached content or by what the marker was made with; `None` if it is not known.
    pub class: Option<ChunkClass>,
}

/// What stands in the directory for one digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// The marker.
    pub marker: Option<Marker>,
    /// The start of the latest upload, if there is an upload marker (R1).
    pub upload_started_at: Option<StoreTime>,
}

/// A marker to be placed (R4).
#[derive(Debug, Clone)]
pub struct NewMarker {
    /// The chunk.
    pub digest: Digest,
    /// The encoded chunk, if it is to be cached.
    pub content: Option<Bytes>,
    /// The chunk's class; `None` if it is not known. Content tells its class itself.
    pub class: Option<ChunkClass>,
    /// The chunk's last use.
    pub at: StoreTime,
}

/// A directory of markers beside a bucket.
///
/// As for [`ChunkDir`]: every change is atomic for readers, and calls that change or decide something take the guard of
/// lock(d) as proof and keep it until the work is done. Nothing is synced unless said so: [`ChunkDir::sync`] is.
pub trait MarkerDir: ChunkDir {
    /// Returns what stands for each digest, in the order of `digests`; changes no atime.
    fn marks(
        &self,
        held: &DigestGuard,
        digests: Vec<Digest>,
    ) -> impl Future<Output = Result<Vec<Marks>, DirError>> + Send;

    /// Sets the atime of the marker if there is one (R2); returns it as it was before.
    fn use_marker(
        &self,
        held: &DigestGuard,
        digest: Digest,
        at: StoreTime,
    ) -> impl Future<Output = Result<Option<Marker>, DirError>> + Send;

    /// Creates the upload marker or sets its atime (R1).
    ///
    /// Fails on a full disk ([`DirError::is_storage_full`]), since nothing may be uploaded without it: emptying a marker
    /// makes room.
    fn put_upload_marker(
        &self,
        held: &DigestGuard,
        digest: Digest,
        at: StoreTime,
    ) -> impl Future<Output = Result<(), DirError>> + Send;

    /// Places a marker, or refreshes the one that is there, and then removes the upload marker (R4). Cached content is
    /// replaced by content only, never by an empty file, unless it is of another class than `marker`; the class is that of
    /// `marker` if that is known. Where the disk has no room for the content, the marker is placed without it (H14).
    fn place_marker(
        &self,
        held: &DigestGuard,
        marker: NewMarker,
    ) -> impl Future<Output = Result<(), DirError>> + Send;

    /// Puts content into a marker that exists and keeps the atime that it has (R6); returns whether there was one. Where
    /// the disk has no room for it, the marker stays without content (H14).
    fn fill_marker(
        &self,
        held: &DigestGuard,
        digest: Digest,
        content: Bytes,
    ) -> impl Future<Output = Result<bool, DirError>> + Send;

    /// Replaces a marker by an empty one of the same atime and class (R6); readers that have it open keep its content.
    /// Returns the bytes of content that it had; a marker that is not there had none.
    fn empty_marker(
        &self,
        held: &DigestGuard,
        digest: Digest,
    ) -> impl Future<Output = Result<u64, DirError>> + Send;

    /// Removes markers whatever their atime (R7); the upload markers stay.
    fn remove_markers(
        &self,
        held: &DigestGuard,
        digests: Vec<Digest>,
    ) -> impl Future<Output = Result<(), DirError>> + Send;

    /// Starts a fresh set of markers beside the one in use (R10); one begun before goes on if `resume`, else it is
    /// emptied.
    fn begin_fresh(&self, resume: bool) -> impl Future<Output = Result<(), DirError>> + Send;

    /// Adds empty markers of unknown class to the fresh set; not yet durable.
    fn add_fresh(
        &self,
        digests: Vec<Digest>,
        at: StoreTime,
    ) -> impl Future<Output = Result<(), DirError>> + Send;

    /// Makes the fresh set durable so far.
    fn sync_fresh(&self) -> impl Future<Output = Result<(), DirError>> + Send;

    /// Puts the fresh set in the place of the one in use, durably, and removes that with all its content. Nobody uses the
    /// directory meanwhile. Repeating it after a crash ends what was begun; without a fresh set it does nothing.
    fn switch_to_fresh(&self) -> impl Future<Output = Result<(), DirError>> + Send;
}
