//! The retry budget that all requests of a client share.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::RetryBudget;

/// The token bucket of [`RetryBudget`].
#[derive(Debug)]
pub(crate) struct Budget {
    rules: RetryBudget,
    tokens: AtomicU32,
}

impl Budget {
    pub(crate) fn new(rules: RetryBudget) -> Budget {
        Budget { rules, tokens: AtomicU32::new(rules.tokens_max) }
    }

    /// Takes the price of a retry; `false`: there is not enough left.
    pub(crate) fn pay(&self) -> bool {
        let pay = |tokens: u32| tokens.checked_sub(self.rules.cost);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }

    /// Puts back what a first attempt that succeeds is worth.
    pub(crate) fn refund(&self) {
        let most = self.rules.tokens_max;
        // Mostly it is full, and then there is nothing to write.
        let add = |tokens: u32| (tokens < most).then(|| tokens.saturating_add(self.rules.refund).min(most));
        let _is_full = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stop_when_the_bucket_is_empty_and_go_on_after_successes() {
        let budget = Budget::new(RetryBudget { tokens_max: 10, cost: 5, refund: 2 });
        assert_eq!([budget.pay(), budget.pay(), budget.pay()], [true, true, false]);
        budget.refund();
        budget.refund();
        assert!(!budget.pay());
        budget.refund();
        assert!(budget.pay());
        for _ in 0..100 {
            budget.refund();
        }
        assert_eq!(budget.tokens.load(Ordering::Relaxed), 10);
    }
}
