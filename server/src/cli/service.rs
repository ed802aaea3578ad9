//! What the service manager is told (`sd_notify(3)`); without one, nothing happens.

use sd_notify::NotifyState;

/// The server serves.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The server reads its certificate again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot tell the time to the service manager"),
    }
}

/// The server is about to end.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Tells again and again that the server lives, if the service manager wants to hear it: a server that is stuck is then restarted.
///
/// # Cancel safety
/// Dropping the future ends it.
pub(super) async fn keep_alive() {
    let Some(deadline) = sd_notify::watchdog_enabled().filter(|deadline| !deadline.is_zero()) else { return };
    loop {
        notify(&[NotifyState::Watchdog]);
        tokio::time::sleep(deadline / 3).await;
    }
}

/// Sends one datagram; it goes to a socket of this machine and does not block for long.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
