//! A file of a snapshot, opened to be sent as it is stored.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::dir::DirError;

use crate::file::Context as _;
use crate::store::run_blocking;

/// Size of one read.
const BLOCK_BYTES: u64 = 1 << 20;

/// An open file of a snapshot, read in blocks of 1 MiB.
///
/// Its length is taken when it is opened; a file that shrinks later is an error.
#[derive(Debug)]
pub struct StoredFile {
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
    offset: u64,
}

impl StoredFile {
    pub(crate) fn open(path: &Path) -> Result<Self, DirError> {
        let file = File::open(path).context("open", path)?;
        let bytes = file.metadata().context("read the length of", path)?.len();
        Ok(Self { file: Arc::new(file), path: path.to_owned(), bytes, offset: 0 })
    }

    /// Returns the length of the file in bytes.
    pub const fn len(&self) -> u64 {
        self.bytes
    }

    /// Tells whether the file is empty.
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Reads the next block; `None` at the end.
    ///
    /// # Errors
    /// [`DirError`]; the next call tries again.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call reads the same block.
    pub async fn next_block(&mut self) -> Result<Option<Bytes>, DirError> {
        let block = (self.bytes - self.offset).min(BLOCK_BYTES);
        if block == 0 {
            return Ok(None);
        }
        let (file, path, offset) = (Arc::clone(&self.file), self.path.clone(), self.offset);
        let read = move || {
            let mut buffer = vec![0; block as usize];
            file.read_exact_at(&mut buffer, offset).context("read", &path)?;
            Ok(Bytes::from(buffer))
        };
        let shutting_down = || {
            let source = std::io::Error::other("the server is shutting down");
            Err(DirError::new("read", self.path.clone(), source))
        };
        let buffer = run_blocking(read).await.unwrap_or_else(shutting_down)?;
        self.offset += block;
        Ok(Some(buffer))
    }
}
