//! A server: a folder, a clock, and a process now and then.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use coldkeep_chunk_store::backend::AnyBackend;
use coldkeep_chunk_store::bucket::{BucketOptions, Holder, RequestLifetimes, Takeover};
use coldkeep_chunk_store::testing::{InPlace, ManualClock, TestRandom};
use coldkeep_datastore::{BucketParts, Datastore};
use coldkeep_gc::Control;
use futures_util::FutureExt as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

use super::choose::Setup;
use super::folder;
use super::ledger::Ledger;
use crate::executor::Process;
use crate::history::message;
use crate::net::{Net, SimBackend};
use crate::play::START;
use crate::work::chain;

/// A server.
pub(super) struct Server {
    number: usize,
    ledger: Arc<Ledger>,
    life: u32,
    home: TempDir,
    pub(super) clock: Arc<ManualClock>,
    up: Option<Running>,
    image: Option<TempDir>,
}

/// A process, as far as it has come.
struct Running {
    runtime: Runtime,
    rest: Arc<Rest>,
    store: Arc<Mutex<Option<Arc<Datastore>>>>,
    /// Nobody starts anything there any more.
    is_closing: bool,
    backups: Vec<AbortHandle>,
    run: Option<Control>,
}

impl Server {
    pub(super) fn new(number: usize, ledger: &Arc<Ledger>) -> Self {
        let (clock, ledger) = (Arc::new(ManualClock::at(START)), Arc::clone(ledger));
        Self { number, ledger, life: 0, home: folder::temporary(), clock, up: None, image: None }
    }

    pub(super) fn process(&self) -> Process {
        Process { server: self.number, life: self.life }
    }

    pub(super) fn home(&self) -> Arc<str> {
        self.home.path().to_string_lossy().into()
    }

    fn folder(&self) -> std::path::PathBuf {
        self.home.path().join("store")
    }

    /// Ends the process wherever it stands, as a signal does that cannot be caught.
    pub(super) fn kill(&mut self, net: &Net) {
        let process = self.process();
        net.note(|| format!("{process} ends"));
        if let Some(up) = self.up.take() {
            // What its tasks would do when they are dropped no dead process does.
            let _dead = InPlace::cease();
            drop(up);
        }
        self.life += 1;
    }

    /// Starts the process, which takes the bucket from whoever has it.
    pub(super) fn open(&mut self, net: &Arc<Net>, setup: &Setup) {
        let process = self.process();
        net.note(|| format!("{process} starts"));
        let rest: Arc<Rest> = Arc::default();
        let parked = Arc::clone(&rest);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(move || parked.note())
            .build()
            .expect("a runtime without drivers needs nothing");
        let (lasts, margin) = setup.lifetime;
        let holder = Holder {
            host: format!("host{}", self.number),
            process: process.life + 1,
            id: format!("id {}", self.number),
        };
        // Other tokens after each start.
        let random = TestRandom::new(self.number as u64 * 1_000_000 + u64::from(process.life));
        let mut options = BucketOptions::new(Arc::clone(&self.clock) as _, Arc::new(random), holder);
        options.takeover = Takeover::Force;
        options.swaps_atomically = setup.heeds_conditions;
        options.cache_bytes = setup.cache_bytes;
        options.lifetimes = RequestLifetimes::all(Duration::from_secs(lasts), Duration::from_secs(margin));
        let backend = AnyBackend::new(SimBackend::new(Arc::clone(net), process));
        let (folder, home, net) = (self.folder(), self.home(), Arc::clone(net));
        let store: Arc<Mutex<Option<Arc<Datastore>>>> = Arc::default();
        let slot = Arc::clone(&store);
        let opening = async move {
            let name = "sim".parse().expect("a name");
            let opened =
                Box::pin(Datastore::open_bucket(&folder, name, BucketParts { backend, options })).await;
            match opened {
                Ok(opened) => {
                    net.note(|| format!("{process} is up, refreshed: {:?}", opened.refresh_report()));
                    *lock(&slot) = Some(opened);
                }
                Err(error) => {
                    net.note(|| format!("{process} cannot open: {}", chain(&error).replace(&*home, "~")));
                }
            }
        };
        runtime.spawn(watched(&self.ledger, opening));
        self.up = Some(Running { runtime, rest, store, is_closing: false, backups: Vec::new(), run: None });
    }

    /// Returns the datastore, if the process is up and not about to end.
    pub(super) fn store(&self) -> Option<Arc<Datastore>> {
        let up = self.up.as_ref().filter(|up| !up.is_closing)?;
        lock(&up.store).clone()
    }

    /// Returns whether it is neither up nor on its way there.
    pub(super) fn is_down(&self) -> bool {
        self.store().is_none() && self.is_at_rest()
    }

    /// Returns whether nobody there waits for anything.
    pub(super) fn is_at_rest(&self) -> bool {
        self.up.as_ref().is_none_or(|up| up.runtime.metrics().num_alive_tasks() == 0)
    }

    /// Lets everybody there go on until all of them wait.
    pub(super) fn settle(&self) {
        if let Some(up) = &self.up {
            let _in_place = InPlace::begin();
            up.runtime.block_on(Settled(&up.rest));
        }
    }

    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(up) = &self.up {
            drop(up.runtime.spawn(watched(&self.ledger, task)));
        }
    }

    pub(super) fn spawn_backup(&mut self, backup: impl Future<Output = ()> + Send + 'static) {
        if let Some(up) = &mut self.up {
            up.backups.retain(|backup| !backup.is_finished());
            up.backups.push(up.runtime.spawn(watched(&self.ledger, backup)).abort_handle());
        }
    }

    pub(super) fn drop_backup(&mut self, number: usize) {
        if let Some(up) = &mut self.up {
            up.backups.retain(|backup| !backup.is_finished());
            if let Some(position) = number.checked_rem(up.backups.len()) {
                up.backups[position].abort();
            }
        }
    }

    pub(super) fn spawn_run(&mut self, control: Control, run: impl Future<Output = ()> + Send + 'static) {
        if let Some(up) = &mut self.up {
            up.run = Some(control);
            drop(up.runtime.spawn(watched(&self.ledger, run)));
        }
    }

    pub(super) fn cancel_run(&self) {
        self.up.iter().filter_map(|up| up.run.as_ref()).for_each(Control::cancel);
    }

    /// Ends the use of the store cleanly, which takes its time.
    pub(super) fn close(&mut self, net: &Arc<Net>) {
        let (process, net) = (self.process(), Arc::clone(net));
        let Some(store) = self.store() else { return };
        self.spawn(async move {
            let Some(bucket) = store.chunks().as_bucket() else { return };
            let closed = bucket.close().await;
            net.note(|| format!("{process} closes: {closed:?}"));
        });
        self.up.iter_mut().for_each(|up| up.is_closing = true);
    }

    /// Loses the folder of a process that has ended.
    pub(super) fn lose_folder(&self) {
        folder::remove(&self.folder()).expect("a folder in memory goes");
    }

    /// Makes an image of the folder.
    pub(super) fn take_image(&mut self) {
        let image = folder::temporary();
        folder::copy(&self.folder(), &image.path().join("store")).expect("a folder in memory is copied");
        self.image = Some(image);
    }

    pub(super) fn give_image(&mut self) -> Option<TempDir> {
        self.image.take()
    }

    /// Puts an image in the place of the folder; the process has ended.
    pub(super) fn put_image(&mut self, image: &TempDir) {
        self.lose_folder();
        folder::copy(&image.path().join("store"), &self.folder()).expect("a folder in memory is copied");
    }
}

/// Has a panic of a task noted: the runtime would keep it to itself.
fn watched(
    ledger: &Arc<Ledger>,
    task: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let ledger = Arc::clone(ledger);
    async move {
        if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
            ledger.report(format!("panic: {}", message(panic.as_ref())));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells when a runtime has nothing left to do.
#[derive(Default)]
struct Rest {
    has_come: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Rest {
    /// The runtime's thread is about to wait.
    fn note(&self) {
        self.has_come.store(true, Ordering::Relaxed);
        lock(&self.waker).take().into_iter().for_each(Waker::wake);
    }
}

/// Is over when the runtime that polls it has nothing left to do.
struct Settled<'a>(&'a Rest);

impl Future for Settled<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.has_come.swap(false, Ordering::Relaxed) {
            return Poll::Ready(());
        }
        *lock(&self.0.waker) = Some(context.waker().clone());
        Poll::Pending
    }
}
