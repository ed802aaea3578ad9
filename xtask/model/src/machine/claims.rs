//! What must hold in every state: I1, I2, I3, and I5 as "one clean run from here leaves what is referenced".

use super::{Claimed, Machine, Steps};
use crate::event::Event;
use crate::state::{Budget, DIGESTS, HOSTS, INDEX, Object, PATHS, Stage, State, Up, has};

/// More steps than any ending takes; beyond, something goes round in circles.
const ENDING_MAX: usize = 400;

impl Machine {
    pub(super) fn broken_claim(&self, state: &State, next: &[(Event, State)]) -> Option<String> {
        let mut broken = self.i1(state).or_else(|| self.i3(state));
        if self.claimed >= Claimed::Safety {
            broken = broken.or_else(|| self.i2(state));
        }
        if broken.is_some() || !self.scenario.claims.i5 || self.claimed < Claimed::All {
            return broken;
        }
        let is_quiet = !state.sessions.iter().any(|session| session.is_open())
            && state.hosts.iter().all(|host| host.is_idle() && !matches!(host.up, Up::Closed));
        let is_end = next.iter().all(|(event, _)| event.is_fault());
        if is_quiet || is_end { self.i5(state) } else { None }
    }

    fn is_stored(&self, state: &State, digest: usize) -> bool {
        match state.bucket.objects[digest] {
            Object::Good => true,
            Object::Bad => !self.scenario.claims.bad_is_lost,
            Object::Absent => false,
        }
    }

    /// Every chunk of a committed snapshot can be read; what looks committed is whole.
    fn i1(&self, state: &State) -> Option<String> {
        for path in (0..PATHS).filter(|path| !has(state.broken, *path)) {
            let (promised, manifest) = (state.promised[path], state.bucket.manifest[path]);
            let index = state.bucket.index[path];
            if promised != 0 && manifest != promised {
                return Some(format!("I1: {} was committed, and its manifest is not there", name(path)));
            }
            if manifest != 0 && index & INDEX == 0 {
                return Some(format!("I1: {} has a manifest, and its index is not there", name(path)));
            }
            if manifest != 0 {
                let lost = (0..DIGESTS).find(|digest| has(index, *digest) && !self.is_stored(state, *digest));
                if let Some(digest) = lost {
                    return Some(format!("I1: chunk {} of {} is lost", chunk(digest), name(path)));
                }
            }
        }
        None
    }

    /// A marker means that the object exists, unless the digest is journalled; of the host whose token the bucket bears.
    fn i2(&self, state: &State) -> Option<String> {
        if !self.scenario.claims.i2 {
            return None;
        }
        self.owners(state).find_map(|host| {
            let here = &state.hosts[host];
            let lie = (0..DIGESTS).find(|digest| {
                here.disk.marker[*digest].is_there()
                    && here.journal[*digest] == 0
                    && state.bucket.objects[*digest] == Object::Absent
            });
            lie.map(|digest| format!("I2: the marker of {} stands for nothing", chunk(digest)))
        })
    }

    /// What an open session was told of stays.
    fn i3(&self, state: &State) -> Option<String> {
        if !self.scenario.claims.i2 {
            return None;
        }
        self.owners(state).find_map(|host| {
            self.sessions_of(state, host).find_map(|(i, session)| {
                let lost =
                    (0..DIGESTS).find(|digest| has(session.told, *digest) && !self.is_stored(state, *digest));
                lost.map(|digest| {
                    format!("I3: session {} was told that {} is stored, and it is gone", i + 1, chunk(digest))
                })
            })
        })
    }

    fn owners<'a>(&'a self, state: &'a State) -> impl Iterator<Item = usize> + 'a {
        (0..HOSTS).filter(|host| state.hosts[*host].up == Up::Open && self.is_owner(state, *host))
    }

    /// Without faults everything comes to an end, and then one run leaves exactly what is referenced.
    fn i5(&self, state: &State) -> Option<String> {
        let owner = (0..HOSTS)
            .find(|host| state.hosts[*host].up == Up::Open && self.is_owner(state, *host))
            .or_else(|| (0..HOSTS).find(|host| self.is_owner(state, *host)))
            .unwrap_or(0);
        let mut end = *state;
        end.budget = Budget { ticks: 4, ..Budget::NONE };
        end.budget.opens[owner] = 2;
        for session in &mut end.sessions {
            if session.stage == Stage::Unborn {
                session.fail();
            }
        }
        for host in (0..HOSTS).filter(|host| *host != owner) {
            self.retire(&mut end, host);
        }
        if end.hosts[owner].up == Up::Closed {
            end.hosts[owner].up = Up::Down;
        }
        let mut steps = Vec::new();
        self.come_to_end(&mut end, &mut steps);
        if end.sessions.iter().any(|session| session.is_open()) {
            // Some wait for a run.
            end.budget.runs = 1;
            self.come_to_end(&mut end, &mut steps);
        }
        if let Some(session) = end.sessions.iter().position(|session| session.is_open()) {
            return Some(format!("I5: session {} waits for ever", session + 1));
        }
        if end.hosts[owner].up != Up::Open {
            return Some("I5: the store does not open any more".to_owned());
        }
        if !end.hosts[owner].is_idle() {
            return Some("I5: the run does not end".to_owned());
        }
        end.budget.runs = 1;
        self.come_to_end(&mut end, &mut steps);
        self.leftover(&end, owner)
    }

    fn come_to_end(&self, state: &mut State, steps: &mut Steps) {
        for _ in 0..ENDING_MAX {
            steps.clear();
            self.all_steps(state, steps);
            match steps.iter().find(|(event, _)| !event.is_fault()) {
                Some((_, next)) => *state = *next,
                None => return,
            }
        }
    }

    fn leftover(&self, end: &State, owner: usize) -> Option<String> {
        let here = &end.hosts[owner];
        if !here.is_idle() {
            return Some("I5: a clean run does not end".to_owned());
        }
        let mut referenced = 0;
        for path in 0..PATHS {
            referenced |= end.bucket.index[path];
            if end.bucket.index[path] != 0 && end.bucket.manifest[path] == 0 {
                return Some(format!("I5: the index of {} is left after a clean run", name(path)));
            }
        }
        for digest in 0..DIGESTS {
            let is_there = end.bucket.objects[digest] != Object::Absent;
            let what = if is_there && !has(referenced, digest) {
                "object"
            } else if here.disk.uploading[digest].is_there() {
                "upload marker"
            } else if here.disk.marker[digest].is_there() && !is_there && self.scenario.claims.i2 {
                "marker"
            } else if here.journal[digest] != 0 {
                "journal entry"
            } else {
                continue;
            };
            return Some(format!("I5: the {what} of {} is left after a clean run", chunk(digest)));
        }
        None
    }
}

fn chunk(digest: usize) -> &'static str {
    if digest == 0 { "d" } else { "e" }
}

fn name(path: usize) -> &'static str {
    match path {
        0 => "the earlier snapshot",
        1 => "snapshot 1",
        _ => "snapshot 2",
    }
}
