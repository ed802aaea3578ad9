//! What is backed up: the items of a command line, checked before anything is sent.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use coldkeep_client::directory::{DirectoryOptions, DirectorySource};
use coldkeep_client::{ArchiveContent, BackupItem};

/// The path that stands for standard input.
const STDIN: &str = "-";

/// An item that can be read.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it goes, and how.
    pub(crate) item: BackupItem,
    /// Where it comes from.
    pub(crate) input: Input,
}

/// Where data comes from.
#[derive(Debug)]
pub(crate) enum Input {
    /// A regular file or a block device of this size.
    Sized(File, u64),
    /// A pipe or a character device.
    Endless(File),
    /// Standard input.
    Stdin,
    /// A directory.
    Directory(Box<DirectorySource>),
}

impl Source {
    /// Returns the size if it is known.
    pub(crate) fn size(&self) -> Option<u64> {
        match self.input {
            Input::Sized(_, size) => Some(size),
            Input::Endless(_) | Input::Stdin | Input::Directory(_) => None,
        }
    }
}

/// Opens every item, directories with these options; a name may be used once.
pub(crate) fn open_all(items: &[OsString], options: &DirectoryOptions) -> Result<Vec<Source>> {
    let mut sources: Vec<Source> = Vec::with_capacity(items.len());
    for text in items {
        let item = parse(text)?;
        if sources.iter().any(|other| other.item.archive == item.archive) {
            bail!("{} is given twice; each name may be used once", local_name(&item));
        }
        let failed = || format!("cannot back up {}", text.to_string_lossy());
        let input = open(&item, options).with_context(failed)?;
        sources.push(Source { item, input });
    }
    Ok(sources)
}

fn parse(text: &OsString) -> Result<BackupItem> {
    let shown = text.to_string_lossy();
    let failed = || {
        format!(
            "{shown:?} is no item; write NAME.pxar:PATH for a directory, NAME.img:PATH for a disk image, NAME.bin:PATH \
             for any other file or - for standard input, NAME.conf:PATH for a small file"
        )
    };
    BackupItem::parse(text).with_context(failed)
}

/// Returns the name without what the server appends.
fn local_name(item: &BackupItem) -> &str {
    let name = item.archive.as_str();
    name.rsplit_once('.').map_or(name, |(name, _)| name)
}

fn open(item: &BackupItem, options: &DirectoryOptions) -> Result<Input> {
    if item.path == Path::new(STDIN) {
        if item.content == ArchiveContent::Stream {
            return Ok(Input::Stdin);
        }
        bail!("only NAME.bin can come from standard input");
    }
    if item.content == ArchiveContent::Directory {
        return Ok(Input::Directory(Box::new(DirectorySource::open(&item.path, options.clone())?)));
    }
    let metadata = std::fs::metadata(&item.path).with_context(|| cannot_open(&item.path))?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        bail!("{} is a directory; write NAME.pxar:PATH for it", item.path.display());
    }
    let is_device = kind.is_block_device();
    let is_stream = item.content == ArchiveContent::Stream;
    let has_size = kind.is_file() || (is_device && item.content != ArchiveContent::Blob);
    if !has_size && !is_stream {
        let wanted = if item.content == ArchiveContent::Image {
            "a regular file or a block device"
        } else {
            "a regular file"
        };
        bail!("{} is not {wanted}", item.path.display());
    }
    if kind.is_socket() {
        bail!("{} is a socket", item.path.display());
    }
    let mut file = File::open(&item.path).with_context(|| cannot_open(&item.path))?;
    if !has_size {
        return Ok(Input::Endless(file));
    }
    // A block device tells its size only by its end.
    let size = file.seek(SeekFrom::End(0)).and_then(|size| file.rewind().map(|()| size));
    let size = size.with_context(|| format!("cannot tell the size of {}", item.path.display()))?;
    // Files below /proc and the like say 0 and have content all the same.
    if size == 0 && is_stream && !is_device {
        return Ok(Input::Endless(file));
    }
    if size == 0 && item.content == ArchiveContent::Image {
        bail!("{} is empty; an image must hold at least one byte", item.path.display());
    }
    Ok(Input::Sized(file, size))
}

fn cannot_open(path: &Path) -> String {
    format!("cannot open {}", PathBuf::from(path).display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(items: &[&str]) -> String {
        let items: Vec<OsString> = items.iter().map(OsString::from).collect();
        format!("{:#}", open_all(&items, &DirectoryOptions::default()).unwrap_err())
    }

    #[test]
    fn good_items_are_opened_in_order_with_their_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a:b");
        std::fs::write(&path, b"12345").unwrap();
        let item = |name: &str| OsString::from(format!("{name}:{}", path.display()));
        let items = [item("d.img"), item("s.bin"), item("s.conf"), "in.bin:-".into()];
        let sources = open_all(&items, &DirectoryOptions::default()).unwrap();
        let sizes: Vec<_> = sources.iter().map(|source| (local_name(&source.item), source.size())).collect();
        assert_eq!(sizes, [("d.img", Some(5)), ("s.bin", Some(5)), ("s.conf", Some(5)), ("in.bin", None)]);
    }

    #[test]
    fn bad_items_say_how_items_are_written() {
        for bad in ["disk.img", "disk.img:", ":/x", "disk:/x", "disk.xyz:/x", "a b.img:/x", "../x.img:/x"] {
            let error = errors(&[bad]);
            assert!(error.contains("NAME.img:PATH") && error.contains(bad), "{error}");
        }
        assert!(errors(&["root.pxar:/etc/passwd"]).contains("open the directory"));
        assert!(errors(&["a.img:-"]).contains("NAME.bin"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing").display().to_string();
        assert!(errors(&[&format!("d.img:{missing}")]).contains(&missing));
        let directory = folder.path().display().to_string();
        for name in ["d.img", "d.bin", "d.conf"] {
            let error = errors(&[&format!("{name}:{directory}")]);
            assert!(error.contains("is a directory") && error.contains("NAME.pxar"), "{error}");
        }
        let empty = folder.path().join("empty").display().to_string();
        std::fs::write(&empty, b"").unwrap();
        assert!(errors(&[&format!("d.img:{empty}")]).contains("is empty"));
        assert!(errors(&["d.img:/dev/null"]).contains("block device"));
        assert!(errors(&["d.conf:/dev/null"]).contains("regular file"));
    }

    #[test]
    fn a_name_is_used_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x").display().to_string();
        std::fs::write(&path, b"x").unwrap();
        let item = format!("d.img:{path}");
        assert!(errors(&[&item, &item]).contains("d.img is given twice"));
    }
}
