//! The Raft log as openraft sees it: our segment files behind one flusher.
//!
//! ```text
//!   openraft core --append--> wal (memory) ---+
//!                 --vote, truncate, purge-----+--> queue --> flusher --> one blocking call --> callbacks
//! ```
//!
//! The flusher is one thread, so everything reaches the disk in the order in which openraft asked for it. While it waits
//! for one fsync the next appends gather; the next fsync serves them all. A disk error is never retried: what the
//! kernel still holds after a failed fsync cannot be trusted, so the node ends, by [`Halt`].

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::{mpsc, oneshot};

use super::types::{RaftEntry, RaftLogId, RaftVote, TypeConfig};
use super::wire;
use crate::env::Halt;
use crate::metrics::DiskMetrics;
use crate::rt;
use crate::types::{LogId, Vote};
use crate::wal::{Log, Preparation, WalError};

/// Work that may wait for the disk. openraft waits for a place when it is full.
const QUEUE_MAX: usize = 1024;
/// Entries handed out by one read, in bytes. At least one entry is handed out, whatever its size.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Rests of the task that prepares the next segment: between two steps, and when there is nothing to do.
const PREPARE_STEP_PAUSE: Duration = Duration::from_millis(5);
const PREPARE_PAUSE: Duration = Duration::from_millis(200);

enum Work {
    /// The entries are in the log's memory; call back when they are on disk.
    Appended(IOFlushed<TypeConfig>),
    SaveVote(Vote, oneshot::Sender<io::Result<()>>),
    TruncateAfter(Option<LogId>, oneshot::Sender<io::Result<()>>),
    Purge(LogId, oneshot::Sender<io::Result<()>>),
}

/// A handle to the log. Clones share it.
#[derive(Clone)]
pub struct LogStore {
    log: Arc<Log>,
    queue: mpsc::Sender<Work>,
    metrics: DiskMetrics,
}

impl LogStore {
    /// Starts the flusher over an open log.
    pub fn start(log: Arc<Log>, halt: Halt, metrics: DiskMetrics) -> io::Result<Self> {
        let (queue, work) = mpsc::channel(QUEUE_MAX);
        rt::spawn_worker("wal-flusher", flush_loop(Arc::clone(&log), work, halt, metrics.clone()))?;
        rt::spawn(prepare_loop(Arc::downgrade(&log)));
        Ok(Self { log, queue, metrics })
    }

    async fn ask(&self, work: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Work) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.queue.send(work(done)).await.map_err(|_| flusher_gone())?;
        answer.await.map_err(|_| flusher_gone())?
    }
}

fn flusher_gone() -> io::Error {
    io::Error::other("the log's flusher has stopped")
}

fn to_io(error: &WalError) -> io::Error {
    io::Error::other(error.to_string())
}

async fn flush_loop(log: Arc<Log>, mut queue: mpsc::Receiver<Work>, halt: Halt, metrics: DiskMetrics) {
    let mut put_back = None;
    loop {
        let next = match put_back.take() {
            Some(work) => Some(work),
            None => queue.recv().await,
        };
        let Some(work) = next else { return };
        let result = match work {
            Work::Appended(first) => {
                let mut waiting = vec![first];
                while let Ok(more) = queue.try_recv() {
                    match more {
                        Work::Appended(callback) => waiting.push(callback),
                        other => {
                            put_back = Some(other);
                            break;
                        }
                    }
                }
                let begun = rt::now();
                let synced = sync(&log, waiting).await;
                metrics.wal_fsync.observe(rt::since(begun).as_secs_f64());
                synced
            }
            Work::SaveVote(vote, done) => on_disk(&log, done, move |log| log.save_vote(vote)).await,
            Work::TruncateAfter(last, done) => on_disk(&log, done, move |log| log.truncate_after(last)).await,
            Work::Purge(upto, done) => on_disk(&log, done, move |log| log.purge(upto)).await,
        };
        if let Err(error) = result {
            halt.now(&format!("the Raft log could not be written: {error}"));
            return;
        }
    }
}

/// Gets the next segment ready ahead of time, in small steps beside the flusher, as long as the log is used.
async fn prepare_loop(log: Weak<Log>) {
    loop {
        let Some(log) = log.upgrade() else { return };
        let prepared = rt::blocking(move || log.prepare_next()).await;
        let pause = match prepared {
            Ok(Ok(Preparation::More)) => PREPARE_STEP_PAUSE,
            Ok(Ok(Preparation::Done)) => PREPARE_PAUSE,
            // A rotation does without; if the disk is really broken, the flusher will find out and stop the node.
            Ok(Err(error)) => {
                tracing::warn!(%error, "the next log segment could not be prepared");
                PREPARE_PAUSE
            }
            Err(_panicked) => return,
        };
        rt::sleep(pause).await;
    }
}

/// One fsync for everybody who waits.
async fn sync(log: &Log, waiting: Vec<IOFlushed<TypeConfig>>) -> io::Result<()> {
    let result = rt::on_worker(|| log.sync()).await.map(|_durable| ()).map_err(|error| to_io(&error));
    for callback in waiting {
        callback.io_completed(copy(&result));
    }
    result
}

async fn on_disk(
    log: &Log,
    done: oneshot::Sender<io::Result<()>>,
    work: impl FnOnce(&Log) -> Result<(), WalError> + Send,
) -> io::Result<()> {
    let result = rt::on_worker(|| work(log)).await.map_err(|error| to_io(&error));
    // Whoever asked may have stopped waiting; the disk has it all the same.
    let _nobody_waits = done.send(copy(&result));
    result
}

fn copy(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// `start..end` out of any range.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(&index) => index,
        Bound::Excluded(&index) => index + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&index) => index + 1,
        Bound::Excluded(&index) => index,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl LogStore {
    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<RaftEntry>> {
        if let Some(cached) = self.log.read_cached(start..end, bytes_max) {
            return cached.into_iter().map(wire::entry_from_raw).collect();
        }
        let reader = Arc::clone(&self.log);
        let raw = rt::blocking(move || reader.read(start..end, bytes_max)).await?;
        raw.map_err(|error| io::Error::other(error.to_string()))?.into_iter().map(wire::entry_from_raw).collect()
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX).await
    }

    /// For the state machine: in bounded reads, however long the range is.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<RaftEntry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let store = self.clone();
        async_stream::try_stream! {
            let mut next = start;
            while next < end {
                let entries = store.read(next, end, READ_BYTES_MAX).await?;
                if entries.is_empty() {
                    break;
                }
                for entry in entries {
                    next = entry.log_id.index + 1;
                    yield entry;
                }
            }
        }
        .boxed()
    }

    /// For replication: one bounded read.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        self.read(start, end, READ_BYTES_MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(self.log.vote().map(wire::raft_vote))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let purged = self.log.purged();
        let last = self.log.last().or(purged);
        Ok(LogState { last_purged_log_id: purged.map(wire::raft_log_id), last_log_id: last.map(wire::raft_log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        let vote = wire::vote(vote);
        self.ask(|done| Work::SaveVote(vote, done)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let raw: Vec<_> = entries.into_iter().map(|entry| wire::entry_to_raw(&entry)).collect();
        self.metrics.wal_bytes.inc_by(raw.iter().map(|entry| entry.payload.len() as u64).sum());
        self.log.append(&raw).map_err(|error| to_io(&error))?;
        self.queue.send(Work::Appended(callback)).await.map_err(|_| flusher_gone())
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        let last = last.as_ref().map(wire::log_id);
        self.ask(|done| Work::TruncateAfter(last, done)).await
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        let upto = wire::log_id(&upto);
        self.ask(|done| Work::Purge(upto, done)).await
    }
}
