//! Membership: who belongs to the cluster, and changes to it. One change at a time; each is committed by a quorum of
//! both the old and the new membership.

use holdfast_proto::etcdserverpb::cluster_client::ClusterClient;
use holdfast_proto::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse,
};

use crate::call::Route;
use crate::{Client, Error};

/// As what a member joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinAs {
    /// Counts towards the quorum at once, before it has any data.
    Voter,
    /// Copies the data first and does not vote; promote it when it has caught up. The safe way.
    Learner,
}

impl Client {
    /// The members, as a quorum knows them.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a quorum.
    pub async fn member_list(&self) -> Result<MemberListResponse, Error> {
        let send = |channel, request| async move { ClusterClient::new(channel).member_list(request).await };
        self.core.unary(Route::read(), MemberListRequest { linearizable: true }, send).await
    }

    /// Adds a member that will be reached at `peer_urls`. Do this before starting it.
    ///
    /// # Errors
    /// Refused where the cluster could not stand the change; see [`Error`].
    pub async fn member_add<U: Into<String>>(
        &self,
        peer_urls: impl IntoIterator<Item = U>,
        role: JoinAs,
    ) -> Result<MemberAddResponse, Error> {
        let peer_ur_ls = peer_urls.into_iter().map(Into::into).collect();
        let request = MemberAddRequest { peer_ur_ls, is_learner: role == JoinAs::Learner };
        let send = |channel, request| async move { ClusterClient::new(channel).member_add(request).await };
        self.core.unary(Route::write(), request, send).await
    }

    /// Removes a member.
    ///
    /// # Errors
    /// Refused where the rest would not be a working quorum; see [`Error`].
    pub async fn member_remove(&self, id: u64) -> Result<MemberRemoveResponse, Error> {
        let send = |channel, request| async move { ClusterClient::new(channel).member_remove(request).await };
        self.core.unary(Route::write(), MemberRemoveRequest { id }, send).await
    }

    /// Changes where a member is reached by its peers.
    ///
    /// # Errors
    /// Refused for an unknown member or an address in use; see [`Error`].
    pub async fn member_update<U: Into<String>>(
        &self,
        id: u64,
        peer_urls: impl IntoIterator<Item = U>,
    ) -> Result<MemberUpdateResponse, Error> {
        let request = MemberUpdateRequest { id, peer_ur_ls: peer_urls.into_iter().map(Into::into).collect() };
        let send = |channel, request| async move { ClusterClient::new(channel).member_update(request).await };
        self.core.unary(Route::write(), request, send).await
    }

    /// Gives a learner its vote.
    ///
    /// # Errors
    /// Refused while it has not caught up with the leader; see [`Error`].
    pub async fn member_promote(&self, id: u64) -> Result<MemberPromoteResponse, Error> {
        let send = |channel, request| async move { ClusterClient::new(channel).member_promote(request).await };
        self.core.unary(Route::write(), MemberPromoteRequest { id }, send).await
    }
}
