//! A fresh set of markers beside the one in use, and the switch to it (R10).
//!
//! The set in use is `.chunks`, the fresh one `.chunks.new`. The switch renames `.chunks` to `.chunks.old`, then
//! `.chunks.new` to `.chunks`, and removes `.chunks.old`. A crash leaves one of these states:
//!
//! | there is | the switch | it is ended by |
//! |---|---|---|
//! | `.chunks`, `.chunks.new` | has not begun | doing it |
//! | `.chunks.old`, `.chunks.new` | has begun, so the fresh set is complete | the second rename, at the next open at the latest |
//! | `.chunks`, `.chunks.old` | is done | removing the old set |
//!
//! A fresh set is begun only when no old one is left, so that the second state has no other meaning.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::fs::{Paths, file_time, found, make_folder};
use super::fs_markers::UNKNOWN_MODE;
use super::{DirError, EntryName};
use crate::digest::Digest;
use crate::durable;
use crate::time::StoreTime;

impl Paths {
    fn fresh(&self) -> PathBuf {
        fresh_of(&self.chunks)
    }

    fn old(&self) -> PathBuf {
        old_of(&self.chunks)
    }

    fn sync_store(&self) -> Result<(), DirError> {
        self.sync_folder(store_of(&self.chunks))
    }
}

/// Ends a switch that a crash cut short between its renames. Blocks.
pub(super) fn end_switch_begun(chunks: &Path) -> Result<(), DirError> {
    let fresh = fresh_of(chunks);
    if is_there(chunks)? || !is_there(&fresh)? || !is_there(&old_of(chunks))? {
        return Ok(());
    }
    rename(&fresh, chunks)?;
    durable::sync_folder(store_of(chunks))
}

pub(super) fn begin(paths: &Paths, resume: bool) -> Result<(), DirError> {
    let is_link = found("inspect", &paths.chunks, paths.chunks.symlink_metadata())?
        .is_some_and(|metadata| metadata.is_symlink());
    if is_link {
        let source = io::Error::other("a link cannot be replaced by a fresh folder; move the store instead");
        return Err(DirError::new("begin fresh markers beside", &paths.chunks, source));
    }
    if !is_there(&paths.chunks)? && is_there(&paths.old())? {
        // The switch failed half-way in this process, and its caller begins anew.
        rename(&paths.old(), &paths.chunks)?;
    }
    remove_all(&paths.old())?;
    if !resume {
        remove_all(&paths.fresh())?;
    }
    // Before the fresh set is there, the old one is gone for good: both together say that the switch has begun.
    paths.sync_store()?;
    make_folder(&paths.fresh())?;
    paths.sync_store()
}

/// Adds empty markers, fastest in the order of the digests; no file is synced by itself.
pub(super) fn add(paths: &Paths, digests: &[Digest], at: StoreTime) -> Result<(), DirError> {
    let (fresh, at) = (paths.fresh(), file_time(at));
    digests.iter().try_for_each(|digest| {
        let name = EntryName::chunk(*digest);
        let folder = fresh.join(name.shard().to_string());
        let path = folder.join(name.to_string());
        let create =
            || OpenOptions::new().write(true).create(true).truncate(false).mode(UNKNOWN_MODE).open(&path);
        let created = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !is_there(&fresh)? {
                    return Err(DirError::new("add fresh markers to", &fresh, error));
                }
                make_folder(&folder)?;
                create()
            }
            other => other,
        };
        created
            .and_then(|file| filetime::set_file_handle_times(&file, Some(at), Some(at)))
            .map_err(|source| DirError::new("write", &path, source))
    })
}

pub(super) fn switch(paths: &Paths) -> Result<(), DirError> {
    if is_there(&paths.fresh())? {
        // The renames must not outlive a power loss that takes markers of the fresh set.
        paths.sync()?;
        if is_there(&paths.chunks)? {
            remove_all(&paths.old())?;
            rename(&paths.chunks, &paths.old())?;
            paths.sync_store()?;
        }
        // Gone if another process, about to be refused, looked at the store just now: it ends what it finds begun.
        found("rename", &paths.fresh(), fs::rename(paths.fresh(), &paths.chunks))?;
        paths.sync_store()?;
    }
    remove_all(&paths.old())
}

fn fresh_of(chunks: &Path) -> PathBuf {
    chunks.with_file_name(".chunks.new")
}

fn old_of(chunks: &Path) -> PathBuf {
    chunks.with_file_name(".chunks.old")
}

fn store_of(chunks: &Path) -> &Path {
    chunks.parent().unwrap_or(Path::new("/"))
}

fn is_there(folder: &Path) -> Result<bool, DirError> {
    Ok(found("inspect", folder, folder.symlink_metadata())?.is_some())
}

fn rename(from: &Path, to: &Path) -> Result<(), DirError> {
    fs::rename(from, to).map_err(|source| DirError::new("rename to", to, source))
}

fn remove_all(folder: &Path) -> Result<(), DirError> {
    found("remove", folder, fs::remove_dir_all(folder)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::{ChunkDir, FsChunkDir, MarkerDir, NewMarker};
    use crate::locks::DigestLocks;

    fn at(seconds: i64) -> StoreTime {
        StoreTime::from_unix(seconds, 5)
    }

    /// Makes a store whose old set has one marker and whose complete fresh set has another.
    async fn store_with_fresh(folder: &Path) -> FsChunkDir {
        let dir = FsChunkDir::create(folder).unwrap();
        let (digest, held) = (Digest::of(b"old"), DigestLocks::new().lock_every().await);
        let marker = NewMarker { digest, content: None, class: None, at: at(1) };
        dir.place_marker(&held, marker).await.unwrap();
        dir.begin_fresh(false).await.unwrap();
        dir.add_fresh(vec![Digest::of(b"fresh")], at(2)).await.unwrap();
        dir
    }

    async fn assert_switched(dir: &FsChunkDir, folder: &Path) {
        let (digest, held) = (Digest::of(b"fresh"), DigestLocks::new().lock_every().await);
        let marks = dir.marks(&held, vec![digest, Digest::of(b"old")]).await.unwrap();
        assert_eq!(marks[0].marker.map(|marker| marker.used_at), Some(at(2)));
        assert_eq!(marks[1].marker, None, "a marker of the old set");
        for left in [".chunks.new", ".chunks.old"] {
            assert!(!folder.join(left).exists(), "{left} is left over");
        }
        assert!(dir.keeps_times(at(3)).await.unwrap());
        dir.sync().await.unwrap();
    }

    /// Goal: wherever a crash cuts the switch short, repeating it ends it. Method: each state that its steps leave is
    /// made by hand, with and without a new process.
    #[tokio::test]
    async fn a_switch_cut_short_anywhere_is_ended_by_repeating_it() {
        type Step = fn(&Path);
        let first: Step = |store| fs::rename(store.join(".chunks"), store.join(".chunks.old")).unwrap();
        let second: Step = |store| fs::rename(store.join(".chunks.new"), store.join(".chunks")).unwrap();
        let stray: Step = |store| fs::create_dir_all(store.join(".chunks/0000")).unwrap();
        let half_removed: Step = |store| fs::remove_dir_all(store.join(".chunks.old")).unwrap();
        let states: [&[Step]; 5] =
            [&[], &[first], &[first, stray], &[first, second], &[first, second, half_removed]];
        for (i, state) in states.into_iter().enumerate() {
            for reopen in [false, true] {
                println!("state {i}, reopen {reopen}");
                let folder = tempfile::tempdir().unwrap();
                let mut dir = store_with_fresh(folder.path()).await;
                for step in state {
                    step(folder.path());
                }
                if reopen {
                    dir = FsChunkDir::create(folder.path()).unwrap();
                }
                dir.switch_to_fresh().await.unwrap();
                assert_switched(&dir, folder.path()).await;
                dir.switch_to_fresh().await.unwrap();
                assert_switched(&dir, folder.path()).await;
            }
        }
    }

    #[tokio::test]
    async fn opening_ends_a_switch_that_has_begun_and_begins_none() {
        let folder = tempfile::tempdir().unwrap();
        let dir = store_with_fresh(folder.path()).await;
        FsChunkDir::create(folder.path()).unwrap();
        assert!(folder.path().join(".chunks.new").exists(), "nobody said that the fresh set is complete");
        fs::rename(folder.path().join(".chunks"), folder.path().join(".chunks.old")).unwrap();
        FsChunkDir::create(folder.path()).unwrap();
        let held = DigestLocks::new().lock_every().await;
        let marks = dir.marks(&held, vec![Digest::of(b"fresh")]).await.unwrap();
        assert!(marks[0].marker.is_some());
    }

    #[tokio::test]
    async fn beginning_anew_after_half_a_switch_keeps_the_set_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let dir = store_with_fresh(folder.path()).await;
        fs::rename(folder.path().join(".chunks"), folder.path().join(".chunks.old")).unwrap();
        dir.begin_fresh(false).await.unwrap();
        let held = DigestLocks::new().lock_every().await;
        let marks = dir.marks(&held, vec![Digest::of(b"old")]).await.unwrap();
        assert!(marks[0].marker.is_some());
        assert!(!folder.path().join(".chunks.old").exists(), "it would say that the switch has begun");
        assert_eq!(fs::read_dir(folder.path().join(".chunks.new")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_link_in_the_place_of_the_chunks_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = FsChunkDir::create(folder.path()).unwrap();
        fs::rename(folder.path().join(".chunks"), folder.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.path().join(".chunks")).unwrap();
        let error = dir.begin_fresh(false).await.unwrap_err();
        assert!(error.source.to_string().contains("link"), "{error:?}");
    }
}
