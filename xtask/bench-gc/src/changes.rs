//! What was written below a folder: the check that a run on an unchanged store writes nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

/// Times of files are those of the kernel's last tick: so much may lie between what was written before and the start.
const TICKS: Duration = Duration::from_millis(20);

/// What a collection always writes: the clock, by way of a new file, and the probe of the times, which it removes.
const ALWAYS: [&str; 3] = [".coldkeep", ".coldkeep/clock", ".chunks"];

/// An instant before which nothing is written any more.
pub(crate) struct Since(SystemTime);

impl Since {
    /// Waits until what was written before can be told apart.
    pub(crate) async fn now() -> Since {
        tokio::time::sleep(TICKS).await;
        let now = SystemTime::now();
        tokio::time::sleep(TICKS).await;
        Since(now)
    }

    /// Fails if anything below the folder was written since but what always is.
    pub(crate) fn check_unchanged(&self, folder: &Path) -> Result<()> {
        let mut changed = Vec::new();
        let mut open = vec![folder.to_owned()];
        while let Some(below) = open.pop() {
            let context = || format!("cannot list {}", below.display());
            for entry in fs::read_dir(&below).with_context(context)? {
                let entry = entry.with_context(context)?;
                let metadata = entry.metadata().with_context(context)?;
                let seconds = Duration::from_secs(u64::try_from(metadata.ctime()).unwrap_or(0));
                let changed_at = UNIX_EPOCH + seconds + Duration::from_nanos(metadata.ctime_nsec() as u64);
                if changed_at >= self.0 {
                    changed.push(entry.path());
                }
                if metadata.is_dir() {
                    open.push(entry.path());
                }
            }
        }
        let is_expected = |path: &PathBuf| ALWAYS.iter().any(|known| *path == folder.join(known));
        changed.retain(|path| !is_expected(path));
        let first = changed.first();
        ensure!(first.is_none(), "{} files were written, {first:?} among them", changed.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_is_noticed_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join(".chunks/0000");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir(folder.path().join(".coldkeep")).unwrap();
        fs::write(deep.join("a"), "x").unwrap();
        let since = Since::now().await;
        fs::write(folder.path().join(".coldkeep/clock"), "x").unwrap();
        since.check_unchanged(folder.path()).unwrap();
        touch(&deep.join("a"));
        let error = since.check_unchanged(folder.path()).unwrap_err();
        assert!(error.to_string().contains("1 files"), "{error}");
        fs::remove_file(deep.join("a")).unwrap();
        // The folder bears the trace of it.
        since.check_unchanged(folder.path()).unwrap_err();
    }

    /// Changes nothing but times, as the use of a chunk does.
    fn touch(path: &Path) {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_times(fs::FileTimes::new().set_accessed(UNIX_EPOCH)).unwrap();
    }
}
