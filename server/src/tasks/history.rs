//! The list of tasks on disk: one line of JSON at a task's start, one at its end.
//!
//! A line that a crash cut short is skipped; a task without an end line was interrupted by the end of the process.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::upid::Upid;

/// How many finished tasks are remembered; older ones go with their logs.
pub const TASKS_KEPT: usize = 2000;
/// Longest line read, in bytes.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// The exit status of a task whose process ended before it did.
const INTERRUPTED: &str = "interrupted: the server ended before the task did";

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// When, in seconds since the Unix epoch.
    pub endtime: i64,
    /// `OK`, `WARNINGS: n` or the text of an error.
    pub status: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    upid: String,
    #[serde(flatten)]
    end: Option<Finished>,
}

/// The file and its state; all methods block.
pub(super) struct History {
    folder: PathBuf,
    file: File,
    lines: usize,
}

impl History {
    /// Opens the list in `folder`, which is created if need be, and returns the tasks that ended, oldest first.
    pub(super) fn open(folder: &Path, now: i64) -> io::Result<(Self, Vec<(Upid, Finished)>)> {
        std::fs::create_dir_all(folder.join("log"))?;
        let path = folder.join("list");
        let mut known = match File::open(&path) {
            Ok(file) => read(BufReader::new(file), now)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let surplus = known.len().saturating_sub(TASKS_KEPT);
        let gone: Vec<_> = known.drain(..surplus).collect();
        let file = write_all(folder, &known)?;
        let history = Self { folder: folder.to_owned(), file, lines: known.len() };
        for (upid, _) in &gone {
            history.forget_log(upid);
        }
        Ok((history, known))
    }

    /// Returns where a task's log is.
    pub(super) fn log_path(folder: &Path, upid: &Upid) -> PathBuf {
        folder.join("log").join(upid.file_name())
    }

    /// Notes that a task started.
    pub(super) fn started(&mut self, upid: &Upid) -> io::Result<()> {
        self.append(&Line { upid: upid.to_string(), end: None })
    }

    /// Notes that a task ended.
    pub(super) fn ended(&mut self, upid: &Upid, end: &Finished) -> io::Result<()> {
        self.append(&Line { upid: upid.to_string(), end: Some(end.clone()) })
    }

    /// Tells whether the file holds many lines that no longer count.
    pub(super) fn wants_rewrite(&self) -> bool {
        self.lines > 8 * TASKS_KEPT
    }

    /// Writes the list anew. Running tasks follow those that ended.
    pub(super) fn rewrite(&mut self, ended: &[(Upid, Finished)], running: &[Upid]) -> io::Result<()> {
        self.file = write_all(&self.folder, ended)?;
        self.lines = ended.len();
        running.iter().try_for_each(|upid| self.started(upid))
    }

    /// Removes the log of a task that is no longer remembered.
    pub(super) fn forget_log(&self, upid: &Upid) {
        // A log that cannot be removed is only a waste of space; the task is forgotten either way.
        let _ = std::fs::remove_file(Self::log_path(&self.folder, upid));
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.lines += 1;
        self.file.write_all(&text)
    }
}

fn write_all(folder: &Path, ended: &[(Upid, Finished)]) -> io::Result<File> {
    let mut text = Vec::new();
    for (upid, end) in ended {
        serde_json::to_writer(&mut text, &Line { upid: upid.to_string(), end: Some(end.clone()) })?;
        text.push(b'\n');
    }
    let path = folder.join("list");
    coldkeep_chunk_store::durable::replace_file(&path, &text, 0o640).map_err(io::Error::other)?;
    OpenOptions::new().append(true).open(path)
}

/// Reads the list; a task without an end counts as interrupted.
pub(super) fn read(mut reader: impl BufRead, now: i64) -> io::Result<Vec<(Upid, Finished)>> {
    let mut order = Vec::new();
    let mut ends: BTreeMap<Upid, Option<Finished>> = BTreeMap::new();
    let mut line = Vec::new();
    while (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
        let parsed = serde_json::from_slice::<Line>(&line).ok();
        if let Some((upid, end)) = parsed.and_then(|line| Some((line.upid.parse::<Upid>().ok()?, line.end))) {
            let known = ends.entry(upid.clone()).or_insert_with(|| {
                order.push(upid);
                None
            });
            *known = end.or(known.take());
        }
        line.clear();
    }
    let ended = order.into_iter().filter_map(|upid| {
        let end =
            ends.remove(&upid)?.unwrap_or_else(|| Finished { endtime: now, status: INTERRUPTED.to_owned() });
        Some((upid, end))
    });
    Ok(ended.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upid(number: u32) -> Upid {
        format!("UPID:n:00000001:00000002:{number:08X}:00000004:verify:s1:root@pam:").parse().unwrap()
    }

    fn ok(endtime: i64) -> Finished {
        Finished { endtime, status: "OK".to_owned() }
    }

    #[test]
    fn tasks_are_known_after_a_restart_and_unfinished_ones_count_as_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let (mut history, known) = History::open(folder.path(), 1).unwrap();
        assert!(known.is_empty());
        history.started(&upid(1)).unwrap();
        history.started(&upid(2)).unwrap();
        history.ended(&upid(1), &ok(5)).unwrap();
        history.file.write_all(b"{\"upid\":\"UPID:n:000").unwrap();
        drop(history);
        let (_, known) = History::open(folder.path(), 9).unwrap();
        let interrupted = Finished { endtime: 9, status: INTERRUPTED.to_owned() };
        assert_eq!(known, [(upid(1), ok(5)), (upid(2), interrupted)]);
    }

    #[test]
    fn old_tasks_go_with_their_logs() {
        let folder = tempfile::tempdir().unwrap();
        let (mut history, _) = History::open(folder.path(), 1).unwrap();
        std::fs::write(History::log_path(folder.path(), &upid(0)), "x").unwrap();
        for number in 0..=TASKS_KEPT as u32 {
            history.ended(&upid(number), &ok(5)).unwrap();
        }
        let (_, known) = History::open(folder.path(), 9).unwrap();
        assert_eq!((known.len(), &known[0].0), (TASKS_KEPT, &upid(1)));
        assert!(!History::log_path(folder.path(), &upid(0)).exists());
    }
}
