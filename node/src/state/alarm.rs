//! Alarms: what stands between the cluster and further writes until an operator has looked.
//!
//! ```text
//! Meta:  "alarm/" | kind u8 | "/" | member u64, big-endian     empty
//! ```

use std::collections::BTreeSet;
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

/// The alarms that are on, while entries are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alarms {
    active: BTreeSet<(AlarmType, MemberId)>,
}

impl Alarms {
    pub fn load(view: &dyn View) -> Result<Self, EngineError> {
        let mut active = BTreeSet::new();
        let mut failed = None;
        let scan = Scan { from: PREFIX, to: Some(BEHIND_PREFIX), backwards: false };
        view.scan(Column::Meta, scan, &mut |name, _| match parse_name(name) {
            Some(alarm) => {
                active.insert(alarm);
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
    /// may change at all. Alarms themselves always can, or nobody could take one back.
    pub fn admit(&self, request: &Request) -> Result<(), Halt> {
        if matches!(request, Request::Alarm(_)) {
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
            | Request::Alarm(_) => false,
        };
        if grows && self.is_on(AlarmType::Nospace) {
            return Err(Halt::refused(Reason::NoSpace, "the alarm NOSPACE is on: compact, delete, then disarm it"));
        }
        Ok(())
    }

    /// Carries out a request and says which alarms it named, or changed. Member 0 stands for all members when an alarm
    /// is taken back. Actions and kinds outside the enums, and raising no alarm in particular, do nothing, as in etcd.
    pub fn apply(&mut self, overlay: &mut Overlay<'_>, request: &AlarmRequest) -> Vec<AlarmMember> {
        let Ok(kind) = AlarmType::try_from(request.alarm) else { return Vec::new() };
        let member = MemberId(request.member_id);
        match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => self.listed(kind),
            Ok(AlarmAction::Activate) if kind != AlarmType::None => {
                self.active.insert((kind, member));
                overlay.put(Column::Meta, name_of(kind, member), Vec::new());
                vec![shown(kind, member)]
            }
            Ok(AlarmAction::Deactivate) => {
                let is_meant = |alarm: &(AlarmType, MemberId)| alarm.0 == kind && (member.0 == 0 || alarm.1 == member);
                let taken_back: Vec<_> = self.active.iter().copied().filter(is_meant).collect();
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
        self.active.iter().any(|alarm| alarm.0 == kind)
    }

    /// Those of one kind, or all for [`AlarmType::None`].
    fn listed(&self, kind: AlarmType) -> Vec<AlarmMember> {
        let wanted = self.active.iter().filter(|alarm| kind == AlarmType::None || alarm.0 == kind);
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
