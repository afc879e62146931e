//! Changes of members, as an operator makes them: through any member that answers, and looked at again until it is so.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_node::rt;
use holdfast_proto::etcdserverpb::cluster_client::ClusterClient;
use holdfast_proto::etcdserverpb::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
};

use super::cluster::Cluster;
use crate::world::NodeIndex;

const CALL_PATIENCE: Duration = Duration::from_secs(3);
/// How often a change is tried: a quorum may be missing for a while.
const ATTEMPTS: usize = 5;
const REST: Duration = Duration::from_millis(500);

/// Whether the node at `place` is a member in the end, and a voter unless it was to be a learner. A learner whose
/// addition was given up is promoted.
pub async fn add(cluster: &Cluster, through: Vec<NodeIndex>, place: NodeIndex, is_learner: bool) -> bool {
    let url = Cluster::peer_url(place);
    for attempt in 0..ATTEMPTS {
        let by = through[attempt % through.len()];
        if let Some(members) = list(cluster, by).await {
            match members.iter().find(|member| member.peer_ur_ls.contains(&url)) {
                Some(member) if member.is_learner == is_learner => return true,
                Some(member) => {
                    let request = MemberPromoteRequest { id: member.id };
                    call(cluster, by, move |mut client| async move { client.member_promote(request).await }).await;
                }
                None => {
                    let request = MemberAddRequest { peer_ur_ls: vec![url.clone()], is_learner };
                    call(cluster, by, move |mut client| async move { client.member_add(request).await }).await;
                }
            }
        }
        madsim::time::sleep(REST).await;
    }
    false
}

/// Whether the node at `place` is no member any more in the end.
pub async fn remove(cluster: &Cluster, through: Vec<NodeIndex>, place: NodeIndex) -> bool {
    let others: Vec<NodeIndex> = through.into_iter().filter(|node| *node != place).collect();
    let url = Cluster::peer_url(place);
    for attempt in 0..ATTEMPTS {
        let by = others[attempt % others.len()];
        if let Some(members) = list(cluster, by).await {
            let Some(member) = members.iter().find(|member| member.peer_ur_ls.contains(&url)) else { return true };
            let request = MemberRemoveRequest { id: member.id };
            call(cluster, by, move |mut client| async move { client.member_remove(request).await }).await;
        }
        madsim::time::sleep(REST).await;
    }
    false
}

/// The places whose nodes are members, voters and learners, as a quorum has them; none if no quorum answers.
pub async fn places(cluster: &Cluster, through: &[NodeIndex]) -> Option<BTreeSet<NodeIndex>> {
    for by in through {
        if let Some(members) = list(cluster, *by).await {
            // One more than there are: a join may have been asked for, and given up.
            let places = (0..=cluster.len()).filter(|place| is_among(&members, &Cluster::peer_url(*place)));
            return Some(places.collect());
        }
    }
    None
}

fn is_among(members: &[Member], url: &str) -> bool {
    members.iter().any(|member| member.peer_ur_ls.iter().any(|known| known == url))
}

/// The members, as a quorum has them.
async fn list(cluster: &Cluster, by: NodeIndex) -> Option<Vec<Member>> {
    let request = MemberListRequest { linearizable: true };
    let answer = call(cluster, by, move |mut client| async move { client.member_list(request).await }).await;
    answer.map(|answer| answer.members)
}

async fn call<T, F>(
    cluster: &Cluster,
    by: NodeIndex,
    call: impl FnOnce(ClusterClient<rt::Channel>) -> F + Send + 'static,
) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = Result<tonic::Response<T>, tonic::Status>> + Send + 'static,
{
    let asking = cluster.client().spawn(async move { rt::timeout(CALL_PATIENCE, call(Cluster::admin(by))).await });
    Some(asking.await.ok()?.ok()?.ok()?.into_inner())
}
