//! A node's state and hub without the rest of the node.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_proto::etcdserverpb::{WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest};

use crate::env::FaultyDisk;
use crate::mvcc::{Horizon, NewValue, Overlay, Revisioned, Writer, head, heads};
use crate::storage::{Engine, EngineFactory, MemoryEngineFactory};
use crate::types::{KeyRange, Limits, Revision, value_checksum};
use crate::watch::Hub;

/// One change of a transaction.
#[derive(Clone, Debug)]
pub enum Change {
    Put { key: Bytes, value: Bytes },
    Delete { range: KeyRange },
}

pub struct World {
    pub engine: Arc<dyn Engine>,
    pub hub: Arc<Hub>,
}

impl World {
    pub fn new(limits: Limits) -> Self {
        let disk = Arc::new(FaultyDisk::new(0));
        let engine = MemoryEngineFactory::new(disk).open(Path::new("/state")).unwrap();
        Self { engine, hub: Hub::new(Revision::FIRST, limits) }
    }

    pub fn horizon(&self) -> Horizon {
        Horizon::load(&*self.engine.view()).unwrap()
    }

    /// Writes a revision to the state, as apply does. Nothing if the changes change nothing.
    pub fn commit(&self, changes: &[Change]) -> Option<Revisioned> {
        let view = self.engine.view();
        let mut horizon = Horizon::load(&*view).unwrap();
        let mut overlay = Overlay::new(&*view);
        let mut writer = Writer::new(horizon.revision);
        for change in changes {
            match change {
                Change::Put { key, value } => {
                    let previous = head(&overlay, key).unwrap();
                    let new = NewValue { value, checksum: value_checksum(key, value), lease: None };
                    writer.put(&mut overlay, key, new, previous.as_ref());
                }
                Change::Delete { range } => {
                    for (key, previous) in heads(&overlay, range).unwrap() {
                        writer.delete(&mut overlay, &key, &previous);
                    }
                }
            }
        }
        let revisioned = writer.finish()?;
        horizon.revision = revisioned.revision;
        horizon.store(&mut overlay);
        let batch = overlay.into_batch();
        drop(view);
        self.engine.write(batch).unwrap();
        Some(revisioned)
    }

    /// Commits and publishes.
    pub fn write(&self, changes: &[Change]) -> Option<Revision> {
        let revisioned = self.commit(changes)?;
        let revision = revisioned.revision;
        self.hub.publish(&[revisioned]);
        Some(revision)
    }

    /// Logically, as the log's entry does, and physically, all at once.
    pub fn compact(&self, revision: Revision) {
        let view = self.engine.view();
        let mut horizon = Horizon::load(&*view).unwrap();
        horizon.check_compaction(revision).unwrap();
        horizon.compacted = Some(revision);
        let mut overlay = Overlay::new(&*view);
        horizon.store(&mut overlay);
        let batch = overlay.into_batch();
        drop(view);
        self.engine.write(batch).unwrap();
        loop {
            let step = crate::mvcc::sweep(&*self.engine.view(), 1000).unwrap();
            self.engine.write(step.batch).unwrap();
            if step.done {
                return;
            }
        }
    }
}

pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Change {
    Change::Put { key: key.into(), value: value.into() }
}

pub fn create(request: WatchCreateRequest) -> WatchRequest {
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) }
}

pub fn cancel(watch_id: i64) -> WatchRequest {
    WatchRequest { request_union: Some(RequestUnion::CancelRequest(WatchCancelRequest { watch_id })) }
}

pub fn ask_progress() -> WatchRequest {
    WatchRequest { request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})) }
}
