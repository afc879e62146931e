//! What an operator asks, as far as it does no harm to a cluster of one: nothing here takes its quorum away.

use holdfast_proto::etcdserverpb as pb;

use super::Generator;
use crate::differential::normal::{LEARNER, OWN};
use crate::differential::request::Request;

/// Nobody listens there.
const NOWHERE: [&str; 3] = ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"];
const NO_URLS: [&str; 7] = [
    "",
    "127.0.0.1:1",
    "http://127.0.0.1",
    "unix:///tmp/x",
    "http://127.0.0.1:1/path",
    "ftp://127.0.0.1:1",
    "http://127.0.0.1:port",
];
const VERSIONS: [&str; 8] = ["", "three", "3", "3.5", "3.5.0", "3.3.0", "4.0.0", "3.4.0.1"];
const NONE: i32 = pb::AlarmType::None as i32;
const NOSPACE: i32 = pb::AlarmType::Nospace as i32;
const CORRUPT: i32 = pb::AlarmType::Corrupt as i32;
const ACTIVATE: i32 = pb::alarm_request::AlarmAction::Activate as i32;
const DEACTIVATE: i32 = pb::alarm_request::AlarmAction::Deactivate as i32;

impl Generator {
    pub(super) fn operator_request(&mut self) -> Request {
        match self.chance.weighted(&[20, 15, 15, 4, 4, 20, 4, 8, 30]) {
            // With an alarm etcd before 3.5.28 forgets to ask who may.
            0 if self.auth_is_on().is_none() => self.alarm(),
            0 | 1 => Request::Status(pb::StatusRequest {}),
            2 => Request::HashKv(pb::HashKvRequest {
                revision: if self.chance.percent(30) { 0 } else { self.some_revision() },
            }),
            3 => Request::Hash(pb::HashRequest {}),
            4 => Request::Defragment(pb::DefragmentRequest {}),
            5 => Request::MemberList(pb::MemberListRequest { linearizable: self.chance.percent(50) }),
            6 => Request::MoveLeader(pb::MoveLeaderRequest { target_id: self.chance.pick(&[OWN, 0, 77, u64::MAX]) }),
            7 => Request::Downgrade(pb::DowngradeRequest {
                // Only asked about, or taken back: nobody wants the reference to go down.
                action: self.chance.pick(&[0, 0, 2, 3]),
                version: self.chance.pick(&VERSIONS).to_owned(),
            }),
            _ => self.member_change(),
        }
    }

    fn member_change(&mut self) -> Request {
        let changed = if self.has_learner { LEARNER } else { 78 };
        match self.chance.weighted(&[25, 20, 25, 15, 15]) {
            0 => Request::MemberAdd(pb::MemberAddRequest { peer_ur_ls: self.peer_urls(70), is_learner: true }),
            // A voter that is refused: the cluster would wait for it for ever.
            1 => Request::MemberAdd(pb::MemberAddRequest { peer_ur_ls: self.peer_urls(0), is_learner: false }),
            2 => Request::MemberRemove(pb::MemberRemoveRequest { id: changed }),
            3 => {
                Request::MemberPromote(pb::MemberPromoteRequest { id: self.chance.pick(&[changed, changed, OWN, 79]) })
            }
            _ => {
                // Of a member that exists etcd takes any URLs, and ends when it tries to use them.
                let id = self.chance.pick(&[changed, changed, 79]);
                let peer_ur_ls = self.peer_urls(if id == LEARNER { 100 } else { 70 });
                if id == LEARNER {
                    // To etcd it is no learner any more, though it does not vote either.
                    self.ask_next(Request::MemberRemove(pb::MemberRemoveRequest { id }));
                }
                Request::MemberUpdate(pb::MemberUpdateRequest { id, peer_ur_ls })
            }
        }
    }

    fn peer_urls(&mut self, percent_valid: u32) -> Vec<String> {
        if self.chance.percent(percent_valid) {
            return vec![self.chance.pick(&NOWHERE).to_owned()];
        }
        let mut urls = Vec::new();
        if self.chance.percent(80) {
            urls.push(self.chance.pick(&NO_URLS).to_owned());
        }
        if !urls.is_empty() && self.chance.percent(20) {
            urls.push(NOWHERE[0].to_owned());
        }
        urls
    }

    fn alarm(&mut self) -> Request {
        let alarm = match self.chance.weighted(&[20, 50, 25, 5]) {
            0 => NONE,
            1 => NOSPACE,
            2 => CORRUPT,
            _ => 9,
        };
        // An action that does not exist ends etcd, and so does a kind that does not exist, when it is raised.
        let raised = if alarm == 9 { DEACTIVATE } else { ACTIVATE };
        let action = self.chance.pick(&[0, 0, raised, DEACTIVATE]);
        Request::Alarm(pb::AlarmRequest { action, member_id: self.alarmed_member(), alarm })
    }

    /// Takes an alarm back; after a few of these there is none left.
    pub(super) fn alarm_off(&mut self) -> Request {
        let alarm = self.chance.pick(&[NOSPACE, CORRUPT, CORRUPT, NOSPACE, NONE, 9]);
        self.ask_next(Request::Alarm(pb::AlarmRequest::default()));
        Request::Alarm(pb::AlarmRequest { action: DEACTIVATE, member_id: self.alarmed_member(), alarm })
    }

    /// One member for a whole round: taken back for member 0, an alarm of another one ends in Holdfast, as the API
    /// says, and stays in etcd.
    fn alarmed_member(&self) -> u64 {
        self.alarmed_member
    }
}
