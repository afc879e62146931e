//! Where the members stand: zones, leadership, lag, and what the loss of a zone would cost. Holdfast only; an etcd
//! server refuses it as unimplemented.

use holdfast_proto::v1::topology_client::TopologyClient;
use holdfast_proto::v1::{TopologyRequest, TopologyResponse};

use crate::call::Route;
use crate::{Client, Error};

impl Client {
    /// The members by zone.
    ///
    /// # Errors
    /// [`Error::Refused`] with code `Unimplemented` from a server that is not Holdfast.
    pub async fn topology(&self) -> Result<TopologyResponse, Error> {
        let send = |channel, request| async move { TopologyClient::new(channel).topology(request).await };
        self.core.unary(Route::read(), TopologyRequest {}, send).await
    }
}
