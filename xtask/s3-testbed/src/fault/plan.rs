//! Which request gets which fault.

use std::collections::VecDeque;

use super::odds::Odds;
use super::{Fault, RequestHead};

pub(crate) type Matcher = Box<dyn Fn(&RequestHead) -> bool + Send>;

/// What the test scripted: rules in the order in which they were set, then chance, then nothing.
#[derive(Default)]
pub(crate) struct Plan {
    rules: VecDeque<Rule>,
    chance: Option<(u64, Odds)>,
    /// Requests decided by chance so far.
    drawn: u64,
}

struct Rule {
    matcher: Matcher,
    fault: Fault,
    is_once: bool,
}

impl Plan {
    pub(crate) fn add(&mut self, matcher: Matcher, fault: Fault, is_once: bool) {
        self.rules.push_back(Rule { matcher, fault, is_once });
    }

    pub(crate) fn set_chance(&mut self, seed: u64, odds: Odds) {
        self.chance = Some((seed, odds));
        self.drawn = 0;
    }

    pub(crate) fn clear(&mut self) {
        *self = Plan::default();
    }

    /// The fault of this request, and after how many further requests its gate opens by itself.
    pub(crate) fn decide(&mut self, head: &RequestHead) -> (Fault, Option<usize>) {
        if let Some(at) = self.rules.iter().position(|rule| (rule.matcher)(head)) {
            let fault = self.rules[at].fault.clone();
            if self.rules[at].is_once {
                self.rules.remove(at);
            }
            return (fault, None);
        }
        let Some((seed, odds)) = &self.chance else { return (Fault::Pass, None) };
        self.drawn += 1;
        (odds.draw(*seed, self.drawn - 1), Some(odds.late_requests()))
    }
}
