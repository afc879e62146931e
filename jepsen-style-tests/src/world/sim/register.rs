//! A register that several clients change under one lock, in the way every user of locks does: take the lock, read,
//! think, write. Some think for longer than their lease lasts.
//!
//! Each client adds a mark of its own to what it read. A mark whose write was acknowledged, and which is not there in
//! the end, is a lost update. With guarded writes there must be none, whatever happens to nodes, links and clocks.
//! Without the guard there are, which shows that the story can tell.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_node::env::CrashPolicy;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::lease_client::LeaseClient;
use holdfast_proto::etcdserverpb::{LeaseGrantRequest, PutRequest, RangeRequest};
use holdfast_proto::v1::guard::Held;
use holdfast_proto::v1::guarded_kv_client::GuardedKvClient;
use holdfast_proto::v1::{Guard, GuardedPutRequest};
use holdfast_proto::v3lockpb::lock_client::LockClient;
use holdfast_proto::v3lockpb::{LockRequest, UnlockRequest};
use parking_lot::Mutex;
use tonic::{Code, Status};

use super::{Cluster, ClusterOptions, Trace};

const CLIENTS: usize = 4;
const BLOWS: usize = 12;
const REGISTER: &[u8] = b"register";
const LOCK: &[u8] = b"lock";
/// Seconds; the shortest that a server grants. Nobody renews it.
const TTL_S: i64 = 2;
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether writes carry the fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    Guarded,
    Plain,
}

/// What became of the writes.
#[derive(Clone, Debug, Default)]
pub struct Score {
    pub acknowledged: Vec<String>,
    /// Refused because the lock had moved on.
    pub fenced: usize,
    /// Nobody knows.
    pub uncertain: usize,
    /// Acknowledged and not there in the end.
    pub lost: Vec<String>,
}

fn below(limit: u64) -> u64 {
    rt::random_u64() % limit
}

fn between_ms(least: u64, most: u64) -> Duration {
    Duration::from_millis(least + below(most - least + 1))
}

fn anywhere() -> rt::Channel {
    Cluster::channel(usize::try_from(below(3)).expect("small"))
}

/// Runs the story; the score is complete when it has ended.
pub async fn register_under_lock(trace: Trace, writes: Writes, score: Arc<Mutex<Score>>) {
    let cluster = Cluster::start(&ClusterOptions::default(), trace.clone());
    cluster.wait_leader(None).await;
    let is_over = Arc::new(Mutex::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (score, is_over) = (Arc::clone(&score), Arc::clone(&is_over));
            cluster.client().spawn(async move {
                for round in 0.. {
                    if *is_over.lock() {
                        return;
                    }
                    // A round that comes to nothing is followed by the next one.
                    let _given_up = change(writes, format!("{client}.{round}"), &score).await;
                    madsim::time::sleep(between_ms(1, 50)).await;
                }
            })
        })
        .collect();
    for _ in 0..BLOWS {
        madsim::time::sleep(between_ms(500, 2500)).await;
        strike(&cluster, &trace).await;
    }
    *is_over.lock() = true;
    for client in clients {
        client.await.expect("a client has not panicked");
    }
    let (revision, hash) = cluster.converge().await;
    trace.say(format!("all nodes are at revision {revision} with hash {hash:08x}"));
    judge(&cluster, &score).await;
    let score = score.lock();
    let Score { acknowledged, fenced, uncertain, lost } = &*score;
    let count = acknowledged.len();
    trace.say(format!("{count} acknowledged, {fenced} fenced, {uncertain} uncertain, {} lost: {lost:?}", lost.len()));
}

/// One blow, and the recovery from it.
async fn strike(cluster: &Cluster, trace: &Trace) {
    let target = match cluster.leader() {
        Some(leader) if below(3) > 0 => leader,
        _ => usize::try_from(below(3)).expect("small"),
    };
    let id = cluster.machine_id(target);
    match below(5) {
        0 => {
            cluster.crash(target, CrashPolicy::KeepPrefix);
            madsim::time::sleep(between_ms(500, 2000)).await;
            cluster.restart(target);
        }
        1 => {
            cluster.isolate(target);
            madsim::time::sleep(between_ms(500, 3000)).await;
            cluster.reconnect(target);
        }
        2 => {
            cluster.pause(target);
            madsim::time::sleep(between_ms(500, 4000)).await;
            cluster.resume(target);
        }
        3 => {
            let ms = i64::try_from(below(120_001)).expect("small") - 60_000;
            trace.say(format!("the wall clock of n{} jumps by {ms} ms", target + 1));
            rt::nemesis::bump_wall(id, ms);
        }
        _ => {
            let ppm = 900_000 + below(200_001);
            trace.say(format!("the clock of n{} runs at {ppm} ppm", target + 1));
            rt::nemesis::set_clock_rate(id, ppm);
        }
    }
}

async fn patiently<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    rt::timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("the client gave up")))
}

/// Take the lock, read, think, write, unlock.
async fn change(writes: Writes, mark: String, score: &Mutex<Score>) -> Result<(), Status> {
    let grant = LeaseGrantRequest { ttl: TTL_S, id: 0 };
    let lease = patiently(LeaseClient::new(anywhere()).lease_grant(grant)).await?.into_inner().id;
    let request = LockRequest { name: LOCK.into(), lease };
    let locked = rt::timeout(PATIENCE * 5, LockClient::new(anywhere()).lock(request)).await;
    let locked = locked.unwrap_or_else(|_| Err(Status::deadline_exceeded("the client gave up")))?;
    let token = locked.metadata().get("holdfast-fencing-token").expect("a lock comes with a token");
    let token = token.to_str().expect("digits").parse().expect("a number");
    let key = locked.into_inner().key;

    let content = read(REGISTER).await?;
    let is_slow = below(3) == 0;
    madsim::time::sleep(if is_slow { between_ms(2000, 7000) } else { between_ms(1, 100) }).await;
    let value = if content.is_empty() { mark.clone() } else { format!("{content},{mark}") };
    let put = PutRequest { key: REGISTER.into(), value: value.into(), ..PutRequest::default() };
    let written = match writes {
        Writes::Guarded => {
            let guard = Some(Guard { held: Some(Held::Key(key.clone())), token });
            patiently(GuardedKvClient::new(anywhere()).put(GuardedPutRequest { guard, put: Some(put) })).await
        }
        Writes::Plain => {
            let index = usize::try_from(below(3)).expect("small");
            patiently(Cluster::kv(index).put(put)).await
        }
    };
    match &written {
        Ok(_) => score.lock().acknowledged.push(mark),
        Err(status) if status.code() == Code::FailedPrecondition => score.lock().fenced += 1,
        Err(_) => score.lock().uncertain += 1,
    }
    patiently(LockClient::new(anywhere()).unlock(UnlockRequest { key })).await.map(drop)
}

/// Reads a key, linearizably.
async fn read(key: &[u8]) -> Result<String, Status> {
    let request = RangeRequest { key: Bytes::copy_from_slice(key), ..RangeRequest::default() };
    let index = usize::try_from(below(3)).expect("small");
    let answer = patiently(Cluster::kv(index).range(request)).await?.into_inner();
    let value = answer.kvs.into_iter().next().map(|kv| kv.value.to_vec()).unwrap_or_default();
    Ok(String::from_utf8(value).expect("marks are text"))
}

/// Compares what was acknowledged with what is there.
async fn judge(cluster: &Cluster, score: &Mutex<Score>) {
    let content = loop {
        let read = cluster.client().spawn(async { read(REGISTER).await });
        if let Ok(Ok(content)) = read.await {
            break content;
        }
    };
    let mut marks: Vec<&str> = content.split(',').collect();
    let count = marks.len();
    marks.sort_unstable();
    marks.dedup();
    assert_eq!(marks.len(), count, "a mark was written twice: {content}");
    let mut score = score.lock();
    let is_lost = |mark: &&String| !marks.contains(&mark.as_str());
    score.lost = score.acknowledged.iter().filter(is_lost).cloned().collect();
}
