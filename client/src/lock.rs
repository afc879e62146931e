//! Locks: one holder by name, and a number that shows who held it last.

use std::time::Duration;

use crate::queue::{self, Ending, Place};
use crate::{Client, Error, Guard, Guarded, Session};
use holdfast_proto::etcdserverpb::ResponseHeader;

/// A lock that is held. Dropping it gives it up, in the background; [`unlock`](Lock::unlock) says when it is done.
///
/// Holding a lock means that nobody else holds it, as long as this process is not paused for longer than the session
/// lasts. Nothing can prevent that pause, and nobody wakes in time to notice it. So write through
/// [`guarded`](Lock::guarded), or give [`token`](Lock::token) to whatever the lock protects; see docs/LOCKS.md.
#[derive(Debug)]
#[must_use = "the lock is given up when this is dropped"]
pub struct Lock {
    place: Place,
    header: ResponseHeader,
}

impl Client {
    /// Waits for the lock `name`, in a session of its own that ends with it.
    ///
    /// # Errors
    /// [`Error::LeaseGone`] if the session is lost while waiting. Giving up, such as by a timeout around this, leaves
    /// the queue.
    pub async fn lock(&self, name: impl Into<Vec<u8>>, ttl_s: i64) -> Result<Lock, Error> {
        acquire(self.session(ttl_s).await?, name.into(), Ending::Session).await
    }
}

impl Session {
    /// Waits for the lock `name`. If this session holds it already, it is given at once.
    ///
    /// # Errors
    /// [`Error::LeaseGone`] if the session is lost while waiting. Giving up leaves the queue.
    pub async fn lock(&self, name: impl Into<Vec<u8>>) -> Result<Lock, Error> {
        acquire(self.clone(), name.into(), Ending::Key).await
    }
}

async fn acquire(session: Session, name: Vec<u8>, ending: Ending) -> Result<Lock, Error> {
    let entered = queue::enter(session, name, Vec::new(), ending).await?;
    let header = entered.place.turn().await?;
    Ok(Lock { place: entered.place, header })
}

impl Lock {
    /// The key that exists as long as the lock is held.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.place.key
    }

    /// The fencing token: greater than that of every holder before.
    #[must_use]
    pub fn token(&self) -> i64 {
        self.place.created
    }

    /// Of the state that showed that the lock is held.
    #[must_use]
    pub fn header(&self) -> &ResponseHeader {
        &self.header
    }

    #[must_use]
    pub fn session(&self) -> &Session {
        &self.place.session
    }

    /// How long the lock is certainly still held. Zero does not say that it is lost, only that it may be.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.place.session.remaining()
    }

    /// Waits until the session, and the lock with it, is lost, and says why.
    pub async fn lost(&self) -> Error {
        self.place.session.lost().await
    }

    /// Says "as long as I hold this lock".
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard::key(self.key(), self.token())
    }

    /// Writes that are refused once the lock is lost.
    #[must_use]
    pub fn guarded(&self) -> Guarded {
        self.place.session.client().guarded(self.guard())
    }

    /// Gives the lock up.
    ///
    /// # Errors
    /// If no server answered as long as the session lasted: it ends by itself, and the lock with it.
    pub async fn unlock(self) -> Result<(), Error> {
        self.place.leave().await
    }
}
