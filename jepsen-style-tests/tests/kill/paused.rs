//! A leader that stands still for a while and does not know that it was replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use holdfast_client::{Client, Compare, Get, Options, Put};
use holdfast_jepsen::world::process::{Cluster, NodeIndex, PATIENCE, Shape, until};

const KEY: &str = "counter";
const READS_AT_ONCE: usize = 50;
/// Writes that the others acknowledge while the leader stands still.
const WRITES_MEANWHILE: u64 = 20;
/// Long enough to outlast the pause.
const READ_PATIENCE: Duration = Duration::from_secs(20);

/// A key whose value only grows: each write replaces exactly the version that its writer has seen, so that a write of
/// unknown fate cannot come late and take it back.
struct Counter {
    /// The largest acknowledged value.
    acked: AtomicU64,
    stop: AtomicBool,
}

impl Counter {
    async fn write(self: Arc<Self>, client: Client) {
        let mut next = 1u64;
        let mut seen = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let put = Put::new(KEY, next.to_string());
            let txn = client.txn().when(Compare::mod_revision(KEY).equal(seen)).then(put).otherwise(Get::new(KEY));
            match txn.await {
                Ok(answer) if answer.succeeded => {
                    seen = answer.header.unwrap_or_default().revision;
                    self.acked.fetch_max(next, Ordering::SeqCst);
                }
                // Failed or refused: look, and go on from there.
                _ => {
                    if let Ok(answer) = client.get(KEY).await {
                        seen = answer.kvs.first().map_or(0, |kv| kv.mod_revision);
                    }
                }
            }
            next += 1;
        }
    }

    fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    async fn grow(&self, by: u64) {
        let target = self.acked() + by;
        until(PATIENCE, "progress of the counter", || async {
            let acked = self.acked();
            if acked >= target { Ok(()) } else { Err(format!("it is at {acked}, not {target}")) }
        })
        .await;
    }
}

/// What a read returned, if anything, and the least it had to.
struct Read {
    floor: u64,
    value: Option<u64>,
}

impl Read {
    async fn linearizable(counter: &Counter, client: &Client) -> Self {
        let floor = counter.acked();
        Self { floor, value: number(client.get(KEY).await) }
    }

    async fn serializable(counter: &Counter, client: &Client) -> Self {
        let floor = counter.acked();
        Self { floor, value: number(client.get(KEY).serializable().await) }
    }

    fn is_stale(&self) -> bool {
        self.value.is_some_and(|value| value < self.floor)
    }
}

fn number(answer: Result<holdfast_client::proto::etcdserverpb::RangeResponse, holdfast_client::Error>) -> Option<u64> {
    let answer = answer.ok()?;
    Some(answer.kvs.first().map_or(0, |kv| String::from_utf8_lossy(&kv.value).parse().expect("a counter is a number")))
}

/// Reads one node without pause and returns how many answers came.
async fn read_on(counter: Arc<Counter>, client: Client, node: NodeIndex) -> usize {
    let mut answers = 0;
    while !counter.stop.load(Ordering::Relaxed) {
        let read = Read::linearizable(&counter, &client).await;
        assert!(!read.is_stale(), "node {} answered {:?} after {} was acknowledged", node + 1, read.value, read.floor);
        answers += usize::from(read.value.is_some());
        if read.value.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    answers
}

/// Reads that wait at the paused node, and are the first thing it sees when it comes to.
async fn reads_waiting_at(cluster: &mut Cluster, node: NodeIndex, counter: &Counter) -> (usize, usize) {
    let client = cluster.client_of(node, READ_PATIENCE);
    let (fresh, old) = (
        join_all((0..READS_AT_ONCE).map(|_| Read::linearizable(counter, &client))),
        join_all((0..READS_AT_ONCE).map(|_| Read::serializable(counter, &client))),
    );
    let resume = async {
        // The requests are on their way as soon as the tasks wait; nothing tells when the kernel has them all.
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.resume(node);
    };
    let (fresh, old, ()) = tokio::join!(fresh, old, resume);
    for read in &fresh {
        assert!(!read.is_stale(), "the paused leader answered {:?} after {} was acknowledged", read.value, read.floor);
    }
    let stale = old.iter().filter(|read| read.is_stale()).count();
    (fresh.iter().filter(|read| read.value.is_some()).count(), stale)
}

/// No linearizable read goes back behind an acknowledged write; that serializable ones do shows that the test can tell.
pub async fn no_stale_read(rounds: usize) {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let counter = Arc::new(Counter { acked: AtomicU64::new(0), stop: AtomicBool::new(false) });
    let impatient = Options {
        request_timeout: Duration::from_secs(1),
        read_attempt_timeout: Duration::from_millis(500),
        ..Options::default()
    };
    let client = Client::connect(cluster.endpoints(), impatient).expect("endpoints are well-formed");
    let writer = tokio::spawn(Arc::clone(&counter).write(client));
    let readers: Vec<_> = (0..cluster.len())
        .map(|node| tokio::spawn(read_on(Arc::clone(&counter), cluster.client_of(node, READ_PATIENCE), node)))
        .collect();
    let (mut answered, mut stale) = (0, 0);
    for _ in 0..rounds {
        counter.grow(WRITES_MEANWHILE).await;
        let leader = cluster.wait_leader(None).await;
        cluster.pause(leader);
        counter.grow(WRITES_MEANWHILE).await;
        let (fresh, old) = reads_waiting_at(&mut cluster, leader, &counter).await;
        answered += fresh;
        stale += old;
        cluster.wait_caught_up(leader).await;
    }
    counter.grow(WRITES_MEANWHILE).await;
    counter.stop.store(true, Ordering::Relaxed);
    tokio::time::timeout(PATIENCE, writer).await.expect("the writer hangs").expect("the writer does not panic");
    let reads = tokio::time::timeout(PATIENCE, join_all(readers)).await.expect("a reader hangs");
    let reads: Vec<usize> = reads.into_iter().map(|reads| reads.expect("a reader found a stale read")).collect();
    cluster.wait_equal_hashes().await;
    println!(
        "leader stopped and continued: {rounds} rounds, {} acknowledged, reads answered by node {reads:?}, none stale; \
         {answered} of {} that waited at the stopped leader answered; serializable reads beside them: {stale} stale",
        counter.acked(),
        rounds * READS_AT_ONCE,
    );
    assert!(reads.iter().all(|reads| *reads > 0), "a node answered no read at all");
    assert!(stale > 0, "not even the serializable reads were stale: the test proves nothing");
}
