//! A point that a test lets others pass.

use std::sync::Arc;

use tokio::sync::watch;

/// A gate: closed until the test opens it, then open for good. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    is_open: bool,
    waiting: usize,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate::closed()
    }
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Gate {
        Gate { state: Arc::new(watch::Sender::new(State::default())) }
    }

    /// Lets everybody through, now and from now on.
    pub fn open(&self) {
        self.state.send_modify(|state| state.is_open = true);
    }

    /// Waits until `count` have come to the gate, those that have gone through included.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn reached(&self, count: usize) {
        let mut states = self.state.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = states.wait_for(|state| state.waiting >= count).await;
    }

    /// Waits until the gate is open.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the arrival counted.
    pub async fn pass(&self) {
        self.state.send_modify(|state| state.waiting += 1);
        let mut states = self.state.subscribe();
        let _ = states.wait_for(|state| state.is_open).await;
    }
}
