//! Sessions: a lease that is kept alive, and the locks and leaderships that hang on it.

use std::sync::Arc;
use std::time::Duration;

use crate::{Client, Error, KeepAlive};

/// A lease that is renewed as long as this handle, or a clone of it, lives.
///
/// When the last one is dropped, the lease is renewed no more and ends after its time, and with it everything that
/// hangs on it. [`close`](Session::close) ends it at once.
#[derive(Clone, Debug)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    keeper: KeepAlive,
}

impl Client {
    /// Begins a session whose lease ends `ttl_s` seconds after it was renewed last. A short time frees the locks of a
    /// dead owner soon; a long one lets a slow owner keep them.
    ///
    /// # Errors
    /// Those of [`lease_grant`](Self::lease_grant) and [`lease_keep_alive`](Self::lease_keep_alive).
    pub async fn session(&self, ttl_s: i64) -> Result<Session, Error> {
        let lease = self.lease_grant(ttl_s).await?;
        let keeper = self.lease_keep_alive(lease.id).await?;
        Ok(Session { inner: Arc::new(Inner { client: self.clone(), keeper }) })
    }
}

impl Session {
    /// The lease.
    #[must_use]
    pub fn lease(&self) -> i64 {
        self.inner.keeper.id()
    }

    /// How long the session certainly still lasts; see [`KeepAlive::remaining`].
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.inner.keeper.remaining()
    }

    /// Waits until the session is lost, and says why. What hung on it belongs to others by then.
    pub async fn lost(&self) -> Error {
        self.inner.keeper.lost().await
    }

    /// Ends the session, and with it everything that hangs on it.
    ///
    /// # Errors
    /// [`Error::Unknown`] leaves it to end by itself.
    pub async fn close(self) -> Result<(), Error> {
        self.revoke().await
    }

    pub(crate) async fn revoke(&self) -> Result<(), Error> {
        match self.client().lease_revoke(self.lease()).await {
            Ok(_) => Ok(()),
            Err(Error::Refused { code: tonic::Code::NotFound, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }
}
