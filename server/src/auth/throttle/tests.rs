use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::testing::ManualClock;

use super::*;

const WINDOW: Duration = Duration::from_mins(5);

struct Fixture {
    throttle: Throttle,
    clock: ManualClock,
}

fn fixture() -> Fixture {
    let limits = LoginLimits {
        window: WINDOW,
        failures_per_address: 6,
        failures_per_user_and_address: 3,
        failures_per_user: 8,
        user_delay: Duration::from_secs(2),
        entries_max: 50,
    };
    let clock = ManualClock::at(StoreTime::from_unix(1_700_000_000, 0));
    Fixture { throttle: Throttle::new(limits, Arc::new(clock.clone())), clock }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Fixture {
    /// Tries once; tells whether what was shown was looked at.
    async fn try_once(&self, who: &str, address: &str, is_right: bool) -> bool {
        match self.throttle.begin(&who.parse().unwrap(), Some(ip(address))).await {
            Ok(attempt) if is_right => {
                attempt.succeed();
                true
            }
            Ok(_fails) => true,
            Err(Throttled) => false,
        }
    }

    async fn fail(&self, who: &str, address: &str) -> bool {
        self.try_once(who, address, false).await
    }
}

#[tokio::test]
async fn after_some_failures_of_a_user_at_an_address_nothing_is_looked_at_until_the_window_has_passed() {
    let it = fixture();
    for _ in 0..3 {
        assert!(it.fail("al@pbs", "10.0.0.1").await);
        it.clock.advance(Duration::from_secs(10));
    }
    assert!(!it.try_once("al@pbs", "10.0.0.1", true).await, "a right one is not looked at either");
    assert!(it.fail("bo@pbs", "10.0.0.1").await, "another user is another matter");
    assert!(it.try_once("al@pbs", "10.0.0.2", true).await, "the user was locked out elsewhere");
    // The window began with the first failure; what is refused does not make it longer.
    it.clock.advance(WINDOW.saturating_sub(Duration::from_secs(31)));
    assert!(!it.fail("al@pbs", "10.0.0.1").await);
    it.clock.advance(Duration::from_secs(1));
    assert!(it.fail("al@pbs", "10.0.0.1").await);
}

#[tokio::test]
async fn an_address_that_tries_many_users_is_refused_whole() {
    let it = fixture();
    for i in 0..6 {
        assert!(it.fail(&format!("user{i}@pbs"), "10.0.0.1").await);
    }
    assert!(!it.try_once("other@pbs", "10.0.0.1", true).await);
    assert!(it.try_once("other@pbs", "10.0.0.2", true).await);
}

#[tokio::test]
async fn success_forgives_the_user_but_not_the_address() {
    let it = fixture();
    for _ in 0..2 {
        it.fail("al@pbs", "10.0.0.1").await;
    }
    assert!(it.try_once("al@pbs", "10.0.0.1", true).await);
    for _ in 0..2 {
        assert!(it.fail("al@pbs", "10.0.0.1").await, "the user did not start over");
    }
    // Four failures of al; an own account between them does not help.
    assert!(it.try_once("mallory@pbs", "10.0.0.1", true).await);
    assert!(it.fail("bo@pbs", "10.0.0.1").await && it.fail("bo@pbs", "10.0.0.1").await);
    assert!(!it.fail("cy@pbs", "10.0.0.1").await, "the address started over");
}

// Goal: many connections at once get no more guesses than one.
// Method: attempts that are under way, and more that begin meanwhile; these wait, and are refused when the first have failed.
#[tokio::test]
async fn attempts_at_the_same_time_do_not_get_around_the_bound() {
    let it = fixture();
    let al: AuthId = "al@pbs".parse().unwrap();
    let begin = || it.throttle.begin(&al, Some(ip("10.0.0.1")));
    let (first, second, third) = (begin().await.ok(), begin().await.ok(), begin().await.ok());
    assert!(first.is_some() && second.is_some() && third.is_some());
    let mut fourth = std::pin::pin!(begin());
    assert!(futures_util::poll!(fourth.as_mut()).is_pending());
    drop(first);
    assert!(futures_util::poll!(fourth.as_mut()).is_pending());
    drop((second, third));
    assert!(matches!(futures_util::poll!(fourth.as_mut()), std::task::Poll::Ready(Err(Throttled))));
}

#[tokio::test]
async fn right_attempts_at_the_same_time_are_put_in_order_and_none_is_refused() {
    let it = fixture();
    let logins = (0..40).map(|i| {
        let (it, who) = (&it, format!("user{}@pbs", i % 2).parse().unwrap());
        async move {
            let attempt = it.throttle.begin(&who, Some(ip("10.0.0.1"))).await;
            // So that all are under way at once.
            tokio::task::yield_now().await;
            attempt.map(Attempt::succeed).is_ok()
        }
    });
    assert!(futures_util::future::join_all(logins).await.into_iter().all(|looked_at| looked_at));
}

#[tokio::test]
async fn a_user_attacked_from_everywhere_is_slowed_and_not_locked_out() {
    let it = fixture();
    for i in 0..8 {
        assert!(it.fail("al@pbs", &format!("10.0.0.{i}")).await);
    }
    let mut rightful = std::pin::pin!(it.try_once("al@pbs", "10.0.1.1", true));
    assert!(futures_util::poll!(rightful.as_mut()).is_pending(), "nothing was slowed");
    it.clock.advance(Duration::from_secs(2));
    assert!(rightful.await);
    // Others are not slowed.
    assert!(it.try_once("bo@pbs", "10.0.1.1", true).await);
}

#[tokio::test]
async fn ipv6_counts_by_network_and_ipv4_by_address_however_it_is_written() {
    let it = fixture();
    for i in 0..3 {
        assert!(it.fail("al@pbs", &format!("2001:db8:1:2::{i}")).await);
    }
    assert!(!it.fail("al@pbs", "2001:db8:1:2:ffff::1").await);
    assert!(it.fail("al@pbs", "2001:db8:1:3::1").await);
    for _ in 0..3 {
        assert!(it.fail("al@pbs", "::ffff:10.0.0.1").await);
    }
    assert!(!it.fail("al@pbs", "10.0.0.1").await);
    assert!(it.fail("al@pbs", "::ffff:10.0.0.2").await);
}

#[tokio::test]
async fn the_memory_is_bounded_and_many_addresses_do_not_set_one_free() {
    let it = fixture();
    for _ in 0..3 {
        it.fail("al@pbs", "10.0.0.1").await;
    }
    for i in 0..500 {
        assert!(it.fail(&format!("user{i}@pbs"), &format!("10.1.{}.{}", i / 250, i % 250)).await);
    }
    {
        let state = it.throttle.lock();
        let sizes = [state.addresses.entries.len(), state.users_at.entries.len(), state.users.entries.len()];
        assert!(sizes.iter().all(|size| *size <= 50), "{sizes:?}");
    }
    assert!(!it.fail("al@pbs", "10.0.0.1").await, "it was pushed out");
    // What has passed makes room first.
    it.clock.advance(WINDOW);
    it.fail("bo@pbs", "10.2.0.1").await;
    assert_eq!(it.throttle.lock().addresses.entries.len(), 1);
}

#[tokio::test]
async fn the_server_in_the_same_process_counts_nothing() {
    let it = fixture();
    for _ in 0..20 {
        assert!(it.throttle.begin(&"al@pbs".parse().unwrap(), None).await.is_ok());
    }
    assert!(it.throttle.lock().addresses.entries.is_empty());
}
