//! The folder of a server, and images of it.

use std::fs;
use std::io;
use std::path::Path;

use filetime::FileTime;
use tempfile::TempDir;

/// Makes a folder on a filesystem in memory, where there is one: syncs cost nothing there.
pub(super) fn temporary() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder for temporary files")
}

/// Copies a folder with the times of its files, which say when chunks were used.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&from, &to)?;
            continue;
        }
        let metadata = entry.metadata()?;
        let times =
            (FileTime::from_last_access_time(&metadata), FileTime::from_last_modification_time(&metadata));
        fs::copy(&from, &to)?;
        // Reading may have changed it.
        for file in [&from, &to] {
            filetime::set_file_times(file, times.0, times.1)?;
        }
    }
    Ok(())
}

/// Removes a folder if it is there.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
