//! Random histories in which sessions, runs, readers, clocks, crashes and lost or late requests mix.

use std::time::Duration;

use coldkeep_chunk_store::testing::{Held, HeldRequest, Late, MemoryDir, RequestKind, Which};
use coldkeep_chunk_store::{CacheUse, Session};
use coldkeep_gc::Control;
use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::scene::{RunResult, Scene, settle_down};
use crate::fixture::{START, chunk, digest};

const CHUNKS: u32 = 3;

/// What happens next. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    /// A session begins to insert a chunk, or to reference it.
    Use {
        number: u32,
        caches: bool,
        references: bool,
    },
    /// Somebody begins to read a chunk.
    Load(u32),
    /// A session that was told commits, or ends without.
    Commit(usize),
    Abort(usize),
    /// The oldest snapshot is removed.
    Forget,
    /// A run begins, if there is none.
    Run,
    Cancel,
    DropRun,
    /// So many requests go on, the oldest first; or as many as it takes until a delete is next.
    Flow(usize),
    FlowToDelete,
    /// One request gets no answer; it takes effect never, later, or twice.
    Lose(usize),
    LandLater(usize),
    Repeat(usize),
    /// One that got no answer takes effect.
    Land(usize),
    Wait(Duration),
    SetWall(Duration),
    /// The process ends and is started again, perhaps on a disk that lost what was not synced.
    Crash {
        loses_power: bool,
    },
    /// An image of the disk is made; or the process ends, and the image takes the disk's place.
    Image,
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one_of = || 0..16_usize;
    let step = prop_oneof![
        8 => (0..CHUNKS, any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(number, caches, references)| Step::Use { number, caches, references }),
        2 => (0..CHUNKS).prop_map(Step::Load),
        3 => one_of().prop_map(Step::Commit),
        5 => one_of().prop_map(Step::Abort),
        3 => Just(Step::Forget),
        6 => Just(Step::Run),
        1 => Just(Step::Cancel),
        1 => Just(Step::DropRun),
        6 => (1..6_usize).prop_map(Step::Flow),
        4 => (10..60_usize).prop_map(Step::Flow),
        6 => Just(Step::FlowToDelete),
        1 => one_of().prop_map(Step::Lose),
        4 => one_of().prop_map(Step::LandLater),
        2 => one_of().prop_map(Step::Repeat),
        4 => one_of().prop_map(Step::Land),
        4 => (1..100_u64).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        1 => (0..100_u64).prop_map(|hours| Step::SetWall(Duration::from_hours(hours))),
        1 => any::<bool>().prop_map(|loses_power| Step::Crash { loses_power }),
        1 => Just(Step::Image),
        1 => Just(Step::Restore),
    ];
    prop::collection::vec(step, 1..80)
}

type Using = JoinHandle<(Session, u32, bool)>;

struct Play {
    scene: Scene,
    /// Requests that are held before their effect, and those that are held after it.
    holds: Option<([Held; 2], Held)>,
    before: Vec<HeldRequest>,
    after: Vec<HeldRequest>,
    late: Vec<Late>,
    uses: Vec<Using>,
    told: Vec<(Session, u32)>,
    run: Option<(JoinHandle<RunResult>, Control)>,
    image: Option<MemoryDir>,
    snapshots: Vec<String>,
    commits: usize,
}

fn pick<T>(from: &mut Vec<T>, number: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.remove(number % from.len()))
}

impl Play {
    async fn new() -> Self {
        let mut play = Self {
            scene: Scene::empty().await,
            holds: None,
            before: Vec::new(),
            after: Vec::new(),
            late: Vec::new(),
            uses: Vec::new(),
            told: Vec::new(),
            run: None,
            image: None,
            snapshots: Vec::new(),
            commits: 0,
        };
        play.hold();
        play
    }

    fn hold(&mut self) {
        let backend = &self.scene.backend;
        // About half of the keys each.
        let is_even = |key: &str| key.bytes().map(u32::from).sum::<u32>().is_multiple_of(2);
        let before = [Which::every(RequestKind::Delete), Which::any().always().about(is_even)];
        let before = before.map(|which| backend.hold_before(which));
        self.holds = Some((before, backend.hold_after(Which::any().always())));
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Use { number, caches, references } => self.use_chunk(number, caches, references),
            Step::Load(number) => {
                let store = self.scene.store.clone();
                drop(tokio::spawn(async move { store.load(&digest(number)).await }));
            }
            Step::Commit(number) => self.commit(number),
            Step::Abort(number) => drop(pick(&mut self.told, number)),
            Step::Forget => {
                if let Some(index) = pick(&mut self.snapshots, 0) {
                    self.scene.forget_index(&index);
                }
            }
            Step::Run if self.run.is_none() => {
                let control = Control::new();
                self.run = Some((self.scene.spawn_run(&control), control));
            }
            Step::Cancel => {
                if let Some((_, control)) = &self.run {
                    control.cancel();
                }
            }
            Step::DropRun => {
                if let Some((run, _)) = self.run.take() {
                    run.abort();
                }
            }
            Step::Wait(duration) => self.scene.advance(duration),
            Step::SetWall(duration) => self.scene.clock.step_wall(START.plus(duration)),
            Step::Crash { loses_power } => self.crash(loses_power, None).await,
            Step::Image => self.image = Some(self.scene.dir.snapshot()),
            Step::Restore => {
                if let Some(image) = self.image.take() {
                    self.crash(false, Some(image)).await;
                }
            }
            step => self.answer(step).await,
        }
        self.settle().await;
    }

    /// Decides about requests that are held, or that got no answer.
    async fn answer(&mut self, step: Step) {
        match step {
            Step::Flow(count) => {
                for _ in 0..count {
                    self.flow().await;
                }
            }
            Step::FlowToDelete => {
                let is_delete = |request: &HeldRequest| request.request().kind == RequestKind::Delete;
                for _ in 0..60 {
                    if !self.before.iter().any(is_delete) {
                        self.flow().await;
                    }
                }
            }
            Step::Lose(number) => {
                let lost = pick(&mut self.after, number).or_else(|| pick(&mut self.before, number));
                lost.into_iter().for_each(HeldRequest::lose);
            }
            Step::LandLater(number) => {
                let late = self.pick_write(number).map(HeldRequest::lose_now_land_later);
                self.late.extend(late);
            }
            Step::Repeat(number) => {
                let late = self.pick_write(number).map(HeldRequest::repeat_now_land_later);
                self.late.extend(late);
            }
            Step::Land(number) => {
                if let Some(late) = pick(&mut self.late, number) {
                    // Refused if it has expired.
                    let _ = late.land().await;
                }
            }
            _ => {}
        }
    }

    /// Lets one request go on.
    async fn flow(&mut self) {
        drop(pick(&mut self.before, 0).or_else(|| pick(&mut self.after, 0)));
        self.settle().await;
    }

    /// Takes a request that is held before its effect, if it can have any.
    fn pick_write(&mut self, number: usize) -> Option<HeldRequest> {
        let is_write = |request: &mut HeldRequest| request.request().kind.is_write();
        let mut writes: Vec<HeldRequest> = self.before.extract_if(.., is_write).collect();
        let picked = pick(&mut writes, number);
        self.before.splice(..0, writes);
        picked
    }

    fn use_chunk(&mut self, number: u32, caches: bool, references: bool) {
        let store = self.scene.store.clone();
        let cache = if caches { CacheUse::Keep } else { CacheUse::Skip };
        self.uses.push(tokio::spawn(async move {
            let session = store.begin_session(cache).await.unwrap();
            let is_told = if references {
                store.touch(&session, &[digest(number)]).await.is_ok()
            } else {
                store.insert(&session, chunk(number)).await.is_ok()
            };
            (session, number, is_told)
        }));
    }

    fn commit(&mut self, number: usize) {
        let Some((session, number)) = pick(&mut self.told, number) else { return };
        if session.check_alive().is_ok() {
            let index = format!("host/c/{}/root.didx", self.commits);
            self.scene.add_index(&index, &[number]);
            self.snapshots.push(index);
            self.commits += 1;
        }
    }

    async fn crash(&mut self, loses_power: bool, image: Option<MemoryDir>) {
        self.run.take().into_iter().for_each(|(run, _)| run.abort());
        self.uses.drain(..).for_each(|using| using.abort());
        self.told.clear();
        settle_down().await;
        // What was on its way may still arrive.
        self.late.extend(self.before.drain(..).map(HeldRequest::lose_now_land_later));
        self.after.clear();
        self.holds = None;
        self.scene.backend.clear_rules();
        if loses_power {
            self.scene.dir.lose_power();
        }
        if let Some(image) = image {
            self.scene.dir.restore(&image);
        }
        self.scene.reopen().await;
        self.hold();
    }

    /// Lets everything go on until it needs the test, and checks the invariants.
    async fn settle(&mut self) {
        settle_down().await;
        if let Some((before, after)) = &mut self.holds {
            for before in before {
                self.before.extend(std::iter::from_fn(|| before.try_arrived()));
            }
            self.after.extend(std::iter::from_fn(|| after.try_arrived()));
        }
        self.run.take_if(|(run, _)| run.is_finished());
        for using in std::mem::take(&mut self.uses) {
            if !using.is_finished() {
                self.uses.push(using);
                continue;
            }
            let (session, number, is_told) = using.await.unwrap();
            if is_told {
                self.told.push((session, number));
            }
        }
        for (session, number) in &self.told {
            let is_lost = session.check_alive().is_ok() && !self.scene.has_object(*number);
            assert!(!is_lost, "I3: chunk {number} is lost, and a session goes on");
        }
        for number in self.scene.referenced() {
            assert!(self.scene.has_object(number), "I1: chunk {number} of a snapshot is lost");
        }
    }

    async fn end(mut self) {
        self.holds = None;
        self.scene.backend.clear_rules();
        self.before.clear();
        self.after.clear();
        for late in self.late.drain(..) {
            let _ = late.land().await;
        }
        if let Some((run, _)) = self.run.take() {
            let _ = self.scene.let_end(run).await;
        }
        for using in std::mem::take(&mut self.uses) {
            let (session, number, is_told) = self.scene.let_end(using).await;
            if is_told {
                self.told.push((session, number));
            }
        }
        self.settle().await;
        self.told.clear();
        self.scene.assert_clean_end().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Goal: I1, I3 and I5 in any order of everything that can happen to one server. Method: every request of everybody stands
    /// still, before or after its effect, until a step says what becomes of it.
    #[test]
    fn nothing_promised_is_ever_lost_in_a_bucket_and_garbage_goes(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut play = Play::new().await;
            for step in steps {
                play.take(step).await;
            }
            play.end().await;
        });
    }
}
