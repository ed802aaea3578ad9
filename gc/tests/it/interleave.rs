//! Random histories of sessions, snapshots, clock steps and runs, in which the steps of a run mix with everything else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use coldkeep_chunk_store::{Session, StoreTime, TouchError};
use coldkeep_gc::testing::{MemoryReadError, MemoryReferences};
use coldkeep_gc::{Control, Options, Outcome, References, Sink, collect};
use proptest::prelude::*;
use tokio::sync::Mutex;

use crate::fixture::{Fixture, HOUR, Meddle, OnDisk, START, digest, options};

const SESSIONS: usize = 2;
const CHUNKS: u32 = 5;

#[derive(Debug, Clone)]
enum Step {
    Begin(usize),
    Insert(usize, u32),
    Touch(usize, u32),
    Commit(usize, u8),
    Abort(usize),
    Forget(u8),
    Advance(Duration),
    SetWall(StoreTime),
    /// A run; the given number of the steps that follow happen during it.
    Run {
        grace: Duration,
        during: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..SESSIONS).prop_map(Step::Begin),
        4 => (0..SESSIONS, 0..CHUNKS).prop_map(|(session, chunk)| Step::Insert(session, chunk)),
        4 => (0..SESSIONS, 0..CHUNKS).prop_map(|(session, chunk)| Step::Touch(session, chunk)),
        3 => (0..SESSIONS, 0_u8..4).prop_map(|(session, snapshot)| Step::Commit(session, snapshot)),
        1 => (0..SESSIONS).prop_map(Step::Abort),
        2 => (0_u8..4).prop_map(Step::Forget),
        3 => (0_u64..300).prop_map(|minutes| Step::Advance(Duration::from_mins(minutes))),
        1 => (0_u64..20).prop_map(|hours| Step::SetWall(START.minus(10 * HOUR).plus(Duration::from_hours(hours)))),
        4 => (0_u64..3, 0_usize..12).prop_map(|(hours, during)| Step::Run { grace: Duration::from_hours(hours), during }),
    ];
    prop::collection::vec(step, 1..60)
}

/// The store and what must be in it.
struct World {
    fixture: OnDisk,
    references: MemoryReferences,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ahead: VecDeque<Step>,
    /// Steps that may happen in the present run.
    during: usize,
    sessions: [Option<(Session, BTreeSet<u32>)>; SESSIONS],
    snapshots: BTreeMap<u8, BTreeSet<u32>>,
}

impl State {
    fn promised(&self) -> BTreeSet<u32> {
        let told = self.sessions.iter().flatten().flat_map(|(_, told)| told);
        told.chain(self.snapshots.values().flatten()).copied().collect()
    }
}

fn index_name(snapshot: u8) -> String {
    format!("host/a/{snapshot}/root.didx")
}

impl World {
    async fn new(steps: Vec<Step>) -> Self {
        let state = State { ahead: steps.into(), ..State::default() };
        Self { fixture: OnDisk::new().await, references: MemoryReferences::new(), state: Mutex::new(state) }
    }

    async fn play(&self) {
        loop {
            let step = self.state.lock().await.ahead.pop_front();
            match step {
                None => break,
                Some(Step::Run { grace, during }) => self.run(options().with_grace(grace), during).await,
                Some(step) => self.apply(&mut *self.state.lock().await, step).await,
            }
        }
        // I5: with nobody about, one run leaves exactly what is referenced.
        self.state.lock().await.sessions = [None, None];
        self.fixture.advance(1000 * HOUR);
        self.run(options(), 0).await;
        let promised = self.state.lock().await.promised();
        for chunk in 0..CHUNKS {
            assert_eq!(self.fixture.holds(&digest(chunk)).await, promised.contains(&chunk), "chunk {chunk}");
        }
    }

    async fn run(&self, options: Options, during: usize) {
        self.state.lock().await.during = during;
        let target = Meddle::new(&*self.fixture.store, |_, _| async {
            self.happen().await;
            true
        });
        let report = collect(&target, self, &options, &Control::new()).await.unwrap();
        assert_eq!(report.missing.chunks, 0, "{report}");
        self.state.lock().await.during = 0;
        self.check(&*self.state.lock().await).await;
    }

    /// Lets the next step happen in the middle of a run.
    async fn happen(&self) {
        let mut state = self.state.lock().await;
        if state.during > 0 && !matches!(state.ahead.front(), None | Some(Step::Run { .. })) {
            state.during -= 1;
            if let Some(step) = state.ahead.pop_front() {
                self.apply(&mut state, step).await;
            }
        }
    }

    async fn apply(&self, state: &mut State, step: Step) {
        let store = &self.fixture.store;
        match step {
            Step::Begin(at) if state.sessions[at].is_none() => {
                state.sessions[at] = Some((store.begin_session().await.unwrap(), BTreeSet::new()));
            }
            Step::Insert(at, chunk) => {
                if let Some((session, told)) = &mut state.sessions[at] {
                    self.fixture.insert(session, chunk).await;
                    told.insert(chunk);
                }
            }
            Step::Touch(at, chunk) => {
                if let Some((session, told)) = &mut state.sessions[at] {
                    match store.touch(session, &[digest(chunk)]).await {
                        Ok(()) => drop(told.insert(chunk)),
                        Err(TouchError::Missing { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Step::Commit(at, snapshot) if !state.snapshots.contains_key(&snapshot) => {
                if let Some((session, told)) = state.sessions[at].take() {
                    self.references.add(&index_name(snapshot), told.iter().map(|chunk| digest(*chunk)));
                    session.check_alive().unwrap();
                    state.snapshots.insert(snapshot, told);
                }
            }
            Step::Abort(at) => state.sessions[at] = None,
            Step::Forget(snapshot) => {
                state.snapshots.remove(&snapshot);
                self.references.forget(&index_name(snapshot));
            }
            Step::Advance(duration) => self.fixture.advance(duration),
            Step::SetWall(wall) => self.fixture.clock.step_wall(wall),
            Step::Begin(_) | Step::Commit(..) | Step::Run { .. } => {}
        }
        self.check(state).await;
    }

    /// I1 and I3: what a snapshot names and what an open session was told of is there.
    async fn check(&self, state: &State) {
        for chunk in state.promised() {
            assert!(self.fixture.holds(&digest(chunk)).await, "chunk {chunk} is lost");
        }
    }
}

impl References for World {
    type Index = String;
    type Error = MemoryReadError;

    async fn list(&self) -> Result<Vec<String>, MemoryReadError> {
        self.happen().await;
        let listed = self.references.list().await;
        self.happen().await;
        listed
    }

    async fn read(&self, index: &String, sink: Sink) -> Result<Outcome, MemoryReadError> {
        self.happen().await;
        self.references.read(index, sink).await
    }
}

proptest! {
    #[test]
    fn h02_h07_h13_nothing_promised_is_ever_lost_and_garbage_goes(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { World::new(steps).await.play().await });
    }
}
