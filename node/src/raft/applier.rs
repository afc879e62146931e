//! Where committed entries become state: apply purely, write once, then tell.
//!
//! The order in [`Applier::prepare`] and [`Applier::commit`] is the node's most important promise:
//!
//! 1. `state::Machine::apply` computes effects; nothing has happened yet.
//! 2. One engine write commits all of them, the applied index included.
//! 3. Leases and watchers learn of it. A watcher can never see what a crash could take back.
//! 4. The outcomes go to the callers who wait for them.

use std::io;
use std::sync::Arc;

use holdfast_proto::log;
use openraft::EntryPayload;
use parking_lot::Mutex;
use prost::Message;

use super::holes::Holes;
use super::tally::Tally;
use super::types::{Applied, RaftEntry, StoredMembership};
use super::wire;
use crate::auth::{AuthState, Live};
use crate::env::witness::{self, Promise};
use crate::env::{Halt, planted, sometimes};
use crate::lease::LeaseTable;
use crate::rt;
use crate::rt::watch::WatchSender;
use crate::state;
use crate::storage::{Recent, Store, Written};
use crate::types::{LogId, MemberId};
use crate::watch::Hub;

/// The node's state and everybody who must hear when it changes.
pub struct Applier {
    pub store: Arc<Store>,
    /// What was written last, so that a put need not look it up.
    pub recent: Recent,
    pub machine: state::Machine,
    pub leases: Arc<Mutex<LeaseTable>>,
    pub hub: Arc<Hub>,
    /// Told of every change of users and roles, before watchers and callers hear of what came after it.
    pub auth: Arc<Live>,
    pub halt: Halt,
    /// Whose state it is.
    pub member: MemberId,
    /// Log entries that are rotten here. Nothing from the first of them on is applied.
    pub holes: Holes,
    /// Held over each change of the state, and over whatever must see it stand still.
    pub changing: Arc<Mutex<()>>,
    /// The start of the lease table's clock.
    pub lease_epoch: rt::Instant,
    pub tally: Tally,
    /// Tells readers how far the state is.
    pub applied: rt::watch::Sender<LogId>,
}

/// What entries will do, not yet written.
pub struct Prepared {
    ids: Vec<LogId>,
    effects: state::Effects,
    written: Written,
}

/// What came of a write that may not wait.
pub enum Commit {
    Done(Vec<Applied>),
    WouldWait(Box<Prepared>),
}

impl Applier {
    /// The first rotten entry of the log, if there is one.
    pub fn first_hole(&self) -> Option<LogId> {
        self.holes.first()
    }

    /// Computes what entries do, in order. With a hole in the log, entries from the hole on are taken and left alone.
    pub fn prepare(&self, entries: Vec<RaftEntry>) -> io::Result<Prepared> {
        let hole = self.first_hole();
        let mut decoded = Vec::with_capacity(entries.len());
        for entry in entries {
            if hole.is_some_and(|hole| entry.log_id.index >= hole.index) {
                break;
            }
            witness::tell(self.member, || promise_to_apply(&entry));
            decoded.push(decode(entry)?);
        }
        if decoded.len() > 1 {
            sometimes!(EntriesGrouped);
        }
        let ids = decoded.iter().map(|entry| entry.log_id).collect();
        let engine = self.store.engine();
        let view = engine.view();
        let effects = self.machine.apply(&self.recent.over(view.as_ref()), &decoded).map_err(io::Error::other)?;
        let written = Written::by(&effects.batch);
        Ok(Prepared { ids, effects, written })
    }

    /// Writes what was prepared, and tells. May wait for the disk.
    pub fn commit(&self, mut prepared: Prepared) -> io::Result<Vec<Applied>> {
        let _changing = self.changing.lock();
        let batch = std::mem::take(&mut prepared.effects.batch);
        self.store.engine().write(batch).map_err(io::Error::other)?;
        Ok(self.tell(prepared))
    }

    /// As [`Applier::commit`], if it need not wait. Else nothing has happened yet.
    pub fn commit_now(&self, mut prepared: Prepared) -> io::Result<Commit> {
        let Some(_changing) = self.changing.try_lock() else { return Ok(Commit::WouldWait(Box::new(prepared))) };
        let batch = std::mem::take(&mut prepared.effects.batch);
        match self.store.engine().write_now(batch).map_err(io::Error::other)? {
            None => Ok(Commit::Done(self.tell(prepared))),
            Some(batch) => {
                prepared.effects.batch = batch;
                Ok(Commit::WouldWait(Box::new(prepared)))
            }
        }
    }

    /// After the write: leases, watchers, readers, and the answers for those who asked.
    fn tell(&self, prepared: Prepared) -> Vec<Applied> {
        let Prepared { ids, effects, written } = prepared;
        self.recent.remember(written);
        self.tally.note(&effects);
        self.leases.lock().absorb(&effects.lease_changes, rt::since(self.lease_epoch));
        if let Some(auth) = &effects.auth {
            self.auth.renew(auth);
        }
        self.hub.publish(&effects.published);
        if let Some(last) = ids.last() {
            self.tell_applied(*last);
        }
        let outcomes = ids.into_iter().zip(effects.outcomes);
        outcomes.map(|(log_id, outcomes)| Applied { log_id, outcomes }).collect()
    }

    /// Where the state is: the last entry applied, and the members as of then.
    pub fn position(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let engine = self.store.engine();
        let view = engine.view();
        let applied = state::applied(view.as_ref()).map_err(io::Error::other)?;
        let membership = match state::membership(view.as_ref()).map_err(io::Error::other)? {
            Some((log_id, membership)) => {
                StoredMembership::new(Some(wire::raft_log_id(log_id)), wire::membership_from_wire(membership)?)
            }
            None => StoredMembership::default(),
        };
        Ok((applied, membership))
    }

    /// After the state was replaced as a whole: everything derived from it starts over.
    pub fn state_replaced(&self) -> io::Result<()> {
        let engine = self.store.engine();
        let view = engine.view();
        let leases = LeaseTable::load(view.as_ref()).map_err(io::Error::other)?;
        let revision = crate::mvcc::revision(view.as_ref()).map_err(io::Error::other)?;
        let applied = state::applied(view.as_ref()).map_err(io::Error::other)?;
        let auth = AuthState::load(view.as_ref()).map_err(io::Error::other)?;
        drop(view);
        if !planted!(CacheOutlivesSnapshot) {
            self.recent.forget();
        }
        self.tally.count_keys(&self.store, &self.changing);
        self.auth.renew(&auth);
        *self.leases.lock() = leases;
        self.hub.reset(revision);
        if let Some(applied) = applied {
            let before = *self.applied.borrow_watched();
            if applied.index < before.index {
                let back = format!("a snapshot up to {applied} would take the state back from {before}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, back));
            }
            witness::tell(self.member, || Promise::Replaced { log_id: applied });
            self.holes.covered(applied.index);
            self.tell_applied(applied);
        }
        Ok(())
    }

    fn tell_applied(&self, last: LogId) {
        // Nobody may be listening yet.
        let _no_listener = self.applied.send(last);
    }
}

fn promise_to_apply(entry: &RaftEntry) -> Promise {
    let raw = wire::entry_to_raw(entry);
    Promise::Applied { log_id: raw.log_id, checksum: witness::checksum(raw.kind, &raw.payload) }
}

fn decode(entry: RaftEntry) -> io::Result<state::Entry> {
    let log_id = wire::log_id(&entry.log_id);
    let payload = match entry.payload {
        EntryPayload::Blank => state::EntryPayload::Blank,
        EntryPayload::Normal(batch) => {
            let batch = log::Batch::decode(batch.0).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("log entry {log_id} cannot be read: {error}"))
            })?;
            state::EntryPayload::Commands(batch)
        }
        EntryPayload::Membership(membership) => {
            sometimes!(MembersChanged);
            if membership.get_joint_config().len() > 1 {
                sometimes!(JointMembers);
            }
            state::EntryPayload::Membership(wire::membership_to_wire(&membership))
        }
    };
    Ok(state::Entry { log_id, payload })
}
