//! Leases: promises that a key stays for as long as its owner is heard from.
//!
//! ```text
//!   on every member, through the log            on the leader only, in memory
//!   ------------------------------------        -------------------------------------------
//!   Column::Lease     id      -> granted TTL    LeaseTable   deadlines, by time and by lease
//!   Column::LeaseKey  id, key -> (empty)                     renewals, expiries in flight
//! ```
//!
//! - Which leases exist, and which keys they hold, is part of the replicated state (`rows.rs`). When one runs out is
//!   not: deadlines are known only by the leader, and renewing writes nothing.
//! - Expiring is a proposal like any other. The leader hands out what ran out ([`LeaseTable::expired`]), proposes it
//!   under its term, and the lease is gone when the entry is applied. A deposed leader's entry does nothing.
//! - The promise is "not before the TTL", never "exactly then". A new leader knows no deadlines, so it starts every
//!   lease anew with its full TTL ([`LeaseTable::promote`]).

mod rows;
mod table;

pub use rows::{attached_keys, attachment, granted, lease_row, leases};
pub use table::{LeaseChange, LeaseTable};
