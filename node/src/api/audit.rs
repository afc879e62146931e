//! The audit log: who did what to the cluster or to its users, who was refused, when, from where, and how it went.
//!
//! One JSON object a line. It names users, roles, members and methods; it never has a password, a token, a hash, a key
//! or a value, because nothing of a request gets here but what its handler says in words of its own.
//!
//! ```text
//!   gate, handlers ---> queue ---> writer, on a blocking thread ---> file, or standard error
//! ```
//!
//! The queue is finite. What is refused may fill half of it only, so that somebody who knocks a thousand times a second
//! does not push out what an administrator does; what does not fit is counted, and the next line says how many.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tonic::Code;

use crate::env::{Disk, DiskFile, OpenMode};
use crate::rt;
use crate::types::Rfc3339;

/// Lines waiting to be written.
const WAITING_MAX: usize = 8192;
/// Lines written at once.
const TOGETHER_MAX: usize = 256;
/// The default of `--audit-log-max-bytes`.
pub const FILE_BYTES_MAX_DEFAULT: u64 = 64 * 1024 * 1024;

/// Where the audit log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuditSettings {
    #[default]
    Off,
    Stderr,
    /// At `bytes_max` the file becomes `<path>.1`, in the place of the one before.
    File {
        path: PathBuf,
        bytes_max: u64,
    },
}

/// What a line is about, which decides how much of the queue it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody did, or tried to do, what administrators do.
    Act,
    /// Somebody was turned away.
    Refusal,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Record {
    pub kind: Kind,
    pub request: u64,
    pub remote: Option<SocketAddr>,
    /// Empty if the caller did not say.
    pub user: String,
    pub service: &'static str,
    pub method: &'static str,
    /// Whom or what it was done to, in the handler's words.
    pub about: String,
    pub code: Code,
    /// Why it did not happen.
    pub reason: String,
    pub revision: i64,
    pub auth_revision: u64,
}

/// The entrance. Clones share the queue.
#[derive(Clone, Default)]
pub struct Audit {
    queue: Option<Arc<Queue>>,
}

struct Queue {
    lines: mpsc::Sender<String>,
    member: String,
    /// Lines that found no place since the last one that did.
    lost: AtomicU64,
}

impl Audit {
    /// Starts the writer.
    pub fn start(settings: &AuditSettings, member: String, disk: Arc<dyn Disk>) -> Self {
        let sink = match settings {
            AuditSettings::Off => return Self::default(),
            AuditSettings::Stderr => Sink::Stderr,
            AuditSettings::File { path, bytes_max } => {
                Sink::File(RotatingFile { disk, path: path.clone(), bytes_max: *bytes_max, open: None })
            }
        };
        let (lines, waiting) = mpsc::channel(WAITING_MAX);
        rt::spawn(write(sink, waiting));
        Self { queue: Some(Arc::new(Queue { lines, member, lost: AtomicU64::new(0) })) }
    }

    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    pub fn record(&self, record: Record) {
        let Some(queue) = &self.queue else { return };
        let has_room = record.kind == Kind::Act || queue.lines.capacity() > WAITING_MAX / 2;
        if !has_room {
            queue.lost.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let lost = queue.lost.swap(0, Ordering::AcqRel);
        if queue.lines.try_send(line_of(record, &queue.member, lost)).is_err() {
            queue.lost.fetch_add(lost + 1, Ordering::AcqRel);
        }
    }
}

fn line_of(record: Record, member: &str, lost: u64) -> String {
    let outcome = if record.code == Code::Ok { "ok" } else { "refused" };
    let mut line = Map::new();
    let mut add = |name: &str, value: Value| line.insert(name.to_owned(), value);
    add("ts", Rfc3339 { unix_ms: rt::wall_unix_ms() }.to_string().into());
    add("member", member.into());
    add("request", record.request.into());
    add("remote", record.remote.map_or(Value::Null, |remote| remote.to_string().into()));
    add("user", record.user.into());
    add("method", format!("{}/{}", record.service, record.method).into());
    add("about", record.about.into());
    add("outcome", outcome.into());
    add("code", format!("{:?}", record.code).into());
    add("reason", record.reason.into());
    add("revision", record.revision.into());
    add("auth_revision", record.auth_revision.into());
    if lost > 0 {
        add("lines_lost_before", lost.into());
    }
    format!("{}\n", Value::Object(line))
}

enum Sink {
    Stderr,
    File(RotatingFile),
}

impl Sink {
    fn append(&mut self, text: &str) -> std::io::Result<()> {
        match self {
            Sink::Stderr => {
                eprint!("{text}");
                Ok(())
            }
            Sink::File(file) => file.append(text.as_bytes()),
        }
    }
}

/// Writes as long as the node.
async fn write(mut sink: Sink, mut waiting: mpsc::Receiver<String>) {
    let mut lines = Vec::new();
    while waiting.recv_many(&mut lines, TOGETHER_MAX).await > 0 {
        let text = lines.concat();
        lines.clear();
        let written = rt::blocking(move || {
            let written = sink.append(&text);
            (sink, written)
        })
        .await;
        match written {
            Ok((same, written)) => {
                sink = same;
                if let Err(error) = written {
                    tracing::error!(%error, "the audit log cannot be written; these lines are lost");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the audit log has ended");
                return;
            }
        }
    }
}

struct RotatingFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    bytes_max: u64,
    /// The file and its length.
    open: Option<(Arc<dyn DiskFile>, u64)>,
}

impl RotatingFile {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let (mut file, mut length) = match self.open.take() {
            Some(open) => open,
            None => open(self.disk.as_ref(), &self.path)?,
        };
        if length > 0 && length + bytes.len() as u64 > self.bytes_max {
            drop(file);
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            self.disk.rename(&self.path, Path::new(&old))?;
            (file, length) = open(self.disk.as_ref(), &self.path)?;
        }
        file.write_all_at(bytes, length)?;
        file.sync()?;
        self.open = Some((file, length + bytes.len() as u64));
        Ok(())
    }
}

fn open(disk: &dyn Disk, path: &Path) -> std::io::Result<(Arc<dyn DiskFile>, u64)> {
    let mode = if disk.exists(path)? { OpenMode::ReadWrite } else { OpenMode::CreateNew };
    let file = disk.open(path, mode)?;
    let length = file.len()?;
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::RealDisk;

    fn record(kind: Kind) -> Record {
        Record {
            kind,
            request: 7,
            remote: None,
            user: "ann\"\n".to_owned(),
            service: "etcdserverpb.Auth",
            method: "UserAdd",
            about: "user bob".to_owned(),
            code: Code::PermissionDenied,
            reason: "etcdserver: permission denied".to_owned(),
            revision: 3,
            auth_revision: 4,
        }
    }

    #[test]
    fn a_record_is_one_line_of_json() {
        let line = line_of(record(Kind::Act), "n1", 0);
        assert_eq!(line.matches('\n').count(), 1, "a name cannot forge a line");
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["user"], &read["outcome"]), (&"ann\"\n".into(), &"refused".into()));
        assert_eq!((&read["method"], &read["request"]), (&"etcdserverpb.Auth/UserAdd".into(), &7.into()));
        assert!(read.get("lines_lost_before").is_none());
    }

    #[test]
    fn refusals_leave_room_for_acts_and_losses_are_told() {
        let (lines, mut waiting) = mpsc::channel(WAITING_MAX);
        let queue = Queue { lines, member: "n1".to_owned(), lost: AtomicU64::new(0) };
        let audit = Audit { queue: Some(Arc::new(queue)) };
        for _ in 0..WAITING_MAX {
            audit.record(record(Kind::Refusal));
        }
        audit.record(record(Kind::Act));
        let mut last = String::new();
        let mut count = 0;
        while let Ok(line) = waiting.try_recv() {
            (last, count) = (line, count + 1);
        }
        assert_eq!(count, WAITING_MAX / 2 + 1);
        let read: Value = serde_json::from_str(&last).unwrap();
        assert_eq!(read["lines_lost_before"], WAITING_MAX / 2);
    }

    #[test]
    fn a_full_file_makes_room_and_one_old_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut file = RotatingFile { disk: Arc::new(RealDisk), path: path.clone(), bytes_max: 10, open: None };
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            file.append(line.as_bytes()).unwrap();
        }
        let length = |path: &Path| RealDisk.open(path, OpenMode::Read).unwrap().len().unwrap();
        assert_eq!(length(&folder.path().join("audit.log.1")), "three\n".len() as u64);
        assert_eq!(length(&path), "four\n".len() as u64);
        assert_eq!(RealDisk.list(folder.path()).unwrap(), ["audit.log", "audit.log.1"]);
    }
}
