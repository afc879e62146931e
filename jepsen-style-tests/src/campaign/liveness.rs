//! Looks whether nodes that can hear one another come to an agreement, and soon: judged by `checker/liveness.rs`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::PutRequest;
use holdfast_proto::etcdserverpb::kv_client::KvClient;

use crate::checker::liveness::{self, Look, Violation};
use crate::workload::{Answer, ask};
use crate::world::{NodeIndex, World, among_clients};

/// In the clients' time.
pub const AGREEMENT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Not under any workload's prefix.
const PROBE: &[u8] = b"campaign/probe";

/// Waits until one of `nodes` leads, each of them has acknowledged a write, and all have the same history. The error
/// says what was missing to the last.
pub async fn wait_equal(world: &Arc<dyn World>, nodes: Vec<NodeIndex>) -> Result<Duration, Violation> {
    let begun = rt::now();
    let unasked = |node: &NodeIndex| (*node, "it was not asked yet".to_owned());
    let mut without_write: Vec<(NodeIndex, String)> = nodes.iter().map(unasked).collect();
    let mut looks: Vec<Look> = Vec::new();
    loop {
        let mut look = look(world, &nodes, &mut without_write).await;
        look.after = rt::since(begun);
        let is_over = liveness::missing(&nodes, &look).is_empty() || look.after > AGREEMENT;
        looks.push(look);
        if is_over {
            return liveness::check(&nodes, &looks, AGREEMENT);
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

async fn look(world: &Arc<dyn World>, nodes: &[NodeIndex], without_write: &mut Vec<(NodeIndex, String)>) -> Look {
    let leader = world.leader().await;
    let mut states = Vec::new();
    if leader.is_some_and(|leader| nodes.contains(&leader)) {
        // One after the other: whoever waits for the first waits as long for the next.
        while let Some((node, last)) = without_write.first_mut() {
            match write(world, *node).await {
                Ok(()) => drop(without_write.remove(0)),
                Err(why) => {
                    *last = why;
                    break;
                }
            }
        }
        if without_write.is_empty() {
            for node in nodes {
                states.push((*node, world.hash(*node).await));
            }
        }
    } else if leader.is_some() {
        // A leader whose disk hangs finds out when it has something to write. Whether this one is, comes out later.
        let _asked = write(world, nodes[0]).await;
    }
    Look { after: Duration::ZERO, leader, without_write: without_write.clone(), states }
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
