//! History that is dropped while others read it: clients write, read the past, watch from there on, and compact.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::watch_client::WatchClient;
use holdfast_proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_proto::etcdserverpb::{CompactionRequest, PutRequest, RangeRequest, WatchCreateRequest, WatchRequest};
use parking_lot::Mutex;

use super::wire::{bytes_of, revision, value_of};
use super::{Answer, Client, Stage, Workload, ask};
use crate::checker::past::{self, Compaction, Read, Resumed, Seen, Write};
use crate::history::{Fate, Tally};
use crate::report::Violation;

const NAME: &str = "compaction";
const KEYS: u64 = 4;
/// How far back readers and compactions look, in acknowledged writes.
const BACK: u64 = 60;
/// How long the first message of a watch is waited for.
const FIRST_MESSAGE: Duration = Duration::from_secs(2);
const COMPACTED: &str = "required revision has been compacted";

pub struct Compact {
    record: Arc<Mutex<Record>>,
}

#[derive(Default)]
struct Record {
    /// Events so far: the places of calls and returns.
    places: usize,
    writes: Vec<Write>,
    reads: Vec<Read>,
    compactions: Vec<Compaction>,
    watches: Vec<Resumed>,
    tally: Tally,
}

impl Record {
    fn place(&mut self) -> usize {
        self.places += 1;
        self.places
    }

    /// A revision that was written not long ago.
    fn recent(&self, client: &Client) -> Option<i64> {
        self.recent_write(client).map(|write| write.revision)
    }

    fn recent_write(&self, client: &Client) -> Option<&Write> {
        let back = usize::try_from(client.below(BACK)).expect("small");
        self.writes.get(self.writes.len().checked_sub(1 + back)?)
    }

    fn count(&mut self, fate: Fate) {
        self.tally = self.tally.and(Tally::of([fate]));
    }
}

impl Compact {
    pub fn new() -> Self {
        Self { record: Arc::default() }
    }
}

impl Workload for Compact {
    fn clients(&self, stage: &Stage) -> Vec<BoxFuture<'static, ()>> {
        let client = |number| {
            let (client, record) = (Client::new(stage, number), Arc::clone(&self.record));
            Box::pin(work(client, record)) as BoxFuture<'static, ()>
        };
        (0..stage.clients).map(client).collect()
    }

    fn judge(&self) -> Vec<Violation> {
        let record = self.record.lock();
        let found = past::check(&record.writes, &record.compactions, &record.reads);
        let told = |violation: &past::Violation| {
            let of = match violation {
                past::Violation::Lost { read, .. }
                | past::Violation::Untrue { read }
                | past::Violation::Changed { reads: [_, read] }
                | past::Violation::Undead { read, .. }
                | past::Violation::RefusedForNothing { read } => &record.reads[*read],
            };
            Violation::of("past", format!("{violation}: {of:?}"))
        };
        let watches = past::check_watches(&record.compactions, &record.watches).into_iter().map(|violation| {
            let (past::WatchViolation::Skipped { watch } | past::WatchViolation::RefusedForNothing { watch }) =
                violation;
            Violation::of("past", format!("{violation}: {:?}", record.watches[watch]))
        });
        found.iter().map(told).chain(watches).take(10).collect()
    }

    fn tally(&self) -> Tally {
        self.record.lock().tally
    }

    fn notes(&self) -> Vec<String> {
        let record = self.record.lock();
        let refused = record.reads.iter().filter(|read| read.seen == Seen::Compacted).count();
        let (reads, compactions) = (record.reads.len(), record.compactions.len());
        vec![format!("{reads} reads of the past, {refused} of them too late, {compactions} compactions")]
    }
}

async fn work(mut client: Client, record: Arc<Mutex<Record>>) {
    while !client.stage().is_over() {
        match client.below(20) {
            0..=8 => write(&mut client, &record).await,
            9..=16 => read(&mut client, &record).await,
            17..=18 => watch(&mut client, &record).await,
            _ => compact(&mut client, &record).await,
        }
        client.stage().breathe().await;
    }
}

fn say(client: &Client, what: impl Into<String>) {
    client.stage().timeline.say(&format!("{NAME} {}", client.process.0), what);
}

fn any_key(client: &Client) -> String {
    format!("{NAME}/{}", client.below(KEYS))
}

async fn write(client: &mut Client, record: &Mutex<Record>) {
    let (key, value) = (any_key(client), client.unique());
    let put = PutRequest { key: Bytes::from(key.clone()), value: bytes_of(value), ..PutRequest::default() };
    let fate = match ask(KvClient::new(client.anywhere()).put(put)).await {
        Answer::Ok(answer) => {
            let revision = revision(answer.header.as_ref());
            say(client, format!("put {key} {value}: at {revision}"));
            client.stage().promises.lock().written(&key, revision, value);
            record.lock().writes.push(Write { key, revision, value });
            Fate::Ok
        }
        Answer::Failed(_) => Fate::Failed,
        Answer::Unknown(_) | Answer::Strange(_) => Fate::Unknown,
    };
    record.lock().count(fate);
}

async fn read(client: &mut Client, record: &Mutex<Record>) {
    let Some(at) = record.lock().recent(client) else { return };
    let key = any_key(client);
    let get = RangeRequest { key: Bytes::from(key.clone()), revision: at, ..RangeRequest::default() };
    let called = record.lock().place();
    let answer = ask(KvClient::new(client.anywhere()).range(get)).await;
    let mut record = record.lock();
    let returned = record.place();
    let seen = match answer {
        Answer::Ok(answer) => match answer.kvs.first() {
            None => Seen::Nothing,
            Some(kv) => match value_of(kv) {
                Ok(value) => Seen::Value { value, modified: kv.mod_revision },
                Err(what) => return client.stage().object(&what),
            },
        },
        Answer::Failed(why) if why.contains(COMPACTED) => Seen::Compacted,
        Answer::Failed(_) | Answer::Unknown(_) | Answer::Strange(_) => return record.count(Fate::Failed),
    };
    say(client, format!("read {key} at {at}: {seen:?}"));
    record.reads.push(Read { key, at, called, returned, seen });
    record.count(Fate::Ok);
}

/// From an acknowledged write on: what comes first.
async fn watch(client: &mut Client, record: &Mutex<Record>) {
    let Some(Write { key, revision: at, .. }) = record.lock().recent_write(client).cloned() else { return };
    let create =
        WatchCreateRequest { key: Bytes::from(key.clone()), start_revision: at, ..WatchCreateRequest::default() };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // A stream that goes on: its end would be the watch's.
    let requests = futures::stream::iter([request]).chain(futures::stream::pending());
    let mut watches = WatchClient::new(client.anywhere());
    let first = rt::timeout(FIRST_MESSAGE, async move {
        let mut answers = watches.watch(requests).await.ok()?.into_inner();
        while let Ok(Some(answer)) = answers.message().await {
            if answer.canceled {
                return (answer.compact_revision > 0).then_some(Ok(Seen::Compacted));
            }
            if let Some(kv) = answer.events.first().and_then(|event| event.kv.as_ref()) {
                let seen = |value| Seen::Value { value, modified: kv.mod_revision };
                return Some(value_of(kv).map(seen));
            }
        }
        None
    });
    let Ok(Some(first)) = first.await else { return record.lock().count(Fate::Failed) };
    let first = match first {
        Ok(first) => first,
        Err(what) => return client.stage().object(&what),
    };
    say(client, format!("watch {key} from {at}: {first:?}"));
    let mut record = record.lock();
    let returned = record.place();
    record.watches.push(Resumed { key, at, returned, first });
    record.count(Fate::Ok);
}

async fn compact(client: &mut Client, record: &Mutex<Record>) {
    let Some(revision) = record.lock().recent(client) else { return };
    let request = CompactionRequest { revision, physical: client.below(2) == 0 };
    let place = {
        let mut record = record.lock();
        let called = record.place();
        record.compactions.push(Compaction { revision, called, acknowledged: None });
        record.compactions.len() - 1
    };
    say(client, format!("compact to {revision} ..."));
    let answer = ask(KvClient::new(client.anywhere()).compact(request)).await;
    let mut record = record.lock();
    match answer {
        Answer::Ok(_) => {
            say(client, format!("compacted to {revision}"));
            let returned = record.place();
            record.compactions[place].acknowledged = Some(returned);
            record.count(Fate::Ok);
        }
        Answer::Failed(_) => record.count(Fate::Failed),
        Answer::Unknown(_) | Answer::Strange(_) => record.count(Fate::Unknown),
    }
}
