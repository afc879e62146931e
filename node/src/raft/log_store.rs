//! The Raft log as openraft sees it: our segment files behind one flusher.
//!
//! ```text
//!   openraft core --append--> wal (memory) ---+
//!                 --vote, truncate, purge-----+--> queue --> flusher --> one blocking call --> callbacks
//! ```
//!
//! The flusher is one thread, so everything reaches the disk in the order in which openraft asked for it. While it
//! waits for one fsync the next appends gather; the next fsync serves them all. A disk error is never retried: what the
//! kernel still holds after a failed fsync cannot be trusted, so the node ends, by [`Halt`].
//!
//! An entry that was found rotten when the log was opened has a position and no bytes. Whoever only walks the log (the
//! search for members and terms while openraft starts, and the state machine, which leaves alone what stands from the
//! first hole on) is given a blank entry in its place, so that this member can vote and acknowledge. Replication is
//! not: a blank must never reach another member. A follower that lacks what is rotten here is given a snapshot, if the
//! state covers it ([`Unreadable`]); otherwise this member ends.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};
use tokio::sync::{Notify, mpsc, oneshot};

use super::disk_wait::DiskWait;
use super::holes::Holes;
use super::types::{RaftEntry, RaftLogId, RaftVote, TypeConfig};
use super::unreadable::Unreadable;
use super::wire;
use crate::env::witness::{self, Promise};
use crate::env::{Halt, planted, sometimes};
use crate::metrics::DiskMetrics;
use crate::rt;
use crate::types::{LogId, Vote};
use crate::wal::{Hole, Log, Preparation, RawEntry, ReadError, WalError};

/// Work that may wait for the disk. openraft waits for a place when it is full.
const QUEUE_MAX: usize = 1024;
/// Entries handed out by one read, in bytes. At least one entry is handed out, whatever its size.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long openraft's core waits for a purge: less than a heartbeat.
const PURGE_PATIENCE: Duration = Duration::from_millis(30);

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
    /// Woken by the flusher when entries have left the log's memory.
    room: Arc<Notify>,
    /// Entries that had no bytes when the log was opened.
    known_holes: Arc<BTreeSet<LogId>>,
    /// From the first of these on the state machine leaves entries alone.
    holes: Holes,
    unreadable: Unreadable,
    disk_wait: DiskWait,
    halt: Halt,
    metrics: DiskMetrics,
}

impl LogStore {
    /// Starts the flusher over a log that was just opened. From the first of `holes` on the state machine leaves
    /// entries alone. What cannot be read for a follower is noted in `unreadable`.
    pub fn start(
        log: Arc<Log>,
        holes: Holes,
        unreadable: Unreadable,
        halt: Halt,
        metrics: DiskMetrics,
    ) -> io::Result<Self> {
        let (store, work) = Self::over(log, holes, unreadable, halt, metrics);
        let flusher = Flusher {
            log: Arc::clone(&store.log),
            room: Arc::clone(&store.room),
            disk_wait: store.disk_wait.clone(),
            halt: store.halt.clone(),
            metrics: store.metrics.clone(),
        };
        rt::spawn_worker("wal-flusher", flusher.run(work))?;
        rt::spawn(prepare_loop(Arc::downgrade(&store.log)));
        Ok(store)
    }

    fn over(
        log: Arc<Log>,
        holes: Holes,
        unreadable: Unreadable,
        halt: Halt,
        metrics: DiskMetrics,
    ) -> (Self, mpsc::Receiver<Work>) {
        let (queue, work) = mpsc::channel(QUEUE_MAX);
        let known_holes = Arc::new(log.holes().into_iter().map(Hole::log_id).collect());
        let (room, disk_wait) = (Arc::new(Notify::new()), DiskWait::default());
        let store = Self { log, queue, room, known_holes, holes, unreadable, disk_wait, halt, metrics };
        (store, work)
    }

    /// How long the disk keeps the flusher waiting.
    pub fn disk_wait(&self) -> &DiskWait {
        &self.disk_wait
    }

    /// openraft stops for ever when the log fails it, and says little: so the whole node ends, with the reason.
    fn or_halt<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.halt.now(&format!("{what}: {error}"));
        }
        result
    }

    /// Takes entries into the log's memory. When that is full it waits until the flusher has made room: a disk that is
    /// slow for a while is no reason to end.
    async fn take_in(&self, entries: &[RawEntry]) -> io::Result<()> {
        loop {
            match self.log.append(entries) {
                Err(WalError::PendingFull { .. }) => {}
                done => return self.or_halt("entries could not be appended", done.map_err(|error| to_io(&error))),
            }
            tokio::select! {
                biased;
                () = self.room.notified() => {}
                () = self.queue.closed() => return Err(flusher_gone()),
            }
        }
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

fn to_io(error: &impl std::error::Error) -> io::Error {
    io::Error::other(error.to_string())
}

/// The one who writes to the log's disk.
struct Flusher {
    log: Arc<Log>,
    room: Arc<Notify>,
    disk_wait: DiskWait,
    halt: Halt,
    metrics: DiskMetrics,
}

impl Flusher {
    async fn run(self, mut queue: mpsc::Receiver<Work>) {
        let mut put_back = None;
        loop {
            let next = match put_back.take() {
                Some(work) => Some(work),
                None => queue.recv().await,
            };
            let Some(work) = next else { return };
            self.disk_wait.begin(rt::now());
            let result = self.carry_out(work, &mut queue, &mut put_back).await;
            self.disk_wait.end(rt::now());
            if let Err(error) = result {
                self.halt.now(&format!("the Raft log could not be written: {error}"));
                return;
            }
            // Kept for one who is about to wait: only openraft's core appends, so there is never more than one.
            self.room.notify_one();
        }
    }

    /// One call to the disk. `put_back` is what was taken from the queue and is of another kind.
    async fn carry_out(
        &self,
        work: Work,
        queue: &mut mpsc::Receiver<Work>,
        put_back: &mut Option<Work>,
    ) -> io::Result<()> {
        let log = self.log.as_ref();
        match work {
            Work::Appended(first) => {
                let mut waiting = vec![first];
                while let Ok(more) = queue.try_recv() {
                    match more {
                        Work::Appended(callback) => waiting.push(callback),
                        other => {
                            *put_back = Some(other);
                            break;
                        }
                    }
                }
                let begun = rt::now();
                let synced = sync(log, waiting).await;
                self.metrics.wal_fsync.observe(rt::since(begun).as_secs_f64());
                synced
            }
            Work::SaveVote(vote, done) => on_disk(log, done, move |log| log.save_vote(vote)).await,
            Work::TruncateAfter(last, done) => on_disk(log, done, move |log| log.truncate_after(last)).await,
            Work::Purge(upto, done) => on_disk(log, done, move |log| log.purge(upto)).await,
        }
    }
}

/// Gets the next segment ready ahead of time, in small steps beside the flusher, as long as the log is used.
async fn prepare_loop(log: Weak<Log>) {
    let mut told = None;
    loop {
        let Some(log) = log.upgrade() else { return };
        let prepared = rt::blocking(move || log.prepare_next()).await;
        let pause = match prepared {
            Ok(Ok(Preparation::More)) => PREPARE_STEP_PAUSE,
            Ok(Ok(Preparation::Done)) => {
                told = None;
                PREPARE_PAUSE
            }
            // A rotation does without; if the disk is really broken, the flusher will find out and stop the node.
            Ok(Err(error)) => {
                // Once for each reason: a full disk stays full for a while.
                let why = Some(error.to_string());
                if told != why {
                    tracing::warn!(%error, "the next log segment could not be prepared");
                    told = why;
                }
                PREPARE_PAUSE
            }
            Err(_panicked) => return,
        };
        rt::sleep(pause).await;
    }
}

/// One fsync for everybody who waits.
async fn sync(log: &Log, mut waiting: Vec<IOFlushed<TypeConfig>>) -> io::Result<()> {
    if waiting.len() > 1 {
        sometimes!(AppendsGathered);
    }
    if planted!(AckBeforeFsync) {
        acknowledge(log, log.last());
        waiting.drain(..).for_each(|callback| callback.io_completed(Ok(())));
    }
    let result = rt::on_worker(|| log.sync()).await.map_err(|error| to_io(&error));
    let result = result.map(|durable| acknowledge(log, durable));
    for callback in waiting {
        callback.io_completed(copy(&result));
    }
    result
}

/// From here on the leader is told that this member has its entries.
fn acknowledge(log: &Log, last: Option<LogId>) {
    if let Some(last) = last {
        witness::tell(log.member(), || Promise::Acknowledged { last });
    }
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

/// What one read gave.
enum Step {
    Entries(Vec<RawEntry>),
    /// The first entry of the range was a hole already when the log was opened.
    KnownHole(LogId),
}

impl LogStore {
    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Result<Vec<RawEntry>, ReadError>> {
        if let Some(cached) = self.log.read_cached(start..end, bytes_max) {
            return Ok(Ok(cached));
        }
        let reader = Arc::clone(&self.log);
        rt::blocking(move || reader.read(start..end, bytes_max)).await
    }

    /// The state machine takes entries from here on without applying them.
    fn is_left_alone(&self, log_id: LogId) -> bool {
        self.holes.first().is_some_and(|first| first <= log_id)
    }

    async fn step(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Step> {
        match self.read(start, end, bytes_max).await? {
            Ok(entries) => Ok(Step::Entries(entries)),
            // By term and index: an entry that rotted later, or that was written anew since, is not excused.
            Err(ReadError::Hole { log_id }) if self.known_holes.contains(&log_id) => Ok(Step::KnownHole(log_id)),
            Err(error) => Err(to_io(&error)),
        }
    }
}

fn decode_all(raw: Vec<RawEntry>) -> io::Result<Vec<RaftEntry>> {
    raw.into_iter().map(wire::entry_from_raw).collect()
}

/// Stands for an entry without bytes.
fn blank(log_id: LogId) -> RaftEntry {
    RaftEntry { log_id: wire::raft_log_id(log_id), payload: EntryPayload::Blank }
}

impl RaftLogReader<TypeConfig> for LogStore {
    /// For openraft's start alone, which looks for terms and members. A change of members inside a hole is not seen: a
    /// member with a hole does not lead, so nobody's quorum is counted by it.
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        let (start, end) = bounds(&range);
        // openraft tolerates absence at both ends of a range, and asks for ranges that begin before the log.
        let mut next = start.max(self.log.first().map_or(u64::MAX, |first| first.index));
        let mut all = Vec::new();
        while next < end {
            match self.step(next, end, usize::MAX).await? {
                Step::Entries(raw) if raw.is_empty() => break,
                Step::Entries(raw) => all.extend(decode_all(raw)?),
                Step::KnownHole(log_id) => all.push(blank(log_id)),
            }
            next = all.last().map_or(end, |last| last.log_id.index + 1);
        }
        Ok(all)
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
                let entries = match store.step(next, end, READ_BYTES_MAX).await? {
                    Step::Entries(raw) => decode_all(raw)?,
                    Step::KnownHole(hole) if store.is_left_alone(hole) => vec![blank(hole)],
                    // The state machine would take the blank for the entry.
                    Step::KnownHole(hole) => Err(to_io(&ReadError::Hole { log_id: hole }))?,
                };
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

    /// For replication: one bounded read, up to the first hole. What is missing here must not become a blank elsewhere.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        let read = self.read(start, end, READ_BYTES_MAX).await;
        if let Ok(Err(ReadError::Hole { log_id } | ReadError::Rotten { log_id, .. })) = &read
            && self.unreadable.note(*log_id)
        {
            // openraft puts a message without entries together, and `network.rs` ends the stream there.
            return Ok(Vec::new());
        }
        if let Ok(Err(ReadError::Purged { .. })) = &read {
            // openraft keeps a leader from purging what it still sends. This member leads no more, and the stream has
            // not heard of it yet: it says what it last sent, and the follower refuses its term.
            sometimes!(PurgedWhileSent);
            return Ok(Vec::new());
        }
        let entries = read.and_then(|raw| decode_all(raw.map_err(|error| to_io(&error))?));
        self.or_halt("the Raft log could not be read for a follower", entries)
    }

    /// The last entry of each term, from memory: this must not depend on what can be read.
    async fn get_key_log_ids(&mut self, range: RangeInclusive<RaftLogId>) -> io::Result<Vec<RaftLogId>> {
        let mut keys: Vec<LogId> = Vec::new();
        for index in range.start().index..=range.end().index {
            let here = self.log.log_id_at(index);
            let here = here.ok_or_else(|| io::Error::other(format!("the Raft log has no entry {index}")))?;
            match keys.last_mut().filter(|last| last.term == here.term) {
                Some(last) => *last = here,
                None => keys.push(here),
            }
        }
        Ok(keys.into_iter().map(wire::raft_log_id).collect())
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
        self.take_in(&raw).await?;
        self.queue.send(Work::Appended(callback)).await.map_err(|_| flusher_gone())
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        let last = last.as_ref().map(wire::log_id);
        sometimes!(LogTruncated);
        self.ask(|done| Work::TruncateAfter(last, done)).await?;
        self.holes.truncated(last.map(|last| last.index));
        Ok(())
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        let upto = wire::log_id(&upto);
        let purging = self.ask(|done| Work::Purge(upto, done));
        if self.log.last().is_none_or(|last| last.index < upto.index) {
            // A snapshot went ahead of the log: what is appended next must find it so.
            return purging.await;
        }
        // openraft's core waits here, and with it every heartbeat. A purge that is late harms nobody, and one that
        // found no place in the queue is made up for by the next.
        rt::timeout(PURGE_PATIENCE, purging).await.unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use futures::FutureExt as _;
    use openraft_rt::AsyncRuntime as _;

    use super::*;
    use crate::env::FaultyDisk;
    use crate::metrics::{self, Metrics};
    use crate::rt::Rt;
    use crate::types::{ClusterId, MemberId};
    use crate::wal::{Identity, LogOptions};

    const DIR: &str = "/log";
    const SLOTS: u32 = 8;

    fn open(disk: &FaultyDisk) -> Arc<Log> {
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        let options = LogOptions { slots: SLOTS, data_bytes: 640, cache_bytes_max: 0, pending_bytes_max: 100 };
        Arc::new(Log::open(Arc::new(disk.clone()), Path::new(DIR), options, identity).unwrap().0)
    }

    fn entry(term: u64, index: u64, bytes: usize) -> RawEntry {
        RawEntry { log_id: LogId { term, index }, kind: 1, payload: Bytes::from(vec![index as u8; bytes]) }
    }

    /// Entries 0 to 5, of the terms 1 1 2 2 2 3.
    fn written(disk: &FaultyDisk) -> Arc<Log> {
        let log = open(disk);
        log.save_vote(Vote { term: 3, node: 1, committed: true }).unwrap();
        for (index, term) in [1, 1, 2, 2, 2, 3].into_iter().enumerate() {
            log.append(&[entry(term, index as u64, 4)]).unwrap();
            log.sync().unwrap();
        }
        log
    }

    /// Turns a bit in the payload of an entry: the segment's header, its slots, and a frame of 52 bytes for each entry.
    fn rot(disk: &FaultyDisk, index: u64) {
        let segment = Path::new(DIR).join(format!("{:020}.seg", 0));
        disk.flip_bit(&segment, 4096 + u64::from(SLOTS) * 64 + index * 52 + 48, 3);
    }

    fn halt() -> Halt {
        Halt::new(|_| {})
    }

    fn metrics() -> DiskMetrics {
        Metrics::new(&metrics::Identity::default()).disk
    }

    /// The state is that far.
    fn unreadable(applied: LogId) -> Unreadable {
        let (state, seen) = rt::watch::channel(applied);
        drop(state);
        Unreadable::new(seen)
    }

    fn nothing_applied() -> Unreadable {
        unreadable(LogId::default())
    }

    fn over(log: Arc<Log>, hole: Option<LogId>) -> LogStore {
        LogStore::over(log, Holes::new(hole.into_iter().collect()), nothing_applied(), halt(), metrics()).0
    }

    fn summary(entries: &[RaftEntry]) -> Vec<(u64, bool)> {
        entries.iter().map(|entry| (entry.log_id.index, matches!(entry.payload, EntryPayload::Blank))).collect()
    }

    async fn streamed(store: &mut LogStore) -> io::Result<Vec<RaftEntry>> {
        let entries: Vec<_> = store.entries_stream(0..6).await.collect().await;
        entries.into_iter().collect()
    }

    const WITH_BLANK: [(u64, bool); 6] = [(0, false), (1, false), (2, false), (3, true), (4, false), (5, false)];

    #[test]
    fn a_hole_is_a_blank_for_this_member_and_nothing_for_others() {
        let disk = FaultyDisk::new(1);
        drop(written(&disk));
        rot(&disk, 3);
        let log = open(&disk);
        let hole = LogId { term: 2, index: 3 };
        assert_eq!(log.holes(), [Hole { term: 2, index: 3 }]);
        let mut store = over(log, Some(hole));
        Rt::run(async move {
            assert_eq!(summary(&store.try_get_log_entries(0..6).await.unwrap()), WITH_BLANK);
            assert_eq!(summary(&store.try_get_log_entries(3..=3).await.unwrap()), [(3, true)]);
            assert_eq!(summary(&streamed(&mut store).await.unwrap()), WITH_BLANK);

            let sent = store.limited_get_log_entries(1, 6).await.unwrap();
            assert_eq!(summary(&sent), [(1, false), (2, false)]);
            assert!(store.limited_get_log_entries(3, 6).await.is_err() && store.halt.is_thrown());
        });
    }

    #[test]
    fn what_the_state_covers_is_passed_over_when_it_cannot_be_read_for_a_follower() {
        let disk = FaultyDisk::new(1);
        let log = written(&disk);
        rot(&disk, 3);
        rot(&disk, 5);
        let covered = unreadable(LogId { term: 2, index: 4 });
        let mut store = LogStore::over(log, Holes::default(), covered.clone(), halt(), metrics()).0;
        Rt::run(async move {
            assert_eq!(summary(&store.limited_get_log_entries(1, 6).await.unwrap()), [(1, false), (2, false)]);
            assert_eq!(summary(&store.limited_get_log_entries(3, 6).await.unwrap()), []);
            assert!(covered.is_next(Some(2)) && !store.halt.is_thrown());
            assert!(store.limited_get_log_entries(5, 6).await.is_err() && store.halt.is_thrown(), "not applied here");
        });
    }

    #[test]
    fn what_is_purged_while_it_is_sent_stops_nobody() {
        let log = written(&FaultyDisk::new(1));
        Rt::run(async move {
            let mut store = LogStore::start(log, Holes::default(), nothing_applied(), halt(), metrics()).unwrap();
            store.purge(wire::raft_log_id(LogId { term: 2, index: 3 })).await.unwrap();
            assert_eq!(summary(&store.limited_get_log_entries(2, 6).await.unwrap()), []);
            assert_eq!(summary(&store.limited_get_log_entries(4, 6).await.unwrap()), [(4, false), (5, false)]);
            assert!(!store.halt.is_thrown());
        });
    }

    #[test]
    fn a_hole_that_is_truncated_holds_nothing_up_any_more() {
        let disk = FaultyDisk::new(1);
        drop(written(&disk));
        rot(&disk, 3);
        let holes = Holes::new(vec![LogId { term: 2, index: 3 }]);
        Rt::run(async move {
            let mut store = LogStore::start(open(&disk), holes.clone(), nothing_applied(), halt(), metrics()).unwrap();
            store.truncate_after(Some(wire::raft_log_id(LogId { term: 2, index: 4 }))).await.unwrap();
            assert!(!holes.is_empty(), "the hole is still in the log");
            store.truncate_after(Some(wire::raft_log_id(LogId { term: 1, index: 1 }))).await.unwrap();
            assert!(holes.is_empty());
        });
    }

    #[test]
    fn the_last_entry_of_each_term_is_known_without_reading() {
        let disk = FaultyDisk::new(1);
        drop(written(&disk));
        // The last of its term, and one in the middle.
        rot(&disk, 4);
        rot(&disk, 2);
        let mut store = over(open(&disk), None);
        let at = |term, index| wire::raft_log_id(LogId { term, index });
        Rt::run(async move {
            let keys = store.get_key_log_ids(at(1, 0)..=at(3, 5)).await.unwrap();
            assert_eq!(keys, [at(1, 1), at(2, 4), at(3, 5)]);
            let keys = store.get_key_log_ids(at(2, 2)..=at(2, 3)).await.unwrap();
            assert_eq!(keys, [at(2, 3)]);
            assert!(store.get_key_log_ids(at(3, 5)..=at(3, 6)).await.is_err());
        });
    }

    #[test]
    fn what_the_state_machine_would_apply_is_never_a_blank() {
        let disk = FaultyDisk::new(1);
        let log = written(&disk);
        // Found while the node runs, where the state machine goes on applying.
        let mut store = over(log, None);
        rot(&disk, 3);
        Rt::run(async move {
            assert!(store.try_get_log_entries(0..6).await.is_err());
            assert!(streamed(&mut store).await.is_err());
            // Found at start, before the first entry that the state machine leaves alone.
            let mut store = over(open(&disk), Some(LogId { term: 2, index: 4 }));
            assert_eq!(summary(&store.try_get_log_entries(0..6).await.unwrap()), WITH_BLANK);
            assert!(streamed(&mut store).await.is_err());
        });
    }

    #[test]
    fn a_full_memory_is_waited_for() {
        let (store, _flusher) =
            LogStore::over(open(&FaultyDisk::new(1)), Holes::default(), nothing_applied(), halt(), metrics());
        Rt::run(async move {
            store.take_in(&[entry(1, 0, 80)]).await.unwrap();
            let second = [entry(1, 1, 80)];
            let mut waiting = std::pin::pin!(store.take_in(&second));
            assert!(waiting.as_mut().now_or_never().is_none() && !store.halt.is_thrown());
            store.log.sync().unwrap();
            store.room.notify_one();
            waiting.await.unwrap();
            assert_eq!(store.log.last(), Some(LogId { term: 1, index: 1 }));
        });
    }

    #[test]
    fn the_flusher_makes_room() {
        let log = open(&FaultyDisk::new(1));
        Rt::run(async move {
            let mut store = LogStore::start(log, Holes::default(), nothing_applied(), halt(), metrics()).unwrap();
            for index in 0..50 {
                let entry = wire::entry_from_raw(entry(1, index, 80)).unwrap();
                store.append([entry], IOFlushed::noop()).await.unwrap();
            }
            assert_eq!(store.log.last(), Some(LogId { term: 1, index: 49 }));
            assert!(!store.halt.is_thrown());
        });
    }

    #[test]
    fn nobody_waits_for_a_flusher_that_is_gone() {
        let (store, work) =
            LogStore::over(open(&FaultyDisk::new(1)), Holes::default(), nothing_applied(), halt(), metrics());
        drop(work);
        Rt::run(async move {
            store.take_in(&[entry(1, 0, 80)]).await.unwrap();
            assert!(store.take_in(&[entry(1, 1, 80)]).await.is_err());
        });
    }

    #[test]
    fn an_append_that_cannot_be_ends_the_node() {
        let store = over(open(&FaultyDisk::new(1)), None);
        Rt::run(async move {
            store.take_in(&[entry(1, 0, 8)]).await.unwrap();
            assert!(store.take_in(&[entry(1, 5, 8)]).await.is_err() && store.halt.is_thrown());
        });
    }
}
