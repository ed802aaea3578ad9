//! The tags of files, computed piece by piece: an index of a large image has half a GiB.

use std::io::{self, Read};

use coldkeep_chunk_store::backend::{AnyBackend, ETag, ObjectBackend as _};
use md5::Md5;
use sha2::{Digest as _, Sha256};

/// Bytes that are read at once.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// How a backend makes its tags of a content, where that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tagging {
    /// Most S3 servers.
    Md5,
    /// The backends of tests.
    Sha256,
}

impl Tagging {
    /// Finds out by the tag of nothing; `None`: tags prove nothing.
    pub(super) fn of(backend: &AnyBackend) -> Option<Self> {
        let tag = backend.tag_of(b"")?;
        let is_it = |tagging: &Self| {
            tagging.tag(&mut io::empty(), &|| false).is_ok_and(|empty| empty == Some(tag.clone()))
        };
        [Self::Md5, Self::Sha256].into_iter().find(is_it)
    }

    /// Computes the tag of what `content` yields; `None` once `is_abandoned` says so.
    pub(super) fn tag(
        self,
        content: &mut impl Read,
        is_abandoned: &dyn Fn() -> bool,
    ) -> io::Result<Option<ETag>> {
        let (mut md5, mut sha256) = (Md5::new(), Sha256::new());
        let whole = for_each_piece(content, is_abandoned, |piece| match self {
            Self::Md5 => md5.update(piece),
            Self::Sha256 => sha256.update(piece),
        })?;
        Ok(whole.then(|| match self {
            Self::Md5 => hex(&md5.finalize()),
            Self::Sha256 => hex(&sha256.finalize()),
        }))
    }
}

/// Reads a content piece by piece; returns whether it came to its end, rather than being abandoned.
pub(super) fn for_each_piece(
    content: &mut impl Read,
    is_abandoned: &dyn Fn() -> bool,
    mut take: impl FnMut(&[u8]),
) -> io::Result<bool> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        if is_abandoned() {
            return Ok(false);
        }
        match content.read(&mut piece) {
            Ok(0) => return Ok(true),
            Ok(count) => take(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(hash: &[u8]) -> ETag {
    let hex = |byte: &u8| format!("{byte:02x}");
    ETag(hash.iter().map(hex).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coldkeep_chunk_store::StoreTime;
    use coldkeep_chunk_store::testing::{ManualClock, MemoryBackend};

    use super::*;

    /// Yields so many bytes, and notes how many were asked for at most.
    struct Long {
        left: usize,
        asked_max: usize,
    }

    impl Read for Long {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.asked_max = self.asked_max.max(buffer.len());
            let count = self.left.min(buffer.len());
            buffer[..count].fill(7);
            self.left -= count;
            Ok(count)
        }
    }

    fn backend() -> AnyBackend {
        AnyBackend::new(MemoryBackend::new(Arc::new(ManualClock::at(StoreTime::from_unix(1_700_000_000, 0)))))
    }

    #[test]
    fn a_long_content_has_the_backends_tag_and_takes_one_piece_of_memory() {
        let len = 3 * PIECE_BYTES + 5;
        let mut content = Long { left: len, asked_max: 0 };
        let tagging = Tagging::of(&backend()).unwrap();
        let tag = tagging.tag(&mut content, &|| false).unwrap();
        assert_eq!(tag, backend().tag_of(&vec![7; len]));
        assert!(content.asked_max <= PIECE_BYTES);
        assert_eq!(tagging.tag(&mut Long { left: len, asked_max: 0 }, &|| true).unwrap(), None);
    }

    #[test]
    fn md5_is_that_of_its_specification() {
        // RFC 1321, A.5.
        let tag = Tagging::Md5.tag(&mut &b"message digest"[..], &|| false).unwrap().unwrap();
        assert_eq!(tag.0, "f96b697d7cb7938d525a2f31aaf161d0");
    }
}
