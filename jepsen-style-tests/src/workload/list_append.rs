//! Transactions that read lists and append to them.
//!
//! The store knows no lists: one is text, and an append is a write under the condition that every key of the
//! transaction is as it was when it was read. So the transaction happened at its second request, or it did not happen.

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::compare::{CompareTarget, TargetUnion};
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::{PutRequest, RangeRequest, TxnRequest, TxnResponse, request_op, response_op};

use super::keys::Keys;
use super::wire::{equal, operation};
use super::{Answer, Client, Stage, Workload, ask};
use crate::checker::serializable::{self, Element, Order, Step};
use crate::history::{Operation, Recorder, Tally};
use crate::report::Violation;

const NAME: &str = "list-append";
const SLOTS: usize = 3;
/// Lists stay this short.
const APPENDS_MAX: u32 = 80;
const ANOMALIES_SHOWN: usize = 10;

#[derive(Clone, Debug)]
struct Transaction(Vec<Step>);

impl fmt::Display for Transaction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            out.write_str(if at == 0 { "" } else { "; " })?;
            match step {
                Step::Append { key, element } => write!(out, "{key} += {element}")?,
                Step::Read { key, seen: None } => write!(out, "{key}?")?,
                Step::Read { key, seen: Some(seen) } => write!(out, "{key} = {}", text_of(seen))?,
            }
        }
        Ok(())
    }
}

pub struct ListAppend {
    recorder: Recorder<Transaction>,
    keys: Keys,
}

impl ListAppend {
    pub fn new(stage: &Stage) -> Self {
        Self { recorder: Recorder::new(NAME, &stage.timeline), keys: Keys::new(NAME, SLOTS, APPENDS_MAX) }
    }
}

impl Workload for ListAppend {
    fn clients(&self, stage: &Stage) -> Vec<BoxFuture<'static, ()>> {
        let client = |number| {
            let (recorder, keys) = (self.recorder.clone(), self.keys.clone());
            let user = User { client: Client::new(stage, number), recorder, keys };
            Box::pin(user.run()) as BoxFuture<'static, ()>
        };
        (0..stage.clients).map(client).collect()
    }

    fn judge(&self) -> Vec<Violation> {
        let transactions: Vec<Operation<Vec<Step>>> =
            self.recorder.history().operations.into_iter().map(plain).collect();
        let anomalies = serializable::check(&transactions, Order::RealTime);
        anomalies.iter().take(ANOMALIES_SHOWN).map(|anomaly| Violation::of("serializable", anomaly)).collect()
    }

    fn tally(&self) -> Tally {
        self.recorder.tally()
    }
}

fn plain(operation: Operation<Transaction>) -> Operation<Vec<Step>> {
    let Operation { process, action, fate, called, returned, line } = operation;
    Operation { process, action: action.0, fate, called, returned, line }
}

struct User {
    client: Client,
    recorder: Recorder<Transaction>,
    keys: Keys,
}

/// What was read of a key, and the revision of its last change.
struct Seen {
    list: Vec<Element>,
    modified: i64,
}

impl User {
    async fn run(mut self) {
        while !self.client.stage().is_over() {
            let steps = self.choose();
            let open = self.recorder.begin(self.client.process, Transaction(steps.clone()));
            let mut kv = KvClient::new(self.client.anywhere());
            match carry_out(&mut kv, &steps).await {
                Answer::Ok(done) => open.ok(Transaction(done)),
                Answer::Failed(why) => open.failed(&why),
                Answer::Unknown(why) => {
                    (0..SLOTS).for_each(|slot| self.keys.note_unknown(slot));
                    open.unknown(&why);
                }
                Answer::Strange(what) => {
                    self.client.stage().object(&what);
                    open.unknown(&what);
                }
            }
            self.client.stage().breathe().await;
        }
    }

    /// Of one to three lists: reads each, and appends to some.
    fn choose(&mut self) -> Vec<Step> {
        let first = self.client.index(SLOTS);
        let count = 1 + self.client.index(SLOTS);
        let mut steps = Vec::new();
        for slot in (0..count).map(|step| (first + step) % SLOTS) {
            let key = self.keys.take(slot);
            steps.push(Step::Read { key: key.clone(), seen: None });
            if self.client.below(2) == 0 {
                steps.push(Step::Append { key, element: self.client.unique() });
            }
        }
        steps
    }
}

/// Reads, and where something is to be appended, writes on the condition that nothing has changed.
async fn carry_out(kv: &mut KvClient<rt::Channel>, steps: &[Step]) -> Answer<Vec<Step>> {
    let keys: Vec<&str> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Read { key, .. } => Some(key.as_str()),
            Step::Append { .. } => None,
        })
        .collect();
    let read = match read_all(kv, &keys).await {
        // Nothing has been written yet.
        Answer::Unknown(why) => Answer::Failed(why),
        other => other,
    };
    let seen = match read {
        Answer::Ok(seen) => seen,
        other => return other.map(|_| Vec::new()),
    };
    let of = |key: &str| keys.iter().position(|other| *other == key).map(|at| &seen[at]).expect("each key is read");
    let done = steps.iter().map(|step| match step {
        Step::Read { key, .. } => Step::Read { key: key.clone(), seen: Some(of(key).list.clone()) },
        Step::Append { .. } => step.clone(),
    });
    let done: Vec<Step> = done.collect();
    let puts = steps.iter().filter_map(|step| match step {
        Step::Append { key, element } => {
            let list: Vec<Element> = of(key).list.iter().copied().chain([*element]).collect();
            let put =
                PutRequest { key: Bytes::from(key.clone()), value: text_of(&list).into(), ..PutRequest::default() };
            Some(operation(request_op::Request::RequestPut(put)))
        }
        Step::Read { .. } => None,
    });
    let success: Vec<_> = puts.collect();
    if success.is_empty() {
        return Answer::Ok(done);
    }
    let unchanged = keys.iter().zip(&seen).map(|(key, seen)| {
        let key = Bytes::copy_from_slice(key.as_bytes());
        equal(key, CompareTarget::Mod, TargetUnion::ModRevision(seen.modified))
    });
    let txn = TxnRequest { compare: unchanged.collect(), success, failure: Vec::new() };
    ask(kv.txn(txn)).await.and_then(|answer| {
        if answer.succeeded { Answer::Ok(done) } else { Answer::Failed("something has changed".to_owned()) }
    })
}

async fn read_all(kv: &mut KvClient<rt::Channel>, keys: &[&str]) -> Answer<Vec<Seen>> {
    let get = |key: &&str| {
        let get = RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..RangeRequest::default() };
        operation(request_op::Request::RequestRange(get))
    };
    let txn = TxnRequest { compare: Vec::new(), success: keys.iter().map(get).collect(), failure: Vec::new() };
    ask(kv.txn(txn)).await.and_then(|answer| match lists(&answer) {
        Ok(lists) if lists.len() == keys.len() => Answer::Ok(lists),
        Ok(lists) => Answer::Strange(format!("{} answers to {} questions", lists.len(), keys.len())),
        Err(what) => Answer::Strange(what),
    })
}

fn lists(answer: &TxnResponse) -> Result<Vec<Seen>, String> {
    let of = |response: &holdfast_proto::etcdserverpb::ResponseOp| match &response.response {
        Some(response_op::Response::ResponseRange(range)) => match range.kvs.first() {
            None => Ok(Seen { list: Vec::new(), modified: 0 }),
            Some(kv) => {
                let text = String::from_utf8_lossy(&kv.value);
                let list: Result<Vec<Element>, _> = text.split(',').map(str::parse).collect();
                let list = list.map_err(|_| format!("nobody wrote {text:?}"))?;
                Ok(Seen { list, modified: kv.mod_revision })
            }
        },
        other => Err(format!("a read is answered with {other:?}")),
    };
    answer.responses.iter().map(of).collect()
}

fn text_of(list: &[Element]) -> String {
    let elements: Vec<String> = list.iter().map(Element::to_string).collect();
    elements.join(",")
}
