//! Reading single entries of an archive, wherever they are (spec `pxar.md` §4.5).

use std::io::{self, BufReader, Read};

use super::decoder::{Entry, HardLink, Items, Node};
use super::error::DecodeError;
use super::goodbye::{ROW_BYTES, Row, hash};
use super::item::{HEADER_BYTES, Header, Kind};
use super::metadata::Metadata;
use super::name::FileName;

/// Most entries of one directory that are listed.
const ENTRIES_MAX: u64 = 8 << 20;

/// How much is read at once of an entry: names, metadata and some attributes.
const READ_BYTES: usize = 1024;

/// How much is read at once of a table.
const TABLE_BYTES: usize = 64 << 10;

/// Something that is read at any place: a file, or an archive in a snapshot.
pub trait ReadAt {
    /// Reads into the buffer what stands at `offset`, as [`Read::read`] does; 0 only at the end.
    ///
    /// # Errors
    /// Whatever prevents it.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns how many bytes there are.
    fn len(&self) -> u64;

    /// Tells whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(<[u8]>::len(self));
        let mut rest = &self[start..];
        rest.read(buffer)
    }

    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }

    fn len(&self) -> u64 {
        (**self).len()
    }
}

/// A unified archive, or the metadata stream of a split one, whose entries are found by name or listed by directory.
///
/// Nothing is believed: an entry is always inside its directory, before its table, and those of a list do not overlap. So a walk over
/// all directories of a hostile archive ends, and visits no byte twice.
#[derive(Debug)]
pub struct Archive<S> {
    stream: S,
    is_split: bool,
    prelude: Option<Vec<u8>>,
    root: Directory,
}

/// A directory of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Its metadata.
    pub metadata: Metadata,
    at: u64,
    table_at: u64,
    entry_count: u64,
}

impl Directory {
    /// Returns how many entries it has.
    pub const fn entry_count(&self) -> u64 {
        self.entry_count
    }
}

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    at: u64,
    end: u64,
}

impl Place {
    /// Returns where the entry begins, which is no other's place: good as the number of an inode. Hard links are to be followed first.
    pub const fn at(&self) -> u64 {
        self.at
    }
}

impl<S: ReadAt> Archive<S> {
    /// Opens an archive.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn open(stream: S) -> Result<Self, DecodeError> {
        let end = stream.len();
        let mut items = items(&stream, 0, end);
        let (is_split, prelude) = items.head()?;
        let at = items.at();
        let Node::Directory(metadata) = items.entry()? else { return Err(DecodeError::Misplaced { at }) };
        let root = directory(&stream, Place { at: 0, end }, metadata)?;
        if root.at != 0 {
            return Err(DecodeError::Value { at: root.table_at, what: "table" });
        }
        Ok(Self { stream, is_split, prelude, root })
    }

    /// Tells whether this is the metadata stream of a split archive.
    pub const fn is_split(&self) -> bool {
        self.is_split
    }

    /// Returns the prelude of a split archive.
    pub fn prelude(&self) -> Option<&[u8]> {
        self.prelude.as_deref()
    }

    /// Returns the root.
    pub const fn root(&self) -> &Directory {
        &self.root
    }

    /// Returns the stream.
    pub const fn stream(&self) -> &S {
        &self.stream
    }

    /// Lists where the entries of a directory are, in the order of the archive: that of their names, if its writer kept to it.
    ///
    /// # Errors
    /// [`DecodeError`]; [`DecodeError::TooManyEntries`] with more than 8 Mi of them.
    pub fn places(&self, directory: &Directory) -> Result<Vec<Place>, DecodeError> {
        if directory.entry_count > ENTRIES_MAX {
            return Err(DecodeError::TooManyEntries { at: directory.table_at, max: ENTRIES_MAX });
        }
        let rows_at = directory.table_at + HEADER_BYTES as u64;
        let rows_end = rows_at + directory.entry_count * ROW_BYTES as u64;
        let section = Section { stream: &self.stream, at: rows_at, end: rows_end };
        let mut rows = BufReader::with_capacity(TABLE_BYTES, section);
        let mut places = Vec::new();
        for _ in 0..directory.entry_count {
            let mut row = [0; ROW_BYTES];
            rows.read_exact(&mut row)
                .map_err(|source| DecodeError::Read { at: directory.table_at, source })?;
            places.push(place(directory, Row::parse(&row))?);
        }
        places.sort_unstable_by_key(|place| place.at);
        for at in 1..places.len() {
            let next = places[at].at;
            if places[at - 1].at == next {
                return Err(DecodeError::Value { at: directory.table_at, what: "table" });
            }
            places[at - 1].end = places[at - 1].end.min(next);
        }
        Ok(places)
    }

    /// Finds the entry of that name; `None` if there is none.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn find(
        &self,
        directory: &Directory,
        name: &FileName,
    ) -> Result<Option<(Place, Entry)>, DecodeError> {
        let wanted = hash(name.as_bytes());
        let mut nodes = vec![0];
        while let Some(node) = nodes.pop() {
            if node >= directory.entry_count {
                continue;
            }
            let mut row = [0; ROW_BYTES];
            self.read(&mut row, directory.table_at + HEADER_BYTES as u64 + node * ROW_BYTES as u64)?;
            let row = Row::parse(&row);
            if row.hash == wanted {
                let place = place(directory, row)?;
                let entry = self.entry(place)?;
                if entry.name == *name {
                    return Ok(Some((place, entry)));
                }
            }
            // Names of one hash may be on both sides.
            if row.hash <= wanted {
                nodes.push(2 * node + 2);
            }
            if row.hash >= wanted {
                nodes.push(2 * node + 1);
            }
        }
        Ok(None)
    }

    /// Reads the entry at a place.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn entry(&self, place: Place) -> Result<Entry, DecodeError> {
        items(&self.stream, place.at, place.end).named(self.is_split)
    }

    /// Opens the directory at a place, whose entry was read there.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn directory(&self, place: Place, metadata: Metadata) -> Result<Directory, DecodeError> {
        let directory = directory(&self.stream, place, metadata)?;
        // Strictly: so a way down has an end.
        if directory.at > place.at {
            Ok(directory)
        } else {
            Err(DecodeError::Value { at: directory.table_at, what: "table" })
        }
    }

    /// Finds the file that a hard link is another name of.
    ///
    /// # Errors
    /// [`DecodeError`]: it is not there, or no regular file.
    pub fn follow(&self, link: &HardLink) -> Result<(Place, Entry), DecodeError> {
        let place = Place { at: link.target_at, end: self.root.table_at };
        let entry = self.entry(place)?;
        match entry.node {
            Node::File(..) => Ok((place, entry)),
            _ => Err(DecodeError::Value { at: link.target_at, what: "target of a hard link" }),
        }
    }

    fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), DecodeError> {
        let mut section = Section { stream: &self.stream, at, end: self.stream.len() };
        section.read_exact(buffer).map_err(|source| DecodeError::Read { at, source })
    }
}

/// Returns the place that a row names, which is inside its directory.
fn place(directory: &Directory, row: Row) -> Result<Place, DecodeError> {
    let Directory { at: directory_at, table_at, .. } = *directory;
    let at = table_at.checked_sub(row.offset).filter(|at| (directory_at + 1..table_at).contains(at));
    let at = at.ok_or(DecodeError::Value { at: table_at, what: "table" })?;
    // Of a file in a split archive this reaches too far (spec §5.2).
    Ok(Place { at, end: at.saturating_add(row.size).min(table_at) })
}

/// Finds the table of the directory that ends where the place does.
fn directory(stream: &impl ReadAt, place: Place, metadata: Metadata) -> Result<Directory, DecodeError> {
    let wrong = DecodeError::Value { at: place.end, what: "table" };
    let Some(tail_at) = place.end.checked_sub(ROW_BYTES as u64) else { return Err(wrong) };
    let mut tail = [0; ROW_BYTES];
    let mut section = Section { stream, at: tail_at, end: place.end };
    section.read_exact(&mut tail).map_err(|source| DecodeError::Read { at: tail_at, source })?;
    let tail = Row::parse(&tail);
    let table_at = place.end.checked_sub(tail.size).filter(|_| tail.is_tail());
    let at = table_at.and_then(|table_at| table_at.checked_sub(tail.offset)).filter(|at| *at >= place.at);
    let (Some(table_at), Some(at)) = (table_at, at) else { return Err(wrong) };
    let mut header = [0; HEADER_BYTES];
    let mut section = Section { stream, at: table_at, end: place.end };
    section.read_exact(&mut header).map_err(|source| DecodeError::Read { at: table_at, source })?;
    let header = Header::parse(&header, table_at)?;
    let entry_count =
        header.content_len.checked_sub(ROW_BYTES as u64).filter(|len| len.is_multiple_of(ROW_BYTES as u64));
    match entry_count {
        Some(len)
            if header.kind == Kind::Goodbye && header.content_len + HEADER_BYTES as u64 == tail.size =>
        {
            Ok(Directory { metadata, at, table_at, entry_count: len / ROW_BYTES as u64 })
        }
        _ => Err(wrong),
    }
}

fn items<S: ReadAt>(stream: &S, at: u64, end: u64) -> Items<BufReader<Section<'_, S>>> {
    Items::new(BufReader::with_capacity(READ_BYTES, Section { stream, at, end }), at)
}

/// A range of a stream, read in order.
struct Section<'a, S> {
    stream: &'a S,
    at: u64,
    end: u64,
}

impl<S: ReadAt> Read for Section<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        let read = self.stream.read_at(&mut buffer[..len], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
