//! Plays one history, and looks after each step whether what was promised is kept.

use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::bucket::Closed;
use coldkeep_chunk_store::dir::{EntryKind, EntryName, StateFile};
use coldkeep_chunk_store::testing::Room;
use coldkeep_chunk_store::{Digest, StoreTime};
use coldkeep_gc::Control;

use crate::chunks::{ChunkSets, Chunks, Need};
use crate::executor::{Executor, Role, TaskId};
use crate::ledger::{Kept, Ledger, index_key, manifest_key};
use crate::local::Calls;
use crate::machine::{Server, step_clock};
use crate::net::{Moving, Net};
use crate::rng::Rng;
use crate::step::{Flavour, Hold, Setup, Step};
use crate::work::{self, Context, Store};

/// A wall clock in 2023.
pub(crate) const START: StoreTime = StoreTime::from_unix(1_700_000_000, 0);

/// Servers that take the bucket from each other, and one that has nothing but the bucket.
pub(crate) const SERVERS: usize = 3;

/// The server of [`Ending::Fresh`](crate::step::Ending::Fresh).
pub(crate) const FRESH: usize = 2;

/// Far more than any history needs.
pub(crate) const EVENTS_MAX: u64 = 300_000;

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
    run: Option<(TaskId, Control)>,
    checked: (u64, u64),
    pub(crate) events: u64,
    moving: Vec<Moving>,
    waiting: Vec<u64>,
}

impl Play {
    pub(crate) fn new(setup: &Setup, sets: &ChunkSets, net: &Arc<Net>) -> Self {
        let chunks = if setup.is_mixed { &sets.mixed } else { &sets.plain };
        let calls: Arc<Calls> = Arc::default();
        let servers = (0..SERVERS).map(|number| Server::new(number, &calls)).collect();
        let mut play = Self {
            setup: setup.clone(),
            net: Arc::clone(net),
            ledger: Arc::default(),
            chunks: Arc::clone(chunks),
            executor: Executor::default(),
            servers,
            active: 0,
            calls,
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
            Step::Mishap { number, mishap } => self.net.mishap_from(*number, *mishap, false),
            Step::MishapOfDelete { number, mishap } => self.net.mishap_from(*number, *mishap, true),
            Step::Land(number) => {
                if let Some(position) = number.checked_rem(self.net.late()) {
                    self.net.land(position);
                }
            }
            Step::Outage(requests) => self.net.go_away(*requests),
            Step::LeapBucket(seconds) => step_clock(self.net.clock(), true, *seconds),
            Step::Wait { seconds } => self.advance(Duration::from_secs(*seconds)),
            Step::Write(_)
            | Step::Run(_)
            | Step::Prune(_)
            | Step::Verify(_)
            | Step::Tick
            | Step::Scan
            | Step::Close
            | Step::ReadSnapshot(_)
            | Step::ReadChunk(_) => match self.context() {
                Some(context) => self.work(step, context),
                None => self.revive(self.active),
            },
            // A server that is not up there stays so: else it would take the bucket back.
            Step::Elsewhere(step) => {
                if let Some(context) = self.context_of(1 - self.active) {
                    self.work(step, context);
                }
            }
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

    /// Starts a task of a server.
    fn work(&mut self, step: &Step, context: Context) {
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
                self.servers[process.server].is_closing = true;
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
        self.context_of(self.active)
    }

    fn context_of(&self, number: usize) -> Option<Context> {
        let server = &self.servers[number];
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

    /// Lets time pass on all clocks.
    pub(crate) fn advance(&mut self, duration: Duration) {
        self.net.clock().advance(duration);
        for server in &self.servers {
            server.clock.advance(duration);
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
        self.moving.retain(|moving| hold.lets_go(moving));
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
        let broken = net.broken().or_else(|| match self.setup.flavour {
            Flavour::Bucket => self.ledger.broken(&Kept {
                has_chunk: &|need| net.has_need(chunks, need),
                has_snapshot: &|path| {
                    net.bucket().has(&index_key(path)) && net.bucket().has(&manifest_key(path))
                },
                owner: net.owner(),
            }),
            Flavour::Folder => self.ledger.broken(&Kept {
                has_chunk: &|need: Need| {
                    let content = server.dir.content(EntryName::chunk(chunks.digest(need.number)));
                    content.is_some_and(|content| chunks.has_need(need, &content))
                },
                has_snapshot: &|path| server.catalog.has_manifest(path),
                owner: Some(server.process),
            }),
        });
        if broken.is_none() {
            self.checked = now;
        }
        broken
    }

    /// Returns what the server that has the bucket is wrong about: a marker that stands for nothing (I2), or whose the bucket is (R10).
    pub(crate) fn wrong_belief(&self) -> Option<String> {
        let owner = self.net.owner();
        let server = self.servers.iter().find(|server| Some(server.process) == owner)?;
        let Some(Store::Bucket(store)) = &server.store else { return None };
        match store.status().closed {
            // Where no condition is heeded a late write of its own may have undone the takeover that closed it.
            Some(Closed::Superseded) if self.net.heeds_conditions() => {
                return Some("R10: a server that has the bucket takes it for another's".to_owned());
            }
            Some(_) => return None,
            None => {}
        }
        // The journal names digests by their bytes.
        let journal = server.dir.state_file(StateFile::Journal).unwrap_or_default();
        let is_journalled = |digest: &Digest| {
            journal.windows(digest.as_bytes().len()).any(|bytes| bytes == digest.as_bytes())
        };
        let entries = server.dir.entries();
        let markers = entries.iter().filter(|entry| entry.name.kind == EntryKind::Chunk);
        let numbers = markers.filter_map(|entry| self.chunks.number(&entry.name.digest));
        let mut hollow = numbers.filter(|number| {
            !self.net.has_chunk(&self.chunks, *number) && !is_journalled(&self.chunks.digest(*number))
        });
        hollow.next().map(|number| format!("I2: the marker of chunk {number} stands for no object"))
    }

    /// Puts an end to everything that goes wrong, and lets everybody come to an end; returns who does not.
    pub(crate) fn drain(&mut self) -> Option<String> {
        self.calls.open();
        self.net.go_away(0);
        for server in &self.servers {
            server.dir.fail(&[]);
            server.dir.fail_late(&[]);
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
