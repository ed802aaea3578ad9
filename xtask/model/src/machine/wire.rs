//! Requests: effect and answer are two steps; answers get lost, effects come late, expired requests are refused.

use super::{Machine, Steps, push};
use crate::event::Event;
use crate::rules::Rule;
use crate::state::{Kind, Object, Progress, Request, Stage, State, bit};

impl Machine {
    pub(super) fn wire_steps(&self, state: &State, out: &mut Steps) {
        for (position, request) in state.wire.iter() {
            match request.progress {
                Progress::Pending | Progress::Orphan => self.take_effect(state, position, request, out),
                Progress::Done | Progress::Refused => self.answer(state, position, request, out),
            }
            if request.progress != Progress::Orphan {
                self.lose(state, position, request, out);
            }
        }
    }

    fn take_effect(&self, state: &State, position: usize, request: Request, out: &mut Steps) {
        let late = request.progress == Progress::Orphan;
        let what = usize::from(request.what);
        let mut next = *state;
        next.wire.replace(position, if late { None } else { Some(Progress::Done) });
        let event = match request.kind {
            Kind::Delete => {
                next.bucket.objects[what] = Object::Absent;
                Event::DeleteTakesEffect { digest: request.what, late }
            }
            Kind::Manifest => {
                next.bucket.manifest[what] = request.from + 1;
                Event::ManifestTakesEffect { session: request.from, path: request.what, late }
            }
            Kind::Prune => {
                next.bucket.manifest[what] = 0;
                next.bucket.index[what] = 0;
                Event::PruneTakesEffect { path: request.what, late }
            }
            Kind::Nothing => return,
        };
        push(out, event, next);
        if request.kind == Kind::Delete && !late && state.budget.refused > 0 {
            let mut next = *state;
            next.budget.refused -= 1;
            next.wire.replace(position, Some(Progress::Refused));
            push(out, Event::KeyRefused { digest: request.what }, next);
        }
    }

    /// Whoever sent it learns of the outcome.
    fn answer(&self, state: &State, position: usize, request: Request, out: &mut Steps) {
        let refused = request.progress == Progress::Refused;
        let from = usize::from(request.from);
        let mut next = *state;
        next.wire.replace(position, None);
        let event = match request.kind {
            Kind::Delete => {
                let (host, digest) = (request.from, request.what);
                next.hosts[from].batch.end(usize::from(digest));
                // R9: one unclear attempt is enough, even if a later one was answered.
                if !self.keeps(Rule::R9AnyAttempt) {
                    next.hosts[from].batch.unclear &= !bit(usize::from(digest));
                }
                Event::DeleteAnswered { host, digest, refused }
            }
            Kind::Manifest => {
                if refused {
                    next.fail(from);
                } else {
                    next.sessions[from].stage = Stage::Written;
                }
                Event::ManifestAnswered { session: request.from, refused }
            }
            Kind::Prune => {
                next.hosts[from].disk.claims[usize::from(request.what)] = 0;
                Event::PruneAnswered { host: request.from, path: request.what }
            }
            Kind::Nothing => return,
        };
        push(out, event, next);
    }

    /// The sender hears nothing; the request may still take effect until it expires.
    fn lose(&self, state: &State, position: usize, request: Request, out: &mut Steps) {
        let from = usize::from(request.from);
        let mut next = *state;
        let budget = match request.kind {
            Kind::Delete => &mut next.budget.lost_deletes,
            Kind::Manifest => &mut next.budget.lost_manifests,
            Kind::Prune => &mut next.budget.lost_prunes,
            Kind::Nothing => return,
        };
        if *budget == 0 {
            return;
        }
        *budget -= 1;
        let is_pending = request.progress == Progress::Pending;
        next.wire.replace(position, is_pending.then_some(Progress::Orphan));
        match request.kind {
            Kind::Delete => self.delete_is_unclear(state, next, request, out),
            Kind::Manifest => {
                next.fail(from);
                push(out, Event::ManifestUnclear { session: request.from }, next);
            }
            _ => push(out, Event::PruneUnclear { host: request.from, path: request.what }, next),
        }
    }

    pub(super) fn tick(&self, state: &State, out: &mut Steps) {
        if state.budget.ticks == 0 {
            return;
        }
        let mut next = *state;
        next.budget.ticks -= 1;
        next.bucket.now += 1;
        next.wire.expire(next.bucket.now);
        push(out, Event::Tick { now: next.bucket.now }, next);
    }
}
