//! Making what an archive says.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType as EntryType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{self, Failed};
use super::error::ExtractError;
use super::options::{ExtractOptions, Extracted};
use crate::pxar::{Contents, Decoder, Event, FileName, FileType, HardLink, Metadata, Node, ReadAt};
use crate::zeros::is_zero;

/// Most directories that are open at once, on the way down; those above are opened anew on the way up.
const OPEN_FOLDERS_MAX: usize = 128;
/// How much of a file is read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Zeros are left out in whole pages of this size.
const PAGE_BYTES: usize = 4096;
/// Length of the header before the contents in a payload stream.
const PAYLOAD_HEADER_BYTES: u64 = 16;

/// Restores an archive, read from front to back, into the directory `target`, which is made if it is not there.
///
/// The contents of a split archive's files come from `payload`. Blocks; a file whose contents end early stays behind.
///
/// # Errors
/// [`ExtractError`]: what was restored before stays.
pub fn extract<R: Read>(
    archive: R,
    payload: Option<&dyn ReadAt>,
    target: &Path,
    options: &ExtractOptions,
) -> Result<Extracted, ExtractError> {
    let decoder = Decoder::new(archive)?;
    let shown = |what, source| ExtractError::Io { what, path: target.display().to_string(), source };
    make_target(target).map_err(|source| shown("make", source))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(target, flags, Mode::empty()).map_err(|error| shown("open", error.into()))?;
    let at_root = root.try_clone().map_err(|source| shown("open", source))?;
    let id = id_of(&root).map_err(|error| shown("look at", error.into()))?;
    let metadata = decoder.root().clone();
    let folder = Folder {
        name: None,
        metadata,
        is_wanted: options.patterns.is_empty(),
        made: Some(Made { fd: Some(root), id }),
    };
    let mut extractor = Extractor {
        root: at_root,
        payload,
        options,
        open: vec![folder],
        path: Vec::new(),
        done: Extracted::default(),
        buffer: vec![0; BUFFER_BYTES],
    };
    extractor.run(decoder)?;
    Ok(extractor.done)
}

struct Extractor<'a> {
    root: OwnedFd,
    payload: Option<&'a dyn ReadAt>,
    options: &'a ExtractOptions,
    open: Vec<Folder>,
    /// Path of the innermost directory, `/a/b`; the root's is empty.
    path: Vec<u8>,
    done: Extracted,
    buffer: Vec<u8>,
}

/// A directory on the way to the one that is restored.
struct Folder {
    /// None of the root.
    name: Option<FileName>,
    metadata: Metadata,
    is_wanted: bool,
    /// `None` until something in it is wanted.
    made: Option<Made>,
}

struct Made {
    /// `None` while very many are open below it.
    fd: Option<OwnedFd>,
    id: (u64, u64),
}

impl Extractor<'_> {
    fn run<R: Read>(&mut self, mut decoder: Decoder<R>) -> Result<(), ExtractError> {
        while let Some(event) = decoder.next_event()? {
            let Event::Entry(entry) = event else {
                self.leave()?;
                continue;
            };
            let name = &entry.name;
            let parent_len = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(name.as_bytes());
            let is_directory = matches!(entry.node, Node::Directory(_));
            let is_parent_wanted = self.open.last().is_some_and(|folder| folder.is_wanted);
            let is_wanted = self.options.wants(&self.path, is_directory, is_parent_wanted);
            match entry.node {
                Node::Directory(metadata) => {
                    self.open.push(Folder { name: Some(name.clone()), metadata, is_wanted, made: None });
                    if is_wanted {
                        self.make_folders()?;
                    }
                    continue;
                }
                _ if !is_wanted => {}
                Node::File(metadata, contents) => self.make_file(name, &metadata, contents, &mut decoder)?,
                Node::HardLink(link) => self.make_hard_link(name, &link)?,
                Node::Symlink(metadata, link_target) => self.make_symlink(name, &metadata, &link_target)?,
                Node::Device(metadata, numbers) => self.make_node(name, &metadata, numbers)?,
                Node::Special(metadata) => self.make_node(name, &metadata, (0, 0))?,
            }
            self.path.truncate(parent_len);
        }
        Ok(())
    }

    /// Makes the directories on the way that are not made yet, and returns the innermost one.
    fn make_folders(&mut self) -> Result<&OwnedFd, ExtractError> {
        let first = self.open.iter().position(|folder| folder.made.is_none()).unwrap_or(self.open.len());
        for at in first..self.open.len() {
            let (above, below) = self.open.split_at_mut(at);
            let folder = &mut below[0];
            let parent =
                above.last().and_then(|parent| parent.made.as_ref()).and_then(|made| made.fd.as_ref());
            let (Some(parent), Some(name)) = (parent, &folder.name) else { return Err(self.moved()) };
            let fd = match rustix::fs::mkdirat(parent, name.as_bytes(), Mode::RWXU) {
                Err(Errno::EXIST) if !self.options.allow_existing_dirs => return Err(self.exists()),
                Ok(()) | Err(Errno::EXIST) => open_folder(parent, name.as_bytes()),
                Err(error) => return Err(self.failed("make the directory", error)),
            };
            let fd = match fd {
                // Something else is there: a link, which is not followed, or a file.
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(self.exists()),
                Err(error) => return Err(self.failed("open the directory", error)),
                Ok(fd) => fd,
            };
            let id = id_of(&fd).map_err(|error| self.failed("look at", error))?;
            self.open[at].made = Some(Made { fd: Some(fd), id });
            self.done.folders += 1;
            if let Some(far) = at.checked_sub(OPEN_FOLDERS_MAX)
                && let Some(made) = &mut self.open[far].made
            {
                made.fd = None;
            }
        }
        let made = self.open.last().and_then(|folder| folder.made.as_ref());
        made.and_then(|made| made.fd.as_ref()).ok_or_else(|| self.moved())
    }

    /// Ends the innermost directory: its metadata comes last, so that its content does not change it.
    fn leave(&mut self) -> Result<(), ExtractError> {
        let Some(folder) = self.open.pop() else { return Ok(()) };
        if let Some(made) = folder.made {
            let fd = made.fd.ok_or_else(|| self.moved())?;
            if let Some(parent) = self.open.last_mut().and_then(|parent| parent.made.as_mut())
                && parent.fd.is_none()
            {
                let above = open_folder(&fd, b"..").ok().filter(|above| id_of(above) == Ok(parent.id));
                parent.fd = above;
                if parent.fd.is_none() {
                    return Err(self.moved());
                }
            }
            if folder.name.is_none() {
                self.done.folders += 1;
            }
            let applied = attributes::apply(&fd, &folder.metadata, self.options);
            applied.map_err(|failed| self.refused(failed))?;
        }
        if let Some(name) = folder.name {
            self.path.truncate(self.path.len() - name.as_bytes().len() - 1);
        }
        Ok(())
    }

    fn make_file<R: Read>(
        &mut self,
        name: &FileName,
        metadata: &Metadata,
        contents: Contents,
        decoder: &mut Decoder<R>,
    ) -> Result<(), ExtractError> {
        let may_overwrite = self.options.overwrite_files;
        if matches!(contents, Contents::Elsewhere(_)) && self.payload.is_none() {
            // Before anything that is there is emptied.
            return Err(ExtractError::NoPayload { path: self.shown() });
        }
        let parent = self.make_folders()?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let create =
            || rustix::fs::openat(parent, name.as_bytes(), flags | OFlags::CREATE | OFlags::EXCL, mode);
        let opened = match create() {
            Err(Errno::EXIST) if may_overwrite => {
                let opened = rustix::fs::openat(parent, name.as_bytes(), flags, mode);
                opened.and_then(|fd| match link_count(&fd)? {
                    0 => Err(Errno::EXIST),
                    // Nobody but the owner may read what comes now.
                    1 => rustix::fs::fchmod(&fd, mode).map(|()| fd),
                    // Its other names keep what they have, wherever they are.
                    _ => rustix::fs::unlinkat(parent, name.as_bytes(), AtFlags::empty())
                        .and_then(|()| create()),
                })
            }
            opened => opened,
        };
        let fd = match opened {
            Err(Errno::EXIST | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Err(self.exists()),
            Err(error) => return Err(self.failed("make the file", error)),
            Ok(fd) => fd,
        };
        let file = File::from(fd);
        file.set_len(0).map_err(|source| self.io("empty", source))?;
        match contents {
            Contents::Here { size, .. } => self.copy(&file, &mut decoder.contents(), size)?,
            Contents::Elsewhere(payload) => {
                let Some(stream) = self.payload else {
                    return Err(ExtractError::NoPayload { path: self.shown() });
                };
                let at = payload.offset.saturating_add(PAYLOAD_HEADER_BYTES);
                self.copy(&file, &mut At { stream, at }, payload.size)?;
            }
        }
        attributes::apply(&file, metadata, self.options).map_err(|failed| self.refused(failed))?;
        self.done.files += 1;
        Ok(())
    }

    /// Writes so many bytes, with holes for pages of zeros.
    fn copy(&mut self, file: &File, contents: &mut dyn Read, size: u64) -> Result<(), ExtractError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let copied = (|| {
            let mut at = 0;
            while at < size {
                let len = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
                let piece = &mut buffer[..len];
                contents.read_exact(piece).map_err(|source| self.io("read the contents of", source))?;
                write_sparse(file, piece, at).map_err(|source| self.io("write", source))?;
                at += len as u64;
            }
            file.set_len(size).map_err(|source| self.io("write", source))
        })();
        self.buffer = buffer;
        if copied.is_ok() {
            self.done.bytes = self.done.bytes.saturating_add(size);
        }
        copied
    }

    fn make_symlink(
        &mut self,
        name: &FileName,
        metadata: &Metadata,
        link_target: &[u8],
    ) -> Result<(), ExtractError> {
        let may_overwrite = self.options.overwrite_symlinks;
        let parent = self.make_folders()?;
        let mut made = rustix::fs::symlinkat(link_target, parent, name.as_bytes());
        if made == Err(Errno::EXIST) && may_overwrite && type_of(parent, name) == Some(EntryType::Symlink) {
            made = rustix::fs::unlinkat(parent, name.as_bytes(), AtFlags::empty())
                .and_then(|()| rustix::fs::symlinkat(link_target, parent, name.as_bytes()));
        }
        self.made(name, metadata, "make the link", made)
    }

    fn make_node(
        &mut self,
        name: &FileName,
        metadata: &Metadata,
        (major, minor): (u64, u64),
    ) -> Result<(), ExtractError> {
        let (kind, is_device) = match metadata.file_type() {
            Some(FileType::BlockDevice) => (EntryType::BlockDevice, true),
            Some(FileType::CharDevice) => (EntryType::CharacterDevice, true),
            Some(FileType::Socket) => (EntryType::Socket, false),
            _ => (EntryType::Fifo, false),
        };
        let skips = is_device && self.options.ignore_device_errors;
        let number = u32::try_from(major).ok().zip(u32::try_from(minor).ok());
        let parent = self.make_folders()?;
        let made = match number {
            Some((major, minor)) => {
                let device = rustix::fs::makedev(major, minor);
                rustix::fs::mknodat(parent, name.as_bytes(), kind, Mode::RUSR | Mode::WUSR, device)
            }
            None => Err(Errno::INVAL),
        };
        if skips && made.is_err() {
            self.done.skipped_devices += 1;
            return Ok(());
        }
        self.made(name, metadata, "make", made)
    }

    fn made(
        &mut self,
        name: &FileName,
        metadata: &Metadata,
        what: &'static str,
        made: Result<(), Errno>,
    ) -> Result<(), ExtractError> {
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(self.exists()),
            Err(error) => return Err(self.failed(what, error)),
        }
        let options = self.options;
        let parent = self.make_folders()?;
        let applied = attributes::apply_by_name(parent, name.as_bytes(), metadata, options);
        applied.map_err(|failed| self.refused(failed))?;
        self.done.others += 1;
        Ok(())
    }

    fn make_hard_link(&mut self, name: &FileName, link: &HardLink) -> Result<(), ExtractError> {
        let may_overwrite = self.options.overwrite_hard_links;
        let source = self.find(&link.path);
        let Some((folder, source_name)) = source else {
            let target = String::from_utf8_lossy(&link.path).into_owned();
            return Err(ExtractError::LinkTarget { path: self.shown(), target });
        };
        let parent = self.make_folders()?;
        let make =
            || rustix::fs::linkat(&folder, source_name.as_bytes(), parent, name.as_bytes(), AtFlags::empty());
        let mut made = make();
        if made == Err(Errno::EXIST) && may_overwrite && type_of(parent, name) == Some(EntryType::RegularFile)
        {
            // What is one file already must not be removed to be linked to itself.
            made = if is_same(parent, name, &folder, &source_name) {
                Ok(())
            } else {
                rustix::fs::unlinkat(parent, name.as_bytes(), AtFlags::empty()).and_then(|()| make())
            };
        }
        match made {
            Ok(()) => {
                self.done.others += 1;
                Ok(())
            }
            Err(Errno::EXIST) => Err(self.exists()),
            Err(error) => Err(self.failed("make the hard link", error)),
        }
    }

    /// Finds a regular file below the target by its path from there, without following links.
    fn find(&self, path: &[u8]) -> Option<(OwnedFd, FileName)> {
        let mut folder = self.root.try_clone().ok()?;
        let mut names = path.split(|byte| *byte == b'/').map(|name| FileName::new(name).ok());
        let mut name = names.next()??;
        for next in names {
            folder = open_folder(&folder, name.as_bytes()).ok()?;
            name = next?;
        }
        (type_of(&folder, &name) == Some(EntryType::RegularFile)).then_some((folder, name))
    }

    fn failed(&self, what: &'static str, error: Errno) -> ExtractError {
        self.io(what, error.into())
    }

    fn refused(&self, (what, source): Failed) -> ExtractError {
        self.io(what, source)
    }

    fn io(&self, what: &'static str, source: std::io::Error) -> ExtractError {
        ExtractError::Io { what, path: self.shown(), source }
    }

    fn exists(&self) -> ExtractError {
        ExtractError::Exists { path: self.shown() }
    }

    fn moved(&self) -> ExtractError {
        ExtractError::Moved { path: self.shown() }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

/// Contents of a file in a payload stream.
struct At<'a> {
    stream: &'a dyn ReadAt,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.stream.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Writes the pages that are not zero, each run of them at once.
fn write_sparse(file: &File, data: &[u8], position: u64) -> std::io::Result<()> {
    let mut run_start = 0;
    let write = |run: &[u8], start: usize| {
        if run.is_empty() { Ok(()) } else { file.write_all_at(run, position + start as u64) }
    };
    for (number, page) in data.chunks(PAGE_BYTES).enumerate() {
        if is_zero(page) {
            let start = number * PAGE_BYTES;
            write(&data[run_start..start], run_start)?;
            run_start = start + page.len();
        }
    }
    write(&data[run_start..], run_start)
}

fn make_target(target: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(target)
}

fn open_folder(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn id_of(fd: &OwnedFd) -> Result<(u64, u64), Errno> {
    rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Returns how many names a regular file has; 0 if it is none.
fn link_count(fd: &OwnedFd) -> Result<u64, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    let is_file = EntryType::from_raw_mode(stat.st_mode) == EntryType::RegularFile;
    Ok(if is_file { stat.st_nlink.max(1) } else { 0 })
}

/// Tells whether two names are of one file.
fn is_same(parent: &OwnedFd, name: &FileName, other_parent: &OwnedFd, other: &FileName) -> bool {
    let id = |folder: &OwnedFd, name: &FileName| {
        let stat = rustix::fs::statat(folder, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    id(parent, name).is_some_and(|one| id(other_parent, other) == Some(one))
}

fn type_of(parent: &OwnedFd, name: &FileName) -> Option<EntryType> {
    let stat = rustix::fs::statat(parent, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(EntryType::from_raw_mode(stat.st_mode))
}
