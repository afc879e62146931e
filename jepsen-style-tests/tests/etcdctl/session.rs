//! One side of the comparison: a cluster, and the names of what differs in it from the other.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_jepsen::world::process::{Cluster, Ran, run};

use crate::normal::{Names, normal};
use crate::script::{At, Step};

/// For a command that ends by itself. A check needs a minute.
const LIMIT: Duration = Duration::from_secs(30);
const CHECK_LIMIT: Duration = Duration::from_secs(180);
/// For the lines of a watch. Long, as a busy machine may take its time: the script names as many lines as come.
const WATCH_LIMIT: Duration = Duration::from_secs(30);
/// After the last expected line: is there one too many?
const WATCH_GRACE: Duration = Duration::from_millis(200);
/// For the rest in a pipe whose writer has ended.
const PIPE_LIMIT: Duration = Duration::from_secs(2);
/// etcd refuses a change of membership while its members have been connected for less than five seconds.
const NOT_YET: &str = "etcdserver: unhealthy cluster";

pub struct Session {
    cluster: Cluster,
    etcdctl: PathBuf,
    /// Ids that the script has captured, as etcdctl prints them.
    captured: BTreeMap<String, String>,
}

impl Session {
    pub async fn begin(cluster: Cluster, etcdctl: &Path) -> Self {
        cluster.wait_formed().await;
        Self { cluster, etcdctl: etcdctl.to_owned(), captured: BTreeMap::new() }
    }

    /// Runs a step and returns what it said, with everything replaced that must differ.
    pub async fn ask(&mut self, step: &Step) -> String {
        let roles = self.roles().await;
        let args = self.args(step, &roles);
        let begun = Instant::now();
        let ran = loop {
            let ran = tokio::task::block_in_place(|| match step.lines {
                None => run(&self.etcdctl, &args, &step.stdin, LIMIT),
                Some(lines) => watch(&self.etcdctl, &args, &step.stdin, lines),
            });
            if !ran.err().contains(NOT_YET) || begun.elapsed() > LIMIT {
                break ran;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        if let Some(name) = &step.capture {
            self.captured.insert(name.clone(), first_id(&ran.out()).unwrap_or_else(|| "none".to_owned()));
        }
        let names = self.names(&roles).await;
        normal(step, &ran, &names)
    }

    /// `check perf` or `check datascale`: how the cluster fares under etcdctl's own load.
    pub async fn check(&mut self, what: &str) -> Ran {
        let endpoints = format!("--endpoints={}", self.cluster.endpoints().join(","));
        let args = [endpoints, "check".to_owned(), what.to_owned()];
        tokio::task::block_in_place(|| run(&self.etcdctl, &args, "", CHECK_LIMIT))
    }

    /// The nodes, the leader first.
    async fn roles(&self) -> Vec<usize> {
        let leader = self.cluster.wait_leader(None).await;
        std::iter::once(leader).chain((0..self.cluster.len()).filter(|index| *index != leader)).collect()
    }

    fn args(&self, step: &Step, roles: &[usize]) -> Vec<String> {
        let url = |role: usize| self.cluster.endpoint(roles[role]);
        let endpoints = match step.at {
            At::Leader => url(0),
            At::Follower => url(1),
            At::All => [url(0), url(1), url(2)].join(","),
        };
        let fill = |word: &String| {
            let mut word = word.replace("{tmp}", &self.cluster.folder().display().to_string());
            for (role, name) in crate::normal::ROLES.iter().enumerate() {
                if word.contains(&format!("{{{name}}}")) {
                    word = word.replace(&format!("{{{name}}}"), &format!("{:x}", self.captured_id(roles[role])));
                }
            }
            for (name, id) in &self.captured {
                word = word.replace(&format!("{{{name}}}"), id);
            }
            word
        };
        std::iter::once(format!("--endpoints={endpoints}")).chain(step.words.iter().map(fill)).collect()
    }

    fn captured_id(&self, index: usize) -> u64 {
        let key = format!("member-{index}");
        self.captured.get(&key).and_then(|id| u64::from_str_radix(id, 16).ok()).unwrap_or(0)
    }

    async fn names(&mut self, roles: &[usize]) -> Names {
        let mut names = Names::default();
        names.text(&self.cluster.folder().display().to_string(), "<tmp>");
        for (role, index) in roles.iter().enumerate() {
            let alias = crate::normal::ROLES[role];
            let status = self.cluster.status(*index).await.expect("every node answers while the script runs");
            let header = status.header.unwrap_or_default();
            self.captured.insert(format!("member-{index}"), format!("{:x}", header.member_id));
            names.id(header.cluster_id, "<cluster>");
            names.id(header.member_id, &format!("<{alias}>"));
            names.word(self.cluster.name(*index), &format!("<name-{alias}>"));
            names.url(&self.cluster.endpoint(*index), &format!("<client-url-{alias}>"));
            names.url(&self.cluster.peer_url(*index), &format!("<peer-url-{alias}>"));
        }
        for (name, id) in self.captured.iter().filter(|(name, _)| !name.starts_with("member-")) {
            if let Ok(id) = u64::from_str_radix(id, 16) {
                names.id(id, &format!("<{name}>"));
            }
        }
        names
    }
}

/// The first id in an answer, in hexadecimal. JSON has them in decimal, under `ID`.
fn first_id(answer: &str) -> Option<String> {
    let json: Option<u64> =
        serde_json::from_str::<serde_json::Value>(answer).ok().and_then(|answer| answer["ID"].as_u64());
    let text = || answer.split(|c: char| !c.is_ascii_hexdigit()).find(|word| word.len() >= 10).map(str::to_owned);
    json.map(|id| format!("{id:x}")).or_else(text)
}

/// Runs a command that never ends until it has said that many lines, and a moment longer.
fn watch(program: &Path, args: &[String], stdin: &str, lines: usize) -> Ran {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("etcdctl starts");
    let mut input = child.stdin.take().expect("stdin is piped");
    std::io::Write::write_all(&mut input, stdin.as_bytes()).expect("etcdctl takes its input");
    let out = collect(child.stdout.take().expect("stdout is piped"));
    let err = collect(child.stderr.take().expect("stderr is piped"));
    let begun = Instant::now();
    let mut ended = None;
    while ended.is_none() && begun.elapsed() < WATCH_LIMIT {
        if out.lines() + err.lines() >= lines {
            std::thread::sleep(WATCH_GRACE);
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        ended = child.try_wait().expect("a child can be waited for");
    }
    // Those that ended by themselves have an exit code to compare; the others have none.
    let code = ended.or_else(|| child.try_wait().ok().flatten()).and_then(|status| status.code());
    let _may_have_ended = child.kill();
    child.wait().expect("a killed child ends");
    drop(input);
    Ran { code, stdout: out.taken(), stderr: err.taken() }
}

/// What comes out of a pipe, as it comes.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

impl Collected {
    fn lines(&self) -> usize {
        self.bytes.lock().expect("a reader does not panic").iter().filter(|byte| **byte == b'\n').count()
    }

    /// Everything. The writer has ended, so the reader soon does; unless a child of the writer's holds the pipe.
    fn taken(self) -> Vec<u8> {
        let begun = Instant::now();
        while !self.reader.is_finished() && begun.elapsed() < PIPE_LIMIT {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.bytes.lock().expect("a reader does not panic").clone()
    }
}

fn collect(mut from: impl Read + Send + 'static) -> Collected {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&bytes);
    let reader = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            into.lock().expect("nobody panics with it").extend_from_slice(&piece[..read]);
        }
    });
    Collected { bytes, reader }
}
