//! The real binary: its first start, and its end by signal.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::material::begin;
use crate::wire::Wire;

/// `coldkeep serve` on a free port; killed when dropped.
pub(crate) struct Serve {
    child: Child,
    pub(crate) address: SocketAddr,
    printed: Vec<String>,
}

impl Serve {
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[])
    }

    pub(crate) fn start_with(data_dir: &Path, more: &[&str]) -> Self {
        let mut command = Self::command(data_dir);
        command.args(["--listen", "127.0.0.1:0", "--shutdown-timeout", "1"]).args(more);
        Self::run(command)
    }

    /// The command, with nothing said but the folder; nothing is logged.
    pub(crate) fn command(data_dir: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coldkeep"));
        command.args(["serve", "--data-dir"]).arg(data_dir).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    /// Starts it, and waits until it serves.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut printed = Vec::new();
        while !printed.last().is_some_and(|line: &String| line.starts_with("ready")) {
            printed.push(lines.next().expect("the server ended early"));
        }
        let address = printed.iter().find_map(|line| line.strip_prefix("listening on")).unwrap();
        let address = address.trim().parse().unwrap();
        Self { child, address, printed }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn value_of(&self, label: &str) -> Option<&str> {
        let line = self.printed.iter().find_map(|line| line.strip_prefix(label))?;
        line.split_whitespace().next()
    }

    /// What was printed behind this label, on each of its lines.
    pub(crate) fn values_of(&self, label: &str) -> Vec<&str> {
        self.printed.iter().filter_map(|line| line.strip_prefix(label)).map(str::trim).collect()
    }

    /// Sends a signal, by its name without SIG, and does not wait.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Sends SIGKILL and does not wait.
    pub(crate) fn send_kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Sends SIGTERM and waits for the end; tells whether it was a clean one.
    pub(crate) async fn terminate(mut self) -> bool {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        // Off this thread, which goes on serving the client's side of open connections.
        tokio::task::spawn_blocking(move || self.child.wait().unwrap().success()).await.unwrap()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_first_start_makes_everything_and_prints_the_password_once() {
    let folder = tempfile::tempdir().unwrap();
    let (password, fingerprint) = {
        let first = Serve::start(&folder.path().join("data"));
        let password = first.value_of("password").unwrap().to_owned();
        let root = Wire::login(first.address, "root@pam", &password).await;
        root.get("/api2/json/admin/datastore/default/status").await.ok();
        let fingerprint = first.value_of("fingerprint").unwrap().to_owned();
        assert!(first.terminate().await);
        (password, fingerprint)
    };
    let second = Serve::start(&folder.path().join("data"));
    assert_eq!(second.value_of("password"), None);
    assert_eq!(second.value_of("fingerprint"), Some(&*fingerprint));
    Wire::login(second.address, "root@pam", &password).await;
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused_with_the_process_id_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = Serve::start(folder.path());
    let second = Command::new(env!("CARGO_BIN_EXE_coldkeep"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains(&format!("process {}", first.child.id())), "{text}");
}

#[tokio::test]
async fn a_session_that_does_not_end_is_stopped_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = Serve::start(folder.path());
    let password = first.value_of("password").unwrap().to_owned();
    let root = Wire::login(first.address, "root@pam", &password).await;
    let _session = begin(&root, "h1", 1_700_000_000).await;
    let start = Instant::now();
    assert!(first.terminate().await);
    assert!((1..9).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(!folder.path().join("stores/default/host/h1/2023-11-14T22:13:20Z").exists());
    let second = Serve::start(folder.path());
    let root = Wire::login(second.address, "root@pam", &password).await;
    let tasks = root.get("/api2/json/nodes/localhost/tasks?typefilter=backup").await.json();
    let status = tasks["data"][0]["status"].as_str().unwrap();
    assert!(status != "OK" && !status.starts_with("interrupted"), "{status}");
    begin(&root, "h1", 1_700_000_000).await;
}
