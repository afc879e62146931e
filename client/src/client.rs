//! The client: a handle that is cheap to clone and safe to share.

use std::sync::{Arc, Weak};

use crate::call::Core;
use crate::connect::{Connector, TcpConnector};
use crate::endpoints::Endpoints;
use crate::{Error, Options, rt};

/// A client of one cluster. Clones share connections and what is known of the cluster.
#[derive(Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
    /// Keeps the list of endpoints current. Ends with the last clone.
    _sync: Option<Arc<rt::Task>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the cluster that `endpoints` belong to (`http://host:port` or `host:port`). Nothing is connected
    /// yet: each connection is made when it is first needed.
    ///
    /// # Errors
    /// [`Error::Usage`] for an empty list or for options that cannot work.
    pub fn connect<E>(endpoints: impl IntoIterator<Item = E>, options: Options) -> Result<Self, Error>
    where
        E: Into<String>,
    {
        let connector = Arc::new(TcpConnector::new(options.clone()));
        Self::with_connector(endpoints, options, connector)
    }

    /// The same over another transport.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub fn with_connector<E>(
        endpoints: impl IntoIterator<Item = E>,
        options: Options,
        connector: Arc<dyn Connector>,
    ) -> Result<Self, Error>
    where
        E: Into<String>,
    {
        options.check()?;
        let endpoints = Endpoints::new(endpoints.into_iter().map(Into::into).collect())?;
        let every = options.sync_members_every;
        let core = Arc::new(Core::new(endpoints, options, connector));
        let sync = every.map(|every| {
            let core = Arc::downgrade(&core);
            Arc::new(rt::spawn(keep_synced(core, every)))
        });
        Ok(Self { core, _sync: sync })
    }

    /// The endpoints in use, as they were given or announced.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.core.endpoints.addresses()
    }

    /// The endpoint at which the leader answers, as far as the client has found out.
    #[must_use]
    pub fn leader_endpoint(&self) -> Option<String> {
        self.core.endpoints.leader_address()
    }

    /// Asks all endpoints who leads, and gives the member's id.
    pub async fn find_leader(&self) -> Option<u64> {
        self.core.find_leader().await
    }

    /// Replaces the endpoints by the client URLs that the members announce. Members without one, and learners,
    /// which serve no requests, are left out.
    ///
    /// # Errors
    /// Those of [`member_list`](Self::member_list). The endpoints then stay as they are.
    pub async fn sync_endpoints(&self) -> Result<Vec<String>, Error> {
        let list = self.member_list().await?;
        let serving = list.members.into_iter().filter(|member| !member.is_learner);
        self.core.endpoints.replace(serving.flat_map(|member| member.client_ur_ls).collect());
        Ok(self.endpoints())
    }
}

async fn keep_synced(core: Weak<Core>, every: std::time::Duration) {
    loop {
        let Some(core) = core.upgrade() else { return };
        let client = Client { core, _sync: None };
        if let Err(error) = client.sync_endpoints().await {
            tracing::warn!(%error, "cannot refresh the endpoints from the member list; keeping the old ones");
        }
        drop(client);
        rt::sleep(every).await;
    }
}
