//! Whether nodes that can hear one another come to an agreement, and soon.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::PutRequest;
use holdfast_proto::etcdserverpb::kv_client::KvClient;

use crate::workload::{Answer, ask};
use crate::world::{NodeIndex, StateHash, World, among_clients};

/// In the clients' time.
pub const AGREEMENT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Not under any workload's prefix.
const PROBE: &[u8] = b"campaign/probe";

/// Waits until one of `nodes` leads, each of them has acknowledged a write, and all have the same history. The error
/// says what was missing to the last.
pub async fn wait_equal(world: &Arc<dyn World>, nodes: Vec<NodeIndex>) -> Result<Duration, String> {
    let begun = rt::now();
    let mut without_write = nodes.clone();
    let mut missing;
    loop {
        missing = look(world, &nodes, &mut without_write).await;
        if missing.is_empty() {
            return Ok(rt::since(begun));
        }
        if rt::since(begun) > AGREEMENT {
            return Err(format!("after {AGREEMENT:?} {missing}"));
        }
        rt::sleep(LOOK_EVERY).await;
    }
}

/// Waits until every member votes: a change of members that faults interrupted is finished when they are over.
pub async fn wait_settled(world: &Arc<dyn World>) -> Result<(), String> {
    let begun = rt::now();
    while !world.is_settled().await {
        if rt::since(begun) > AGREEMENT {
            return Err(format!("{AGREEMENT:?} after all was healed not every member votes"));
        }
        rt::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// What is still missing; nothing, if all is well.
async fn look(world: &Arc<dyn World>, nodes: &[NodeIndex], without_write: &mut Vec<NodeIndex>) -> String {
    match world.leader().await {
        None => return "nobody leads".to_owned(),
        Some(leader) if !nodes.contains(&leader) => {
            // A leader whose disk hangs finds out when it has something to write. Whether this one is, comes out later.
            let _asked = write(world, nodes[0]).await;
            return format!("n{} leads, which is not one of them", leader + 1);
        }
        Some(_) => {}
    }
    for node in std::mem::take(without_write) {
        if let Err(why) = write(world, node).await {
            without_write.push(node);
            return format!("n{} does not take a write: {why}", node + 1);
        }
    }
    let mut hashes: Vec<StateHash> = Vec::with_capacity(nodes.len());
    for node in nodes {
        match world.hash(*node).await {
            Ok(hash) => hashes.push(hash),
            Err(why) => return format!("n{} has no hash: {why}", node + 1),
        }
    }
    if hashes.iter().all(|hash| *hash == hashes[0]) { String::new() } else { format!("hashes differ: {hashes:?}") }
}

async fn write(world: &Arc<dyn World>, node: NodeIndex) -> Result<(), String> {
    let channel = world.channel(node);
    among_clients(world, async move {
        let put = PutRequest { key: Bytes::from_static(PROBE), ..PutRequest::default() };
        match ask(KvClient::new(channel).put(put)).await {
            Answer::Ok(_) => Ok(()),
            Answer::Failed(why) | Answer::Unknown(why) | Answer::Strange(why) => Err(why),
        }
    })
    .await
}
