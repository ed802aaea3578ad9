//! What happens beside sessions and runs: reader and evictor (R6), verification (R15), removal of snapshots (R5, R19), healing.

use super::{Machine, Steps, members, push};
use crate::event::{Event, Filling};
use crate::rules::Rule;
use crate::state::{
    Batch, Chore, DIGESTS, INDEX, Kind, Object, PATHS, Progress, Request, State, Step, bit, has,
};

impl Machine {
    pub(super) fn chore_steps(&self, state: &State, host: usize, out: &mut Steps) {
        match state.hosts[host].chore {
            Chore::None => {
                self.fetch(state, host, out);
                self.choose_eviction(state, host, out);
                self.examine(state, host, out);
            }
            Chore::Fetched(digest) => self.fill(state, host, usize::from(digest), out),
            Chore::Evicting(digest, atime) => {
                self.evict(state, host, (usize::from(digest), Some(atime)), out);
            }
            Chore::Suspected(digest, seen) => self.set_aside(state, host, (usize::from(digest), seen), out),
        }
        if let Some(asked) = state.hosts[host].asked {
            self.finish_healing(state, host, asked, out);
        }
        for path in 0..PATHS {
            self.prune(state, host, path, out);
        }
    }

    fn fetch(&self, state: &State, host: usize, out: &mut Steps) {
        if state.budget.reads == 0 {
            return;
        }
        for digest in (0..DIGESTS).filter(|digest| state.bucket.objects[*digest] == Object::Good) {
            let mut next = *state;
            next.budget.reads -= 1;
            next.hosts[host].chore = Chore::Fetched(digest as u8);
            push(out, Event::Fetches { host: host as u8, digest: digest as u8 }, next);
        }
    }

    /// R6: fills a marker that is there, with the atime that it has; creates none.
    fn fill(&self, state: &State, host: usize, digest: usize, out: &mut Steps) {
        if !state.hosts[host].is_free(digest) {
            return;
        }
        let mut next = *state;
        let here = &mut next.hosts[host];
        here.chore = Chore::None;
        let what = if here.disk.marker[digest].is_there() {
            here.cached |= bit(digest);
            Filling::Filled
        } else if self.keeps(Rule::R6Fill) {
            Filling::Gone
        } else {
            here.disk.marker[digest].set(here.now);
            here.cached |= bit(digest);
            Filling::Created
        };
        push(out, Event::Fills { host: host as u8, digest: digest as u8, what }, next);
    }

    fn choose_eviction(&self, state: &State, host: usize, out: &mut Steps) {
        let here = &state.hosts[host];
        if state.budget.evictions == 0 {
            return;
        }
        for digest in (0..DIGESTS).filter(|digest| here.disk.marker[*digest].is_there()) {
            let mut next = *state;
            next.budget.evictions -= 1;
            if self.keeps(Rule::R6Evict) && self.keeps(Rule::R6Moment) {
                self.evict(&next, host, (digest, None), out);
            } else {
                next.hosts[host].chore = Chore::Evicting(digest as u8, here.disk.marker[digest].atime());
                push(out, Event::ChoosesEviction { host: host as u8, digest: digest as u8 }, next);
            }
        }
    }

    /// R6: leaves an empty marker where there is one; `chosen` is the atime that was seen before.
    fn evict(&self, state: &State, host: usize, choice: (usize, Option<u8>), out: &mut Steps) {
        let (digest, chosen) = choice;
        if !state.hosts[host].is_free(digest) {
            return;
        }
        let mut next = *state;
        let here = &mut next.hosts[host];
        here.chore = Chore::None;
        here.cached &= !bit(digest);
        let marker = &mut here.disk.marker[digest];
        let what = match (marker.is_there(), chosen) {
            (true, Some(atime)) if !self.keeps(Rule::R6Moment) => {
                marker.set(atime);
                Filling::Filled
            }
            (true, _) => {
                if !self.keeps(Rule::R6Atime) {
                    marker.set(here.now);
                }
                Filling::Filled
            }
            (false, Some(atime)) if !self.keeps(Rule::R6Evict) => {
                marker.set(atime);
                Filling::Created
            }
            (false, _) => Filling::Gone,
        };
        push(out, Event::Evicts { host: host as u8, digest: digest as u8, what }, next);
    }

    /// R15: two complete bodies that fail their check; one that was damaged on the way is followed by a good one.
    fn examine(&self, state: &State, host: usize, out: &mut Steps) {
        if state.budget.verifications == 0 {
            return;
        }
        for digest in 0..DIGESTS {
            let seen = state.bucket.objects[digest];
            let damaged = seen == Object::Good && state.budget.damaged_bodies > 0;
            if seen == Object::Absent || (seen == Object::Good && (!damaged || self.keeps(Rule::R15Twice))) {
                continue;
            }
            let mut next = *state;
            next.budget.verifications -= 1;
            if damaged {
                next.budget.damaged_bodies -= 1;
            }
            next.hosts[host].chore = Chore::Suspected(digest as u8, seen);
            push(out, Event::FindsBad { host: host as u8, digest: digest as u8, damaged }, next);
        }
    }

    /// R15: condemns and journals in one step, if the object is still the one that was read.
    fn set_aside(&self, state: &State, host: usize, (digest, seen): (usize, Object), out: &mut Steps) {
        let here = &state.hosts[host];
        if !here.is_free(digest) || here.batch.step != Step::Free {
            return;
        }
        let mut next = *state;
        next.hosts[host].chore = Chore::None;
        let is_same = state.bucket.objects[digest] == seen || !self.keeps(Rule::R15Same);
        let (host_id, digest_id) = (host as u8, digest as u8);
        if here.journal[digest] != 0 || !is_same {
            push(out, Event::DropsSuspicion { host: host_id, digest: digest_id }, next);
            return;
        }
        if state.bucket.objects[digest] == Object::Bad {
            // What named it was broken by the rot, not by us.
            for path in (0..PATHS).filter(|path| has(state.bucket.index[*path] & !INDEX, digest)) {
                next.broken |= bit(path);
            }
        }
        if self.keeps(Rule::R15Told) {
            self.fail_told(&mut next, host, digest);
        }
        if self.keeps(Rule::R15Journal) {
            self.journal(&mut next, host, bit(digest), true);
        } else {
            self.set_aside_at_once(&mut next, host, digest);
        }
        next.hosts[host].condemned &= !bit(digest);
        push(out, Event::SetsAside { host: host_id, digest: digest_id }, next);
    }

    /// Without journal: the marker goes, the delete is sent.
    fn set_aside_at_once(&self, next: &mut State, host: usize, digest: usize) {
        let expiry = next.bucket.now;
        let here = &mut next.hosts[host];
        here.disk.marker[digest].remove();
        here.batch =
            Batch { step: Step::Sending, digests: bit(digest), expiry, is_quarantine: true, ..Batch::FREE };
        self.send_deletes(next, host, bit(digest));
    }

    fn prune(&self, state: &State, host: usize, path: usize, out: &mut Steps) {
        let is_used = self.sessions_of(state, host).any(|(_, session)| session.based) && path == 0;
        let is_written = self.is_written(state, host, path);
        let is_closed = state.is_closed_path(host, path) && self.keeps(Rule::R19Path);
        let refused = is_closed || is_written || (is_used && self.keeps(Rule::R5Base));
        if state.budget.prunes == 0 || state.bucket.manifest[path] == 0 || refused {
            return;
        }
        let is_owner = self.is_owner(state, host);
        let mut next = *state;
        next.budget.prunes -= 1;
        if !is_owner && self.keeps(Rule::R19Token) {
            self.close(&mut next, host);
            push(out, Event::FindsForeign { host: host as u8 }, next);
            return;
        }
        if is_owner {
            next.promised[path] = 0;
        }
        next.hosts[host].disk.claims[path] = state.bucket.now + 1;
        next.wire.send(Request {
            kind: Kind::Prune,
            what: path as u8,
            from: host as u8,
            expiry: state.bucket.now,
            progress: Progress::Pending,
        });
        push(out, Event::Prunes { host: host as u8, path: path as u8, promised: is_owner }, next);
    }

    /// Replay of the journal at open (R7): markers go, deletes stay unsent, every entry is in limbo.
    pub(super) fn replay(&self, next: &mut State, host: usize) {
        self.forget(next, host);
        let mut entries = 0;
        let here = &mut next.hosts[host];
        for digest in (0..DIGESTS).filter(|digest| here.disk.journal[*digest] != 0) {
            entries |= bit(digest);
            if self.keeps(Rule::R7ReplayMarkers) {
                here.disk.marker[digest].remove();
                here.disk.uploading[digest].remove();
            }
        }
        if !self.keeps(Rule::R7Replay) && entries != 0 {
            here.batch =
                Batch { step: Step::Sending, digests: entries, expiry: next.bucket.now, ..Batch::FREE };
            for digest in members(entries) {
                let entry = next.bucket.now + 1;
                here.journal[digest] = entry;
                here.disk.journal[digest] = entry;
            }
            self.send_deletes(next, host, entries);
        }
    }
}
