//! A run that stands still at one of its steps: before or after the effect of a request, or between two file operations.

use coldkeep_chunk_store::testing::{Held, HeldCall, HeldCalls, HeldRequest, Which};
use coldkeep_gc::{Control, End, Report};
use tokio::task::JoinHandle;

use super::scene::{RunResult, Scene, settle_down};

/// A step of a run at which it stands still, counted from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    BeforeRequest(usize),
    AfterRequest(usize),
    BeforeFileCall(usize),
}

/// What a run stands still at. Dropping it lets the run go on.
pub(crate) enum HeldStep {
    Request(HeldRequest),
    FileCall(HeldCall),
}

enum Waiting {
    Requests(Held),
    FileCalls(HeldCalls),
}

impl Stop {
    fn set_up(self, scene: &Scene) -> Waiting {
        match self {
            Self::BeforeRequest(number) => {
                Waiting::Requests(scene.backend.hold_before(Which::any().after(number)))
            }
            Self::AfterRequest(number) => {
                Waiting::Requests(scene.backend.hold_after(Which::any().after(number)))
            }
            Self::BeforeFileCall(number) => Waiting::FileCalls(scene.dir.hold_call(number)),
        }
    }
}

impl Waiting {
    fn arrived(&mut self) -> Option<HeldStep> {
        match self {
            Self::Requests(held) => held.try_arrived().map(HeldStep::Request),
            Self::FileCalls(held) => held.try_arrived().map(HeldStep::FileCall),
        }
    }
}

/// A scene in which a run stands still, or has ended without coming so far.
pub(crate) struct Stopped {
    pub(crate) scene: Scene,
    pub(crate) control: Control,
    pub(crate) run: JoinHandle<RunResult>,
    /// `None`: the run has ended.
    pub(crate) step: Option<HeldStep>,
    pub(crate) stop: Stop,
}

impl Stopped {
    /// Begins a run and lets it go on to a stop.
    pub(crate) async fn begin(scene: Scene, stop: Stop) -> Self {
        let (mut waiting, control) = (stop.set_up(&scene), Control::new());
        let run = scene.spawn_run(&control);
        for _ in 0..100 {
            settle_down().await;
            let step = waiting.arrived();
            if step.is_some() || run.is_finished() {
                if step.is_none() {
                    // The rule is not meant for others.
                    scene.backend.clear_rules();
                    scene.dir.hold_no_call();
                }
                return Self { scene, control, run, step, stop };
            }
        }
        panic!("the run waits for something else");
    }

    /// Returns the name of the file operation before which the run stands still.
    pub(crate) fn file_call(&self) -> Option<&'static str> {
        match &self.step {
            Some(HeldStep::FileCall(call)) => Some(call.method()),
            _ => None,
        }
    }

    /// Lets the run go on and end.
    pub(crate) async fn end_run(self) -> (Scene, RunResult) {
        // Dropped, it goes on.
        drop(self.step);
        let result = self.scene.let_end(self.run).await;
        (self.scene, result)
    }

    /// Ends the process as a crash does, and the machine if it loses power. What the run was about to send is returned: it may
    /// still take effect.
    pub(crate) async fn crash(mut self, loses_power: bool) -> (Scene, Option<HeldRequest>) {
        self.run.abort();
        let uses = std::mem::take(&mut self.scene.uses);
        uses.iter().for_each(JoinHandle::abort);
        settle_down().await;
        assert!(uses.iter().all(JoinHandle::is_finished));
        if loses_power {
            self.scene.dir.lose_power();
        }
        let request = self.unsent();
        (self.scene, request)
    }

    /// Takes the request before whose effect the run stands still.
    pub(crate) fn unsent(&mut self) -> Option<HeldRequest> {
        match self.step.take() {
            Some(HeldStep::Request(request)) if matches!(self.stop, Stop::BeforeRequest(_)) => Some(request),
            _ => None,
        }
    }

    /// Lets the run end, which must be complete, and everybody else; checks that nothing is lost and that garbage goes.
    pub(crate) async fn assert_all_well(self) {
        let (mut scene, result) = self.end_run().await;
        assert_completed(result);
        scene.assert_clean_end().await;
    }
}

pub(crate) fn assert_completed(result: RunResult) -> Report {
    let report = result.unwrap();
    assert_eq!(report.end, End::Completed);
    report
}

/// Plays on with a run that stands still, for every stop that a run in a filled scene has, and after its end.
///
/// `prepare` makes the scene ready before the run begins.
pub(crate) async fn at_every_stop(prepare: impl AsyncFn(&mut Scene), play: impl AsyncFn(Stopped)) {
    let places: [fn(usize) -> Stop; 3] = [Stop::BeforeRequest, Stop::AfterRequest, Stop::BeforeFileCall];
    for place in places {
        for number in 0.. {
            let stop = place(number);
            // Shown if the test fails.
            println!("{stop:?}");
            let mut scene = Scene::filled().await;
            prepare(&mut scene).await;
            let stopped = Stopped::begin(scene, stop).await;
            let has_ended = stopped.step.is_none();
            play(stopped).await;
            if has_ended {
                assert!(number > 20, "a run has more steps than {number}");
                break;
            }
        }
    }
}

/// For [`at_every_stop`]: the scene is ready as it is.
pub(crate) async fn as_filled(_scene: &mut Scene) {}
