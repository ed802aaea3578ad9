use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use coldkeep_client::{JobKind, JobOptions, NotifyWhen};

use super::*;
use crate::jobs::state::Outcome;
use crate::tasks::Finished;

const NOW: i64 = 1_700_000_040;

fn open(folder: &Path) -> (DataDir, Jobs) {
    let data_dir = DataDir::open(folder).unwrap();
    let jobs = Jobs::open(&data_dir).unwrap();
    (data_dir, jobs)
}

fn job(id: &str, kind: JobKind) -> Job {
    Job {
        id: id.parse().unwrap(),
        store: "tank".parse().unwrap(),
        kind,
        run_as: "root@pam".parse().unwrap(),
        schedule: "mon..fri 02:30".parse().ok(),
        enabled: true,
        retries: 3,
        retry_wait: 60,
        notify_url: "https://alerts.example.com/x".parse().ok(),
        notify: NotifyWhen::Always,
        notify_secret: "Bearer geheim".parse().ok(),
        comment: Some("at night".to_owned()),
        options: JobOptions::default(),
    }
}

fn prune(id: &str) -> Job {
    let options = JobOptions { keep_last: Some(3), ns: "a/b".parse().ok(), ..JobOptions::default() };
    Job { options, ..job(id, JobKind::Prune) }
}

fn id(text: &str) -> JobId {
    text.parse().unwrap()
}

#[tokio::test]
async fn jobs_and_what_became_of_them_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, jobs) = open(folder.path());
    jobs.add(prune("nightly"), NOW).await.unwrap();
    jobs.add(job("collect", JobKind::Gc), NOW + 1).await.unwrap();
    let upid: crate::tasks::Upid =
        "UPID:n:00000001:00000002:00000003:6553F128:prunejob:tank:root@pam:".parse().unwrap();
    jobs.note(&id("nightly"), |state| state.begin(upid.clone(), false)).await;
    let end = Finished { endtime: NOW + 9, status: "no".to_owned() };
    jobs.note(&id("nightly"), |state| state.end(&prune("nightly"), &upid, (end, Outcome::Failed))).await;
    jobs.note(&id("nosuch"), |state| state.retry_at = Some(1)).await;
    let before = jobs.known();
    assert_eq!(before[1].1.retry_at, Some(NOW + 69));
    let mode = data_dir.config("jobs.json").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let states = std::fs::read_to_string(data_dir.tasks().join("jobs.json")).unwrap();
    assert!(!states.contains("geheim") && !states.contains("nosuch"), "{states}");
    drop((data_dir, jobs));

    let (_data_dir, jobs) = open(folder.path());
    assert_eq!(jobs.known(), before);
    assert_eq!(jobs.get(&id("nightly")).unwrap().notify_secret, "Bearer geheim".parse().ok());
    let collect = job("collect", JobKind::Gc);
    jobs.remove(&collect).await.unwrap();
    assert!(matches!(jobs.remove(&collect).await, Err(JobError::Unknown { .. })));
    assert_eq!(jobs.list().len(), 1);
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_tells_the_scheduler() {
    let folder = tempfile::tempdir().unwrap();
    let (_data_dir, jobs) = open(folder.path());
    let at = id("nightly");
    jobs.add(prune("nightly"), NOW).await.unwrap();
    jobs.changed().await;
    jobs.update(&jobs.get(&at).unwrap(), JobUpdate::default(), NOW + 1).await.unwrap();
    jobs.changed().await;
    assert_eq!((&*jobs.get(&at).unwrap(), jobs.state(&at).changed_at), (&prune("nightly"), Some(NOW)));

    let delete = ["ns", "comment"].map(|name| name.parse().unwrap()).to_vec();
    let options = JobOptions { keep_daily: Some(7), ..JobOptions::default() };
    let update = JobUpdate { enabled: Some(false), options, delete, ..JobUpdate::default() };
    jobs.update(&jobs.get(&at).unwrap(), update, NOW + 2).await.unwrap();
    let changed = jobs.get(&at).unwrap();
    let options = JobOptions { keep_last: Some(3), keep_daily: Some(7), ..JobOptions::default() };
    assert_eq!((&changed.options, &changed.comment, changed.enabled), (&options, &None, false));
    assert_eq!(jobs.state(&at).changed_at, Some(NOW));
    // What it missed while it was off does not count.
    jobs.update(&jobs.get(&at).unwrap(), JobUpdate { enabled: Some(true), ..JobUpdate::default() }, NOW + 3)
        .await
        .unwrap();
    assert_eq!(jobs.state(&at).changed_at, Some(NOW + 3));
    let hourly = JobUpdate { schedule: "hourly".parse().ok(), ..JobUpdate::default() };
    jobs.note(&at, |state| state.retry_at = Some(NOW + 60)).await;
    jobs.update(&jobs.get(&at).unwrap(), hourly.clone(), NOW + 4).await.unwrap();
    assert_eq!(jobs.state(&at).retry_at, None, "what it missed is tried again");
    jobs.update(&jobs.get(&at).unwrap(), hourly, NOW + 5).await.unwrap();
    assert_eq!(jobs.state(&at).changed_at, Some(NOW + 4));
}

/// Goal: what was checked is what is changed and removed.
#[tokio::test]
async fn a_job_that_was_changed_meanwhile_is_neither_changed_nor_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (_data_dir, jobs) = open(folder.path());
    jobs.add(prune("nightly"), NOW).await.unwrap();
    let seen = jobs.get(&id("nightly")).unwrap();
    let other = JobUpdate { run_as: "joe@pbs".parse().ok(), ..JobUpdate::default() };
    jobs.update(&seen, other, NOW).await.unwrap();
    let update = JobUpdate { comment: Some("mine".to_owned()), ..JobUpdate::default() };
    assert!(matches!(jobs.update(&seen, update, NOW).await, Err(JobError::Changed { .. })));
    assert!(matches!(jobs.remove(&seen).await, Err(JobError::Changed { .. })));
    assert_eq!(jobs.get(&id("nightly")).unwrap().comment, seen.comment);
}

#[test]
fn another_url_does_not_get_the_secret() {
    let with = |update: JobUpdate| prune("nightly").with(update).unwrap().notify_secret;
    let url = |text: &str| JobUpdate { notify_url: text.parse().ok(), ..JobUpdate::default() };
    assert!(with(url("https://alerts.example.com/x")).is_some());
    assert!(with(url("https://evil.example.com/x")).is_none());
    let both = JobUpdate { notify_secret: "new".parse().ok(), ..url("https://b.example.com/") };
    assert_eq!(with(both), "new".parse().ok());
    let delete = vec!["notify-url".parse().unwrap()];
    assert!(with(JobUpdate { delete: delete.clone(), ..JobUpdate::default() }).is_none());
    let secret = JobUpdate { delete, notify_secret: "new".parse().ok(), ..JobUpdate::default() };
    assert!(matches!(prune("nightly").with(secret), Err(JobError::SecretForNobody)));
}

#[tokio::test]
async fn what_is_refused_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, jobs) = open(folder.path());
    jobs.add(prune("nightly"), NOW).await.unwrap();
    let file = std::fs::read(data_dir.config("jobs.json")).unwrap();
    assert!(matches!(jobs.add(prune("nightly"), NOW).await, Err(JobError::Exists { .. })));
    assert!(matches!(jobs.add(job("keeps", JobKind::Prune), NOW).await, Err(JobError::KeepsAll)));
    let options = JobOptions { remote: "far".parse().ok(), ..JobOptions::default() };
    let pull = Job { options, ..job("pull", JobKind::Pull) };
    assert!(matches!(jobs.add(pull, NOW).await, Err(JobError::Missing { option: "remote-store", .. })));
    let foreign = Job { kind: JobKind::Gc, ..prune("foreign") };
    let error = jobs.add(foreign, NOW).await.unwrap_err();
    assert!(error.to_string().ends_with("it does not go with gc jobs"), "{error}");
    let delete = vec!["keep-last".parse().unwrap()];
    let update = JobUpdate { delete, ..JobUpdate::default() };
    assert!(matches!(jobs.update(&prune("nightly"), update, NOW).await, Err(JobError::KeepsAll)));
    assert!(matches!(
        jobs.update(&prune("nosuch"), JobUpdate::default(), NOW).await,
        Err(JobError::Unknown { .. })
    ));
    assert_eq!(std::fs::read(data_dir.config("jobs.json")).unwrap(), file);

    // A file that cannot be replaced: the old one stands, in memory too.
    std::fs::remove_file(data_dir.config("jobs.json")).unwrap();
    std::fs::create_dir(data_dir.config("jobs.json")).unwrap();
    assert!(matches!(jobs.add(prune("another"), NOW).await, Err(JobError::Save(_))));
    assert_eq!(jobs.list().len(), 1);
}

#[tokio::test]
async fn there_is_a_most() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(folder.path()).unwrap();
    let many: Vec<Job> = (0..JOBS_MAX).map(|i| prune(&format!("job-{i}"))).collect();
    json_file::write(&data_dir.config("jobs.json"), &many, SECRET_MODE).unwrap();
    let jobs = Jobs::open(&data_dir).unwrap();
    assert!(matches!(jobs.add(prune("one-more"), NOW).await, Err(JobError::TooMany { .. })));
}

/// Goal: one user does not use up the jobs of all.
#[tokio::test]
async fn there_is_a_most_of_each_user_but_root() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(folder.path()).unwrap();
    let of = |who: &str, id: &str| Job { run_as: who.parse().unwrap(), ..prune(id) };
    let many = ["joe@pbs", "root@pam"]
        .into_iter()
        .flat_map(|who| (0..JOBS_PER_USER_MAX).map(move |i| of(who, &format!("{}-{i}", &who[..3]))));
    let many: Vec<Job> = many.collect();
    json_file::write(&data_dir.config("jobs.json"), &many, SECRET_MODE).unwrap();
    let jobs = Jobs::open(&data_dir).unwrap();
    for who in ["joe@pbs", "joe@pbs!token"] {
        assert!(matches!(jobs.add(of(who, "one-more"), NOW).await, Err(JobError::TooManyOfUser { .. })));
    }
    jobs.add(of("root@pam", "one-more"), NOW).await.unwrap();
    let to_joe = JobUpdate { run_as: "joe@pbs".parse().ok(), ..JobUpdate::default() };
    let refused = jobs.update(&of("root@pam", "one-more"), to_joe.clone(), NOW).await;
    assert!(matches!(refused, Err(JobError::TooManyOfUser { .. })));
    jobs.update(&of("joe@pbs", "joe-1"), to_joe, NOW).await.unwrap();
    jobs.add(of("al@pbs", "another"), NOW).await.unwrap();
}

/// Goal: a full disk does not make a job run again and again.
#[tokio::test]
async fn a_run_counts_even_if_it_cannot_be_saved() {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, jobs) = open(folder.path());
    jobs.add(prune("nightly"), NOW).await.unwrap();
    let states = data_dir.tasks().join("jobs.json");
    std::fs::remove_file(&states).unwrap();
    std::fs::create_dir(&states).unwrap();
    jobs.note(&id("nightly"), |state| state.retry_at = Some(NOW)).await;
    assert_eq!(jobs.state(&id("nightly")).retry_at, Some(NOW));
}

#[tokio::test]
async fn one_job_at_a_time_has_its_turn_in_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let (_data_dir, jobs) = open(folder.path());
    let (first, second) = (prune("first"), prune("second"));
    let turn = jobs.take_turn(&first).unwrap();
    assert!(matches!(jobs.take_turn(&first), Err(JobError::Runs { .. })));
    assert!(matches!(jobs.take_turn(&second), Err(JobError::Busy { .. })));
    let elsewhere = Job { store: "other".parse().unwrap(), ..second.clone() };
    let other = jobs.take_turn(&elsewhere).unwrap();
    assert_eq!(jobs.running().len(), 2);
    drop((turn, other));
    jobs.changed().await;
    jobs.take_turn(&second).unwrap();
    jobs.settle(Duration::from_secs(1)).await;
}

#[test]
fn secrets_are_not_shown() {
    let update = JobUpdate { notify_secret: "geheim".parse().ok(), ..JobUpdate::default() };
    let shown = format!("{:?} {update:?}", prune("nightly"));
    assert!(!shown.contains("geheim"), "{shown}");
    let long = "x".repeat(1025);
    for bad in ["", " a", "a ", "a\nb", "ü", "a\0", &long] {
        assert!(bad.parse::<crate::jobs::NotifySecret>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_malformed_file_is_refused_and_its_secrets_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(folder.path()).unwrap();
    let path = data_dir.config("jobs.json");
    json_file::write(&path, &[prune("nightly")], SECRET_MODE).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    assert_eq!(Jobs::open(&data_dir).unwrap().list().len(), 1);
    for (what, with) in [
        ("\"nightly\"", "\"../x\""),
        ("\"prune\"", "\"shred\""),
        ("mon..fri 02:30", "now and then"),
        ("https://alerts", "gopher://alerts"),
        ("\"enabled\"", "\"enabeld\""),
        ("\"Bearer geheim\"", "[\"Bearer geheim\"]"),
        ("\"keep-last\": 3", "\"keep-last\": 0"),
        ("\"keep-last\": 3", "\"keep-lost\": 3"),
        ("\"keep-last\": 3", "\"max-delete-rate\": 3"),
    ] {
        assert!(good.contains(what), "{what}: {good}");
        std::fs::write(&path, good.replace(what, with)).unwrap();
        let error = Jobs::open(&data_dir).err().unwrap_or_else(|| panic!("{with} was taken"));
        let shown = format!("{} {error:?}", crate::api::chain(&error));
        assert!(shown.contains("jobs.json") && !shown.contains("geheim"), "{shown}");
    }
}
