//! Writers that never stop, and how long the cluster left them without an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use holdfast_client::{Client, Fate};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::cluster::Cluster;
use super::ledger::{KeyStory, Ledger, Write};
use super::wait::PATIENCE;

/// Versions that one key gets before its writer takes another key.
const VERSIONS_PER_KEY: usize = 200;
/// As long as a client waits by default.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// While there is an outage.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// After a write that certainly did not happen.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);

/// Which nodes a writer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of them: it goes where the leader is.
    All,
    /// One, each writer the next: what reaches a follower is handed on.
    One,
}

/// How a disturbance looked to the writers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disturbance {
    /// The longest time in which no write was acknowledged to anybody.
    pub silence: Duration,
    /// The longest time that one write took.
    pub slowest: Duration,
}

/// Clients that write, each to keys of its own, one write at a time.
pub struct Load {
    stop: Arc<AtomicBool>,
    /// A client of its own for the probes of an outage.
    prober: Client,
    outages: Arc<Outages>,
    writers: Vec<JoinHandle<Ledger>>,
}

impl Load {
    /// Starts that many clients. Keys begin with `prefix`; values are filled up to `value_bytes`.
    pub fn start(cluster: &Cluster, prefix: &str, writers: usize, value_bytes: usize) -> Self {
        Self::start_reaching(cluster, Reach::All, prefix, writers, value_bytes)
    }

    /// The same with clients that know all nodes or one.
    pub fn start_reaching(cluster: &Cluster, reach: Reach, prefix: &str, writers: usize, value_bytes: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let outages = Arc::new(Outages::default());
        let writers = (0..writers).map(|number| {
            let writer = Writer {
                client: match reach {
                    Reach::All => cluster.client(),
                    Reach::One => cluster.client_of(number % cluster.len(), REQUEST_PATIENCE),
                },
                prefix: format!("{prefix}{number}/"),
                value_bytes,
                stop: Arc::clone(&stop),
                outages: Arc::clone(&outages),
            };
            tokio::spawn(writer.run())
        });
        Self { writers: writers.collect(), prober: cluster.client(), stop, outages }
    }

    /// Does something to the cluster, and tells how long it took from then until a write was acknowledged that was sent
    /// after it.
    ///
    /// A writer that waits for an answer that never comes would hide that the cluster is back: while the outage lasts,
    /// another write is sent every [`PROBE_EVERY`], to a key that does not count.
    ///
    /// # Panics
    /// If no write is acknowledged within [`PATIENCE`].
    pub async fn outage(&self, act: impl FnOnce()) -> Duration {
        let begun = Instant::now();
        act();
        let done = Instant::now();
        let acknowledged = tokio::select! {
            biased;
            at = self.outages.first_acknowledged(done) => at,
            at = self.probe() => at,
            () = tokio::time::sleep(PATIENCE) => {
                panic!("no write is acknowledged for {PATIENCE:?}; the last failure: {}", self.last_failure())
            }
        };
        acknowledged - begun
    }

    async fn probe(&self) -> Instant {
        let mut under_way = JoinSet::new();
        let mut clock = tokio::time::interval(PROBE_EVERY);
        loop {
            tokio::select! {
                biased;
                Some(Ok(Some(at))) = under_way.join_next() => return at,
                _ = clock.tick() => {
                    let put = self.prober.put("probe", "");
                    under_way.spawn(async move { put.await.ok().map(|_| Instant::now()) });
                }
            }
        }
    }

    /// Forgets what [`Self::disturbance`] has seen, and looks anew from now on.
    pub fn look_anew(&self) {
        let mut state = self.outages.state.lock();
        state.seen = Disturbance::default();
        state.looked = Some(Instant::now());
    }

    /// How the writers fared since [`Self::look_anew`].
    pub fn disturbance(&self) -> Disturbance {
        self.outages.state.lock().seen
    }

    /// Waits until that many more writes are acknowledged.
    pub async fn more(&self, writes: u64) {
        let target = self.outages.state.lock().acknowledged + writes;
        let done = self.outages.wait(|state| (state.acknowledged >= target).then_some(()));
        if tokio::time::timeout(PATIENCE, done).await.is_err() {
            let failure = self.last_failure();
            panic!("after {PATIENCE:?} {writes} more writes are not acknowledged; the last failure: {failure}");
        }
    }

    pub fn acknowledged(&self) -> u64 {
        self.outages.state.lock().acknowledged
    }

    pub fn last_failure(&self) -> String {
        self.outages.state.lock().last_failure.clone().unwrap_or_else(|| "none".to_owned())
    }

    /// Ends the writers and returns what they know.
    pub async fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let ended = tokio::time::timeout(PATIENCE, join_all(self.writers)).await.expect("a writer hangs");
        let mut all = Ledger::default();
        ended.into_iter().for_each(|ledger| all.absorb(ledger.expect("a writer does not panic")));
        all
    }
}

/// When writes are acknowledged.
#[derive(Debug, Default)]
pub struct Outages {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    acknowledged: u64,
    /// The latest acknowledged write, by the time it was sent.
    newest: Option<Acknowledged>,
    last_failure: Option<String>,
    seen: Disturbance,
    /// When a write was acknowledged last, or when the look began.
    looked: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    sent: Instant,
    at: Instant,
}

impl Outages {
    fn acknowledge(&self, sent: Instant) {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.acknowledged += 1;
        let silence = state.looked.replace(now).map_or(Duration::ZERO, |before| now - before);
        state.seen.silence = state.seen.silence.max(silence);
        state.seen.slowest = state.seen.slowest.max(now - sent);
        if state.newest.is_none_or(|newest| newest.sent < sent) {
            state.newest = Some(Acknowledged { sent, at: now });
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn fail(&self, why: String) {
        self.state.lock().last_failure = Some(why);
    }

    async fn first_acknowledged(&self, sent_after: Instant) -> Instant {
        self.wait(|state| state.newest.filter(|newest| newest.sent > sent_after).map(|newest| newest.at)).await
    }

    async fn wait<T>(&self, answer: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(answer) = answer(&self.state.lock()) {
                return answer;
            }
            changed.await;
        }
    }
}

struct Writer {
    client: Client,
    prefix: String,
    value_bytes: usize,
    stop: Arc<AtomicBool>,
    outages: Arc<Outages>,
}

impl Writer {
    async fn run(self) -> Ledger {
        let mut ledger = Ledger::default();
        while !self.stop.load(Ordering::Relaxed) {
            let key = format!("{}{:06}", self.prefix, ledger.keys.len());
            let story = self.write_key(key, &mut ledger.failed).await;
            ledger.keys.push(story);
        }
        ledger
    }

    /// Writes one key again and again. A write whose fate nobody knows may take effect much later: the key is left
    /// alone from then on, so that it can be told what must be there.
    async fn write_key(&self, key: String, failed: &mut u64) -> KeyStory {
        let mut story = KeyStory { key, ..KeyStory::default() };
        let mut number = 0u64;
        while story.acked.len() < VERSIONS_PER_KEY && !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let value = format!("{number:<width$}", width = self.value_bytes);
            let sent = Instant::now();
            match self.client.put(story.key.as_str(), value.as_str()).await {
                Ok(answer) => {
                    self.outages.acknowledge(sent);
                    let revision = answer.header.unwrap_or_default().revision;
                    story.acked.push(Write { number, revision });
                }
                Err(error) if error.fate() == Fate::Unknown => {
                    self.outages.fail(error.to_string());
                    story.unknown = Some(number);
                    return story;
                }
                Err(error) => {
                    self.outages.fail(error.to_string());
                    *failed += 1;
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
        }
        story
    }
}
