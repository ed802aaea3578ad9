//! Where restored data goes: files with holes, and plain writers.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;

use crate::zeros::is_zero;

/// Zeros are left out in whole pages of this size.
const PAGE_BYTES: usize = 4096;

/// Part of an archive, in order.
#[derive(Debug, Clone)]
pub(super) enum Block {
    Data(Bytes),
    Zeros(usize),
}

impl Block {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Zeros(len) => *len,
        }
    }
}

/// Takes an archive block by block; runs on a thread of its own.
pub(super) trait Target: Send + 'static {
    /// Appends a block.
    fn write(&mut self, block: &Block) -> io::Result<()>;

    /// Completes the target after the last block.
    fn finish(&mut self) -> io::Result<()>;
}

/// A regular file, written with holes, or a block device, written in full.
#[derive(Debug)]
pub(super) struct FileTarget {
    file: File,
    position: u64,
    is_sparse: bool,
}

impl FileTarget {
    /// Empties a regular file; a device keeps its size.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let is_sparse = file.metadata()?.is_file();
        if is_sparse {
            // What is skipped later must not show older content.
            file.set_len(0)?;
        }
        Ok(Self { file, position: 0, is_sparse })
    }

    /// Writes the pages that are not zero, each run of them at once.
    fn write_sparse(&self, data: &[u8]) -> io::Result<()> {
        let mut run_start = 0;
        for (number, page) in data.chunks(PAGE_BYTES).enumerate() {
            if is_zero(page) {
                let start = number * PAGE_BYTES;
                self.write_run(&data[run_start..start], run_start)?;
                run_start = start + page.len();
            }
        }
        self.write_run(&data[run_start..], run_start)
    }

    fn write_run(&self, run: &[u8], offset: usize) -> io::Result<()> {
        if run.is_empty() { Ok(()) } else { self.file.write_all_at(run, self.position + offset as u64) }
    }
}

impl Target for FileTarget {
    fn write(&mut self, block: &Block) -> io::Result<()> {
        match block {
            Block::Zeros(_) if self.is_sparse => {}
            Block::Data(data) if self.is_sparse => self.write_sparse(data)?,
            Block::Data(data) => self.file.write_all_at(data, self.position)?,
            Block::Zeros(len) => {
                let mut at = self.position;
                zeros(*len, |page| {
                    self.file.write_all_at(page, at)?;
                    at += page.len() as u64;
                    Ok(())
                })?;
            }
        }
        self.position += block.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.is_sparse {
            self.file.set_len(self.position)?;
        }
        // Full disks, quotas and network filesystems may tell of a lost write only now; success must mean success.
        match self.file.sync_all() {
            // `/dev/null` and the like have nothing to sync.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}

/// A writer that gets everything in order.
#[derive(Debug)]
pub(super) struct WriterTarget<W>(pub(super) W);

impl<W: Write + Send + 'static> Target for WriterTarget<W> {
    fn write(&mut self, block: &Block) -> io::Result<()> {
        match block {
            Block::Data(data) => self.0.write_all(data),
            Block::Zeros(len) => zeros(*len, |page| self.0.write_all(page)),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Hands `len` zeros to `write`, a piece at a time.
fn zeros(len: usize, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    static PIECE: [u8; 64 << 10] = [0; 64 << 10];
    let mut left = len;
    while left > 0 {
        let now = left.min(PIECE.len());
        write(&PIECE[..now])?;
        left -= now;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};
    use std::os::unix::fs::MetadataExt as _;

    use proptest::prelude::*;

    use super::*;

    fn content(mut file: &File) -> Vec<u8> {
        let mut data = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut data).unwrap();
        data
    }

    #[test]
    fn zero_pages_become_holes_and_old_content_goes() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![9; 20_000]).unwrap();
        let mut data = vec![0; 1 << 20];
        data[5000] = 1;
        data[1_000_000] = 2;
        let mut target = FileTarget::new(file.try_clone().unwrap()).unwrap();
        target.write(&Block::Data(data.clone().into())).unwrap();
        target.write(&Block::Zeros(8 << 20)).unwrap();
        target.finish().unwrap();
        data.resize(9 << 20, 0);
        assert!(content(&file) == data);
        assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn an_empty_archive_empties_the_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"old").unwrap();
        FileTarget::new(file.try_clone().unwrap()).unwrap().finish().unwrap();
        assert_eq!(content(&file), b"");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        // Goal: file, device-like file and writer get the same bytes. Method: any blocks into all three.
        #[test]
        fn all_targets_get_the_same_bytes(
            blocks in proptest::collection::vec((any::<u8>(), 1_usize..20_000, 0_usize..3), 0..12),
        ) {
            let file = tempfile::tempfile().unwrap();
            let dense = tempfile::tempfile().unwrap();
            let mut sparse_target = FileTarget::new(file.try_clone().unwrap()).unwrap();
            let mut dense_target = FileTarget { file: dense.try_clone().unwrap(), position: 0, is_sparse: false };
            let mut writer = WriterTarget(Vec::new());
            for (byte, len, kind) in blocks {
                let block = match kind {
                    0 => Block::Zeros(len),
                    1 => Block::Data(vec![byte; len].into()),
                    _ => {
                        // Data with zeros in the middle.
                        let mut data = vec![1; len];
                        data[len / 3..len / 3 * 2].fill(0);
                        Block::Data(data.into())
                    }
                };
                sparse_target.write(&block).unwrap();
                dense_target.write(&block).unwrap();
                writer.write(&block).unwrap();
            }
            sparse_target.finish().unwrap();
            dense_target.finish().unwrap();
            prop_assert!(content(&file) == writer.0);
            prop_assert!(content(&dense) == writer.0);
        }
    }
}
