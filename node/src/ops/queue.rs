//! Where commands wait to be proposed: encoded, counted, and bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use holdfast_proto::log::{Batch, Command, Outcome};
use prost::Message;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Deadline, OpsError};
use crate::rt;
use crate::types::Limits;

/// Whether commands may be handed to another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hops {
    MayForward,
    OnlyHere,
}

/// What commands gave.
#[derive(Clone, Debug)]
pub struct Proposed {
    pub outcomes: Vec<Outcome>,
    pub term: u64,
    pub index: u64,
}

pub type Answer = Result<Proposed, OpsError>;

/// Commands as they will stand in the log: encoded once, where they entered the cluster.
#[derive(Clone, Debug)]
pub struct Commands {
    /// A `Batch` without a stamp. Several of them behind one another are one with the commands of all.
    pub encoded: Bytes,
    pub count: usize,
}

/// Commands that came together and are answered together.
pub struct Unit {
    pub commands: Commands,
    pub deadline: Deadline,
    pub hops: Hops,
    pub answer: oneshot::Sender<Answer>,
}

/// The entrance.
pub struct Queue {
    sender: mpsc::Sender<Unit>,
    waiting_bytes: Arc<AtomicUsize>,
    waiting_bytes_max: usize,
    /// Batches under way that hold no place.
    late: AtomicUsize,
    place_freed: Notify,
}

/// A batch whose leader was replaced, or that is done and waits for this member's own state: while this lives, another
/// batch may be under way in its place.
pub struct PlaceGivenUp<'a>(&'a Queue);

impl Drop for PlaceGivenUp<'_> {
    fn drop(&mut self) {
        self.0.late.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The other end of the queue.
pub struct Queued {
    receiver: mpsc::Receiver<Unit>,
    waiting_bytes: Arc<AtomicUsize>,
    /// Taken from the queue, not yet part of a batch.
    gathered: Vec<Unit>,
}

impl Commands {
    pub fn of(commands: Vec<Command>) -> Self {
        let count = commands.len();
        Self { encoded: Bytes::from(Batch { stamped_unix_ms: 0, commands }.encode_to_vec()), count }
    }

    /// As another member sent them; `None` if they were damaged on the way.
    pub fn received(encoded: Bytes, count: u32, checksum: u32) -> Option<Self> {
        (crc32fast::hash(&encoded) == checksum).then_some(Self { encoded, count: count as usize })
    }

    pub fn checksum(&self) -> u32 {
        crc32fast::hash(&self.encoded)
    }

    /// Puts commands behind one another.
    pub fn join<'a>(all: impl Iterator<Item = &'a Commands> + Clone) -> Self {
        let mut encoded = BytesMut::with_capacity(all.clone().map(|commands| commands.encoded.len()).sum());
        let mut count = 0;
        for commands in all {
            encoded.extend_from_slice(&commands.encoded);
            count += commands.count;
        }
        Self { encoded: encoded.freeze(), count }
    }

    /// The payload of a log entry.
    pub fn stamped(&self, unix_ms: u64) -> Bytes {
        let stamp = Batch { stamped_unix_ms: unix_ms, commands: Vec::new() };
        let mut entry = BytesMut::with_capacity(stamp.encoded_len() + self.encoded.len());
        entry.extend_from_slice(&stamp.encode_to_vec());
        entry.extend_from_slice(&self.encoded);
        entry.freeze()
    }
}

impl Queue {
    pub fn new(limits: &Limits) -> (Self, Queued) {
        let (sender, receiver) = mpsc::channel(limits.proposals_waiting_max);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let queue = Self {
            sender,
            waiting_bytes: Arc::clone(&waiting_bytes),
            waiting_bytes_max: limits.proposals_waiting_bytes_max,
            late: AtomicUsize::new(0),
            place_freed: Notify::new(),
        };
        (queue, Queued { receiver, waiting_bytes, gathered: Vec::new() })
    }

    /// Units waiting for a batch.
    pub fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    pub fn give_up_place(&self) -> PlaceGivenUp<'_> {
        self.late.fetch_add(1, Ordering::Relaxed);
        self.place_freed.notify_one();
        PlaceGivenUp(self)
    }

    /// Batches under way that hold no place.
    pub fn late(&self) -> usize {
        self.late.load(Ordering::Relaxed)
    }

    /// Resolves when another batch holds none.
    pub async fn place_freed(&self) {
        self.place_freed.notified().await;
    }

    pub async fn submit(&self, commands: Commands, deadline: Deadline, hops: Hops) -> Answer {
        let bytes = commands.encoded.len();
        if self.waiting_bytes.load(Ordering::Relaxed).saturating_add(bytes) > self.waiting_bytes_max {
            return Err(OpsError::Overloaded);
        }
        let (answer, answered) = oneshot::channel();
        let unit = Unit { commands, deadline, hops, answer };
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Err(error) = self.sender.try_send(unit) {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(match error {
                mpsc::error::TrySendError::Full(_) => OpsError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => OpsError::Stopped("no proposals are taken".to_owned()),
            });
        }
        match rt::timeout(deadline.left(), answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(OpsError::Unknown),
            Err(_elapsed) => Err(OpsError::Unknown),
        }
    }
}

impl Queued {
    /// Waits for a unit, then takes what else is there, as far as one log entry goes. Dropped while it waits, it loses
    /// nothing.
    pub async fn next_batch(&mut self, limits: &Limits) -> Option<Vec<Unit>> {
        if self.gathered.is_empty() {
            let first = self.receiver.recv().await?;
            self.gathered.push(first);
            // What has arrived on other connections by now gets the time to be read: it costs a lone client nothing,
            // and makes one batch of what would be several.
            rt::yield_now().await;
        }
        let (mut bytes, mut count) = self
            .gathered
            .iter()
            .fold((0, 0), |(bytes, count), unit| (bytes + unit.commands.encoded.len(), count + unit.commands.count));
        let mut next = None;
        while let Ok(unit) = self.receiver.try_recv() {
            bytes += unit.commands.encoded.len();
            count += unit.commands.count;
            if bytes > limits.batch_bytes_max || count > limits.batch_commands_max {
                bytes -= unit.commands.encoded.len();
                next = Some(unit);
                break;
            }
            self.gathered.push(unit);
        }
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(std::mem::replace(&mut self.gathered, next.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_proto::etcdserverpb::PutRequest;
    use holdfast_proto::log::command::Request;

    use super::*;

    fn put(key: &'static str) -> Command {
        let request = Request::Put(PutRequest { key: Bytes::from(key), ..Default::default() });
        Command { request: Some(request), ..Default::default() }
    }

    #[test]
    fn joined_and_stamped_commands_decode_as_one_batch() {
        let parts = [Commands::of(vec![put("a"), put("b")]), Commands::of(vec![put("c")])];
        let joined = Commands::join(parts.iter());
        assert_eq!(joined.count, 3);
        let batch = Batch::decode(joined.stamped(77)).unwrap();
        assert_eq!(batch, Batch { stamped_unix_ms: 77, commands: vec![put("a"), put("b"), put("c")] });
    }

    #[test]
    fn what_was_damaged_on_the_way_is_not_taken() {
        let sent = Commands::of(vec![put("a")]);
        assert!(Commands::received(sent.encoded.clone(), 1, sent.checksum()).is_some());
        let mut flipped = sent.encoded.to_vec();
        flipped[3] ^= 1;
        assert!(Commands::received(Bytes::from(flipped), 1, sent.checksum()).is_none());
    }
}
