//! Markers on a real disk.

use bytes::Bytes;

use super::{DirError, FsChunkDir, Marker, MarkerDir, Marks, NewMarker};
use crate::digest::Digest;
use crate::locks::DigestGuard;
use crate::time::StoreTime;

impl MarkerDir for FsChunkDir {
    async fn marks(&self, _held: &DigestGuard, _digests: Vec<Digest>) -> Result<Vec<Marks>, DirError> {
        todo!()
    }

    async fn use_marker(
        &self,
        _held: &DigestGuard,
        _digest: Digest,
        _at: StoreTime,
    ) -> Result<Option<Marker>, DirError> {
        todo!()
    }

    async fn put_upload_marker(
        &self,
        _held: &DigestGuard,
        _digest: Digest,
        _at: StoreTime,
    ) -> Result<(), DirError> {
        todo!()
    }

    async fn place_marker(&self, _held: &DigestGuard, _marker: NewMarker) -> Result<(), DirError> {
        todo!()
    }

    async fn fill_marker(
        &self,
        _held: &DigestGuard,
        _digest: Digest,
        _content: Bytes,
    ) -> Result<bool, DirError> {
        todo!()
    }

    async fn empty_marker(&self, _held: &DigestGuard, _digest: Digest) -> Result<u64, DirError> {
        todo!()
    }

    async fn remove_markers(&self, _held: &DigestGuard, _digests: Vec<Digest>) -> Result<(), DirError> {
        todo!()
    }

    async fn begin_fresh(&self, _resume: bool) -> Result<(), DirError> {
        todo!()
    }

    async fn add_fresh(&self, _digests: Vec<Digest>, _at: StoreTime) -> Result<(), DirError> {
        todo!()
    }

    async fn sync_fresh(&self) -> Result<(), DirError> {
        todo!()
    }

    async fn switch_to_fresh(&self) -> Result<(), DirError> {
        todo!()
    }
}
