//! Work that blocks: on the runtime's blocking threads, never on an async one.
//!
//! The file work of this crate goes through here, and so does that of datastores, but for verification. A test can have it done in place,
//! where the order of everything is its own choice (`testing::InPlace`, feature `testing`).

/// Runs blocking work on the runtime's blocking threads; `None` if the runtime is shutting down. Needs a tokio runtime.
///
/// # Cancel safety
/// Work that has begun runs to its end even if the returned future is dropped.
///
/// # Panics
/// If the work does.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    #[cfg(any(test, feature = "testing"))]
    if let Some(place) = crate::testing::place_of_work() {
        return place.run(work);
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}

/// Runs blocking work for which nobody waits: on the blocking threads of the runtime that is current, or, where there is none, at once.
pub fn begin(work: impl FnOnce() + Send + 'static) {
    #[cfg(any(test, feature = "testing"))]
    if let Some(place) = crate::testing::place_of_work() {
        let _ = place.run(work);
        return;
    }
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}
