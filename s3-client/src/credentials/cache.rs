//! Credentials kept until shortly before they expire.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex as AsyncMutex;

use super::{CredentialsError, CredentialsProvider};
use crate::clock::Clock;
use crate::config::Credentials;

/// How long before their expiry credentials are replaced, if they last for twice as long; else half of what they last. Leaves time
/// for a provider that is down for a moment, and for requests signed just before to arrive.
const REFRESH_AHEAD: Duration = Duration::from_mins(5);
/// Pause after a failed refresh, while the credentials at hand are still good.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

/// Keeps the credentials of a provider and asks it again in time.
///
/// Good credentials are given out at once. From five minutes before their expiry on, one caller refreshes them while the others go on
/// with those at hand; if that fails they serve until they expire. Without good credentials, all callers wait for one refresh
/// and share its result, failure included, so that a provider that is down is not asked once a request.
///
/// A provider's call has no deadline of its own: it ends with the request that waits for it, and another one asks anew, after a pause if
/// there are good credentials at hand.
pub struct CachedCredentials {
    provider: Box<dyn CredentialsProvider>,
    clock: Arc<dyn Clock>,
    /// Held while the provider is asked; taken before `state`.
    refreshing: AsyncMutex<()>,
    /// Never held across an await.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Credentials>>,
    /// When to ask for others; `None` if those held do not expire.
    refresh_at: Option<SystemTime>,
    /// How the last refresh failed; `None` if it did not.
    failure: Option<CredentialsError>,
    /// How many refreshes have ended: tells a caller who waited for one that its result is there.
    refreshes: u64,
}

impl CachedCredentials {
    /// Wraps a provider, which is first asked when credentials are first needed.
    pub fn new(provider: impl CredentialsProvider, clock: Arc<dyn Clock>) -> CachedCredentials {
        CachedCredentials {
            provider: Box::new(provider),
            clock,
            refreshing: AsyncMutex::new(()),
            state: Mutex::default(),
        }
    }

    /// Returns credentials that are good now.
    ///
    /// # Errors
    /// What the provider says, or [`CredentialsError::Expired`] if it gave some that are not good any more.
    ///
    /// # Cancel safety
    /// Dropping the future ends the refresh that it may have begun; the next caller starts over.
    pub async fn current(&self) -> Result<Arc<Credentials>, CredentialsError> {
        let (good, refreshes) = {
            let state = self.lock();
            if let Some(fresh) = self.fresh(&state) {
                return Ok(fresh);
            }
            (self.good(&state), state.refreshes)
        };
        let _refreshing = match (self.refreshing.try_lock(), good) {
            (Ok(guard), _) => guard,
            // Another caller is at it, and these will do.
            (Err(_), Some(good)) => return Ok(good),
            (Err(_), None) => self.refreshing.lock().await,
        };
        if let Some(shared) = self.result_since(refreshes) {
            return shared;
        }
        let asking = Asking(self);
        let answer = self.provider.credentials().await;
        std::mem::forget(asking);
        self.settle(answer)
    }

    /// Returns what is held if it has not expired, without asking for others.
    pub(crate) fn at_hand(&self) -> Option<Arc<Credentials>> {
        self.good(&self.lock())
    }

    /// Drops `refused`, which the server does not take (any more), so that the next call asks the provider.
    ///
    /// Does nothing if others are held by now. A fixed pair comes back unchanged: the caller bounds its attempts.
    pub fn forget(&self, refused: &Credentials) {
        let mut state = self.lock();
        if state.held.as_deref() == Some(refused) {
            state.held = None;
        }
    }

    /// Returns how the last refresh failed, also if the credentials at hand hid that from callers.
    pub fn last_failure(&self) -> Option<CredentialsError> {
        self.lock().failure.clone()
    }

    /// Returns what is held if there is no reason to ask for others.
    fn fresh(&self, state: &State) -> Option<Arc<Credentials>> {
        // After a failure the pause can be longer than what is left of the credentials.
        let good = self.good(state)?;
        state.refresh_at.is_none_or(|refresh_at| self.clock.now() < refresh_at).then_some(good)
    }

    /// Returns what is held if it has not expired.
    fn good(&self, state: &State) -> Option<Arc<Credentials>> {
        state
            .held
            .clone()
            .filter(|held| held.expires_at().is_none_or(|expires_at| self.clock.now() < expires_at))
    }

    /// Returns the result of a refresh that ended after there had been `refreshes`.
    fn result_since(&self, refreshes: u64) -> Option<Result<Arc<Credentials>, CredentialsError>> {
        let state = self.lock();
        if state.refreshes == refreshes {
            return None;
        }
        self.good(&state).map(Ok).or_else(|| state.failure.clone().map(Err))
    }

    /// Records what the provider said.
    fn settle(
        &self,
        answer: Result<Credentials, CredentialsError>,
    ) -> Result<Arc<Credentials>, CredentialsError> {
        let now = self.clock.now();
        let mut state = self.lock();
        state.refreshes += 1;
        let answer = answer.and_then(|credentials| match credentials.expires_at() {
            Some(expires_at) if expires_at <= now => Err(CredentialsError::Expired { expires_at }),
            _ => Ok(Arc::new(credentials)),
        });
        match answer {
            Ok(credentials) => {
                state.refresh_at = credentials.expires_at().map(|expires_at| refresh_at(now, expires_at));
                state.held = Some(credentials.clone());
                state.failure = None;
                Ok(credentials)
            }
            Err(failure) => {
                state.failure = Some(failure.clone());
                state.refresh_at = now.checked_add(RETRY_PAUSE);
                self.good(&state).ok_or(failure)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call of the provider. If the caller gives it up, others who have good credentials are spared the same for a while.
struct Asking<'a>(&'a CachedCredentials);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if state.held.is_some() {
            state.refresh_at = self.0.clock.now().checked_add(RETRY_PAUSE);
        }
    }
}

fn refresh_at(now: SystemTime, expires_at: SystemTime) -> SystemTime {
    let lasts = expires_at.duration_since(now).unwrap_or_default();
    expires_at.checked_sub(REFRESH_AHEAD.min(lasts / 2)).unwrap_or(now)
}

impl fmt::Debug for CachedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let mut text = f.debug_struct("CachedCredentials");
        text.field("held", &state.held).field("failure", &state.failure).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tokio::sync::Semaphore;

    use super::super::CredentialsFuture;
    use super::*;
    use crate::testing::TestClock;

    const MINUTE: Duration = Duration::from_mins(1);

    /// Gives out numbered credentials, one for each permit of `allowed`.
    struct Numbered {
        clock: Arc<TestClock>,
        allowed: Semaphore,
        script: Mutex<Script>,
    }

    #[derive(Default)]
    struct Script {
        asked: u32,
        lasts: Option<Duration>,
        fails: bool,
    }

    impl CredentialsProvider for Numbered {
        fn credentials(&self) -> CredentialsFuture<'_> {
            Box::pin(async {
                self.script.lock().unwrap().asked += 1;
                self.allowed.acquire().await.unwrap().forget();
                let script = self.script.lock().unwrap();
                if script.fails {
                    return Err(CredentialsError::provider("down"));
                }
                let credentials = Credentials::new(&format!("AKID{}", script.asked), "geheim").unwrap();
                Ok(match script.lasts {
                    Some(lasts) => credentials.with_expiry(self.clock.now() + lasts),
                    None => credentials,
                })
            })
        }
    }

    impl Numbered {
        fn cached(lasts: Option<Duration>) -> (Arc<Numbered>, CachedCredentials) {
            let clock = Arc::new(TestClock::new());
            let script = Mutex::new(Script { lasts, ..Script::default() });
            let provider = Arc::new(Numbered { clock: clock.clone(), allowed: Semaphore::new(100), script });
            (provider.clone(), CachedCredentials::new(provider, clock))
        }

        fn asked(&self) -> u32 {
            self.script.lock().unwrap().asked
        }

        fn set_fails(&self, fails: bool) {
            self.script.lock().unwrap().fails = fails;
        }

        fn block(&self) {
            self.allowed.forget_permits(100);
        }
    }

    async fn access_key(cached: &CachedCredentials) -> String {
        cached.current().await.unwrap().access_key().to_owned()
    }

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn lasting_credentials_are_fetched_once() {
        let (provider, cached) = Numbered::cached(None);
        for _ in 0..3 {
            assert_eq!(access_key(&cached).await, "AKID1");
            provider.clock.advance(1000 * MINUTE);
        }
        assert_eq!(provider.asked(), 1);
    }

    #[tokio::test]
    async fn credentials_are_replaced_five_minutes_before_they_expire() {
        let (provider, cached) = Numbered::cached(Some(60 * MINUTE));
        assert_eq!(access_key(&cached).await, "AKID1");
        provider.clock.advance(Duration::new(55 * 60 - 1, 999_999_999));
        assert_eq!(access_key(&cached).await, "AKID1");
        provider.clock.advance(Duration::from_nanos(1));
        assert_eq!(access_key(&cached).await, "AKID2");
    }

    #[tokio::test]
    async fn short_lived_credentials_are_used_for_half_their_life() {
        let (provider, cached) = Numbered::cached(Some(2 * MINUTE));
        assert_eq!(access_key(&cached).await, "AKID1");
        provider.clock.advance(Duration::new(59, 999_999_999));
        assert_eq!(access_key(&cached).await, "AKID1");
        provider.clock.advance(Duration::from_nanos(1));
        assert_eq!(access_key(&cached).await, "AKID2");
    }

    #[tokio::test]
    async fn a_failed_refresh_leaves_good_credentials_in_use_until_they_expire() {
        let (provider, cached) = Numbered::cached(Some(60 * MINUTE));
        assert_eq!(access_key(&cached).await, "AKID1");
        provider.set_fails(true);
        provider.clock.advance(56 * MINUTE);
        for _ in 0..3 {
            assert_eq!(access_key(&cached).await, "AKID1");
        }
        assert_eq!(provider.asked(), 2, "one attempt, then a pause");
        assert!(matches!(cached.last_failure(), Some(CredentialsError::Provider { .. })));

        provider.clock.advance(RETRY_PAUSE);
        assert_eq!(access_key(&cached).await, "AKID1");
        assert_eq!(provider.asked(), 3);

        provider.clock.advance(4 * MINUTE);
        assert!(matches!(cached.current().await, Err(CredentialsError::Provider { .. })));
        provider.set_fails(false);
        assert_eq!(access_key(&cached).await, "AKID5");
        assert!(cached.last_failure().is_none());
    }

    #[tokio::test]
    async fn the_failure_of_a_pause_ends_with_the_credentials() {
        let (provider, cached) = Numbered::cached(Some(60 * MINUTE));
        assert_eq!(access_key(&cached).await, "AKID1");
        provider.clock.advance(Duration::from_secs(60 * 60 - 1));
        provider.set_fails(true);
        assert_eq!(access_key(&cached).await, "AKID1");
        provider.set_fails(false);
        provider.clock.advance(Duration::from_secs(1));
        assert_eq!(access_key(&cached).await, "AKID3");
    }

    #[tokio::test]
    async fn credentials_that_have_expired_are_refused() {
        let (provider, cached) = Numbered::cached(Some(Duration::ZERO));
        let expires_at = provider.clock.now();
        let refused = cached.current().await;
        assert!(matches!(refused, Err(CredentialsError::Expired { expires_at: at }) if at == expires_at));
    }

    #[tokio::test]
    async fn waiting_callers_share_one_refresh_and_its_failure() {
        let (provider, cached) = Numbered::cached(None);
        provider.block();
        provider.set_fails(true);
        let (mut one, mut two, mut three) =
            (pin!(cached.current()), pin!(cached.current()), pin!(cached.current()));
        assert!(
            poll(one.as_mut()).is_pending()
                && poll(two.as_mut()).is_pending()
                && poll(three.as_mut()).is_pending()
        );
        provider.allowed.add_permits(1);
        assert!(matches!(poll(one.as_mut()), Poll::Ready(Err(_))));
        assert!(matches!(poll(two.as_mut()), Poll::Ready(Err(_))));
        assert_eq!(provider.asked(), 1);

        // A caller that began to wait before that refresh ended takes its failure; one that comes later asks anew.
        provider.set_fails(false);
        provider.allowed.add_permits(1);
        assert!(three.await.is_err());
        assert_eq!(access_key(&cached).await, "AKID2");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_refresh_while_credentials_are_good() {
        let (provider, cached) = Numbered::cached(Some(60 * MINUTE));
        assert_eq!(access_key(&cached).await, "AKID1");
        provider.clock.advance(56 * MINUTE);
        provider.block();
        let mut refresh = pin!(cached.current());
        assert!(poll(refresh.as_mut()).is_pending());
        let Poll::Ready(meanwhile) = poll(pin!(cached.current())) else { panic!("waits for the refresh") };
        assert_eq!(meanwhile.unwrap().access_key(), "AKID1");
        provider.allowed.add_permits(1);
        assert_eq!(refresh.await.unwrap().access_key(), "AKID2");
        assert_eq!(provider.asked(), 2);
    }

    #[tokio::test]
    async fn a_dropped_refresh_is_begun_anew_by_the_next_caller() {
        let (provider, cached) = Numbered::cached(None);
        provider.block();
        {
            let mut dropped = pin!(cached.current());
            assert!(poll(dropped.as_mut()).is_pending());
        }
        provider.allowed.add_permits(1);
        assert_eq!(access_key(&cached).await, "AKID2");
    }

    #[tokio::test]
    async fn refused_credentials_are_forgotten_unless_replaced_already() {
        let (provider, cached) = Numbered::cached(None);
        let first = cached.current().await.unwrap();
        cached.forget(&first);
        assert_eq!(access_key(&cached).await, "AKID2");
        cached.forget(&first);
        assert_eq!(access_key(&cached).await, "AKID2");
        assert_eq!(provider.asked(), 2);
    }

    #[tokio::test]
    async fn debug_shows_no_secret() {
        let (_provider, cached) = Numbered::cached(None);
        cached.current().await.unwrap();
        let text = format!("{cached:?}");
        assert!(text.contains("AKID1") && !text.contains("geheim"), "{text}");
    }
}
