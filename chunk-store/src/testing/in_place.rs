//! Blocking work that is done where it is asked for.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static PLACE: Cell<Option<Place>> = const { Cell::new(None) };
}

/// What becomes of blocking work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Here,
    Nowhere,
}

impl Place {
    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> Option<T> {
        (self == Self::Here).then(work)
    }
}

/// Returns what becomes of this thread's blocking work, if a test has a say in it.
pub(crate) fn place_of_work() -> Option<Place> {
    PLACE.get()
}

/// As long as it lives, blocking work of this thread ([`blocking`](crate::blocking)) is done at once and in place, or not at all:
/// then nothing depends on when other threads go on.
#[derive(Debug)]
pub struct InPlace {
    before: Option<Place>,
    /// It belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

impl InPlace {
    /// Has blocking work done in place.
    pub fn begin() -> Self {
        Self::set(Place::Here)
    }

    /// Has blocking work left undone, as in a process that ends.
    pub fn cease() -> Self {
        Self::set(Place::Nowhere)
    }

    fn set(place: Place) -> Self {
        Self { before: PLACE.replace(Some(place)), _not_send: PhantomData }
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        PLACE.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::blocking;

    #[test]
    fn work_is_done_in_place_or_not_at_all_as_long_as_the_guard_lives() {
        let here = std::thread::current().id();
        let done = || blocking::run(|| std::thread::current().id()).now_or_never();
        {
            let _in_place = InPlace::begin();
            assert_eq!(done(), Some(Some(here)));
            {
                let _ended = InPlace::cease();
                assert_eq!(done(), Some(None));
            }
            assert_eq!(done(), Some(Some(here)));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let elsewhere = runtime.block_on(blocking::run(|| std::thread::current().id()));
        assert_ne!(elsewhere, Some(here));
    }
}
