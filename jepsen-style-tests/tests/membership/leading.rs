//! Leadership is handed to those who can take it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use holdfast_jepsen::world::process::{Cluster, NodeIndex, PATIENCE, Shape, until};
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::watch_client::WatchClient;
use holdfast_proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_proto::etcdserverpb::{WatchCreateRequest, WatchRequest};
use holdfast_proto::health::HealthCheckRequest;
use holdfast_proto::health::health_check_response::ServingStatus;
use holdfast_proto::health::health_client::HealthClient;

/// A segment is 64 MiB, most of it zeros. What the story wrote lies right behind 1 MiB of identifiers.
const WRITTEN_BYTES_MAX: u64 = 2 << 20;

/// Turns a bit of a value that was written, wherever it lies in the node's log.
fn rot(wal: &Path, value: &[u8]) {
    for entry in std::fs::read_dir(wal).expect("a log directory").flatten() {
        let file = File::options().read(true).write(true).open(entry.path()).expect("a file of the log");
        let mut bytes = Vec::new();
        (&file).take(WRITTEN_BYTES_MAX).read_to_end(&mut bytes).expect("the file can be read");
        if let Some(at) = bytes.windows(value.len()).position(|window| window == value) {
            return file.write_all_at(&[bytes[at] ^ 1], at as u64).expect("the file can be written");
        }
    }
    panic!("the value is in no file of the log");
}

async fn with_a_rotten_member() -> (Cluster, NodeIndex) {
    let mut cluster = Cluster::start(&Shape::holdfast(3)).await;
    let client = cluster.client();
    for number in 0..20 {
        client.put(format!("key/{number:02}"), format!("precious-{number:02}")).await.expect("a write");
    }
    cluster.wait_equal_hashes().await;
    let leader = cluster.wait_leader(None).await;
    let rotten = (leader + 1) % 3;
    cluster.kill9(rotten);
    rot(&cluster.data_dir(rotten).join("wal"), b"precious-10");
    cluster.spawn(rotten);
    cluster.wait_said(rotten, "rotten entries").await;
    client.put("later", "x").await.expect("a write");
    (cluster, rotten)
}

/// How a node says that it hands leadership over.
fn hands_over_to(id: u64) -> String {
    format!(r#""leadership is handed over","to":"{id:x}""#)
}

/// On a machine that is short of time the two sound members may elect each other at any moment, so who leads is asked
/// for before each step.
pub async fn not_to_a_rotten_log() {
    let (mut cluster, rotten) = with_a_rotten_member().await;
    let id = cluster.member_id(rotten).await;
    let refused = cluster.client().move_leader(id).await.expect_err("a member that cannot lead").to_string();
    assert!(refused.contains("bad leader transferee"), "{refused}");

    let leader = cluster.wait_leader(None).await;
    let other = (0..3).find(|node| ![leader, rotten].contains(node)).expect("a third");
    cluster.move_leader(other).await;
    let (other_id, said) = (cluster.member_id(other).await, cluster.said(leader) + &cluster.said(other));
    assert!(said.contains(&hands_over_to(other_id)), "{said}");

    let leader = cluster.wait_leader(None).await;
    assert_ne!(leader, rotten);
    cluster.terminate(leader).await;
    assert!(!cluster.said(leader).contains(&hands_over_to(id)), "{}", cluster.said(leader));
    assert_ne!(cluster.wait_leader(Some(leader)).await, rotten);
    cluster.client().put("still", "x").await.expect("a quorum of the two that are left");
}

/// A watch of a client that wants to be sent away when there is no leader.
fn demanding_watch() -> tonic::Request<impl futures::Stream<Item = WatchRequest> + Send + 'static> {
    let create = RequestUnion::CreateRequest(WatchCreateRequest { key: "x".into(), ..WatchCreateRequest::default() });
    let once = futures::stream::iter([WatchRequest { request_union: Some(create) }]);
    let mut request = tonic::Request::new(once.chain(futures::stream::pending()));
    request.metadata_mut().insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
    request
}

async fn says(channel: &rt::Channel) -> Result<ServingStatus, String> {
    let asked = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    asked.map(|answer| answer.into_inner().status()).map_err(|status| status.to_string())
}

/// A leader that no quorum answers cannot tell whether it was replaced: clients are sent to others, as by etcd.
pub async fn without_a_quorum() {
    let mut cluster = Cluster::start(&Shape::holdfast(3)).await;
    let leader = cluster.wait_leader(None).await;
    let channel = rt::connect(&cluster.endpoint(leader), &rt::PeerTls::default()).expect("a well-formed URL");
    let saying = |wanted| {
        let channel = &channel;
        until(PATIENCE, "the leader's word about its health", move || async move {
            let said = says(channel).await;
            if said == Ok(wanted) { Ok(()) } else { Err(format!("{said:?}, not {wanted:?}")) }
        })
    };
    saying(ServingStatus::Serving).await;
    let watch = WatchClient::new(channel.clone()).watch(demanding_watch()).await.expect("a leader is there");
    let mut watch = watch.into_inner();
    assert!(watch.next().await.expect("an answer").expect("the watch is created").created);

    let others: Vec<NodeIndex> = (0..3).filter(|node| *node != leader).collect();
    others.iter().for_each(|node| cluster.pause(*node));
    saying(ServingStatus::NotServing).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("the watch is ended");
    let status = ended.expect("a reason").expect_err("no event");
    assert_eq!(status.message(), "etcdserver: no leader");
    let refused = WatchClient::new(channel.clone()).watch(demanding_watch()).await.expect_err("there is no leader");
    assert_eq!(refused.message(), "etcdserver: no leader");

    others.iter().for_each(|node| cluster.resume(*node));
    saying(ServingStatus::Serving).await;
}
