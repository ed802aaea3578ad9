//! Reading archives from front to back.

use std::io::{self, Read};

use super::encoder::PayloadRef;
use super::error::DecodeError;
use super::item::{HEADER_BYTES, Header, Kind, u64_at};
use super::metadata::{ATTRIBUTE_BYTES_MAX, FileType, Metadata};
use super::name::FileName;

/// What stands next in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An entry of the directory that was entered last. If it is a directory, its own entries follow.
    Entry(Box<Entry>),
    /// The end of the directory that was entered last; after that of the root there is nothing more.
    End,
}

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: FileName,
    /// What it is.
    pub node: Node,
    /// Where in the stream it begins, with its name; hard links count from there.
    pub at: u64,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory(Metadata),
    /// A regular file.
    File(Metadata, Contents),
    /// A symbolic link, with its target.
    Symlink(Metadata, Vec<u8>),
    /// A block or character device, with major and minor number.
    Device(Metadata, (u64, u64)),
    /// A named pipe or a socket.
    Special(Metadata),
    /// Another name of a regular file that came before.
    HardLink(HardLink),
}

impl Node {
    /// Returns the metadata; hard links have none of their own.
    pub const fn metadata(&self) -> Option<&Metadata> {
        match self {
            Self::Directory(metadata)
            | Self::File(metadata, _)
            | Self::Symlink(metadata, _)
            | Self::Device(metadata, _)
            | Self::Special(metadata) => Some(metadata),
            Self::HardLink(_) => None,
        }
    }
}

/// Where the contents of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// In the same stream, right behind the entry: so many bytes, from there on.
    Here {
        /// Position of the first byte.
        at: u64,
        /// Length in bytes.
        size: u64,
    },
    /// In the payload stream of a split archive.
    Elsewhere(PayloadRef),
}

impl Contents {
    /// Returns the file's size in bytes.
    pub const fn size(&self) -> u64 {
        match self {
            Self::Here { size, .. } | Self::Elsewhere(PayloadRef { size, .. }) => *size,
        }
    }
}

/// Another name of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardLink {
    /// Where the file's first entry begins.
    pub target_at: u64,
    /// Path of the file below the root of the archive, as the archive has it: not checked.
    pub path: Vec<u8>,
}

/// Reads an archive of either form item by item, in order; of a split one the metadata stream.
///
/// Every length is bounded and nothing is believed: a damaged or hostile archive is a [`DecodeError`]. The tables at the end of
/// directories are skipped.
#[derive(Debug)]
pub struct Decoder<R> {
    items: Items<R>,
    is_split: bool,
    prelude: Option<Vec<u8>>,
    root: Metadata,
    depth: u64,
    is_done: bool,
}

impl<R: Read> Decoder<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`DecodeError`]: this is no archive, or it cannot be read.
    pub fn new(reader: R) -> Result<Self, DecodeError> {
        let mut items = Items::new(reader, 0);
        let (is_split, prelude) = items.head()?;
        let at = items.at();
        let Node::Directory(root) = items.entry()? else { return Err(DecodeError::Misplaced { at }) };
        Ok(Self { items, is_split, prelude, root, depth: 1, is_done: false })
    }

    /// Tells whether this is the metadata stream of a split archive.
    pub const fn is_split(&self) -> bool {
        self.is_split
    }

    /// Returns the prelude of a split archive.
    pub fn prelude(&self) -> Option<&[u8]> {
        self.prelude.as_deref()
    }

    /// Returns the metadata of the root.
    pub const fn root(&self) -> &Metadata {
        &self.root
    }

    /// Goes on to the next entry or end of a directory, over whatever is left of a file's contents; `None` behind the end of the root.
    ///
    /// # Errors
    /// [`DecodeError`]: nothing more can be read.
    pub fn next_event(&mut self) -> Result<Option<Event>, DecodeError> {
        if self.is_done {
            return Ok(None);
        }
        self.items.skip_contents()?;
        let at = self.items.at();
        let header = self.items.next()?.ok_or_else(|| cut_short(at))?;
        match header.kind {
            Kind::FileName => {
                self.items.peeked = Some(header);
                let entry = self.items.named(self.is_split)?;
                self.depth += u64::from(matches!(entry.node, Node::Directory(_)));
                Ok(Some(Event::Entry(Box::new(entry))))
            }
            Kind::Goodbye => {
                self.items.skip(header.content_len)?;
                self.depth -= 1;
                if self.depth == 0 {
                    self.is_done = true;
                    let at = self.items.at();
                    if self.items.next()?.is_some() {
                        return Err(DecodeError::Trailing { at });
                    }
                }
                Ok(Some(Event::End))
            }
            _ => Err(DecodeError::Misplaced { at }),
        }
    }

    /// Reads the contents of the file that came last, if they are in this stream; it ends early only if the archive does.
    pub fn contents(&mut self) -> impl Read + '_ {
        ContentsReader(&mut self.items)
    }
}

struct ContentsReader<'a, R>(&'a mut Items<R>);

impl<R: Read> Read for ContentsReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let items = &mut *self.0;
        let len = usize::try_from(items.contents_left).unwrap_or(usize::MAX).min(buffer.len());
        let read = items.reader.read(&mut buffer[..len])?;
        if read == 0 && len > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        items.contents_left -= read as u64;
        items.end += read as u64;
        Ok(read)
    }
}

/// Reads items.
#[derive(Debug)]
pub(super) struct Items<R> {
    reader: R,
    /// Position behind what was read.
    end: u64,
    /// A header that was read, but whose item nobody took yet.
    peeked: Option<Header>,
    /// What is left of a file's contents.
    contents_left: u64,
}

impl<R: Read> Items<R> {
    /// Reads from `at` on, which is where the reader stands.
    pub(super) fn new(reader: R, at: u64) -> Self {
        Self { reader, end: at, peeked: None, contents_left: 0 }
    }

    /// Returns where the next item begins.
    pub(super) fn at(&self) -> u64 {
        self.end - if self.peeked.is_some() { HEADER_BYTES as u64 } else { 0 }
    }

    /// Takes the next header; `None` at the end of the stream.
    fn next(&mut self) -> Result<Option<Header>, DecodeError> {
        if let Some(header) = self.peeked.take() {
            return Ok(Some(header));
        }
        let mut bytes = [0; HEADER_BYTES];
        let at = self.end;
        let mut filled = 0;
        while filled < HEADER_BYTES {
            match self.reader.read(&mut bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(cut_short(at)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(DecodeError::Read { at, source }),
            }
        }
        self.end += HEADER_BYTES as u64;
        Header::parse(&bytes, at).map(Some)
    }

    fn expect(&mut self) -> Result<(Header, u64), DecodeError> {
        let at = self.at();
        let header = self.next()?.ok_or_else(|| cut_short(at))?;
        Ok((header, at))
    }

    /// Reads the content of an item that is kept in memory; its kind bounds its length.
    fn content(&mut self, header: Header, at: u64) -> Result<Vec<u8>, DecodeError> {
        let mut content = Vec::new();
        let read = self.reader.by_ref().take(header.content_len).read_to_end(&mut content);
        read.map_err(|source| DecodeError::Read { at: self.end, source })?;
        self.end += content.len() as u64;
        if content.len() as u64 == header.content_len { Ok(content) } else { Err(cut_short(at)) }
    }

    fn skip(&mut self, bytes: u64) -> Result<(), DecodeError> {
        let skipped = io::copy(&mut self.reader.by_ref().take(bytes), &mut io::sink());
        let skipped = skipped.map_err(|source| DecodeError::Read { at: self.end, source })?;
        self.end += skipped;
        if skipped == bytes { Ok(()) } else { Err(cut_short(self.end)) }
    }

    fn skip_contents(&mut self) -> Result<(), DecodeError> {
        let left = std::mem::take(&mut self.contents_left);
        self.skip(left)
    }

    /// Reads what may stand before the root: the version, which only split archives have, and a prelude.
    pub(super) fn head(&mut self) -> Result<(bool, Option<Vec<u8>>), DecodeError> {
        let (mut is_split, mut prelude) = (false, None);
        let (mut header, mut at) = self.expect()?;
        if header.kind == Kind::FormatVersion {
            let version = u64_at(&self.content(header, at)?, 0);
            if !(1..=2).contains(&version) {
                return Err(DecodeError::Version { version });
            }
            is_split = version == 2;
            (header, at) = self.expect()?;
        }
        if header.kind == Kind::Prelude {
            prelude = Some(self.content(header, at)?);
            (header, _) = self.expect()?;
        }
        self.peeked = Some(header);
        Ok((is_split, prelude))
    }

    /// Reads an entry with its name.
    pub(super) fn named(&mut self, is_split: bool) -> Result<Entry, DecodeError> {
        let (header, at) = self.expect()?;
        if header.kind != Kind::FileName {
            return Err(DecodeError::Misplaced { at });
        }
        let name = zero_ended(self.content(header, at)?).and_then(|name| FileName::new(name).ok());
        let name = name.ok_or(DecodeError::Value { at, what: "name" })?;
        let node = self.node(at, is_split)?;
        Ok(Entry { name, node, at })
    }

    fn node(&mut self, name_at: u64, is_split: bool) -> Result<Node, DecodeError> {
        let (header, at) = self.expect()?;
        if header.kind == Kind::HardLink {
            let content = self.content(header, at)?;
            let target_at = name_at.checked_sub(u64_at(&content, 0)).filter(|target| *target < name_at);
            let target_at = target_at.ok_or(DecodeError::Value { at, what: "distance" })?;
            let path = zero_ended(content[8..].to_vec()).filter(|path| !path.is_empty());
            let path = path.ok_or(DecodeError::Value { at, what: "path" })?;
            return Ok(Node::HardLink(HardLink { target_at, path }));
        }
        self.peeked = Some(header);
        let node = self.entry()?;
        match node {
            Node::File(_, contents) if matches!(contents, Contents::Elsewhere(_)) != is_split => {
                Err(DecodeError::Misplaced { at })
            }
            node => Ok(node),
        }
    }

    /// Reads an entry's metadata, and what ends it.
    pub(super) fn entry(&mut self) -> Result<Node, DecodeError> {
        let (header, entry_at) = self.expect()?;
        if !matches!(header.kind, Kind::Entry | Kind::OldEntry) {
            return Err(DecodeError::Misplaced { at: entry_at });
        }
        let content = self.content(header, entry_at)?;
        let mut metadata = Metadata::parse(header.kind, &content, entry_at)?;
        let file_type = metadata.file_type();
        let (mut left, max) = (ATTRIBUTE_BYTES_MAX, ATTRIBUTE_BYTES_MAX);
        loop {
            let at = self.at();
            let Some(header) = self.next()? else {
                // Alone, a pipe or socket ends where its range does; in a whole archive, something is missing behind it.
                return match file_type {
                    Some(FileType::Fifo | FileType::Socket) => Ok(Node::Special(metadata)),
                    _ => Err(cut_short(at)),
                };
            };
            let is_it = |expected: &[FileType]| match file_type {
                Some(file_type) if expected.contains(&file_type) => Ok(()),
                _ => Err(DecodeError::Misplaced { at }),
            };
            match header.kind {
                Kind::FileName | Kind::Goodbye => {
                    self.peeked = Some(header);
                    return match file_type {
                        Some(FileType::Fifo | FileType::Socket) => Ok(Node::Special(metadata)),
                        Some(FileType::Directory) => Ok(Node::Directory(metadata)),
                        _ => Err(DecodeError::Misplaced { at }),
                    };
                }
                Kind::Payload => {
                    is_it(&[FileType::Regular])?;
                    self.contents_left = header.content_len;
                    let contents = Contents::Here { at: self.end, size: header.content_len };
                    return Ok(Node::File(metadata, contents));
                }
                Kind::PayloadRef => {
                    is_it(&[FileType::Regular])?;
                    let content = self.content(header, at)?;
                    let payload = PayloadRef { offset: u64_at(&content, 0), size: u64_at(&content, 8) };
                    return Ok(Node::File(metadata, Contents::Elsewhere(payload)));
                }
                Kind::Symlink => {
                    is_it(&[FileType::Symlink])?;
                    let target = zero_ended(self.content(header, at)?);
                    let target = target.ok_or(DecodeError::Value { at, what: "target" })?;
                    return Ok(Node::Symlink(metadata, target));
                }
                Kind::Device => {
                    is_it(&[FileType::BlockDevice, FileType::CharDevice])?;
                    let content = self.content(header, at)?;
                    return Ok(Node::Device(metadata, (u64_at(&content, 0), u64_at(&content, 8))));
                }
                kind => {
                    let taken = usize::try_from(header.content_len)
                        .unwrap_or(usize::MAX)
                        .saturating_add(HEADER_BYTES);
                    left = left.checked_sub(taken).ok_or(DecodeError::TooManyAttributes { at, max })?;
                    let content = self.content(header, at)?;
                    if !metadata.take(kind, &content, at)? {
                        return Err(DecodeError::Misplaced { at });
                    }
                }
            }
        }
    }
}

/// Takes the zero byte off the end; `None` if there is none, or another one before it.
fn zero_ended(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    (bytes.pop() == Some(0) && !bytes.contains(&0)).then_some(bytes)
}

pub(super) fn cut_short(at: u64) -> DecodeError {
    DecodeError::Read { at, source: io::ErrorKind::UnexpectedEof.into() }
}
