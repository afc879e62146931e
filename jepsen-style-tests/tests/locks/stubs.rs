//! The generated clients of one node, as a client in another language has them.

use std::time::Duration;

use holdfast_client::proto::etcdserverpb::kv_client::KvClient;
use holdfast_client::proto::v1::guarded_kv_client::GuardedKvClient;
use holdfast_client::proto::v3electionpb::election_client::ElectionClient;
use holdfast_client::proto::v3lockpb::lock_client::LockClient;
use holdfast_client::proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest};
use holdfast_client::{Channel, Client, Connector as _, Options, TcpConnector};
use holdfast_jepsen::world::process::{Cluster, NodeIndex, PATIENCE, Server, until};
use tonic::{Code, Response, Status};

pub const LONG_TTL_S: i64 = 600;
/// The shortest that a server grants.
pub const SHORT_TTL_S: i64 = 2;

/// One connection to one node.
#[derive(Clone)]
pub struct Stubs {
    channel: Channel,
}

impl Stubs {
    pub async fn of(cluster: &Cluster, index: NodeIndex) -> Self {
        let connector = TcpConnector::new(Options::default());
        Self { channel: connector.connect(&cluster.endpoint(index)).await.expect("the node takes connections") }
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub fn lock(&self) -> LockClient<Channel> {
        LockClient::new(self.channel.clone())
    }

    pub fn election(&self) -> ElectionClient<Channel> {
        ElectionClient::new(self.channel.clone())
    }

    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
    }

    pub fn guarded_kv(&self) -> GuardedKvClient<Channel> {
        GuardedKvClient::new(self.channel.clone())
    }

    pub async fn acquire(&self, name: &str, lease: i64) -> Result<Response<LockResponse>, Status> {
        self.lock().lock(LockRequest { name: name.to_owned().into(), lease }).await
    }

    pub async fn release(&self, key: &[u8]) -> Result<(), Status> {
        self.lock().unlock(UnlockRequest { key: key.to_vec().into() }).await.map(drop)
    }
}

pub async fn lease(client: &Client, ttl_s: i64) -> i64 {
    client.lease_grant(ttl_s).await.expect("a lease is granted").id
}

/// The create revision of a key, which is its fencing token.
pub async fn created(client: &Client, key: &[u8]) -> i64 {
    client.get(key).await.expect("the key can be read").kvs[0].create_revision
}

/// Waits until a queue has that many keys.
pub async fn queue_of(client: &Client, name: &str, length: i64) {
    let prefix = format!("{name}/");
    until(PATIENCE, &format!("a queue of {length}"), || async {
        let count = client.get(prefix.as_str()).prefix().count_only().await.map_err(|error| error.to_string())?.count;
        if count == length { Ok(()) } else { Err(format!("{count} keys")) }
    })
    .await;
}

/// What is still pending after a while is taken to wait.
pub const A_WHILE: Duration = Duration::from_millis(300);

/// The code with which a refusal of KV comes through the recipes. etcd's lose it on the way, and keep the text.
pub fn code_through_recipe(cluster: &Cluster, code: Code) -> Code {
    if is_holdfast(cluster) { code } else { Code::Unknown }
}

pub fn is_holdfast(cluster: &Cluster) -> bool {
    cluster.server() == Server::Holdfast
}
