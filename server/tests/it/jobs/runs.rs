//! Jobs run when they are due, on a clock that the test turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::testing::ManualClock;
use coldkeep_client::{Fingerprint, JobId, JobKind, JobOptions, NotifyWhen, Secret};
use coldkeep_server::jobs::{Job, JobUpdate};
use coldkeep_server::state::Remote;
use coldkeep_server::tasks::{TaskHandle, TaskInfo, TaskSpec};
use coldkeep_server::{Server, ServerOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Hook, PATIENCE};
use crate::harness::limits;

/// 22:14:00, 46 minutes before the next full hour.
const START: i64 = 1_700_000_040;
const MINUTE: Duration = Duration::from_mins(1);

/// A server that nobody connects to, and a clock.
struct Stage {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    server: Arc<Server>,
    stop: CancellationToken,
    scheduler: Option<JoinHandle<()>>,
}

impl Stage {
    async fn new() -> Self {
        Self::with_shutdown(Duration::ZERO).await
    }

    /// The same, with a server that waits so long for its tasks when it ends.
    async fn with_shutdown(shutdown: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(StoreTime::from_unix(START, 0)));
        let server = open(&folder, &clock, shutdown).await;
        Self { folder, clock, server, stop: CancellationToken::new(), scheduler: None }
    }

    fn schedule(&mut self) {
        let (server, stop) = (Arc::clone(&self.server), self.stop.clone());
        self.scheduler = Some(tokio::spawn(async move { server.run_jobs(&stop).await }));
    }

    /// Lets the time pass while the scheduler sleeps.
    async fn pass(&self, time: Duration) {
        self.clock.sleeping(1).await;
        self.clock.advance(time);
    }

    /// Ends the server, which is away for a while then.
    async fn restart_after(mut self, away: Duration) -> Self {
        self.stop.cancel();
        if let Some(scheduler) = self.scheduler.take() {
            scheduler.await.unwrap();
        }
        self.server.shut_down().await;
        let Self { folder, clock, server, .. } = self;
        assert_eq!(Arc::strong_count(&server), 1, "the server is still in use");
        drop(server);
        clock.advance(away);
        let server = open(&folder, &clock, Duration::ZERO).await;
        Self { folder, clock, server, stop: CancellationToken::new(), scheduler: None }
    }

    /// Lets the time pass, and the scheduler look at it.
    async fn pass_quietly(&self, time: Duration) {
        self.pass(time).await;
        // All of this is on one thread: it starts what it does before anything else is waited for.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.clock.sleeping(1).await;
    }

    async fn add(&self, job: Job) {
        self.server.jobs().add(job, self.clock_seconds()).await.unwrap();
    }

    fn clock_seconds(&self) -> i64 {
        use coldkeep_chunk_store::Clock as _;
        self.clock.wall().unix_seconds()
    }

    /// The tasks of a type.
    fn tasks(&self, worker_type: &str) -> Vec<TaskInfo> {
        let all = self.server.tasks().list().into_iter();
        all.filter(|task| task.upid.worker_type == worker_type).collect()
    }

    /// Makes a remote on this port, which a pull can connect to.
    async fn add_remote(&self, port: u16) {
        let remote = Remote {
            name: "far".parse().unwrap(),
            host: "127.0.0.1".parse().unwrap(),
            port: port.try_into().ok(),
            auth_id: "joe@pbs".parse().unwrap(),
            secret: Secret::new("x"),
            fingerprint: Some(Fingerprint::of(b"a certificate")),
            comment: None,
        };
        self.server.remotes().add(remote).await.unwrap();
    }
}

async fn open(folder: &tempfile::TempDir, clock: &Arc<ManualClock>, shutdown: Duration) -> Arc<Server> {
    let mut limits = limits();
    limits.shutdown = shutdown;
    let options = ServerOptions::new(folder.path().join("data"), Arc::clone(clock) as _, limits);
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Server::open(options.clone()).await {
            // A process that another test starts has the lock of the last server, too, until it becomes another program.
            Err(error) if error.owner().is_some() && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

fn job(id: &str, kind: JobKind, hook: &Hook) -> Job {
    let mut options = JobOptions::default();
    match kind {
        JobKind::Prune => options.keep_last = Some(1),
        JobKind::Pull | JobKind::Push => {
            options.remote = "far".parse().ok();
            options.remote_store = "default".parse().ok();
        }
        JobKind::Verify | JobKind::Gc => {}
    }
    Job {
        id: id.parse().unwrap(),
        store: "default".parse().unwrap(),
        kind,
        run_as: "root@pam".parse().unwrap(),
        schedule: "hourly UTC".parse().ok(),
        enabled: true,
        retries: 0,
        retry_wait: 60,
        notify_url: hook.url.parse().ok(),
        notify: NotifyWhen::Always,
        notify_secret: None,
        comment: None,
        options,
    }
}

/// A port that nobody listens on.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn each_kind_runs_when_it_is_due_in_order_and_somebody_is_told() {
    let (mut stage, mut hook) = (Stage::new().await, Hook::start(&[]).await);
    stage.add_remote(closed_port().await).await;
    for (id, kind) in [
        ("a-gc", JobKind::Gc),
        ("b-verify", JobKind::Verify),
        ("c-prune", JobKind::Prune),
        ("d-push", JobKind::Push),
        ("e-pull", JobKind::Pull),
    ] {
        stage.add(job(id, kind, &hook)).await;
    }
    stage.schedule();
    stage.pass_quietly(45 * MINUTE).await;
    assert!(hook.is_quiet() && stage.server.tasks().list().is_empty(), "something ran too early");
    stage.pass(MINUTE).await;
    let mut heard = Vec::new();
    while heard.len() < 5 {
        heard.push(hook.next().await);
    }
    // What is told comes beside the next run.
    heard.sort_by_key(|news| news["upid"].to_string());
    let mut order: Vec<_> = stage.server.tasks().list();
    order.retain(|task| task.upid.worker_type != "notify");
    order.sort_by_key(|task| task.upid.number);
    let order: Vec<_> = order.iter().map(|task| task.upid.worker_type.as_str()).collect();
    assert_eq!(order, ["syncjob", "syncjob", "prunejob", "verificationjob", "garbage_collection"]);
    let at = START + 46 * 60;
    for news in &heard {
        assert_eq!((&news["store"], &news["attempt"]), (&"default".into(), &1.into()), "{news}");
        assert_eq!((&news["started"], &news["ended"]), (&at.into(), &at.into()), "{news}");
        let failed = ["pull", "push"].contains(&news["kind"].as_str().unwrap());
        assert_eq!(news["status"], if failed { "failed" } else { "ok" }, "{news}");
        assert_eq!(news.get("error").is_some(), failed, "{news}");
    }
    let ids: Vec<_> = stage.tasks("syncjob").into_iter().filter_map(|task| task.upid.worker_id).collect();
    assert_eq!(ids, ["default::far:default:d-push", "far:default:default::e-pull"]);
    // An hour later, and not before.
    let before = stage.server.tasks().list().len();
    stage.pass_quietly(59 * MINUTE).await;
    assert_eq!(stage.server.tasks().list().len(), before);
    stage.pass(MINUTE).await;
    hook.next().await;
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_and_somebody_hears_of_each_try() {
    let (mut stage, mut hook) = (Stage::new().await, Hook::start(&[]).await);
    let port = closed_port().await;
    stage.add_remote(port).await;
    let pull = Job { retries: 2, retry_wait: 90, ..job("pull", JobKind::Pull, &hook) };
    stage.add(Job { notify: NotifyWhen::Failure, ..pull }).await;
    stage.schedule();
    stage.pass(46 * MINUTE).await;
    let mut at = START + 46 * 60;
    for (attempt, wait) in [(1, Some(90)), (2, Some(180)), (3, None)] {
        let news = hook.next().await;
        assert_eq!((&news["status"], &news["attempt"]), (&"failed".into(), &attempt.into()), "{news}");
        assert!(news["error"].as_str().unwrap().contains(&format!("127.0.0.1:{port}")), "{news}");
        assert_eq!(news.get("next_retry").and_then(serde_json::Value::as_i64), wait.map(|wait| at + wait));
        let Some(wait) = wait else { break };
        // It comes between two full minutes, too.
        stage.pass(Duration::from_secs(wait as u64)).await;
        at += wait;
    }
    let tries = stage.tasks("syncjob");
    let log = stage.server.tasks().log(&tries[0].upid, 1, 1).await.unwrap();
    assert!(log.lines[0].t.ends_with("job pull: tried again after a failure"), "{log:?}");
    stage.pass_quietly(10 * MINUTE).await;
    assert_eq!((tries.len(), stage.tasks("syncjob").len()), (3, 3));
}

#[tokio::test]
async fn missed_runs_are_caught_up_once_after_a_restart() {
    let mut hook = Hook::start(&[]).await;
    let stage = Stage::new().await;
    stage.add(job("collect", JobKind::Gc, &hook)).await;
    stage.add(Job { schedule: None, ..job("by-hand", JobKind::Verify, &hook) }).await;
    let mut stage = stage.restart_after(600 * MINUTE + Duration::from_secs(20)).await;
    stage.schedule();
    let news = hook.next().await;
    assert_eq!((&news["job"], &news["started"]), (&"collect".into(), &stage.clock_seconds().into()));
    stage.pass_quietly(40 * MINUTE).await;
    assert_eq!(stage.tasks("garbage_collection").len(), 1, "it ran more than once");

    // What ran is known after another restart, too.
    let mut stage = stage.restart_after(MINUTE).await;
    stage.schedule();
    stage.clock.sleeping(1).await;
    assert!(hook.is_quiet() && stage.tasks("garbage_collection").len() == 1);
    stage.pass(10 * MINUTE).await;
    assert_eq!(hook.next().await["job"], "collect");
}

/// Goal: a job that cannot be started is tried again at the next full minute, and not over and over until then.
#[tokio::test]
async fn what_cannot_be_started_waits_for_the_next_minute() {
    let (mut stage, mut hook) = (Stage::new().await, Hook::start(&[]).await);
    stage.add(job("collect", JobKind::Gc, &hook)).await;
    let spec = TaskSpec { worker_type: "filler", worker_id: None, auth_id: "root@pam".parse().unwrap() };
    let wait = |task: TaskHandle| async move {
        task.cancelled().await;
        Ok::<(), std::io::Error>(())
    };
    let mut fillers = Vec::new();
    while let Ok(upid) = stage.server.tasks().start(spec.clone(), wait) {
        fillers.push(upid);
    }
    stage.schedule();
    stage.pass_quietly(46 * MINUTE).await;
    let room = fillers.pop().unwrap();
    stage.server.tasks().stop(&room).unwrap();
    stage.server.tasks().wait(&room).await.unwrap();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(stage.tasks("garbage_collection").is_empty(), "it was tried again at once");
    // Those that tell need room, too.
    for filler in fillers {
        stage.server.tasks().stop(&filler).unwrap();
    }
    stage.pass(MINUTE).await;
    assert_eq!(hook.next().await["job"], "collect");
}

/// A pull that waits for the other server until that is gone.
async fn begin_pull(stage: &mut Stage, hook: &Hook) -> TcpStream {
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    stage.add_remote(far.local_addr().unwrap().port()).await;
    stage.add(Job { retries: 1, ..job("pull", JobKind::Pull, hook) }).await;
    stage.schedule();
    stage.pass(46 * MINUTE).await;
    far.accept().await.unwrap().0
}

#[tokio::test]
async fn jobs_of_one_store_run_one_after_the_other() {
    let (mut stage, mut hook) = (Stage::new().await, Hook::start(&[]).await);
    stage.add(job("collect", JobKind::Gc, &hook)).await;
    stage.add(job("prune", JobKind::Prune, &hook)).await;
    let far = begin_pull(&mut stage, &hook).await;
    stage.pass_quietly(5 * MINUTE).await;
    assert_eq!(stage.server.tasks().list().len(), 1, "another one runs beside the pull");

    drop(far);
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(hook.next().await["job"].clone());
    }
    let mut order: Vec<_> = stage.server.tasks().list();
    order.retain(|task| task.upid.worker_type != "notify");
    order.sort_by_key(|task| task.upid.number);
    let order: Vec<_> = order.iter().map(|task| task.upid.worker_type.as_str()).collect();
    assert_eq!(order, ["syncjob", "prunejob", "garbage_collection"]);
}

#[tokio::test]
async fn a_run_that_the_end_of_the_server_cuts_short_has_failed_and_is_tried_again() {
    let mut hook = Hook::start(&[]).await;
    let mut stage = Stage::new().await;
    let far = begin_pull(&mut stage, &hook).await;
    let mut stage = stage.restart_after(MINUTE).await;
    drop(far);
    assert!(hook.is_quiet());
    stage.schedule();
    let mut told = [hook.next().await, hook.next().await];
    told.sort_by_key(|news| news["attempt"].as_u64());
    let [first, again] = told;
    assert_eq!((&first["status"], &first["attempt"]), (&"failed".into(), &1.into()), "{first}");
    assert_eq!((&again["status"], &again["attempt"]), (&"failed".into(), &2.into()), "{again}");
    assert!(again.get("next_retry").is_none());
}

/// Goal: no task can be started any more when the run ends, and somebody is told all the same.
#[tokio::test]
async fn somebody_is_told_of_a_run_that_the_end_of_the_server_waits_for() {
    let (mut stage, mut hook) = (Stage::with_shutdown(PATIENCE).await, Hook::start(&[]).await);
    stage.add(job("collect", JobKind::Gc, &hook)).await;
    stage.schedule();
    stage.pass(46 * MINUTE).await;
    while stage.tasks("garbage_collection").is_empty() {
        tokio::task::yield_now().await;
    }
    stage.stop.cancel();
    stage.server.shut_down().await;
    assert!(stage.tasks("notify").is_empty());
    assert_eq!(hook.next().await["status"], "ok");
}

#[tokio::test]
async fn a_run_that_somebody_stops_is_not_tried_again() {
    let (mut stage, mut hook) = (Stage::new().await, Hook::start(&[]).await);
    let _far = begin_pull(&mut stage, &hook).await;
    let upid = stage.tasks("syncjob").remove(0).upid;
    stage.server.tasks().stop(&upid).unwrap();
    let news = hook.next().await;
    assert_eq!((&news["status"], news.get("next_retry")), (&"stopped".into(), None), "{news}");
}

#[tokio::test]
async fn who_cannot_be_told_is_told_again_and_the_job_has_not_failed_for_that() {
    let (mut stage, mut hook) =
        (Stage::new().await, Hook::start(&["500 No", "302 Found", "404 No", "500 No"]).await);
    let id: JobId = "collect".parse().unwrap();
    let secret = JobUpdate { notify_secret: "Bearer hush".parse().ok(), ..JobUpdate::default() };
    stage.add(job("collect", JobKind::Gc, &hook).with(secret).unwrap()).await;
    stage.schedule();
    stage.pass(46 * MINUTE).await;
    for pause in [2, 10, 0] {
        let (head, news) = hook.next_with_head().await;
        assert!(head.to_lowercase().contains("authorization: bearer hush"), "{head}");
        assert_eq!(news["status"], "ok");
        if pause > 0 {
            // The scheduler sleeps, too.
            stage.clock.sleeping(2).await;
            stage.clock.advance(Duration::from_secs(pause));
        }
    }
    let told = stage.tasks("notify").remove(0).upid;
    let end = stage.server.tasks().wait(&told).await.unwrap();
    assert!(end.status.contains("was not told: the answer was 404"), "{}", end.status);
    let log = stage.server.tasks().log(&told, 1, 0).await.unwrap();
    let shown = format!("{log:?} {}", end.status);
    assert!(!shown.contains("hush") && !shown.contains("/hook"), "{shown}");
    let collected = stage.tasks("garbage_collection").remove(0);
    assert_eq!(collected.finished.unwrap().status, "OK");
    assert!(stage.server.jobs().get(&id).is_ok() && hook.is_quiet());
}

#[tokio::test]
async fn a_job_has_the_rights_of_whom_it_runs_as_by_then() {
    let (mut stage, mut hook) = (Stage::new().await, Hook::start(&[]).await);
    let password = zeroize::Zeroizing::new("a password for tests".to_owned());
    stage.server.identities().add_user("joe@pbs".parse().unwrap(), password, None).await.unwrap();
    stage.add(Job { run_as: "joe@pbs".parse().unwrap(), ..job("collect", JobKind::Gc, &hook) }).await;
    stage.schedule();
    stage.pass(46 * MINUTE).await;
    let news = hook.next().await;
    assert_eq!(news["error"], "permission check failed on /datastore/default", "{news}");
    stage.server.identities().remove_user(&"joe@pbs".parse().unwrap()).await.unwrap();
    stage.pass(60 * MINUTE).await;
    let news = hook.next().await;
    assert!(news["error"].as_str().unwrap().contains("joe@pbs is disabled or gone"), "{news}");
}
