//! Alarms: what stands between the cluster and further writes until its reason is gone, or an operator has looked.
//!
//! ```text
//! Meta:  "alarm/" | kind u8 | "/" | member u64, big-endian     empty: raised by an operator
//!                                                              01:    raised by the member itself
//! ```
//!
//! What a member raised itself it ends itself. What an operator raised, or raised once more, only an operator ends.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use holdfast_proto::etcdserverpb::alarm_request::AlarmAction;
use holdfast_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};
use holdfast_proto::log::command::Request;
use holdfast_proto::log::refusal::Reason;

use super::command;
use super::halt::Halt;
use super::meta::damaged;
use crate::mvcc::Overlay;
use crate::storage::{Column, EngineError, Scan, View};
use crate::types::MemberId;

const PREFIX: &[u8] = b"alarm/";
/// The first name behind those that start with [`PREFIX`].
const BEHIND_PREFIX: &[u8] = b"alarm0";

/// The alarms that are on, by kind and then by member.
pub fn alarms(view: &dyn View) -> Result<Vec<AlarmMember>, EngineError> {
    Ok(Alarms::load(view)?.listed(AlarmType::None))
}

/// Who raised an alarm, and so who ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaisedBy {
    Operator,
    Member,
}

impl RaisedBy {
    fn row(self) -> Vec<u8> {
        match self {
            RaisedBy::Operator => Vec::new(),
            RaisedBy::Member => vec![1],
        }
    }

    fn parse(row: &[u8]) -> Option<Self> {
        match row {
            [] => Some(RaisedBy::Operator),
            [1] => Some(RaisedBy::Member),
            _ => None,
        }
    }
}

/// The alarms of one kind that are on: whose they are, and who raised them.
pub fn alarms_raised(view: &dyn View, kind: AlarmType) -> Result<Vec<(MemberId, RaisedBy)>, EngineError> {
    let alarms = Alarms::load(view)?;
    let of_kind = alarms.active.iter().filter(|(alarm, _)| alarm.0 == kind);
    Ok(of_kind.map(|((_, member), by)| (*member, *by)).collect())
}

/// The alarms that are on, while entries are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alarms {
    active: BTreeMap<(AlarmType, MemberId), RaisedBy>,
}

impl Alarms {
    pub fn load(view: &dyn View) -> Result<Self, EngineError> {
        let mut active = BTreeMap::new();
        let mut failed = None;
        let scan = Scan { from: PREFIX, to: Some(BEHIND_PREFIX), backwards: false };
        view.scan(Column::Meta, scan, &mut |name, row| match parse_name(name).zip(RaisedBy::parse(row)) {
            Some((alarm, by)) => {
                active.insert(alarm, by);
                ControlFlow::Continue(())
            }
            None => {
                failed = Some(damaged(name));
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(Self { active }), Err)
    }

    /// Lets a command pass unless an alarm forbids it. Without space nothing may grow; with damage somewhere nothing
    /// may change at all. Alarms themselves always can, or nobody could take one back; users
    /// can too, so that whoever fills the disk can be kept out.
    pub fn admit(&self, request: &Request) -> Result<(), Halt> {
        if matches!(request, Request::Alarm(_) | Request::AuthChange(_)) {
            return Ok(());
        }
        if self.is_on(AlarmType::Corrupt) {
            return Err(Halt::refused(Reason::Corrupt, "the alarm CORRUPT is on: find the damaged member first"));
        }
        let grows = match request {
            Request::Put(_) | Request::LeaseGrant(_) => true,
            Request::Txn(txn) => command::puts_of(txn) > 0,
            Request::DeleteRange(_)
            | Request::Compact(_)
            | Request::LeaseRevoke(_)
            | Request::LeaseExpire(_)
            | Request::AuthChange(_)
            | Request::Alarm(_) => false,
        };
        if grows && self.is_on(AlarmType::Nospace) {
            return Err(Halt::refused(Reason::NoSpace, "the alarm NOSPACE is on: compact, delete, then disarm it"));
        }
        Ok(())
    }

    /// Carries out a request and says which alarms it named, or changed. Member 0 stands for all members when an alarm
    /// is taken back. Actions and kinds outside the enums, and raising no alarm in particular, do nothing, as in etcd.
    pub fn apply(&mut self, overlay: &mut Overlay<'_>, request: &AlarmRequest, by: RaisedBy) -> Vec<AlarmMember> {
        let Ok(kind) = AlarmType::try_from(request.alarm) else { return Vec::new() };
        let member = MemberId(request.member_id);
        match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => self.listed(kind),
            Ok(AlarmAction::Activate) if kind != AlarmType::None => {
                let known = self.active.get(&(kind, member)).copied();
                let by = if known == Some(RaisedBy::Operator) { RaisedBy::Operator } else { by };
                self.active.insert((kind, member), by);
                overlay.put(Column::Meta, name_of(kind, member), by.row());
                vec![shown(kind, member)]
            }
            Ok(AlarmAction::Deactivate) => {
                let is_meant = |alarm: &(AlarmType, MemberId), raised: RaisedBy| {
                    let may_end = by == RaisedBy::Operator || raised == RaisedBy::Member;
                    alarm.0 == kind && (member.0 == 0 || alarm.1 == member) && may_end
                };
                let on = self.active.iter().filter(|(alarm, raised)| is_meant(alarm, **raised));
                let taken_back: Vec<_> = on.map(|(alarm, _)| *alarm).collect();
                for (kind, member) in &taken_back {
                    self.active.remove(&(*kind, *member));
                    overlay.delete(Column::Meta, name_of(*kind, *member));
                }
                taken_back.into_iter().map(|(kind, member)| shown(kind, member)).collect()
            }
            Ok(AlarmAction::Activate) | Err(_) => Vec::new(),
        }
    }

    fn is_on(&self, kind: AlarmType) -> bool {
        self.active.keys().any(|alarm| alarm.0 == kind)
    }

    /// Those of one kind, or all for [`AlarmType::None`].
    fn listed(&self, kind: AlarmType) -> Vec<AlarmMember> {
        let wanted = self.active.keys().filter(|alarm| kind == AlarmType::None || alarm.0 == kind);
        wanted.map(|(kind, member)| shown(*kind, *member)).collect()
    }
}

fn shown(kind: AlarmType, member: MemberId) -> AlarmMember {
    AlarmMember { member_id: member.0, alarm: kind as i32 }
}

fn name_of(kind: AlarmType, member: MemberId) -> Vec<u8> {
    [PREFIX, &[kind as u8], b"/", &member.0.to_be_bytes()].concat()
}

fn parse_name(name: &[u8]) -> Option<(AlarmType, MemberId)> {
    let (kind, rest) = name.strip_prefix(PREFIX)?.split_first()?;
    let member = rest.strip_prefix(b"/")?.try_into().ok()?;
    Some((AlarmType::try_from(i32::from(*kind)).ok()?, MemberId(u64::from_be_bytes(member))))
}
