//! I3 under random interleavings: told means stored, until the session ends.

use proptest::prelude::*;

use super::*;
use crate::testing::Held;

/// What happens next. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    /// A session starts to insert a chunk, or to reference it.
    Use { data: usize, caches: bool, references: bool },
    /// An upload takes effect, if it has not, and is answered.
    Answer(usize),
    /// An upload gets no answer.
    Lose(usize),
    /// A session ends.
    End(usize),
    /// A run takes what it may of both chunks.
    Sweep,
    /// Time goes by.
    Wait,
}

const DATA: [&[u8]; 2] = [b"abc", b"def"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(data, caches, references)| Step::Use { data, caches, references }),
        4 => (0..9_usize).prop_map(Step::Answer),
        2 => (0..9_usize).prop_map(Step::Lose),
        3 => (0..9_usize).prop_map(Step::End),
        3 => Just(Step::Sweep),
        1 => Just(Step::Wait),
    ]
}

struct Play {
    scene: Scene,
    store: Arc<Store>,
    held: [Held; 2],
    requests: Vec<crate::testing::HeldRequest>,
    under_way: Vec<(Digest, JoinHandle<(Session, bool)>)>,
    told: Vec<(Digest, Session)>,
    sweeps: Vec<JoinHandle<()>>,
}

impl Play {
    async fn new() -> Self {
        let (scene, store) = Scene::opened().await;
        let held = [
            scene.backend.hold_before(Which::every(RequestKind::PutNew).about(|key| key.contains("/ba78"))),
            scene.backend.hold_after(Which::every(RequestKind::PutNew)),
        ];
        let (requests, under_way, told, sweeps) = Default::default();
        Self { scene, store, held, requests, under_way, told, sweeps }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Use { data, caches, references } => self.use_chunk(DATA[data], caches, references),
            Step::Answer(number) | Step::Lose(number) if !self.requests.is_empty() => {
                let request = self.requests.remove(number % self.requests.len());
                if matches!(step, Step::Answer(_)) { request.release() } else { request.lose() }
            }
            Step::End(number) if !self.told.is_empty() => {
                self.told.remove(number % self.told.len());
            }
            Step::Sweep => {
                // Two runs at once are refused; the second is left out.
                self.sweeps.retain(|sweep| !sweep.is_finished());
                if self.sweeps.is_empty() {
                    let (store, backend) = (Arc::clone(&self.store), self.scene.backend.clone());
                    self.sweeps.push(tokio::spawn(sweep(store, backend)));
                }
            }
            Step::Wait => self.scene.clock.advance(MINUTE),
            Step::Answer(_) | Step::Lose(_) | Step::End(_) => {}
        }
        self.settle().await;
    }

    fn use_chunk(&mut self, data: &'static [u8], caches: bool, references: bool) {
        let store = Arc::clone(&self.store);
        let cache = if caches { CacheUse::Keep } else { CacheUse::Skip };
        let task = async move {
            let session = store.begin_session(cache).await.unwrap();
            let is_told = if references {
                store.touch(&session, &[Digest::of(data)]).await.is_ok()
            } else {
                store.insert(&session, chunk(data)).await.is_ok()
            };
            (session, is_told)
        };
        self.under_way.push((Digest::of(data), tokio::spawn(task)));
    }

    /// Lets everything go on until it needs the test, and checks the invariant.
    async fn settle(&mut self) {
        settle_down().await;
        for held in &mut self.held {
            while let Some(request) = held.try_arrived() {
                self.requests.push(request);
            }
        }
        for (digest, task) in std::mem::take(&mut self.under_way) {
            if !task.is_finished() {
                self.under_way.push((digest, task));
                continue;
            }
            let (session, is_told) = task.await.unwrap();
            if is_told {
                self.told.push((digest, session));
            }
        }
        for (digest, session) in &self.told {
            let is_lost = session.check_alive().is_ok() && !self.scene.has_object(digest);
            assert!(!is_lost, "I3: {digest} is gone");
        }
    }

    async fn end(mut self) {
        for _ in 0..100 {
            if self.under_way.is_empty() && self.sweeps.iter().all(JoinHandle::is_finished) {
                return;
            }
            self.requests.drain(..).for_each(crate::testing::HeldRequest::release);
            self.settle().await;
        }
        panic!("somebody waits for ever");
    }
}

async fn sweep(store: Arc<Store>, backend: StagedBackend) {
    let Ok(run) = store.begin_run(Duration::ZERO, Duration::ZERO).await else { return };
    let mut candidates = Vec::new();
    for data in DATA {
        let digest = Digest::of(data);
        let answer = backend.inner().head(&key_of(&digest)).await.unwrap();
        let written_at = answer.value.map(|object| object.modified_at);
        candidates.push(Candidate { digest, written_at });
        tokio::task::yield_now().await;
    }
    let mut batch = Batch::default();
    store.condemn(&run, &mut batch, &candidates).await.unwrap();
    tokio::task::yield_now().await;
    store.carry_out(batch, &|| false).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Goal: a session that was told of a chunk can rely on it until it ends. Method: sessions, runs and lost replies in
    /// random order over two chunks; uploads stand still before or after their effect until a step lets them go on.
    #[test]
    fn told_means_stored(steps in prop::collection::vec(step(), 1..60)) {
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
