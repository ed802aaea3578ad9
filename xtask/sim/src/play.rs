//! Plays one history, and looks after each step whether what was promised is kept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coldkeep_chunk_store::bucket::{BucketOptions, BucketStore, Holder, RequestLifetimes, Takeover};
use coldkeep_chunk_store::dir::{EntryKind, EntryName};
use coldkeep_chunk_store::testing::{ManualClock, MemoryDir, Room, TestRandom};
use coldkeep_chunk_store::{ChunkStore, Clock as _, StoreOptions, StoreTime};
use coldkeep_gc::Control;

use crate::chunks::Chunks;
use crate::executor::{Executor, Process, Role, TaskId};
use crate::ledger::{Kept, Ledger, index_key, manifest_key};
use crate::local::{Calls, LocalGate};
use crate::log::Log;
use crate::net::{Kind, Mishap, Moving, Net, SimBackend};
use crate::rng::Rng;
use crate::step::{Flavour, Hold, Setup, Step};
use crate::work::{self, Catalog, Context, Store};

/// A wall clock in 2023.
const START: StoreTime = StoreTime::from_unix(1_700_000_000, 0);

/// Servers that take the bucket from each other, and one that has nothing but the bucket.
const SERVERS: usize = 3;

/// The server of [`Ending::Fresh`](crate::step::Ending::Fresh).
pub(crate) const FRESH: usize = 2;

/// Where an opened store is put.
type Slot = Arc<Mutex<Option<Store>>>;

/// A server: a disk, a clock, and a process now and then.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) dir: MemoryDir,
    clock: Arc<ManualClock>,
    pub(crate) store: Option<Store>,
    /// Nobody starts anything there any more.
    is_closing: bool,
    opening: Option<(TaskId, Slot)>,
    image: Option<MemoryDir>,
    /// The snapshots beside a store on a filesystem.
    pub(crate) catalog: Arc<Catalog>,
}

/// Far more than any history needs.
const EVENTS_MAX: u64 = 300_000;

/// One history while it is played.
pub(crate) struct Play {
    pub(crate) setup: Setup,
    pub(crate) net: Arc<Net>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) chunks: Arc<Chunks>,
    pub(crate) executor: Executor,
    pub(crate) servers: Vec<Server>,
    /// The server that works with the bucket, as far as its operator knows.
    pub(crate) active: usize,
    calls: Arc<Calls>,
    backend_clock: Arc<ManualClock>,
    run: Option<(TaskId, Control)>,
    checked: (u64, u64),
    pub(crate) events: u64,
    moving: Vec<Moving>,
    waiting: Vec<u64>,
}

impl Play {
    pub(crate) fn new(setup: &Setup, chunks: &Arc<Chunks>, log: Log) -> Self {
        let backend_clock = Arc::new(ManualClock::at(START));
        let net = Net::new(Arc::clone(&backend_clock), setup.page_objects, log);
        let calls: Arc<Calls> = Arc::default();
        let server = |number| {
            let dir = MemoryDir::new();
            dir.set_gate(Some(Arc::new(LocalGate(Arc::clone(&calls)))));
            Server {
                process: Process { server: number, life: 0 },
                dir,
                clock: Arc::new(ManualClock::at(START)),
                store: None,
                is_closing: false,
                opening: None,
                image: None,
                catalog: Arc::default(),
            }
        };
        let servers = (0..SERVERS).map(server).collect();
        let mut play = Self {
            setup: setup.clone(),
            net,
            ledger: Arc::default(),
            chunks: Arc::clone(chunks),
            executor: Executor::default(),
            servers,
            active: 0,
            calls,
            backend_clock,
            run: None,
            checked: (0, 0),
            events: 0,
            moving: Vec::new(),
            waiting: Vec::new(),
        };
        play.open(0);
        // The first open is nothing special: it takes place before anything goes wrong.
        play.drain();
        play.setup.pace = setup.pace;
        if setup.gates_calls {
            play.calls.shut();
        }
        play
    }

    /// Plays one step.
    pub(crate) fn take(&mut self, step: &Step) {
        match step {
            Step::Flow { count, hold, salt } => self.flow(*count, *hold, *salt),
            Step::Mishap { number, mishap } => self.mishap(*number, *mishap, false),
            Step::MishapOfDelete { number, mishap } => self.mishap(*number, *mishap, true),
            Step::Land(number) => {
                if let Some(position) = number.checked_rem(self.net.late()) {
                    self.net.land(position);
                }
            }
            Step::Outage(requests) => self.net.go_away(*requests),
            Step::LeapBucket(seconds) => step_clock(&self.backend_clock, true, *seconds),
            Step::Wait { seconds } => self.advance(Duration::from_secs(*seconds)),
            Step::Write(_)
            | Step::Run(_)
            | Step::Prune(_)
            | Step::Verify(_)
            | Step::Tick
            | Step::Scan
            | Step::Close => {
                self.work(step);
            }
            Step::ReadSnapshot(_) | Step::ReadChunk(_) => self.work(step),
            Step::Cancel => self.run.iter().for_each(|(_, control)| control.cancel()),
            Step::DropRun => {
                if let Some((task, _)) = self.run.take() {
                    self.executor.drop_task(task);
                }
            }
            Step::DropWrite(number) => {
                let writers = self.executor.of_role(Role::Write);
                if let Some(position) = number.checked_rem(writers.len()) {
                    self.executor.drop_task(writers[position]);
                }
            }
            _ => self.trouble(step),
        }
        self.note_opened();
    }

    /// What happens to a machine.
    fn trouble(&mut self, step: &Step) {
        let active = self.active;
        let server = &mut self.servers[active];
        match step {
            Step::SetWall { ahead, seconds } => step_clock(&server.clock, *ahead, *seconds),
            Step::Crash { power } => {
                self.kill(active);
                if let Some(salt) = power {
                    let mut rng = Rng::new(*salt);
                    let server = &self.servers[active];
                    server.dir.lose_power_in_part(|count| rng.below(count));
                    server.catalog.lose_power(&mut rng);
                }
                self.open(active);
            }
            // A folder has one server, and no older copy of it is ever put in its place.
            Step::TakeOver | Step::Image | Step::Restore | Step::Tear(_)
                if self.setup.flavour == Flavour::Folder => {}
            Step::TakeOver => {
                let other = 1 - active;
                self.active = other;
                self.kill(other);
                self.open(other);
            }
            Step::Image => server.image = Some(server.dir.snapshot()),
            Step::Restore => {
                if let Some(image) = server.image.take() {
                    self.kill(active);
                    self.servers[active].dir.restore(&image);
                    self.open(active);
                }
            }
            Step::Fill { is_full } => {
                server.dir.leave_room(if *is_full { Room::Nothing } else { Room::Plenty });
            }
            Step::FailCalls(method) => server.dir.fail(method.as_slice()),
            Step::Tear(number) => {
                let cached: Vec<_> = server
                    .dir
                    .entries()
                    .into_iter()
                    .filter(|entry| entry.name.kind == EntryKind::Chunk && entry.stat.len > 0)
                    .collect();
                if let Some(position) = number.checked_rem(cached.len()) {
                    let entry = cached[position];
                    server.dir.tear(entry.name, entry.stat.len as usize / 2);
                }
            }
            _ => {}
        }
    }

    /// Starts a task of the active server; one that is not there is started instead.
    fn work(&mut self, step: &Step) {
        let Some(context) = self.context() else {
            self.revive(self.active);
            return;
        };
        let (process, executor) = (context.process, &mut self.executor);
        match step.clone() {
            Step::Write(plan) => {
                executor.spawn(process, Role::Write, work::write(context, plan));
            }
            Step::ReadSnapshot(number) => {
                executor.spawn(process, Role::Other, work::read_snapshot(context, number));
            }
            Step::ReadChunk(number) => {
                executor.spawn(process, Role::Other, work::read_chunk(context, number));
            }
            Step::Verify(number) => {
                executor.spawn(process, Role::Other, work::verify(context, number));
            }
            Step::Prune(number) => {
                executor.spawn(process, Role::Other, work::prune(context, number));
            }
            Step::Run(plan) => {
                let control = Control::new();
                let run = work::collect_once(context, plan, control.clone());
                let task = executor.spawn(process, Role::Run, async move {
                    run.await;
                });
                self.run = Some((task, control));
            }
            Step::Tick => {
                executor.spawn(process, Role::Other, async move {
                    let _ = context.store.tick().await;
                });
            }
            Step::Close => {
                executor.spawn(process, Role::Other, async move {
                    let closed = context.store.close().await;
                    context.note(|| format!("closes: {closed:?}"));
                });
                let server = &mut self.servers[self.active];
                server.is_closing = true;
            }
            Step::Scan => {
                executor.spawn(process, Role::Other, async move {
                    let _ = context.store.scan_cache().await;
                });
            }
            _ => {}
        }
    }

    /// Returns what a task of the active server gets; nothing while that is down.
    pub(crate) fn context(&self) -> Option<Context> {
        let server = &self.servers[self.active];
        if server.is_closing {
            return None;
        }
        Some(Context {
            store: server.store.clone()?,
            process: server.process,
            net: Arc::clone(&self.net),
            ledger: Arc::clone(&self.ledger),
            chunks: Arc::clone(&self.chunks),
        })
    }

    /// Starts a server that is neither up nor on its way there.
    fn revive(&mut self, number: usize) {
        let server = &self.servers[number];
        let is_opening = server.opening.as_ref().is_some_and(|(task, _)| self.executor.has(*task));
        let is_up = server.store.is_some() && !server.is_closing;
        if !is_up && !is_opening {
            self.kill(number);
            self.open(number);
        }
    }

    /// Ends the process of a server wherever it stands.
    pub(crate) fn kill(&mut self, number: usize) {
        let server = &mut self.servers[number];
        let process = server.process;
        self.net.note(|| format!("{process} ends"));
        self.executor.kill(process);
        (server.store, server.opening) = (None, None);
        server.process.life += 1;
    }

    /// Starts the process of a server, which takes the bucket from whoever has it.
    pub(crate) fn open(&mut self, number: usize) {
        let process = self.servers[number].process;
        let slot: Slot = Arc::default();
        let task = match self.setup.flavour {
            Flavour::Bucket => self.open_bucket(number, Arc::clone(&slot)),
            Flavour::Folder => self.open_folder(number, Arc::clone(&slot)),
        };
        self.net.note(|| format!("{process} starts"));
        self.servers[number].opening = Some((task, slot));
    }

    fn open_bucket(&mut self, number: usize, slot: Slot) -> TaskId {
        let (lasts, margin) = self.setup.lifetime;
        let server = &self.servers[number];
        let process = server.process;
        let host = format!("host{number}");
        let holder = Holder { host, process: process.life + 1, id: format!("id {number}") };
        // Other tokens after each start.
        let random = TestRandom::new(number as u64 * 1_000_000 + u64::from(process.life));
        let mut options = BucketOptions::new(Arc::clone(&server.clock) as _, Arc::new(random), holder);
        options.takeover = Takeover::Force;
        options.cache_bytes = self.setup.cache_bytes;
        options.lifetimes = RequestLifetimes::all(Duration::from_secs(lasts), Duration::from_secs(margin));
        let net = Arc::clone(&self.net);
        let backend = SimBackend::new(Arc::clone(&net), process);
        let opening = BucketStore::open(server.dir.clone(), backend, options, None);
        self.executor.spawn(process, Role::Open, async move {
            let store = match opening.await {
                Ok(store) => store,
                Err(error) => return net.note(|| format!("{process} cannot open: {}", work::chain(&error))),
            };
            if store.is_rebuilding()
                && let Err(error) = store.finish_rebuild().await
            {
                return net.note(|| format!("{process} cannot end its rebuild: {}", work::chain(&error)));
            }
            net.note(|| format!("{process} is up"));
            put(&slot, Store::Bucket(Arc::new(store)));
        })
    }

    fn open_folder(&mut self, number: usize, slot: Slot) -> TaskId {
        let server = &self.servers[number];
        let (process, catalog) = (server.process, Arc::clone(&server.catalog));
        let options =
            StoreOptions::new(Arc::clone(&server.clock) as _).with_sync_level(self.setup.sync_level);
        let opening = ChunkStore::open_dir(server.dir.clone(), options);
        let net = Arc::clone(&self.net);
        self.executor.spawn(process, Role::Open, async move {
            match opening.await {
                Ok(store) => put(&slot, Store::Folder(Arc::new(store), catalog)),
                Err(error) => net.note(|| format!("{process} cannot open: {}", work::chain(&error))),
            }
        })
    }

    /// Takes over stores that were opened.
    fn note_opened(&mut self) {
        for server in &mut self.servers {
            let Some((_, slot)) = &server.opening else { continue };
            let opened = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(store) = opened {
                (server.store, server.opening, server.is_closing) = (Some(store), None, false);
            }
        }
    }

    /// Lets time pass on all clocks.
    pub(crate) fn advance(&mut self, duration: Duration) {
        self.backend_clock.advance(duration);
        for server in &self.servers {
            server.clock.advance(duration);
        }
    }

    fn mishap(&mut self, number: usize, mishap: Mishap, of_delete: bool) {
        self.net.moving(&mut self.moving);
        let fits = |moving: &&Moving| !of_delete || moving.kind == Kind::DeleteChunks;
        let fitting: Vec<Moving> = self.moving.iter().filter(fits).copied().collect();
        // The first, from the chosen one on, that this can happen to.
        for offset in 0..fitting.len() {
            if self.net.mishap(fitting[(number + offset) % fitting.len()].id, mishap) {
                return;
            }
        }
    }

    /// Lets so many things go on, in the order that `salt` says.
    fn flow(&mut self, count: usize, hold: Hold, salt: u64) {
        let mut rng = Rng::new(salt);
        for _ in 0..count {
            if !self.event(hold, &mut rng) {
                if self.executor.len() == 0 {
                    return;
                }
                // Everybody waits, for what is held or for time.
                self.advance(Duration::from_millis(rng.pick(&[200, 1000, 5000])));
            }
            if self.broken().is_some() {
                return;
            }
        }
    }

    /// Lets one thing go on; returns whether there was one.
    fn event(&mut self, hold: Hold, rng: &mut Rng) -> bool {
        self.net.moving(&mut self.moving);
        self.moving.retain(|moving| match hold {
            Hold::Deletes => {
                !(moving.is_arriving && matches!(moving.kind, Kind::DeleteChunks | Kind::Delete))
            }
            Hold::ChunkPuts => moving.kind != Kind::PutChunk,
            Hold::Answers => moving.is_arriving,
            _ => true,
        });
        self.calls.waiting(&mut self.waiting);
        if hold == Hold::Calls {
            self.waiting.clear();
        }
        let ready = match hold {
            Hold::Run => self.executor.ready(Some(Role::Run)),
            Hold::Writers => self.executor.ready(Some(Role::Write)),
            _ => self.executor.ready(None),
        };
        let count = self.moving.len() + self.waiting.len() + ready.len();
        if count == 0 {
            return false;
        }
        let chosen = rng.below(count);
        if let Some(task) = ready.get(chosen) {
            self.executor.poll(*task);
            self.note_opened();
        } else if let Some(moving) = self.moving.get(chosen - ready.len()) {
            self.net.go_on(moving.id);
        } else {
            self.calls.go_on(self.waiting[chosen - ready.len() - self.moving.len()]);
        }
        self.events += 1;
        if self.setup.pace > 0 {
            self.advance(Duration::from_millis(self.setup.pace));
        }
        true
    }

    /// Returns what is broken, if anything changed since it was looked for.
    pub(crate) fn broken(&mut self) -> Option<String> {
        let now = (self.net.changes(), self.ledger.changes());
        if now == self.checked && self.setup.flavour == Flavour::Bucket {
            return None;
        }
        let server = &self.servers[self.active];
        let (net, chunks) = (&self.net, &self.chunks);
        let broken = match self.setup.flavour {
            Flavour::Bucket => self.ledger.broken(&Kept {
                has_chunk: &|number| net.has_chunk(chunks, number),
                has_snapshot: &|path| {
                    net.bucket().has(&index_key(path)) && net.bucket().has(&manifest_key(path))
                },
                owner: net.owner(),
            }),
            Flavour::Folder => self.ledger.broken(&Kept {
                has_chunk: &|number| {
                    let name = EntryName::chunk(chunks.digest(number));
                    server.dir.entry(name).is_some_and(|entry| entry.stat.len == chunks.len(number))
                },
                has_snapshot: &|path| server.catalog.has_manifest(path),
                owner: Some(server.process),
            }),
        };
        if broken.is_none() {
            self.checked = now;
        }
        broken
    }

    /// Returns a marker of the active server that stands for nothing (I2).
    pub(crate) fn false_marker(&self) -> Option<String> {
        let server = &self.servers[self.active];
        let Some(Store::Bucket(store)) = &server.store else { return None };
        let status = store.status();
        // What is journalled, and whoever has lost the bucket, has no say.
        if status.journal.journalled > 0
            || status.closed.is_some()
            || self.net.owner() != Some(server.process)
        {
            return None;
        }
        let entries = server.dir.entries();
        let markers = entries.iter().filter(|entry| entry.name.kind == EntryKind::Chunk);
        let numbers = markers.filter_map(|entry| self.chunks.number(&entry.name.digest));
        let mut hollow = numbers.filter(|number| !self.net.has_chunk(&self.chunks, *number));
        hollow.next().map(|number| format!("I2: the marker of chunk {number} stands for no object"))
    }

    /// Puts an end to everything that goes wrong, and lets everybody come to an end; returns who does not.
    pub(crate) fn drain(&mut self) -> Option<String> {
        self.calls.open();
        self.net.go_away(0);
        for server in &self.servers {
            server.dir.fail(&[]);
            server.dir.leave_room(Room::Plenty);
        }
        // A wait for nothing but time: requests do not grow old on their way.
        self.setup.pace = 0;
        let mut rng = Rng::new(0);
        for _ in 0..2000 {
            while self.event(Hold::Nothing, &mut rng) {
                if self.events > EVENTS_MAX {
                    return Some(format!("I5: no end after {EVENTS_MAX} events"));
                }
                if let Some(broken) = self.broken() {
                    return Some(broken);
                }
            }
            if self.executor.len() == 0 {
                return None;
            }
            self.advance(Duration::from_secs(5));
        }
        Some(format!("I5: {} tasks wait for ever", self.executor.len()))
    }
}

fn put(slot: &Slot, store: Store) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
}

fn step_clock(clock: &ManualClock, ahead: bool, seconds: u64) {
    let (now, by) = (clock.wall(), Duration::from_secs(seconds));
    clock.step_wall(if ahead { now.plus(by) } else { now.minus(by) });
}
