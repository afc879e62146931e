//! Events: what the rest of the node is told about a write.

use bytes::Bytes;
use holdfast_proto::mvccpb;

use super::rows::{EventKind, Head, HistoryRow, Rev};
use crate::types::{LeaseId, Revision};

/// One key changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub rev: Rev,
    pub kind: EventKind,
    pub key: Bytes,
    /// Empty for a deletion.
    pub value: Bytes,
    /// 0 for a deletion.
    pub create_revision: Revision,
    /// 0 for a deletion.
    pub version: i64,
    pub lease: Option<LeaseId>,
    /// The live version this event replaced. It may have been compacted since: read it with
    /// [`prev_kv`](super::prev_kv).
    pub prev: Option<Rev>,
}

impl Event {
    /// Shares the bytes of the encoded row.
    pub(super) fn of_row(row: &HistoryRow<'_>, encoded: &Bytes) -> Self {
        let (key, value) = HistoryRow::key_and_value_of(encoded, row.key.len());
        Self {
            rev: row.head.mod_rev,
            kind: row.kind,
            key,
            value,
            create_revision: row.head.create_revision,
            version: row.head.version,
            lease: row.head.lease,
            prev: row.prev,
        }
    }

    /// The wire form. Of a deletion it has only the key and the revision, as etcd's.
    pub fn to_key_value(&self) -> mvccpb::KeyValue {
        let head =
            Head { mod_rev: self.rev, create_revision: self.create_revision, version: self.version, lease: self.lease };
        head.to_key_value(self.key.clone(), self.value.clone())
    }
}

/// Everything that happened at one revision, in order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revisioned {
    pub revision: Revision,
    pub events: Vec<Event>,
}
