//! Topology: the shape of the cluster, for people and for `holdfastctl topology`.

use holdfast_proto::v1::topology_member::Role;
use holdfast_proto::v1::topology_server::Topology as TopologyApi;
use holdfast_proto::v1::{TopologyMember, TopologyRequest, TopologyResponse, ZoneVerdict};
use tonic::{Request, Response, Status};

use super::gate::{Asks, Call, Gate, Rpc};
use crate::metrics::RpcKind::Unary;
use crate::ops;
use crate::ops::MemberHealth;

pub struct TopologyService {
    gate: Gate,
    topology: Rpc,
}

impl TopologyService {
    pub fn new(gate: &Gate) -> Self {
        // A member that is cut off or only learns is worth asking too: it says how the cluster looks from there.
        let topology = gate.rpc(Unary, "holdfast.v1.Topology", "Topology").asks(Asks::User).also_at_learners();
        Self { gate: gate.clone(), topology }
    }

    async fn answer(&self, call: Call) -> Result<TopologyResponse, Status> {
        let ops = self.gate.ops();
        let found = ops.topology(call.deadline).await;
        let zones: Vec<ZoneVerdict> = found
            .zones
            .iter()
            .map(|(zone, share)| ZoneVerdict {
                zone: zone.clone(),
                voters: u32::try_from(share.voters).unwrap_or(u32::MAX),
                quorum_without: share.quorum_without,
            })
            .collect();
        Ok(TopologyResponse {
            header: Some(ops.header()?),
            members: found.members.into_iter().map(member_to_wire).collect(),
            survives_any_zone: zones.iter().all(|zone| zone.quorum_without),
            zones,
            warnings: found.warnings,
        })
    }
}

fn member_to_wire(found: ops::TopologyMember) -> TopologyMember {
    let role = match (found.leads, found.view.votes) {
        (true, _) => Role::Leader,
        (false, true) => Role::Follower,
        (false, false) => Role::Learner,
    };
    TopologyMember {
        id: found.view.id.0,
        name: found.view.member.name,
        zone: found.view.member.zone,
        role: role as i32,
        health: match found.health {
            MemberHealth::Said(state) => state,
            MemberHealth::Unreachable => "unreachable".to_owned(),
        },
        applied_index: found.applied_index,
        lag_entries: found.lag_entries,
        client_urls: found.view.member.client_urls,
        peer_urls: found.view.member.peer_urls,
    }
}

#[tonic::async_trait]
impl TopologyApi for TopologyService {
    async fn topology(&self, request: Request<TopologyRequest>) -> Result<Response<TopologyResponse>, Status> {
        self.topology.unary(request, |TopologyRequest {}, call| self.answer(call)).await
    }
}
