//! The thread that writes the audit log, and its files.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use coldkeep_chunk_store::Clock;
use serde_json::json;
use tokio::sync::oneshot;

use super::{AUDIT_FILE, timestamp};
use crate::AuditLimits;

/// Most bytes that are written at once.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Access rights of the files.
const MODE: u32 = 0o600;

/// What the writer is to do.
pub(super) enum Message {
    /// Write a line, which ends with its end.
    Line(Vec<u8>),
    /// Tell when everything before is written or lost.
    Flush(oneshot::Sender<()>),
}

/// The current file and those before it; everything blocks.
pub(super) struct Writer {
    folder: PathBuf,
    file_bytes_max: u64,
    files_max: u32,
    lost: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
    current: Option<Current>,
    is_failing: bool,
}

struct Current {
    file: File,
    bytes: u64,
}

impl Writer {
    pub(super) fn open(
        folder: PathBuf,
        limits: &AuditLimits,
        lost: Arc<AtomicU64>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (file_bytes_max, files_max) = (limits.file_bytes as u64, limits.files.max(1));
        let mut writer =
            Self { folder, file_bytes_max, files_max, lost, clock, current: None, is_failing: false };
        match writer.open_current() {
            Ok(current) => writer.current = Some(current),
            Err(error) => writer.tell(&error),
        }
        writer
    }

    /// Writes lines until nobody can send any more.
    pub(super) fn run(mut self, waiting: &Receiver<Message>) {
        while let Ok(first) = waiting.recv() {
            let (mut batch, mut lines, mut flushes) = (Vec::new(), 0, Vec::new());
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Line(line) => {
                        batch.extend_from_slice(&line);
                        lines += 1;
                    }
                    Message::Flush(told) => flushes.push(told),
                }
                next = if batch.len() < BATCH_BYTES_MAX { waiting.try_recv().ok() } else { None };
            }
            if lines > 0 {
                self.write(&batch, lines);
            }
            // Whoever no longer waits need not be told.
            for told in flushes {
                let _ = told.send(());
            }
        }
    }

    fn write(&mut self, batch: &[u8], lines: u64) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let written =
            if lost == 0 { self.append(batch) } else { self.append(&[&self.note(lost), batch].concat()) };
        match written {
            Ok(()) => {
                if lost > 0 {
                    tracing::warn!(lost, "the audit log is written again; lines are missing in it");
                }
                self.is_failing = false;
            }
            Err(error) => {
                self.lost.fetch_add(lost + lines, Ordering::Relaxed);
                self.tell(&error);
            }
        }
    }

    /// Says in the file itself how many lines are missing.
    fn note(&self, lost: u64) -> Vec<u8> {
        let mut line = json!({ "time": timestamp(self.clock.wall()), "lost": lost }).to_string().into_bytes();
        line.push(b'\n');
        line
    }

    fn tell(&mut self, error: &io::Error) {
        if !self.is_failing {
            let path = self.path(0);
            tracing::error!(path = %path.display(), %error, "cannot write the audit log; lines are lost until that works");
        }
        self.is_failing = true;
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.open_current()?,
        };
        if current.bytes > 0 && current.bytes + bytes.len() as u64 > self.file_bytes_max {
            self.rotate()?;
            current = self.open_current()?;
        }
        if let Err(error) = current.file.write_all(bytes) {
            // Half a line would spoil the next one. If this fails too, the next opener ends the line.
            let _ = current.file.set_len(current.bytes);
            return Err(error);
        }
        current.bytes += bytes.len() as u64;
        self.current = Some(current);
        Ok(())
    }

    fn open_current(&self) -> io::Result<Current> {
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).mode(MODE).open(self.path(0))?;
        let mut bytes = file.metadata()?.len();
        if bytes > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                bytes += 1;
            }
        }
        Ok(Current { file, bytes })
    }

    /// Gives each file the next number; those beyond the bound go.
    fn rotate(&self) -> io::Result<()> {
        let mut number = self.files_max;
        // Also those of a time when more were kept.
        while remove(&self.path(number))? {
            number += 1;
        }
        for number in (1..self.files_max).rev() {
            rename(&self.path(number - 1), &self.path(number))?;
        }
        if self.files_max == 1 {
            remove(&self.path(0))?;
        }
        Ok(())
    }

    fn path(&self, number: u32) -> PathBuf {
        match number {
            0 => self.folder.join(AUDIT_FILE),
            number => self.folder.join(format!("{AUDIT_FILE}.{number}")),
        }
    }
}

/// Removes a file; tells whether there was one.
fn remove(path: &std::path::Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn rename(from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
