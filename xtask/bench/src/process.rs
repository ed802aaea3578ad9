//! Processes, and what the kernel says they used.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wait4::Wait4;

use crate::machine::kibibytes;

/// Clock ticks per second in `/proc/PID/stat`: `USER_HZ`, 100 on every Linux architecture we build for (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// What one process used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) wall_seconds: f64,
    /// User and system time, of all threads.
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_memory_bytes: u64,
}

/// A process whose use is measured from start to end.
pub(crate) struct Measured {
    child: Child,
    started_at: Instant,
    line: String,
}

impl Measured {
    /// Starts it, with its output kept in `log` for when it fails.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Measured> {
        let output = create(log)?;
        let errors = output.try_clone().context("cannot share the log")?;
        Measured::start_into(command, output, errors)
    }

    fn start_into(command: &mut Command, output: File, errors: File) -> Result<Measured> {
        let line = shown(command);
        eprintln!("$ {line}");
        let started_at = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        Ok(Measured { child: child.with_context(|| format!("cannot start {line}"))?, started_at, line })
    }

    /// Waits for its successful end.
    pub(crate) fn finish(self) -> Result<Usage> {
        let used = self.child.wait4().context("cannot wait for the process")?;
        ensure!(used.status.success(), "{} ended with {}", self.line, used.status);
        Ok(Usage {
            wall_seconds: self.started_at.elapsed().as_secs_f64(),
            cpu_seconds: (used.rusage.utime + used.rusage.stime).as_secs_f64(),
            peak_memory_bytes: used.rusage.maxrss,
        })
    }
}

/// Runs one process from start to end.
pub(crate) fn measure(command: &mut Command, log: &Path) -> Result<Usage> {
    Measured::start(command, log)?.finish().with_context(|| tail(log))
}

/// Runs one process from start to end and returns its standard output, too; what it says otherwise goes to `log`.
pub(crate) fn measure_output(command: &mut Command, log: &Path) -> Result<(Usage, String)> {
    let path = log.with_extension("out");
    let running = Measured::start_into(command, create(&path)?, create(log)?)?;
    let usage = running.finish().with_context(|| tail(log))?;
    let output = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((usage, output))
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot create {}", path.display()))
}

/// The end of a log, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

/// A server: it is killed when this is dropped, so that a failing benchmark leaves none behind.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts it with its output going to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Server> {
        let line = shown(command);
        eprintln!("$ {line}");
        let output = create(log)?;
        let errors = output.try_clone().context("cannot share the log")?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        Ok(Server { child: child.with_context(|| format!("cannot start {line}"))? })
    }

    /// Fails if it has ended.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait().context("cannot look at the server")? {
            None => Ok(()),
            Some(status) => bail!("the server ended with {status}"),
        }
    }

    /// CPU time so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = self.proc("stat")?;
        cpu_seconds(&stat).context("cannot parse /proc/PID/stat")
    }

    /// Most memory that was resident so far, in bytes.
    pub(crate) fn peak_memory_bytes(&self) -> Result<u64> {
        kibibytes(&self.proc("status")?, "VmHWM").context("/proc/PID/status has no VmHWM")
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.context("the server has no process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .context("cannot signal the server")?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context("cannot wait for the server")? {
                ensure!(status.success(), "the server ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the server did not end within 30 s of SIGTERM")
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` it is gone already; then there is nothing to kill.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().and_then(|()| self.child.wait()).ok();
        }
    }
}

/// Reads user and system time: fields 14 and 15, counted behind the command's name, which may hold blanks and brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// Writes a command as it is started.
pub(crate) fn shown(command: &Command) -> String {
    let args = command.get_args().map(|arg| format!(" {}", arg.display()));
    format!("{}{}", Path::new(command.get_program()).display(), args.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_strange_name() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert!((cpu_seconds(stat).unwrap() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_busy_child_has_used_cpu_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]);
        let usage = measure(&mut command, &folder.path().join("log")).unwrap();
        assert!(usage.cpu_seconds > 0.01 && usage.wall_seconds > 0.01, "{usage:?}");
        assert!(usage.peak_memory_bytes > 1 << 18, "{usage:?}");
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such thing; exit 3"]);
        let error = measure(&mut command, &folder.path().join("log")).unwrap_err();
        assert!(format!("{error:#}").contains("no such thing"), "{error:#}");
    }

    #[test]
    fn standard_output_is_kept_apart_from_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("client.log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo progress >&2; echo result"]);
        let (_, output) = measure_output(&mut command, &log).unwrap();
        assert_eq!((output.as_str(), tail(&log).as_str()), ("result\n", "progress"));
    }

    #[test]
    fn a_server_is_measured_and_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done"]);
        let log = folder.path().join("log");
        let mut server = Server::start(&mut command, &log).unwrap();
        while fs::read_to_string(&log).unwrap() != "ready\n" {
            std::thread::yield_now();
        }
        server.check_alive().unwrap();
        assert!(server.peak_memory_bytes().unwrap() > 0);
        assert!(server.cpu_seconds().unwrap() >= 0.0);
        server.stop().unwrap();
    }
}
