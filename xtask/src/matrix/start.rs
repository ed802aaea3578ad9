//! A running server, which stops when its guard goes.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::matrix::http;
use crate::matrix::iam::{self, User};
use crate::matrix::install::Installed;
use crate::matrix::servers::{ACCESS_KEY, Credentials, SECRET_KEY, Server};
use crate::shell;
use crate::workspace::Workspace;

/// Longest time until a server answers. The slowest takes 12 s on two idle cores.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// How long a server may take to end before it is killed. The supervisor itself gives it 5 s.
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// How often a server that starts or stops is looked at.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Lines of a server's log that are shown after a failure.
const LOG_LINES_MAX: usize = 40;

/// What the placeholders of the table stand for.
pub(super) struct Places {
    values: Vec<(&'static str, String)>,
}

impl Places {
    /// `text` with every placeholder replaced.
    pub(super) fn fill(&self, text: &str) -> Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').with_context(|| format!("`{text}` has no `}}`"))?;
            let value = self.values.iter().find(|(known, _)| *known == name);
            let (_, value) = value.with_context(|| format!("`{text}`: there is no placeholder `{name}`"))?;
            filled.push_str(before);
            filled.push_str(value);
            rest = after;
        }
        Ok(filled + rest)
    }

    fn new(installed: &Installed, servers: &Path, dir: &Path, ports: [u16; 2]) -> Places {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        Places {
            values: vec![
                ("port", ports[0].to_string()),
                ("port2", ports[1].to_string()),
                ("dir", path(dir)),
                ("access_key", ACCESS_KEY.to_owned()),
                ("secret_key", SECRET_KEY.to_owned()),
                ("venv", path(&installed.venv)),
                ("cargo", path(&installed.cargo)),
                ("servers", path(servers)),
            ],
        }
    }
}

/// Where servers run: folders that the run owns.
pub(super) struct Ground {
    pub(super) installed: Installed,
    /// `xtask/servers` of the workspace.
    pub(super) servers: PathBuf,
    /// `target/matrix`: logs, and below `run` a folder a server.
    pub(super) matrix: PathBuf,
}

impl Ground {
    /// The folders of this workspace.
    pub(super) fn of(workspace: &Workspace) -> Ground {
        let matrix = workspace.target.join("matrix");
        let servers = workspace.root.join("xtask/servers");
        Ground { installed: Installed::below(&matrix), servers, matrix }
    }
}

/// A server that listens; dropped, it stops and its folder goes.
pub(super) struct Running {
    process: Process,
    port: u16,
    pub(super) user: User,
}

impl Running {
    /// Starts a server that is installed, and waits until it answers.
    pub(super) fn start(ground: &Ground, name: &str, server: &Server) -> Result<Running> {
        let started_at = Instant::now();
        let ports = free_ports()?;
        let dir = ground.matrix.join("run").join(format!("{name}.{}", std::process::id()));
        let places = Places::new(&ground.installed, &ground.servers, &dir, ports);
        let mut command = Command::new(ground.servers.join("supervise.sh"));
        command.arg(&dir);
        for part in server.start {
            command.arg(places.fill(part)?);
        }
        for (variable, value) in server.environment {
            command.env(variable, places.fill(value)?);
        }
        let log = ground.matrix.join(format!("{name}.log"));
        let mut process = Process::start(command, dir, log)?;
        let port = ports[0];
        let ready = process.wait_for_answer(port, server.ready).and_then(|()| match server.credentials {
            Credentials::Given => {
                Ok(User { access_key: ACCESS_KEY.to_owned(), secret_key: SECRET_KEY.to_owned() })
            }
            Credentials::Iam => iam::make_user(port),
        });
        match ready {
            Ok(user) => {
                eprintln!("{name}: ready on port {port} after {:.1} s", started_at.elapsed().as_secs_f64());
                Ok(Running { process, port, user })
            }
            Err(error) => {
                process.show_log();
                Err(error.context("the server did not start"))
            }
        }
    }

    /// Where it listens.
    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Shows the end of the server's log.
    pub(super) fn show_log(&self) {
        self.process.show_log();
    }
}

/// A supervised process, which ends when this value goes.
struct Process {
    child: Child,
    dir: PathBuf,
    log: PathBuf,
}

impl Process {
    /// `command` is `supervise.sh` with `dir` as its first argument.
    fn start(mut command: Command, dir: PathBuf, log: PathBuf) -> Result<Process> {
        for folder in [dir.parent(), log.parent()].into_iter().flatten() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let err = out.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        shell::print(&command);
        // A group of its own, which Ctrl-C does not reach: the supervisor stops the server in order. The pipe tells it when we are gone.
        command.process_group(0).stdin(Stdio::piped()).stdout(out).stderr(err);
        let child = command.spawn().context("cannot start the supervisor")?;
        Ok(Process { child, dir, log })
    }

    fn wait_for_answer(&mut self, port: u16, path: &str) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let head = format!("GET {path} HTTP/1.1");
        loop {
            let answer = http::ask(port, &[&head], "");
            // Looked at after the answer: it could have come from somebody else who had taken the port.
            if let Some(status) = self.child.try_wait().context("cannot wait for the server")? {
                bail!("it ended early, with {status}");
            }
            match answer {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => {
                    return Err(error.context(format!("no answer within {} s", READY_WITHIN.as_secs())));
                }
                Err(_) => thread::sleep(POLL_EVERY),
            }
        }
    }

    fn show_log(&self) {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        eprintln!("--- the end of {}:", self.log.display());
        for line in &lines[lines.len().saturating_sub(LOG_LINES_MAX)..] {
            eprintln!("    {line}");
        }
    }

    fn stop(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        if shell::wait_until(&mut self.child, Instant::now() + STOP_WITHIN)?.is_none() {
            shell::kill_group(&mut self.child)?;
        }
        // The supervisor removes the folder, unless it was killed.
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.dir.display()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("cannot stop a server: {error:#}");
        }
    }
}

/// Two ports that nobody listens on. Somebody may take one before the server does; then its start fails and says so.
fn free_ports() -> Result<[u16; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on a port");
    let listeners = [bind()?, bind()?];
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    Ok([
        port(&listeners[0]).context("a socket has no port")?,
        port(&listeners[1]).context("a socket has no port")?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Places {
        /// As if port 4711 was free and everything installed below `/matrix`.
        pub(in crate::matrix) fn example() -> Places {
            let installed = Installed::below(Path::new("/matrix"));
            Places::new(&installed, Path::new("/servers"), Path::new("/dir"), [4711, 4712])
        }
    }

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("coldkeep-xtask-{name}-{}", std::process::id()))
    }

    /// Starts `script` under the supervisor; it writes its process id to a file first.
    fn supervised(folder: &Path, script: &str) -> (Process, u32) {
        let supervisor = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/supervise.sh");
        let mut command = Command::new(supervisor);
        let pid = folder.join("pid");
        let script = format!("echo $$ >{0}.new; mv {0}.new {0}; {script}", pid.display());
        command.arg(folder.join("run/own")).args(["sh", "-c", &script]);
        let process = Process::start(command, folder.join("run/own"), folder.join("log")).unwrap();
        let deadline = Instant::now() + READY_WITHIN;
        while !pid.exists() {
            assert!(Instant::now() < deadline, "the script does not run");
            thread::yield_now();
        }
        (process, fs::read_to_string(pid).unwrap().trim().parse().unwrap())
    }

    fn is_alive(pid: u32) -> bool {
        // An orphan that ended stays as a zombie where the first process of a container does not look after it.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    }

    #[test]
    fn placeholders_are_filled() {
        let places = Places::example();
        assert_eq!(places.fill("--addr=127.0.0.1:{port}/{port2}!").unwrap(), "--addr=127.0.0.1:4711/4712!");
        assert_eq!(places.fill("{venv}/bin/x").unwrap(), "/matrix/venv/bin/x");
        assert_eq!(places.fill("{dir}").unwrap(), "/dir");
        assert_eq!(places.fill("plain").unwrap(), "plain");
        assert!(places.fill("{prot}").is_err());
        assert!(places.fill("{port").is_err());
    }

    #[test]
    fn a_server_ends_with_its_guard() {
        let folder = folder("guard");
        let (process, pid) = supervised(&folder, "exec sleep 600");
        assert!(is_alive(pid));
        assert!(folder.join("run/own").exists());
        drop(process);
        assert!(!is_alive(pid));
        assert!(!folder.join("run/own").exists(), "its folder goes too");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_a_server_started_ends_with_it() {
        let folder = folder("children");
        // Busy in the foreground, as a script is that prepares its server: a shell looks at signals only between commands.
        let (process, pid) = supervised(
            &folder,
            &format!("sleep 600 & echo $! >{}; sleep 600", folder.join("child").display()),
        );
        let deadline = Instant::now() + READY_WITHIN;
        let child = loop {
            let child = fs::read_to_string(folder.join("child")).unwrap_or_default();
            if let Ok(child) = child.trim().parse() {
                break child;
            }
            assert!(Instant::now() < deadline, "the script started no child");
            thread::yield_now();
        };
        assert!(is_alive(child));
        drop(process);
        assert!(!is_alive(pid));
        // Killed, but nobody has waited for its end.
        while is_alive(child) {
            assert!(Instant::now() < deadline, "the child outlives its server");
            thread::yield_now();
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_server_that_ends_early_is_noticed() {
        let folder = folder("early");
        let (mut process, _) = supervised(&folder, "echo broken >&2; exit 3");
        let [port, _] = free_ports().unwrap();
        let error = process.wait_for_answer(port, "/").unwrap_err().to_string();
        assert!(error.contains("ended early") && error.contains('3'), "{error}");
        assert_eq!(fs::read_to_string(&process.log).unwrap(), "broken\n");
        drop(process);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn ports_differ() {
        let [one, two] = free_ports().unwrap();
        assert_ne!(one, two);
    }
}
