//! The audit log: who changed what, who was let in, and who was refused.
//!
//! One JSON line for each request that is no GET and each session that begins, if it is known whose, and for each refusal for
//! want of credentials (401) or rights (403), in sessions too; also for what a command does on a data folder. Requests are
//! recorded in two places, [`crate::http::Service`] and [`crate::http::serve_h2`], so that no handler can forget to.
//!
//! Lines are written by a thread of its own, from a bounded queue. Nothing waits for it: what cannot be written is counted,
//! told in the server's own log, and noted in the file when it can be written again. Lines are not synced one by one, so a
//! power loss may take the last ones.

mod record;
mod writer;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use coldkeep_chunk_store::{Clock, StoreTime};
use serde::Serialize;
use tokio::sync::oneshot;

pub(crate) use record::Record;
use writer::{Message, Writer};

use crate::AuditLimits;
use crate::auth::{AuthId, root};

/// The name of the current file; older ones have a number behind it.
pub const AUDIT_FILE: &str = "audit.log";
/// Longest error text in a line, in bytes.
const ERROR_BYTES_MAX: usize = 512;

/// The audit log of a server.
pub struct AuditLog {
    clock: Arc<dyn Clock>,
    queue: Mutex<Option<SyncSender<Message>>>,
    /// Lines that are not in the file and not noted there.
    lost: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What happened, as one line of the log.
#[derive(Debug, Serialize)]
struct Event<'a> {
    time: String,
    /// The user or token whose credentials were good.
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<&'a AuthId>,
    /// Who somebody said to be without proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a AuthId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    params: &'a BTreeMap<&'static str, String>,
    /// Nobody was there to be answered without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl AuditLog {
    /// Opens the log in `folder`. Where that fails it is tried again with every line. Blocks.
    ///
    /// # Errors
    /// No thread could be had.
    pub fn open(folder: PathBuf, limits: &AuditLimits, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel(limits.queue_lines.max(1));
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer::open(folder, limits, Arc::clone(&lost), Arc::clone(&clock));
        let writer =
            std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&waiting))?;
        Ok(Self { clock, queue: Mutex::new(Some(queue)), lost, writer: Mutex::new(Some(writer)) })
    }

    /// Notes what a command did on the data folder without a request: as `root@pam`, with what went wrong if it did.
    pub fn note(&self, action: &str, params: &BTreeMap<&'static str, String>, error: Option<&str>) {
        let who = root();
        self.add(Event { who: Some(&who), method: "LOCAL", path: action, params, error, ..Event::empty() });
    }

    /// Waits until every line that was added before is written, or lost.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn flush(&self) {
        let Some(queue) = self.queue() else { return };
        let (told, hears) = oneshot::channel();
        // The queue may be full, so that this waits for room.
        let sent = tokio::task::spawn_blocking(move || queue.send(Message::Flush(told)).is_ok()).await;
        if matches!(sent, Ok(true)) {
            // A writer that is gone has nothing to write any more.
            let _ = hears.await;
        }
    }

    /// Writes what waits and ends the log; what is added later is lost.
    ///
    /// # Cancel safety
    /// What waits is written all the same.
    pub async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let joined = tokio::task::spawn_blocking(move || writer.join().is_ok()).await;
            if !matches!(joined, Ok(true)) {
                tracing::error!("the writer of the audit log failed");
            }
        }
    }

    /// Adds a line, with the time of now.
    fn add(&self, mut event: Event<'_>) {
        event.time = timestamp(self.clock.wall());
        event.error = event.error.map(|text| &text[..text.floor_char_boundary(ERROR_BYTES_MAX)]);
        let sent = match (serde_json::to_vec(&event), self.queue()) {
            (Ok(mut line), Some(queue)) => {
                line.push(b'\n');
                queue.try_send(Message::Line(line)).map_err(|error| match error {
                    TrySendError::Full(_) => "too many lines at once",
                    TrySendError::Disconnected(_) => "its writer is gone",
                })
            }
            (Ok(_), None) => Err("it is closed"),
            (Err(_), _) => Err("a line cannot be written as JSON"),
        };
        if let Err(why) = sent
            && self.lost.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::error!(why, "lines of the audit log are lost");
        }
    }

    fn queue(&self) -> Option<SyncSender<Message>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

static NO_PARAMS: BTreeMap<&'static str, String> = BTreeMap::new();

impl Event<'_> {
    fn empty() -> Self {
        Self {
            time: String::new(),
            who: None,
            claims: None,
            address: None,
            method: "",
            path: "",
            params: &NO_PARAMS,
            status: None,
            error: None,
        }
    }
}

/// Writes a time as RFC 3339 has it, in UTC.
fn timestamp(at: StoreTime) -> String {
    match jiff::Timestamp::from_second(at.unix_seconds()) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        // Years that no calendar of ours reaches; better an odd line than none.
        Err(_) => at.unix_seconds().to_string(),
    }
}

#[cfg(test)]
mod tests;
