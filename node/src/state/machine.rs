//! Apply: from log entries to effects.
//!
//! [`Machine::apply`] reads from top to bottom as one entry does: order, stamp, command by command; a command is let
//! pass or refused, then carried out by `revising.rs`, `txn.rs` or one of the short functions here.

use holdfast_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, CompactionRequest, CompactionResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, ResponseHeader,
};
use holdfast_proto::log::command::Request;
use holdfast_proto::log::outcome::Result as Answer;
use holdfast_proto::log::refusal::Reason;
use holdfast_proto::log::{AuthChange, AuthChanged, Command, LeaseExpire, LeaseExpired, Outcome, Refusal};

use super::alarm::{Alarms, RaisedBy};
use super::effects::{ApplyError, Effects, Entry, EntryPayload};
use super::halt::Halt;
use super::revising::{Revising, lease_id};
use super::{auth as users, command, guard, meta, txn};
use crate::auth::{self, AuthState, Caller};
use crate::env::{planted, sometimes};
use crate::lease::{self, LeaseChange};
use crate::mvcc::{Horizon, Overlay, ReadError};
use crate::storage::{Column, EngineError, View};
use crate::types::{LeaseId, LogId, Revision};

/// The state machine. It has no settings and no memory: all it knows is in the view, so that members cannot differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Machine {
    /// What `entries`, which follow one another in the log, do to the state in `view`. Writes nothing.
    pub fn apply(&self, view: &dyn View, entries: &[Entry]) -> Result<Effects, ApplyError> {
        let mut run = Run::begin(view)?;
        for entry in entries {
            run.advance_to(entry.log_id)?;
            let outcomes = match &entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Membership(membership) => {
                    meta::store_membership(&mut run.overlay, entry.log_id, membership);
                    run.effects.membership = Some((entry.log_id, membership.clone()));
                    Vec::new()
                }
                EntryPayload::Commands(batch) => {
                    run.stamped_unix_ms = run.stamped_unix_ms.max(batch.stamped_unix_ms);
                    if batch.commands.len() > 1 {
                        sometimes!(EntryShared);
                    }
                    if planted!(ApplyOrderSwapped) && entries.len() > 1 {
                        let backwards = batch.commands.iter().rev().map(|command| run.command(entry.log_id, command));
                        let outcomes = backwards.collect::<Result<Vec<_>, _>>()?;
                        outcomes.into_iter().rev().collect()
                    } else {
                        let outcomes = batch.commands.iter().map(|command| run.command(entry.log_id, command));
                        outcomes.collect::<Result<_, _>>()?
                    }
                }
            };
            run.effects.outcomes.push(outcomes);
        }
        Ok(run.finish())
    }
}

/// One call of apply under way.
struct Run<'v> {
    overlay: Overlay<'v>,
    /// After the commands so far.
    horizon: Horizon,
    applied: Option<LogId>,
    stamped_unix_ms: u64,
    alarms: Alarms,
    auth: AuthState,
    effects: Effects,
}

impl<'v> Run<'v> {
    fn begin(view: &'v dyn View) -> Result<Self, EngineError> {
        Ok(Self {
            overlay: Overlay::new(view),
            horizon: Horizon::load(view)?,
            applied: meta::applied(view)?,
            stamped_unix_ms: meta::stamped_unix_ms(view)?,
            alarms: Alarms::load(view)?,
            auth: AuthState::load(view)?,
            effects: Effects::default(),
        })
    }

    /// An entry applied twice, or one left out, would make this member differ for ever.
    fn advance_to(&mut self, given: LogId) -> Result<(), ApplyError> {
        match self.applied {
            Some(applied) if given.index != applied.index + 1 || given.term < applied.term => {
                Err(ApplyError::OutOfOrder { applied, given })
            }
            _ => {
                self.applied = Some(given);
                Ok(())
            }
        }
    }

    fn finish(mut self) -> Effects {
        if let Some(applied) = self.applied {
            meta::store_applied(&mut self.overlay, applied);
            meta::store_stamped(&mut self.overlay, self.stamped_unix_ms);
            self.horizon.store(&mut self.overlay);
        }
        self.effects.revision = self.horizon.revision;
        self.effects.batch = self.overlay.into_batch();
        self.effects
    }

    fn command(&mut self, log_id: LogId, command: &Command) -> Result<Outcome, ApplyError> {
        self.overlay.savepoint();
        let answer = match self.answer(log_id, command) {
            Ok(answer) => answer,
            Err(halt) => {
                if self.overlay.rollback() {
                    sometimes!(CommandRolledBack);
                }
                Answer::Refusal(refusal_of(halt, log_id)?)
            }
        };
        Ok(Outcome { result: Some(answer) })
    }

    fn answer(&mut self, log_id: LogId, command: &Command) -> Result<Answer, Halt> {
        let request = command.request.as_ref().ok_or(Halt::Unknown)?;
        // First of all, alarm or not: who may not ask learns nothing.
        if self.auth.is_enabled {
            let needs = auth::needs_of_command(request, command.guard.as_ref());
            users::admit(&self.overlay, &self.auth, &Caller::from_wire(command.caller.as_ref()), &needs)?;
        }
        self.alarms.admit(request)?;
        check_values(request, &command.value_checksums)?;
        if let Some(guard) = command.guard.as_ref().filter(|_| !planted!(GuardIgnored)) {
            guard::check(&self.overlay, guard)?;
        }
        match request {
            Request::Put(put) => {
                let checksum = command.value_checksums[0];
                self.revise(|revising| revising.put(put, checksum)).map(Answer::Put)
            }
            Request::DeleteRange(delete) => {
                self.revise(|revising| revising.delete_range(delete)).map(Answer::DeleteRange)
            }
            Request::Txn(request) => {
                self.revise(|revising| txn::run(revising, request, &command.value_checksums)).map(Answer::Txn)
            }
            Request::Compact(request) => self.compact(request).map(Answer::Compact),
            Request::LeaseGrant(request) => self.grant(request).map(Answer::LeaseGrant),
            Request::LeaseRevoke(request) => self.revoke(request).map(Answer::LeaseRevoke),
            Request::LeaseExpire(request) => self.expire(log_id, request).map(Answer::LeaseExpire),
            Request::Alarm(request) => Ok(Answer::Alarm(self.alarm(request, raised_by(command)))),
            Request::AuthChange(request) => self.change_auth(request).map(Answer::AuthChange),
        }
    }

    /// Runs something that may write keys, and takes up the revision it made.
    fn revise<R>(&mut self, write: impl FnOnce(&mut Revising<'_, 'v>) -> Result<R, Halt>) -> Result<R, Halt> {
        let mut revising = Revising::new(&mut self.overlay, self.horizon);
        let response = write(&mut revising)?;
        if let Some(revisioned) = revising.finish() {
            self.horizon.revision = revisioned.revision;
            self.effects.published.push(revisioned);
        }
        Ok(response)
    }

    fn compact(&mut self, request: &CompactionRequest) -> Result<CompactionResponse, Halt> {
        let compacted = Revision(request.revision);
        self.horizon.check_compaction(compacted)?;
        self.horizon.compacted = Some(compacted);
        self.effects.compacted = Some(compacted);
        Ok(CompactionResponse { header: self.header() })
    }

    fn grant(&mut self, request: &LeaseGrantRequest) -> Result<LeaseGrantResponse, Halt> {
        let Some(id) = lease_id(request.id) else {
            return Err(Halt::refused(Reason::LeaseNotFound, "a lease needs an ID other than 0"));
        };
        if lease::granted(&self.overlay, id)?.is_some() {
            return Err(Halt::refused(Reason::LeaseExists, format!("lease {id} exists")));
        }
        let (row_key, row) = lease::lease_row(id, request.ttl);
        self.overlay.put(Column::Lease, row_key, row);
        self.effects.lease_changes.push(LeaseChange::Granted { id, ttl_s: request.ttl });
        Ok(LeaseGrantResponse { header: self.header(), id: id.0, ttl: request.ttl, error: String::new() })
    }

    fn revoke(&mut self, request: &LeaseRevokeRequest) -> Result<LeaseRevokeResponse, Halt> {
        let id = LeaseId(request.id);
        self.revise(|revising| {
            revising.check_lease(id)?;
            revising.end_lease(id)
        })?;
        self.effects.lease_changes.push(LeaseChange::Revoked { id });
        Ok(LeaseRevokeResponse { header: self.header() })
    }

    /// Each lease ends at a revision of its own, as if it had been revoked. An entry that does not stand under the
    /// term in which its proposer led ends none: another leader may have renewed since.
    fn expire(&mut self, log_id: LogId, request: &LeaseExpire) -> Result<LeaseExpired, Halt> {
        let mut expired = LeaseExpired::default();
        if log_id.term != request.leader_term {
            sometimes!(ExpiryOfOldTerm);
            return Ok(expired);
        }
        for id in request.lease_ids.iter().copied().map(LeaseId) {
            if lease::granted(&self.overlay, id)?.is_none() {
                continue;
            }
            sometimes!(LeaseExpired);
            self.revise(|revising| revising.end_lease(id))?;
            self.effects.lease_changes.push(LeaseChange::Revoked { id });
            expired.lease_ids.push(id.0);
        }
        Ok(expired)
    }

    fn alarm(&mut self, request: &AlarmRequest, by: RaisedBy) -> AlarmResponse {
        let before = self.alarms.clone();
        let alarms = self.alarms.apply(&mut self.overlay, request, by);
        self.effects.alarms_changed |= self.alarms != before;
        AlarmResponse { header: self.header(), alarms }
    }

    fn change_auth(&mut self, request: &AuthChange) -> Result<AuthChanged, Halt> {
        let mut state = self.auth.clone();
        let header = self.header();
        let changed = users::change(&mut self.overlay, &mut state, header, request)?;
        self.auth = state;
        self.effects.auth = Some(self.auth.clone());
        Ok(changed)
    }

    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision: self.horizon.revision.0, ..Default::default() })
    }
}

fn raised_by(command: &Command) -> RaisedBy {
    if command.raised_by_member { RaisedBy::Member } else { RaisedBy::Operator }
}

/// A value that was damaged on its way here must not be stored: not one of a command with such a value is carried
/// out. A missing checksum counts as a wrong one.
fn check_values(request: &Request, checksums: &[u32]) -> Result<(), Halt> {
    let mut given = checksums.iter();
    let mut damaged_key = None;
    command::for_each_put(request, &mut |put| {
        if given.next() != Some(&command::checksum_of(put)) && damaged_key.is_none() {
            damaged_key = Some(put.key.clone());
        }
    });
    match damaged_key {
        None if given.next().is_none() => Ok(()),
        None => Err(Halt::refused(Reason::ChecksumMismatch, "there are more checksums than values")),
        Some(key) => {
            let detail = format!("the value for key {} does not match its checksum", key.escape_ascii());
            Err(Halt::refused(Reason::ChecksumMismatch, detail))
        }
    }
}

/// The answer for a command that was stopped, unless it was stopped by something that must stop the node.
fn refusal_of(halt: Halt, log_id: LogId) -> Result<Refusal, ApplyError> {
    let (reason, error) = match halt {
        Halt::Refused(refusal) => return Ok(refusal),
        Halt::Unknown => return Err(ApplyError::UnknownCommand { log_id }),
        Halt::Read(error @ ReadError::Compacted { .. }) => (Reason::Compacted, error),
        Halt::Read(error @ ReadError::FutureRevision { .. }) => (Reason::FutureRevision, error),
        Halt::Read(source @ (ReadError::ChecksumMismatch { .. } | ReadError::Engine(_))) => {
            return Err(ApplyError::Read { log_id, source });
        }
    };
    Ok(Refusal { reason: reason as i32, detail: error.to_string() })
}
