//! Leases: keys that live as long as their owner does.

mod keep_alive;

use holdfast_proto::etcdserverpb::lease_client::LeaseClient;
use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseLeasesResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};

pub use keep_alive::KeepAlive;

use crate::call::Route;
use crate::kv::bytes;
use crate::{Client, Error};

/// Whether a lease's keys are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedKeys {
    List,
    Skip,
}

impl Client {
    /// Grants a lease of `ttl_s` seconds. The server may raise the time to its minimum, and says so.
    ///
    /// # Errors
    /// [`Error::Unknown`] leaves at worst a lease nobody knows, which ends by itself.
    pub async fn lease_grant(&self, ttl_s: i64) -> Result<LeaseGrantResponse, Error> {
        self.lease_grant_as(0, ttl_s).await
    }

    /// The same under an id of one's own choice, which makes the grant safe to repeat: the second time it is refused
    /// because the lease exists.
    ///
    /// # Errors
    /// Refused where the id is taken.
    pub async fn lease_grant_as(&self, id: i64, ttl_s: i64) -> Result<LeaseGrantResponse, Error> {
        let send = |channel, request| async move { LeaseClient::new(channel).lease_grant(request).await };
        self.core.unary(Route::write(), LeaseGrantRequest { ttl: ttl_s, id }, send).await
    }

    /// Ends a lease and deletes its keys.
    ///
    /// # Errors
    /// Refused where there is no such lease.
    pub async fn lease_revoke(&self, id: i64) -> Result<LeaseRevokeResponse, Error> {
        let send = |channel, request| async move { LeaseClient::new(channel).lease_revoke(request).await };
        self.core.unary(Route::write(), LeaseRevokeRequest { id }, send).await
    }

    /// How long a lease has left. A lease that does not exist has `ttl == -1`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a leader, who alone knows.
    pub async fn lease_time_to_live(&self, id: i64, keys: AttachedKeys) -> Result<LeaseTimeToLiveResponse, Error> {
        let request = LeaseTimeToLiveRequest { id, keys: keys == AttachedKeys::List };
        let limit = self.core.options.response_bytes_max;
        let send = |channel, request| async move {
            LeaseClient::new(channel).max_decoding_message_size(limit).lease_time_to_live(request).await
        };
        self.core.unary(Route::read(), request, send).await
    }

    /// All leases.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn leases(&self) -> Result<LeaseLeasesResponse, Error> {
        let limit = self.core.options.response_bytes_max;
        let send = |channel, request| async move {
            LeaseClient::new(channel).max_decoding_message_size(limit).lease_leases(request).await
        };
        self.core.unary(Route::read(), LeaseLeasesRequest {}, send).await
    }

    /// Renews a lease once.
    ///
    /// # Errors
    /// [`Error::LeaseGone`] where there is no such lease.
    pub async fn lease_keep_alive_once(&self, id: i64) -> Result<LeaseKeepAliveResponse, Error> {
        keep_alive::renew_once(&self.core, id).await
    }

    /// Renews a lease now, and from then on every third of its time, until the handle is dropped or the lease is
    /// gone. The lease is not revoked when the handle is dropped.
    ///
    /// # Errors
    /// Those of the first renewal: [`Error::LeaseGone`] where there is no such lease.
    pub async fn lease_keep_alive(&self, id: i64) -> Result<KeepAlive, Error> {
        KeepAlive::begin(std::sync::Arc::clone(&self.core), id).await
    }

    /// Attaches a key to a lease without touching its value.
    ///
    /// # Errors
    /// Refused where the key or the lease does not exist.
    pub async fn lease_attach(&self, id: i64, key: impl Into<Vec<u8>>) -> Result<(), Error> {
        let key: Vec<u8> = bytes(key).into();
        self.put(key, "").ignore_value().lease(id).await.map(drop)
    }
}
