//! What happened, as a plain list, and what a watcher is to hear of it. Knows nothing of mvcc.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::WatchCreateRequest;
use holdfast_proto::etcdserverpb::watch_create_request::FilterType;
use holdfast_proto::mvccpb::event::EventType;
use holdfast_proto::mvccpb::{Event, KeyValue};

use super::world::Change;
use crate::watch::watched_range;

#[derive(Default)]
pub struct Model {
    /// With `prev_kv` as it was, compacted or not.
    happened: Vec<Event>,
    alive: BTreeMap<Bytes, KeyValue>,
}

impl Model {
    /// `revision` is that of the changes, if they changed anything.
    pub fn apply(&mut self, changes: &[Change], revision: Option<i64>) {
        for change in changes {
            match change {
                Change::Put { key, value } => self.put(key, value, revision.expect("a put makes a revision")),
                Change::Delete { range } => {
                    let keys: Vec<Bytes> = self.alive.keys().filter(|key| range.contains(key)).cloned().collect();
                    for key in keys {
                        self.delete(key, revision.expect("a deletion makes a revision"));
                    }
                }
            }
        }
    }

    fn put(&mut self, key: &Bytes, value: &Bytes, mod_revision: i64) {
        let prev_kv = self.alive.get(key).cloned();
        let (create_revision, version) = match &prev_kv {
            Some(prev) => (prev.create_revision, prev.version + 1),
            None => (mod_revision, 1),
        };
        let (key, value) = (key.clone(), value.clone());
        let kv = KeyValue { key: key.clone(), value, create_revision, mod_revision, version, lease: 0 };
        self.alive.insert(key, kv.clone());
        self.happened.push(Event { r#type: EventType::Put as i32, kv: Some(kv), prev_kv });
    }

    fn delete(&mut self, key: Bytes, mod_revision: i64) {
        let prev_kv = self.alive.remove(&key);
        let kv = Some(KeyValue { key, mod_revision, ..KeyValue::default() });
        self.happened.push(Event { r#type: EventType::Delete as i32, kv, prev_kv });
    }

    /// What a watcher is to hear of these revisions, without `prev_kv`.
    pub fn wanted(&self, request: &WatchCreateRequest, revisions: RangeInclusive<i64>) -> Vec<Event> {
        let range = watched_range(request);
        let has = |filter: FilterType| request.filters.contains(&(filter as i32));
        let is_wanted = |event: &&Event| {
            let kv = event.kv.as_ref().unwrap();
            let is_filtered = match event.r#type() {
                EventType::Put => has(FilterType::Noput),
                EventType::Delete => has(FilterType::Nodelete),
            };
            range.contains(&kv.key) && !is_filtered && revisions.contains(&kv.mod_revision)
        };
        self.happened.iter().filter(is_wanted).map(|event| Event { prev_kv: None, ..event.clone() }).collect()
    }

    /// What the key of an event was before it. A key changes at most once in a revision.
    pub fn before(&self, event: &Event) -> Option<&KeyValue> {
        let place = |event: &Event| event.kv.as_ref().map(|kv| (kv.mod_revision, kv.key.clone()));
        let happened = self.happened.iter().find(|happened| place(happened) == place(event));
        happened.expect("what a watcher hears of happened").prev_kv.as_ref()
    }
}
