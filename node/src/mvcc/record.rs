//! Putting events where they were: for a state that is made from a record of another one.

use holdfast_proto::mvccpb;

use super::error::ReadError;
use super::overlay::Overlay;
use super::rows::{EventKind, Head, HistoryRow, Rev, VersionRow, version_key};
use super::walk::head;
use crate::storage::Column;
use crate::types::{LeaseId, Revision, value_checksum};

/// Writes what happened to a key at `rev`, with the stamps that it had. Events come in the order of their revisions;
/// those before the last compaction may be missing. Gives back what the key was before.
pub fn record(
    overlay: &mut Overlay<'_>,
    rev: Rev,
    kind: EventKind,
    kv: &mvccpb::KeyValue,
) -> Result<Option<Head>, ReadError> {
    let previous = head(overlay, &kv.key)?;
    let (key, value): (&[u8], &[u8]) = match kind {
        EventKind::Put => (&kv.key, &kv.value),
        EventKind::Delete => (&kv.key, b""),
    };
    let head = match kind {
        EventKind::Put => Head {
            mod_rev: rev,
            create_revision: Revision(kv.create_revision),
            version: kv.version,
            lease: (kv.lease != 0).then_some(LeaseId(kv.lease)),
        },
        EventKind::Delete => Head { mod_rev: rev, create_revision: Revision(0), version: 0, lease: None },
    };
    let prev = previous.map(|previous| previous.mod_rev);
    let checksum = value_checksum(key, value);
    let row = HistoryRow { kind, head, prev, checksum, key, value };
    overlay.put(Column::History, rev.encode().to_vec(), row.encode());
    overlay.put(Column::Versions, version_key(key, rev), VersionRow { kind, head, checksum }.encode());
    match kind {
        EventKind::Put => overlay.put(Column::Current, key.to_vec(), head.encode()),
        EventKind::Delete => overlay.delete(Column::Current, key.to_vec()),
    }
    Ok(previous)
}
