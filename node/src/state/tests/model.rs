//! The same store, written so naively that it can be seen to be right: a list of all events, searched from end to end
//! for every question.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_proto::etcdserverpb::compare::TargetUnion;
use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::response_op::Response;
use holdfast_proto::etcdserverpb::*;
use holdfast_proto::log::command::Request;
use holdfast_proto::log::outcome::Result as Answer;
use holdfast_proto::log::refusal::Reason;
use holdfast_proto::log::{Command, LeaseExpired};
use holdfast_proto::mvccpb::KeyValue;

use crate::types::value_checksum;

/// A put has a version of at least 1, a deletion 0.
#[derive(Clone, Debug)]
pub struct Happened {
    pub sub: u64,
    pub kv: KeyValue,
}

#[derive(Clone, Default)]
pub struct Model {
    pub events: Vec<Happened>,
    pub revision: i64,
    pub compacted: Option<i64>,
    pub leases: BTreeMap<i64, i64>,
    /// And whether the member raised it itself.
    alarms: BTreeMap<(i32, u64), bool>,
}

type Refused = Reason;

fn in_range(key: &[u8], start: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == start,
        [0] => key >= start,
        _ => key >= start && key < end,
    }
}

impl Model {
    pub fn new() -> Self {
        Self { revision: 1, ..Self::default() }
    }

    pub fn oldest(&self) -> i64 {
        self.compacted.unwrap_or(0)
    }

    /// Live keys of a range as of a revision, in the order of keys.
    pub fn live(&self, start: &[u8], end: &[u8], at: i64) -> Vec<KeyValue> {
        let keys: BTreeSet<&Bytes> = self.events.iter().map(|event| &event.kv.key).collect();
        let newest = |key: &Bytes| self.events.iter().rfind(|event| event.kv.key == key && event.kv.mod_revision <= at);
        let states = keys.into_iter().filter(|key| in_range(key, start, end)).filter_map(newest);
        states.filter(|event| event.kv.version > 0).map(|event| event.kv.clone()).collect()
    }

    /// What compaction has left.
    pub fn visible(&self) -> Vec<&Happened> {
        let oldest = self.oldest();
        let is_replaced = |at: usize| {
            let key = &self.events[at].kv.key;
            self.events[at + 1..].iter().any(|later| later.kv.key == key && later.kv.mod_revision <= oldest)
        };
        let is_visible =
            |at: usize, event: &Happened| event.kv.mod_revision >= oldest || (event.kv.version > 0 && !is_replaced(at));
        self.events.iter().enumerate().filter(|(at, event)| is_visible(*at, event)).map(|(_, event)| event).collect()
    }

    pub fn range(&self, request: &RangeRequest, base: i64) -> Result<RangeResponse, Refused> {
        if request.revision > base {
            return Err(Reason::FutureRevision);
        }
        if request.revision > 0 && request.revision < self.oldest() {
            return Err(Reason::Compacted);
        }
        let at = if request.revision > 0 { request.revision } else { i64::MAX };
        let mut kvs = self.live(&request.key, &request.range_end, at);
        let count = kvs.len() as i64;
        if request.count_only {
            kvs.clear();
        }
        let RangeRequest { min_mod_revision, max_mod_revision, min_create_revision, max_create_revision, .. } =
            *request;
        kvs.retain(|kv| min_mod_revision == 0 || kv.mod_revision >= min_mod_revision);
        kvs.retain(|kv| max_mod_revision == 0 || kv.mod_revision <= max_mod_revision);
        kvs.retain(|kv| min_create_revision == 0 || kv.create_revision >= min_create_revision);
        kvs.retain(|kv| max_create_revision == 0 || kv.create_revision <= max_create_revision);
        let has_filters = [min_mod_revision, max_mod_revision, min_create_revision, max_create_revision]
            .iter()
            .any(|bound| *bound != 0);
        let more = request.limit > 0 && kvs.len() as i64 > request.limit;
        if more && request.sort_order == 0 && !has_filters {
            // One more than the answer has: so many etcd takes before it sorts.
            kvs.truncate(request.limit as usize + 1);
        }
        // Stable, so that equals stay in the order of keys.
        kvs.sort_by(|a, b| {
            let order = match request.sort_target {
                0 => a.key.cmp(&b.key),
                1 => a.version.cmp(&b.version),
                2 => a.create_revision.cmp(&b.create_revision),
                3 => a.mod_revision.cmp(&b.mod_revision),
                _ => a.value.cmp(&b.value),
            };
            if request.sort_order == 2 { order.reverse() } else { order }
        });
        if more {
            kvs.truncate(request.limit as usize);
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        Ok(RangeResponse { header: self.header(), kvs, more, count })
    }

    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision: self.revision, ..Default::default() })
    }

    fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.live(key, b"", i64::MAX).pop()
    }

    fn record(&mut self, base: i64, kv: KeyValue) {
        let sub = self.events.iter().filter(|event| event.kv.mod_revision == base + 1).count() as u64;
        self.revision = base + 1;
        self.events.push(Happened { sub, kv: KeyValue { mod_revision: base + 1, ..kv } });
    }

    fn put(&mut self, request: &PutRequest, base: i64) -> Result<PutResponse, Refused> {
        if request.lease != 0 && !self.leases.contains_key(&request.lease) {
            return Err(Reason::LeaseNotFound);
        }
        let old = self.get(&request.key);
        if (request.ignore_value || request.ignore_lease) && old.is_none() {
            return Err(Reason::KeyNotFound);
        }
        let mut kv = KeyValue {
            key: request.key.clone(),
            create_revision: old.as_ref().map_or(base + 1, |old| old.create_revision),
            version: old.as_ref().map_or(1, |old| old.version + 1),
            value: request.value.clone(),
            lease: request.lease,
            mod_revision: 0,
        };
        if request.ignore_value {
            kv.value = old.as_ref().unwrap().value.clone();
        }
        if request.ignore_lease {
            kv.lease = old.as_ref().unwrap().lease;
        }
        self.record(base, kv);
        Ok(PutResponse { header: self.header(), prev_kv: old.filter(|_| request.prev_kv) })
    }

    fn delete(&mut self, request: &DeleteRangeRequest, base: i64) -> DeleteRangeResponse {
        let found = self.live(&request.key, &request.range_end, i64::MAX);
        for kv in &found {
            self.record(base, KeyValue { key: kv.key.clone(), ..Default::default() });
        }
        let deleted = found.len() as i64;
        let prev_kvs = if request.prev_kv { found } else { Vec::new() };
        DeleteRangeResponse { header: self.header(), deleted, prev_kvs }
    }

    fn end_lease(&mut self, id: i64) {
        let base = self.revision;
        for kv in self.live(b"\0", b"\0", i64::MAX).into_iter().filter(|kv| kv.lease == id) {
            self.record(base, KeyValue { key: kv.key, ..Default::default() });
        }
        self.leases.remove(&id);
    }

    fn holds(&self, compare: &Compare) -> bool {
        let missing = || if compare.target == 3 { vec![] } else { vec![KeyValue::default()] };
        let found = self.live(&compare.key, &compare.range_end, i64::MAX);
        let candidates = if found.is_empty() { missing() } else { found };
        !candidates.is_empty()
            && candidates.iter().all(|kv| {
                let wanted = |target| match (target, &compare.target_union) {
                    (0, Some(TargetUnion::Version(number)))
                    | (1, Some(TargetUnion::CreateRevision(number)))
                    | (2, Some(TargetUnion::ModRevision(number)))
                    | (4, Some(TargetUnion::Lease(number))) => *number,
                    _ => 0,
                };
                let order = match (compare.target, &compare.target_union) {
                    (0, _) => kv.version.cmp(&wanted(0)),
                    (1, _) => kv.create_revision.cmp(&wanted(1)),
                    (2, _) => kv.mod_revision.cmp(&wanted(2)),
                    (3, Some(TargetUnion::Value(value))) => kv.value.cmp(value),
                    (3, _) => kv.value.cmp(&Bytes::new()),
                    _ => kv.lease.cmp(&wanted(4)),
                };
                let wanted = [&[Ordering::Equal][..], &[Ordering::Greater], &[Ordering::Less]];
                wanted.get(compare.result as usize).map_or(order != Ordering::Equal, |wanted| wanted.contains(&order))
            })
    }

    /// `before` is the state that conditions look at.
    fn txn(&mut self, before: &Model, txn: &TxnRequest) -> Result<TxnResponse, Refused> {
        let succeeded = txn.compare.iter().all(|compare| before.holds(compare));
        let mut responses = Vec::new();
        for op in if succeeded { &txn.success } else { &txn.failure } {
            let base = before.revision;
            let response = match op.request.as_ref().unwrap() {
                Op::RequestRange(request) => Response::ResponseRange(self.range(request, base)?),
                Op::RequestPut(request) => Response::ResponsePut(self.put(request, base)?),
                Op::RequestDeleteRange(request) => Response::ResponseDeleteRange(self.delete(request, base)),
                Op::RequestTxn(request) => Response::ResponseTxn(self.txn(before, request)?),
            };
            responses.push(ResponseOp { response: Some(response) });
        }
        Ok(TxnResponse { header: Some(ResponseHeader::default()), succeeded, responses })
    }

    /// The operations that a transaction comes to, in order.
    fn chosen<'t>(&self, txn: &'t TxnRequest) -> Vec<&'t Op> {
        let ops = if txn.compare.iter().all(|compare| self.holds(compare)) { &txn.success } else { &txn.failure };
        let of_op = |op: &'t RequestOp| match op.request.as_ref().unwrap() {
            Op::RequestTxn(nested) => self.chosen(nested),
            op => vec![op],
        };
        ops.iter().flat_map(of_op).collect()
    }

    /// Of several reasons to refuse a transaction, the first put's is named, then the first range's.
    fn refuse_txn(&self, txn: &TxnRequest) -> Result<(), Refused> {
        let chosen = self.chosen(txn);
        for op in &chosen {
            let Op::RequestPut(put) = op else { continue };
            if (put.ignore_value || put.ignore_lease) && self.get(&put.key).is_none() {
                return Err(Reason::KeyNotFound);
            }
            if put.lease != 0 && !self.leases.contains_key(&put.lease) {
                return Err(Reason::LeaseNotFound);
            }
        }
        for op in &chosen {
            let Op::RequestRange(range) = op else { continue };
            if range.revision < 0 && range.revision < self.compacted.unwrap_or(-1) {
                return Err(Reason::Compacted);
            }
            self.range(range, self.revision)?;
        }
        Ok(())
    }

    /// The answer, or the reason of the refusal.
    pub fn apply(&mut self, command: &Command, term: u64) -> Result<Answer, Refused> {
        let before = self.clone();
        let answer = self.try_apply(&before, command, term);
        if answer.is_err() {
            *self = before;
        }
        answer
    }

    fn try_apply(&mut self, before: &Model, command: &Command, term: u64) -> Result<Answer, Refused> {
        let request = command.request.as_ref().unwrap();
        self.refuse_for_alarms(request)?;
        if let Request::Put(put) = request
            && command.value_checksums != [value_checksum(&put.key, &put.value)]
        {
            return Err(Reason::ChecksumMismatch);
        }
        Ok(match request {
            Request::Put(request) => Answer::Put(self.put(request, before.revision)?),
            Request::DeleteRange(request) => Answer::DeleteRange(self.delete(request, before.revision)),
            Request::Txn(request) => {
                self.refuse_txn(request)?;
                let mut response = self.txn(before, request)?;
                response.header = self.header();
                Answer::Txn(response)
            }
            Request::Compact(request) => {
                if request.revision <= self.compacted.unwrap_or(-1) {
                    return Err(Reason::Compacted);
                }
                if request.revision > self.revision {
                    return Err(Reason::FutureRevision);
                }
                self.compacted = Some(request.revision);
                Answer::Compact(CompactionResponse { header: self.header() })
            }
            Request::LeaseGrant(LeaseGrantRequest { id: 0, .. }) => return Err(Reason::LeaseNotFound),
            Request::LeaseGrant(LeaseGrantRequest { id, ttl }) => {
                if self.leases.insert(*id, *ttl).is_some() {
                    return Err(Reason::LeaseExists);
                }
                Answer::LeaseGrant(LeaseGrantResponse { header: self.header(), id: *id, ttl: *ttl, error: "".into() })
            }
            Request::LeaseRevoke(request) => {
                if !self.leases.contains_key(&request.id) {
                    return Err(Reason::LeaseNotFound);
                }
                self.end_lease(request.id);
                Answer::LeaseRevoke(LeaseRevokeResponse { header: self.header() })
            }
            Request::AuthChange(_) => panic!("users have scripts of their own"),
            Request::LeaseExpire(request) => {
                let mut lease_ids = Vec::new();
                for id in request.lease_ids.iter().filter(|_| request.leader_term == term) {
                    if self.leases.contains_key(id) {
                        self.end_lease(*id);
                        lease_ids.push(*id);
                    }
                }
                Answer::LeaseExpire(LeaseExpired { lease_ids })
            }
            Request::Alarm(request) => Answer::Alarm(self.alarm(request, command.raised_by_member)),
        })
    }

    fn refuse_for_alarms(&self, request: &Request) -> Result<(), Refused> {
        let is_on = |kind| self.alarms.keys().any(|alarm| alarm.0 == kind);
        let grows = match request {
            Request::Alarm(_) => return Ok(()),
            Request::Put(_) | Request::LeaseGrant(_) => true,
            Request::Txn(txn) => format!("{txn:?}").contains("PutRequest"),
            _ => false,
        };
        match (is_on(2), is_on(1) && grows) {
            (true, _) => Err(Reason::Corrupt),
            (false, true) => Err(Reason::NoSpace),
            (false, false) => Ok(()),
        }
    }

    fn alarm(&mut self, request: &AlarmRequest, by_member: bool) -> AlarmResponse {
        let AlarmRequest { action, member_id, alarm } = *request;
        let listed: Vec<_> = self.alarms.keys().copied().filter(|on| alarm == 0 || on.0 == alarm).collect();
        let may_end = |on: &(i32, u64)| !by_member || self.alarms[on];
        let named = match action {
            _ if alarm > 2 => vec![],
            0 => listed,
            1 if alarm != 0 => vec![(alarm, member_id)],
            2 if alarm != 0 => {
                listed.into_iter().filter(|on| (member_id == 0 || on.1 == member_id) && may_end(on)).collect()
            }
            _ => vec![],
        };
        for on in &named {
            match action {
                1 => *self.alarms.entry(*on).or_insert(by_member) &= by_member,
                2 => drop(self.alarms.remove(on)),
                _ => {}
            }
        }
        let alarms = named.into_iter().map(|(alarm, member_id)| AlarmMember { member_id, alarm }).collect();
        AlarmResponse { header: self.header(), alarms }
    }
}
