//! What a log entry does to the state: the one place where commands become rows.
//!
//! ```text
//!   Entry, Entry, ...           Machine::apply(view, entries)            Effects
//!   one per log position  --->  a pure function: nothing is   --->  batch       all rows, to be written as one
//!                               written, asked or waited for        published   the events, to be told to watchers
//!                                                                   outcomes    the answers, to go to the callers
//! ```
//!
//! One put, step by step: `api/` checks it ([`validate`]) and wraps it with its checksum ([`command::put`]); the log
//! carries it; `machine.rs` takes it out of its entry, lets it pass or refuses it for an alarm or a bad checksum, and
//! hands it to `revising.rs`, which looks up the key's head, moves the lease, and lets [`crate::mvcc::Writer`] number
//! the event and lay the rows into the overlay. The caller writes `effects.batch`, then publishes, then answers.
//!
//! - Same view and same entries, same bytes, on every member and in every version that knows the commands. So there
//!   are no settings here: what a member may be configured to (the least TTL, say) is put into the command before it
//!   is proposed.
//! - However entries are grouped into calls, the rows that result are the same.
//! - A refused command leaves no trace but its outcome. A command that cannot be carried out at all (unknown, or met
//!   by damage on this member's disk) is an [`ApplyError`], and stops the node: to skip it would be to differ.

mod alarm;
mod auth;
pub mod command;
mod compare;
mod effects;
mod guard;
mod halt;
mod machine;
mod meta;
mod revising;
mod txn;
pub mod validate;

#[cfg(test)]
mod tests;

pub use crate::lease::LeaseChange;
pub use crate::mvcc::Revisioned;
pub use alarm::{RaisedBy, alarms, alarms_raised};
pub use effects::{ApplyError, Effects, Entry, EntryPayload};
pub use machine::Machine;
pub use meta::{applied, membership, stamped_unix_ms};
pub use txn::{ReadTxnError, read_txn};
