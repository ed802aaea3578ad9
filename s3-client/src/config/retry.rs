//! When and how often a request is repeated.

use std::time::Duration;

use super::ConfigError;

/// Exponential backoff with full jitter, bounded in attempts, and by a budget that all requests of a client share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts_max: u32,
    backoff_first: Duration,
    backoff_max: Duration,
    budget: RetryBudget,
}

/// A token bucket: each retry takes tokens out, each first attempt that succeeds puts some back.
///
/// It keeps an outage from becoming a storm: with every request failing, retries stop once the bucket is empty; with some failing, the
/// share of retries settles at `refund / cost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Tokens at the start, and the most there can be.
    pub tokens_max: u32,
    /// Taken out by each retry.
    pub cost: u32,
    /// Put back by each first attempt that succeeds.
    pub refund: u32,
}

impl RetryPolicy {
    /// Sends each request once.
    pub fn never() -> RetryPolicy {
        RetryPolicy { attempts_max: 1, ..RetryPolicy::default() }
    }

    /// Sets the number of attempts, the first included.
    ///
    /// # Errors
    /// [`ConfigError::Zero`] for 0: a request that is not sent is not a request.
    pub fn with_attempts_max(mut self, attempts: u32) -> Result<RetryPolicy, ConfigError> {
        if attempts == 0 {
            return Err(ConfigError::Zero { name: "attempts_max" });
        }
        self.attempts_max = attempts;
        Ok(self)
    }

    /// Sets a number of attempts that is known not to be 0.
    pub(crate) fn with_attempts(mut self, attempts: u32) -> RetryPolicy {
        self.attempts_max = attempts;
        self
    }

    /// Sets the longest pause before the first retry, which doubles with each further one, and the bound for that growth.
    ///
    /// # Errors
    /// [`ConfigError::TooShort`] if `first` is zero (retries without a pause keep a server down) or `max` is less than `first`.
    pub fn with_backoff(mut self, first: Duration, max: Duration) -> Result<RetryPolicy, ConfigError> {
        let least = Duration::from_millis(1);
        for (name, value, least) in [("first backoff", first, least), ("backoff bound", max, first)] {
            if value < least {
                return Err(ConfigError::TooShort { name, value, least });
            }
        }
        (self.backoff_first, self.backoff_max) = (first, max);
        Ok(self)
    }

    /// Replaces the budget.
    #[must_use]
    pub fn with_budget(mut self, budget: RetryBudget) -> RetryPolicy {
        self.budget = budget;
        self
    }

    /// Returns the number of attempts, the first included.
    pub fn attempts_max(&self) -> u32 {
        self.attempts_max
    }

    /// Returns the budget.
    pub fn budget(&self) -> RetryBudget {
        self.budget
    }

    /// Returns the longest pause before retry number `retry`, counted from 1. The pause itself is drawn evenly between zero and this
    /// (full jitter), so that clients that failed together do not come back together.
    pub fn backoff_ceiling(&self, retry: u32) -> Duration {
        let factor = 1_u32.checked_shl(retry.saturating_sub(1)).unwrap_or(u32::MAX);
        self.backoff_first.saturating_mul(factor).min(self.backoff_max)
    }
}

impl Default for RetryPolicy {
    /// 6 attempts, pauses of up to 100 ms doubling to at most 20 s, and a budget of 500 tokens at 5 a retry.
    fn default() -> RetryPolicy {
        RetryPolicy {
            attempts_max: 6,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(20),
            budget: RetryBudget::default(),
        }
    }
}

impl Default for RetryBudget {
    /// 100 retries in a row, then one for each five first attempts that succeed.
    fn default() -> RetryBudget {
        RetryBudget { tokens_max: 500, cost: 5, refund: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let policy = RetryPolicy::default();
        let policy = policy.with_backoff(Duration::from_millis(100), Duration::from_millis(450)).unwrap();
        let ceilings = [1, 2, 3, 4, 40, u32::MAX].map(|retry| policy.backoff_ceiling(retry).as_millis());
        assert_eq!(ceilings, [100, 200, 400, 450, 450, 450]);
    }

    #[test]
    fn nonsense_is_refused() {
        let policy = RetryPolicy::default;
        assert!(policy().with_attempts_max(0).is_err());
        assert!(policy().with_backoff(Duration::ZERO, Duration::from_secs(1)).is_err());
        assert!(policy().with_backoff(Duration::from_secs(2), Duration::from_secs(1)).is_err());
    }

    #[test]
    fn never_is_one_attempt() {
        assert_eq!(RetryPolicy::never().attempts_max(), 1);
    }
}
