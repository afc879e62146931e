//! How a node without an identity gets one: it founds a cluster, or asks the members of one that exists.
//!
//! A founder computes everything from `--initial-cluster`, so that all founders agree without talking. When it may
//! start is another question: `founding.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use holdfast_proto::peer::{HelloRequest, HelloResponse};

use crate::raft::{Member, work_client};
use crate::rt;
use crate::settings::{ClusterState, Settings};
use crate::types::{ClusterId, MemberId, cluster_id_of, member_id_of};

use super::identity::Identity;

const HELLO_DEADLINE: Duration = Duration::from_millis(1500);
/// How often a joining node asks, before it gives up.
const JOIN_ATTEMPTS: u32 = 10;
const JOIN_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error(
        "member {name} ({member}) has already been bootstrapped, but its data directory is empty: its vote is lost. \
         Remove the member from the cluster, add it again, and start it with --initial-cluster-state existing"
    )]
    AlreadyBootstrapped { name: String, member: MemberId },
    #[error(
        "no member of --initial-cluster answered at {urls:?}: a node that joins needs at least one member that runs. \
         Check the URLs, or use --initial-cluster-state new to found a cluster"
    )]
    NobodyAnswered { urls: Vec<String> },
    #[error(
        "the cluster {cluster} does not know a member with the peer URLs {urls:?}: add it first \
         (holdfastctl member add NAME --peer-urls=...), then start this node"
    )]
    NotAMember { cluster: ClusterId, urls: Vec<String> },
    #[error(
        "the member at {url} belongs to cluster {found}, but --initial-cluster and --initial-cluster-token make \
         cluster {wanted}: correct them if this node founds a cluster with that member; if it joins one that exists, \
         add it there first and use --initial-cluster-state existing"
    )]
    OtherCluster { url: String, found: ClusterId, wanted: ClusterId },
    #[error("the members of --initial-cluster belong to different clusters: {first} and {second}")]
    TwoClusters { first: ClusterId, second: ClusterId },
    #[error(
        "the data directory belongs to member {found} ({member}), but this node was started as {given}: \
         use the right --data-dir, or --name {found}"
    )]
    OtherName { found: String, member: MemberId, given: String },
}

/// Refuses a data directory that belongs to another node.
pub fn check_known(settings: &Settings, identity: &Identity) -> Result<(), BootstrapError> {
    if identity.name == settings.name {
        return Ok(());
    }
    Err(BootstrapError::OtherName {
        found: identity.name.clone(),
        member: identity.member,
        given: settings.name.clone(),
    })
}

/// The members that found the cluster, if this node founds one.
pub fn first_members(settings: &Settings, identity: &Identity) -> Option<BTreeMap<u64, Member>> {
    let founded = founders(settings);
    (settings.initial_cluster_state == ClusterState::New && founded.cluster == identity.cluster)
        .then_some(founded.members)
}

/// A cluster as its founders compute it.
pub struct Founders {
    cluster: ClusterId,
    pub members: BTreeMap<u64, Member>,
}

pub fn founders(settings: &Settings) -> Founders {
    let token = &settings.initial_cluster_token;
    // Client URLs and zones stay empty until each member has said them itself: that is how one that ran is known.
    let members: BTreeMap<u64, Member> = settings
        .initial_cluster
        .iter()
        .map(|(name, urls)| {
            let member = Member { name: name.clone(), peer_urls: urls.clone(), ..Member::default() };
            (member_id_of(urls, token, None).0, member)
        })
        .collect();
    let ids: Vec<MemberId> = members.keys().map(|id| MemberId(*id)).collect();
    Founders { cluster: cluster_id_of(&ids), members }
}

/// Who a founder is, before anybody was asked.
pub fn as_founder(settings: &Settings) -> Identity {
    let member = member_id_of(&settings.advertise_peer_urls, &settings.initial_cluster_token, None);
    Identity { cluster: founders(settings).cluster, member, name: settings.name.clone() }
}

/// Asks the members of a cluster that exists who this node is in it.
pub async fn join(settings: &Settings, tls: &rt::PeerTls) -> Result<Identity, BootstrapError> {
    let mine = &settings.advertise_peer_urls;
    let mut unknown_in = None;
    for _ in 0..JOIN_ATTEMPTS {
        let answers: Vec<_> =
            ask_others(settings, tls, HelloRequest::default()).await.into_iter().map(|(_, hello)| hello).collect();
        if let [first, rest @ ..] = answers.as_slice() {
            if let Some(other) = rest.iter().find(|other| other.cluster_id != first.cluster_id) {
                let (first, second) = (ClusterId(first.cluster_id), ClusterId(other.cluster_id));
                return Err(BootstrapError::TwoClusters { first, second });
            }
            let cluster = ClusterId(first.cluster_id);
            let known = answers.iter().flat_map(|hello| &hello.members);
            let me = known.rev().find(|member| member.peer_urls.iter().any(|url| mine.contains(url)));
            if let Some(me) = me {
                let member = MemberId(me.id);
                if !me.client_urls.is_empty() {
                    return Err(BootstrapError::AlreadyBootstrapped { name: settings.name.clone(), member });
                }
                return Ok(Identity { cluster, member, name: settings.name.clone() });
            }
            unknown_in = Some(cluster);
        }
        rt::sleep(JOIN_PAUSE).await;
    }
    match unknown_in {
        Some(cluster) => Err(BootstrapError::NotAMember { cluster, urls: mine.clone() }),
        None => Err(BootstrapError::NobodyAnswered { urls: other_urls(settings) }),
    }
}

fn other_urls(settings: &Settings) -> Vec<String> {
    let others = settings.initial_cluster.iter().filter(|(name, _)| **name != settings.name);
    others.flat_map(|(_, urls)| urls.clone()).collect()
}

/// Asks every other member of `--initial-cluster` who it is. Those that do not answer are left out.
pub async fn ask_others(
    settings: &Settings,
    tls: &rt::PeerTls,
    question: HelloRequest,
) -> Vec<(String, HelloResponse)> {
    let urls = other_urls(settings);
    let asks = urls.iter().map(|url| async move {
        let mut client = work_client(rt::connect(url, tls).ok()?);
        let answer = rt::timeout(HELLO_DEADLINE, client.hello(question)).await.ok()?.ok()?;
        Some((url.clone(), answer.into_inner()))
    });
    join_all(asks).await.into_iter().flatten().collect()
}
