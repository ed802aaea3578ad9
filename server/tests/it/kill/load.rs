//! Writers and a cleaner, who go on until the server is killed.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coldkeep_client::{BackupError, BackupSession, ImageSource, RequestError, Store};
use coldkeep_datastore::SnapshotName;
use coldkeep_s3_testbed::Choices;
use http::StatusCode;
use tokio::sync::mpsc::UnboundedSender;

use crate::site::{archive, collect, small, snapshot};

use super::ledger::{Backup, IMAGE, Ledger, STREAM};

/// Longest time until a group takes a backup: what closes it lasts for seconds.
const FREE_WITHIN: Duration = Duration::from_secs(30);

/// What the load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A backup has begun.
    Begun,
    /// The last archive of a backup is up, and the commit is asked for.
    Finishing,
    /// The commit was acknowledged.
    Finished,
    Collecting,
    Forgetting,
}

/// One client of the server.
pub(super) struct Load {
    pub(super) store: Store,
    pub(super) ledger: Arc<Ledger>,
    pub(super) choices: Choices,
    pub(super) events: UnboundedSender<Event>,
    pub(super) is_killed: Arc<AtomicBool>,
}

impl Load {
    fn tell(&self, event: Event) {
        // Nobody listens any more once the moment has come.
        let _ = self.events.send(event);
    }

    /// Whether the server was killed. Whatever fails before is a failure of the test, unless a busy machine took longer over
    /// a request to a bucket than the few seconds that it is good for: that is no success, and all goes on.
    fn is_over(&self, what: &str, error: &dyn Error) -> bool {
        let (is_killed, why) = (self.is_killed.load(Ordering::SeqCst), chain(error));
        assert!(is_killed || why.contains("Request has expired"), "{what} failed under load: {why}");
        is_killed
    }

    /// Makes backups of one group; returns how many.
    pub(super) async fn write(mut self, id: String) -> usize {
        for count in 0.. {
            let backup = Backup::choose(&mut self.choices);
            let tell = |event| self.tell(event);
            if let Err(error) = back_up(&self.store, &self.ledger, &id, backup, tell).await
                && self.is_over("a backup", &error)
            {
                return count;
            }
        }
        unreachable!()
    }

    /// Forgets and collects; returns how often.
    pub(super) async fn clean(mut self) -> usize {
        for count in 0.. {
            let done = if self.choices.below(3) == 0 { self.collect().await } else { self.forget().await };
            if !done {
                return count;
            }
        }
        unreachable!()
    }

    async fn collect(&self) -> bool {
        self.tell(Event::Collecting);
        match collect(&self.store).await {
            Ok(()) => true,
            Err(error) => !self.is_over("a collection", &error),
        }
    }

    /// Forgets any snapshot, the newest too, but leaves some for the checks. Waits for its turn by collecting.
    async fn forget(&mut self) -> bool {
        let committed = self.ledger.committed();
        if committed.len() <= 4 {
            return self.collect().await;
        }
        let (name, _) = &committed[self.choices.below(committed.len())];
        self.tell(Event::Forgetting);
        self.ledger.forgetting(name);
        match self.store.forget(name).await {
            Ok(()) => self.ledger.forgotten(name),
            // A running backup is based on it.
            Err(RequestError::Refused { .. }) => self.ledger.kept(name),
            Err(error) => return !self.is_over("a removal", &error),
        }
        true
    }
}

/// Begins a backup; while the cleaner removes the snapshot that it would build on, or a path in a bucket is closed after a
/// crash (R19), it is refused and asks again.
async fn begin(store: &Store, name: &SnapshotName) -> Result<BackupSession, RequestError> {
    let until = Instant::now() + FREE_WITHIN;
    loop {
        match store.begin_backup(name, small()).await {
            Err(error) if error.status() == Some(StatusCode::BAD_REQUEST) && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            begun => return begun,
        }
    }
}

/// Makes one backup, and keeps the ledger.
pub(crate) async fn back_up(
    store: &Store,
    ledger: &Ledger,
    id: &str,
    backup: Backup,
    tell: impl Fn(Event),
) -> Result<(), BackupError> {
    let name = snapshot(id, ledger.next_time());
    let session = begin(store, &name).await?;
    ledger.begin(id, &backup);
    tell(Event::Begun);
    let image = ImageSource::reader(backup.image.reader(), backup.image.len() as u64);
    let (image_name, stream_name) = (archive(IMAGE), archive(STREAM));
    let (image, stream) = tokio::join!(
        session.upload_image(&image_name, image),
        session.upload_stream(&stream_name, backup.stream.reader())
    );
    image?;
    stream?;
    ledger.finishing(&name, backup);
    tell(Event::Finishing);
    session.finish().await?;
    ledger.finished(&name);
    tell(Event::Finished);
    Ok(())
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
