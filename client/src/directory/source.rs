//! A directory as the archive that it becomes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType as EntryType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::attributes;
use super::error::DirectoryError;
use super::report::{DirectoryReport, WarningKind};
use crate::pattern::{Pattern, PatternVerdict, judge};
use crate::pxar::{EncodeError, Encoder, FileName, FileType, LinkTarget, Metadata};

/// Name of the files with patterns for their directory and what is below it.
const EXCLUDE_NAME: &str = ".pxarexclude";
/// Name of the file that a unified archive has in place of patterns that were given otherwise.
const EXCLUDE_CLI_NAME: &[u8] = b".pxarexclude-cli";
/// Longest such file that is read.
const EXCLUDE_BYTES_MAX: u64 = 1 << 20;

/// Most directories that are open at once, on the way down; those above are opened anew on the way up.
const OPEN_FOLDERS_MAX: usize = 128;

/// Filesystems without files of their own (spec `client.md` §3, `statfs(2)`).
const PSEUDO: [u64; 18] = [
    0x4249_4e4d,
    0x0027_e0eb,
    0x6367_7270,
    0x6265_6570,
    0x6462_6720,
    0x1cd1,
    0xde5e_81e4,
    0x6573_5543,
    0x9584_58f6,
    0x1980_0202,
    0x6e66_7364,
    0x9fa0,
    0x6165_676c,
    0x6759_6969,
    0x7363_6673,
    0xf97c_ff8c,
    0x4341_5d53,
    0x6265_6572,
];

/// Which filesystems below the directory are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Filesystems {
    /// That of the directory alone.
    #[default]
    One,
    /// Also those that these paths are on.
    Also(Vec<std::path::PathBuf>),
    /// All but those without files of their own.
    All,
}

/// How a directory is read.
#[derive(Debug, Clone)]
pub struct DirectoryOptions {
    /// What is left out, the last pattern that matches deciding.
    pub excludes: Vec<Pattern>,
    /// Which filesystems are read.
    pub filesystems: Filesystems,
    /// Most entries held in memory: those of all directories on the way to the one that is read.
    pub entries_max: usize,
    /// Leaves out the attributes of files that have too many for the system to list; else that is an error.
    pub may_skip_long_xattrs: bool,
}

impl Default for DirectoryOptions {
    fn default() -> Self {
        let excludes = Vec::new();
        Self { excludes, filesystems: Filesystems::One, entries_max: 1 << 20, may_skip_long_xattrs: false }
    }
}

/// A directory, read as a unified archive from front to back (spec `client.md` §3).
///
/// Contents go from the files straight into the reader's buffer. Entries come in the order of their names.
///
/// Reads fail with a [`DirectoryError`] as the source of the [`io::Error`].
#[derive(Debug)]
pub struct DirectorySource {
    encoder: Encoder,
    options: DirectoryOptions,
    devices: Vec<u64>,
    /// What is left out here: the options' patterns, then those of the directories on the way down.
    patterns: Vec<Pattern>,
    open: Vec<Folder>,
    names_held: usize,
    /// Path of the innermost directory, `/a/b`; the root's is empty.
    path: Vec<u8>,
    links: HashMap<(u64, u64), LinkTarget>,
    /// What the encoder gave, and how much of it was read.
    pending: io::Cursor<Vec<u8>>,
    file: Option<OpenFile>,
    report: Arc<DirectoryReport>,
}

#[derive(Debug)]
struct Folder {
    /// `None` while very many are open below it.
    fd: Option<OwnedFd>,
    id: (u64, u64),
    names: std::vec::IntoIter<(FileName, EntryType)>,
    pattern_count: usize,
    path_len: usize,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: Vec<u8>,
    size: u64,
    left: u64,
    has_shrunk: bool,
}

/// What became of an entry.
enum Outcome {
    Stored,
    LeftOut(WarningKind),
}

impl DirectorySource {
    /// Opens a directory.
    ///
    /// # Errors
    /// [`DirectoryError::Io`] if it is none or cannot be opened, [`DirectoryError::Pseudo`].
    pub fn open(path: &Path, options: DirectoryOptions) -> Result<Self, DirectoryError> {
        let shown = || path.display().to_string();
        let failed = |what, error: Errno| DirectoryError::Io { what, path: shown(), source: error.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| failed("open the directory", error))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| failed("look at", error))?;
        if is_pseudo(&fd).map_err(|error| failed("look at the filesystem of", error))? {
            return Err(DirectoryError::Pseudo { path: shown() });
        }
        let mut devices = vec![stat.st_dev];
        if let Filesystems::Also(paths) = &options.filesystems {
            for path in paths {
                let stat = rustix::fs::stat(path).map_err(|error| DirectoryError::Io {
                    what: "look at",
                    path: path.display().to_string(),
                    source: error.into(),
                })?;
                devices.push(stat.st_dev);
            }
        }
        let mut root = attributes::of_stat(&stat);
        attributes::add_extended(&mut root, &fd, options.may_skip_long_xattrs)
            .map_err(|source| DirectoryError::Io { what: "read the attributes of", path: shown(), source })?;
        let encoder =
            Encoder::unified(&root).map_err(|source| DirectoryError::Encode { path: shown(), source })?;
        let report = Arc::new(DirectoryReport::default());
        let patterns = options.excludes.clone();
        let mut source = Self {
            encoder,
            options,
            devices,
            patterns,
            open: Vec::new(),
            names_held: 0,
            path: Vec::new(),
            links: HashMap::new(),
            pending: io::Cursor::default(),
            file: None,
            report,
        };
        source.enter(fd, &stat, 0)?;
        Ok(source)
    }

    /// Returns what is seen of the directory as it is read.
    pub fn report(&self) -> Arc<DirectoryReport> {
        Arc::clone(&self.report)
    }

    /// Goes on by one entry, or to the end of a directory.
    fn step(&mut self) -> Result<(), DirectoryError> {
        let Some(folder) = self.open.last_mut() else { return Ok(()) };
        let Some((name, entry_type)) = folder.names.next() else { return self.leave() };
        self.names_held -= 1;
        let parent_len = self.path.len();
        self.path.push(b'/');
        self.path.extend_from_slice(name.as_bytes());
        let depth = self.open.len();
        let outcome = self.add(&name, entry_type, parent_len)?;
        if let Outcome::LeftOut(kind) = outcome {
            self.report.warn(&self.path, kind);
        }
        if self.open.len() == depth {
            self.path.truncate(parent_len);
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: &FileName,
        mut entry_type: EntryType,
        parent_len: usize,
    ) -> Result<Outcome, DirectoryError> {
        let Some(parent) = self.open.last().and_then(|folder| folder.fd.as_ref()) else {
            return Err(DirectoryError::Moved { path: self.shown() });
        };
        let mut stat = None;
        if entry_type == EntryType::Unknown {
            let found = match rustix::fs::statat(parent, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => found,
                Err(error) => return self.unless_usual("look at", error),
            };
            entry_type = EntryType::from_raw_mode(found.st_mode);
            stat = Some(found);
        }
        if judge(&self.patterns, &self.path, entry_type == EntryType::Directory)
            == Some(PatternVerdict::Match)
        {
            self.report.add_excluded();
            return Ok(Outcome::Stored);
        }
        match entry_type {
            EntryType::RegularFile | EntryType::Directory => {
                let fd = match open_entry(parent, name, entry_type) {
                    Ok(fd) => fd,
                    // It is a symbolic link now, or a directory no more.
                    Err(Errno::LOOP | Errno::NOTDIR) => return Ok(Outcome::LeftOut(WarningKind::Changed)),
                    Err(error) => return self.unless_usual("open", error),
                };
                let stat = match rustix::fs::fstat(&fd) {
                    Ok(stat) => stat,
                    Err(error) => return self.unless_usual("look at", error),
                };
                if EntryType::from_raw_mode(stat.st_mode) != entry_type {
                    return Ok(Outcome::LeftOut(WarningKind::Changed));
                }
                if entry_type == EntryType::Directory {
                    self.add_folder(name, fd, &stat, parent_len)
                } else {
                    self.add_file(name, fd, &stat)
                }
            }
            _ => {
                let stat = match stat {
                    Some(stat) => stat,
                    None => match rustix::fs::statat(parent, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => stat,
                        Err(error) => return self.unless_usual("look at", error),
                    },
                };
                self.add_other(name, &stat)
            }
        }
    }

    fn add_folder(
        &mut self,
        name: &FileName,
        fd: OwnedFd,
        stat: &Stat,
        parent_len: usize,
    ) -> Result<Outcome, DirectoryError> {
        let metadata = self.metadata(&fd, stat)?;
        if let Err(error) = self.encoder.begin_directory(name, &metadata) {
            return self.unless_unstorable(error);
        }
        self.report.add_folder();
        let is_mount = self.open.last().is_some_and(|parent| parent.id.0 != stat.st_dev);
        let is_skipped = is_mount && {
            let is_allowed =
                self.options.filesystems == Filesystems::All || self.devices.contains(&stat.st_dev);
            !is_allowed || is_pseudo(&fd).map_err(|error| self.failed("look at the filesystem of", error))?
        };
        if is_skipped {
            self.report.warn(&self.path, WarningKind::OtherFilesystem);
            self.encoder
                .end_directory()
                .map_err(|source| DirectoryError::Encode { path: self.shown(), source })?;
            return Ok(Outcome::Stored);
        }
        self.enter(fd, stat, parent_len)?;
        Ok(Outcome::Stored)
    }

    fn add_file(&mut self, name: &FileName, fd: OwnedFd, stat: &Stat) -> Result<Outcome, DirectoryError> {
        let id = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(target) = self.links.get(&id)
        {
            return match self.encoder.add_hard_link(name, target) {
                Ok(()) => {
                    self.report.add_other();
                    Ok(Outcome::Stored)
                }
                Err(error) => self.unless_unstorable(error),
            };
        }
        let metadata = self.metadata(&fd, stat)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let target = match self.encoder.begin_file(name, &metadata, size) {
            Ok(target) => target,
            Err(error) => return self.unless_unstorable(error),
        };
        if stat.st_nlink > 1
            && let Some(target) = target
        {
            self.links.insert(id, target);
        }
        self.report.add_file();
        let path = self.path.clone();
        self.file = Some(OpenFile { file: File::from(fd), path, size, left: size, has_shrunk: false });
        Ok(Outcome::Stored)
    }

    fn add_other(&mut self, name: &FileName, stat: &Stat) -> Result<Outcome, DirectoryError> {
        let metadata = attributes::of_stat(stat);
        let added = match metadata.file_type() {
            Some(FileType::Symlink) => {
                let Some(parent) = self.open.last().and_then(|folder| folder.fd.as_ref()) else {
                    return Err(DirectoryError::Moved { path: self.shown() });
                };
                match rustix::fs::readlinkat(parent, name.as_bytes(), Vec::new()) {
                    Ok(target) => self.encoder.add_symlink(name, &metadata, target.as_bytes()),
                    Err(Errno::INVAL) => return Ok(Outcome::LeftOut(WarningKind::Changed)),
                    Err(error) => return self.unless_usual("read the link", error),
                }
            }
            Some(FileType::BlockDevice | FileType::CharDevice) => {
                let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                self.encoder.add_device(name, &metadata, (major.into(), minor.into()))
            }
            Some(FileType::Fifo | FileType::Socket) => self.encoder.add_special(name, &metadata),
            _ => return Ok(Outcome::LeftOut(WarningKind::Changed)),
        };
        match added {
            Ok(()) => {
                self.report.add_other();
                Ok(Outcome::Stored)
            }
            Err(error) => self.unless_unstorable(error),
        }
    }

    fn metadata(&self, fd: &OwnedFd, stat: &Stat) -> Result<Metadata, DirectoryError> {
        let mut metadata = attributes::of_stat(stat);
        let may_skip = self.options.may_skip_long_xattrs;
        match attributes::add_extended(&mut metadata, fd, may_skip) {
            Ok(true) => {}
            Ok(false) => self.report.warn(&self.path, WarningKind::LongAttributes),
            Err(source) => {
                let (what, path) = ("read the attributes of", self.shown());
                return Err(DirectoryError::Io { what, path, source });
            }
        }
        Ok(metadata)
    }

    /// Goes down into a directory whose entry was begun, or which is the root.
    fn enter(&mut self, fd: OwnedFd, stat: &Stat, path_len: usize) -> Result<(), DirectoryError> {
        let pattern_count = self.patterns.len();
        self.read_excludes(&fd);
        let names = self.list(&fd)?;
        self.names_held += names.len();
        let id = (stat.st_dev, stat.st_ino);
        self.open.push(Folder { fd: Some(fd), id, names: names.into_iter(), pattern_count, path_len });
        let far = self.open.len().checked_sub(OPEN_FOLDERS_MAX);
        if let Some(far) = far.and_then(|far| self.open.get_mut(far)) {
            far.fd = None;
        }
        Ok(())
    }

    fn list(&self, fd: &OwnedFd) -> Result<Vec<(FileName, EntryType)>, DirectoryError> {
        let failed = |error| self.failed("list the directory", error);
        let is_root = self.open.is_empty();
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || (is_root && name == EXCLUDE_CLI_NAME) {
                continue;
            }
            let max = self.options.entries_max;
            if names.len() + self.names_held + self.encoder.entries_held() >= max {
                return Err(DirectoryError::TooManyEntries { path: self.shown(), max });
            }
            let name = FileName::new(name);
            let name = name.map_err(|source| DirectoryError::Encode { path: self.shown(), source })?;
            names.push((name, entry.file_type()));
        }
        names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(names)
    }

    /// Ends the innermost directory.
    fn leave(&mut self) -> Result<(), DirectoryError> {
        let Some(folder) = self.open.pop() else { return Ok(()) };
        self.patterns.truncate(folder.pattern_count);
        if self.open.is_empty() {
            return self.finish();
        }
        let ended = self.encoder.end_directory();
        ended.map_err(|source| DirectoryError::Encode { path: self.shown(), source })?;
        self.path.truncate(folder.path_len);
        let Some(parent) = self.open.last_mut().filter(|parent| parent.fd.is_none()) else { return Ok(()) };
        let moved = || DirectoryError::Moved { path: String::from_utf8_lossy(&self.path).into_owned() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let child = folder.fd.as_ref().ok_or_else(moved)?;
        let fd = rustix::fs::openat(child, "..", flags, Mode::empty()).map_err(|_| moved())?;
        let stat = rustix::fs::fstat(&fd).map_err(|_| moved())?;
        if (stat.st_dev, stat.st_ino) != parent.id {
            return Err(moved());
        }
        parent.fd = Some(fd);
        Ok(())
    }

    /// Ends the archive: with the patterns that were given, so that a later reader knows what is missing (spec `pxar.md` §7).
    fn finish(&mut self) -> Result<(), DirectoryError> {
        let failed = |source| DirectoryError::Encode { path: String::new(), source };
        let mut text = Vec::new();
        for pattern in &self.options.excludes {
            text.extend_from_slice(pattern.as_bytes());
            text.push(b'\n');
        }
        if !text.is_empty() {
            let name = FileName::new(EXCLUDE_CLI_NAME).map_err(failed)?;
            let metadata = Metadata { mode: 0o100_600, ..Metadata::default() };
            self.encoder.begin_file(&name, &metadata, text.len() as u64).map_err(failed)?;
            let mut bytes = self.encoder.take();
            bytes.append(&mut text);
            self.pending = io::Cursor::new(bytes);
        }
        self.encoder.finish().map_err(failed)
    }

    /// Adds the patterns of a directory's own file to those that are there.
    fn read_excludes(&mut self, fd: &OwnedFd) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut path = self.path.clone();
        path.extend_from_slice(format!("/{EXCLUDE_NAME}").as_bytes());
        let file = match rustix::fs::openat(fd, EXCLUDE_NAME, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return,
            Err(_) => return self.report.warn(&path, WarningKind::Denied),
        };
        let mut text = Vec::new();
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        if !is_file || file.take(EXCLUDE_BYTES_MAX + 1).read_to_end(&mut text).is_err() {
            return self.report.warn(&path, WarningKind::Denied);
        }
        if text.len() as u64 > EXCLUDE_BYTES_MAX {
            // Half a line could leave out what it does not mean.
            text.truncate(text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0));
            self.report.warn(&path, WarningKind::BadPattern);
        }
        for line in text.split(|byte| *byte == b'\n') {
            match Pattern::from_line(&self.path, line) {
                Ok(pattern) => self.patterns.extend(pattern),
                Err(_) => self.report.warn(&path, WarningKind::BadPattern),
            }
        }
    }

    /// Tells what usually happens to files while they are read from what should stop the backup.
    fn unless_usual(&self, what: &'static str, error: Errno) -> Result<Outcome, DirectoryError> {
        match error {
            Errno::NOENT => Ok(Outcome::LeftOut(WarningKind::Vanished)),
            Errno::ACCESS | Errno::PERM => Ok(Outcome::LeftOut(WarningKind::Denied)),
            Errno::STALE => Ok(Outcome::LeftOut(WarningKind::Stale)),
            error => Err(self.failed(what, error)),
        }
    }

    fn unless_unstorable(&self, error: EncodeError) -> Result<Outcome, DirectoryError> {
        match error {
            EncodeError::Name { .. } | EncodeError::Target { .. } | EncodeError::Xattr { .. } => {
                Ok(Outcome::LeftOut(WarningKind::Unstorable))
            }
            source => Err(DirectoryError::Encode { path: self.shown(), source }),
        }
    }

    fn failed(&self, what: &'static str, error: Errno) -> DirectoryError {
        DirectoryError::Io { what, path: self.shown(), source: error.into() }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

impl Read for DirectorySource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let read = self.pending.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.pending = io::Cursor::new(self.encoder.take());
            if !self.pending.get_ref().is_empty() {
                continue;
            }
            if let Some(file) = &mut self.file {
                if file.left > 0 {
                    return file.read(buffer, &self.report);
                }
                file.check_end(&self.report);
                self.file = None;
            } else if self.open.is_empty() {
                return Ok(0);
            } else {
                self.step().map_err(io::Error::other)?;
            }
        }
    }
}

impl OpenFile {
    fn read(&mut self, buffer: &mut [u8], report: &DirectoryReport) -> io::Result<usize> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..len];
        let mut read = if self.has_shrunk { 0 } else { self.try_read(buffer)? };
        if read == 0 {
            if !self.has_shrunk {
                report.warn(&self.path, WarningKind::Shrank);
            }
            self.has_shrunk = true;
            buffer.fill(0);
            read = len;
        }
        self.left -= read as u64;
        Ok(read)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let path = String::from_utf8_lossy(&self.path).into_owned();
                    return Err(io::Error::other(DirectoryError::Io { what: "read", path, source }));
                }
                read => return read,
            }
        }
    }

    fn check_end(&self, report: &DirectoryReport) {
        if self.file.metadata().is_ok_and(|metadata| metadata.len() > self.size) {
            report.warn(&self.path, WarningKind::Grew);
        }
    }
}

/// Opens a file or directory without following a link, waiting for anybody, or changing its time of access where that is allowed.
fn open_entry(parent: &OwnedFd, name: &FileName, entry_type: EntryType) -> Result<OwnedFd, Errno> {
    let mut flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if entry_type == EntryType::Directory {
        flags |= OFlags::DIRECTORY;
    }
    match rustix::fs::openat(parent, name.as_bytes(), flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may.
        Err(Errno::PERM) => rustix::fs::openat(parent, name.as_bytes(), flags, Mode::empty()),
        opened => opened,
    }
}

fn is_pseudo(fd: impl AsFd) -> Result<bool, Errno> {
    let kind = rustix::fs::fstatfs(fd)?.f_type as u64 & 0xffff_ffff;
    Ok(PSEUDO.contains(&kind))
}
