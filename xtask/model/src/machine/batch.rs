//! A batch of deletes (R7–R10): journal, markers, token, requests, outcome.

use super::{Machine, Steps, members, push};
use crate::event::{Event, LimboEnd};
use crate::rules::Rule;
use crate::state::{Batch, DIGESTS, Kind, NEVER, Phase, Progress, Request, Run, State, Step, bit, has};

impl Machine {
    pub(super) fn batch_steps(&self, state: &State, host: usize, out: &mut Steps) {
        let here = &state.hosts[host];
        match here.batch.step {
            Step::Free => {
                let is_free = members(here.condemned).all(|digest| here.is_free(digest));
                if here.run.phase == Phase::Sweep && here.condemned != 0 && is_free {
                    let mut next = *state;
                    self.journal(&mut next, host, here.condemned, false);
                    let expiry = next.hosts[host].batch.expiry;
                    push(out, Event::Journals { host: host as u8, digests: here.condemned, expiry }, next);
                }
            }
            Step::Journalled => self.remove_markers(state, host, out),
            Step::MarkersGone if self.scenario.has_generation && self.keeps(Rule::R10Batch) => {
                let mut next = *state;
                next.tokens += 1;
                next.hosts[host].disk.proposed = next.tokens;
                next.hosts[host].batch.step = Step::Proposed;
                push(out, Event::Proposes { host: host as u8, token: next.tokens }, next);
            }
            Step::Proposed => self.swap(state, host, out),
            Step::MarkersGone | Step::Swapped => self.send(state, host, out),
            Step::Sending => self.finish(state, host, out),
        }
        self.end_limbo(state, host, out);
    }

    /// R7: what is to be deleted is on disk, with its expiry, before anything else.
    pub(super) fn journal(&self, next: &mut State, host: usize, digests: u8, is_quarantine: bool) {
        let expiry = next.bucket.now;
        let busy: Vec<(usize, usize)> = self
            .sessions_of(next, host)
            .filter(|(_, session)| session.is_uploading())
            .map(|(i, session)| (i, self.scenario.writers[i].script[usize::from(session.done)].digest()))
            .collect();
        // R4: uploads that are watched learn of it; the watch begins with the upload marker, and does not end with it: healing
        // takes that too.
        for (i, digest) in busy {
            let is_watched = self.keeps(Rule::R1) && (!is_quarantine || self.keeps(Rule::R15StartOver));
            if has(digests, digest) && is_watched {
                next.sessions[i].dirty = true;
            }
        }
        let here = &mut next.hosts[host];
        for digest in members(digests) {
            here.journal[digest] = expiry + 1;
            if self.keeps(Rule::R7Journal) {
                here.disk.journal[digest] = expiry + 1;
            }
        }
        here.condemned &= !digests;
        here.batch = Batch { step: Step::Journalled, digests, expiry, is_quarantine, ..Batch::FREE };
        if !self.keeps(Rule::R7Markers) || !self.keeps(Rule::R7MarkersFirst) {
            here.batch.step = Step::MarkersGone;
        }
    }

    fn remove_markers(&self, state: &State, host: usize, out: &mut Steps) {
        let batch = state.hosts[host].batch;
        let mut next = *state;
        remove_files(&mut next, host, batch);
        next.hosts[host].batch.step = Step::MarkersGone;
        push(out, Event::RemovesMarkers { host: host as u8, digests: batch.digests }, next);
    }

    fn swap(&self, state: &State, host: usize, out: &mut Steps) {
        let disk = &state.hosts[host].disk;
        let (host_id, token) = (host as u8, disk.proposed);
        let mut next = *state;
        next.hosts[host].batch.step = Step::Swapped;
        if state.bucket.token == disk.current {
            next.bucket.token = token;
            push(out, Event::Swaps { host: host_id, token }, next);
            return;
        }
        if !self.keeps(Rule::R10Ours) {
            push(out, Event::SwapTakenForOurs { host: host_id }, next);
        }
        if self.keeps(Rule::R10NeverBack) {
            self.close(&mut next, host);
            push(out, Event::FindsForeign { host: host_id }, next);
        } else {
            next.bucket.token = token;
            push(out, Event::TakesBack { host: host_id, token }, next);
        }
    }

    /// Notes the token and sends the deletes, unless their expiry has passed.
    fn send(&self, state: &State, host: usize, out: &mut Steps) {
        let mut next = *state;
        let here = &mut next.hosts[host];
        if here.batch.step == Step::Swapped {
            here.disk.current = here.disk.proposed;
            here.disk.proposed = 0;
        }
        here.batch.step = Step::Sending;
        let has_expired = state.bucket.now > here.batch.expiry && self.keeps(Rule::R9Signing);
        let digests = here.batch.digests;
        if has_expired && self.keeps(Rule::R7Expired) {
            here.batch.over = digests;
            push(out, Event::SendsDeletes { host: host as u8, digests: 0, again: false }, next);
            return;
        }
        self.send_deletes(&mut next, host, digests);
        push(out, Event::SendsDeletes { host: host as u8, digests, again: false }, next);
    }

    pub(super) fn send_deletes(&self, next: &mut State, host: usize, digests: u8) {
        // R9: all attempts bear the signing time that the journal knows.
        let batch = &mut next.hosts[host].batch;
        let expiry = if self.keeps(Rule::R9Signing) { batch.expiry } else { next.bucket.now };
        batch.waiting |= digests;
        batch.sent |= digests;
        for digest in members(digests) {
            next.wire.send(Request {
                kind: Kind::Delete,
                what: digest as u8,
                from: host as u8,
                expiry,
                progress: Progress::Pending,
            });
        }
        next.wire.expire(next.bucket.now);
    }

    /// Tries again, gives up, or settles.
    fn finish(&self, state: &State, host: usize, out: &mut Steps) {
        let batch = state.hosts[host].batch;
        let host_id = host as u8;
        for digest in members(batch.digests & !batch.waiting & !batch.over) {
            let mut next = *state;
            next.hosts[host].batch.over |= bit(digest);
            // The simpler protocol asks until it is answered, where it may.
            if !self.is_variant || state.budget.retries == 0 {
                push(out, Event::GivesUp { host: host_id, digest: digest as u8 }, next);
            }
            let is_valid = state.bucket.now <= batch.expiry || !self.keeps(Rule::R9Signing);
            if state.budget.retries > 0 && is_valid {
                let mut next = *state;
                next.budget.retries -= 1;
                self.send_deletes(&mut next, host, bit(digest));
                push(out, Event::SendsDeletes { host: host_id, digests: bit(digest), again: true }, next);
            }
        }
        if batch.over == batch.digests {
            let mut next = *state;
            let limbo = if self.keeps(Rule::R9Limbo) && !self.is_variant { batch.unclear } else { 0 };
            if self.keeps(Rule::R7Markers) && !self.keeps(Rule::R7MarkersFirst) {
                remove_files(&mut next, host, batch);
            }
            self.settle(&mut next, host, batch.digests & !limbo);
            let here = &mut next.hosts[host];
            here.batch = Batch::FREE;
            here.mutex = 0;
            push(out, Event::Settles { host: host_id, digests: batch.digests, limbo }, next);
        }
    }

    /// Takes entries out of the journal, after the removals of markers are on disk.
    pub(super) fn settle(&self, next: &mut State, host: usize, digests: u8) {
        let here = &mut next.hosts[host];
        if self.keeps(Rule::R7Durable) {
            here.disk.sync();
        }
        for digest in members(digests) {
            here.journal[digest] = 0;
            here.disk.journal[digest] = 0;
        }
    }

    fn end_limbo(&self, state: &State, host: usize, out: &mut Steps) {
        let here = &state.hosts[host];
        for digest in (0..DIGESTS).filter(|digest| !has(here.batch.digests, *digest)) {
            let entry = here.journal[digest];
            if entry == 0 || entry == NEVER {
                continue;
            }
            let why = if state.bucket.now >= entry {
                LimboEnd::Expired
            } else if !self.keeps(Rule::R9Wait) {
                LimboEnd::AtOnce
            } else if !self.keeps(Rule::R9Clock) && state.budget.jumps > 0 {
                LimboEnd::ClockJumped
            } else {
                continue;
            };
            let mut next = *state;
            if why == LimboEnd::ClockJumped {
                next.budget.jumps -= 1;
            }
            self.settle(&mut next, host, bit(digest));
            push(out, Event::LimboEnds { host: host as u8, digest: digest as u8, why }, next);
        }
    }

    pub(super) fn delete_is_unclear(
        &self,
        state: &State,
        mut next: State,
        request: Request,
        out: &mut Steps,
    ) {
        let host = usize::from(request.from);
        debug_assert!(has(state.hosts[host].batch.waiting, usize::from(request.what)));
        let batch = &mut next.hosts[host].batch;
        batch.waiting &= !bit(usize::from(request.what));
        batch.unclear |= bit(usize::from(request.what));
        push(out, Event::DeleteUnclear { host: request.from, digest: request.what }, next);
    }

    /// R7: what was not sent is settled, the rest goes to limbo.
    pub(super) fn cancel(&self, state: &State, host: usize, out: &mut Steps) {
        let here = &state.hosts[host];
        if here.run.phase == Phase::Idle || here.batch.is_quarantine {
            return;
        }
        let mut next = *state;
        next.budget.cancels -= 1;
        next.wire.forsake(Kind::Delete, host);
        next.hosts[host].run = Run::IDLE;
        next.hosts[host].condemned = 0;
        let batch = here.batch;
        next.hosts[host].batch = Batch::FREE;
        let certain = batch.over & !batch.unclear;
        let unsent = batch.digests & !batch.sent;
        self.settle(&mut next, host, certain);
        if self.keeps(Rule::R7Cancel) {
            self.settle(&mut next, host, unsent);
        } else {
            for digest in members(unsent) {
                next.hosts[host].journal[digest] = NEVER;
            }
        }
        push(out, Event::Cancels { host: host as u8 }, next);
    }

    /// The variant: check and delete under one mutex of the whole store; markers go first, the delete follows.
    pub(super) fn delete_under_mutex(&self, state: &State, host: usize, digest: usize, out: &mut Steps) {
        if state.hosts[host].batch.step != Step::Free {
            return;
        }
        let mut next = *state;
        let expiry = next.bucket.now;
        let here = &mut next.hosts[host];
        here.run.judged |= bit(digest);
        here.mutex = digest as u8 + 1;
        here.batch = Batch { step: Step::Sending, digests: bit(digest), expiry, ..Batch::FREE };
        let batch = here.batch;
        remove_files(&mut next, host, batch);
        self.send_deletes(&mut next, host, bit(digest));
        push(out, Event::TakesMutex { host: host as u8, digest: digest as u8 }, next);
    }
}

/// Removes the markers of a batch, and the upload markers but for chunks that are set aside: uploads go on under those.
fn remove_files(next: &mut State, host: usize, batch: Batch) {
    let disk = &mut next.hosts[host].disk;
    for digest in members(batch.digests) {
        disk.marker[digest].remove();
        if !batch.is_quarantine {
            disk.uploading[digest].remove();
        }
    }
}
