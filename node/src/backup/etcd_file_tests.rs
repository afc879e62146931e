//! The file is read back by a small reader of bbolt's, which knows nothing of how it was written. What real tools of
//! etcd make of it, `jepsen-style-tests/tests/etcdctl` asks.

use std::collections::BTreeMap;

use holdfast_proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, PutRequest};
use holdfast_proto::{log, mvccpb, peer};
use prost::Message;

use super::*;
use crate::mvcc::tests::engine;
use crate::state::{Entry as LogEntry, EntryPayload, Machine, command};
use crate::storage::Engine;
use crate::types::LogId;

type Bucket = BTreeMap<Vec<u8>, Vec<u8>>;

/// Reads a page and what is below it.
fn read(file: &[u8], page: u64, into: &mut Bucket) {
    let at = page as usize * PAGE_BYTES;
    let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let u64_at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    assert_eq!(u64_at(at), page, "a page stands where it says");
    let elements = usize::from(u16::from_le_bytes([file[at + 10], file[at + 11]]));
    for element in (0..elements).map(|number| at + 16 + 16 * number) {
        if file[at + 8] == 1 {
            let (first, child) = (element + u32_at(element), u64_at(element + 8));
            let mut below = Bucket::new();
            read(file, child, &mut below);
            assert_eq!(below.keys().next().unwrap(), &file[first..first + u32_at(element + 4)], "the first key below");
            into.extend(below);
        } else {
            let (key, key_bytes, value_bytes) =
                (element + u32_at(element + 4), u32_at(element + 8), u32_at(element + 12));
            let value = key + key_bytes;
            let replaced = into.insert(file[key..value].to_vec(), file[value..value + value_bytes].to_vec());
            assert_eq!(replaced, None, "a key stands once");
        }
    }
}

fn buckets(file: &[u8]) -> BTreeMap<String, Bucket> {
    let meta = &file[16..];
    assert_eq!(meta[..4], [0xED, 0xDA, 0x0C, 0xED]);
    let word = |at: usize| u64::from_le_bytes(meta[at..at + 8].try_into().unwrap());
    assert_eq!(word(40) as usize * PAGE_BYTES, file.len(), "the meta page knows how long the file is");
    let mut tops = Bucket::new();
    read(file, word(16), &mut tops);
    let bucket = |(name, value): (Vec<u8>, Vec<u8>)| {
        let mut entries = Bucket::new();
        match u64::from_le_bytes(value[..8].try_into().unwrap()) {
            0 => assert_eq!(value[24..28], [2, 0, 0, 0], "an empty leaf inside of its parent"),
            top => read(file, top, &mut entries),
        }
        (String::from_utf8(name).unwrap(), entries)
    };
    tops.into_iter().map(bucket).collect()
}

/// A state, one command after the other.
pub struct State {
    pub engine: std::sync::Arc<dyn Engine>,
    index: u64,
}

impl State {
    pub fn new() -> Self {
        Self { engine: engine(), index: 0 }
    }

    fn apply(&mut self, payload: EntryPayload) {
        self.index += 1;
        let entry = LogEntry { log_id: LogId { term: 3, index: self.index }, payload };
        let effects = Machine.apply(&*self.engine.view(), &[entry]).unwrap();
        self.engine.write(effects.batch).unwrap();
    }

    pub fn command(&mut self, command: log::Command) {
        self.apply(EntryPayload::Commands(log::Batch { commands: vec![command], ..log::Batch::default() }));
    }

    pub fn put(&mut self, key: &str, value: &[u8], lease: i64) {
        let (key, value) = (key.to_owned().into(), value.to_vec().into());
        self.command(command::put(PutRequest { key, value, lease, ..PutRequest::default() }));
    }

    pub fn file(&self) -> (EtcdFile, Vec<u8>) {
        let view = self.engine.view();
        let file = EtcdFile::plan(&*view).unwrap();
        let pieces = (0..).map_while(|number| file.piece(&*view, number).unwrap());
        let bytes = pieces.collect::<Vec<_>>().concat();
        (file, bytes)
    }
}

#[test]
fn an_empty_state_is_a_file_too() {
    let (file, bytes) = State::new().file();
    assert_eq!(file.total_bytes(), bytes.len() as u64);
    let buckets = buckets(&bytes);
    let names: Vec<&str> = buckets.keys().map(String::as_str).collect();
    let all = "alarm auth authRoles authUsers cluster key lease members members_removed meta";
    assert_eq!(names.join(" "), all);
    assert!(buckets["key"].is_empty());
}

#[test]
fn every_event_is_in_the_file_in_etcds_form() {
    let mut state = State::new();
    state.command(command::lease_grant(LeaseGrantRequest { ttl: 60, id: 7 }, std::time::Duration::ZERO));
    state.put("a", b"1", 7);
    let delete = DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() };
    state.command(command::delete_range(delete));
    state.command(command::compact(CompactionRequest { revision: 2, physical: false }));
    let mut members = vec![peer::MemberInfo { id: 0xA0, name: "n1".into(), ..peer::MemberInfo::default() }];
    members.push(peer::MemberInfo { id: 0xB, ..peer::MemberInfo::default() });
    let configs = vec![peer::VoterSet { member_ids: vec![0xA0] }];
    state.apply(EntryPayload::Membership(peer::Membership { configs, members }));
    let buckets = buckets(&state.file().1);

    let rev = |main: u8, end: &[u8]| [&[0, 0, 0, 0, 0, 0, 0, main, b'_', 0, 0, 0, 0, 0, 0, 0, 0], end].concat();
    let kv = |key: &Vec<u8>| mvccpb::KeyValue::decode(buckets["key"][key].as_slice()).unwrap();
    let a = mvccpb::KeyValue { key: "a".into(), ..mvccpb::KeyValue::default() };
    let put =
        mvccpb::KeyValue { value: "1".into(), create_revision: 2, mod_revision: 2, version: 1, lease: 7, ..a.clone() };
    assert_eq!((kv(&rev(2, b"")), kv(&rev(3, b"t"))), (put, a));
    assert_eq!(buckets["key"].len(), 2);
    assert_eq!(buckets["lease"], Bucket::from([(7_u64.to_be_bytes().to_vec(), vec![8, 7, 16, 60])]));
    assert_eq!(buckets["meta"]["finishedCompactRev".as_bytes()], rev(2, b""));
    assert_eq!(buckets["meta"]["consistent_index".as_bytes()], 5_u64.to_be_bytes());
    assert_eq!(buckets["meta"]["term".as_bytes()], 3_u64.to_be_bytes());
    assert_eq!(buckets["auth"]["authEnabled".as_bytes()], [0]);
    let json = |bucket: &str, key: &str| -> serde_json::Value {
        serde_json::from_slice(&buckets[bucket][key.as_bytes()]).unwrap()
    };
    assert_eq!(json("members", "a0")["name"], "n1");
    assert_eq!(json("members", "b")["isLearner"], true);
    assert_eq!(json("meta", "confState"), serde_json::json!({"voters": [160], "learners": [11], "auto_leave": false}));
}

#[test]
fn history_may_be_longer_than_a_page_and_values_larger_than_a_leaf() {
    let mut state = State::new();
    for number in 0..400 {
        state.put(&format!("{number}"), &[b'v'; 4_000], 0);
    }
    state.put("large", &[b'v'; 600_000], 0);
    state.put("last", b"v", 0);
    let (file, bytes) = state.file();
    assert_eq!(file.total_bytes(), bytes.len() as u64);
    assert!(file.leaves.len() > 6, "{} leaves", file.leaves.len());
    let history = buckets(&bytes).remove("key").unwrap();
    assert_eq!(history.len(), 402);
    for (value, number) in history.values().zip(0..400) {
        assert_eq!(mvccpb::KeyValue::decode(value.as_slice()).unwrap().key, format!("{number}"));
    }
}
