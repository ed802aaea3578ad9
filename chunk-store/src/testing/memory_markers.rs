//! Markers in memory.

use std::io;

use bytes::Bytes;

use super::MemoryDir;
use super::memory_dir::{File, State, assert_held};
use super::memory_faults::Room;
use super::memory_files::Files;
use crate::blob::{BlobKind, ChunkClass};
use crate::digest::Digest;
use crate::dir::{DirError, EntryKind, EntryName, EntryStat, Marker, MarkerDir, Marks, NewMarker};
use crate::locks::DigestGuard;
use crate::switch::is_off;
use crate::time::StoreTime;

impl File {
    fn new(content: Bytes, class: Option<ChunkClass>, at: StoreTime) -> Self {
        let class = class_of(&content).or(class);
        let stat = EntryStat { len: content.len() as u64, used_at: at, written_at: at };
        Self { content, stat, class }
    }

    fn marker(&self) -> Marker {
        let class = class_of(&self.content).or(self.class);
        Marker { len: self.stat.len, used_at: self.stat.used_at, class }
    }

    fn set_content(&mut self, content: Bytes) {
        self.class = class_of(&content).or(self.marker().class);
        self.stat.len = content.len() as u64;
        self.content = content;
    }
}

impl State {
    /// Makes a file that was not there, if the disk has room for it.
    fn create(&mut self, name: EntryName, file: File) -> Result<(), DirError> {
        let upload = EntryName::new(name.digest, EntryKind::UploadMarker);
        let takes_place = [name, upload].iter().any(|name| self.now.files.contains_key(name));
        // The upload marker's file becomes the marker, which needs no room.
        if self.room == Room::Nothing && !takes_place {
            return Err(DirError::new("write", name.to_string(), io::ErrorKind::StorageFull.into()));
        }
        self.now.files.insert(name, file);
        Ok(())
    }
}

impl MarkerDir for MemoryDir {
    async fn marks(&self, held: &DigestGuard, digests: Vec<Digest>) -> Result<Vec<Marks>, DirError> {
        let state = self.call("marks").await?;
        let marks = |digest: Digest| {
            let (name, upload) = names(held, digest);
            let file = |name| state.now.files.get(&name);
            let upload_started_at = file(upload).map(|file| file.stat.used_at);
            Marks { marker: file(name).map(File::marker), upload_started_at }
        };
        Ok(digests.into_iter().map(marks).collect())
    }

    async fn use_marker(
        &self,
        held: &DigestGuard,
        digest: Digest,
        at: StoreTime,
    ) -> Result<Option<Marker>, DirError> {
        let (name, _) = names(held, digest);
        let mut state = self.call("use_marker").await?;
        let Some(file) = state.now.files.get_mut(&name) else { return Ok(None) };
        let before = file.marker();
        file.stat.used_at = at;
        state.failing.done("use_marker", Some(before))
    }

    async fn put_upload_marker(
        &self,
        held: &DigestGuard,
        digest: Digest,
        at: StoreTime,
    ) -> Result<(), DirError> {
        let (_, upload) = names(held, digest);
        let mut state = self.call("put_upload_marker").await?;
        state.create(upload, File::new(Bytes::new(), None, at))?;
        state.failing.done("put_upload_marker", ())
    }

    async fn place_marker(&self, held: &DigestGuard, marker: NewMarker) -> Result<(), DirError> {
        let (name, upload) = names(held, marker.digest);
        let mut state = self.call("place_marker").await?;
        let room = state.room;
        let class = marker.content.as_deref().and_then(class_of).or(marker.class);
        let before = state.now.files.get_mut(&name);
        match (marker.content.filter(|_| room == Room::Plenty), before) {
            (Some(content), _) => state.create(name, File::new(content, class, marker.at))?,
            (None, Some(file)) if class.is_none() || file.marker().class == class => {
                file.stat.used_at = marker.at;
            }
            (None, _) => state.create(name, File::new(Bytes::new(), class, marker.at))?,
        }
        state.now.files.remove(&upload);
        state.failing.done("place_marker", ())
    }

    async fn fill_marker(
        &self,
        held: &DigestGuard,
        digest: Digest,
        content: Bytes,
    ) -> Result<bool, DirError> {
        let (name, _) = names(held, digest);
        let mut state = self.call("fill_marker").await?;
        let content = if state.room == Room::Plenty { content } else { Bytes::new() };
        if is_off("r6") {
            // There is no clock here: the time at which the latest file was used stands for now.
            let now = state.now.files.values().map(|file| file.stat.used_at).max();
            let file = File::new(content, None, now.unwrap_or(StoreTime::EPOCH));
            state.now.files.insert(name, file);
            return Ok(true);
        }
        let Some(file) = state.now.files.get_mut(&name) else { return Ok(false) };
        file.set_content(content);
        state.failing.done("fill_marker", true)
    }

    async fn empty_marker(&self, held: &DigestGuard, digest: Digest) -> Result<u64, DirError> {
        let (name, _) = names(held, digest);
        let mut state = self.call("empty_marker").await?;
        if is_off("r6") {
            // What a rename does that does not look.
            if !state.now.files.contains_key(&name) {
                state.now.files.insert(name, File::new(Bytes::new(), None, StoreTime::EPOCH));
            }
        }
        let Some(file) = state.now.files.get_mut(&name) else { return Ok(0) };
        let len = file.stat.len;
        file.set_content(Bytes::new());
        state.make_room(len);
        state.failing.done("empty_marker", len)
    }

    async fn remove_markers(&self, held: &DigestGuard, digests: Vec<Digest>) -> Result<(), DirError> {
        let mut state = self.call("remove_markers").await?;
        for digest in digests {
            let (name, _) = names(held, digest);
            let removed = state.now.files.remove(&name);
            state.make_room(removed.map_or(0, |file| file.stat.len));
        }
        state.failing.done("remove_markers", ())
    }

    async fn begin_fresh(&self, resume: bool) -> Result<(), DirError> {
        let mut state = self.call("begin_fresh").await?;
        let begun = state.now.fresh.take().filter(|_| resume);
        state.now.fresh = Some(begun.unwrap_or_default());
        state.failing.done("begin_fresh", ())
    }

    async fn add_fresh(&self, digests: Vec<Digest>, at: StoreTime) -> Result<(), DirError> {
        let mut state = self.call("add_fresh").await?;
        let not_begun = || DirError::new("write", "fresh markers", io::ErrorKind::NotFound.into());
        let fresh = state.now.fresh.as_mut().ok_or_else(not_begun)?;
        for digest in digests {
            fresh.insert(EntryName::chunk(digest), File::new(Bytes::new(), None, at));
        }
        state.failing.done("add_fresh", ())
    }

    async fn sync_fresh(&self) -> Result<(), DirError> {
        self.call("sync_fresh").await?.now.fresh.iter_mut().for_each(Files::sync);
        Ok(())
    }

    /// The switch is durable, but for markers of the fresh set that were not: making those durable is the caller's part.
    async fn switch_to_fresh(&self) -> Result<(), DirError> {
        let mut state = self.call("switch_to_fresh").await?;
        if let Some(fresh) = state.now.fresh.take() {
            let len = state.now.files.values().map(|file| file.stat.len).sum();
            state.now.files = fresh;
            state.make_room(len);
        }
        state.failing.done("switch_to_fresh", ())
    }
}

/// Names the marker and the upload marker of a digest.
fn names(held: &DigestGuard, digest: Digest) -> (EntryName, EntryName) {
    let name = EntryName::chunk(digest);
    assert_held(held, name);
    (name, EntryName::new(digest, EntryKind::UploadMarker))
}

fn class_of(content: &[u8]) -> Option<ChunkClass> {
    BlobKind::from_magic(content).map(BlobKind::class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::ChunkDir;
    use crate::locks::DigestLocks;
    use crate::testing::check_marker_dir;

    fn at(seconds: i64) -> StoreTime {
        StoreTime::from_unix(seconds, 0)
    }

    fn marker(content: Option<&'static [u8]>) -> NewMarker {
        let content = content.map(Bytes::from_static);
        NewMarker { digest: Digest::of(b"abc"), content, class: None, at: at(10) }
    }

    async fn marks(dir: &MemoryDir) -> Marks {
        let held = DigestLocks::new().lock_every().await;
        dir.marks(&held, vec![Digest::of(b"abc")]).await.unwrap()[0]
    }

    #[tokio::test]
    async fn conforms() {
        check_marker_dir(&MemoryDir::new()).await;
    }

    #[tokio::test]
    async fn power_loss_takes_back_what_was_not_synced() {
        let (dir, held) = (MemoryDir::new(), DigestLocks::new().lock_every().await);
        let digest = Digest::of(b"abc");
        dir.put_upload_marker(&held, digest, at(5)).await.unwrap();
        dir.sync().await.unwrap();
        dir.place_marker(&held, marker(None)).await.unwrap();
        dir.begin_fresh(false).await.unwrap();
        dir.lose_power();
        assert_eq!(marks(&dir).await, Marks { marker: None, upload_started_at: Some(at(5)) });

        dir.add_fresh(vec![digest], at(7)).await.unwrap();
        dir.sync_fresh().await.unwrap();
        dir.add_fresh(vec![Digest::of(b"not synced")], at(7)).await.unwrap();
        dir.switch_to_fresh().await.unwrap();
        dir.lose_power();
        assert_eq!(marks(&dir).await.marker.unwrap().used_at, at(7));
        assert_eq!(dir.entries().len(), 1, "the switch made durable what was not");
        dir.remove_markers(&held, vec![digest]).await.unwrap();
        dir.lose_power();
        assert!(marks(&dir).await.marker.is_some(), "H9: the removal was not synced");
    }

    #[tokio::test]
    async fn an_image_is_a_copy_and_a_clone_is_none() {
        let (dir, held) = (MemoryDir::new(), DigestLocks::new().lock_every().await);
        let image = dir.snapshot();
        dir.clone().place_marker(&held, marker(None)).await.unwrap();
        assert!(marks(&dir).await.marker.is_some());
        assert!(marks(&image).await.marker.is_none());
        dir.restore(&image);
        assert!(marks(&dir).await.marker.is_none());
    }

    #[tokio::test]
    async fn a_full_disk_takes_no_content_and_then_no_files() {
        let (dir, held) = (MemoryDir::new(), DigestLocks::new().lock_every().await);
        let digest = Digest::of(b"abc");
        dir.place_marker(&held, marker(Some(b"content"))).await.unwrap();
        dir.leave_room(Room::Nothing);
        let error = dir.put_upload_marker(&held, digest, at(5)).await.unwrap_err();
        assert!(error.is_storage_full());
        dir.empty_marker(&held, digest).await.unwrap();
        dir.put_upload_marker(&held, digest, at(5)).await.unwrap();
        assert!(dir.fill_marker(&held, digest, Bytes::from_static(b"content")).await.unwrap());
        assert_eq!(marks(&dir).await.marker.unwrap().len, 0);
        dir.remove_markers(&held, vec![digest]).await.unwrap();
        dir.leave_room(Room::Nothing);
        dir.place_marker(&held, marker(Some(b"content"))).await.unwrap();
        let placed =
            Marks { marker: Some(Marker { len: 0, used_at: at(10), class: None }), ..Marks::default() };
        assert_eq!(marks(&dir).await, placed, "the upload marker became the marker");
    }
}
