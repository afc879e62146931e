//! Writes at a constant rate, each in a task of its own: what came of one does not delay the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_client::{Client, Fate};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::record::Round;
use crate::world::process::{Cluster, PATIENCE, until};

const CLIENTS: usize = 8;
const KEYS: u64 = 1000;
const VALUE_BYTES: usize = 100;
/// More than a client's longest patience times any rate that is used here.
const UNDER_WAY_MAX: usize = 8192;
/// Whoever waited longer than this counts as hung.
pub const HANGS: Duration = Duration::from_millis(2500);

/// The clients of one cluster. Dropped means stopped.
pub(super) struct Stream {
    shared: Arc<Shared>,
    sender: AbortHandle,
}

struct Shared {
    acknowledged: AtomicU64,
    silence: Mutex<Silence>,
    /// Where requests sent from now on are counted.
    round: Mutex<Arc<Mutex<Round>>>,
    seats: Arc<Semaphore>,
}

/// The longest time between two acknowledged writes.
struct Silence {
    last: Instant,
    longest: Duration,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

impl Stream {
    pub fn start(cluster: &Cluster, every: Duration) -> Self {
        let shared = Arc::new(Shared {
            acknowledged: AtomicU64::new(0),
            silence: Mutex::new(Silence { last: Instant::now(), longest: Duration::ZERO }),
            round: Mutex::default(),
            seats: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
        });
        let clients: Vec<Client> = (0..CLIENTS).map(|_| cluster.client()).collect();
        let sender = tokio::spawn(send(clients, every, Arc::clone(&shared))).abort_handle();
        Self { shared, sender }
    }

    /// A round begins now; what is sent from now on is counted there, even if it ends after the next round has begun.
    pub fn begin(&self) -> Arc<Mutex<Round>> {
        let round = Arc::new(Mutex::new(Round::default()));
        *self.shared.round.lock() = Arc::clone(&round);
        *self.shared.silence.lock() = Silence { last: Instant::now(), longest: Duration::ZERO };
        round
    }

    /// The longest silence since the round began, the one that lasts included.
    pub fn longest_silence(&self) -> Duration {
        let silence = self.shared.silence.lock();
        silence.longest.max(silence.last.elapsed())
    }

    /// Waits until that many more writes are acknowledged.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub async fn more(&self, writes: u64) {
        let target = self.shared.acknowledged.load(Ordering::Relaxed) + writes;
        until(PATIENCE, "progress of the writes", || async {
            let now = self.shared.acknowledged.load(Ordering::Relaxed);
            if now >= target { Ok(()) } else { Err(format!("{now} of {target} are acknowledged")) }
        })
        .await;
    }

    /// Nothing more is sent.
    pub fn stop(&self) {
        self.sender.abort();
    }

    /// Waits until every request has ended, as each does by its client's own limit.
    pub async fn drain(self) {
        self.stop();
        let all = u32::try_from(UNDER_WAY_MAX).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(PATIENCE, self.shared.seats.acquire_many(all)).await;
        let _all_seats = drained.expect("a client's request has no end").expect("seats are not closed");
    }
}

async fn send(clients: Vec<Client>, every: Duration, shared: Arc<Shared>) {
    // A tick that was late is made up for: the rate stays.
    let mut clock = tokio::time::interval(every);
    let value = "v".repeat(VALUE_BYTES);
    for (number, client) in (0u64..).zip(clients.iter().cycle()) {
        clock.tick().await;
        let Ok(seat) = Arc::clone(&shared.seats).acquire_owned().await else { return };
        let put = client.put(format!("failover/{:04}", number % KEYS), value.as_str());
        let (shared, round) = (Arc::clone(&shared), shared.round.lock().clone());
        tokio::spawn(async move {
            let _seat = seat;
            let sent = Instant::now();
            let fate = put.await.map(drop).map_err(|error| error.fate());
            let took = sent.elapsed();
            if fate.is_ok() {
                shared.acknowledge();
            }
            let mut round = round.lock();
            match fate {
                Ok(()) => round.acknowledged += 1,
                Err(Fate::NotExecuted) => round.failed += 1,
                Err(Fate::Unknown) => round.unknown += 1,
            }
            round.hung += u64::from(took > HANGS);
            round.slowest_ms = round.slowest_ms.max(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        });
    }
}

impl Shared {
    fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        let mut silence = self.silence.lock();
        let now = Instant::now();
        silence.longest = silence.longest.max(now - silence.last);
        silence.last = now;
    }
}
