//! openraft's own suite for log stores, over ours: the contract as its owner tests it.
//!
//! The suite wants a state machine beside the log, and applies entries with gaps between them to it. Ours refuses
//! those, so a plain one stands in.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageError};
use parking_lot::Mutex;

use super::holes::Holes;
use super::log_store::LogStore;
use super::types::{Applied, RaftLogId, SnapshotMeta, StoredMembership, TypeConfig};
use super::unreadable::Unreadable;
use super::wire;
use crate::env::{FaultyDisk, Halt};
use crate::metrics::{Identity, Metrics};
use crate::rt;
use crate::types::{ClusterId, LogId, MemberId};
use crate::wal::{self, Log, LogOptions};

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, ()>;

/// Remembers how far it is, and who the members are.
#[derive(Clone, Default)]
struct Plain {
    state: Arc<Mutex<(Option<RaftLogId>, StoredMembership)>>,
    snapshot: Arc<Mutex<Option<SnapshotMeta>>>,
}

impl RaftSnapshotBuilder<TypeConfig> for Plain {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (last_log_id, last_membership) = self.state.lock().clone();
        let meta = SnapshotMeta { last_log_id, last_membership };
        *self.snapshot.lock() = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: () })
    }
}

impl RaftStateMachine<TypeConfig> for Plain {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
        Ok(self.state.lock().clone())
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let mut state = self.state.lock();
            state.0 = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                state.1 = StoredMembership::new(Some(entry.log_id), membership);
            }
            drop(state);
            if let Some(responder) = responder {
                responder.send(Applied { log_id: wire::log_id(&entry.log_id), outcomes: Vec::new() });
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, (): ()) -> io::Result<()> {
        *self.state.lock() = (meta.last_log_id, meta.last_membership.clone());
        *self.snapshot.lock() = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshot.lock().clone().map(|meta| Snapshot { meta, snapshot: () }))
    }
}

/// A fresh disk for each test of the suite, with segments so small that it fills several.
struct Fresh;

impl StoreBuilder<TypeConfig, LogStore, Plain> for Fresh {
    async fn build(&self) -> Result<((), LogStore, Plain), StorageError<TypeConfig>> {
        let disk = Arc::new(FaultyDisk::new(1));
        let identity = wal::Identity { cluster: ClusterId(1), member: MemberId(1) };
        let options = LogOptions { slots: 8, data_bytes: 1024, ..LogOptions::default() };
        let (log, _found) = Log::open(disk, Path::new("/wal"), options, identity).expect("a new log");
        let halt = Halt::new(|reason| panic!("the suite broke it: {reason}"));
        let metrics = Metrics::new(&Identity::default());
        let unreadable = Unreadable::new(rt::watch::channel(LogId::default()).1);
        let log_store =
            LogStore::start(Arc::new(log), Holes::default(), unreadable, halt, metrics.disk).expect("a thread");
        Ok(((), log_store, Plain::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_suite_passes() {
    Suite::test_all(Fresh).await.expect("openraft's suite");
}
