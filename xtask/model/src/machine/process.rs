//! Processes and machines: open and rebuild (R10), crash, power loss, copies of a disk, clocks (R12).

use super::{Machine, Steps, push};
use crate::event::{Event, Opening};
use crate::rules::Rule;
use crate::state::{DIGESTS, Disk, File, HOSTS, Host, Kind, Object, PATHS, State, Up, bit, has};

impl Machine {
    /// The steps of a host that is not open.
    pub(super) fn open_steps(&self, state: &State, host: usize, out: &mut Steps) {
        match state.hosts[host].up {
            Up::Down if state.budget.opens[host] > 0 => self.open(state, host, out),
            Up::Opening { from, rebuild } => self.take_over(state, host, (from, rebuild), out),
            Up::Waiting { signed } => {
                if state.bucket.now <= signed && self.keeps(Rule::R10RebuildWait) {
                    return;
                }
                let listed = (0..DIGESTS).filter(|digest| state.bucket.objects[*digest] != Object::Absent);
                let objects = listed.fold(0, |set, digest| set | bit(digest));
                let mut next = *state;
                next.hosts[host].up = Up::Listed { objects };
                push(out, Event::RebuildLists { host: host as u8, objects }, next);
            }
            Up::Listed { objects } => self.switch(state, host, objects, out),
            _ => {}
        }
    }

    fn open(&self, state: &State, host: usize, out: &mut Steps) {
        let mut next = *state;
        next.budget.opens[host] -= 1;
        let token = state.bucket.token;
        let disk = &mut next.hosts[host].disk;
        let how = if !self.scenario.has_generation || self.is_variant {
            Opening::Plain
        } else if self.is_owner(state, host) && disk.current != 0 {
            let is_unfinished = disk.is_rebuilding && self.keeps(Rule::R10Unfinished);
            disk.current = token;
            match (is_unfinished, self.keeps(Rule::R10Open)) {
                (true, _) => Opening::Foreign,
                (false, true) => Opening::Ours,
                (false, false) => Opening::Compared,
            }
        } else if self.keeps(Rule::R10Rebuild) {
            Opening::Foreign
        } else {
            Opening::Trusted
        };
        if matches!(how, Opening::Plain | Opening::Compared) {
            self.replay(&mut next, host);
            next.hosts[host].up = Up::Open;
        } else {
            next.tokens += 1;
            let disk = &mut next.hosts[host].disk;
            disk.proposed = next.tokens;
            let rebuild = how == Opening::Foreign;
            // Not trusted from here on, whatever token the next open finds.
            disk.is_rebuilding |= rebuild;
            if rebuild && disk.current == 0 {
                disk.current = token;
            }
            next.hosts[host].up = Up::Opening { from: token, rebuild };
        }
        push(out, Event::Opens { host: host as u8, how }, next);
    }

    /// Swaps the token, and replays or goes on to a rebuild.
    fn take_over(&self, state: &State, host: usize, (from, rebuild): (u8, bool), out: &mut Steps) {
        let mut next = *state;
        let host_id = host as u8;
        if state.bucket.token != from {
            next.hosts[host].up = Up::Down;
            push(out, Event::OpenRefused { host: host_id }, next);
            return;
        }
        let disk = &mut next.hosts[host].disk;
        next.bucket.token = disk.proposed;
        disk.current = disk.proposed;
        disk.proposed = 0;
        if rebuild {
            next.hosts[host].up = Up::Waiting { signed: state.bucket.now };
            push(out, Event::RebuildWaits { host: host_id }, next);
        } else {
            // A disk from before knows nothing of requests that were sent since, and they do not change the token.
            if self.keeps(Rule::R19Open) {
                disk.claims = [state.bucket.now + 1; PATHS];
            }
            self.replay(&mut next, host);
            next.hosts[host].up = Up::Open;
            push(out, Event::OpensOn { host: host_id }, next);
        }
    }

    fn switch(&self, state: &State, host: usize, objects: u8, out: &mut Steps) {
        let mut next = *state;
        let now = self.use_at(&mut next, host);
        let disk = &mut next.hosts[host].disk;
        for digest in 0..DIGESTS {
            disk.marker[digest] = if has(objects, digest) { File::old(now) } else { File::ABSENT };
            disk.uploading[digest] = File::ABSENT;
            if self.keeps(Rule::R10Discard) {
                disk.journal[digest] = 0;
            }
        }
        disk.claims = [0; PATHS];
        disk.is_rebuilding = false;
        self.replay(&mut next, host);
        next.hosts[host].up = Up::Open;
        push(out, Event::RebuildSwitches { host: host as u8 }, next);
    }

    pub(super) fn fault_steps(&self, state: &State, out: &mut Steps) {
        for host in 0..HOSTS {
            let up = state.hosts[host].up;
            let is_up = !matches!(up, Up::Down | Up::Closed);
            // Whoever has lost the bucket ends, too, and may be started again.
            let comes_back = up == Up::Closed && state.budget.opens[host] > 0;
            if (is_up || comes_back) && state.budget.crashes > 0 {
                let mut next = *state;
                next.budget.crashes -= 1;
                self.crash(&mut next, host);
                push(out, Event::Crash { host: host as u8 }, next);
            }
            if is_up && state.budget.power_losses > 0 {
                self.lose_power(state, host, out);
            }
            if is_up && state.budget.cancels > 0 {
                self.cancel(state, host, out);
            }
            // R12: with the rule the clock does not follow, so nothing happens.
            if is_up && state.budget.steps_back > 0 && !self.keeps(Rule::R12) {
                let mut next = *state;
                next.budget.steps_back -= 1;
                let now = state.hosts[host].now.saturating_sub(2);
                next.hosts[host].now = now;
                push(out, Event::ClockBack { host: host as u8, now }, next);
            }
        }
        self.walls(state, out);
        self.copies(state, out);
    }

    /// A wall clock leaps ahead of the saved clock, and is set right while its server is down.
    fn walls(&self, state: &State, out: &mut Steps) {
        for host in (0..HOSTS).filter(|_| self.scenario.has_wall) {
            let here = &state.hosts[host];
            let mut next = *state;
            if here.up == Up::Open && state.budget.leaps > 0 {
                next.budget.leaps -= 1;
                next.hosts[host].now += 2;
                let now = next.hosts[host].now;
                push(out, Event::WallAhead { host: host as u8, now }, next);
            } else if here.up == Up::Down && state.budget.opens[host] > 0 {
                let floor = if self.keeps(Rule::R12Floor) { here.disk.floor } else { 0 };
                let now = floor.max(1);
                if now < here.now {
                    next.hosts[host].now = now;
                    push(out, Event::WallBack { host: host as u8, now }, next);
                }
            }
        }
    }

    fn crash(&self, next: &mut State, host: usize) {
        self.forget(next, host);
        next.hosts[host].up = Up::Down;
    }

    /// Each file is left in any version since it was last made durable.
    fn lose_power(&self, state: &State, host: usize, out: &mut Steps) {
        let mut base = *state;
        base.budget.power_losses -= 1;
        self.crash(&mut base, host);
        let mut left = vec![base];
        for digest in 0..DIGESTS {
            let marker = state.hosts[host].disk.marker[digest];
            let uploading = state.hosts[host].disk.uploading[digest];
            left = spread(&left, marker, |host, file| host.disk.marker[digest] = file, host);
            left = spread(&left, uploading, |host, file| host.disk.uploading[digest] = file, host);
        }
        for next in left {
            let (before, after) = (&state.hosts[host].disk, &next.hosts[host].disk);
            let (mut back, mut lost) = (0, 0);
            for digest in 0..DIGESTS {
                let files = [
                    (before.marker[digest], after.marker[digest]),
                    (before.uploading[digest], after.uploading[digest]),
                ];
                for (before, after) in files {
                    if before.is_there() && !after.is_there() {
                        lost |= bit(digest);
                    }
                    if !before.is_there() && after.is_there() {
                        back |= bit(digest);
                    }
                }
            }
            push(out, Event::PowerLoss { host: host as u8, back, lost }, next);
        }
    }

    fn copies(&self, state: &State, out: &mut Steps) {
        if state.budget.copies > 0 && state.hosts[0].up == Up::Open {
            let mut next = *state;
            next.budget.copies -= 1;
            next.copy = Some(Disk { ..state.hosts[0].disk });
            push(out, Event::CopiesDisk, next);
        }
        let Some(copy) = state.copy else { return };
        if state.budget.restores > 0 {
            let mut next = *state;
            next.budget.restores -= 1;
            self.crash(&mut next, 0);
            next.hosts[0].disk = copy;
            next.hosts[0].journal = copy.journal;
            next.hosts[0].disk.sync();
            next.copy = None;
            push(out, Event::RestoresDisk, next);
        }
        if state.budget.clones > 0 && state.hosts[1].up == Up::Down {
            let mut next = *state;
            next.budget.clones -= 1;
            next.budget.opens[1] += 1;
            next.hosts[1].disk = copy;
            next.hosts[1].journal = copy.journal;
            next.hosts[1].disk.sync();
            // R12: the copy bears its clock, and the wall clocks agree.
            next.hosts[1].now = state.hosts[0].now;
            next.copy = None;
            push(out, Event::ClonesDisk, next);
        }
    }

    /// Takes a host out of the story for good.
    pub(super) fn retire(&self, next: &mut State, host: usize) {
        self.close(next, host);
        next.wire.forsake(Kind::Delete, host);
    }
}

fn spread(states: &[State], file: File, put: impl Fn(&mut Host, File), host: usize) -> Vec<State> {
    let mut spread = Vec::new();
    for state in states {
        for version in file.after_power_loss() {
            let mut next = *state;
            put(&mut next.hosts[host], version);
            spread.push(next);
        }
    }
    spread
}
