//! What must differ between two servers is replaced before answers are compared: who they are, how many bytes they
//! take, and what the clock says. Everything else is compared as it came, field by field.

use std::collections::BTreeMap;

use holdfast_proto::etcdserverpb as pb;
use holdfast_proto::etcdserverpb::response_op::Response as OpResponse;

use super::request::{Reply, Request};

/// Stands for the server's own member id in requests and answers.
pub const OWN: u64 = 1;
/// Stands for the id of the learner that was added last.
pub const LEARNER: u64 = 2;
/// Stands for the lease whose id the server chose last.
pub const CHOSEN_LEASE: i64 = 0x0063_686f_7365_6e00;
/// A lease cannot have lost more of its time than this within a run.
const AGE_S_MAX: i64 = 3600;

/// What one server calls the things that the other has under another name.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub own: u64,
    pub learner: u64,
    pub chosen_lease: i64,
    pub client_url: String,
    pub peer_url: String,
    /// By user: the token that was given last.
    pub tokens: BTreeMap<String, String>,
}

impl Names {
    /// Puts this server's names into a request.
    pub fn fill(&self, request: &mut Request) {
        let id = |id: &mut u64| match *id {
            OWN => *id = self.own,
            LEARNER if self.learner != 0 => *id = self.learner,
            _ => {}
        };
        match request {
            Request::MemberRemove(request) => id(&mut request.id),
            Request::MemberUpdate(request) => id(&mut request.id),
            Request::MemberPromote(request) => id(&mut request.id),
            Request::MoveLeader(request) => id(&mut request.target_id),
            Request::Alarm(request) => id(&mut request.member_id),
            Request::LeaseRevoke(request) if request.id == CHOSEN_LEASE => request.id = self.chosen_lease,
            _ => {}
        }
    }

    /// Remembers the names that an answer brings.
    pub fn learn(&mut self, request: &Request, reply: &Reply) {
        match (request, reply) {
            (Request::MemberAdd(_), Reply::MemberAdd(added)) => {
                self.learner = added.member.as_ref().map_or(0, |member| member.id);
            }
            (Request::LeaseGrant(asked), Reply::LeaseGrant(granted)) if asked.id == 0 => self.chosen_lease = granted.id,
            (Request::Authenticate(asked), Reply::Authenticate(given)) => {
                self.tokens.insert(asked.name.clone(), given.token.clone());
            }
            _ => {}
        }
    }

    fn id(&self, id: &mut u64) {
        if *id == self.own {
            *id = OWN;
        } else if *id == self.learner && *id != 0 {
            *id = LEARNER;
        }
    }

    pub fn header(&self, header: &mut Option<pb::ResponseHeader>) {
        let Some(header) = header else { return };
        self.id(&mut header.member_id);
        header.cluster_id = header.cluster_id.min(1);
        header.raft_term = header.raft_term.min(1);
    }

    fn members(&self, members: &mut [pb::Member]) {
        for member in members.iter_mut() {
            self.id(&mut member.id);
            let urls = member.peer_ur_ls.iter_mut().chain(&mut member.client_ur_ls);
            urls.for_each(|url| {
                *url = url.replace(&self.peer_url, "<own peer url>").replace(&self.client_url, "<own client url>");
            });
        }
        // Members stand in the order of their ids, which have other names now.
        members.sort_by_key(|member| member.id);
    }

    fn txn(&self, txn: &mut pb::TxnResponse) {
        self.header(&mut txn.header);
        for response in &mut txn.responses {
            match &mut response.response {
                Some(OpResponse::ResponseRange(range)) => self.header(&mut range.header),
                Some(OpResponse::ResponsePut(put)) => self.header(&mut put.header),
                Some(OpResponse::ResponseDeleteRange(delete)) => self.header(&mut delete.header),
                Some(OpResponse::ResponseTxn(nested)) => self.txn(nested),
                None => {}
            }
        }
    }

    /// Takes out of an answer what this server alone can say.
    pub fn normal(&self, reply: &mut Reply) {
        match reply {
            Reply::Range(reply) => self.header(&mut reply.header),
            Reply::Put(reply) => self.header(&mut reply.header),
            Reply::DeleteRange(reply) => self.header(&mut reply.header),
            Reply::Txn(reply) => self.txn(reply),
            Reply::Compact(reply) => self.header(&mut reply.header),
            Reply::LeaseGrant(reply) => {
                self.header(&mut reply.header);
                if reply.id == self.chosen_lease && reply.id > 0 {
                    reply.id = CHOSEN_LEASE;
                }
            }
            Reply::LeaseRevoke(reply) => self.header(&mut reply.header),
            Reply::LeaseKeepAlive(replies) => replies.iter_mut().for_each(|reply| self.header(&mut reply.header)),
            Reply::LeaseTimeToLive(reply) => {
                self.header(&mut reply.header);
                if (reply.granted_ttl - AGE_S_MAX..=reply.granted_ttl).contains(&reply.ttl) && reply.ttl > 0 {
                    reply.ttl = reply.granted_ttl;
                }
                // etcd gives them in the order of a hash map.
                reply.keys.sort();
            }
            Reply::LeaseLeases(reply) => {
                self.header(&mut reply.header);
                // etcd gives them in the order in which they run out, to the nanosecond.
                reply.leases.sort_by_key(|lease| lease.id);
            }
            Reply::MemberAdd(reply) => {
                self.header(&mut reply.header);
                self.members(&mut reply.members);
                self.members(reply.member.as_mut_slice());
            }
            Reply::MemberRemove(reply) => {
                self.header(&mut reply.header);
                self.members(&mut reply.members);
            }
            Reply::MemberUpdate(reply) => {
                self.header(&mut reply.header);
                self.members(&mut reply.members);
            }
            Reply::MemberList(reply) => {
                self.header(&mut reply.header);
                self.members(&mut reply.members);
            }
            Reply::MemberPromote(reply) => {
                self.header(&mut reply.header);
                self.members(&mut reply.members);
            }
            _ => self.maintenance(reply),
        }
    }

    fn maintenance(&self, reply: &mut Reply) {
        match reply {
            Reply::Alarm(reply) => {
                self.header(&mut reply.header);
                reply.alarms.iter_mut().for_each(|alarm| self.id(&mut alarm.member_id));
                reply.alarms.sort_by_key(|alarm| (alarm.member_id, alarm.alarm));
            }
            Reply::Status(reply) => self.status(reply),
            Reply::Defragment(reply) => self.header(&mut reply.header),
            Reply::Hash(reply) => {
                self.header(&mut reply.header);
                reply.hash = 0;
            }
            Reply::HashKv(reply) => {
                self.header(&mut reply.header);
                reply.hash = 0;
                // etcd has this field since 3.6.
                reply.hash_revision = 0;
            }
            Reply::MoveLeader(reply) => self.header(&mut reply.header),
            Reply::Downgrade(reply) => {
                self.header(&mut reply.header);
                reply.version.clear();
            }
            _ => self.auth(reply),
        }
    }

    fn auth(&self, reply: &mut Reply) {
        match reply {
            Reply::AuthEnable(reply) => self.header(&mut reply.header),
            Reply::AuthDisable(reply) => self.header(&mut reply.header),
            Reply::AuthStatus(reply) => self.header(&mut reply.header),
            Reply::Authenticate(reply) => {
                self.header(&mut reply.header);
                if !reply.token.is_empty() {
                    reply.token = "<token>".to_owned();
                }
            }
            Reply::UserAdd(reply) => self.header(&mut reply.header),
            Reply::UserGet(reply) => self.header(&mut reply.header),
            Reply::UserList(reply) => self.header(&mut reply.header),
            Reply::UserDelete(reply) => self.header(&mut reply.header),
            Reply::UserChangePassword(reply) => self.header(&mut reply.header),
            Reply::UserGrantRole(reply) => self.header(&mut reply.header),
            Reply::UserRevokeRole(reply) => self.header(&mut reply.header),
            Reply::RoleAdd(reply) => self.header(&mut reply.header),
            Reply::RoleGet(reply) => self.header(&mut reply.header),
            Reply::RoleList(reply) => self.header(&mut reply.header),
            Reply::RoleDelete(reply) => self.header(&mut reply.header),
            Reply::RoleGrantPermission(reply) => self.header(&mut reply.header),
            Reply::RoleRevokePermission(reply) => self.header(&mut reply.header),
            _ => {}
        }
    }

    fn status(&self, status: &mut pb::StatusResponse) {
        self.header(&mut status.header);
        self.id(&mut status.leader);
        let own = self.own.to_string();
        status.errors.iter_mut().for_each(|error| *error = error.replace(&own, "<own id>"));
        status.errors.sort();
        // Which server, how large its files are, and how long its log is.
        status.version.clear();
        (status.db_size, status.db_size_in_use) = (0, 0);
        (status.raft_index, status.raft_term, status.raft_applied_index) = (0, 0, 0);
        // etcd has these since 3.6.
        status.storage_version.clear();
        status.db_size_quota = 0;
        status.downgrade_info = None;
    }
}
