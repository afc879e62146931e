//! Clusters of real servers, one process per member.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_client::{Client, Options};

/// How long a cluster may take to serve its first request.
const START_TIMEOUT: Duration = Duration::from_secs(30);

pub struct Member {
    pub endpoint: String,
    process: Option<Child>,
}

/// Killed when dropped.
pub struct Cluster {
    pub members: Vec<Member>,
    /// The built one; of a server that was named nobody knows.
    pub is_holdfast: bool,
    _folder: tempfile::TempDir,
}

/// The server to test against, as the beginning of its command line, or none: the one that `HOLDFAST_TEST_SERVER` names
/// (a program that takes etcd's flags), the built Holdfast, an installed etcd.
fn server() -> Option<Vec<PathBuf>> {
    if let Some(named) = std::env::var_os("HOLDFAST_TEST_SERVER") {
        return Some(vec![named.into()]);
    }
    built("holdfast")
        .map(|holdfast| vec![holdfast, "serve".into()])
        .or_else(|| installed("etcd").map(|etcd| vec![etcd]))
}

/// A binary of the workspace, if it was built: target/debug/deps/live-0123 -> target/debug/holdfast
fn built(program: &str) -> Option<PathBuf> {
    let this_test = std::env::current_exe().expect("a running test has a file");
    this_test.ancestors().nth(2).map(|folder| folder.join(program)).filter(|file| file.is_file())
}

/// Where a program is, if it is installed.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

impl Cluster {
    /// Starts `size` members and waits until they serve. `None`, with a word on stderr, if there is no server to
    /// start.
    pub async fn start(size: usize) -> Option<Self> {
        let Some(server) = server() else {
            eprintln!(
                "SKIPPED: no server; run `cargo build --workspace --bins`, install etcd or set HOLDFAST_TEST_SERVER"
            );
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        // All are held until all are chosen, so that they differ.
        let held: Vec<TcpListener> = (0..size * 2).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let urls: Vec<String> =
            held.iter().map(|port| format!("http://{}", port.local_addr().expect("bound"))).collect();
        drop(held);
        let (clients, peers) = urls.split_at(size);
        let everyone: Vec<String> = peers.iter().enumerate().map(|(n, peer)| format!("m{n}={peer}")).collect();
        let everyone = everyone.join(",");
        let members = (0..size)
            .map(|n| {
                let log = std::fs::File::create(folder.path().join(format!("m{n}.out"))).expect("a log");
                let process = Command::new(&server[0])
                    .args(&server[1..])
                    .args(["--name", &format!("m{n}"), "--initial-cluster", &everyone])
                    .args(["--listen-client-urls", &clients[n], "--advertise-client-urls", &clients[n]])
                    .args(["--listen-peer-urls", &peers[n], "--initial-advertise-peer-urls", &peers[n]])
                    .arg("--data-dir")
                    .arg(folder.path().join(format!("m{n}")))
                    .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
                    .stdin(Stdio::null())
                    .stdout(log.try_clone().expect("a log"))
                    .stderr(log)
                    .spawn()
                    .expect("the server starts");
                Member { endpoint: clients[n].trim_start_matches("http://").to_owned(), process: Some(process) }
            })
            .collect();
        let cluster = Self { members, is_holdfast: server.len() > 1, _folder: folder };
        cluster.wait_until_serving().await;
        Some(cluster)
    }

    async fn wait_until_serving(&self) {
        let begun = Instant::now();
        for member in &self.members {
            let client = Client::connect([&member.endpoint], Options::default()).expect("options");
            while let Err(error) = client.get("is anybody there").await {
                assert!(begun.elapsed() < START_TIMEOUT, "{} does not serve: {error}", member.endpoint);
            }
        }
        // Each member tells the others where its clients find it, in its own time.
        let client = self.client(Options::default());
        let told = || async {
            let members = client.member_list().await.expect("a cluster that serves lists its members").members;
            members.iter().filter(|member| !member.client_ur_ls.is_empty()).count()
        };
        while told().await < self.members.len() {
            assert!(begun.elapsed() < START_TIMEOUT, "not all members are known");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.endpoint.clone()).collect()
    }

    pub fn client(&self, options: Options) -> Client {
        Client::connect(self.endpoints(), options).expect("options")
    }

    /// Index of the member that leads.
    pub async fn leader(&self, client: &Client) -> usize {
        client.find_leader().await.expect("a leader");
        let endpoint = client.leader_endpoint().expect("a leader's endpoint");
        self.members.iter().position(|member| member.endpoint == endpoint).expect("one of ours")
    }

    /// kill -9.
    pub fn kill(&mut self, member: usize) {
        let mut process = self.members[member].process.take().expect("still running");
        process.kill().expect("killed");
        process.wait().expect("reaped");
    }

    /// Stops a member in its tracks: its connections stay, and nothing answers on them.
    pub fn freeze(&self, member: usize) {
        let id = self.members[member].process.as_ref().expect("still running").id();
        let status = Command::new("sh").args(["-c", &format!("kill -s STOP {id}")]).status().expect("sh runs");
        assert!(status.success());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(mut process) = member.process.take() {
                // Also ends a frozen one. What fails here fails because the process is gone.
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}
