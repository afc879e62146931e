//! Changes of members while everything else may be broken: tried within a limit, and looked up when nobody knows.

use std::time::{Duration, Instant};

use holdfast_client::JoinAs;
use holdfast_client::proto::etcdserverpb::{AlarmType, Member};

use super::cluster::Cluster;
use super::node_process::Role;
use super::shape::Server;
use crate::world::NodeIndex;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);

/// A change that did not come about, or of which nobody knows.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    #[error("nobody could list the members for {0:?}: {1}")]
    Unlisted(Duration, String),
    #[error("refused: {0}")]
    Refused(String),
}

impl Cluster {
    /// The members by the word of a quorum, asked for until `limit`.
    async fn listed(&self, limit: Duration) -> Result<Vec<Member>, ChangeError> {
        let (begun, client) = (Instant::now(), self.watcher(REQUEST));
        loop {
            match client.member_list().await {
                Ok(list) => return Ok(list.members),
                Err(error) if begun.elapsed() > limit => return Err(ChangeError::Unlisted(limit, error.to_string())),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn id_of(&self, index: NodeIndex, limit: Duration) -> Result<Option<u64>, ChangeError> {
        let url = self.peer_url(index);
        let members = self.listed(limit).await?;
        Ok(members.iter().find(|member| member.peer_ur_ls.contains(&url)).map(|member| member.id))
    }

    /// Makes the node a member, unless it is one, and says so to its next start. A node that is none has no data.
    pub(super) async fn try_join(
        &mut self,
        index: NodeIndex,
        role: JoinAs,
        limit: Duration,
    ) -> Result<(), ChangeError> {
        let (begun, url) = (Instant::now(), self.peer_url(index));
        let is_listed = |members: &[Member]| members.iter().any(|member| member.peer_ur_ls.contains(&url));
        let members = self.listed(limit).await?;
        if is_listed(&members) {
            // An attempt of which nobody knew may have made it one: it has not run yet then.
            if !self.data_dir(index).exists() {
                self.set_role(index, Role::Joiner, &self.initial_cluster(&members));
            }
            return Ok(());
        }
        if self.data_dir(index).exists() {
            let wiped = std::fs::remove_dir_all(self.data_dir(index));
            wiped.map_err(|error| ChangeError::Refused(format!("its data cannot be removed: {error}")))?;
        }
        loop {
            let refused = match self.watcher(REQUEST).member_add([url.clone()], role).await {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            };
            let members = self.listed(limit).await?;
            if is_listed(&members) {
                self.set_role(index, Role::Joiner, &self.initial_cluster(&members));
                return Ok(());
            }
            if begun.elapsed() > limit {
                return Err(ChangeError::Refused(refused));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes it no member any more. Its process, if it runs, is not touched.
    pub(super) async fn try_leave(&self, index: NodeIndex, limit: Duration) -> Result<(), ChangeError> {
        let begun = Instant::now();
        while let Some(id) = self.id_of(index, limit).await? {
            if let Err(error) = self.watcher(REQUEST).member_remove(id).await {
                if begun.elapsed() > limit {
                    return Err(ChangeError::Refused(error.to_string()));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Whether that many members vote, and there are no others. Of etcd's, each votes as soon as it is a member.
    pub(super) async fn all_vote(&self, members: usize) -> bool {
        if self.server() == Server::Etcd {
            return true;
        }
        let Ok(known) = self.watcher(REQUEST).topology().await else { return false };
        let voters: u32 = known.zones.iter().map(|zone| zone.voters).sum();
        (known.members.len(), voters as usize) == (members, members)
    }

    /// Waits until no member has an alarm, as after its disk has room again. etcd's have to be ended by hand.
    pub(super) async fn quiet_alarms(&self, limit: Duration) -> Result<(), ChangeError> {
        let (begun, client) = (Instant::now(), self.watcher(REQUEST));
        loop {
            let left = match client.alarms().await {
                Ok(list) if list.alarms.is_empty() => return Ok(()),
                Ok(list) => format!("alarms stand: {:?}", list.alarms),
                Err(error) => error.to_string(),
            };
            if begun.elapsed() > limit {
                return Err(ChangeError::Refused(left));
            }
            if self.server() == Server::Etcd {
                // Asked again until none is left.
                let _disarmed = client.alarm_disarm(0, AlarmType::Nospace).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(super) async fn try_move_leader(&self, to: NodeIndex, limit: Duration) -> Result<(), ChangeError> {
        let nobody = || ChangeError::Refused(format!("{} is not a member", self.name(to)));
        let id = self.id_of(to, limit).await?.ok_or_else(nobody)?;
        let moved = self.watcher(limit).move_leader(id).await;
        moved.map(drop).map_err(|error| ChangeError::Refused(error.to_string()))
    }
}
