//! Listing prefix folders on a real disk: one read of the folder, and one `fstatat` a file where its times are asked for.
//!
//! Every collection looks at every file of a store, so this is what it takes: no path is made for a file, no buffer for a
//! name, and many folders are listed by one hop to a blocking thread.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, openat, statat};

use super::fs::{Paths, found};
use super::{DirError, Entry, EntryName, EntryStat, Shard};
use crate::time::StoreTime;

/// Room for the names of a folder read at once; one name takes less than 300 bytes.
const BUFFER_BYTES: usize = 32 << 10;

/// Lists the files of some shards, shard by shard, each ascending by name.
pub(super) fn entries(paths: &Paths, shards: &[Shard]) -> Result<Vec<Entry>, DirError> {
    collect(paths, shards, |folder, name, text, _| {
        // A file that went since the folder was read is simply not listed.
        let Some(stat) = facts(folder, text)? else { return Ok(None) };
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(is_file.then(|| Entry { name, stat: entry_stat(&stat) }))
    })
}

/// Lists the names of the files of some shards, shard by shard, each ascending; inspects no file whose type the folder
/// tells.
pub(super) fn names(paths: &Paths, shards: &[Shard]) -> Result<Vec<EntryName>, DirError> {
    collect(paths, shards, |folder, name, text, file_type| {
        let file_type = match file_type {
            FileType::Unknown => facts(folder, text)?.map(|stat| FileType::from_raw_mode(stat.st_mode)),
            known => Some(known),
        };
        Ok((file_type == Some(FileType::RegularFile)).then_some(name))
    })
}

/// What is listed of a file.
trait Listed {
    fn name(&self) -> EntryName;
}

impl Listed for Entry {
    fn name(&self) -> EntryName {
        self.name
    }
}

impl Listed for EntryName {
    fn name(&self) -> EntryName {
        *self
    }
}

/// Reads each folder and has `look` decide about each file with a name of ours.
fn collect<T: Listed>(
    paths: &Paths,
    shards: &[Shard],
    look: impl Fn(BorrowedFd<'_>, EntryName, &str, FileType) -> io::Result<Option<T>>,
) -> Result<Vec<T>, DirError> {
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
    let mut all = Vec::new();
    for shard in shards {
        let path = paths.shard(*shard);
        let Some(folder) = found("list", &path, open(&path))? else { continue };
        let first = all.len();
        let failed = |source: io::Error| DirError::new("list", &path, source);
        let mut listing = RawDir::new(folder.as_fd(), &mut buffer);
        while let Some(item) = listing.next() {
            let item = item.map_err(|error| failed(error.into()))?;
            let Ok(text) = item.file_name().to_str() else { continue };
            let Some(name) = EntryName::parse(text).filter(|name| name.shard() == *shard) else { continue };
            all.extend(look(folder.as_fd(), name, text, item.file_type()).map_err(failed)?);
        }
        all[first..].sort_unstable_by_key(T::name);
    }
    Ok(all)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(rustix::fs::CWD, path, flags, Mode::empty())?)
}

fn facts(folder: BorrowedFd<'_>, name: &str) -> io::Result<Option<Stat>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn entry_stat(stat: &Stat) -> EntryStat {
    EntryStat {
        len: stat.st_size.cast_unsigned(),
        used_at: StoreTime::from_unix(stat.st_atime, stat.st_atime_nsec as u32),
        written_at: StoreTime::from_unix(stat.st_mtime, stat.st_mtime_nsec as u32),
    }
}
