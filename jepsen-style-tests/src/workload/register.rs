//! Registers: clients put, get, delete and compare-and-set a few keys, each through any node.
//!
//! Judged key by key against `history/versioned.rs`, which knows values, versions and revisions; and over all keys,
//! that the store's revision is one counter for everybody.

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_proto::etcdserverpb::compare::{CompareTarget, TargetUnion};
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, TxnRequest, TxnResponse, request_op, response_op,
};
use holdfast_proto::mvccpb::KeyValue;

use super::keys::Keys;
use super::wire::{bytes_of, equal, operation, revision, value_of};
use super::{Answer, Client, Stage, Workload, ask};
use crate::checker::linearizable::{self, CONFIGURATIONS_MAX};
use crate::checker::revisions::{self, Stamp};
use crate::history::versioned::{Action, Expected, Found, Look, OfKey, Swap, Versioned, resolve};
use crate::history::{Fate, Operation, Recorder, Tally};
use crate::report::{Violation, of_verdict};

const SLOTS: usize = 4;
/// More than that of one key are too much to judge.
const KEY_OPERATIONS_MAX: u32 = 400;

pub struct Register {
    recorder: Recorder<OfKey>,
    keys: Keys,
}

impl Register {
    pub fn new(stage: &Stage) -> Self {
        Self {
            recorder: Recorder::new("register", &stage.timeline),
            keys: Keys::new("register", SLOTS, KEY_OPERATIONS_MAX),
        }
    }
}

impl Workload for Register {
    fn clients(&self, stage: &Stage) -> Vec<BoxFuture<'static, ()>> {
        let client = |number| {
            let (recorder, keys, stage) = (self.recorder.clone(), self.keys.clone(), stage.clone());
            let user = User { client: Client::new(&stage, number), recorder, keys, last: vec![None; SLOTS] };
            Box::pin(user.run()) as BoxFuture<'static, ()>
        };
        (0..stage.clients).map(client).collect()
    }

    fn judge(&self) -> Vec<Violation> {
        judge(self.recorder.history().operations)
    }

    fn tally(&self) -> Tally {
        self.recorder.tally()
    }
}

struct User {
    client: Client,
    recorder: Recorder<OfKey>,
    keys: Keys,
    /// What this client saw last in each slot, and under which key.
    last: Vec<Option<(String, Found)>>,
}

impl User {
    async fn run(mut self) {
        while !self.client.stage().is_over() {
            let slot = self.client.index(self.keys.slots());
            let key = self.keys.take(slot);
            let action = self.choose(slot, &key);
            self.act(slot, key, action).await;
            self.client.stage().breathe().await;
        }
    }

    fn choose(&mut self, slot: usize, key: &str) -> Action {
        match self.client.below(10) {
            0..=3 => Action::Get(None),
            4..=6 => Action::Put { value: self.client.unique(), at: None },
            7 if self.client.below(2) == 0 => Action::Delete(None),
            _ => {
                let last = self.last[slot].as_ref().filter(|(seen, _)| seen == key).map(|(_, found)| *found);
                let expected = match last {
                    Some(found) if self.client.below(2) == 0 => Expected::Value(found.value),
                    Some(found) => Expected::Modified(found.modified),
                    None => Expected::Absent,
                };
                Action::Cas { expected, new: self.client.unique(), answer: None }
            }
        }
    }

    async fn act(&mut self, slot: usize, key: String, action: Action) {
        let kv = KvClient::new(self.client.anywhere());
        let open = self.recorder.begin(self.client.process, OfKey { key: key.clone(), action: action.clone() });
        match carry_out(kv, &key, &action).await {
            Answer::Ok(answered) => {
                self.learn(slot, &key, &answered);
                open.ok(OfKey { key, action: answered });
            }
            Answer::Failed(why) => open.failed(&why),
            Answer::Strange(what) => {
                self.client.stage().object(&what);
                open.unknown(&what);
            }
            // A read that was not answered changed nothing and saw nothing.
            Answer::Unknown(why) if matches!(action, Action::Get(_)) => open.failed(&why),
            Answer::Unknown(why) => {
                self.keys.note_unknown(slot);
                if matches!(action, Action::Delete(_)) {
                    self.client.stage().promises.lock().perhaps_removed(&key);
                }
                open.unknown(&why);
            }
        }
    }

    fn learn(&mut self, slot: usize, key: &str, answered: &Action) {
        let mut promises = self.client.stage().promises.lock();
        let seen = match answered {
            Action::Get(Some(look)) | Action::Cas { answer: Some(Swap::Refused(look)), .. } => look.found,
            Action::Put { value, at: Some(at) } | Action::Cas { new: value, answer: Some(Swap::Done { at }), .. } => {
                promises.written(key, *at, *value);
                // Good enough for the next comparison, which only needs the revision or the value.
                Some(Found { value: *value, version: 0, created: 0, modified: *at })
            }
            Action::Delete(Some((true, at))) => {
                promises.removed(key, *at);
                None
            }
            _ => None,
        };
        self.last[slot] = seen.map(|found| (key.to_owned(), found));
    }
}

async fn carry_out(mut kv: KvClient<holdfast_node::rt::Channel>, key: &str, action: &Action) -> Answer<Action> {
    let name = Bytes::copy_from_slice(key.as_bytes());
    match *action {
        Action::Get(_) => {
            let request = RangeRequest { key: name, ..RangeRequest::default() };
            ask(kv.range(request)).await.and_then(|answer| match look(&answer) {
                Ok(look) => Answer::Ok(Action::Get(Some(look))),
                Err(what) => Answer::Strange(what),
            })
        }
        Action::Put { value, .. } => {
            let put = PutRequest { key: name, value: bytes_of(value), ..PutRequest::default() };
            ask(kv.put(put)).await.map(|answer| Action::Put { value, at: Some(revision(answer.header.as_ref())) })
        }
        Action::Delete(_) => {
            let delete = DeleteRangeRequest { key: name, ..DeleteRangeRequest::default() };
            let answer = ask(kv.delete_range(delete)).await;
            answer.map(|answer| Action::Delete(Some((answer.deleted == 1, revision(answer.header.as_ref())))))
        }
        Action::Cas { expected, new, .. } => {
            let answer = ask(kv.txn(compare_and_set(name, expected, new))).await;
            answer.and_then(|answer| match swapped(&answer) {
                Ok(swap) => Answer::Ok(Action::Cas { expected, new, answer: Some(swap) }),
                Err(what) => Answer::Strange(what),
            })
        }
    }
}

fn compare_and_set(key: Bytes, expected: Expected, new: u64) -> TxnRequest {
    let (target, union) = match expected {
        Expected::Absent => (CompareTarget::Version, TargetUnion::Version(0)),
        Expected::Value(value) => (CompareTarget::Value, TargetUnion::Value(bytes_of(value))),
        Expected::Modified(at) => (CompareTarget::Mod, TargetUnion::ModRevision(at)),
    };
    let put = PutRequest { key: key.clone(), value: bytes_of(new), ..PutRequest::default() };
    let get = RangeRequest { key: key.clone(), ..RangeRequest::default() };
    TxnRequest {
        compare: vec![equal(key, target, union)],
        success: vec![operation(request_op::Request::RequestPut(put))],
        failure: vec![operation(request_op::Request::RequestRange(get))],
    }
}

fn swapped(answer: &TxnResponse) -> Result<Swap, String> {
    if answer.succeeded {
        return Ok(Swap::Done { at: revision(answer.header.as_ref()) });
    }
    match answer.responses.first().and_then(|first| first.response.as_ref()) {
        Some(response_op::Response::ResponseRange(range)) => {
            let mut look = look(range)?;
            look.revision = revision(answer.header.as_ref());
            Ok(Swap::Refused(look))
        }
        other => Err(format!("a refused transaction answers with {other:?}")),
    }
}

fn look(answer: &RangeResponse) -> Result<Look, String> {
    let found = answer.kvs.first().map(found).transpose()?;
    Ok(Look { found, revision: revision(answer.header.as_ref()) })
}

fn found(kv: &KeyValue) -> Result<Found, String> {
    Ok(Found { value: value_of(kv)?, version: kv.version, created: kv.create_revision, modified: kv.mod_revision })
}

/// Per key, and the revisions of all.
pub fn judge(mut operations: Vec<Operation<OfKey>>) -> Vec<Violation> {
    let mut violations = Vec::new();
    if let Err(what) = resolve(&mut operations) {
        violations.push(Violation::of("revisions", what));
    }
    let split = |one: &OfKey| (one.key.clone(), one.action.clone());
    let judge = |operations: &[_]| linearizable::check_by_key(&Versioned, operations, split, CONFIGURATIONS_MAX);
    violations.extend(of_verdict(&operations, |one| &one.key, judge));
    violations.extend(revisions::check(&stamps(&operations)).iter().map(|one| Violation::of("revisions", one)));
    violations
}

fn stamps(operations: &[Operation<OfKey>]) -> Vec<Stamp> {
    let answered = operations.iter().filter(|one| one.fate == Fate::Ok);
    let stamp = |one: &Operation<OfKey>| {
        let (revision, wrote) = one.action.action.revision()?;
        Some(Stamp { called: one.called, returned: one.returned?, revision, wrote })
    };
    answered.filter_map(stamp).collect()
}
