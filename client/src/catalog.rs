//! Catalogs: the names of all files in the archives of a snapshot, to look through without the archives (spec `formats.md` §8).
//!
//! Only snapshots with unified archives have one.

use std::io::{self, Write};

use crate::pxar::{FileName, ReadAt};

/// How a catalog begins.
const MAGIC: [u8; 8] = [0x91, 0xfd, 0x60, 0xf9, 0xc4, 0x67, 0x58, 0xd5];
/// Names are shorter than this.
const NAME_BYTES_END: u64 = 4096;
/// Largest table that is read: of a directory with about three million files.
const TABLE_BYTES_MAX: u64 = 64 << 20;

/// What an entry of a catalog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogKind {
    /// A directory, or an archive.
    Directory,
    /// A regular file.
    File {
        /// Its size in bytes.
        size: u64,
        /// Last change of its content, in whole seconds since 1970.
        mtime: i64,
    },
    /// A symbolic link.
    Symlink,
    /// Another name of a file.
    HardLink,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl CatalogKind {
    /// Returns the letter that stands for it.
    pub const fn letter(self) -> u8 {
        match self {
            Self::Directory => b'd',
            Self::File { .. } => b'f',
            Self::Symlink => b'l',
            Self::HardLink => b'h',
            Self::BlockDevice => b'b',
            Self::CharDevice => b'c',
            Self::Fifo => b'p',
            Self::Socket => b's',
        }
    }
}

/// An entry of a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogEntry {
    /// Its name.
    pub name: FileName,
    /// What it is.
    pub kind: CatalogKind,
    /// Where a directory's own entries are.
    table: Option<u64>,
}

/// A catalog is damaged or cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// Reading failed.
    #[error("cannot read the catalog at byte {at}")]
    Read {
        /// Where.
        at: u64,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// It is no catalog.
    #[error("this is no catalog, or one of an unknown version")]
    Magic,
    /// What stands there has no meaning.
    #[error("the catalog is damaged: the table at byte {at} has an impossible {what}")]
    Damaged {
        /// Where the table begins.
        at: u64,
        /// What of it is meant.
        what: &'static str,
    },
    /// A directory has more entries than are read at once.
    #[error("the table at byte {at} of the catalog has {len} bytes, more than {TABLE_BYTES_MAX}")]
    TooLarge {
        /// Where the table begins.
        at: u64,
        /// Its length.
        len: u64,
    },
    /// A name is 4,096 bytes long, which archives may have and catalogs may not, or directories were begun and ended in a way that makes
    /// no tree.
    #[error("{what} cannot be in a catalog")]
    Unfit {
        /// What.
        what: String,
    },
}

/// Writes a catalog while its archives are written.
#[derive(Debug)]
pub struct CatalogWriter<W> {
    out: W,
    at: u64,
    /// Directories that were begun; the first one holds the archives.
    open: Vec<Table>,
}

#[derive(Debug, Default)]
struct Table {
    name: Option<FileName>,
    count: u64,
    /// Entries before the first directory, and behind each: where directories are is known when the table is written.
    parts: Vec<(Vec<u8>, u64)>,
    rest: Vec<u8>,
}

impl<W: Write> CatalogWriter<W> {
    /// Begins a catalog.
    ///
    /// # Errors
    /// [`CatalogError::Read`] if it cannot be written.
    pub fn new(out: W) -> Result<Self, CatalogError> {
        let mut writer = Self { out, at: 0, open: vec![Table::default()] };
        writer.write(&MAGIC)?;
        Ok(writer)
    }

    /// Begins an archive, by its name in the snapshot (`root.pxar.didx`), or a directory in one.
    ///
    /// # Errors
    /// [`CatalogError::Unfit`].
    pub fn begin_directory(&mut self, name: &FileName) -> Result<(), CatalogError> {
        check_name(name)?;
        self.open.push(Table { name: Some(name.clone()), ..Table::default() });
        Ok(())
    }

    /// Adds an entry that is no directory to the one that was begun last.
    ///
    /// # Errors
    /// [`CatalogError::Unfit`].
    pub fn add(&mut self, name: &FileName, kind: CatalogKind) -> Result<(), CatalogError> {
        check_name(name)?;
        if kind == CatalogKind::Directory || self.open.len() < 2 {
            return Err(CatalogError::Unfit { what: name.to_string() });
        }
        let table = self.open.last_mut().ok_or_else(unnested)?;
        table.count += 1;
        put_name(&mut table.rest, kind, name);
        if let CatalogKind::File { size, mtime } = kind {
            put_u64(&mut table.rest, size);
            put_i64(&mut table.rest, mtime);
        }
        Ok(())
    }

    /// Ends the directory or archive that was begun last.
    ///
    /// # Errors
    /// [`CatalogError::Unfit`], [`CatalogError::Read`] if it cannot be written.
    pub fn end_directory(&mut self) -> Result<(), CatalogError> {
        if self.open.len() < 2 {
            return Err(unnested());
        }
        let Some(Table { name: Some(name), .. }) = self.open.last() else { return Err(unnested()) };
        let name = name.clone();
        let start = self.write_table()?;
        let parent = self.open.last_mut().ok_or_else(unnested)?;
        parent.count += 1;
        put_name(&mut parent.rest, CatalogKind::Directory, &name);
        let part = std::mem::take(&mut parent.rest);
        parent.parts.push((part, start));
        Ok(())
    }

    /// Ends the catalog and returns what it was written to.
    ///
    /// # Errors
    /// [`CatalogError::Unfit`], [`CatalogError::Read`] if it cannot be written.
    pub fn finish(mut self) -> Result<W, CatalogError> {
        if self.open.len() != 1 {
            return Err(unnested());
        }
        let start = self.write_table()?;
        self.write(&start.to_le_bytes())?;
        self.out.flush().map_err(|source| CatalogError::Read { at: self.at, source })?;
        Ok(self.out)
    }

    /// Writes the table that was begun last, and returns where it begins.
    fn write_table(&mut self) -> Result<u64, CatalogError> {
        let Table { count, parts, rest, .. } = self.open.pop().ok_or_else(unnested)?;
        let start = self.at;
        let mut table = Vec::new();
        put_u64(&mut table, count);
        for (part, child) in parts {
            table.extend(part);
            put_u64(&mut table, start - child);
        }
        table.extend(rest);
        let mut len = Vec::new();
        put_u64(&mut len, table.len() as u64);
        self.write(&len)?;
        self.write(&table)?;
        Ok(start)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CatalogError> {
        self.out.write_all(bytes).map_err(|source| CatalogError::Read { at: self.at, source })?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// A catalog, whose directories are read as they are asked for.
#[derive(Debug)]
pub struct Catalog<S> {
    stream: S,
    root: u64,
}

impl<S: ReadAt> Catalog<S> {
    /// Opens a catalog.
    ///
    /// # Errors
    /// [`CatalogError::Magic`], [`CatalogError::Read`].
    pub fn open(stream: S) -> Result<Self, CatalogError> {
        let mut catalog = Self { stream, root: 0 };
        let len = catalog.stream.len();
        if len < 16 || catalog.read(0, 8)? != MAGIC {
            return Err(CatalogError::Magic);
        }
        let root = catalog.read(len - 8, 8)?;
        catalog.root = root.try_into().map_or(0, u64::from_le_bytes);
        Ok(catalog)
    }

    /// Lists the archives: a directory each.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn archives(&self) -> Result<Vec<CatalogEntry>, CatalogError> {
        self.table(self.root)
    }

    /// Lists what is in a directory; nothing for an entry that is none.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn entries(&self, directory: &CatalogEntry) -> Result<Vec<CatalogEntry>, CatalogError> {
        directory.table.map_or(Ok(Vec::new()), |table| self.table(table))
    }

    fn table(&self, at: u64) -> Result<Vec<CatalogEntry>, CatalogError> {
        let damaged = |what| CatalogError::Damaged { at, what };
        // Tables end where the place of the root stands.
        let room = (self.stream.len() - 8).checked_sub(at).filter(|_| at >= 8).ok_or(damaged("place"))?;
        let head = self.read(at, usize::try_from(room.min(10)).unwrap_or(10))?;
        let mut rest = &head[..];
        let len = take_u64(&mut rest).ok_or(damaged("length"))?;
        let head_len = (head.len() - rest.len()) as u64;
        if len > room - head_len {
            return Err(damaged("length"));
        }
        if len > TABLE_BYTES_MAX {
            return Err(CatalogError::TooLarge { at, len });
        }
        let table = self.read(at + head_len, usize::try_from(len).unwrap_or(usize::MAX))?;
        let mut rest = &table[..];
        let count = take_u64(&mut rest).ok_or(damaged("count"))?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(take_entry(&mut rest, at)?);
        }
        if rest.is_empty() { Ok(entries) } else { Err(damaged("count")) }
    }

    fn read(&self, at: u64, len: usize) -> Result<Vec<u8>, CatalogError> {
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match self.stream.read_at(&mut bytes[filled..], at + filled as u64) {
                Ok(0) => {
                    let source = io::ErrorKind::UnexpectedEof.into();
                    return Err(CatalogError::Read { at, source });
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(CatalogError::Read { at, source }),
            }
        }
        Ok(bytes)
    }
}

fn take_entry(rest: &mut &[u8], at: u64) -> Result<CatalogEntry, CatalogError> {
    let damaged = |what| CatalogError::Damaged { at, what };
    let (letter, behind) = rest.split_first().ok_or(damaged("count"))?;
    *rest = behind;
    let len = take_u64(rest).filter(|len| *len < NAME_BYTES_END).ok_or(damaged("name"))?;
    let name = rest.split_at_checked(usize::try_from(len).unwrap_or(usize::MAX)).ok_or(damaged("name"))?;
    *rest = name.1;
    let name = FileName::new(name.0).map_err(|_| damaged("name"))?;
    let mut table = None;
    let kind = match letter {
        b'd' => {
            let distance = take_u64(rest).filter(|distance| *distance > 0).ok_or(damaged("directory"))?;
            // Backwards always, so a way down has an end.
            table = Some(at.checked_sub(distance).ok_or(damaged("directory"))?);
            CatalogKind::Directory
        }
        b'f' => {
            let size = take_u64(rest).ok_or(damaged("size"))?;
            CatalogKind::File { size, mtime: take_i64(rest).ok_or(damaged("time"))? }
        }
        b'l' => CatalogKind::Symlink,
        b'h' => CatalogKind::HardLink,
        b'b' => CatalogKind::BlockDevice,
        b'c' => CatalogKind::CharDevice,
        b'p' => CatalogKind::Fifo,
        b's' => CatalogKind::Socket,
        _ => return Err(damaged("type")),
    };
    Ok(CatalogEntry { name, kind, table })
}

fn check_name(name: &FileName) -> Result<(), CatalogError> {
    let is_short = (name.as_bytes().len() as u64) < NAME_BYTES_END;
    if is_short { Ok(()) } else { Err(CatalogError::Unfit { what: name.to_string() }) }
}

fn unnested() -> CatalogError {
    CatalogError::Unfit { what: "what is no tree of directories".to_owned() }
}

fn put_name(out: &mut Vec<u8>, kind: CatalogKind, name: &FileName) {
    out.push(kind.letter());
    put_u64(out, name.as_bytes().len() as u64);
    out.extend_from_slice(name.as_bytes());
}

/// Seven bits a byte, the lowest first; all bytes but the last have the high bit.
fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The same, and for a negative number its amount with the high bit in all bytes, and a zero behind.
fn put_i64(out: &mut Vec<u8>, value: i64) {
    let mut amount = value.unsigned_abs();
    if value >= 0 {
        return put_u64(out, amount);
    }
    while amount > 0 {
        out.push(amount as u8 | 0x80);
        amount >>= 7;
    }
    out.push(0);
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        let bits = u64::from(byte & 0x7f);
        // Of the tenth byte only one bit fits.
        if shift > 63 || (shift == 63 && bits > 1) {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
    }
}

fn take_i64(rest: &mut &[u8]) -> Option<i64> {
    // A negative number is one whose last byte is a zero behind others.
    let end = rest.iter().take(11).position(|byte| byte & 0x80 == 0)?;
    if end == 0 || rest[end] != 0 {
        return i64::try_from(take_u64(rest)?).ok();
    }
    let (number, behind) = rest.split_at(end + 1);
    *rest = behind;
    let mut amount = 0_u64;
    for (place, byte) in number[..end].iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        if place == 9 && bits > 1 {
            return None;
        }
        amount |= bits << (7 * place);
    }
    0_i64.checked_sub_unsigned(amount)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> FileName {
        FileName::new(text).unwrap()
    }

    fn sample() -> Vec<u8> {
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors/catalog/small.pcat1")).unwrap()
    }

    #[test]
    fn the_sample_is_read_and_written_byte_for_byte() {
        let bytes = sample();
        let catalog = Catalog::open(&bytes[..]).unwrap();
        let [archive] = &catalog.archives().unwrap()[..] else { panic!("one archive") };
        assert_eq!(archive.name, name("root.pxar.didx"));
        let [sub, old] = &catalog.entries(archive).unwrap()[..] else { panic!("two entries") };
        assert_eq!((&sub.name, sub.kind), (&name("sub"), CatalogKind::Directory));
        assert_eq!((&old.name, old.kind), (&name("old"), CatalogKind::File { size: 300, mtime: -1 }));
        let [hello, link] = &catalog.entries(sub).unwrap()[..] else { panic!("two entries") };
        let kind = CatalogKind::File { size: 5, mtime: 1_700_000_000 };
        assert_eq!((&hello.name, hello.kind), (&name("hello.txt"), kind));
        assert_eq!((&link.name, link.kind), (&name("link"), CatalogKind::Symlink));
        assert_eq!(catalog.entries(link).unwrap(), []);

        let mut writer = CatalogWriter::new(Vec::new()).unwrap();
        writer.begin_directory(&archive.name).unwrap();
        writer.begin_directory(&sub.name).unwrap();
        for entry in [hello, link] {
            writer.add(&entry.name, entry.kind).unwrap();
        }
        writer.end_directory().unwrap();
        writer.add(&old.name, old.kind).unwrap();
        writer.end_directory().unwrap();
        assert_eq!(writer.finish().unwrap(), bytes);
    }

    #[test]
    fn numbers_are_written_as_published() {
        for (value, expected) in
            [(0, &[0][..]), (300, &[0xac, 2]), (-1, &[0x81, 0]), (-128, &[0x80, 0x81, 0])]
        {
            let mut bytes = Vec::new();
            put_i64(&mut bytes, value);
            assert_eq!(bytes, expected, "{value}");
        }
        let mut longest = Vec::new();
        put_i64(&mut longest, i64::MIN);
        assert_eq!(longest.len(), 11);
        assert_eq!(take_i64(&mut &longest[..]), Some(i64::MIN));
        for wrong in [&[0x80][..], &[0xff; 12], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]] {
            assert_eq!((take_u64(&mut &wrong[..]), take_i64(&mut &wrong[..])), (None, None), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let mut writer = CatalogWriter::new(Vec::new()).unwrap();
        assert!(matches!(writer.end_directory(), Err(CatalogError::Unfit { .. })));
        assert!(matches!(writer.add(&name("a"), CatalogKind::Fifo), Err(CatalogError::Unfit { .. })));
        let long = FileName::new(vec![b'a'; 4096]).unwrap();
        assert!(matches!(writer.begin_directory(&long), Err(CatalogError::Unfit { .. })));
        writer.begin_directory(&name("a")).unwrap();
        assert!(matches!(writer.finish(), Err(CatalogError::Unfit { .. })));
    }

    /// Lists everything; nothing may panic or go on for ever.
    fn walk(bytes: &[u8]) {
        let Ok(catalog) = Catalog::open(bytes) else { return };
        let mut open = catalog.archives().unwrap_or_default();
        let mut looks = 0;
        while let Some(entry) = open.pop() {
            looks += 1;
            if looks > 1000 {
                // Two entries may lead to one table, so a crafted catalog can show more than it has.
                return;
            }
            open.extend(catalog.entries(&entry).unwrap_or_default());
        }
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_written(value: i64, unsigned: u64) {
            let mut bytes = Vec::new();
            put_i64(&mut bytes, value);
            put_u64(&mut bytes, unsigned);
            let mut rest = &bytes[..];
            prop_assert_eq!(take_i64(&mut rest), Some(value));
            prop_assert_eq!(take_u64(&mut rest), Some(unsigned));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn changed_catalogs_are_catalogs_or_errors(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
            let mut bytes = sample();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            walk(&bytes);
            walk(&bytes[..bytes.len() / 2]);
        }
    }
}
