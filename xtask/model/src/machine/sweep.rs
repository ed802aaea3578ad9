//! A run of the collector: cutoff (R13), mark (R10, I6), pages, judgement (R7), healing (R14).

use super::{Machine, Steps, members, push};
use crate::event::{Event, Healing, Judgement, Reading, Stop};
use crate::rules::Rule;
use crate::state::{Asked, DIGESTS, Host, INDEX, Object, PATHS, Phase, Run, Stage, State, Step, bit, has};

/// All paths.
const ALL_PATHS: u8 = (1 << PATHS) - 1;

impl Machine {
    pub(super) fn run_steps(&self, state: &State, host: usize, out: &mut Steps) {
        match state.hosts[host].run.phase {
            Phase::Idle if state.budget.runs > 0 => self.start_run(state, host, out),
            Phase::Idle => {}
            Phase::Mark => self.mark(state, host, out),
            Phase::Sweep => self.sweep(state, host, out),
        }
    }

    fn start_run(&self, state: &State, host: usize, out: &mut Steps) {
        let mut next = *state;
        next.budget.runs -= 1;
        next.hosts[host].run = Run { phase: Phase::Mark, ..Run::IDLE };
        if self.keeps(Rule::R13First) {
            self.fix_cutoff(&mut next, host);
        }
        let cutoff = next.hosts[host].run.cutoff;
        push(out, Event::RunStarts { host: host as u8, cutoff }, next);
    }

    /// R13, with no grace and no margin: safety rests on neither.
    fn fix_cutoff(&self, next: &mut State, host: usize) {
        next.hosts[host].now += 1;
        let now = next.hosts[host].now;
        self.save_clock(next, host);
        let oldest = self.sessions_of(next, host).map(|(_, session)| session.started).min();
        let oldest = if self.keeps(Rule::R13Session) { oldest } else { None };
        next.hosts[host].run.cutoff = oldest.map_or(now, |started| started.min(now));
    }

    fn mark(&self, state: &State, host: usize, out: &mut Steps) {
        let run = state.hosts[host].run;
        if run.read == ALL_PATHS {
            let mut next = *state;
            self.fix_cutoff(&mut next, host);
            next.hosts[host].run.phase = Phase::Sweep;
            let cutoff = next.hosts[host].run.cutoff;
            push(out, Event::CutoffLate { host: host as u8, cutoff }, next);
            return;
        }
        for path in (0..PATHS).filter(|path| !has(run.read, *path)) {
            self.read_path(state, host, path, out);
        }
        if state.budget.cut_listings > 0 {
            let mut next = *state;
            next.budget.cut_listings -= 1;
            if self.keeps(Rule::I6Listing) {
                next.hosts[host].run = Run::IDLE;
                push(out, Event::Stops { host: host as u8, why: Stop::Listing }, next);
            } else {
                self.has_read(&mut next, host, ALL_PATHS);
                push(out, Event::Stops { host: host as u8, why: Stop::CutIgnored }, next);
            }
        }
    }

    fn read_path(&self, state: &State, host: usize, path: usize, out: &mut Steps) {
        let index = state.bucket.index[path];
        let mut next = *state;
        self.has_read(&mut next, host, bit(path));
        let (host_id, path_id) = (host as u8, path as u8);
        let run = &mut next.hosts[host].run;
        let mut what = Reading::Nothing;
        if index & INDEX != 0 && state.bucket.manifest[path] != 0 {
            run.marked |= index & !INDEX;
            what = Reading::Index;
        } else if index & INDEX != 0 && !self.is_variant && self.is_forsaken(state, host, path) {
            // R19: a removal reads the token first.
            if self.keeps(Rule::R19Token) && !self.is_owner(state, host) {
                self.close(&mut next, host);
                push(out, Event::FindsForeign { host: host_id }, next);
                return;
            }
            next.bucket.index[path] = 0;
            what = Reading::Removed;
        } else if index & INDEX != 0 && self.keeps(Rule::R10Index) {
            run.marked |= index & !INDEX;
            what = Reading::WithoutManifest;
        } else if index & INDEX != 0 {
            what = Reading::NotCounted;
        }
        push(out, Event::ReadsPath { host: host_id, path: path_id, what }, next);
        if what == Reading::Index && state.budget.unreadable > 0 {
            let mut next = *state;
            next.budget.unreadable -= 1;
            if self.keeps(Rule::I6Index) {
                next.hosts[host].run = Run::IDLE;
                push(out, Event::Stops { host: host_id, why: Stop::Index }, next);
            } else {
                self.has_read(&mut next, host, bit(path));
                let what = Reading::Unreadable;
                push(out, Event::ReadsPath { host: host_id, path: path_id, what }, next);
            }
        }
    }

    /// Whether nobody can complete the index of a path any more: its session has ended, and its requests have expired.
    fn is_forsaken(&self, state: &State, host: usize, path: usize) -> bool {
        !self.is_written(state, host, path)
            && (!self.keeps(Rule::R10IndexWait) || !state.is_closed_path(host, path))
    }

    fn has_read(&self, next: &mut State, host: usize, paths: u8) {
        let run = &mut next.hosts[host].run;
        run.read |= paths;
        if run.read == ALL_PATHS && self.keeps(Rule::R13First) {
            run.phase = Phase::Sweep;
        }
    }

    fn sweep(&self, state: &State, host: usize, out: &mut Steps) {
        let here = &state.hosts[host];
        let run = here.run;
        let host_id = host as u8;
        if let Some(digest) = (0..DIGESTS).find(|digest| !has(run.pages, *digest)) {
            let is_there = state.bucket.objects[digest] != Object::Absent;
            let mut next = *state;
            next.hosts[host].run.pages |= bit(digest);
            if is_there {
                next.hosts[host].run.listed |= bit(digest);
            }
            push(out, Event::Lists { host: host_id, digest: digest as u8, is_there }, next);
        }
        for digest in members(run.pages & !run.judged).filter(|digest| here.is_free(*digest)) {
            self.judge(state, host, digest, out);
        }
        for digest in members(run.chosen).filter(|digest| here.is_free(*digest)) {
            let mut next = *state;
            next.hosts[host].run.chosen &= !bit(digest);
            next.hosts[host].condemned |= bit(digest);
            let what = Judgement::Condemned;
            push(out, Event::Judges { host: host_id, digest: digest as u8, what }, next);
        }
        let is_over = usize::from(run.judged) == (1 << DIGESTS) - 1
            && run.chosen == 0
            && here.condemned == 0
            && here.batch.step == Step::Free
            && here.asked.is_none();
        if is_over {
            let mut next = *state;
            next.hosts[host].run = Run::IDLE;
            next.has_run = true;
            push(out, Event::RunEnds { host: host_id }, next);
        }
    }

    /// Looks at everything that is known of a digest, under lock(d).
    fn judge(&self, state: &State, host: usize, digest: usize, out: &mut Steps) {
        let here = &state.hosts[host];
        let what = self.verdict(here, digest);
        if what == Judgement::ToHeal {
            self.start_healing(state, host, digest, out);
            return;
        }
        let mut next = *state;
        next.hosts[host].run.judged |= bit(digest);
        match what {
            // It says nothing any more: whoever set it has ended.
            Judgement::Tidied => next.hosts[host].disk.uploading[digest].remove(),
            Judgement::Chosen => next.hosts[host].run.chosen |= bit(digest),
            Judgement::Condemned if self.is_variant => {
                self.delete_under_mutex(state, host, digest, out);
                return;
            }
            Judgement::Condemned => next.hosts[host].condemned |= bit(digest),
            _ => {}
        }
        push(out, Event::Judges { host: host as u8, digest: digest as u8, what }, next);
    }

    fn verdict(&self, here: &Host, digest: usize) -> Judgement {
        let run = &here.run;
        let (marker, uploading) = (here.disk.marker[digest], here.disk.uploading[digest]);
        let is_listed = has(run.listed, digest);
        let is_journalled = here.journal[digest] != 0;
        let may_heal = self.scenario.heals
            && self.keeps(Rule::R14Heal)
            && !(is_journalled && self.keeps(Rule::R14Journal));
        let disagree = marker.is_there() != is_listed && (marker.is_there() || has(run.marked, digest));
        if may_heal && disagree {
            return Judgement::ToHeal;
        }
        if is_journalled && self.keeps(Rule::R7SkipJournal) {
            return Judgement::Journalled;
        }
        if has(run.marked, digest) {
            let is_left = uploading.is_there() && !uploading.is_used_since(run.cutoff);
            let is_tidied = is_left && self.keeps(Rule::R7LocalFiles);
            return if is_tidied { Judgement::Tidied } else { Judgement::Referenced };
        }
        if self.keeps(Rule::R7UploadMarker) && uploading.is_used_since(run.cutoff) {
            return Judgement::UploadMarker;
        }
        if self.keeps(Rule::R7Marker) && marker.is_used_since(run.cutoff) {
            return Judgement::Marker;
        }
        let is_local = marker.is_there() || uploading.is_there();
        let is_judged = is_listed || (is_local && self.keeps(Rule::R7LocalFiles));
        if !is_judged {
            return Judgement::Nothing;
        }
        if self.keeps(Rule::R7OneStep) { Judgement::Condemned } else { Judgement::Chosen }
    }

    /// R14: asks the backend with the lock held, and acts in a second step.
    fn start_healing(&self, state: &State, host: usize, digest: usize, out: &mut Steps) {
        let here = &state.hosts[host];
        if here.asked.is_some() {
            return;
        }
        let create = has(here.run.listed, digest);
        let mut next = *state;
        next.hosts[host].run.judged |= bit(digest);
        if !self.keeps(Rule::R14Head) {
            let what = self.heal(&mut next, host, digest, create);
            push(out, Event::Heals { host: host as u8, digest: digest as u8, what }, next);
            return;
        }
        let is_there = state.bucket.objects[digest] != Object::Absent;
        next.hosts[host].asked = Some(Asked { digest: digest as u8, create, is_there });
        if self.keeps(Rule::R14Lock) {
            next.hosts[host].locked |= bit(digest);
        }
        push(out, Event::Asks { host: host as u8, digest: digest as u8, is_there }, next);
    }

    pub(super) fn finish_healing(&self, state: &State, host: usize, asked: Asked, out: &mut Steps) {
        let Asked { digest, create, is_there } = asked;
        let mut next = *state;
        next.hosts[host].asked = None;
        next.hosts[host].locked &= !bit(usize::from(digest));
        let mut what = Healing::Nothing;
        if create == is_there {
            what = self.heal(&mut next, host, usize::from(digest), create);
        }
        push(out, Event::Heals { host: host as u8, digest, what }, next);
    }

    fn heal(&self, next: &mut State, host: usize, digest: usize, create: bool) -> Healing {
        let now = self.use_at(next, host);
        let marker = &mut next.hosts[host].disk.marker[digest];
        match (create, marker.is_there()) {
            (true, false) => {
                marker.set(now);
                // As wherever a marker is placed (R4).
                next.hosts[host].disk.uploading[digest].remove();
                Healing::MarkerCreated
            }
            (false, true) => {
                marker.remove();
                if self.keeps(Rule::R14Told) {
                    self.fail_told(next, host, digest);
                }
                Healing::MarkerRemoved
            }
            _ => Healing::Nothing,
        }
    }

    /// Fails the open sessions that were told of a digest.
    pub(super) fn fail_told(&self, next: &mut State, host: usize, digest: usize) {
        let told: Vec<usize> = self
            .sessions_of(next, host)
            .filter(|(_, session)| has(session.told, digest) && session.stage != Stage::Committed)
            .map(|(i, _)| i)
            .collect();
        for session in told {
            next.fail(session);
        }
    }
}
