//! An archive on its way to whoever reads it on another thread.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;

use super::target::{Block, Target};

/// Blocks between writer and reader: one is read while the next one comes.
const BLOCKS_AHEAD: usize = 1;

/// Takes an archive, for the other end to read.
#[derive(Debug)]
pub(super) struct PipeTarget(SyncSender<Block>);

/// Reads what the other end takes; at its end when that is dropped.
#[derive(Debug)]
pub(super) struct PipeReader {
    blocks: Receiver<Block>,
    current: Block,
}

/// Makes both ends.
pub(super) fn pipe() -> (PipeTarget, PipeReader) {
    let (sender, blocks) = sync_channel(BLOCKS_AHEAD);
    (PipeTarget(sender), PipeReader { blocks, current: Block::Data(Bytes::new()) })
}

impl Target for PipeTarget {
    fn write(&mut self, block: &Block) -> io::Result<()> {
        self.0.send(block.clone()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.len() == 0 {
            match self.blocks.recv() {
                Ok(block) => self.current = block,
                Err(_) => return Ok(0),
            }
        }
        let len = buffer.len().min(self.current.len());
        match &mut self.current {
            Block::Data(data) => buffer[..len].copy_from_slice(&data.split_to(len)),
            Block::Zeros(left) => {
                buffer[..len].fill(0);
                *left -= len;
            }
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_until_the_writer_is_gone() {
        let (mut target, mut reader) = pipe();
        let writing = std::thread::spawn(move || {
            for block in [Block::Data(b"abc".as_slice().into()), Block::Zeros(3), Block::Data(Bytes::new())] {
                target.write(&block).unwrap();
            }
            target.write(&Block::Data(b"d".as_slice().into())).unwrap();
            target.finish().unwrap();
        });
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"abc\0\0\0d");
        writing.join().unwrap();
    }

    #[test]
    fn a_reader_that_is_gone_is_an_error() {
        let (mut target, reader) = pipe();
        drop(reader);
        assert_eq!(target.write(&Block::Zeros(1)).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
