//! Child processes: a log each, killed when dropped, and ports for them to listen on.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::error::BenchError;

const LOG_TAIL_LINES: usize = 12;
/// Below the range the kernel takes outgoing ports from (`ip_local_port_range` starts at 32768), so that a free one is
/// still free when a server opens it.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 32_000;
const OUTPUT_LIMIT: Duration = Duration::from_secs(10);

/// A running child. Dropping it kills it.
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Output goes to `<folder>/<name>.log`. The child's input is a pipe of ours: it closes when we are gone, however
    /// that happens.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Result<Self, BenchError> {
        let log = folder.join(format!("{name}.log"));
        let open = || File::options().create(true).append(true).open(&log);
        let with_path = |source| BenchError::File { path: log.clone(), source };
        let (out, err) = (open().map_err(with_path)?, open().map_err(with_path)?);
        without_settings(&mut command);
        let child = command.stdin(Stdio::piped()).stdout(out).stderr(err).spawn();
        let child = child.map_err(|source| BenchError::Spawn { path: command.get_program().into(), source })?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error if it has ended.
    pub fn check(&mut self) -> Result<(), BenchError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(status.to_string())),
            Err(error) => Err(self.ended(error.to_string())),
        }
    }

    fn ended(&self, status: String) -> BenchError {
        BenchError::Ended { name: self.name.clone(), status, log: self.log_tail() }
    }

    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill, and waiting only fetches its status.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Servers read settings from variables with these prefixes, and what is set in somebody's shell is not part of the
/// comparison.
fn without_settings(command: &mut Command) {
    let names = std::env::vars_os().map(|(name, _)| name);
    let is_setting = |name: &str| name.starts_with("ETCD_") || name.starts_with("HOLDFAST_");
    for name in names.filter(|name| is_setting(&name.to_string_lossy())) {
        // Debian's etcd on arm64 needs it to start at all.
        if name != "ETCD_UNSUPPORTED_ARCH" {
            command.env_remove(name);
        }
    }
}

/// What a short-lived command prints; `None` if it cannot be run, fails or does not end.
pub fn output(command: &mut Command) -> Option<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < OUTPUT_LIMIT => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut text = String::new();
    child.stdout.take()?.read_to_string(&mut text).ok()?;
    status.success().then_some(text)
}

/// Ports nobody listens on, each given once by this process.
pub struct Ports {
    next: u16,
}

impl Ports {
    pub fn new() -> Self {
        // Two benchmarks started together look in different places first.
        let spread = u32::from(LAST_PORT - FIRST_PORT) / 2;
        let offset = u16::try_from(std::process::id().wrapping_mul(31) % spread).unwrap_or(0);
        Self { next: FIRST_PORT + offset }
    }

    pub fn take(&mut self) -> Result<u16, BenchError> {
        while self.next < LAST_PORT {
            let port = self.next;
            self.next += 1;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
        Err(BenchError::NoPort { first: FIRST_PORT, last: LAST_PORT })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &Path, script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("sleeper", command, folder).expect("sh can be started")
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = sleeper(folder.path(), "exec sleep 60");
        process.check().expect("it runs");
        let proc = format!("/proc/{}", process.id());
        assert!(Path::new(&proc).exists());
        drop(process);
        assert!(!Path::new(&proc).exists());
    }

    #[test]
    fn one_that_ends_by_itself_leaves_its_last_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = sleeper(folder.path(), "echo no room >&2; exit 3");
        process.child.wait().expect("it ends");
        let error = process.check().expect_err("it has ended").to_string();
        assert!(error.contains("exit status: 3") && error.contains("no room"), "{error}");
    }

    #[test]
    fn output_is_only_that_of_success() {
        assert_eq!(output(Command::new("echo").arg("x")).as_deref(), Some("x\n"));
        assert_eq!(output(&mut Command::new("false")), None);
        assert_eq!(output(&mut Command::new("there-is-no-such-program")), None);
    }

    #[test]
    fn ports_are_free_and_different() {
        let mut ports = Ports::new();
        let (one, two) = (ports.take().expect("free"), ports.take().expect("free"));
        assert_ne!(one, two);
        TcpListener::bind(("127.0.0.1", one)).expect("nobody listens there");
    }
}
