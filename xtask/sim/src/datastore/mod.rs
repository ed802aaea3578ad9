//! Whole datastores: their snapshot trees, what becomes of commits and removals, and the refresh of what is local.
//!
//! The bucket and the way there are those of the other histories. The local side is a real folder in memory (`FsChunkDir` and
//! the files of the tree), and each process has a runtime of its own, so that it ends as a killed process does; blocking work is
//! done in place, so that a seed is one history here, too. Between two requests everybody goes on until all of them wait.

mod choose;
mod ending;
mod folder;
mod ledger;
mod play;
mod references;
mod server;
mod work;

use std::sync::Arc;

use crate::chunks::{ChunkSets, Chunks};
use crate::history::{Playing, Scene};
use crate::log::Log;
use crate::net::{Net, Traits};
use choose::{Setup, Step};
use play::Play;

/// Histories of whole datastores.
pub(crate) struct Datastores(Arc<Chunks>);

impl Datastores {
    pub(crate) fn new() -> Self {
        Self(ChunkSets::new().plain)
    }
}

impl Scene for Datastores {
    type Setup = Setup;
    type Step = Step;
    type Play = Play;

    fn choose(&self, seed: u64) -> (Setup, Vec<Step>) {
        choose::history(seed)
    }

    fn begin(&self, setup: &Setup, net: &Arc<Net>) -> Play {
        Play::new(setup, &self.0, net)
    }

    fn net(&self, setup: &Setup, log: Log) -> Arc<Net> {
        let Setup { page_objects, heeds_conditions, .. } = *setup;
        Net::new(Traits { page_objects, heeds_conditions, cuts_snapshots: true }, log)
    }
}

impl Playing<Step> for Play {
    fn take(&mut self, step: &Step) {
        self.take(step);
    }

    fn broken(&mut self) -> Option<String> {
        self.broken()
    }

    fn end(&mut self) -> Option<String> {
        self.end()
    }

    fn counts(&self) -> (u64, u64) {
        (self.events, self.ledger.commits())
    }
}
