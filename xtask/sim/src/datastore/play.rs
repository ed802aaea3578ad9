//! Plays one history, and looks after each step whether what was promised is kept.

use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::bucket::Closed;
use coldkeep_gc::Control;

use super::choose::{Setup, Step};
use super::ledger::Ledger;
use super::server::Server;
use super::work::{self, Context};
use crate::chunks::Chunks;
use crate::net::{Moving, Net};
use crate::play::{EVENTS_MAX, SERVERS};
use crate::rng::Rng;
use crate::step::Hold;

/// One history while it is played.
pub(crate) struct Play {
    pub(super) setup: Setup,
    pub(super) net: Arc<Net>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) chunks: Arc<Chunks>,
    pub(super) servers: Vec<Server>,
    /// The server that works with the bucket, as far as its operator knows.
    pub(super) active: usize,
    checked: (u64, u64),
    pub(super) events: u64,
    moving: Vec<Moving>,
}

impl Play {
    pub(super) fn new(setup: &Setup, chunks: &Arc<Chunks>, net: &Arc<Net>) -> Self {
        let ledger: Arc<Ledger> = Arc::default();
        let mut play = Self {
            setup: setup.clone(),
            net: Arc::clone(net),
            servers: (0..SERVERS).map(|number| Server::new(number, &ledger)).collect(),
            ledger,
            chunks: Arc::clone(chunks),
            active: 0,
            checked: (0, 0),
            events: 0,
            moving: Vec::new(),
        };
        play.open(0);
        // The first open is nothing special: it takes place before anything goes wrong.
        play.drain();
        play.setup.pace = setup.pace;
        play
    }

    /// Plays one step.
    pub(super) fn take(&mut self, step: &Step) {
        let active = self.active;
        match step {
            Step::Flow { count, hold, salt } => self.flow(*count, *hold, *salt),
            Step::Mishap { number, mishap, of_delete } => {
                self.net.mishap_from(*number, *mishap, *of_delete);
            }
            Step::Land(number) => {
                if let Some(position) = number.checked_rem(self.net.late()) {
                    self.net.land(position);
                }
            }
            Step::Outage(requests) => self.net.go_away(*requests),
            Step::Wait { seconds } => self.advance(Duration::from_secs(*seconds)),
            Step::Crash => {
                self.kill(active);
                self.open(active);
            }
            Step::LoseFolder => {
                self.kill(active);
                self.servers[active].lose_folder();
                self.open(active);
            }
            Step::TakeOver => {
                self.active = 1 - active;
                self.kill(self.active);
                self.open(self.active);
            }
            Step::Image => self.servers[active].take_image(),
            Step::Restored { is_elsewhere } => {
                if let Some(image) = self.servers[active].give_image() {
                    self.active = if *is_elsewhere { 1 - active } else { active };
                    self.kill(self.active);
                    self.servers[self.active].put_image(&image);
                    self.open(self.active);
                }
            }
            // A server that is not up there stays so: else it would take the bucket back.
            Step::Elsewhere(step) => self.work(step, 1 - active),
            Step::Cancel => self.servers[active].cancel_run(),
            Step::DropBackup(number) => self.servers[active].drop_backup(*number),
            Step::Close => self.servers[active].close(&self.net),
            _ if self.servers[active].is_down() => {
                self.kill(active);
                self.open(active);
            }
            _ => self.work(step, active),
        }
        self.settle();
    }

    /// Starts a task of a server. If it panics, that is a promise that was broken.
    fn work(&mut self, step: &Step, number: usize) {
        let Some(context) = self.context(number) else { return };
        let server = &mut self.servers[number];
        match step.clone() {
            Step::Backup(plan) => server.spawn_backup(work::backup(context, plan)),
            Step::Restore(number) => server.spawn(work::read_snapshot(context, number)),
            Step::Forget(number) => server.spawn(work::forget(context, number)),
            Step::ForgetGroup(number) => server.spawn(work::forget_group(context, number)),
            Step::Annotate(number) => server.spawn(work::annotate(context, number)),
            Step::Run { grace } => {
                let control = Control::new();
                let run = work::collect_once(context, grace, control.clone());
                server.spawn_run(control, async move {
                    run.await;
                });
            }
            Step::Tick => server.spawn(async move {
                if let Some(bucket) = context.store.chunks().as_bucket() {
                    let _ = bucket.tick().await;
                }
            }),
            _ => {}
        }
    }

    /// Returns what a task of a server gets; nothing while that is down.
    pub(super) fn context(&self, number: usize) -> Option<Context> {
        let server = &self.servers[number];
        Some(Context {
            store: server.store()?,
            process: server.process(),
            net: Arc::clone(&self.net),
            ledger: Arc::clone(&self.ledger),
            chunks: Arc::clone(&self.chunks),
            home: server.home(),
        })
    }

    pub(super) fn kill(&mut self, number: usize) {
        self.servers[number].kill(&self.net);
    }

    pub(super) fn open(&mut self, number: usize) {
        self.servers[number].open(&self.net, &self.setup);
        self.settle();
    }

    fn settle(&self) {
        self.servers.iter().for_each(Server::settle);
    }

    /// Lets time pass on all clocks.
    pub(super) fn advance(&mut self, duration: Duration) {
        self.net.clock().advance(duration);
        self.servers.iter().for_each(|server| server.clock.advance(duration));
        self.settle();
    }

    fn is_at_rest(&self) -> bool {
        self.servers.iter().all(Server::is_at_rest)
    }

    /// Lets so many requests go on, in the order that `salt` says.
    fn flow(&mut self, count: usize, hold: Hold, salt: u64) {
        let mut rng = Rng::new(salt);
        for _ in 0..count {
            if !self.event(hold, &mut rng) {
                if self.is_at_rest() {
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

    /// Lets one request go on; returns whether there was one.
    fn event(&mut self, hold: Hold, rng: &mut Rng) -> bool {
        self.net.moving(&mut self.moving);
        self.moving.retain(|moving| hold.lets_go(moving));
        if self.moving.is_empty() {
            return false;
        }
        self.net.go_on(self.moving[rng.below(self.moving.len())].id);
        self.events += 1;
        if self.setup.pace > 0 {
            self.advance(Duration::from_millis(self.setup.pace));
        }
        self.settle();
        true
    }

    /// Returns the first promise that is broken at this moment.
    pub(super) fn broken(&mut self) -> Option<String> {
        let now = (self.net.changes(), self.ledger.changes());
        let broken = self.net.broken().or_else(|| self.wrong_belief());
        if broken.is_some() || now == self.checked {
            return broken;
        }
        let broken = self.ledger.broken(&self.net, &self.chunks);
        if broken.is_none() {
            self.checked = now;
        }
        broken
    }

    /// Returns whether the server that has the bucket takes it for another's (R10).
    fn wrong_belief(&self) -> Option<String> {
        let owner = self.net.owner();
        let server = self.servers.iter().find(|server| Some(server.process()) == owner)?;
        let store = server.store()?;
        let closed = store.chunks().as_bucket()?.status().closed;
        // Where no condition is heeded a late write of its own may have undone the takeover that closed it.
        let is_wrong = matches!(closed, Some(Closed::Superseded)) && self.net.heeds_conditions();
        is_wrong.then(|| "R10: a server that has the bucket takes it for another's".to_owned())
    }

    /// Puts an end to everything that goes wrong, and lets everybody come to an end; returns who does not.
    pub(super) fn drain(&mut self) -> Option<String> {
        self.net.go_away(0);
        // A wait for nothing but time: requests do not grow old on their way.
        self.setup.pace = 0;
        let mut rng = Rng::new(0);
        self.settle();
        for _ in 0..2000 {
            while self.event(Hold::Nothing, &mut rng) {
                if self.events > EVENTS_MAX {
                    return Some(format!("I5: no end after {EVENTS_MAX} events"));
                }
                if let Some(broken) = self.broken() {
                    return Some(broken);
                }
            }
            if self.is_at_rest() {
                return None;
            }
            self.advance(Duration::from_secs(5));
        }
        Some("I5: some tasks wait for ever".to_owned())
    }
}
