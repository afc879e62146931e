//! Changing who belongs to the cluster.

use std::time::Duration;

use holdfast_client::JoinAs;
use holdfast_client::proto::etcdserverpb::Member;

use super::cluster::Cluster;
use super::node_process::Role;
use super::wait::{PATIENCE, until};
use crate::world::NodeIndex;

impl Cluster {
    /// Who belongs to the cluster, by the word of a quorum.
    pub async fn members(&self) -> Vec<Member> {
        let client = self.client();
        until(PATIENCE, "member list", || async {
            client.member_list().await.map(|list| list.members).map_err(|error| error.to_string())
        })
        .await
    }

    /// The id under which the node is a member now.
    ///
    /// # Panics
    /// If it is none.
    pub async fn member_id(&self, index: NodeIndex) -> u64 {
        let url = self.peer_url(index);
        let member = self.members().await.into_iter().find(|member| member.peer_ur_ls.contains(&url));
        member.unwrap_or_else(|| panic!("{} is not a member", self.name(index))).id
    }

    /// Removes the node from the cluster; its process, if it runs, is not touched.
    pub async fn remove_member(&self, index: NodeIndex) {
        let id = self.member_id(index).await;
        let client = self.client();
        until(PATIENCE, "removal of a member", || async {
            match client.member_remove(id).await {
                Ok(_) => Ok(()),
                Err(error) if error.message().contains("member not found") => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// Adds the node to the cluster; its next start joins. The data directory must be empty. Starts nothing.
    pub async fn add_member(&mut self, index: NodeIndex, role: JoinAs) -> u64 {
        let (client, url) = (self.client(), self.peer_url(index));
        // etcd refuses a change while its members have been connected for less than five seconds.
        let answer = until(PATIENCE, "addition of a member", || async {
            client.member_add([url.clone()], role).await.map_err(|error| error.to_string())
        })
        .await;
        let id = answer.member.expect("the answer names the new member").id;
        self.set_role(index, Role::Joiner, &self.initial_cluster(&answer.members));
        id
    }

    /// Those members, as the flag of a node that joins wants them.
    pub(super) fn initial_cluster(&self, members: &[Member]) -> String {
        let named = |member: &Member| {
            let url = member.peer_ur_ls.first()?;
            let node = self.nodes.iter().find(|node| node.peer_url() == *url)?;
            Some(format!("{}={url}", node.name))
        };
        members.iter().filter_map(named).collect::<Vec<_>>().join(",")
    }

    /// Makes a learner a voter, as soon as it has caught up.
    pub async fn promote(&self, id: u64) {
        let client = self.client();
        until(PATIENCE, "promotion of a learner", || async {
            client.member_promote(id).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }

    /// Hands leadership to the node.
    pub async fn move_leader(&self, to: NodeIndex) {
        let (client, id) = (self.client(), self.member_id(to).await);
        until(PATIENCE, "change of leadership", || async {
            client.move_leader(id).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        // The others hear of it with the next heartbeat.
        let _settled = tokio::time::timeout(Duration::from_secs(5), self.wait_leader(None)).await;
    }
}
