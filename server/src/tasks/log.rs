//! The log of one task: lines are collected in memory and written to its file on blocking threads.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use coldkeep_chunk_store::StoreTime;
use serde::Serialize;

/// Longest line, in bytes; the rest is cut.
const LINE_BYTES_MAX: usize = 4096;
/// Largest log, in bytes; later lines are dropped, so that a task can neither fill the disk nor the memory.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most bytes that wait to be written; further lines are dropped.
const PENDING_BYTES_MAX: usize = 1024 * 1024;

/// A line of a log as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Number of the line, from 1.
    pub n: u64,
    /// `<time>: <text>`.
    pub t: String,
}

/// Part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPart {
    /// The lines asked for.
    pub lines: Vec<LogLine>,
    /// How many lines the whole log has.
    pub total: u64,
}

/// The log of a running task.
pub(super) struct Log {
    path: PathBuf,
    pending: Mutex<Pending>,
    // Held while writing, so that two writers keep the order of lines.
    file: Mutex<Option<File>>,
}

#[derive(Default)]
struct Pending {
    text: Vec<u8>,
    accepted_bytes: u64,
}

impl Log {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, pending: Mutex::default(), file: Mutex::default() }
    }

    /// Adds a line without touching the file.
    pub(super) fn add(&self, at: StoreTime, text: &str) {
        let text = text.trim_end();
        let text = &text[..text.floor_char_boundary(LINE_BYTES_MAX)];
        let line = format!("{}: {}\n", timestamp(at), text.replace(['\n', '\r'], " "));
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = pending.accepted_bytes > LOG_BYTES_MAX || pending.text.len() > PENDING_BYTES_MAX;
        if !is_full {
            pending.accepted_bytes += line.len() as u64;
            pending.text.extend_from_slice(line.as_bytes());
        }
    }

    /// Writes what waits; blocks. What cannot be written goes on waiting.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = std::mem::take(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner).text);
        if text.is_empty() {
            return Ok(());
        }
        let written = self.open(&mut file).and_then(|file| write_out(file, &mut text));
        if !text.is_empty() {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            text.append(&mut pending.text);
            pending.text = text;
        }
        written
    }

    fn open<'a>(&self, file: &'a mut Option<File>) -> io::Result<&'a mut File> {
        match file {
            Some(open) => Ok(open),
            closed => Ok(closed.insert(OpenOptions::new().create(true).append(true).open(&self.path)?)),
        }
    }
}

/// Writes text; takes off what was written, also if the rest cannot be.
fn write_out(file: &mut impl Write, text: &mut Vec<u8>) -> io::Result<()> {
    while !text.is_empty() {
        match file.write(text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => drop(text.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads up to `limit` lines (0: all) from line `start` on (0 and 1 both mean the first); blocks. A log that does not exist
/// is empty.
pub(super) fn read(path: &Path, start: u64, limit: u64) -> io::Result<LogPart> {
    let mut part = LogPart { lines: Vec::new(), total: 0 };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(part),
        Err(error) => return Err(error),
    };
    let first = start.max(1);
    let last = if limit == 0 { u64::MAX } else { first.saturating_add(limit - 1) };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        part.total += 1;
        if (first..=last).contains(&part.total) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            part.lines.push(LogLine { n: part.total, t: text });
        }
        line.clear();
    }
    Ok(part)
}

/// Writes a time in the 25 characters that stock clients strip from a line.
fn timestamp(at: StoreTime) -> String {
    let time = jiff::Timestamp::from_second(at.unix_seconds()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_25_characters_of_time() {
        assert_eq!(timestamp(StoreTime::from_unix(1_700_000_000, 7)), "2023-11-14T22:13:20+00:00");
    }

    #[test]
    fn lines_are_numbered_from_one_and_read_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::new(path.clone());
        assert_eq!(read(&path, 0, 0).unwrap().total, 0);
        for text in ["a", "b\nc", "d"] {
            log.add(StoreTime::EPOCH, text);
            log.flush().unwrap();
        }
        let texts = |start, limit| -> Vec<_> {
            read(&path, start, limit).unwrap().lines.into_iter().map(|l| (l.n, l.t)).collect()
        };
        assert_eq!(texts(2, 1), [(2, "1970-01-01T00:00:00+00:00: b c".to_owned())]);
        assert_eq!(texts(0, 0), texts(1, 500));
        assert_eq!(texts(4, 500), []);
        assert_eq!(read(&path, 4, 1).unwrap().total, 3);
    }

    /// Goal: a disk that is full in the middle of a line costs nothing of the log.
    #[test]
    fn what_cannot_be_written_goes_on_waiting() {
        let (mut text, mut room) = (b"first\nsecond\n".to_vec(), [0; 8]);
        write_out(&mut &mut room[..], &mut text).unwrap_err();
        assert_eq!((&room[..], &text[..]), (&b"first\nse"[..], &b"cond\n"[..]));
    }

    #[test]
    fn a_log_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::new(path.clone());
        for _ in 0..2 * LOG_BYTES_MAX / LINE_BYTES_MAX as u64 {
            log.add(StoreTime::EPOCH, &"x".repeat(2 * LINE_BYTES_MAX));
            log.flush().unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() < LOG_BYTES_MAX + 2 * LINE_BYTES_MAX as u64);
        (0..1000).for_each(|_| log.add(StoreTime::EPOCH, &"x".repeat(LINE_BYTES_MAX)));
        assert!(log.pending.lock().unwrap().text.len() <= PENDING_BYTES_MAX + 2 * LINE_BYTES_MAX);
    }
}
