//! What the kernel is answered, put together.

use rustix::io::Errno;

use crate::disk::{FileKind, NAME_MAX, Stat};
use crate::inode::{InodeId, Time};

/// Bytes before the body of every answer.
const HEAD_BYTES: usize = 16;
/// Nobody but the kernel changes a disk, so it may remember what it was told for so many seconds.
const VALID_SECONDS: u64 = 3600;
/// `FOPEN_DIRECT_IO`: nothing is kept in the page cache, every write comes at once.
const DIRECT_IO: u32 = 1;
/// Bytes of a block, for `stat` and `statfs`.
const BLOCK_BYTES: u32 = 4096;

/// An answer that is being put together.
#[derive(Debug, Default)]
pub(crate) struct Reply(Vec<u8>);

impl Reply {
    /// The answer to `unique`, ready to be sent.
    pub(crate) fn finish(unique: u64, result: &Result<Self, Errno>) -> Vec<u8> {
        let (body, error): (&[u8], i32) = match result {
            Ok(reply) => (&reply.0, 0),
            Err(error) => (&[], -error.raw_os_error()),
        };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
        bytes.extend(((HEAD_BYTES + body.len()) as u32).to_ne_bytes());
        bytes.extend(error.to_ne_bytes());
        bytes.extend(unique.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn u16s(mut self, numbers: &[u16]) -> Self {
        self.0.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        self
    }

    fn u32s(mut self, numbers: &[u32]) -> Self {
        self.0.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        self
    }

    fn u64s(mut self, numbers: &[u64]) -> Self {
        self.0.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        self
    }

    /// What was read.
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// `fuse_init_out`: version 7.31, writes of up to `write_max` bytes.
    pub(crate) fn init(write_max: u32) -> Self {
        /// `FUSE_BIG_WRITES`, `FUSE_MAX_PAGES`.
        const FLAGS: u32 = 1 << 5 | 1 << 22;
        let (readahead, background) = (0, [12, 9]);
        let pages = (write_max / BLOCK_BYTES) as u16;
        let reply = Self::default().u32s(&[7, 31, readahead, FLAGS]).u16s(&background);
        // Times are kept to the nanosecond.
        reply.u32s(&[write_max, 1]).u16s(&[pages, 0]).u32s(&[0; 8])
    }

    /// `fuse_entry_out`.
    pub(crate) fn entry(id: InodeId, stat: &Stat) -> Self {
        Self::default().u64s(&[id.0, 0, VALID_SECONDS, VALID_SECONDS]).u32s(&[0, 0]).attributes_of(id, stat)
    }

    /// `fuse_attr_out`.
    pub(crate) fn attributes(id: InodeId, stat: &Stat) -> Self {
        Self::default().u64s(&[VALID_SECONDS]).u32s(&[0, 0]).attributes_of(id, stat)
    }

    fn attributes_of(self, id: InodeId, stat: &Stat) -> Self {
        let attributes = &stat.attributes;
        let times = [attributes.accessed, attributes.modified, attributes.changed];
        let seconds = times.map(|Time { seconds, .. }| seconds.cast_unsigned());
        let blocks = stat.len.div_ceil(512) as u64;
        self.u64s(&[id.0, stat.len as u64, blocks])
            .u64s(&seconds)
            .u32s(&times.map(|time| time.nanos))
            .u32s(&[type_bits(stat.kind) | attributes.mode, stat.links, attributes.uid, attributes.gid])
            .u32s(&[0, BLOCK_BYTES, 0])
    }

    /// `fuse_open_out` of a file.
    pub(crate) fn opened(self) -> Self {
        self.u64s(&[0]).u32s(&[DIRECT_IO, 0])
    }

    /// `fuse_open_out` of a folder.
    pub(crate) fn opened_folder(handle: u64) -> Self {
        Self::default().u64s(&[handle]).u32s(&[0, 0])
    }

    /// `fuse_write_out`.
    pub(crate) fn written(len: usize) -> Self {
        Self::default().u32s(&[len as u32, 0])
    }

    /// `fuse_statfs_out`.
    pub(crate) fn usage(used: usize, max: usize) -> Self {
        let block = u64::from(BLOCK_BYTES);
        let (all, free) = (max as u64 / block, (max - used) as u64 / block);
        let (files, files_free) = (1 << 32, 1 << 31);
        Self::default()
            .u64s(&[all, free, free, files, files_free])
            .u32s(&[BLOCK_BYTES, NAME_MAX as u32, BLOCK_BYTES])
            .u32s(&[0; 7])
    }

    /// Adds a `fuse_dirent` if it fits into `len_max`; `next` is where to go on after it.
    pub(crate) fn add_name(
        &mut self,
        (name, id, kind): (&[u8], InodeId, FileKind),
        next: u64,
        len_max: usize,
    ) -> bool {
        let len = (24 + name.len()).next_multiple_of(8);
        if self.0.len() + len > len_max {
            return false;
        }
        let end = self.0.len() + len;
        let reply = std::mem::take(self).u64s(&[id.0, next]);
        *self = reply.u32s(&[name.len() as u32, type_bits(kind) >> 12]);
        self.0.extend(name);
        self.0.resize(end, 0);
        true
    }
}

fn type_bits(kind: FileKind) -> u32 {
    match kind {
        FileKind::File => 0o100_000,
        FileKind::Folder => 0o040_000,
        FileKind::Link => 0o120_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inode::Attributes;

    /// Sizes of the structures in `include/uapi/linux/fuse.h`.
    #[test]
    fn answers_are_as_long_as_the_kernel_expects() {
        let now = Time::default();
        let attributes =
            Attributes { mode: 0o644, uid: 0, gid: 0, accessed: now, modified: now, changed: now };
        let stat = Stat { kind: FileKind::File, len: 1, links: 1, attributes };
        let len = |reply: Reply| reply.0.len();
        assert_eq!(len(Reply::init(1 << 20)), 64);
        assert_eq!(len(Reply::entry(InodeId::ROOT, &stat)), 128);
        assert_eq!(len(Reply::attributes(InodeId::ROOT, &stat)), 104);
        assert_eq!(len(Reply::default().opened()), 16);
        assert_eq!(len(Reply::opened_folder(1)), 16);
        assert_eq!(len(Reply::written(1)), 8);
        assert_eq!(len(Reply::usage(1, 2)), 80);
    }

    #[test]
    fn a_folder_is_listed_as_far_as_there_is_room() {
        let mut reply = Reply::default();
        assert!(reply.add_name((b"12345678", InodeId(2), FileKind::File), 1, 64));
        assert!(reply.add_name((b"1", InodeId(3), FileKind::Folder), 2, 64));
        assert!(!reply.add_name((b"", InodeId(4), FileKind::Link), 3, 64));
        assert_eq!((reply.0.len(), reply.0[20], reply.0[32 + 20]), (64, 8, 4));
    }
}
