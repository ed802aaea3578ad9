//! Servers and what happens to them: starts, ends, and trouble with disks and clocks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coldkeep_chunk_store::bucket::{BucketOptions, BucketStore, Holder, RequestLifetimes, Takeover};
use coldkeep_chunk_store::dir::{EntryKind, EntryName};
use coldkeep_chunk_store::testing::{ManualClock, MemoryDir, Room, TestRandom};
use coldkeep_chunk_store::{ChunkStore, Clock as _, StoreOptions, StoreTime};

use crate::chunks::Stored;
use crate::executor::{Process, Role, TaskId};
use crate::local::{Calls, LocalGate};
use crate::net::SimBackend;
use crate::play::{Play, START};
use crate::rng::Rng;
use crate::step::{Flavour, Step};
use crate::work::{self, Catalog, Store};

/// Where an opened store is put.
type Slot = Arc<Mutex<Option<Store>>>;

/// A server: a disk, a clock, and a process now and then.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) dir: MemoryDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Option<Store>,
    /// Nobody starts anything there any more.
    pub(crate) is_closing: bool,
    opening: Option<(TaskId, Slot)>,
    /// The chunks in the bucket when it began to open, and when each was put; kept until it is up.
    found: Option<BTreeMap<usize, StoreTime>>,
    image: Option<MemoryDir>,
    /// The snapshots beside a store on a filesystem.
    pub(crate) catalog: Arc<Catalog>,
}

impl Server {
    pub(crate) fn new(number: usize, calls: &Arc<Calls>) -> Self {
        let dir = MemoryDir::new();
        dir.set_gate(Some(Arc::new(LocalGate(Arc::clone(calls)))));
        Self {
            process: Process { server: number, life: 0 },
            dir,
            clock: Arc::new(ManualClock::at(START)),
            store: None,
            is_closing: false,
            opening: None,
            found: None,
            image: None,
            catalog: Arc::default(),
        }
    }

    /// Cuts one of the files with cached content.
    fn tear(&self, number: usize) {
        let mut cached = self.dir.entries();
        cached.retain(|entry| entry.name.kind == EntryKind::Chunk && entry.stat.len > 0);
        if let Some(position) = number.checked_rem(cached.len()) {
            let entry = cached[position];
            self.dir.tear(entry.name, entry.stat.len as usize / 2);
        }
    }
}

impl Play {
    /// What happens to a machine.
    pub(crate) fn trouble(&mut self, step: &Step) {
        let active = self.active;
        let server = &mut self.servers[active];
        match step {
            Step::SetWall { ahead, seconds } => {
                server.clock.step_wall(START.plus(server.clock.monotonic()));
                step_clock(&server.clock, *ahead, *seconds);
            }
            Step::Crash { power } => {
                self.kill(active);
                if let Some(salt) = power {
                    let mut rng = Rng::new(*salt);
                    let server = &self.servers[active];
                    server.dir.lose_power_in_part(|count| rng.below(count));
                    server.catalog.lose_power(&mut rng);
                    if self.setup.flavour == Flavour::Folder {
                        self.ledger.lose_power();
                    }
                }
                self.open(active);
            }
            // A folder has one server, and no older copy of it is ever put in its place.
            Step::TakeOver | Step::Image | Step::Restore { .. } | Step::Tear(_)
                if self.setup.flavour == Flavour::Folder => {}
            Step::TakeOver => {
                let other = 1 - active;
                self.active = other;
                self.kill(other);
                self.open(other);
            }
            Step::Image => server.image = Some(server.dir.snapshot()),
            Step::Restore { is_elsewhere } => {
                if let Some(image) = server.image.take() {
                    let number = if *is_elsewhere { 1 - active } else { active };
                    self.kill(number);
                    self.servers[number].dir.restore(&image);
                    // What is on it may have been listed before.
                    self.servers[number].found = Some(BTreeMap::new());
                    self.active = number;
                    self.open(number);
                }
            }
            Step::Fill { is_full } => {
                server.dir.leave_room(if *is_full { Room::Nothing } else { Room::Plenty });
            }
            Step::FailCalls(failing) => {
                let methods = |is_late| failing.filter(|failing| failing.is_late == is_late);
                server.dir.fail(methods(false).map(|failing| failing.method).as_slice());
                server.dir.fail_late(methods(true).map(|failing| failing.method).as_slice());
            }
            Step::Rot(number) => self.rot(*number),
            Step::Tear(number) => server.tear(*number),
            _ => {}
        }
    }

    /// Has a stored chunk go bad, the first that is good from that number on.
    fn rot(&mut self, number: usize) {
        let count = self.setup.chunks;
        let dir = &self.servers[self.active].dir;
        for number in (0..count).map(|offset| (number + offset) % count) {
            let (key, name) = (self.chunks.key(number), EntryName::chunk(self.chunks.digest(number)));
            let stored = match self.setup.flavour {
                Flavour::Bucket => self.net.stored(&self.chunks, number),
                Flavour::Folder => self.chunks.stored(number, dir.content(name).as_deref()),
            };
            if matches!(stored, Stored::Honest | Stored::Claim) {
                match self.setup.flavour {
                    Flavour::Bucket => self.net.bucket().corrupt(key),
                    Flavour::Folder => assert!(dir.corrupt(name), "it was there a moment ago"),
                }
                self.ledger.rot(number);
                self.net.note(|| format!("chunk {number} goes bad"));
                return;
            }
        }
    }

    /// Starts a server that is neither up nor on its way there.
    pub(crate) fn revive(&mut self, number: usize) {
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
        options.swaps_atomically = self.setup.heeds_conditions;
        options.cache_bytes = self.setup.cache_bytes;
        options.lifetimes = RequestLifetimes::all(Duration::from_secs(lasts), Duration::from_secs(margin));
        let (net, chunks, ledger) =
            (Arc::clone(&self.net), Arc::clone(&self.chunks), Arc::clone(&self.ledger));
        let dir = server.dir.clone();
        let put_at = |number: &usize| Some((*number, net.bucket().modified_at(chunks.key(*number))?));
        let found = || (0..self.setup.chunks).filter_map(|number| put_at(&number)).collect();
        let found = self.servers[number].found.get_or_insert_with(found).clone();
        let backend = SimBackend::new(Arc::clone(&net), process);
        let opening = BucketStore::open(dir.clone(), backend, options, None);
        self.executor.spawn(process, Role::Open, async move {
            let store = match opening.await {
                Ok(store) => store,
                Err(error) => return net.note(|| format!("{process} cannot open: {}", work::chain(&error))),
            };
            let mut stayed = found.iter().filter(|(number, at)| {
                let (key, name) = (chunks.key(**number), EntryName::chunk(chunks.digest(**number)));
                net.bucket().modified_at(key) == Some(**at) && dir.entry(name).is_none()
            });
            if store.is_rebuilding()
                && let Some((number, _)) = stayed.next()
            {
                ledger.report(format!("R10: {process} is rebuilt without a marker of chunk {number}"));
            }
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
    pub(crate) fn note_opened(&mut self) {
        for server in &mut self.servers {
            let Some((_, slot)) = &server.opening else { continue };
            let opened = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(store) = opened {
                (server.store, server.opening, server.is_closing) = (Some(store), None, false);
                server.found = None;
            }
        }
    }
}

fn put(slot: &Slot, store: Store) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
}

/// Sets a wall clock.
pub(crate) fn step_clock(clock: &ManualClock, ahead: bool, seconds: u64) {
    let (now, by) = (clock.wall(), Duration::from_secs(seconds));
    clock.step_wall(if ahead { now.plus(by) } else { now.minus(by) });
}
