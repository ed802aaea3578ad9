//! A folder for parsers that read files, in memory where the machine allows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

/// The folder of this process, while somebody uses it.
pub(crate) struct Folder(MutexGuard<'static, Option<TempDir>>);

static FOLDER: Mutex<Option<TempDir>> = Mutex::new(None);

impl Folder {
    /// Waits for its turn; makes the folder at the first.
    pub(crate) fn of_process() -> Self {
        let mut folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
        folder.get_or_insert_with(|| {
            let memory = Path::new("/dev/shm");
            let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
            made.expect("a folder can be made")
        });
        Self(folder)
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().expect("it was made with the guard").path()
    }

    /// Writes a file, and returns its path.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).expect("the folder can be written");
        path
    }
}
