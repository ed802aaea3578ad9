//! The commands of the `coldkeep` binary that are measured.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::data::Data;
use crate::process::{Server, tail};
use crate::s3::Target;

/// Archive names of the two files of [`Data`].
pub(crate) const IMAGE: &str = "disk.img";
pub(crate) const STREAM: &str = "dump.bin";

/// The binary.
pub(crate) struct Coldkeep<'a> {
    pub(crate) program: &'a Path,
}

/// A server with a fresh data folder, and how to reach it.
pub(crate) struct Running {
    pub(crate) server: Server,
    data_dir: PathBuf,
    port: u16,
    store: String,
    password: String,
    fingerprint: String,
}

/// Another server, as the one that pulls from it is told of it.
pub(crate) struct Far<'a> {
    pub(crate) running: &'a Running,
    pub(crate) via: Option<SocketAddr>,
    pub(crate) password_file: &'a Path,
}

impl Coldkeep<'_> {
    /// Starts a server on `folder`, whose store `store` is measured, and waits until it takes connections.
    pub(crate) fn serve(&self, folder: &Path, store: &str) -> Result<Running> {
        let data_dir = folder.join("data");
        let port = free_port()?;
        let (server, text) = self.start(&data_dir, port, &folder.join("server.log"))?;
        let missing = "the server printed no";
        let fingerprint = fingerprint(&text).with_context(|| format!("{missing} fingerprint"))?;
        let password = password(&text).with_context(|| format!("{missing} password"))?;
        let running = Running { server, data_dir, port, store: store.to_owned(), password, fingerprint };
        self.await_store(&running)?;
        Ok(running)
    }

    /// Starts the server of `running` anew, after `meanwhile` was done while it was down.
    pub(crate) fn restart(
        &self,
        running: Running,
        meanwhile: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Running> {
        let store = running.store()?;
        let Running { server, data_dir, port, .. } = running;
        server.stop()?;
        meanwhile(&store)?;
        let log = data_dir.with_file_name("server.log");
        let (server, _) = self.start(&data_dir, port, &log)?;
        let running = Running { server, data_dir, ..running };
        self.await_store(&running)?;
        Ok(running)
    }

    /// Waits until the store is open: one in a bucket takes some requests, and the server is ready before.
    fn await_store(&self, running: &Running) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let output = self.remote(running, "snapshots").output().context("cannot list the snapshots")?;
            if output.status.success() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the store was not open within 30 s: {}", String::from_utf8_lossy(&output.stderr));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Makes a store in a bucket, in the data folder of a server that does not run yet.
    pub(crate) fn create_in_bucket(&self, folder: &Path, store: &str, bucket: &Target) -> Command {
        let mut command = Command::new(self.program);
        command.args(["datastore", "create", store, "--data-dir"]).arg(folder.join("data"));
        command.args(["--backend", "s3", "--path-style", "--no-check"]);
        command.args([
            "--endpoint",
            &bucket.endpoint,
            "--region",
            &bucket.region,
            "--bucket",
            &bucket.bucket,
        ]);
        command.env("AWS_ACCESS_KEY_ID", &bucket.access_key);
        command.env("AWS_SECRET_ACCESS_KEY", &bucket.secret_key);
        command
    }

    fn start(&self, data_dir: &Path, port: u16, log: &Path) -> Result<(Server, String)> {
        let mut command = Command::new(self.program);
        command.arg("serve").arg("--data-dir").arg(data_dir).arg("--listen").arg(format!("127.0.0.1:{port}"));
        let mut server = Server::start(&mut command, log)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            server.check_alive().with_context(|| tail(log))?;
            let text = fs::read_to_string(log).unwrap_or_default();
            if text.lines().any(|line| line == "ready") {
                return Ok((server, text));
            }
            if Instant::now() > deadline {
                bail!("the server was not ready within 30 s: {}", tail(log));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A backup of both files to a running server, as the group `host/ID`.
    pub(crate) fn backup(&self, running: &Running, id: &str, data: &Data) -> Command {
        let mut command = self.remote(running, "backup");
        command.args(["--backup-id", id]).arg(item(IMAGE, &data.image)).arg(item(STREAM, &data.stream));
        command
    }

    /// A backup of an image alone, as the snapshot of that time in the group `host/ID`.
    pub(crate) fn backup_image_at(&self, running: &Running, id: &str, time: u64, image: &Path) -> Command {
        let mut command = self.remote(running, "backup");
        command.args(["--backup-id", id, "--backup-time", &time.to_string()]).arg(item(IMAGE, image));
        command
    }

    /// Tells a server how to reach another one, through `via` if there is a line between them.
    pub(crate) fn add_remote(&self, running: &Running, name: &str, far: &Far<'_>) -> Command {
        let mut command = self.remote(running, "remote add");
        let via = far.via.unwrap_or_else(|| far.running.address());
        command.args([name, "--host", &via.ip().to_string(), "--port", &via.port().to_string()]);
        command.args(["--auth-id", "root@pam", "--fingerprint", &far.running.fingerprint]);
        command.arg("--password-file").arg(far.password_file);
        command
    }

    /// A pull of all groups of a remote's store into the measured one.
    pub(crate) fn pull(&self, running: &Running, name: &str, far: &Running) -> Command {
        let mut command = self.remote(running, "pull");
        command.args([&format!("{name}:{}", far.store), &running.store, "--output", "json"]);
        command
    }

    /// A restore of one archive.
    pub(crate) fn restore(&self, running: &Running, snapshot: &str, archive: &str, target: &Path) -> Command {
        let mut command = self.remote(running, "restore");
        command.arg(snapshot).arg(archive).arg(target);
        command
    }

    /// A backup of one file into a local folder: the embedded server makes the folder and its default store.
    pub(crate) fn backup_embedded(&self, data_dir: &Path, file: &Path) -> Command {
        let mut command = self.embedded(data_dir, "backup");
        command.arg(item("seed.conf", file));
        command
    }

    /// A collection in a local folder.
    pub(crate) fn collect_embedded(&self, data_dir: &Path) -> Command {
        self.embedded(data_dir, "gc")
    }

    fn embedded(&self, data_dir: &Path, verb: &str) -> Command {
        let mut command = Command::new(self.program);
        command.arg(verb).arg("--repository").arg(data_dir);
        command
    }

    /// A verb, with a verb of its own behind a blank if it has any, on a running server.
    pub(crate) fn remote(&self, running: &Running, verb: &str) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(verb.split(' '))
            .args(["--repository", &format!("root@pam@127.0.0.1:{}:{}", running.port, running.store)]);
        command.env("PBS_PASSWORD", &running.password).env("PBS_FINGERPRINT", &running.fingerprint);
        command
    }
}

impl Running {
    /// The folder of the store.
    pub(crate) fn store(&self) -> Result<PathBuf> {
        let folder = self.data_dir.join("stores").join(&self.store);
        ensure!(folder.join(".chunks").is_dir(), "there is no datastore in {}", folder.display());
        Ok(folder)
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The administrator's password.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// The newest snapshot of the group `host/ID`.
    pub(crate) fn newest(&self, id: &str) -> Result<String> {
        self.snapshots(id)?.pop().with_context(|| format!("host/{id} has no snapshot"))
    }

    /// All snapshots of the group `host/ID`, oldest first.
    pub(crate) fn snapshots(&self, id: &str) -> Result<Vec<String>> {
        let group = self.store()?.join("host").join(id);
        let context = || format!("cannot list {}", group.display());
        let mut snapshots = Vec::new();
        for entry in fs::read_dir(&group).with_context(context)? {
            let entry = entry.with_context(context)?;
            if entry.path().is_dir() {
                snapshots.push(format!("host/{id}/{}", entry.file_name().to_string_lossy()));
            }
        }
        // Times are written so that they sort as text.
        snapshots.sort();
        Ok(snapshots)
    }
}

/// Finds the one datastore below a data folder: the folder that holds `.chunks`.
pub(crate) fn store(data_dir: &Path) -> Result<PathBuf> {
    let mut pending = vec![data_dir.to_owned()];
    while let Some(folder) = pending.pop() {
        if folder.join(".chunks").is_dir() {
            return Ok(folder);
        }
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        pending.extend(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()));
    }
    bail!("there is no datastore below {}", data_dir.display())
}

/// A port that is free now; if another process takes it before the server does, the server says so and the benchmark fails.
fn free_port() -> Result<u16> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(probe.local_addr().context("cannot find a free port")?.port())
}

fn item(name: &str, path: &Path) -> OsString {
    let mut item = OsString::from(format!("{name}:"));
    item.push(path);
    item
}

/// The certificate's fingerprint in what the server printed: 32 pairs of hex digits with colons.
fn fingerprint(text: &str) -> Option<String> {
    let is_fingerprint = |word: &&str| {
        word.len() == 95
            && word
                .split(':')
                .all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    text.split_whitespace().find(is_fingerprint).map(str::to_owned)
}

/// The administrator's password: the word behind `password` in a line that is complete.
fn password(text: &str) -> Option<String> {
    let complete = text.rfind('\n').map(|end| &text[..end])?;
    let line = complete.lines().find(|line| line.starts_with("password"))?;
    line.split_whitespace().nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_in_the_servers_output() {
        let pairs = vec!["ab"; 32].join(":");
        let text =
            format!("listening on  [::]:8007\nfingerprint   {pairs}\npassword      s3cret   (once)\nmore");
        assert_eq!(fingerprint(&text), Some(pairs));
        assert_eq!(password(&text).as_deref(), Some("s3cret"));
        assert_eq!(password("user root@pam\npassword      s3c"), None, "the line is not complete yet");
    }

    #[test]
    fn the_store_is_found_by_its_chunk_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("etc")).unwrap();
        fs::create_dir_all(folder.path().join("stores/default/.chunks")).unwrap();
        assert_eq!(store(folder.path()).unwrap(), folder.path().join("stores/default"));
        assert!(store(&folder.path().join("etc")).is_err());
    }
}
