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

    /// Puts back what a success is worth: the price of the retry that brought it, or what a first attempt earns.
    pub(crate) fn refund(&self, is_paid: bool) {
        let most = self.rules.tokens_max;
        let worth = if is_paid { self.rules.cost } else { self.rules.refund };
        // Mostly it is full, and then there is nothing to write.
        let add = |tokens: u32| (tokens < most).then(|| tokens.saturating_add(worth).min(most));
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
        budget.refund(false);
        budget.refund(false);
        assert!(!budget.pay());
        budget.refund(false);
        assert!(budget.pay());
        budget.refund(true);
        assert!(budget.pay());
        for _ in 0..100 {
            budget.refund(false);
        }
        assert_eq!(budget.tokens.load(Ordering::Relaxed), 10);
    }

    /// Goal: the default budget lives with one failure in four, and not with two. Method: requests one after the other, their
    /// attempts failing by chance.
    #[test]
    fn one_failure_in_four_is_lived_with() {
        for (failing, is_lived_with) in [(25, true), (50, false)] {
            let (budget, mut choice) = (Budget::new(RetryBudget::default()), 0_u32);
            let mut fails = || {
                choice = choice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (choice >> 16) % 100 < failing
            };
            let mut refused = 0;
            for _request in 0..10_000 {
                let mut retries = 0;
                while fails() && retries < 5 {
                    if !budget.pay() {
                        refused += 1;
                        retries = 5;
                    }
                    retries += 1;
                }
                if retries < 5 {
                    budget.refund(retries > 0);
                }
            }
            assert_eq!(refused == 0, is_lived_with, "{failing}: {refused} retries refused");
        }
    }
}
