//! Servers to ask: a node in this process, or an etcd beside it. Each has a folder of its own and free ports.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_node::config::{Manner, Sources, settle};
use holdfast_node::io::Io;
use holdfast_node::node::Node;
use tempfile::TempDir;

use crate::web::Web;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A node of this process.
pub struct Server {
    pub node: Node,
    pub web: Web,
    _folder: TempDir,
}

pub async fn start() -> Server {
    start_with(&[]).await
}

pub async fn start_with(more: &[(&'static str, &str)]) -> Server {
    let server = start_unready(more).await;
    wait_well(&server.web, "/readyz").await;
    server
}

/// One that may never be ready.
pub async fn start_unready(more: &[(&'static str, &str)]) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data").display().to_string();
    // The first of two counts.
    let mut flags: Vec<(&'static str, String)> = more.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    flags.push(("data-dir", data_dir));
    flags.push(("listen-client-urls", "http://127.0.0.1:0".to_owned()));
    flags.push(("listen-peer-urls", format!("http://{}", free_address())));
    let sources = Sources::gather(Manner::Holdfast, &flags, &BTreeMap::new(), None).unwrap();
    let node = Node::start(settle(&sources).unwrap().settings, Io::real()).await.unwrap();
    let address = node.client_addresses()[0];
    Server { node, web: Web { address }, _folder: folder }
}

/// A real etcd, killed with the value.
pub struct Etcd {
    pub web: Web,
    child: Child,
    _folder: TempDir,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub async fn start_etcd(binary: &Path) -> Etcd {
    let folder = tempfile::tempdir().unwrap();
    let (client, peer) = (free_address(), free_address());
    let child = Command::new(binary)
        .arg(format!("--data-dir={}", folder.path().join("data").display()))
        .arg(format!("--listen-client-urls=http://{client}"))
        .arg(format!("--advertise-client-urls=http://{client}"))
        .arg(format!("--listen-peer-urls=http://{peer}"))
        .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
        .arg(format!("--initial-cluster=default=http://{peer}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let etcd = Etcd { web: Web { address: client }, child, _folder: folder };
    wait_well(&etcd.web, "/health").await;
    etcd
}

pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub async fn wait_well(web: &Web, probe: &str) {
    let begun = Instant::now();
    loop {
        if web.try_ask("GET", probe, &[], "").await.is_some_and(|answer| answer.status == 200) {
            return;
        }
        assert!(begun.elapsed() < START_LIMIT, "the server at {} is not well", web.address);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
