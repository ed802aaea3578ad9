//! The readers of the list of tasks and of their logs, for the fuzz targets and nothing else.

use std::io;
use std::path::{Path, PathBuf};

use super::history::{self, History};
use super::{Finished, LogPart, Upid, log};

/// Reads the list of tasks as it is read at a start.
pub fn list(text: &[u8], now: i64) -> io::Result<Vec<(Upid, Finished)>> {
    history::read(text, now)
}

/// Opens the list in `folder`, which writes it anew; returns what it held.
pub fn open(folder: &Path, now: i64) -> io::Result<Vec<(Upid, Finished)>> {
    History::open(folder, now).map(|(_, known)| known)
}

/// Returns where a task's log stands.
pub fn log_path(folder: &Path, upid: &Upid) -> PathBuf {
    History::log_path(folder, upid)
}

/// Reads part of a log.
pub fn log(path: &Path, start: u64, limit: u64) -> io::Result<LogPart> {
    log::read(path, start, limit)
}
