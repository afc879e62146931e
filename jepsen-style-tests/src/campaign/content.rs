//! The content of the store in the end, as each member has it, against what clients were promised.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::RangeRequest;
use holdfast_proto::etcdserverpb::kv_client::KvClient;

use crate::checker::durability::{Kept, Promises};
use crate::workload::{Answer, ask};
use crate::world::{NodeIndex, World, among_clients};

const PAGE_KEYS: i64 = 500;
/// Promises that are looked up at their own revision, spread over the whole run.
const LOOKED_UP: usize = 100;
const ATTEMPTS: usize = 20;
const COMPACTED: &str = "compacted";

/// How many promises there were, and what was lost of them.
pub async fn check(world: &Arc<dyn World>, nodes: Vec<NodeIndex>, promises: Promises) -> (usize, Vec<String>) {
    let channels: Vec<(NodeIndex, rt::Channel)> = nodes.into_iter().map(|node| (node, world.channel(node))).collect();
    among_clients(world, async move {
        let (mut lost, mut shown) = (Vec::new(), Vec::new());
        for (node, channel) in &channels {
            let name = format!("n{}", node + 1);
            match content(channel).await {
                Ok(content) => {
                    lost.extend(promises.check(&content).iter().map(|lost| format!("on {name}: {lost}")));
                    shown.push((*node, channel));
                }
                Err(why) => lost.push(format!("{name} does not show its content: {why}")),
            }
        }
        let step = promises.len().div_ceil(LOOKED_UP).max(1);
        // Of those that show nothing, a hundred more questions would only take time.
        for (at, (key, revision, value)) in promises.each().step_by(step).enumerate().filter(|_| !shown.is_empty()) {
            let (node, channel) = shown[at % shown.len()];
            if let Err(what) = look_up(channel, key, revision, value).await {
                lost.push(format!("on n{}: {what}", node + 1));
            }
        }
        (promises.len(), lost)
    })
    .await
}

/// Everything that the node itself has: the cluster is at rest.
async fn content(channel: &rt::Channel) -> Result<BTreeMap<String, Kept>, String> {
    let mut content = BTreeMap::new();
    let mut from = Bytes::from_static(b"\0");
    loop {
        let request = RangeRequest {
            key: from.clone(),
            range_end: Bytes::from_static(b"\0"),
            limit: PAGE_KEYS,
            serializable: true,
            ..RangeRequest::default()
        };
        let page = patiently(channel, request).await?;
        for kv in &page.kvs {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            // What is no number belongs to a workload that judges its content itself.
            if let Ok(value) = text(&kv.value).parse() {
                content.insert(text(&kv.key), Kept { value, modified: kv.mod_revision });
            }
        }
        let Some(last) = page.kvs.last().filter(|_| page.more) else { return Ok(content) };
        from = last.key.iter().copied().chain([0]).collect();
    }
}

async fn look_up(channel: &rt::Channel, key: &str, revision: i64, value: u64) -> Result<(), String> {
    let request = RangeRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        revision,
        serializable: true,
        ..RangeRequest::default()
    };
    match patiently(channel, request).await {
        Ok(answer) => match answer.kvs.first() {
            Some(kv) if kv.value == value.to_string() && kv.mod_revision == revision => Ok(()),
            other => Err(format!("{key} = {value} was acknowledged at {revision}; there, there is {other:?}")),
        },
        Err(why) if why.contains(COMPACTED) => Ok(()),
        Err(why) => Err(format!("{key} at {revision} cannot be read: {why}")),
    }
}

async fn patiently(
    channel: &rt::Channel,
    request: RangeRequest,
) -> Result<holdfast_proto::etcdserverpb::RangeResponse, String> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        match ask(KvClient::new(channel.clone()).range(request.clone())).await {
            Answer::Ok(answer) => return Ok(answer),
            Answer::Failed(why) if why.contains(COMPACTED) => return Err(why),
            Answer::Failed(why) | Answer::Unknown(why) | Answer::Strange(why) => last = why,
        }
        rt::sleep(Duration::from_millis(200)).await;
    }
    Err(last)
}
