//! When retries stop, and how long the pauses between them are.

use std::time::Duration;

use coldkeep_s3_client::testing::TestClock;
use coldkeep_s3_client::{CallOptions, Cause, Outcome, RetryBudget, RetryPolicy, Signing, Timeouts};

use crate::scripted::*;

fn busy() -> Answer {
    refusal(503, "SlowDown")
}

fn busy_for(retry_after: &str) -> Answer {
    busy().header("retry-after", retry_after)
}

fn repeated(times: usize, answer: fn() -> Answer) -> Vec<Answer> {
    (0..times).map(|_| answer()).collect()
}

/// Long enough that only what a test is about ends a request.
fn patient() -> Timeouts {
    Timeouts::new(SECOND, 3600 * SECOND, 7200 * SECOND).unwrap()
}

#[tokio::test]
async fn attempts_are_counted() {
    for attempts in [1, 2, 5] {
        let policy = RetryPolicy::default().with_attempts_max(attempts).unwrap();
        let scene = Scene::with(config().with_retry(policy), repeated(attempts as usize, busy));
        let error = scene.client.send(&put()).await.unwrap_err();
        assert_eq!((error.attempts(), scene.script.count()), (attempts, attempts as usize));
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn one_request_can_have_a_policy_of_its_own() {
    let scene = Scene::new([busy()]);
    let options = CallOptions::new().with_retry(RetryPolicy::never());
    assert_eq!(scene.client.send_with(&put(), &options).await.unwrap_err().attempts(), 1);
}

#[tokio::test]
async fn an_empty_budget_ends_the_retries_of_all_clones() {
    let budget = RetryBudget { tokens_max: 15, cost: 5, refund: 1 };
    let scene =
        Scene::with(config().with_retry(RetryPolicy::default().with_budget(budget)), repeated(5, busy));
    let clone = scene.client.clone();
    assert_eq!(scene.client.send(&get()).await.unwrap_err().attempts(), 4);
    // The bucket is empty, for reads and writes alike, and whatever policy a request brings.
    let own = CallOptions::new().with_retry(RetryPolicy::default());
    assert_eq!(clone.send_with(&put(), &own).await.unwrap_err().attempts(), 1);
    // Five successes at the first attempt pay for one retry.
    scene.script.then(repeated(5, || answer(200)));
    for _ in 0..5 {
        clone.send(&put()).await.unwrap();
    }
    // One that succeeds costs nothing, one in vain costs its price.
    scene.script.then([busy(), answer(200), busy(), answer(200), busy(), busy(), busy()]);
    for _ in 0..2 {
        assert_eq!(scene.client.send(&put()).await.unwrap().attempts, 2);
    }
    assert_eq!(scene.client.send(&put()).await.unwrap_err().attempts(), 2);
    assert_eq!(clone.send(&put()).await.unwrap_err().attempts(), 1);
}

#[tokio::test]
async fn failures_for_good_cost_nothing() {
    let budget = RetryBudget { tokens_max: 5, cost: 5, refund: 0 };
    let policy = RetryPolicy::default().with_budget(budget);
    let scene = Scene::with(config().with_retry(policy), [answer(404), answer(412), busy(), answer(200)]);
    assert!(scene.client.send(&get()).await.is_err());
    assert!(scene.client.send(&put()).await.is_err());
    assert_eq!(scene.client.send(&put()).await.unwrap().attempts, 2);
}

#[tokio::test]
async fn the_overall_deadline_ends_retries_and_shortens_the_last_attempt() {
    let timeouts = Timeouts::new(SECOND, 10 * SECOND, 25 * SECOND).unwrap();
    let steps = [Step::Stall(10 * SECOND), Step::Stall(10 * SECOND), Step::Stall(10 * SECOND)];
    let clock = TestClock::skipping(2 * SECOND);
    let scene = Scene::built(config().with_timeouts(timeouts), clock, steps, |builder| builder);
    let error = scene.client.send(&get()).await.unwrap_err();
    assert_eq!((error.attempts(), scene.script.count()), (3, 3));
    let spent: Duration = 20 * SECOND + scene.clock.skipped().iter().sum::<Duration>();
    let Cause::TimedOut { limit } = error.cause() else { panic!("{error:?}") };
    assert_eq!(*limit + spent, 25 * SECOND);
}

#[tokio::test]
async fn a_server_that_asks_for_patience_beyond_the_deadline_gets_no_retry() {
    for (retry_after, attempts) in [("299", 2), ("300", 1), ("86400", 1), ("18446744073709551615", 1)] {
        let clock = TestClock::skipping(300 * SECOND);
        let timeouts = Timeouts::new(SECOND, 300 * SECOND, 300 * SECOND).unwrap();
        let steps = [busy_for(retry_after), answer(200)];
        let scene = Scene::built(config().with_timeouts(timeouts), clock, steps, |builder| builder);
        let _ = scene.client.send(&put()).await;
        assert_eq!(scene.script.count(), attempts, "{retry_after}");
    }
}

#[tokio::test]
async fn retry_after_is_a_date_by_the_servers_clock_too() {
    // The server's clock is a day ahead; its answer says so.
    let date = "Wed, 15 Nov 2023 22:13:20 GMT";
    let fail = busy_for("Wed, 15 Nov 2023 22:13:27 GMT").header("date", date);
    let scene = Scene::new([fail, answer(200)]);
    scene.client.send(&put()).await.unwrap();
    assert_eq!(scene.clock.skipped(), [7 * SECOND]);
    // Without a date of its own ours must do.
    let scene = Scene::new([busy_for("Tue, 14 Nov 2023 22:13:29 GMT"), answer(200)]);
    scene.client.send(&put()).await.unwrap();
    assert_eq!(scene.clock.skipped(), [9 * SECOND]);
}

#[tokio::test]
async fn retry_after_is_the_least_pause_and_nonsense_is_ignored() {
    let scene = Scene::new([busy_for("7"), answer(200)]);
    scene.client.send(&put()).await.unwrap();
    assert_eq!(scene.clock.skipped(), [7 * SECOND]);
    for nonsense in ["soon", "-1", "1.5", "", "99999999999999999999999", "Tue, 14 Nov 2022 22:13:20 GMT", "0"]
    {
        let scene = Scene::new([busy_for(nonsense), answer(200)]);
        assert_eq!(scene.client.send(&put()).await.unwrap().attempts, 2, "{nonsense}");
        assert!(scene.clock.skipped().iter().all(|pause| *pause < Duration::from_millis(100)), "{nonsense}");
    }
}

#[tokio::test]
async fn a_signature_that_expires_before_the_next_attempt_ends_retries() {
    let signed_at = start() - 100 * SECOND;
    let (headers, presigned) =
        (Signing::FixedHeaders { signed_at }, Signing::Presigned { signed_at, expires_in: 900 * SECOND });
    for (signing, retry_after, attempts) in
        [(headers, "799", 2), (headers, "800", 1), (presigned, "799", 2), (presigned, "800", 1)]
    {
        let steps = [busy_for(retry_after), answer(204)];
        let clock = TestClock::skipping(1000 * SECOND);
        let scene = Scene::built(config().with_timeouts(patient()), clock, steps, |builder| builder);
        let result = scene.client.send_with(&delete(), &CallOptions::new().with_signing(signing)).await;
        assert_eq!(scene.script.count(), attempts, "{signing:?} {retry_after}");
        if let Err(error) = result {
            assert_eq!(error.outcome(), Outcome::NONE);
        }
    }
}

#[tokio::test]
async fn a_signature_that_expired_while_the_request_waited_for_its_turn_is_not_sent() {
    // One request a minute: the second waits, and is signed for 30 s.
    let rate = coldkeep_s3_client::Rate::per_second(1).unwrap();
    let limits = coldkeep_s3_client::Limits::default().with_requests(rate);
    let clock = TestClock::skipping(25 * SECOND);
    let scene = Scene::built(config().with_limits(limits), clock, [answer(204)], |builder| builder);
    scene.client.send(&delete()).await.unwrap();
    let signing = Signing::Presigned { signed_at: start(), expires_in: SECOND };
    let error =
        scene.client.send_with(&delete(), &CallOptions::new().with_signing(signing)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Expired), "{error:?}");
    assert_eq!((error.attempts(), scene.script.count()), (0, 1));
    assert_eq!(error.outcome(), Outcome::NONE);
}

#[tokio::test]
async fn a_time_that_was_over_from_the_start_is_for_the_server_to_judge() {
    // Its clock can be behind ours: the time was taken from its own `Date`.
    let signing = Signing::Presigned { signed_at: start() - 100 * SECOND, expires_in: 60 * SECOND };
    let scene = Scene::new([answer(204), busy()]);
    let options = CallOptions::new().with_signing(signing);
    assert_eq!(scene.client.send_with(&delete(), &options).await.unwrap().attempts, 1);
    // But nothing is sent again on a mere hope.
    assert_eq!(scene.client.send_with(&delete(), &options).await.unwrap_err().attempts(), 1);
}

#[tokio::test]
async fn pauses_are_fully_jittered_below_a_doubling_ceiling() {
    let policy = RetryPolicy::default().with_attempts_max(9).unwrap();
    let policy = policy.with_backoff(Duration::from_millis(100), 2 * SECOND).unwrap();
    let mut shares = Vec::new();
    for seed in 0..50 {
        let pauses = pauses(policy.clone(), seed).await;
        assert_eq!(pauses.len(), 8);
        for (pause, ceiling) in pauses.iter().zip([100, 200, 400, 800, 1600, 2000, 2000, 2000]) {
            assert!(*pause < Duration::from_millis(ceiling), "{pauses:?}");
            shares.push(pause.as_secs_f64() * 1000.0 / ceiling as f64);
        }
    }
    // Full jitter: evenly from nothing to the ceiling.
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    assert!((0.4..0.6).contains(&mean), "{mean}");
    assert!(shares.iter().any(|share| *share < 0.1) && shares.iter().any(|share| *share > 0.9));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_pauses() {
    let policy = RetryPolicy::default();
    let first = pauses(policy.clone(), 3).await;
    assert_eq!(first, pauses(policy.clone(), 3).await);
    assert_ne!(first, pauses(policy, 4).await);
}

async fn pauses(policy: RetryPolicy, seed: u64) -> Vec<Duration> {
    let steps = repeated(policy.attempts_max() as usize, busy);
    let clock = TestClock::skipping(25 * SECOND);
    let scene = Scene::built(config().with_retry(policy), clock, steps, |builder| builder.with_seed(seed));
    scene.client.send(&put()).await.unwrap_err();
    scene.clock.skipped()
}
