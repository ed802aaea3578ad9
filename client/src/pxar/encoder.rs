//! Writing archives: values in, bytes out (spec `pxar.md` §3–§5).

use super::error::EncodeError;
use super::goodbye::{Row, hash, put_table};
use super::item::{HEADER_BYTES, Header, Kind, NAME_BYTES_MAX, put};
use super::metadata::{FileType, Metadata};
use super::name::FileName;

/// Where a file is, for the hard links to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTarget {
    at: u64,
    path: Box<[u8]>,
}

/// Where the contents of a file are in the payload stream of a split archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PayloadRef {
    /// Position of the header of the payload.
    pub offset: u64,
    /// Length of the contents.
    pub size: u64,
}

/// Writes an archive, in either form.
///
/// It does no I/O: after each call there may be bytes to [take](Self::take). The contents of a file do not go through it. Whoever
/// calls [`begin_file`](Self::begin_file) first sends what there is to take and then exactly as many bytes as were announced, to the
/// archive if it is unified, to the payload stream if it is split.
///
/// Entries of a directory must come in the order of their names, by their bytes.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
    /// Position of the end of `out` in the stream.
    end: u64,
    payload: Option<PayloadStream>,
    /// Directories that were begun, the root first.
    open: Vec<Directory>,
    rows_held: usize,
}

#[derive(Debug, Default)]
struct PayloadStream {
    out: Vec<u8>,
    end: u64,
    /// Where the last file begins whose payload was used again.
    last_offset: Option<u64>,
}

#[derive(Debug)]
struct Directory {
    name: Option<FileName>,
    /// Where its own entry in its parent begins.
    name_at: u64,
    /// Where it begins; what its table points back to.
    at: u64,
    rows: Vec<Row>,
}

impl Encoder {
    /// Begins a unified archive (version 1) of a directory with this metadata.
    ///
    /// # Errors
    /// [`EncodeError::Mode`], [`EncodeError::Xattr`].
    pub fn unified(root: &Metadata) -> Result<Self, EncodeError> {
        Self::begin(root, None, Vec::new())
    }

    /// Begins a split archive (version 2); the prelude is free text for its readers.
    ///
    /// # Errors
    /// As for [`Self::unified`].
    pub fn split(root: &Metadata, prelude: Option<&[u8]>) -> Result<Self, EncodeError> {
        let mut head = Vec::new();
        put(&mut head, Kind::FormatVersion, &[&2_u64.to_le_bytes()]);
        if let Some(prelude) = prelude {
            put(&mut head, Kind::Prelude, &[prelude]);
        }
        let mut payload = PayloadStream::default();
        payload.put_marker(Kind::PayloadStart);
        Self::begin(root, Some(payload), head)
    }

    fn begin(root: &Metadata, payload: Option<PayloadStream>, head: Vec<u8>) -> Result<Self, EncodeError> {
        check_type(root, FileType::Directory, "directory")?;
        let mut encoder = Self { end: head.len() as u64, out: head, payload, open: Vec::new(), rows_held: 0 };
        // The table of the root points to the very beginning, not to its entry.
        encoder.open.push(Directory { name: None, name_at: 0, at: 0, rows: Vec::new() });
        encoder.append(|out| root.encode(out))?;
        Ok(encoder)
    }

    /// Takes what was written since the last call: of the unified archive, or of the metadata stream.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Takes what was written of the payload stream since the last call; nothing for a unified archive.
    pub fn take_payload(&mut self) -> Vec<u8> {
        self.payload.as_mut().map(|payload| std::mem::take(&mut payload.out)).unwrap_or_default()
    }

    /// Returns how much is there to take.
    pub fn pending_len(&self) -> usize {
        self.out.len()
    }

    /// Returns the position in the payload stream of a split archive, with what is there to take and the contents of all files.
    pub fn payload_position(&self) -> Option<u64> {
        self.payload.as_ref().map(|payload| payload.end)
    }

    /// Returns how many entries are held in memory: those of the directories that were begun, with all their siblings.
    pub const fn entries_held(&self) -> usize {
        self.rows_held
    }

    /// Begins a directory; what follows is in it, until [`end_directory`](Self::end_directory).
    ///
    /// # Errors
    /// [`EncodeError::Mode`], [`EncodeError::Xattr`]; nothing was written.
    pub fn begin_directory(&mut self, name: &FileName, metadata: &Metadata) -> Result<(), EncodeError> {
        check_type(metadata, FileType::Directory, "directory")?;
        let name_at = self.end;
        let mut at = 0;
        self.append(|out| {
            put_name(out, name);
            at = out.len();
            metadata.encode(out)
        })?;
        let at = name_at + at as u64;
        self.open.push(Directory { name: Some(name.clone()), name_at, at, rows: Vec::new() });
        Ok(())
    }

    /// Ends the directory that was begun last.
    ///
    /// # Errors
    /// [`EncodeError::Nesting`] if that is the root.
    pub fn end_directory(&mut self) -> Result<(), EncodeError> {
        if self.open.len() < 2 {
            return Err(EncodeError::Nesting);
        }
        let Some(Directory { name: Some(name), name_at, at, rows }) = self.open.pop() else {
            return Err(EncodeError::Nesting);
        };
        self.put_table(rows, at);
        self.add_row(&name, name_at, 0);
        Ok(())
    }

    /// Begins a file, whose `size` bytes of contents follow.
    ///
    /// Returns where it is, unless the path is too long for hard links to it.
    ///
    /// # Errors
    /// As for [`Self::begin_directory`].
    pub fn begin_file(
        &mut self,
        name: &FileName,
        metadata: &Metadata,
        size: u64,
    ) -> Result<Option<LinkTarget>, EncodeError> {
        let offset = self.payload_position();
        let at = self.put_file(name, metadata, |out| match offset {
            None => out.extend(Header { kind: Kind::Payload, content_len: size }.to_bytes()),
            Some(offset) => put_ref(out, PayloadRef { offset, size }),
        })?;
        if let Some(payload) = &mut self.payload {
            payload.out.extend(Header { kind: Kind::Payload, content_len: size }.to_bytes());
            payload.end += HEADER_BYTES as u64 + size;
            payload.last_offset = offset;
        } else {
            self.end += size;
        }
        // The contents count even where they are in the other stream (spec §5.2).
        self.add_row(name, at, if self.payload.is_some() { size } else { 0 });
        Ok(self.link_target(name, at))
    }

    /// Adds a file to a split archive whose payload is in the payload stream already, with its header.
    ///
    /// # Errors
    /// As for [`Self::begin_directory`]; [`EncodeError::Payload`] if the archive is unified, or the payload does not come behind that of
    /// the file before.
    pub fn add_reused_file(
        &mut self,
        name: &FileName,
        metadata: &Metadata,
        payload: PayloadRef,
    ) -> Result<Option<LinkTarget>, EncodeError> {
        let end =
            payload.offset.checked_add(HEADER_BYTES as u64).and_then(|end| end.checked_add(payload.size));
        let is_possible = self.payload.as_ref().is_some_and(|stream| {
            end.is_some_and(|end| end <= stream.end)
                && stream.last_offset.is_none_or(|last| last < payload.offset)
        });
        if !is_possible || payload.offset < HEADER_BYTES as u64 {
            return Err(EncodeError::Payload { offset: payload.offset });
        }
        let at = self.put_file(name, metadata, |out| put_ref(out, payload))?;
        if let Some(stream) = &mut self.payload {
            stream.last_offset = Some(payload.offset);
        }
        self.add_row(name, at, 0);
        Ok(self.link_target(name, at))
    }

    /// Notes that so many bytes were put into the payload stream of a split archive: whole chunks of an older one, with payloads to
    /// [use again](Self::add_reused_file).
    ///
    /// # Errors
    /// [`EncodeError::Payload`] if the archive is unified.
    pub fn skip_payload(&mut self, bytes: u64) -> Result<(), EncodeError> {
        let payload = self.payload.as_mut().ok_or(EncodeError::Payload { offset: 0 })?;
        payload.end += bytes;
        Ok(())
    }

    fn put_file(
        &mut self,
        name: &FileName,
        metadata: &Metadata,
        put_payload: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u64, EncodeError> {
        check_type(metadata, FileType::Regular, "file")?;
        let at = self.end;
        self.append(|out| {
            put_name(out, name);
            metadata.encode(out)?;
            put_payload(out);
            Ok(())
        })?;
        Ok(at)
    }

    /// Adds another name of a file.
    ///
    /// # Errors
    /// None but for names that are impossible.
    pub fn add_hard_link(&mut self, name: &FileName, target: &LinkTarget) -> Result<(), EncodeError> {
        let at = self.end;
        self.append(|out| {
            put_name(out, name);
            put(out, Kind::HardLink, &[&(at - target.at).to_le_bytes(), &target.path, &[0]]);
            Ok(())
        })?;
        self.add_row(name, at, 0);
        Ok(())
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As for [`Self::begin_directory`]; [`EncodeError::Target`].
    pub fn add_symlink(
        &mut self,
        name: &FileName,
        metadata: &Metadata,
        target: &[u8],
    ) -> Result<(), EncodeError> {
        check_type(metadata, FileType::Symlink, "symbolic link")?;
        if target.len() > NAME_BYTES_MAX || target.contains(&0) {
            return Err(EncodeError::Target { len: target.len() });
        }
        self.add(name, metadata, |out| put(out, Kind::Symlink, &[target, &[0]]))
    }

    /// Adds a block or character device.
    ///
    /// # Errors
    /// As for [`Self::begin_directory`].
    pub fn add_device(
        &mut self,
        name: &FileName,
        metadata: &Metadata,
        (major, minor): (u64, u64),
    ) -> Result<(), EncodeError> {
        if !matches!(metadata.file_type(), Some(FileType::BlockDevice | FileType::CharDevice)) {
            return Err(EncodeError::Mode { mode: metadata.mode, what: "device" });
        }
        self.add(name, metadata, |out| put(out, Kind::Device, &[&major.to_le_bytes(), &minor.to_le_bytes()]))
    }

    /// Adds a named pipe or a socket.
    ///
    /// # Errors
    /// As for [`Self::begin_directory`].
    pub fn add_special(&mut self, name: &FileName, metadata: &Metadata) -> Result<(), EncodeError> {
        if !matches!(metadata.file_type(), Some(FileType::Fifo | FileType::Socket)) {
            return Err(EncodeError::Mode { mode: metadata.mode, what: "named pipe or socket" });
        }
        self.add(name, metadata, |_| {})
    }

    fn add(
        &mut self,
        name: &FileName,
        metadata: &Metadata,
        put_rest: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), EncodeError> {
        let at = self.end;
        self.append(|out| {
            put_name(out, name);
            metadata.encode(out)?;
            put_rest(out);
            Ok(())
        })?;
        self.add_row(name, at, 0);
        Ok(())
    }

    /// Ends the archive; what there is to take is the last of it.
    ///
    /// # Errors
    /// [`EncodeError::Nesting`] if a directory was not ended.
    pub fn finish(&mut self) -> Result<(), EncodeError> {
        if self.open.len() != 1 {
            return Err(EncodeError::Nesting);
        }
        let Some(Directory { rows, .. }) = self.open.pop() else { return Err(EncodeError::Nesting) };
        self.put_table(rows, 0);
        if let Some(payload) = &mut self.payload {
            payload.put_marker(Kind::PayloadTail);
        }
        Ok(())
    }

    /// Appends what `put` writes, all or nothing.
    fn append(
        &mut self,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if self.open.is_empty() {
            return Err(EncodeError::Nesting);
        }
        let mut item = Vec::new();
        put(&mut item)?;
        self.end += item.len() as u64;
        self.out.append(&mut item);
        Ok(())
    }

    fn put_table(&mut self, mut rows: Vec<Row>, directory_at: u64) {
        self.rows_held -= rows.len();
        let table_at = self.end;
        for row in &mut rows {
            // Until here it was where the entry begins.
            row.offset = table_at - row.offset;
        }
        let before = self.out.len();
        put_table(&mut self.out, rows, table_at - directory_at);
        self.end += (self.out.len() - before) as u64;
    }

    fn add_row(&mut self, name: &FileName, at: u64, contents_elsewhere: u64) {
        let size = (self.end - at).saturating_add(contents_elsewhere);
        let row = Row { hash: hash(name.as_bytes()), offset: at, size };
        if let Some(directory) = self.open.last_mut() {
            directory.rows.push(row);
            self.rows_held += 1;
        }
    }

    fn link_target(&self, name: &FileName, at: u64) -> Option<LinkTarget> {
        let mut path = Vec::new();
        for directory in self.open.iter().filter_map(|directory| directory.name.as_ref()) {
            path.extend_from_slice(directory.as_bytes());
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        (path.len() <= NAME_BYTES_MAX).then(|| LinkTarget { at, path: path.into() })
    }
}

impl PayloadStream {
    fn put_marker(&mut self, kind: Kind) {
        put(&mut self.out, kind, &[]);
        self.end += HEADER_BYTES as u64;
    }
}

fn check_type(metadata: &Metadata, expected: FileType, what: &'static str) -> Result<(), EncodeError> {
    if metadata.file_type() == Some(expected) {
        Ok(())
    } else {
        Err(EncodeError::Mode { mode: metadata.mode, what })
    }
}

fn put_name(out: &mut Vec<u8>, name: &FileName) {
    put(out, Kind::FileName, &[name.as_bytes(), &[0]]);
}

fn put_ref(out: &mut Vec<u8>, PayloadRef { offset, size }: PayloadRef) {
    put(out, Kind::PayloadRef, &[&offset.to_le_bytes(), &size.to_le_bytes()]);
}
