//! One node: its addresses, its folder, its log, and its process while it runs.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::address::Addresses;
use super::program::{Program, find, holdfast_bin};
use super::shape::{Scheme, Server};

/// How the node comes into its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It founds the cluster with the others.
    Founder,
    /// It is added to a cluster that exists.
    Joiner,
}

/// A node of a cluster. The process is killed when this is dropped.
#[derive(Debug)]
pub(super) struct NodeProcess {
    pub server: Server,
    /// Another program than the one that is found for this server.
    pub program: Option<PathBuf>,
    pub name: String,
    pub zone: String,
    /// Where it listens.
    pub addresses: Addresses,
    /// Where others reach it: the same, or the proxies in front of it.
    pub advertised: Addresses,
    pub client_scheme: Scheme,
    pub peer_scheme: Scheme,
    pub data_dir: PathBuf,
    pub log: PathBuf,
    pub role: Role,
    /// `n1=http://...,n2=http://...`, as the flag wants it.
    pub initial_cluster: String,
    pub flags: Vec<String>,
    /// Set on top of the flags, each by its name.
    further: BTreeMap<String, String>,
    /// Length of the log when the process was started last.
    log_begin: u64,
    child: Option<Child>,
    paused: bool,
}

/// Variables that a server would take for settings must not reach it.
fn is_inherited(name: &str) -> bool {
    !name.starts_with("ETCD") && !name.starts_with("HOLDFAST")
}

pub(super) fn server_program(server: Server) -> PathBuf {
    match server {
        Server::Holdfast => holdfast_bin(),
        Server::Etcd => find(Program::Etcd).expect("etcd is not installed; set HOLDFAST_ETCD_BIN"),
    }
}

/// Sends a signal by its name, such as TERM. The shell's own `kill` does it: a bare machine has no other.
///
/// # Panics
/// If there is no such process.
pub fn send_signal(child: &Child, signal: &str) {
    let pid = child.id();
    let sent = Command::new("sh").args(["-c", &format!("kill -s {signal} {pid}")]).status();
    assert!(sent.is_ok_and(|status| status.success()), "SIG{signal} could not be sent to process {pid}");
}

impl NodeProcess {
    pub(super) fn new(server: Server, name: &str, zone: &str, addresses: Addresses, folder: &Path) -> Self {
        Self {
            server,
            program: None,
            name: name.to_owned(),
            zone: zone.to_owned(),
            addresses,
            advertised: addresses,
            client_scheme: Scheme::Http,
            peer_scheme: Scheme::Http,
            data_dir: folder.join(name),
            log: folder.join(format!("{name}.log")),
            role: Role::Founder,
            initial_cluster: String::new(),
            flags: Vec::new(),
            further: BTreeMap::new(),
            log_begin: 0,
            child: None,
            paused: false,
        }
    }

    /// Where clients reach it.
    pub(super) fn client_url(&self) -> String {
        format!("{}://{}", self.client_scheme, self.advertised.client)
    }

    /// Where it listens to clients, behind the proxies if there are any.
    pub(super) fn own_client_url(&self) -> String {
        format!("{}://{}", self.client_scheme, self.addresses.client)
    }

    /// Where the other members reach it.
    pub(super) fn peer_url(&self) -> String {
        format!("{}://{}", self.peer_scheme, self.advertised.peer)
    }

    /// The whole command line, without the program.
    pub(super) fn args(&self) -> Vec<String> {
        let mut args = Vec::new();
        if self.server == Server::Holdfast {
            args.push("serve".to_owned());
            args.push(format!("--zone={}", self.zone));
        }
        args.push(format!("--name={}", self.name));
        args.push(format!("--data-dir={}", self.data_dir.display()));
        args.push(format!("--listen-client-urls={}", self.own_client_url()));
        args.push(format!("--advertise-client-urls={}", self.client_url()));
        args.push(format!("--listen-peer-urls={}://{}", self.peer_scheme, self.addresses.peer));
        args.push(format!("--initial-advertise-peer-urls={}", self.peer_url()));
        args.push(format!("--initial-cluster={}", self.initial_cluster));
        args.push("--initial-cluster-token=process-world".to_owned());
        let state = if self.role == Role::Founder { "new" } else { "existing" };
        args.push(format!("--initial-cluster-state={state}"));
        let is_replaced = |flag: &str| flag.split_once('=').is_some_and(|(name, _)| self.further.contains_key(name));
        args.extend(self.flags.iter().filter(|flag| !is_replaced(flag)).cloned());
        args.extend(self.further.iter().map(|(name, value)| format!("{name}={value}")));
        args
    }

    /// From its next start on, instead of what its flags say.
    pub(super) fn set_flag(&mut self, name: &str, value: &str) {
        self.further.insert(name.to_owned(), value.to_owned());
    }

    /// Its flags alone count again, from its next start on.
    pub(super) fn restore_flags(&mut self) {
        self.further.clear();
    }

    /// Starts the process. Its output goes to the end of the log.
    pub(super) fn spawn(&mut self) {
        assert!(!self.is_running(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("the log can be opened");
        self.log_begin = log.metadata().expect("the log has a length").len();
        let same_log = log.try_clone().expect("a file can be duplicated");
        let program = self.program.clone().unwrap_or_else(|| server_program(self.server));
        let child = Command::new(&program)
            .args(self.args())
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_inherited)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(same_log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        self.child = Some(child);
        self.paused = false;
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("a child can be waited for").is_none())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// How it ended, if it did by itself.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("a child can be waited for"))
    }

    /// SIGKILL, and gone.
    pub(super) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _already_gone = child.kill();
            child.wait().expect("a killed child ends");
        }
        self.paused = false;
    }

    pub(super) fn signal(&mut self, signal: &str) {
        send_signal(self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name)), signal);
        self.paused = signal == "STOP" || self.paused && signal != "CONT";
    }

    /// What it has said since it was started last.
    pub(super) fn said(&self) -> String {
        let all = std::fs::read(&self.log).unwrap_or_default();
        let begin = usize::try_from(self.log_begin).unwrap_or(usize::MAX).min(all.len());
        String::from_utf8_lossy(&all[begin..]).into_owned()
    }

    /// What all its processes have said.
    pub(super) fn all_said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines it said.
    pub(super) fn tail(&self, lines: usize) -> String {
        let all = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&all);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill9();
    }
}
