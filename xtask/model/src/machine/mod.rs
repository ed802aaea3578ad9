//! The rules as a state machine: what can follow a state.

#![expect(
    clippy::unused_self,
    reason = "steps are methods of the machine, whether or not they ask for its rules"
)]

mod batch;
mod chores;
mod claims;
mod process;
mod session;
mod sweep;
mod wire;

use crate::event::Event;
use crate::explore::System;
use crate::rules::{Rule, Rules};
use crate::scenario::{Scenario, Writer};
use crate::state::{
    Batch, Bucket, Budget, Chore, Disk, Host, Kind, Object, PATHS, Run, SESSIONS, Session, Stage, State, Up,
    Wire, has,
};

/// States that one step leads to, with what happened.
pub(crate) type Steps = Vec<(Event, State)>;

/// Which of the claims of a scenario are looked at: a story of a loss says more than one of a marker that lies, and that more than
/// one of a leak.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Claimed {
    /// I1 and I3.
    NoLoss,
    /// And I2.
    Safety,
    /// And I5.
    All,
}

/// A scenario under a set of rules.
pub(crate) struct Machine {
    pub(crate) scenario: &'static Scenario,
    pub(crate) rules: Rules,
    /// The protocol with upload markers and a mutex of the whole store alone.
    pub(crate) is_variant: bool,
    pub(crate) claimed: Claimed,
}

impl Machine {
    /// Whether a part of a rule is in force.
    fn keeps(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    fn writer(&self, session: usize) -> Option<&'static Writer> {
        self.scenario.writers.get(session)
    }

    /// The host that the bucket's token speaks for, if any.
    fn is_owner(&self, state: &State, host: usize) -> bool {
        let disk = &state.hosts[host].disk;
        let token = state.bucket.token;
        self.is_variant
            || !self.scenario.has_generation
            || disk.current == token
            || (disk.proposed != 0 && disk.proposed == token)
    }

    /// The time of a use that is about to be recorded. The clock is saved before (R12).
    fn use_at(&self, next: &mut State, host: usize) -> u8 {
        if self.keeps(Rule::R12Use) {
            self.save_clock(next, host);
        }
        next.hosts[host].now
    }

    fn save_clock(&self, next: &mut State, host: usize) {
        if self.scenario.has_wall {
            next.hosts[host].disk.floor = next.hosts[host].now;
        }
    }

    /// Ends what a host does because it has seen a foreign token; what was sent stays under way.
    fn close(&self, state: &mut State, host: usize) {
        self.forget(state, host);
        state.hosts[host].up = Up::Closed;
    }

    /// Loses the memory of a host.
    fn forget(&self, state: &mut State, host: usize) {
        for session in 0..SESSIONS {
            if self.writer(session).is_some_and(|writer| usize::from(writer.host) == host)
                && state.sessions[session].is_open()
            {
                state.fail(session);
            }
        }
        state.wire.forsake(Kind::Delete, host);
        state.wire.forsake(Kind::Prune, host);
        let host = &mut state.hosts[host];
        *host = Host { disk: host.disk, up: host.up, now: host.now, ..Host::DOWN };
        host.journal = host.disk.journal;
    }

    /// Whether an open session of a host writes a snapshot's path.
    fn is_written(&self, state: &State, host: usize, path: usize) -> bool {
        let mut open = self.sessions_of(state, host);
        open.any(|(i, _)| self.writer(i).is_some_and(|writer| usize::from(writer.path) == path))
    }

    /// Open sessions of a host.
    fn sessions_of<'a>(&self, state: &'a State, host: usize) -> impl Iterator<Item = (usize, &'a Session)> {
        let hosts: [bool; SESSIONS] =
            std::array::from_fn(|i| self.writer(i).is_some_and(|writer| usize::from(writer.host) == host));
        state.sessions.iter().enumerate().filter(move |(i, session)| hosts[*i] && session.is_open())
    }

    fn all_steps(&self, state: &State, out: &mut Steps) {
        self.session_steps(state, out);
        for host in 0..crate::state::HOSTS {
            match state.hosts[host].up {
                Up::Open => {
                    self.batch_steps(state, host, out);
                    self.run_steps(state, host, out);
                    self.chore_steps(state, host, out);
                }
                Up::Closed => {}
                _ => self.open_steps(state, host, out),
            }
        }
        self.wire_steps(state, out);
        self.fault_steps(state, out);
        self.tick(state, out);
    }
}

impl System for Machine {
    type State = State;
    type Event = Event;

    fn initial(&self) -> State {
        let mut state = State {
            bucket: Bucket {
                objects: [Object::Absent; crate::state::DIGESTS],
                token: 1,
                index: [0; PATHS],
                manifest: [0; PATHS],
                now: 1,
            },
            wire: Wire::EMPTY,
            hosts: [
                Host { up: Up::Open, disk: Disk { current: 1, ..Disk::EMPTY }, ..Host::DOWN },
                Host::DOWN,
            ],
            sessions: [Session::UNBORN; SESSIONS],
            budget: Budget::NONE,
            copy: None,
            promised: [0; PATHS],
            broken: 0,
            tokens: 1,
            has_run: false,
        };
        (self.scenario.setup)(&mut state);
        for session in self.scenario.writers.len()..SESSIONS {
            state.sessions[session].stage = Stage::Failed;
        }
        let mut out = Vec::new();
        push(&mut out, Event::CopiesDisk, state);
        out[0].1
    }

    fn steps(&self, state: &State, out: &mut Steps) {
        self.all_steps(state, out);
    }

    fn flaw(&self, state: &State, next: &[(Event, State)]) -> Option<String> {
        self.broken_claim(state, next)
    }
}

impl Host {
    /// Whether nothing is under way that a crash would cut short.
    fn is_idle(&self) -> bool {
        self.run == Run::IDLE
            && self.batch == Batch::FREE
            && self.chore == Chore::None
            && self.asked.is_none()
            && self.condemned == 0
            && self.mutex == 0
    }
}

/// Digests of a set.
fn members(set: u8) -> impl Iterator<Item = usize> {
    (0..crate::state::DIGESTS).filter(move |digest| has(set, *digest))
}

/// Appends a step, in a form in which equal situations are equal.
fn push(out: &mut Steps, event: Event, mut state: State) {
    for host in &mut state.hosts {
        if state.budget.power_losses == 0 {
            host.disk.sync();
        }
        for claim in &mut host.disk.claims {
            if *claim <= state.bucket.now {
                *claim = 0;
            }
        }
        for digest in 0..crate::state::DIGESTS {
            if !host.disk.marker[digest].is_there() {
                host.cached &= !crate::state::bit(digest);
            }
        }
    }
    out.push((event, state));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::explore::{Verdict, explore};

    /// Explores without fingerprints.
    fn exact(machine: &Machine) -> (usize, usize) {
        let initial = machine.initial();
        let mut seen = HashSet::from([initial]);
        let mut open = vec![initial];
        let (mut out, mut steps) = (Vec::new(), 0);
        while let Some(state) = open.pop() {
            out.clear();
            machine.steps(&state, &mut out);
            steps += out.len();
            open.extend(out.iter().map(|(_, next)| *next).filter(|next| seen.insert(*next)));
        }
        (seen.len(), steps)
    }

    #[test]
    fn fingerprints_lose_no_state() {
        for name in ["heal-race", "superseded", "late-manifest"] {
            let scenario = Scenario::named(name).unwrap();
            let machine =
                Machine { scenario, rules: Rules::ALL, is_variant: false, claimed: Claimed::NoLoss };
            let outcome = explore(&machine, usize::MAX);
            assert!(matches!(outcome.verdict, Verdict::Holds));
            assert_eq!(exact(&machine), (outcome.states, outcome.steps), "{name}");
        }
    }
}
