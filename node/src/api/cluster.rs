//! Cluster: who the members are, and changing that. The headers here name no revision, as in etcd.

use std::collections::BTreeSet;

use holdfast_proto::etcdserverpb::cluster_server::Cluster;
use holdfast_proto::etcdserverpb::{
    Member as WireMember, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest,
    MemberUpdateResponse, ResponseHeader,
};
use tonic::{Request, Response, Status};

use super::gate::{Asks, AtLearner, Call, Gate, Rpc};
use super::status;
use crate::metrics::RpcKind::Unary;
use crate::raft::{Member, MemberChange, MemberView, Members};
use crate::rt;
use crate::types::{MemberId, Revision, member_id_of};

const SERVICE: &str = "etcdserverpb.Cluster";

pub struct ClusterService {
    gate: Gate,
    add: Rpc,
    remove: Rpc,
    update: Rpc,
    list: Rpc,
    promote: Rpc,
}

impl ClusterService {
    pub fn new(gate: &Gate) -> Self {
        Self {
            gate: gate.clone(),
            add: gate.rpc(Unary, SERVICE, "MemberAdd"),
            remove: gate.rpc(Unary, SERVICE, "MemberRemove"),
            update: gate.rpc(Unary, SERVICE, "MemberUpdate"),
            list: gate.rpc(Unary, SERVICE, "MemberList").asks(Asks::User),
            promote: gate.rpc(Unary, SERVICE, "MemberPromote"),
        }
    }

    async fn answer_add(&self, request: MemberAddRequest, call: Call) -> Result<MemberAddResponse, Status> {
        let peer_urls = peer_urls(request.peer_ur_ls)?;
        let ops = self.gate.ops();
        // The time makes the id of a member that was removed and is added again another one.
        let id = member_id_of(&peer_urls, &ops.peers().cluster().to_string(), Some(rt::wall_unix_ms()));
        let member = Member { peer_urls, ..Member::default() };
        let change = if request.is_learner {
            MemberChange::AddLearner(id, member.clone())
        } else {
            MemberChange::AddVoter(id, member.clone())
        };
        let members = ops.change_members(change, call.deadline).await?;
        let added = MemberView { id, member, votes: !request.is_learner };
        // A member that asked the leader may not have heard of the change itself yet.
        let mut listed = members_to_wire(&members);
        if members.get(id).is_none() {
            listed.push(member_to_wire(&added));
            listed.sort_by_key(|member| member.id);
        }
        Ok(MemberAddResponse { header: self.header(), member: Some(member_to_wire(&added)), members: listed })
    }

    async fn answer_remove(&self, request: MemberRemoveRequest, call: Call) -> Result<MemberRemoveResponse, Status> {
        let change = MemberChange::Remove(MemberId(request.id));
        let members = self.gate.ops().change_members(change, call.deadline).await?;
        let mut members = members_to_wire(&members);
        members.retain(|member| member.id != request.id);
        Ok(MemberRemoveResponse { header: self.header(), members })
    }

    async fn answer_update(&self, request: MemberUpdateRequest, call: Call) -> Result<MemberUpdateResponse, Status> {
        // As in etcd, what is wrong with the URLs of nobody does not matter.
        let known = self.gate.ops().agreed_members()?;
        let is_member = known.get(MemberId(request.id)).is_some();
        let peer_urls =
            peer_urls(request.peer_ur_ls).map_err(|bad| if is_member { bad } else { status::member_not_found() })?;
        let change = MemberChange::UpdatePeerUrls(MemberId(request.id), peer_urls.clone());
        let members = self.gate.ops().change_members(change, call.deadline).await?;
        let mut members = members_to_wire(&members);
        if let Some(updated) = members.iter_mut().find(|member| member.id == request.id) {
            updated.peer_ur_ls = peer_urls;
        }
        Ok(MemberUpdateResponse { header: self.header(), members })
    }

    async fn answer_list(&self, request: MemberListRequest, call: Call) -> Result<MemberListResponse, Status> {
        if request.linearizable {
            self.gate.read_barrier(&call).await?;
        }
        // Not what Raft counts with: a change that is not committed yet may be taken back.
        let members = members_to_wire(&self.gate.ops().agreed_members()?);
        Ok(MemberListResponse { header: self.header(), members })
    }

    async fn answer_promote(&self, request: MemberPromoteRequest, call: Call) -> Result<MemberPromoteResponse, Status> {
        let change = MemberChange::Promote(MemberId(request.id));
        let raft = self.gate.raft_metrics();
        match self.gate.ops().change_members(change, call.deadline).await {
            Ok(members) => {
                raft.learner_promote_succeeded.inc();
                let mut members = members_to_wire(&members);
                if let Some(promoted) = members.iter_mut().find(|member| member.id == request.id) {
                    promoted.is_learner = false;
                }
                Ok(MemberPromoteResponse { header: self.header(), members })
            }
            Err(error) => {
                raft.learner_promote_failed.inc();
                Err(error.into())
            }
        }
    }

    fn header(&self) -> Option<ResponseHeader> {
        Some(self.gate.ops().header_at(Revision(0)))
    }
}

/// Peer URLs in order, each once. None, or one that is no URL of ours, is refused.
fn peer_urls(given: Vec<String>) -> Result<Vec<String>, Status> {
    let urls: BTreeSet<String> = given.into_iter().collect();
    if urls.is_empty() || !urls.iter().all(|url| is_peer_url(url)) {
        return Err(status::bad_member_urls());
    }
    Ok(urls.into_iter().collect())
}

/// A scheme, a host and a port, and nothing behind them.
fn is_peer_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let is_known_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_address = uri.host().is_some_and(|host| !host.is_empty()) && uri.port_u16().is_some();
    is_known_scheme && is_address && uri.path() == "/" && uri.query().is_none()
}

fn members_to_wire(members: &Members) -> Vec<WireMember> {
    members.members.iter().map(member_to_wire).collect()
}

fn member_to_wire(view: &MemberView) -> WireMember {
    WireMember {
        id: view.id.0,
        name: view.member.name.clone(),
        peer_ur_ls: view.member.peer_urls.clone(),
        client_ur_ls: view.member.client_urls.clone(),
        is_learner: view.is_learner(),
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_add(&self, request: Request<MemberAddRequest>) -> Result<Response<MemberAddResponse>, Status> {
        let about = request.get_ref().peer_ur_ls.join(",");
        self.add.unary_about(about, request, |add, call| self.answer_add(add, call)).await
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        let about = format!("member {:x}", request.get_ref().id);
        self.remove.unary_about(about, request, |remove, call| self.answer_remove(remove, call)).await
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let about = format!("member {:x}", request.get_ref().id);
        self.update.unary_about(about, request, |update, call| self.answer_update(update, call)).await
    }

    async fn member_list(&self, request: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        let at_learner = if request.get_ref().linearizable { AtLearner::Refused } else { AtLearner::Served };
        self.list.unary_if(at_learner, request, |list, call| self.answer_list(list, call)).await
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        let about = format!("member {:x}", request.get_ref().id);
        self.promote.unary_about(about, request, |promote, call| self.answer_promote(promote, call)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_are_sorted_and_each_stands_once() {
        let given = ["http://b:2380", "http://a:2380", "http://b:2380"].map(str::to_owned).to_vec();
        assert_eq!(peer_urls(given).unwrap(), ["http://a:2380", "http://b:2380"]);
    }

    #[test]
    fn what_no_member_can_be_reached_at_is_refused() {
        for url in ["", "a:2380", "http://a", "unix:///tmp/x", "http://:2380", "http://a:2380/x", "http://a:2380?x=1"] {
            let status = peer_urls(vec![url.to_owned()]).unwrap_err();
            assert_eq!(status.message(), "etcdserver: given member URLs are invalid", "{url:?}");
        }
        assert!(peer_urls(Vec::new()).is_err());
    }
}
