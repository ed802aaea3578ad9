//! The service manager, played by a socket: it hears when the server serves, reloads and ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixDatagram;

use crate::process::Serve;

/// Longest time for one message.
const DEADLINE: Duration = Duration::from_mins(1);

/// A socket that a server tells its state.
pub(super) struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    pub(super) fn new(folder: &Path) -> Self {
        let path = folder.join("notify");
        Self { socket: UnixDatagram::bind(&path).unwrap(), path }
    }

    /// Starts a server on a free port that reports to this manager.
    pub(super) fn serve(&self, data_dir: &Path, more: impl FnOnce(&mut std::process::Command)) -> Serve {
        let mut command = Serve::command(data_dir);
        command.args(["--listen", "127.0.0.1:0", "--shutdown-timeout", "1"]).env("NOTIFY_SOCKET", &self.path);
        more(&mut command);
        Serve::run(command)
    }

    /// Waits for the next message.
    pub(super) async fn next(&self) -> String {
        let mut message = [0; 1024];
        let received = tokio::time::timeout(DEADLINE, self.socket.recv(&mut message)).await;
        let len = received.expect("the server said nothing").unwrap();
        String::from_utf8(message[..len].to_vec()).unwrap()
    }

    /// Has the server reload, and waits until it has.
    pub(super) async fn reload(&self, server: &Serve) {
        server.signal("HUP");
        let message = self.next().await;
        assert!(message.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{message}");
        assert_eq!(self.next().await.trim(), "READY=1");
    }
}

#[tokio::test]
async fn the_service_manager_hears_when_the_server_serves_and_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(folder.path());
    let server = manager.serve(&folder.path().join("data"), |_| ());
    assert_eq!(manager.next().await.trim(), "READY=1");
    manager.reload(&server).await;
    assert!(server.terminate().await);
    assert_eq!(manager.next().await.trim(), "STOPPING=1");
}

#[tokio::test]
async fn a_watchdog_is_fed() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(folder.path());
    let server = manager.serve(&folder.path().join("data"), |command| {
        command.env("WATCHDOG_USEC", "300000");
    });
    assert_eq!(manager.next().await.trim(), "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.next().await.trim(), "WATCHDOG=1");
    }
    drop(server);
}
