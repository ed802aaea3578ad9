use coldkeep_chunk_store::SystemClock;

use super::*;
use crate::auth::root;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(&'static str);

fn tasks(folder: &Path) -> Tasks {
    Tasks::open(folder, Arc::new(SystemClock::new())).unwrap()
}

fn spec() -> TaskSpec {
    TaskSpec { worker_type: "verify", worker_id: Some("s1:vm/100".to_owned()), auth_id: root() }
}

async fn status_of(tasks: &Tasks, upid: &Upid) -> String {
    loop {
        if let Some(end) = tasks.info(upid).unwrap().finished {
            return end.status;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_result_becomes_the_exit_status_and_the_last_line() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = tasks(folder.path());
    let good = tasks
        .start(spec(), |task| async move {
            task.log("hello");
            Ok::<_, Failed>(())
        })
        .unwrap();
    let so_so = tasks
        .start(spec(), |task| async move {
            task.warn("hm");
            Ok::<_, Failed>(())
        })
        .unwrap();
    let bad = tasks.start(spec(), |_| async { Err(Failed("no\ngood")) }).unwrap();
    let liar = tasks.start(spec(), |_| async { Err(Failed("OK")) }).unwrap();
    let cases = [
        (good, "OK", "TASK OK", 2),
        (so_so, "WARNINGS: 1", "TASK WARNINGS: 1", 2),
        (bad, "no good", "TASK ERROR: no good", 1),
        (liar, "error: OK", "TASK ERROR: error: OK", 1),
    ];
    for (upid, status, last, total) in cases {
        assert_eq!(status_of(&tasks, &upid).await, status);
        let log = tasks.log(&upid, 1, 500).await.unwrap();
        assert_eq!(log.total, total);
        assert_eq!(&log.lines.last().unwrap().t[27..], last);
    }
    assert_eq!(tasks.list().len(), 4);
}

#[tokio::test]
async fn running_tasks_show_their_log_and_stop_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = tasks(folder.path());
    let upid = tasks
        .start(spec(), |task| async move {
            task.log("waiting");
            task.cancelled().await;
            Err(Failed("stopped"))
        })
        .unwrap();
    while tasks.log(&upid, 1, 0).await.unwrap().total == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tasks.info(&upid).unwrap().finished, None);
    tasks.stop(&upid).unwrap();
    assert_eq!(status_of(&tasks, &upid).await, "stopped");
    tasks.stop(&upid).unwrap();
}

/// Goal: whoever watches a task is not told that it failed because its log cannot be written, and sees the lines when it can.
#[tokio::test]
async fn a_log_that_cannot_be_written_is_shown_later() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, away) = (folder.path().join("log"), folder.path().join("away"));
    let tasks = tasks(folder.path());
    std::fs::rename(&logs, &away).unwrap();
    let (logged, has_logged) = tokio::sync::oneshot::channel();
    let upid = tasks
        .start(spec(), |task| async move {
            task.log("waiting");
            logged.send(()).unwrap();
            task.cancelled().await;
            Ok::<_, Failed>(())
        })
        .unwrap();
    has_logged.await.unwrap();
    assert_eq!(tasks.log(&upid, 1, 0).await.unwrap().total, 0);
    std::fs::rename(&away, &logs).unwrap();
    assert_eq!(tasks.log(&upid, 1, 0).await.unwrap().total, 1);
    tasks.stop(&upid).unwrap();
    assert_eq!(status_of(&tasks, &upid).await, "OK");
    assert_eq!(tasks.log(&upid, 1, 0).await.unwrap().total, 2);
}

#[tokio::test]
async fn whoever_waits_for_a_task_hears_how_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = tasks(folder.path());
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let work = |_| async {
        wait.await.unwrap();
        Err(Failed("no good"))
    };
    let upid = tasks.start(spec(), work).unwrap();
    let mut waiting = std::pin::pin!(tasks.wait(&upid));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    go.send(()).unwrap();
    assert_eq!(waiting.await.unwrap().status, "no good");
    assert_eq!(tasks.wait(&upid).await.unwrap().status, "no good");
    let panicked = tasks.start(spec(), |_| async {
        assert!(std::hint::black_box(false), "for the test");
        Ok::<_, Failed>(())
    });
    assert_eq!(tasks.wait(&panicked.unwrap()).await.unwrap().status, "unknown");
    let other = Upid { number: 99, ..upid.clone() };
    assert!(matches!(tasks.wait(&other).await, Err(TaskError::Unknown { .. })));
}

#[tokio::test]
async fn a_panic_ends_the_task_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = tasks(folder.path());
    let upid = tasks
        .start(spec(), |_| async {
            assert!(std::hint::black_box(false), "for the test");
            Ok::<_, Failed>(())
        })
        .unwrap();
    assert_eq!(status_of(&tasks, &upid).await, "unknown");
}

#[tokio::test]
async fn ended_tasks_and_their_logs_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let upid = {
        let tasks = tasks(folder.path());
        let upid = tasks.start(spec(), |_| async { Ok::<_, Failed>(()) }).unwrap();
        tasks.shut_down(Duration::from_secs(5)).await;
        assert!(matches!(
            tasks.start(spec(), |_| async { Ok::<_, Failed>(()) }),
            Err(TaskError::ShuttingDown)
        ));
        upid
    };
    let tasks = tasks(folder.path());
    assert_eq!(status_of(&tasks, &upid).await, "OK");
    assert_eq!(tasks.log(&upid, 1, 0).await.unwrap().total, 1);
    let other = Upid { number: 99, ..upid };
    assert!(matches!(tasks.log(&other, 1, 0).await, Err(TaskError::Unknown { .. })));
}

#[tokio::test]
async fn tasks_that_outlive_the_grace_are_asked_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = tasks(folder.path());
    let upid = tasks
        .start(spec(), |task| async move {
            task.cancelled().await;
            Ok::<_, Failed>(())
        })
        .unwrap();
    tasks.shut_down(Duration::ZERO).await;
    assert_eq!(status_of(&tasks, &upid).await, "OK");
}
