//! THE on-disk map of the state: every column, with the shape of its keys and values.
//!
//! Integers in keys are big-endian, so that byte order is number order; integers in values are little-endian. `key`
//! is a user's key as it came. `rev` is 16 bytes: main revision (u64), then the position inside that revision (u64),
//! so that the events of one transaction stay in order. It is big-endian in values too: there, it is the key of a row
//! of History.
//!
//! ```text
//! column     key                          value
//! --------   --------------------------   ---------------------------------------------------------------
//! Current    key                          mod rev (16) | create revision i64 | version i64 | lease i64
//! History    rev                          kind u8 (0 put, 1 delete) | create revision i64 | version i64 |
//!                                         lease i64 | replaced rev (16) | checksum u32 | key length u32 | key | value
//! Versions   escaped key | rev            kind u8 | create revision i64 | version i64 | lease i64 | checksum u32
//! Lease      lease id u64                 granted TTL in seconds i64
//! LeaseKey   lease id u64 | key           empty
//! Meta       a name, see below            see below
//! Auth       "state"                      enabled u8 | auth revision u64 | token secret (32, none while disabled)
//! Auth       "user/" name                 credential revision u64 | encoded authpb.User
//! Auth       "role/" name                 encoded authpb.Role
//! ```
//!
//! `escaped key`: each 0x00 becomes 0x00 0xFF, and 0x00 0x01 ends it, so that no key's versions run into those of a
//! longer key and byte order stays key order.
//!
//! A value is stored once, in History; Current says where. History rows never change, they are only dropped by
//! compaction. `checksum` is [`crate::types::value_checksum`], brought by the request that wrote the value.
//! `replaced rev` is the live version that the event replaced, 0 if there was none: watchers are told from it, and
//! compaction finds what is dead by it. A lease of 0 is none; a deletion has 0 for create revision, version and lease.
//! Versions repeats all of History but the value, so that old revisions are listed, counted and hashed without
//! reading values.
//!
//! ```text
//! Meta name     value
//! -----------   ----------------------------------------------------------------
//! format        version of this map, u32: 1
//! applied       term u64 | index u64 of the last applied log entry
//! membership    term u64 | index u64 | encoded holdfast.peer.v1.Membership
//! revision      i64, the newest revision
//! compacted     i64, history before it is logically gone; no row if never compacted
//! swept         i64, the compaction the sweep works towards | rev of the event it looks at next; it is done when
//!               that is behind it (this row is a member's own affair, all others are equal on all members)
//! stamped       u64, Unix milliseconds of the newest applied entry
//! alarm/KIND/ID empty; KIND is the alarm's number as u8, ID the member's as u64
//! ```

/// A column of the state. Each is a column family of its own in RocksDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// The newest version of each live key.
    Current,
    /// Every event, in the order of revisions.
    History,
    /// Every event, in the order of keys.
    Versions,
    /// Leases that exist.
    Lease,
    /// Which keys a lease holds.
    LeaseKey,
    /// One row for each fact about the state as a whole.
    Meta,
    /// Users, roles, and authentication as a whole.
    Auth,
}

impl Column {
    /// All of them, in the order in which dumps and hashes walk them.
    pub const ALL: [Column; 7] = [
        Column::Current,
        Column::History,
        Column::Versions,
        Column::Lease,
        Column::LeaseKey,
        Column::Meta,
        Column::Auth,
    ];

    /// The column family's name on disk. Never changed once released.
    pub fn name(self) -> &'static str {
        match self {
            Column::Current => "current",
            Column::History => "history",
            Column::Versions => "versions",
            Column::Lease => "lease",
            Column::LeaseKey => "lease_key",
            Column::Meta => "meta",
            Column::Auth => "auth",
        }
    }
}
