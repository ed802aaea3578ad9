//! Markers on a real disk.
//!
//! The class of a marker stands in the permission bits of its file, where it survives emptying and needs nothing but a
//! filesystem that keeps modes. What is not exactly one of the two modes is of unknown class, which is always safe: the
//! markers of a stock server, files whose modes were changed by hand, filesystems that show one mode for all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use bytes::Bytes;

use super::fs::{Paths, file_time, found, open_keeping_atime, stat_of};
use super::{
    DirError, Durability, EntryKind, EntryName, EntryStat, FsChunkDir, Marker, MarkerDir, Marks, NewMarker,
    fs_fresh,
};
use crate::blob::{BlobKind, ChunkClass, HEADER_BYTES};
use crate::digest::Digest;
use crate::locks::DigestGuard;
use crate::switch::is_off;
use crate::time::StoreTime;

/// The modes differ in bits that neither has in common with the other, so that no mask of a process turns one into the
/// other; the rarer one is for plain chunks, which are the ones to be protected (R2).
const PLAIN_MODE: u32 = 0o650;
const ENCRYPTED_MODE: u32 = 0o740;
pub(super) const UNKNOWN_MODE: u32 = 0o640;
/// Permission bits and the three special ones: a mode counts only if it is exactly ours.
const MODE_BITS: u32 = 0o7777;

impl MarkerDir for FsChunkDir {
    async fn marks(&self, held: &DigestGuard, digests: Vec<Digest>) -> Result<Vec<Marks>, DirError> {
        self.run(Some(held), move |paths| digests.into_iter().map(|digest| marks(paths, digest)).collect())
            .await
    }

    async fn use_marker(
        &self,
        held: &DigestGuard,
        digest: Digest,
        at: StoreTime,
    ) -> Result<Option<Marker>, DirError> {
        self.run(Some(held), move |paths| {
            let path = paths.entry(EntryName::chunk(digest));
            let Some(before) = look(&path)? else { return Ok(None) };
            let touched = found("touch", &path, filetime::set_file_atime(&path, file_time(at)))?;
            Ok(touched.map(|()| before.marker()))
        })
        .await
    }

    async fn put_upload_marker(
        &self,
        held: &DigestGuard,
        digest: Digest,
        at: StoreTime,
    ) -> Result<(), DirError> {
        self.run(Some(held), move |paths| {
            let name = EntryName::new(digest, EntryKind::UploadMarker);
            let path = paths.entry(name);
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(UNKNOWN_MODE);
            let at = Some(file_time(at));
            let opened = in_shard(paths, name, || options.open(&path))?;
            opened
                .and_then(|file| filetime::set_file_handle_times(&file, at, at))
                .map_err(|source| DirError::new("write", path, source))
        })
        .await
    }

    async fn place_marker(&self, held: &DigestGuard, marker: NewMarker) -> Result<(), DirError> {
        self.run(Some(held), move |paths| place(paths, &marker)).await
    }

    async fn fill_marker(
        &self,
        held: &DigestGuard,
        digest: Digest,
        content: Bytes,
    ) -> Result<bool, DirError> {
        self.run(Some(held), move |paths| fill(paths, EntryName::chunk(digest), &content)).await
    }

    async fn empty_marker(&self, held: &DigestGuard, digest: Digest) -> Result<u64, DirError> {
        self.run(Some(held), move |paths| {
            let name = EntryName::chunk(digest);
            match look(&paths.entry(name))? {
                Some(before) if before.stat.len > 0 => {
                    empty(paths, name, &before)?;
                    Ok(before.stat.len)
                }
                _ => Ok(0),
            }
        })
        .await
    }

    async fn remove_markers(&self, held: &DigestGuard, digests: Vec<Digest>) -> Result<(), DirError> {
        self.run(Some(held), move |paths| {
            digests.into_iter().try_for_each(|digest| remove(&paths.entry(EntryName::chunk(digest))))
        })
        .await
    }

    async fn begin_fresh(&self, resume: bool) -> Result<(), DirError> {
        self.run(None, move |paths| fs_fresh::begin(paths, resume)).await
    }

    async fn add_fresh(&self, digests: Vec<Digest>, at: StoreTime) -> Result<(), DirError> {
        self.run(None, move |paths| fs_fresh::add(paths, &digests, at)).await
    }

    async fn sync_fresh(&self) -> Result<(), DirError> {
        self.run(None, Paths::sync).await
    }

    async fn switch_to_fresh(&self) -> Result<(), DirError> {
        self.run(None, fs_fresh::switch).await
    }
}

/// A marker's file as it is.
struct Found {
    stat: EntryStat,
    class: Option<ChunkClass>,
}

impl Found {
    fn marker(&self) -> Marker {
        Marker { len: self.stat.len, used_at: self.stat.used_at, class: self.class }
    }
}

/// What a marker's file is to be.
struct NewFile<'a> {
    content: &'a [u8],
    class: Option<ChunkClass>,
    /// The present if there are none.
    times: Option<Times>,
}

#[derive(Clone, Copy)]
struct Times {
    used_at: StoreTime,
    written_at: StoreTime,
}

impl Times {
    fn of(stat: &EntryStat) -> Self {
        Self { used_at: stat.used_at, written_at: stat.written_at }
    }
}

fn marks(paths: &Paths, digest: Digest) -> Result<Marks, DirError> {
    let marker = look(&paths.entry(EntryName::chunk(digest)))?.map(|found| found.marker());
    let upload = paths.entry(EntryName::new(digest, EntryKind::UploadMarker));
    let upload = found("inspect", &upload, upload.symlink_metadata())?;
    Ok(Marks { marker, upload_started_at: upload.map(|metadata| stat_of(&metadata).used_at) })
}

/// Inspects a marker; reads no more of it than its first bytes, and not those of an empty one.
fn look(path: &Path) -> Result<Option<Found>, DirError> {
    let Some(metadata) = found("inspect", path, path.symlink_metadata())? else { return Ok(None) };
    let (stat, class) = (stat_of(&metadata), class_of_mode(metadata.mode()));
    if stat.len == 0 {
        return Ok(Some(Found { stat, class }));
    }
    let read = || {
        let mut head = Vec::with_capacity(HEADER_BYTES);
        open_keeping_atime(path)?.take(HEADER_BYTES as u64).read_to_end(&mut head)?;
        Ok(head)
    };
    let head = found("read", path, read())?;
    Ok(head.map(|head| Found { stat, class: class_of_content(&head).or(class) }))
}

fn place(paths: &Paths, marker: &NewMarker) -> Result<(), DirError> {
    let name = EntryName::chunk(marker.digest);
    let class = marker.content.as_deref().and_then(class_of_content).or(marker.class);
    let times = Times { used_at: marker.at, written_at: marker.at };
    let cached = match marker.content.as_deref() {
        Some(content) => has_room(replace(paths, name, &NewFile { content, class, times: Some(times) }))?,
        None => false,
    };
    if !cached {
        place_empty(paths, name, class, times)?;
    }
    remove(&paths.entry(EntryName::new(marker.digest, EntryKind::UploadMarker)))
}

/// R4: what is cached stays, unless it is of another class.
fn place_empty(
    paths: &Paths,
    name: EntryName,
    class: Option<ChunkClass>,
    times: Times,
) -> Result<(), DirError> {
    let path = paths.entry(name);
    if let Some(before) = look(&path)?
        && (class.is_none() || before.class == class)
    {
        let touched = filetime::set_file_atime(&path, file_time(times.used_at));
        return touched.map_err(|source| DirError::new("touch", path, source));
    }
    // The upload marker becomes the marker: both halves of R4 in one step, and no room is needed on a full disk.
    let upload = paths.entry(EntryName::new(name.digest, EntryKind::UploadMarker));
    let at = file_time(times.used_at);
    let prepared = fs::set_permissions(&upload, Permissions::from_mode(mode_of(class)))
        .and_then(|()| filetime::set_file_times(&upload, at, at));
    if prepared.is_ok() {
        return fs::rename(&upload, &path).map_err(|source| DirError::new("rename to", path, source));
    }
    // There is none, or the filesystem refuses modes.
    replace(paths, name, &NewFile { content: &[], class, times: Some(times) })
}

fn fill(paths: &Paths, name: EntryName, content: &[u8]) -> Result<bool, DirError> {
    let before = look(&paths.entry(name))?;
    let class = class_of_content(content);
    if is_off("r6") {
        replace(paths, name, &NewFile { content, class, times: None })?;
        return Ok(true);
    }
    let Some(before) = before else { return Ok(false) };
    let class = class.or(before.class);
    let times = Some(Times::of(&before.stat));
    if !has_room(replace(paths, name, &NewFile { content, class, times }))? && before.stat.len > 0 {
        // What was there is of no use, or nobody would replace it.
        empty(paths, name, &before)?;
    }
    Ok(true)
}

/// R6: a reader that has the file open keeps its content.
fn empty(paths: &Paths, name: EntryName, before: &Found) -> Result<(), DirError> {
    let file = NewFile { content: &[], class: before.class, times: Some(Times::of(&before.stat)) };
    if has_room(replace(paths, name, &file))? {
        return Ok(());
    }
    // No room even for an empty file, and this is what makes room. Cutting it short keeps atime and mode; a reader finds
    // that its content fails the check and falls back to the backend.
    let path = paths.entry(name);
    let cut = || OpenOptions::new().write(true).open(&path)?.set_len(0);
    cut().map_err(|source| DirError::new("empty", path.as_path(), source))
}

/// Tells a full disk, which a cache can live with, from other failures.
fn has_room(written: Result<(), DirError>) -> Result<bool, DirError> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.is_storage_full() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates or replaces a file in one step. The caller holds lock(d), so the temporary name is free.
fn replace(paths: &Paths, name: EntryName, new: &NewFile) -> Result<(), DirError> {
    let path = paths.entry(name);
    let temporary_name = EntryName::new(name.digest, EntryKind::Temporary);
    let temporary = paths.entry(temporary_name);
    let create = || create_new(&temporary, mode_of(new.class));
    let created = in_shard(paths, temporary_name, create)?;
    let written = created
        .and_then(|file| write(file, new))
        .map_err(|source| DirError::new("write", &temporary, source))
        .and_then(|()| {
            fs::rename(&temporary, &path).map_err(|source| DirError::new("rename to", path, source))
        });
    if written.is_err() {
        // A full disk is no place to leave half a chunk; a failure here leaves it to the next sweep.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A left-over of a crash is not reused: its mode may be of the other class.
fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)
        }
        other => other,
    }
}

fn write(mut file: File, new: &NewFile) -> io::Result<()> {
    file.write_all(new.content)?;
    // The mode it was created with lacks what the process masks. Where modes cannot be set the class stays unknown.
    let _ = file.set_permissions(Permissions::from_mode(mode_of(new.class)));
    match new.times {
        Some(Times { used_at, written_at }) => {
            let (used_at, written_at) = (Some(file_time(used_at)), Some(file_time(written_at)));
            filetime::set_file_handle_times(&file, used_at, written_at)
        }
        None => Ok(()),
    }
}

/// Prefix folders are made when first needed.
fn in_shard<T>(
    paths: &Paths,
    name: EntryName,
    create: impl Fn() -> io::Result<T>,
) -> Result<io::Result<T>, DirError> {
    match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            paths.make_shard(name.shard(), Durability::Deferred)?;
            Ok(create())
        }
        other => Ok(other),
    }
}

fn remove(path: &Path) -> Result<(), DirError> {
    found("remove", path, fs::remove_file(path)).map(drop)
}

fn class_of_content(content: &[u8]) -> Option<ChunkClass> {
    BlobKind::from_magic(content).map(BlobKind::class)
}

const fn mode_of(class: Option<ChunkClass>) -> u32 {
    match class {
        Some(ChunkClass::Plain) => PLAIN_MODE,
        Some(ChunkClass::Encrypted) => ENCRYPTED_MODE,
        None => UNKNOWN_MODE,
    }
}

const fn class_of_mode(mode: u32) -> Option<ChunkClass> {
    match mode & MODE_BITS {
        PLAIN_MODE => Some(ChunkClass::Plain),
        ENCRYPTED_MODE => Some(ChunkClass::Encrypted),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
