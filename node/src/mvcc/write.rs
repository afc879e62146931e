//! Making a revision: puts and deletions, numbered as they come.

use bytes::Bytes;

use super::event::{Event, Revisioned};
use super::overlay::Overlay;
use super::rows::{EventKind, Head, HistoryRow, Rev, VersionRow, version_key};
use crate::storage::Column;
use crate::types::{LeaseId, Revision, value_checksum};

/// What a put writes.
#[derive(Clone, Copy, Debug)]
pub struct NewValue<'a> {
    pub value: &'a [u8],
    /// Of key and value, from where the request entered the cluster. Stored as it is, not computed again.
    pub checksum: u32,
    pub lease: Option<LeaseId>,
}

/// One revision in the making. It exists once something was written; a command that writes nothing makes none.
#[derive(Debug)]
pub struct Writer {
    /// The newest revision before this one.
    base: Revision,
    events: Vec<Event>,
}

impl Writer {
    pub fn new(base: Revision) -> Self {
        Self { base, events: Vec::new() }
    }

    /// The newest revision as a reader inside the command sees it: the one in the making, once there is one.
    pub fn revision(&self) -> Revision {
        if self.events.is_empty() { self.base } else { self.base.next() }
    }

    /// `previous` is the key's head now, if it is alive.
    pub fn put(&mut self, overlay: &mut Overlay<'_>, key: &[u8], new: NewValue<'_>, previous: Option<&Head>) {
        let mod_rev = self.next_rev();
        let head = Head {
            mod_rev,
            create_revision: previous.map_or(mod_rev.main, |previous| previous.create_revision),
            version: previous.map_or(0, |previous| previous.version) + 1,
            lease: new.lease,
        };
        let prev = previous.map(|previous| previous.mod_rev);
        let NewValue { value, checksum, .. } = new;
        let key = self.record(overlay, HistoryRow { kind: EventKind::Put, head, prev, checksum, key, value });
        overlay.put(Column::Current, key, head.encode());
    }

    /// `previous` is the key's head now: only what is alive can be deleted.
    pub fn delete(&mut self, overlay: &mut Overlay<'_>, key: &[u8], previous: &Head) {
        let mod_rev = self.next_rev();
        let head = Head { mod_rev, create_revision: Revision(0), version: 0, lease: None };
        let (prev, checksum) = (Some(previous.mod_rev), value_checksum(key, b""));
        let key = self.record(overlay, HistoryRow { kind: EventKind::Delete, head, prev, checksum, key, value: b"" });
        overlay.delete(Column::Current, key);
    }

    /// The revision, if there is one.
    pub fn finish(self) -> Option<Revisioned> {
        let revision = self.revision();
        (revision != self.base).then_some(Revisioned { revision, events: self.events })
    }

    fn next_rev(&self) -> Rev {
        Rev { main: self.base.next(), sub: self.events.len() as u64 }
    }

    /// Writes the event to History and Versions. Gives back the key, shared with the row: the request's own bytes
    /// are part of a whole log entry, and would keep it in memory for as long as a watcher holds one event of it.
    fn record(&mut self, overlay: &mut Overlay<'_>, row: HistoryRow<'_>) -> Bytes {
        let HistoryRow { kind, head, checksum, .. } = row;
        let encoded = row.encode();
        let event = Event::of_row(&row, &encoded);
        let key = event.key.clone();
        overlay.put(Column::Versions, version_key(&key, head.mod_rev), VersionRow { kind, head, checksum }.encode());
        overlay.put(Column::History, head.mod_rev.encode().to_vec(), encoded);
        self.events.push(event);
        key
    }
}
