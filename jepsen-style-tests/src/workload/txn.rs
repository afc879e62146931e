//! Transactions with comparisons of all kinds, nested ones too, over objects of a few keys.
//!
//! Judged object by object against `history/transaction.rs`.

use std::fmt::Display;

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest, TxnResponse, request_op,
    response_op,
};

use super::keys::Keys;
use super::wire::{bytes_of, operation, revision, value_of};
use super::{Answer as Told, Client, Stage, Workload, ask};
use crate::checker::linearizable::{self, CONFIGURATIONS_MAX};
use crate::history::transaction::{
    Action, Answer, KEYS, Key, OfObject, Op, Outcome, Sign, Subject, Test, Transactions, Txn, resolve,
};
use crate::history::versioned::Found;
use crate::history::{Recorder, Tally};
use crate::report::{Violation, of_verdict};

const NAME: &str = "txn";
const OBJECTS: usize = 2;
const TRANSACTIONS_MAX: u32 = 200;

pub struct Transact {
    recorder: Recorder<OfObject>,
    objects: Keys,
}

impl Transact {
    pub fn new(stage: &Stage) -> Self {
        let objects = Keys::new(NAME, OBJECTS, TRANSACTIONS_MAX);
        Self { recorder: Recorder::new(NAME, &stage.timeline), objects }
    }
}

impl Workload for Transact {
    fn clients(&self, stage: &Stage) -> Vec<BoxFuture<'static, ()>> {
        let client = |number| {
            let (recorder, objects) = (self.recorder.clone(), self.objects.clone());
            let user = User { client: Client::new(stage, number), recorder, objects, last: Vec::new() };
            Box::pin(user.run()) as BoxFuture<'static, ()>
        };
        (0..stage.clients).map(client).collect()
    }

    fn judge(&self) -> Vec<Violation> {
        let mut operations = self.recorder.history().operations;
        let mut violations = Vec::new();
        if let Err(what) = resolve(&mut operations) {
            violations.push(Violation::of("revisions", what));
        }
        let split = |one: &OfObject| (one.object.clone(), one.action.clone());
        let judge = |operations: &[_]| linearizable::check_by_key(&Transactions, operations, split, CONFIGURATIONS_MAX);
        violations.extend(of_verdict(&operations, |one| &one.object, judge));
        violations
    }

    fn tally(&self) -> Tally {
        self.recorder.tally()
    }
}

struct User {
    client: Client,
    recorder: Recorder<OfObject>,
    objects: Keys,
    /// What was read last, for comparisons that have a chance.
    last: Vec<Found>,
}

impl User {
    async fn run(mut self) {
        while !self.client.stage().is_over() {
            let slot = self.client.index(OBJECTS);
            let object = self.objects.take(slot);
            let txn = self.transaction();
            let action = Action { txn, at: None, answer: None };
            let mut kv = KvClient::new(self.client.anywhere());
            let request = request(&object, &action.txn);
            let open =
                self.recorder.begin(self.client.process, OfObject { object: object.clone(), action: action.clone() });
            let told = ask(kv.txn(request)).await.and_then(|told| match answer(&told) {
                Ok(answer) => Told::Ok((revision(told.header.as_ref()), answer)),
                Err(what) => Told::Strange(what),
            });
            match told {
                Told::Ok((at, answer)) => {
                    self.learn(&answer);
                    let action = Action { at: Some(at), answer: Some(answer), ..action };
                    open.ok(OfObject { object, action });
                }
                Told::Failed(why) => open.failed(&why),
                Told::Unknown(why) => {
                    self.objects.note_unknown(slot);
                    open.unknown(&why);
                }
                Told::Strange(what) => {
                    self.client.stage().object(&what);
                    open.unknown(&what);
                }
            }
            self.client.stage().breathe().await;
        }
    }

    fn learn(&mut self, answer: &Answer) {
        let seen = answer.seen();
        if !seen.is_empty() {
            self.last = seen;
        }
    }

    /// Each key is written at most once, whichever branches are taken: a store refuses the rest.
    fn transaction(&mut self) -> Txn {
        let nests = self.client.below(3) == 0;
        let nested_key = if nests { Some(self.client.index(KEYS)) } else { None };
        let tests = (0..self.client.below(3)).map(|_| self.test()).collect();
        let (mut success, failure) = (self.ops(nested_key), self.ops(nested_key));
        if let Some(key) = nested_key {
            let tests = vec![self.test()];
            let (one, other) = (self.write(key), self.write(key));
            let nested = Txn { tests, success: vec![one], failure: vec![Op::Get(key), other] };
            success.push(Op::Nested(Box::new(nested)));
        }
        // One without any operation is, as in etcd, answered from a member's own state, however old that is.
        if success.is_empty() && failure.is_empty() {
            success.push(Op::Get(0));
        }
        Txn { tests, success, failure }
    }

    fn ops(&mut self, without: Option<Key>) -> Vec<Op> {
        let mut ops = Vec::new();
        for key in 0..KEYS {
            match self.client.below(4) {
                0 => ops.push(Op::Get(key)),
                1 if Some(key) != without => {
                    let write = self.write(key);
                    ops.push(write);
                    ops.push(Op::Get(key));
                }
                _ => {}
            }
        }
        ops
    }

    fn write(&mut self, key: Key) -> Op {
        if self.client.below(4) == 0 { Op::Delete(key) } else { Op::Put(key, self.client.unique()) }
    }

    fn test(&mut self) -> Test {
        let key = self.client.index(KEYS);
        let known = if self.last.is_empty() { None } else { Some(self.last[self.client.index(self.last.len())]) };
        let equality = if self.client.below(3) == 0 { Sign::NotEqual } else { Sign::Equal };
        match (self.client.below(3), known) {
            (0, Some(found)) => Test { key, sign: equality, subject: Subject::Value(found.value) },
            (1, Some(found)) => Test { key, sign: equality, subject: Subject::Modified(found.modified) },
            _ => {
                let signs = [Sign::Equal, Sign::NotEqual, Sign::Greater, Sign::Less];
                let sign = signs[self.client.index(signs.len())];
                let number = i64::try_from(self.client.below(4)).expect("small");
                Test { key, sign, subject: Subject::Version(number) }
            }
        }
    }
}

fn name(object: &str, key: impl Display) -> Bytes {
    Bytes::from(format!("{object}/{key}"))
}

fn request(object: &str, txn: &Txn) -> TxnRequest {
    TxnRequest {
        compare: txn.tests.iter().map(|test| compare(object, test)).collect(),
        success: txn.success.iter().map(|op| wire(object, op)).collect(),
        failure: txn.failure.iter().map(|op| wire(object, op)).collect(),
    }
}

fn compare(object: &str, test: &Test) -> Compare {
    let result = match test.sign {
        Sign::Equal => CompareResult::Equal,
        Sign::NotEqual => CompareResult::NotEqual,
        Sign::Greater => CompareResult::Greater,
        Sign::Less => CompareResult::Less,
    };
    let (target, union) = match test.subject {
        Subject::Value(value) => (CompareTarget::Value, TargetUnion::Value(bytes_of(value))),
        Subject::Version(number) => (CompareTarget::Version, TargetUnion::Version(number)),
        Subject::Modified(at) => (CompareTarget::Mod, TargetUnion::ModRevision(at)),
    };
    Compare {
        result: result.into(),
        target: target.into(),
        key: name(object, test.key),
        target_union: Some(union),
        ..Compare::default()
    }
}

fn wire(object: &str, op: &Op) -> RequestOp {
    operation(match op {
        Op::Get(key) => {
            request_op::Request::RequestRange(RangeRequest { key: name(object, key), ..RangeRequest::default() })
        }
        Op::Put(key, value) => {
            let put = PutRequest { key: name(object, key), value: bytes_of(*value), ..PutRequest::default() };
            request_op::Request::RequestPut(put)
        }
        Op::Delete(key) => {
            let delete = DeleteRangeRequest { key: name(object, key), ..DeleteRangeRequest::default() };
            request_op::Request::RequestDeleteRange(delete)
        }
        Op::Nested(txn) => request_op::Request::RequestTxn(request(object, txn)),
    })
}

fn answer(told: &TxnResponse) -> Result<Answer, String> {
    let outcomes: Result<Vec<Outcome>, String> = told.responses.iter().map(outcome).collect();
    Ok(Answer { succeeded: told.succeeded, outcomes: outcomes? })
}

fn outcome(response: &ResponseOp) -> Result<Outcome, String> {
    match &response.response {
        Some(response_op::Response::ResponseRange(range)) => {
            let found = |kv: &holdfast_proto::mvccpb::KeyValue| {
                let (version, created, modified) = (kv.version, kv.create_revision, kv.mod_revision);
                Ok::<_, String>(Found { value: value_of(kv)?, version, created, modified })
            };
            range.kvs.first().map(found).transpose().map(Outcome::Got)
        }
        Some(response_op::Response::ResponsePut(_)) => Ok(Outcome::Put),
        Some(response_op::Response::ResponseDeleteRange(deleted)) => Ok(Outcome::Deleted(deleted.deleted > 0)),
        Some(response_op::Response::ResponseTxn(txn)) => answer(txn).map(Outcome::Nested),
        None => Err("an operation without an answer".to_owned()),
    }
}
