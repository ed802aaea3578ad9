//! Where the data of an archive comes from: images of known size, and streams.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use coldkeep_datastore::index::FIXED_CHUNK_BYTES;

use super::chunker::Chunker;
use super::pool::BufferPool;

const CHUNK_BYTES: usize = FIXED_CHUNK_BYTES as usize;

/// Part of an archive, as its source gives it.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Vec<u8>),
    /// A hole: so many zeros that were never read.
    Zeros(usize),
}

impl Piece {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Zeros(len) => *len,
        }
    }
}

/// Gives an archive piece by piece, in order; runs on a thread of its own.
pub(super) trait Pieces: Send + 'static {
    /// Returns the next piece, never an empty one; `None` at the end.
    fn next_piece(&mut self, pool: &BufferPool) -> io::Result<Option<Piece>>;
}

impl<R: Read + Send + 'static> Pieces for Chunker<R> {
    fn next_piece(&mut self, pool: &BufferPool) -> io::Result<Option<Piece>> {
        Ok(self.next_chunk(pool.take())?.map(Piece::Data))
    }
}

/// A disk image: so many bytes of a file, a block device or a reader.
///
/// The size is fixed when the source is made. Data behind it is not read; if the source ends before it, the rest
/// counts as zeros (spec `client.md` §3).
#[derive(Debug)]
pub struct ImageSource {
    input: Input,
    size: u64,
    position: u64,
    ends_at: Option<u64>,
}

enum Input {
    File(HoleyFile),
    Reader(Box<dyn Read + Send>),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Reader(_) => "Reader",
        })
    }
}

impl ImageSource {
    /// Takes a regular file or a block device, whole; holes are not read.
    ///
    /// # Errors
    /// The size cannot be found out.
    pub fn file(mut file: File) -> io::Result<Self> {
        let size = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let file = HoleyFile { file, at: 0, data_until: 0 };
        Ok(Self { input: Input::File(file), size, position: 0, ends_at: None })
    }

    /// Takes the next `size` bytes of a reader.
    pub fn reader(reader: impl Read + Send + 'static, size: u64) -> Self {
        Self { input: Input::Reader(Box::new(reader)), size, position: 0, ends_at: None }
    }

    /// Returns the image's size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    fn read_chunk(&mut self, len: usize, pool: &BufferPool) -> io::Result<Piece> {
        if self.ends_at.is_some() {
            return Ok(Piece::Zeros(len));
        }
        if let Input::File(file) = &mut self.input
            && file.is_hole(self.position, len as u64)?
        {
            return Ok(Piece::Zeros(len));
        }
        let mut data = pool.take();
        // Some spare room keeps `read_to_end` from probing for the end with a small read.
        data.reserve(len + 64);
        match &mut self.input {
            Input::File(file) => file.read(self.position, len, &mut data)?,
            Input::Reader(reader) => {
                reader.take(len as u64).read_to_end(&mut data)?;
            }
        }
        if data.len() < len {
            self.ends_at = Some(self.position + data.len() as u64);
            data.resize(len, 0);
        }
        Ok(Piece::Data(data))
    }
}

impl Pieces for ImageSource {
    fn next_piece(&mut self, pool: &BufferPool) -> io::Result<Option<Piece>> {
        let left = self.size - self.position;
        if left == 0 {
            if let Some(end) = self.ends_at {
                tracing::warn!(
                    expected = self.size,
                    got = end,
                    "the source shrank while it was read, padded with zeros"
                );
            }
            return Ok(None);
        }
        let len = left.min(CHUNK_BYTES as u64) as usize;
        let piece = self.read_chunk(len, pool)?;
        self.position += len as u64;
        Ok(Some(piece))
    }
}

/// A file whose holes are found with `SEEK_DATA`, where its filesystem can tell.
struct HoleyFile {
    file: File,
    /// Where the file's own position is.
    at: u64,
    /// Up to here there is data, or nobody knows.
    data_until: u64,
}

impl HoleyFile {
    fn is_hole(&mut self, start: u64, len: u64) -> io::Result<bool> {
        if start < self.data_until {
            return Ok(false);
        }
        match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(start)) {
            Ok(data) => {
                self.at = data;
                if data >= start + len {
                    return Ok(true);
                }
                // One call for a run of data instead of one for each chunk.
                self.data_until = match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Hole(data)) {
                    Ok(hole) => {
                        self.at = hole;
                        hole
                    }
                    Err(_) => u64::MAX,
                };
                Ok(false)
            }
            // No data from here on: a hole up to the end, or the file shrank, which counts as zeros too.
            Err(rustix::io::Errno::NXIO) => Ok(true),
            // Block devices and some filesystems cannot tell.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => {
                self.data_until = u64::MAX;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self, start: u64, len: usize, data: &mut Vec<u8>) -> io::Result<()> {
        if self.at != start {
            self.file.seek(SeekFrom::Start(start))?;
        }
        let read = (&self.file).take(len as u64).read_to_end(data)?;
        self.at = start + read as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn collect(mut source: impl Pieces) -> (Vec<u8>, usize) {
        let pool = BufferPool::default();
        let (mut data, mut holes) = (Vec::new(), 0);
        while let Some(piece) = source.next_piece(&pool).unwrap() {
            match piece {
                Piece::Data(piece) => data.extend_from_slice(&piece),
                Piece::Zeros(len) => {
                    holes += len;
                    data.resize(data.len() + len, 0);
                }
            }
        }
        (data, holes)
    }

    #[test]
    fn an_image_is_cut_every_four_mebibytes() {
        let data = vec![7; 2 * CHUNK_BYTES + 3];
        let pool = BufferPool::default();
        let mut source = ImageSource::reader(io::Cursor::new(data), (2 * CHUNK_BYTES + 3) as u64);
        let mut lengths = Vec::new();
        while let Some(piece) = source.next_piece(&pool).unwrap() {
            lengths.push(piece.len());
        }
        assert_eq!(lengths, [CHUNK_BYTES, CHUNK_BYTES, 3]);
    }

    #[test]
    fn a_reader_that_ends_early_is_padded_and_one_that_does_not_is_cut() {
        let (data, holes) = collect(ImageSource::reader(&b"abc"[..], (CHUNK_BYTES + 10) as u64));
        assert_eq!((data.len(), holes), (CHUNK_BYTES + 10, 10));
        assert_eq!(&data[..4], b"abc\0");
        let (data, _) = collect(ImageSource::reader(&b"abcdef"[..], 4));
        assert_eq!(data, b"abcd");
    }

    #[test]
    fn a_sparse_file_reads_right_whatever_its_holes() {
        let mut file = tempfile::tempfile().unwrap();
        let mut expected = vec![0; 10 * CHUNK_BYTES + 100];
        for (offset, len) in [(5, 10), (3 * CHUNK_BYTES + 4096, CHUNK_BYTES), (9 * CHUNK_BYTES - 1, 2)] {
            expected[offset..offset + len].fill(9);
            file.seek(SeekFrom::Start(offset as u64)).unwrap();
            file.write_all(&expected[offset..offset + len]).unwrap();
        }
        file.set_len(expected.len() as u64).unwrap();
        let source = ImageSource::file(file).unwrap();
        assert_eq!(source.size(), expected.len() as u64);
        let (data, _) = collect(source);
        assert!(data == expected);
    }

    #[test]
    fn a_huge_hole_is_not_read() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        let mut source = ImageSource::file(file).unwrap();
        let pool = BufferPool::default();
        for _ in 0..1000 {
            // A filesystem that cannot tell holes would give data here.
            match source.next_piece(&pool).unwrap().unwrap() {
                Piece::Zeros(len) => assert_eq!(len, CHUNK_BYTES),
                Piece::Data(data) => assert!(crate::zeros::is_zero(&data)),
            }
        }
    }

    #[test]
    fn a_file_that_shrinks_is_padded() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 100]).unwrap();
        let other = file.try_clone().unwrap();
        let source = ImageSource::file(file).unwrap();
        other.set_len(40).unwrap();
        let (data, _) = collect(source);
        assert_eq!(data, [vec![1; 40], vec![0; 60]].concat());
    }
}
