//! The bytes of the rows: `storage/column.rs` draws them, this file reads and writes them.
//!
//! A row that does not parse is damage, never an input error: it comes back as [`EngineError::Corrupt`] with the
//! column and the key's bytes, and the node goes to its declared state.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_proto::mvccpb;

use crate::storage::{Column, EngineError};
use crate::types::{LeaseId, Revision};

/// Where an event stands in history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rev {
    /// The revision the event belongs to.
    pub main: Revision,
    /// The event's position inside that revision, from 0.
    pub sub: u64,
}

impl Rev {
    pub const BYTES: usize = 16;

    /// The position before every event of `main`.
    pub fn start_of(main: Revision) -> Self {
        Self { main, sub: 0 }
    }

    /// Big-endian wherever it stands, so that a rev inside a value is a History key as it is.
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&(self.main.0 as u64).to_be_bytes());
        bytes[8..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }

    /// `None` unless there are exactly 16 bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (main, sub) = bytes.split_at_checked(8)?;
        let main = u64::from_be_bytes(main.try_into().ok()?);
        Some(Self { main: Revision(main as i64), sub: u64::from_be_bytes(sub.try_into().ok()?) })
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.main, self.sub)
    }
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

impl EventKind {
    fn encode(self) -> u8 {
        match self {
            EventKind::Put => 0,
            EventKind::Delete => 1,
        }
    }

    fn decode(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(EventKind::Put),
            1 => Some(EventKind::Delete),
            _ => None,
        }
    }
}

/// A row of Current: what is known of a live key without reading its value. All fields of a deletion but the first
/// are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where the newest version, and so the value, stands in History.
    pub mod_rev: Rev,
    /// When the key last came into being.
    pub create_revision: Revision,
    /// Puts since then, from 1.
    pub version: i64,
    pub lease: Option<LeaseId>,
}

impl Head {
    /// The wire form of this version of `key`.
    pub fn to_key_value(self, key: Bytes, value: Bytes) -> mvccpb::KeyValue {
        mvccpb::KeyValue {
            key,
            create_revision: self.create_revision.0,
            mod_revision: self.mod_rev.main.0,
            version: self.version,
            value,
            lease: self.lease.map_or(0, |lease| lease.0),
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(Rev::BYTES + STAMPS_BYTES);
        bytes.put_slice(&self.mod_rev.encode());
        put_stamps(&mut bytes, self);
        bytes.freeze()
    }

    pub(super) fn decode(key: &[u8], row: &[u8]) -> Result<Self, EngineError> {
        let mut row = Fields(row);
        let head = row.rev().and_then(|mod_rev| row.stamps(mod_rev));
        head.filter(|_| row.0.is_empty()).ok_or_else(|| damaged(Column::Current, key))
    }
}

/// A row of History: an event with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HistoryRow<'a> {
    pub kind: EventKind,
    /// The event's place, create revision, version and lease.
    pub head: Head,
    /// The live version that this event replaced.
    pub prev: Option<Rev>,
    /// [`crate::types::value_checksum`] of key and value, as the request brought it.
    pub checksum: u32,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// Bytes of a History row in front of its key.
const HISTORY_HEADER_BYTES: usize = 1 + STAMPS_BYTES + Rev::BYTES + 4 + 4;

impl<'a> HistoryRow<'a> {
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HISTORY_HEADER_BYTES + self.key.len() + self.value.len());
        bytes.put_u8(self.kind.encode());
        put_stamps(&mut bytes, &self.head);
        bytes.put_slice(&self.prev.map_or([0; Rev::BYTES], Rev::encode));
        bytes.put_u32_le(self.checksum);
        bytes.put_u32_le(u32::try_from(self.key.len()).expect("a request is far below 4 GiB"));
        bytes.put_slice(self.key);
        bytes.put_slice(self.value);
        bytes.freeze()
    }

    pub fn decode(rev_key: &[u8], row: &'a [u8]) -> Result<Self, EngineError> {
        Self::parse(rev_key, row).ok_or_else(|| damaged(Column::History, rev_key))
    }

    fn parse(rev_key: &[u8], row: &'a [u8]) -> Option<Self> {
        let mut row = Fields(row);
        let kind = EventKind::decode(row.take(1)?[0])?;
        let head = row.stamps(Rev::decode(rev_key)?)?;
        let prev = row.rev().map(|prev| (prev.main.0 != 0).then_some(prev))?;
        let checksum = row.u32()?;
        let key_bytes = row.u32()? as usize;
        let key = row.take(key_bytes)?;
        Some(Self { kind, head, prev, checksum, key, value: row.0 })
    }

    /// Where key and value stand inside the encoded row, so that they can be shared instead of copied.
    pub fn key_and_value_of(row: &Bytes, key_bytes: usize) -> (Bytes, Bytes) {
        let value_at = HISTORY_HEADER_BYTES + key_bytes;
        (row.slice(HISTORY_HEADER_BYTES..value_at), row.slice(value_at..))
    }
}

/// A row of Versions: what is known of an event without reading its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VersionRow {
    pub kind: EventKind,
    pub head: Head,
    pub checksum: u32,
}

impl VersionRow {
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(1 + STAMPS_BYTES + 4);
        bytes.put_u8(self.kind.encode());
        put_stamps(&mut bytes, &self.head);
        bytes.put_u32_le(self.checksum);
        bytes.freeze()
    }

    pub fn decode(row_key: &[u8], row: &[u8]) -> Result<Self, EngineError> {
        Self::parse(row_key, row).ok_or_else(|| damaged(Column::Versions, row_key))
    }

    fn parse(row_key: &[u8], row: &[u8]) -> Option<Self> {
        let mut row = Fields(row);
        let kind = EventKind::decode(row.take(1)?[0])?;
        let rev = row_key.len().checked_sub(Rev::BYTES).and_then(|at| Rev::decode(&row_key[at..]))?;
        let head = row.stamps(rev)?;
        let checksum = row.u32()?;
        row.0.is_empty().then_some(Self { kind, head, checksum })
    }
}

/// Bytes of a create revision, a version and a lease.
const STAMPS_BYTES: usize = 3 * 8;

fn put_stamps(bytes: &mut BytesMut, head: &Head) {
    bytes.put_i64_le(head.create_revision.0);
    bytes.put_i64_le(head.version);
    bytes.put_i64_le(head.lease.map_or(0, |lease| lease.0));
}

/// The rest of a row, taken field by field.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(field)
    }

    fn rev(&mut self) -> Option<Rev> {
        Rev::decode(self.take(Rev::BYTES)?)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn stamps(&mut self, mod_rev: Rev) -> Option<Head> {
        let create_revision = Revision(self.i64()?);
        let version = self.i64()?;
        let lease = self.i64()?;
        Some(Head { mod_rev, create_revision, version, lease: (lease != 0).then_some(LeaseId(lease)) })
    }
}

/// The key as it stands in Versions, without the rev: zero bytes escaped, and an end that sorts before any byte that
/// could follow.
pub(super) fn escape(key: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(key.len() + 2 + Rev::BYTES);
    for &byte in key {
        escaped.push(byte);
        if byte == 0 {
            escaped.push(0xFF);
        }
    }
    escaped.extend_from_slice(&[0, 1]);
    escaped
}

/// The key in Versions of the event of `key` at `rev`.
pub(super) fn version_key(key: &[u8], rev: Rev) -> Vec<u8> {
    let mut row_key = escape(key);
    row_key.extend_from_slice(&rev.encode());
    row_key
}

/// The user's key inside a key of Versions.
pub(super) fn unescape(row_key: &[u8]) -> Result<Bytes, EngineError> {
    let mut key = BytesMut::with_capacity(row_key.len());
    let mut rest = row_key.iter();
    while let Some(&byte) = rest.next() {
        match (byte, if byte == 0 { rest.next() } else { None }) {
            (0, Some(1)) => return Ok(key.freeze()),
            (0, Some(0xFF)) => key.put_u8(0),
            (0, _) => break,
            (byte, _) => key.put_u8(byte),
        }
    }
    Err(damaged(Column::Versions, row_key))
}

/// The error for a row that cannot be what was written.
pub(super) fn damaged(column: Column, key: &[u8]) -> EngineError {
    let detail = format!("the row of column {} at key {} does not parse", column.name(), key.escape_ascii());
    EngineError::Corrupt { detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            mod_rev: Rev { main: Revision(9), sub: 2 },
            create_revision: Revision(4),
            version: 3,
            lease: Some(LeaseId(-7)),
        }
    }

    #[test]
    fn rows_come_back_as_they_went_in() {
        assert_eq!(Head::decode(b"k", &head().encode()).unwrap(), head());

        let prev = Some(Rev { main: Revision(8), sub: 0 });
        let row = HistoryRow { kind: EventKind::Put, head: head(), prev, checksum: 77, key: b"k\0", value: b"value" };
        let encoded = row.encode();
        assert_eq!(HistoryRow::decode(&head().mod_rev.encode(), &encoded).unwrap(), row);
        let shared = HistoryRow::key_and_value_of(&encoded, row.key.len());
        assert_eq!((shared.0.as_ref(), shared.1.as_ref()), (row.key, row.value));

        let row = VersionRow { kind: EventKind::Delete, head: head(), checksum: 5 };
        let row_key = version_key(b"k\0", head().mod_rev);
        assert_eq!(VersionRow::decode(&row_key, &row.encode()).unwrap(), row);
        assert_eq!(unescape(&row_key).unwrap().as_ref(), b"k\0");
    }

    /// The format is on disk for years: this is what a put of `k` = `v` looked like in its first version.
    #[test]
    fn a_history_row_byte_by_byte() {
        let head =
            Head { mod_rev: Rev { main: Revision(2), sub: 0 }, create_revision: Revision(2), version: 1, lease: None };
        let row = HistoryRow { kind: EventKind::Put, head, prev: None, checksum: 0xAABB_CCDD, key: b"k", value: b"v" };
        let mut expected = vec![0];
        expected.extend([2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0; 16]);
        expected.extend([0xDD, 0xCC, 0xBB, 0xAA, 1, 0, 0, 0, b'k', b'v']);
        assert_eq!(row.encode().as_ref(), expected);
        assert_eq!(head.mod_rev.encode(), [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_damaged_row_names_its_column_and_key() {
        let short = &head().encode()[..30];
        let error = Head::decode(b"k\x01", short).unwrap_err().to_string();
        assert_eq!(error, "storage is corrupt: the row of column current at key k\\x01 does not parse");
        assert!(HistoryRow::decode(&head().mod_rev.encode(), &[7; 80]).is_err(), "there is no kind 7");
        assert!(VersionRow::decode(b"short", &[0; 29]).is_err());
        assert!(unescape(b"no end").is_err() && unescape(b"bad\0\x02").is_err());
    }

    #[test]
    fn escaped_keys_sort_like_keys_and_no_key_runs_into_a_longer_one() {
        let keys: &[&[u8]] =
            &[b"", b"\0", b"\0\0", b"\0\x01", b"\0\xFF", b"\x01", b"a", b"a\0", b"a\0b", b"a\x01", b"b"];
        let newest = Rev { main: Revision(i64::MAX), sub: u64::MAX };
        for pair in keys.windows(2) {
            assert!(version_key(pair[0], newest) < version_key(pair[1], Rev::start_of(Revision(0))), "{pair:?}");
        }
        for key in keys {
            assert_eq!(unescape(&escape(key)).unwrap().as_ref(), *key);
        }
    }
}
