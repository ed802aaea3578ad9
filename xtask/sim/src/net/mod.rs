//! The way to the bucket and back: requests whose effect and whose answer are steps of their own.

mod client;
mod op;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use coldkeep_chunk_store::Clock as _;
use coldkeep_chunk_store::backend::{BackendError, Fault, ObjectKey};
use coldkeep_chunk_store::blob::ChunkClass;
use coldkeep_chunk_store::testing::{ManualClock, MemoryBackend};

pub(crate) use client::SimBackend;
pub(crate) use op::{Kind, Op, Reply};

use crate::chunks::{Chunks, Need, Stored};
use crate::executor::Process;
use crate::log::Log;
use crate::play::START;

type RequestId = u64;

/// What somebody decided about a request that has not had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// No effect, no answer.
    Lose,
    /// No answer; the effect comes later.
    Late,
    /// Answered 500, with or without effect.
    Fail { has_effect: bool },
    /// Answered 503 `SlowDown`: no effect.
    Throttle,
    /// Answered 409, as conditional puts that meet are: no effect.
    Conflict,
    /// Of a delete: the keys whose bit is set are refused.
    RefuseKeys(u64),
    /// Of a read: half of the body, as if that were all.
    Truncate,
}

/// How one attempt ended for its sender.
pub(crate) enum Attempt {
    Answered(Reply),
    /// Nothing came back.
    Unanswered,
    Refused(BackendError),
}

/// A request on its way.
struct Request {
    process: Process,
    op: Op,
    stage: Stage,
}

enum Stage {
    /// On its way there.
    Arriving { truncates: bool, refuses: u64, waker: Option<Waker> },
    /// Its answer is on the way back.
    Leaving { attempt: Attempt, waker: Option<Waker> },
    /// The answer is there.
    Back(Attempt),
}

/// All requests of one history, and the bucket that they go to.
pub(crate) struct Net {
    state: Mutex<State>,
    bucket: MemoryBackend,
    clock: Arc<ManualClock>,
    traits: Traits,
}

/// What holds for the bucket and the way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traits {
    pub(crate) page_objects: usize,
    /// Whether the server heeds conditions. If it does not, puts that bear one overwrite.
    pub(crate) heeds_conditions: bool,
    /// Whether bodies of the objects of snapshots may come back cut, too.
    pub(crate) cuts_snapshots: bool,
}

#[derive(Default)]
struct State {
    requests: BTreeMap<RequestId, Request>,
    next_id: RequestId,
    late: Vec<(Process, Op)>,
    /// So many requests will find nobody who answers.
    outage: usize,
    log: Log,
    /// Counts the effects of writes.
    changes: u64,
    /// Whose token stands in the bucket.
    owner: Option<Process>,
    /// Counts the tokens that stood there.
    tokens: u64,
    /// The count when a process last read the token.
    read_tokens: BTreeMap<Process, u64>,
    /// A token took the place of another process's that its writer had not seen.
    has_raced: bool,
    /// Objects of which a body came back cut. Each only once: a chunk that is cut twice counts as corrupt (R15), and rightly, as does
    /// the token after a few.
    cut: BTreeSet<String>,
    /// Chunks on which a claim may have landed that came late, or from a server that has lost the bucket, where no condition is
    /// heeded: what DESIGN does not promise there (H37).
    strays: BTreeSet<String>,
    /// Chunks that a process has copied to set them aside (R15).
    copied: BTreeSet<(Process, String)>,
    /// The first promise that was seen broken on the way.
    broken: Option<String>,
}

/// What can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moving {
    pub(crate) id: RequestId,
    pub(crate) kind: Kind,
    pub(crate) is_arriving: bool,
}

impl Net {
    pub(crate) fn new(traits: Traits, log: Log) -> Arc<Self> {
        let clock = Arc::new(ManualClock::at(START));
        let bucket = MemoryBackend::new(Arc::clone(&clock) as _).with_page_objects(traits.page_objects);
        let state = Mutex::new(State { log, ..State::default() });
        Arc::new(Self { state, bucket, clock, traits })
    }

    pub(crate) fn bucket(&self) -> &MemoryBackend {
        &self.bucket
    }

    /// Returns the clock of the bucket.
    pub(crate) fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Returns whether the bucket has a chunk, whole, of any class.
    pub(crate) fn has_chunk(&self, chunks: &Chunks, number: usize) -> bool {
        self.has_need(chunks, Need { number, is_honest: false })
    }

    /// Returns whether the bucket has what somebody relies on, whole.
    pub(crate) fn has_need(&self, chunks: &Chunks, need: Need) -> bool {
        let content = self.bucket.object(chunks.key(need.number));
        content.is_some_and(|content| chunks.has_need(self.excused(chunks, need), &content))
    }

    /// Says what the bucket has of a chunk.
    pub(crate) fn stored(&self, chunks: &Chunks, number: usize) -> Stored {
        chunks.stored(number, self.bucket.object(chunks.key(number)).as_deref())
    }

    /// Returns whether the server heeds conditions.
    pub(crate) fn heeds_conditions(&self) -> bool {
        self.traits.heeds_conditions
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        self.lock().log.note(line);
    }

    pub(crate) fn story(&self) -> String {
        self.lock().log.story()
    }

    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Returns the process whose token stands in the bucket.
    pub(crate) fn owner(&self) -> Option<Process> {
        self.lock().owner
    }

    /// Returns whether two servers took the bucket at once where no condition is heeded: nothing is promised there from then on
    /// (`docs/S3.md`).
    pub(crate) fn has_raced(&self) -> bool {
        self.lock().has_raced
    }

    /// Returns the first promise that was seen broken on the way.
    pub(crate) fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    /// Returns what may be asked for where somebody needs this.
    pub(crate) fn excused(&self, chunks: &Chunks, need: Need) -> Need {
        let is_stray = !self.traits.heeds_conditions && self.lock().strays.contains(chunks.key(need.number));
        Need { is_honest: need.is_honest && !is_stray, ..need }
    }

    /// Returns whether bodies of chunks came back cut.
    pub(crate) fn has_cut(&self) -> bool {
        self.lock().cut.iter().any(|key| op::is_chunk(key))
    }

    /// Returns the requests that wait for their effect or for their answer, the oldest first.
    pub(crate) fn moving(&self, into: &mut Vec<Moving>) {
        into.clear();
        let state = self.lock();
        into.extend(state.requests.iter().filter_map(|(id, request)| {
            let is_arriving = match request.stage {
                Stage::Arriving { .. } => true,
                Stage::Leaving { .. } => false,
                Stage::Back(_) => return None,
            };
            Some(Moving { id: *id, kind: request.op.kind(), is_arriving })
        }));
    }

    /// Lets a request have its effect, or its answer come back.
    pub(crate) fn go_on(&self, id: RequestId) {
        let mut state = self.lock();
        let is_away = state.outage > 0;
        let Some(request) = state.requests.get_mut(&id) else { return };
        match std::mem::replace(&mut request.stage, Stage::Back(Attempt::Unanswered)) {
            Stage::Arriving { waker, .. } if is_away => {
                state.outage -= 1;
                drop(state);
                waker.into_iter().for_each(Waker::wake);
            }
            Stage::Arriving { truncates, refuses, waker } => {
                let (op, process) = (request.op.clone(), request.process);
                let attempt = self.take_effect(&mut state, process, &op, refuses);
                let attempt = if truncates { cut(attempt) } else { attempt };
                set_stage(&mut state, id, Stage::Leaving { attempt, waker });
            }
            Stage::Leaving { attempt, waker } => {
                set_stage(&mut state, id, Stage::Back(attempt));
                drop(state);
                waker.into_iter().for_each(Waker::wake);
            }
            back @ Stage::Back(_) => request.stage = back,
        }
    }

    /// Has something go wrong with the first request, from the one of that number on, that it can happen to; among all, or among
    /// deletes of chunks.
    pub(crate) fn mishap_from(&self, number: usize, mishap: Mishap, of_delete: bool) {
        let mut moving = Vec::new();
        self.moving(&mut moving);
        moving.retain(|moving| !of_delete || moving.kind == Kind::DeleteChunks);
        for offset in 0..moving.len() {
            if self.mishap(moving[(number + offset) % moving.len()].id, mishap) {
                return;
            }
        }
    }

    /// Has something go wrong with a request; returns whether that can happen to it.
    fn mishap(&self, id: RequestId, mishap: Mishap) -> bool {
        let mut state = self.lock();
        let Some(request) = state.requests.get(&id) else { return false };
        let (op, process) = (request.op.clone(), request.process);
        let was_cut = state.cut.contains(op.key());
        let Some(request) = state.requests.get_mut(&id) else { return false };
        if let Stage::Leaving { waker, .. } = &mut request.stage {
            // Past its effect only the answer can get lost.
            let waker = waker.take();
            state.log.note(|| format!("the answer to {process}'s {op} is lost"));
            set_stage(&mut state, id, Stage::Back(Attempt::Unanswered));
            drop(state);
            waker.into_iter().for_each(Waker::wake);
            return true;
        }
        let Stage::Arriving { truncates, refuses, waker } = &mut request.stage else { return false };
        let is_spared = op.is_of_snapshot() && !self.traits.cuts_snapshots;
        if !op.can_meet(mishap) || (mishap == Mishap::Truncate && (was_cut || is_spared)) {
            return false;
        }
        match mishap {
            Mishap::RefuseKeys(mask) => {
                *refuses = mask;
                state.log.note(|| format!("{process}'s {op} will be refused for keys {mask:#b}"));
                return true;
            }
            Mishap::Truncate => {
                *truncates = true;
                state.cut.insert(op.key().to_owned());
                state.log.note(|| format!("the body of {process}'s {op} will be cut"));
                return true;
            }
            _ => {}
        }
        let waker = waker.take();
        let attempt = self.fail(&mut state, process, op, mishap);
        set_stage(&mut state, id, Stage::Back(attempt));
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    fn fail(&self, state: &mut State, process: Process, op: Op, mishap: Mishap) -> Attempt {
        state.log.note(|| format!("{process}'s {op} meets {mishap:?}"));
        let fault = match mishap {
            Mishap::Lose => return Attempt::Unanswered,
            Mishap::Late => {
                state.late.push((process, op));
                return Attempt::Unanswered;
            }
            Mishap::Throttle => Fault::Throttled,
            Mishap::Fail { has_effect: true } => {
                self.take_effect(state, process, &op, 0);
                Fault::Unavailable
            }
            _ => Fault::Unavailable,
        };
        // Nobody knows what a server did that failed inside.
        let is_unclear = matches!(mishap, Mishap::Fail { .. }) && op.kind().is_write();
        Attempt::Refused(self.error(&op, fault, is_unclear))
    }

    /// Has the next requests find nobody who answers: neither effect nor answer.
    pub(crate) fn go_away(&self, requests: usize) {
        self.lock().outage = requests;
    }

    /// Returns how many requests are late.
    pub(crate) fn late(&self) -> usize {
        self.lock().late.len()
    }

    /// Lets a late request take effect, if the bucket still takes it.
    pub(crate) fn land(&self, position: usize) {
        let mut state = self.lock();
        if position < state.late.len() {
            let (process, op) = state.late.remove(position);
            state.log.note(|| format!("a late request of {process} arrives"));
            self.take_effect(&mut state, process, &op, 0);
            self.note_stray(&mut state, &op);
        }
    }

    /// Notes a claim that may have landed on somebody else's chunk.
    fn note_stray(&self, state: &mut State, op: &Op) {
        if !self.traits.heeds_conditions && op.is_put_of(ChunkClass::Encrypted) {
            state.strays.insert(op.key().to_owned());
        }
    }

    fn take_effect(&self, state: &mut State, process: Process, op: &Op, refuses: u64) -> Attempt {
        let applied = op::apply(&self.bucket, op, refuses, self.traits.heeds_conditions);
        if !op::is_empty_list(op, &applied) {
            state.log.note(|| format!("{process}: {op} -> {}", op::outcome(&applied)));
        }
        match applied {
            Ok(reply) => {
                if op.kind().is_write() {
                    state.changes += 1;
                    if op.is_put_of(ChunkClass::Plain) {
                        state.strays.remove(op.key());
                    }
                    if op.is_new_token() && reply.has_stored() {
                        self.note_token(state, process);
                    }
                    // Who has lost the bucket and does not know it yet is no better than a late request.
                    if state.owner != Some(process) {
                        self.note_stray(state, op);
                    }
                } else if op.is_token_read() {
                    state.read_tokens.insert(process, state.tokens);
                }
                Attempt::Answered(reply)
            }
            Err(error) => Attempt::Refused(error),
        }
    }

    fn note_token(&self, state: &mut State, process: Process) {
        let is_blind = state.read_tokens.get(&process) != Some(&state.tokens);
        let is_others = state.owner.is_some_and(|owner| owner != process);
        if !self.traits.heeds_conditions && is_blind && is_others {
            state.log.note(|| format!("{process} writes over a token that it has not seen"));
            state.has_raced = true;
        }
        state.owner = Some(process);
        state.tokens += 1;
    }

    fn error(&self, op: &Op, fault: Fault, is_unclear: bool) -> BackendError {
        // Whoever does not answer tells no date.
        let date = (fault != Fault::Unavailable).then(|| self.clock.wall());
        let source = "the history wants it so".into();
        BackendError { action: op.action(), key: op.key().to_owned(), is_unclear, fault, date, source }
    }

    /// Sends one attempt and waits for its end.
    async fn attempt(&self, process: Process, op: Op) -> Attempt {
        let stage = Stage::Arriving { truncates: false, refuses: 0, waker: None };
        let id = {
            let mut state = self.lock();
            state.watch(process, &op);
            let id = state.next_id;
            state.next_id += 1;
            state.requests.insert(id, Request { process, op, stage });
            id
        };
        let sent = Sent { net: self, id };
        std::future::poll_fn(|context| {
            let mut state = self.lock();
            let Some(request) = state.requests.get_mut(&sent.id) else {
                return Poll::Ready(Attempt::Unanswered);
            };
            match &mut request.stage {
                Stage::Arriving { waker, .. } | Stage::Leaving { waker, .. } => {
                    *waker = Some(context.waker().clone());
                    Poll::Pending
                }
                Stage::Back(attempt) => Poll::Ready(std::mem::replace(attempt, Attempt::Unanswered)),
            }
        })
        .await
    }
}

impl State {
    /// Looks at a request that leaves: no run deletes what its own server is uploading, because the upload marker says that it
    /// does (R1). Without the marker nothing would be lost, as long as R4 sees the delete and uploads again; a run after the other could
    /// keep an upload from its end.
    fn watch(&mut self, process: Process, op: &Op) {
        match op {
            Op::Copy(from, _) => {
                self.copied.insert((process, from.to_string()));
            }
            Op::Delete(keys, _) => {
                let is_uploading = |key: &str| {
                    self.requests.values().any(|request| {
                        let is_put = request.process == process && request.op.kind() == Kind::PutChunk;
                        is_put && request.op.key() == key
                    })
                };
                // Uploads start over if their chunk is set aside (R15).
                let is_set_aside = |key: &str| self.copied.contains(&(process, key.to_owned()));
                let mut keys = keys.iter().map(ObjectKey::as_str);
                if let Some(key) = keys.find(|key| is_uploading(key) && !is_set_aside(key)) {
                    let what = format!("R1: {process} deletes {} while it uploads it", op::short(key));
                    self.changes += 1;
                    self.broken.get_or_insert(what);
                }
            }
            _ => {}
        }
    }
}

fn set_stage(state: &mut State, id: RequestId, stage: Stage) {
    if let Some(request) = state.requests.get_mut(&id) {
        request.stage = stage;
    }
}

/// Has a body end early, with a length that says that this is all.
fn cut(attempt: Attempt) -> Attempt {
    let Attempt::Answered(Reply::Get(mut answer)) = attempt else { return attempt };
    if let Some((info, content)) = &mut answer.value {
        content.truncate(content.len() / 2);
        info.len = content.len() as u64;
    }
    Attempt::Answered(Reply::Get(answer))
}

/// A request whose sender waits. If the sender gives up, a write may still arrive.
struct Sent<'a> {
    net: &'a Net,
    id: RequestId,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        let mut state = self.net.lock();
        if let Some(Request { process, op, stage: Stage::Arriving { .. } }) = state.requests.remove(&self.id)
            && op.kind().is_write()
        {
            state.late.push((process, op));
        }
    }
}
