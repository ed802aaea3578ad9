//! The chunk directory on a real disk.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use filetime::FileTime;
use rustix::fs::OFlags;

use super::reserve::Reserve;
use super::{
    ChunkDir, DirError, Durability, Entry, EntryKind, EntryName, EntryStat, NewEntry, PROBE_TIME, Shard,
    StateFile, fs_fresh, fs_list,
};
use crate::blob::{BLOB_ENCODED_BYTES_MAX, BlobKind, HEADER_BYTES};
use crate::blocking;
use crate::durable;
use crate::locks::DigestGuard;
use crate::switch::is_off;
use crate::time::StoreTime;

/// Chunk files in `<store>/.chunks/<first 4 hex>/<64 hex>`, state files in `<store>/.coldkeep/`.
///
/// All work is done on the runtime's blocking threads. Needs a tokio runtime.
#[derive(Debug, Clone)]
pub struct FsChunkDir {
    pub(super) paths: Arc<Paths>,
}

#[derive(Debug)]
pub(super) struct Paths {
    pub(super) chunks: PathBuf,
    state: PathBuf,
    /// Held by the thread that writes below `state`: a caller that stops waiting leaves its write under way, and the
    /// next one would share its temporary file.
    writing_state: Mutex<StateWriting>,
    /// Numbers the replacements of state files in the order in which they were asked for.
    state_turns: AtomicU64,
    filesystem: Mutex<Filesystem>,
    /// Held from before a prefix folder is there until its name is durable.
    making_shard: Mutex<()>,
}

/// What writes of state share.
#[derive(Debug)]
pub(super) struct StateWriting {
    reserve: Reserve,
    /// The latest replacement of each file that was written.
    written: BTreeMap<StateFile, u64>,
}

/// What syncs the filesystem of the chunks.
///
/// Linux reports a failed write-back once to each file that is open, and never to one opened later; what was to be
/// written is then given up. So one file stays open from the start, syncs take turns, and after a failure there is no
/// success any more: which chunks are lost nobody knows until the next open checks them.
#[derive(Debug)]
struct Filesystem {
    folder: File,
    has_failed: bool,
}

impl Filesystem {
    fn check(&self) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other("an earlier sync failed; check the disk, then restart"));
        }
        Ok(())
    }

    fn sync(&mut self, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        self.check()?;
        let synced = sync(&self.folder);
        self.has_failed = synced.is_err();
        synced
    }
}

/// Only the store's user may look into it (spec `formats.md` §10).
const FOLDER_MODE: u32 = 0o750;
const STATE_MODE: u32 = 0o640;

impl FsChunkDir {
    /// Takes the folders of the store at `store`; makes them if they are missing. Blocks.
    ///
    /// # Errors
    /// [`DirError`] if a folder cannot be made.
    pub fn create(store: &Path) -> Result<Self, DirError> {
        let (chunks, state) = (store.join(".chunks"), store.join(".coldkeep"));
        fs_fresh::end_switch_begun(&chunks)?;
        for folder in [&chunks, &state] {
            make_folder(folder)?;
        }
        durable::sync_folder(store)?;
        let folder = File::open(&chunks).map_err(|source| DirError::new("open", &chunks, source))?;
        let filesystem = Mutex::new(Filesystem { folder, has_failed: false });
        let reserve = Reserve::new(state.join("reserve"));
        let writing_state = Mutex::new(StateWriting { reserve, written: BTreeMap::new() });
        let paths = Paths {
            chunks,
            state,
            writing_state,
            state_turns: AtomicU64::new(0),
            filesystem,
            making_shard: Mutex::default(),
        };
        Ok(Self { paths: Arc::new(paths) })
    }

    /// Returns whether the filesystem of a folder keeps file times as they are set, which a store on it needs (R12).
    /// Blocks.
    ///
    /// # Errors
    /// [`DirError`] if no file can be made in the folder.
    pub fn would_keep_times(folder: &Path) -> Result<bool, DirError> {
        probe_times(folder, PROBE_TIME)
    }

    /// Makes all 65,536 prefix folders, which a stock server expects to find. Blocks for seconds.
    ///
    /// # Errors
    /// [`DirError`] if a folder cannot be made.
    pub fn make_all_shards(&self) -> Result<(), DirError> {
        (0..=u16::MAX).try_for_each(|prefix| make_folder(&self.paths.shard(Shard(prefix))))
    }

    /// Runs `work` on a blocking thread, which keeps `held` until it is done even if the caller stops waiting.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        held: Option<&DigestGuard>,
        work: impl FnOnce(&Paths) -> Result<T, DirError> + Send + 'static,
    ) -> Result<T, DirError> {
        let held = held.cloned();
        let paths = Arc::clone(&self.paths);
        let done = blocking::run(move || {
            let result = work(&paths);
            drop(held);
            result
        });
        done.await.unwrap_or_else(|| {
            let source = io::Error::other("the process is shutting down");
            Err(DirError::new("work on", self.paths.chunks.clone(), source))
        })
    }
}

impl Paths {
    pub(super) fn shard(&self, shard: Shard) -> PathBuf {
        self.chunks.join(shard.to_string())
    }

    pub(super) fn entry(&self, name: EntryName) -> PathBuf {
        self.shard(name.shard()).join(name.to_string())
    }

    fn write_state(&self) -> MutexGuard<'_, StateWriting> {
        lock(&self.writing_state)
    }

    /// Makes the names in a folder durable; a failure is remembered like that of a sync of the whole filesystem.
    pub(super) fn sync_folder(&self, folder: &Path) -> Result<(), DirError> {
        durable::sync_folder(folder).inspect_err(|_| lock(&self.filesystem).has_failed = true)
    }

    /// Makes everything on the filesystem of the chunks durable.
    pub(super) fn sync(&self) -> Result<(), DirError> {
        let synced = lock(&self.filesystem).sync(|folder| Ok(rustix::fs::syncfs(folder)?));
        synced.map_err(|source| DirError::new("sync the filesystem of", &self.chunks, source))
    }

    fn check_synced(&self) -> Result<(), DirError> {
        let checked = lock(&self.filesystem).check();
        checked.map_err(|source| DirError::new("rely on the filesystem of", &self.chunks, source))
    }

    /// Prefix folders are made when first needed: all of them at once cost seconds on some filesystems.
    pub(super) fn make_shard(&self, shard: Shard, durability: Durability) -> Result<(), DirError> {
        let _making = lock(&self.making_shard);
        make_folder(&self.shard(shard))?;
        if durability == Durability::Immediate { self.sync_folder(&self.chunks) } else { Ok(()) }
    }

    /// Makes the name of a chunk that was written durable, and that of its folder.
    fn sync_names(&self, shard: Shard) -> Result<(), DirError> {
        self.sync_folder(&self.shard(shard))?;
        // Another put may have made the folder and not have synced its name yet.
        drop(lock(&self.making_shard));
        self.check_synced()
    }

    fn state_file(&self, file: StateFile) -> PathBuf {
        self.state.join(file.file_name())
    }
}

impl ChunkDir for FsChunkDir {
    async fn stat(
        &self,
        held: &DigestGuard,
        name: EntryName,
    ) -> Result<Option<(EntryStat, Option<BlobKind>)>, DirError> {
        self.run(Some(held), move |paths| {
            let path = paths.entry(name);
            let Some(file) = found("open", &path, open_keeping_atime(&path))? else { return Ok(None) };
            let stat = || {
                let metadata = file.metadata()?;
                let mut head = Vec::with_capacity(HEADER_BYTES);
                (&file).take(HEADER_BYTES as u64).read_to_end(&mut head)?;
                Ok((stat_of(&metadata), BlobKind::from_magic(&head)))
            };
            found("read", &path, stat())
        })
        .await
    }

    async fn touch(
        &self,
        held: &DigestGuard,
        names: Vec<EntryName>,
        at: StoreTime,
    ) -> Result<Vec<Option<EntryStat>>, DirError> {
        let at = file_time(at);
        self.run(Some(held), move |paths| {
            let touch = |name: EntryName| {
                let path = paths.entry(name);
                let Some(before) = found("inspect", &path, path.symlink_metadata())? else { return Ok(None) };
                found("touch", &path, filetime::set_file_atime(&path, at))?;
                Ok(Some(stat_of(&before)))
            };
            names.into_iter().map(touch).collect()
        })
        .await
    }

    async fn set_times(&self, held: &DigestGuard, name: EntryName, at: StoreTime) -> Result<(), DirError> {
        let at = file_time(at);
        self.run(Some(held), move |paths| {
            let path = paths.entry(name);
            filetime::set_file_times(&path, at, at).map_err(|source| DirError::new("touch", path, source))
        })
        .await
    }

    async fn read(&self, name: EntryName) -> Result<Option<Bytes>, DirError> {
        self.run(None, move |paths| {
            let path = paths.entry(name);
            let Some(file) = found("open", &path, open_keeping_atime(&path))? else { return Ok(None) };
            let read = || {
                // One byte more than any chunk: a longer file is damaged, and its reader finds that out.
                let limit = BLOB_ENCODED_BYTES_MAX as u64 + 1;
                let mut content = Vec::with_capacity(file.metadata()?.len().min(limit) as usize + 1);
                file.take(limit).read_to_end(&mut content)?;
                Ok(content)
            };
            Ok(found("read", &path, read())?.map(Bytes::from))
        })
        .await
    }

    async fn put(&self, held: &DigestGuard, entry: NewEntry, durability: Durability) -> Result<(), DirError> {
        self.run(Some(held), move |paths| put(paths, &entry, durability)).await
    }

    async fn rename(&self, held: &DigestGuard, from: EntryName, to: EntryName) -> Result<bool, DirError> {
        self.run(Some(held), move |paths| {
            let path = paths.entry(from);
            let renamed = found("rename", &path, std::fs::rename(&path, paths.entry(to)))?;
            Ok(renamed.is_some())
        })
        .await
    }

    async fn remove_unused(
        &self,
        held: &DigestGuard,
        names: Vec<EntryName>,
        cutoff: StoreTime,
    ) -> Result<Vec<bool>, DirError> {
        self.run(Some(held), move |paths| {
            let remove = |name: EntryName| {
                let path = paths.entry(name);
                let Some(metadata) = found("inspect", &path, path.symlink_metadata())? else {
                    return Ok(true);
                };
                // R7: the decision that counts is this one, made while lock(d) keeps every user of the chunk out.
                if stat_of(&metadata).used_at >= cutoff && !is_off("r7") {
                    return Ok(false);
                }
                found("remove", &path, std::fs::remove_file(&path))?;
                Ok(true)
            };
            names.into_iter().map(remove).collect()
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DirError> {
        self.run(None, |_| Ok(work())).await
    }

    async fn shards(&self) -> Result<Vec<Shard>, DirError> {
        self.run(None, |paths| {
            let folder = &paths.chunks;
            let failed = |source| DirError::new("list", folder, source);
            let mut shards = Vec::new();
            for entry in std::fs::read_dir(folder).map_err(failed)? {
                shards.extend(entry.map_err(failed)?.file_name().to_str().and_then(Shard::parse));
            }
            shards.sort_unstable();
            Ok(shards)
        })
        .await
    }

    async fn list(&self, shards: Vec<Shard>) -> Result<Vec<Entry>, DirError> {
        self.run(None, move |paths| fs_list::entries(paths, &shards)).await
    }

    async fn names(&self, shards: Vec<Shard>) -> Result<Vec<EntryName>, DirError> {
        self.run(None, move |paths| fs_list::names(paths, &shards)).await
    }

    async fn sync(&self) -> Result<(), DirError> {
        self.run(None, Paths::sync).await
    }

    async fn check_synced(&self) -> Result<(), DirError> {
        self.run(None, Paths::check_synced).await
    }

    async fn keeps_times(&self, at: StoreTime) -> Result<bool, DirError> {
        self.run(None, move |paths| {
            let writing = paths.write_state();
            // Among the chunks: another folder may be on another filesystem.
            writing.reserve.spend(|| probe_times(&paths.chunks, at))
        })
        .await
    }

    async fn load_state(&self, file: StateFile) -> Result<Option<Bytes>, DirError> {
        self.run(None, move |paths| {
            let path = paths.state_file(file);
            Ok(found("read", &path, std::fs::read(&path))?.map(Bytes::from))
        })
        .await
    }

    async fn save_state(&self, file: StateFile, content: Bytes) -> Result<(), DirError> {
        let turn = self.paths.state_turns.fetch_add(1, Ordering::Relaxed);
        self.run(None, move |paths| {
            let mut writing = paths.write_state();
            // A caller that stopped waiting may have left its write behind ours: the older content never comes last.
            if writing.written.get(&file).is_some_and(|written| *written > turn) {
                return Ok(());
            }
            let replace = || durable::replace_file(&paths.state_file(file), &content, STATE_MODE);
            writing.reserve.spend(replace)?;
            writing.written.insert(file, turn);
            Ok(())
        })
        .await
    }
}

/// R12: sets times on a file in the folder and reads them back.
fn probe_times(folder: &Path, at: StoreTime) -> Result<bool, DirError> {
    let path = folder.join(".probe");
    let probe = || {
        std::fs::write(&path, b"probe")?;
        filetime::set_file_times(&path, file_time(at), file_time(at))?;
        // Reading is what would move the atime on a filesystem that does not keep it.
        open_keeping_atime(&path)?.read_to_end(&mut Vec::new())?;
        let stat = stat_of(&std::fs::metadata(&path)?);
        Ok(stat.used_at == at && stat.written_at == at)
    };
    let kept = probe();
    // Also after a failure, whose error says more: the folder of a store that was refused stays as it was.
    let removed = std::fs::remove_file(&path);
    kept.and_then(|kept| removed.map(|()| kept))
        .map_err(|source| DirError::new("probe times with", &path, source))
}

/// R4 on a filesystem: temporary file, sync by level, rename. The caller holds lock(d), so the name is free.
fn put(paths: &Paths, entry: &NewEntry, durability: Durability) -> Result<(), DirError> {
    let path = paths.entry(entry.name);
    let temporary = paths.entry(EntryName::new(entry.name.digest, EntryKind::Temporary));
    let target = if is_off("r4") { &path } else { &temporary };
    let written = write_new(paths, target, entry, durability);
    let renamed = written.and_then(|()| {
        std::fs::rename(target, &path).map_err(|source| DirError::new("rename to", &path, source))
    });
    if let Err(error) = renamed {
        // A full disk is no place to leave half a chunk; a failure here leaves it to the next sweep.
        let _ = std::fs::remove_file(target);
        return Err(error);
    }
    if durability == Durability::Immediate {
        paths.sync_names(entry.name.shard())?;
    }
    Ok(())
}

fn write_new(paths: &Paths, path: &Path, entry: &NewEntry, durability: Durability) -> Result<(), DirError> {
    let create = || OpenOptions::new().write(true).create(true).truncate(true).open(path);
    let created = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            paths.make_shard(entry.name.shard(), durability)?;
            create()
        }
        other => other,
    };
    let write = |mut file: File| {
        file.write_all(&entry.content)?;
        let at = file_time(entry.at);
        filetime::set_file_handle_times(&file, Some(at), Some(at))?;
        if durability == Durability::Immediate { file.sync_all() } else { Ok(()) }
    };
    created.and_then(write).map_err(|source| DirError::new("write", path, source))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn make_folder(folder: &Path) -> Result<(), DirError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .map_err(|source| DirError::new("make the folder", folder, source))
}

/// R12: reading must not move the atime. Files of another owner refuse the flag; there the mount's rules apply, which
/// at worst let a chunk look more recently used.
pub(super) fn open_keeping_atime(path: &Path) -> io::Result<File> {
    let open = |flags: OFlags| {
        let flags = (flags | OFlags::NOFOLLOW).bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(flags).open(path)
    };
    match open(OFlags::NOATIME) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(OFlags::empty()),
        other => other,
    }
}

/// Turns "not found" into `None` and gives every other error its verb and path.
pub(super) fn found<T>(
    action: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<Option<T>, DirError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DirError::new(action, path, source)),
    }
}

pub(super) fn stat_of(metadata: &Metadata) -> EntryStat {
    EntryStat {
        len: metadata.len(),
        used_at: StoreTime::from_unix(metadata.atime(), metadata.atime_nsec() as u32),
        written_at: StoreTime::from_unix(metadata.mtime(), metadata.mtime_nsec() as u32),
    }
}

pub(super) fn file_time(at: StoreTime) -> FileTime {
    FileTime::from_unix_time(at.unix_seconds(), at.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::locks::DigestLocks;
    use crate::testing::check_chunk_dir;

    #[tokio::test]
    async fn conforms() {
        let folder = tempfile::tempdir().unwrap();
        check_chunk_dir(&FsChunkDir::create(folder.path()).unwrap()).await;
    }

    #[test]
    fn after_a_failed_sync_there_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        let mut filesystem = Filesystem { folder: File::open(folder.path()).unwrap(), has_failed: false };
        filesystem.sync(|_| Ok(())).unwrap();
        filesystem.sync(|_| Err(io::Error::other("the disk is full"))).unwrap_err();
        let error = filesystem.sync(|_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("restart"), "{error}");
    }

    fn new_entry(content: &'static [u8]) -> NewEntry {
        let name = EntryName::chunk(Digest::of(content));
        NewEntry { name, content: Bytes::from_static(content), at: StoreTime::from_unix(1000, 0) }
    }

    #[tokio::test]
    async fn after_a_folder_that_could_not_be_synced_there_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        let dir = FsChunkDir::create(folder.path()).unwrap();
        put(&dir.paths, &new_entry(b"abc"), Durability::Immediate).unwrap();
        dir.check_synced().await.unwrap();
        dir.paths.sync_folder(&folder.path().join("missing")).unwrap_err();
        dir.check_synced().await.unwrap_err();
        dir.sync().await.unwrap_err();
        put(&dir.paths, &new_entry(b"abc"), Durability::Immediate).unwrap_err();
    }

    #[test]
    fn a_put_waits_until_the_folder_that_another_one_made_is_durable() {
        let folder = tempfile::tempdir().unwrap();
        let dir = FsChunkDir::create(folder.path()).unwrap();
        make_folder(&folder.path().join(".chunks/ba78")).unwrap();
        let (send, done) = std::sync::mpsc::channel();
        let paths = dir.paths.clone();
        let making = lock(&dir.paths.making_shard);
        let putting = std::thread::spawn(move || {
            send.send(put(&paths, &new_entry(b"abc"), Durability::Immediate)).unwrap();
        });
        let wait = std::time::Duration::from_millis(100);
        assert!(done.recv_timeout(wait).is_err(), "acknowledged before the folder was synced");
        drop(making);
        done.recv().unwrap().unwrap();
        putting.join().unwrap();
    }

    #[tokio::test]
    async fn times_are_probed_on_the_filesystem_of_the_chunks() {
        let folder = tempfile::tempdir().unwrap();
        let dir = FsChunkDir::create(folder.path()).unwrap();
        let at = StoreTime::from_unix(1000, 5);
        assert!(dir.keeps_times(at).await.unwrap());
        assert!(FsChunkDir::would_keep_times(folder.path()).unwrap());
        assert!(!folder.path().join(".probe").exists());
        assert_eq!(dir.shards().await.unwrap(), []);
        // Only the folder of the chunks tells whether their times are kept.
        std::fs::remove_dir_all(folder.path().join(".chunks")).unwrap();
        dir.keeps_times(at).await.unwrap_err();
    }

    #[tokio::test]
    async fn foreign_names_and_folders_are_left_out_of_a_listing() {
        let folder = tempfile::tempdir().unwrap();
        let dir = FsChunkDir::create(folder.path()).unwrap();
        let digest = Digest::of(b"abc");
        let shard = folder.path().join(".chunks/ba78");
        std::fs::create_dir_all(shard.join(digest.to_string())).unwrap();
        std::fs::write(shard.join("notes.txt"), b"x").unwrap();
        // A digest of another shard was never put here by us.
        std::fs::write(shard.join(Digest::of(b"other").to_string()), b"x").unwrap();
        assert_eq!(dir.list(vec![Shard(0xba78)]).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_write_that_fails_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dir = FsChunkDir::create(folder.path()).unwrap();
        let digest = Digest::of(b"abc");
        // A file where the prefix folder should be.
        std::fs::write(folder.path().join(".chunks/ba78"), b"x").unwrap();
        let held = DigestLocks::new().lock(&digest).await;
        let at = StoreTime::from_unix(1000, 0);
        let entry = NewEntry { name: EntryName::chunk(digest), content: Bytes::from_static(b"x"), at };
        let error = dir.put(&held, entry, Durability::Deferred).await.unwrap_err();
        assert!(error.to_string().contains(&digest.to_string()), "{error}");
    }

    #[test]
    fn all_shards_are_made_on_request() {
        // 65,536 folders cost seconds to minutes on a busy disk, next to nothing in memory.
        let in_memory = Path::new("/dev/shm");
        let folder =
            if in_memory.is_dir() { tempfile::tempdir_in(in_memory) } else { tempfile::tempdir() }.unwrap();
        let dir = FsChunkDir::create(folder.path()).unwrap();
        dir.make_all_shards().unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join(".chunks")).unwrap().count(), 65_536);
    }
}
