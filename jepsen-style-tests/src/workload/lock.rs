//! A register that several clients change under one lock, in the way every user of locks does: take the lock, read,
//! think, write. Nobody renews the lease, and some think for longer than it lasts.
//!
//! With guarded writes no acknowledged mark may be missing in the end. Plain writes may lose some: those are counted,
//! and show that the story tries hard enough.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::lease_client::LeaseClient;
use holdfast_proto::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest};
use holdfast_proto::v1::guard::Held;
use holdfast_proto::v1::guarded_kv_client::GuardedKvClient;
use holdfast_proto::v1::{Guard, GuardedPutRequest};
use holdfast_proto::v3lockpb::lock_client::LockClient;
use holdfast_proto::v3lockpb::{LockRequest, UnlockRequest};
use parking_lot::Mutex;

use super::rpc::of_failure;
use super::{Answer, Client, Stage, Workload, ask};
use crate::checker::lock::{self, Mark, Update, Violation as Finding};
use crate::history::{Fate, Tally};
use crate::report::Violation;

/// Seconds; the shortest that a server grants.
const TTL_S: i64 = 2;
/// How long a client stands in the queue.
const QUEUE: Duration = Duration::from_secs(10);
/// A read of the end that no member answers by then has found trouble of another kind.
const LAST_LOOKS: usize = 100;

/// Whether writes carry the fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    Guarded,
    Plain,
}

impl Writes {
    pub fn name(self) -> &'static str {
        match self {
            Self::Guarded => "lock",
            Self::Plain => "plain-lock",
        }
    }
}

pub struct Lock {
    writes: Writes,
    record: Arc<Mutex<Record>>,
}

#[derive(Default)]
struct Record {
    updates: Vec<Update>,
    /// Writes that were refused because the lock had moved on.
    fenced: usize,
    content: Option<Vec<Mark>>,
}

impl Lock {
    pub fn new(writes: Writes) -> Self {
        Self { writes, record: Arc::default() }
    }
}

impl Workload for Lock {
    fn clients(&self, stage: &Stage) -> Vec<BoxFuture<'static, ()>> {
        let client = |number| {
            let record = Arc::clone(&self.record);
            let holder = Holder { client: Client::new(stage, number), writes: self.writes, record };
            Box::pin(holder.run()) as BoxFuture<'static, ()>
        };
        (0..stage.clients).map(client).collect()
    }

    fn last_look(&self, stage: &Stage) -> BoxFuture<'static, ()> {
        let (mut client, record) = (Client::new(stage, stage.clients), Arc::clone(&self.record));
        let key = register(self.writes);
        Box::pin(async move {
            for _ in 0..LAST_LOOKS {
                if let Answer::Ok(content) = read(&mut client, key.clone()).await {
                    record.lock().content = Some(content);
                    return;
                }
                rt::sleep(Duration::from_millis(100)).await;
            }
        })
    }

    fn judge(&self) -> Vec<Violation> {
        let record = self.record.lock();
        let property = self.writes.name();
        let Some(content) = &record.content else {
            return vec![Violation::of(property, "nobody could read the register in the end")];
        };
        let found = lock::check(&record.updates, content).into_iter().filter(|finding| match (self.writes, finding) {
            (Writes::Plain, Finding::Lost { .. } | Finding::OutOfTurn { .. }) => false,
            (Writes::Guarded | Writes::Plain, _) => true,
        });
        found.map(|finding| Violation::of(property, finding)).collect()
    }

    fn tally(&self) -> Tally {
        Tally::of(self.record.lock().updates.iter().map(|update| update.fate))
    }

    fn notes(&self) -> Vec<String> {
        let record = self.record.lock();
        let found = lock::check(&record.updates, record.content.as_deref().unwrap_or_default());
        let lost = found.iter().filter(|finding| matches!(finding, Finding::Lost { .. })).count();
        vec![format!("{} updates, {} fenced, {lost} lost", record.updates.len(), record.fenced)]
    }
}

fn register(writes: Writes) -> Bytes {
    Bytes::from(format!("{}-register", writes.name()))
}

struct Holder {
    client: Client,
    writes: Writes,
    record: Arc<Mutex<Record>>,
}

impl Holder {
    async fn run(mut self) {
        while !self.client.stage().is_over() {
            // A round that comes to nothing is followed by the next one.
            let _given_up = self.one_round().await;
            self.client.stage().breathe().await;
        }
    }

    fn say(&self, what: impl Into<String>) {
        self.client.stage().timeline.say(&format!("{} {}", self.writes.name(), self.client.process.0), what);
    }

    /// Take the lock, read, think, write, unlock. None where one of it could not be done.
    async fn one_round(&mut self) -> Option<()> {
        let grant = LeaseGrantRequest { ttl: TTL_S, id: 0 };
        let lease = ask(LeaseClient::new(self.client.anywhere()).lease_grant(grant)).await.ok()?.id;
        let done = self.with_lease(lease).await;
        let revoke = LeaseRevokeRequest { id: lease };
        // It runs out by itself where this fails.
        let _tried = ask(LeaseClient::new(self.client.anywhere()).lease_revoke(revoke)).await;
        done
    }

    async fn with_lease(&mut self, lease: i64) -> Option<()> {
        let (key, token) = self.acquire(lease).await?;
        self.say(format!("holds the lock, token {token}"));
        let mut content = read(&mut self.client, register(self.writes)).await.ok()?;
        let thinks_ms =
            if self.client.below(4) == 0 { 1_500 + self.client.below(4_000) } else { self.client.below(100) };
        rt::sleep(Duration::from_millis(thinks_ms)).await;
        let mark = self.client.unique();
        content.push(mark);
        self.say(format!("writes {mark}, token {token} ..."));
        let written = self.write(&content, key.clone(), token).await;
        let fate = match &written {
            Answer::Ok(()) => Fate::Ok,
            Answer::Failed(_) => Fate::Failed,
            Answer::Unknown(_) | Answer::Strange(_) => Fate::Unknown,
        };
        self.say(format!("wrote {mark}: {fate:?}"));
        let was_fenced = matches!(&written, Answer::Failed(why) if why.contains("guard does not hold"));
        self.note(Update { mark, token, fate }, usize::from(was_fenced));
        ask(LockClient::new(self.client.anywhere()).unlock(UnlockRequest { key })).await.ok().map(drop)
    }

    fn note(&self, update: Update, fenced: usize) {
        let mut record = self.record.lock();
        record.updates.push(update);
        record.fenced += fenced;
    }

    /// The lock's key and its token.
    async fn acquire(&mut self, lease: i64) -> Option<(Bytes, i64)> {
        let request = LockRequest { name: Bytes::from(self.writes.name()), lease };
        let mut client = LockClient::new(self.client.anywhere());
        let locked = match rt::timeout(QUEUE, client.lock(request)).await {
            Ok(Ok(locked)) => locked,
            Ok(Err(status)) => {
                let answer: Answer<()> = of_failure(&status);
                self.say(format!("no lock: {answer:?}"));
                return None;
            }
            Err(_) => return None,
        };
        let token = locked.metadata().get("holdfast-fencing-token").and_then(|token| token.to_str().ok()?.parse().ok());
        let Some(token) = token else {
            self.client.stage().object("a lock was granted without a fencing token");
            return None;
        };
        Some((locked.into_inner().key, token))
    }

    async fn write(&mut self, content: &[Mark], key: Bytes, token: i64) -> Answer<()> {
        let marks: Vec<String> = content.iter().map(Mark::to_string).collect();
        let value = Bytes::from(marks.join(","));
        let put = PutRequest { key: register(self.writes), value, ..PutRequest::default() };
        match self.writes {
            Writes::Guarded => {
                let guard = Some(Guard { held: Some(Held::Key(key)), token });
                let request = GuardedPutRequest { guard, put: Some(put) };
                ask(GuardedKvClient::new(self.client.anywhere()).put(request)).await.map(drop)
            }
            Writes::Plain => ask(KvClient::new(self.client.anywhere()).put(put)).await.map(drop),
        }
    }
}

async fn read(client: &mut Client, key: Bytes) -> Answer<Vec<Mark>> {
    let get = RangeRequest { key, ..RangeRequest::default() };
    ask(KvClient::new(client.anywhere()).range(get)).await.and_then(|answer| {
        let Some(kv) = answer.kvs.first() else { return Answer::Ok(Vec::new()) };
        let text = String::from_utf8_lossy(&kv.value);
        let marks: Result<Vec<Mark>, _> = text.split(',').map(str::parse).collect();
        marks.map_or_else(|_| Answer::Strange(format!("nobody wrote {text:?}")), Answer::Ok)
    })
}
