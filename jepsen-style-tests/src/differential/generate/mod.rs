//! What to ask next. The choice follows from the seed and from what the reference answered so far, so that revisions
//! lie about where the store is and leases are often ones that exist.
//!
//! ```text
//!   kv.rs         keys, ranges, puts, deletions, transactions, compactions
//!   leases.rs     grants, renewals, questions, revocations
//!   operator.rs   members, alarms, hashes, status: what does no harm to a cluster of one
//!   watches.rs    streams of watchers
//!   auth.rs       users, roles, and who asks: in some rounds
//! ```
//!
//! Few keys and few values, so that requests meet one another; a small part of everything is invalid.

mod auth;
mod chance;
mod kv;
mod leases;
mod operator;
mod watches;

use std::collections::VecDeque;

use holdfast_proto::etcdserverpb as pb;

use self::auth::Plan;
use self::chance::Chance;
use super::normal::OWN;
use super::request::{Answer, Reply, Request};
use super::watching::WatchStep;

pub use self::auth::Who;

/// One thing to do on both sides.
#[derive(Clone, Debug)]
pub enum Step {
    Ask(Request),
    Watch(WatchStep),
}

impl Step {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ask(request) => request.name(),
            Self::Watch(step) => step.name(),
        }
    }
}

/// A step, and on whose behalf it is taken.
#[derive(Clone, Debug)]
pub struct Planned {
    pub who: Who,
    pub step: Step,
}

pub struct Generator {
    chance: Chance,
    /// By the answers of the reference.
    revision: i64,
    compacted: i64,
    leases: Vec<i64>,
    /// An alarm stands: it should be taken back soon.
    alarmed: bool,
    alarmed_member: u64,
    has_learner: bool,
    streams: watches::Streams,
    /// In rounds with authentication.
    auth: Option<Plan>,
    /// No range is asked for that can hold no key.
    keys_lie_in_ranges: bool,
    /// What must follow what was asked.
    next: VecDeque<Planned>,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        Self {
            alarmed_member: chance.pick(&[0, OWN, 77]),
            chance,
            revision: 1,
            compacted: 0,
            leases: Vec::new(),
            alarmed: false,
            has_learner: false,
            streams: watches::Streams::default(),
            auth: None,
            keys_lie_in_ranges: false,
            next: [Planned { who: Who::User("root"), step: Step::Watch(WatchStep::Witness) }].into(),
        }
    }

    pub fn step(&mut self) -> Planned {
        if let Some(planned) = self.next.pop_front() {
            return planned;
        }
        if self.alarmed && self.chance.one_in(15) {
            let step = Step::Ask(self.alarm_off());
            return Planned { who: self.whoever_may(), step };
        }
        match self.auth_is_on() {
            Some(is_enabled) => self.step_with_auth(is_enabled),
            None => Planned { who: Who::Nobody, step: self.any_step() },
        }
    }

    fn any_step(&mut self) -> Step {
        match self.chance.weighted(&[280, 250, 70, 240, 10, 50, 70, 12]) {
            0 => Step::Ask(Request::Put(self.put())),
            1 => Step::Ask(Request::Range(self.lone_range())),
            2 => Step::Ask(Request::DeleteRange(self.delete_range())),
            3 => Step::Ask(Request::Txn(self.txn())),
            4 => Step::Ask(Request::Compact(self.compaction())),
            5 => Step::Ask(self.lease_request()),
            6 => Step::Watch(self.watch_step()),
            _ => Step::Ask(self.operator_request()),
        }
    }

    /// Takes notice of how the reference answered.
    pub fn learn(&mut self, request: &Request, answer: &Answer) {
        self.revision = self.revision.max(answer.revision().unwrap_or(0));
        let Answer::Given(reply) = answer else { return };
        self.learn_auth(request, reply);
        match (request, &**reply) {
            (Request::Compact(request), Reply::Compact(_)) => self.compacted = request.revision,
            (Request::LeaseGrant(request), Reply::LeaseGrant(_)) => self.leases.push(request.id),
            (Request::LeaseRevoke(request), Reply::LeaseRevoke(_)) => self.leases.retain(|id| *id != request.id),
            (Request::Alarm(request), Reply::Alarm(reply)) => self.learn_alarms(request, reply),
            (Request::MemberAdd(_), Reply::MemberAdd(_)) => self.has_learner = true,
            (Request::MemberRemove(_), Reply::MemberRemove(_)) => self.has_learner = false,
            _ => {}
        }
    }

    /// Adds what must be asked next.
    fn ask_next(&mut self, request: Request) {
        let who = self.whoever_may();
        self.next.push_back(Planned { who, step: Step::Ask(request) });
    }

    fn learn_alarms(&mut self, request: &pb::AlarmRequest, reply: &pb::AlarmResponse) {
        // Only the question for all alarms tells that there is none.
        let asks_for_all = *request == pb::AlarmRequest::default();
        self.alarmed = !reply.alarms.is_empty() || (self.alarmed && !asks_for_all);
    }

    /// A revision to read or to start at: mostly one that exists.
    fn some_revision(&mut self) -> i64 {
        let (first, last) = (self.compacted.max(1), self.revision);
        match self.chance.weighted(&[50, 15, 8, 8, 8, 4, 3, 2, 1, 1]) {
            0 => self.chance.between(first, last),
            1 => last,
            2 => self.compacted,
            3 => self.compacted - 1,
            4 => self.compacted + 1,
            5 => last + 1,
            6 => last + 1000,
            7 => -self.chance.between(1, 10),
            8 => i64::MAX,
            _ => i64::MIN,
        }
    }
}
