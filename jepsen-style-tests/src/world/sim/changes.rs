//! Stories of changing members.

use std::time::Duration;

use holdfast_node::env::CrashPolicy;
use holdfast_node::raft::Members;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::MemberAddRequest;

use super::story::{Acked, check_everything, put_many, put_without};
use super::{Cluster, ClusterOptions, Trace};
use crate::world::NodeIndex;

/// A change of members that is not done after this long is stuck.
const LIMIT: Duration = Duration::from_secs(20);

/// Adds a voter through some node, until it is accepted, and starts it.
async fn add_voter(cluster: &mut Cluster, trace: &Trace) -> NodeIndex {
    for through in (0..cluster.len()).cycle() {
        let request = MemberAddRequest { peer_ur_ls: vec![cluster.next_peer_url()], is_learner: false };
        let added = cluster.client().spawn(async move {
            let mut admin = Cluster::admin(through);
            rt::timeout(Duration::from_secs(1), admin.member_add(request)).await
        });
        match added.await {
            Ok(Ok(Ok(_))) => break,
            // An earlier attempt had no answer, and was done all the same.
            Ok(Ok(Err(status))) if status.message().contains("Peer URLs already exists") => break,
            Ok(Ok(Err(status))) => trace.say(format!("the voter is not added yet: {}", status.message())),
            _ => trace.say("the addition had no answer"),
        }
        madsim::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.join("d")
}

async fn wait_for(cluster: &Cluster, what: &str, mut is_so: impl FnMut(&Cluster) -> bool) {
    let waiting = async {
        while !is_so(cluster) {
            madsim::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = madsim::time::timeout(LIMIT, waiting).await;
    assert!(in_time.is_ok(), "{what} within {LIMIT:?}");
}

fn is_settled(members: &Members, voters: usize) -> bool {
    !members.is_joint && members.voters().count() == voters
}

/// A voter is added; power fails at the leader when a follower knows the joint configuration. The next leader takes the
/// second step, or takes both.
pub async fn half_done(trace: Trace) {
    let mut cluster = Cluster::start(&ClusterOptions::default(), trace.clone());
    let mut acked = Acked::new();
    cluster.wait_leader(None).await;
    put_many(&cluster, 0..20, &mut acked).await;
    let fourth = add_voter(&mut cluster, &trace).await;

    let leader = cluster.wait_leader(None).await;
    let others = move |cluster: &Cluster| (0..cluster.len()).filter(move |index| *index != leader).collect::<Vec<_>>();
    wait_for(&cluster, "a joint configuration at a follower", |cluster| {
        others(cluster).into_iter().any(|index| cluster.members(index).is_some_and(|members| members.is_joint))
    })
    .await;
    trace.say("a follower knows the joint configuration");
    cluster.crash(leader, CrashPolicy::LoseUnsynced);
    put_without(&cluster, leader, 20..40, &mut acked).await;
    wait_for(&cluster, "one configuration of four voters", |cluster| {
        let next = cluster.leader().and_then(|next| cluster.members(next));
        next.is_some_and(|members| is_settled(&members, 4))
    })
    .await;
    trace.say("the change is done");

    // Whoever was there before is not needed more than the others.
    cluster.restart(leader);
    put_many(&cluster, 40..60, &mut acked).await;
    wait_for(&cluster, "the same members everywhere", |cluster| {
        (0..cluster.len()).all(|index| cluster.members(index).is_some_and(|members| is_settled(&members, 4)))
    })
    .await;
    cluster.crash(fourth, CrashPolicy::LoseUnsynced);
    put_without(&cluster, fourth, 60..70, &mut acked).await;
    cluster.restart(fourth);
    check_everything(&cluster, &trace, &acked).await;
}
