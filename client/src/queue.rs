//! A place in a queue: what a lock and a leadership are made of.
//!
//! ```text
//!   jobs/7a @12   jobs/9c @15   jobs/31 @19        name/lease @create revision
//!      holds   <--- watches  <--- watches
//! ```
//!
//! The keys are etcd's recipes' own, so that its clients, the servers' Lock and Election services and this library
//! stand in one queue. Whoever has the smallest create revision holds.

use std::time::Duration;

use futures::StreamExt;
use holdfast_proto::etcdserverpb::response_op::Response;
use holdfast_proto::etcdserverpb::{RangeResponse, ResponseHeader, TxnResponse};
use holdfast_proto::mvccpb::KeyValue;
use tokio::sync::oneshot;

use crate::{Client, Compare, Delete, Error, Get, Order, Put, Session, SortBy, Txn, Update, rt};

/// Between two attempts while no server answers. Each attempt has the patience of a request.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether the session was made for this place alone, and ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Key,
    Session,
}

/// A key in a queue. It is given up when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) session: Session,
    queue: Vec<u8>,
    pub(crate) key: Vec<u8>,
    /// The fencing token.
    pub(crate) created: i64,
    ending: Ending,
    is_given_up: bool,
}

/// A place that was taken just now, or before.
pub(crate) struct Entered {
    pub(crate) place: Place,
    pub(crate) header: ResponseHeader,
    /// What the key said, if the session stood in the queue already.
    pub(crate) present: Option<KeyValue>,
}

pub(crate) fn queue_of(name: &[u8]) -> Vec<u8> {
    [name, b"/"].concat()
}

/// Enters the queue. A caller that gives up leaves nothing behind.
pub(crate) async fn enter(session: Session, name: Vec<u8>, value: Vec<u8>, ending: Ending) -> Result<Entered, Error> {
    let (answer, answered) = oneshot::channel();
    let id = session.lease();
    // In a task of its own: what was sent may be carried out, whether or not somebody still waits for it. If nobody
    // does, the place comes back and is dropped, and so given up.
    rt::spawn_detached(async move {
        let _unwanted = answer.send(take_place(session, &name, value, ending).await);
    });
    answered.await.unwrap_or(Err(Error::LeaseGone { id }))
}

async fn take_place(session: Session, name: &[u8], value: Vec<u8>, ending: Ending) -> Result<Entered, Error> {
    let queue = queue_of(name);
    let key = [queue.as_slice(), format!("{:x}", session.lease()).as_bytes()].concat();
    let txn = Txn::new()
        .when(Compare::create_revision(key.clone()).equal(0))
        .then(Put::new(key.clone(), value).lease(session.lease()))
        .otherwise(Get::new(key.clone()));
    // Entering twice is entering once.
    let answer = insist(&session, || txn.clone().with(session.client()).into_future()).await?;
    let header = answer.header.unwrap_or_default();
    let present = first_read(answer);
    let created = present.as_ref().map_or(header.revision, |kv| kv.create_revision);
    Ok(Entered { place: Place { session, queue, key, created, ending, is_given_up: false }, header, present })
}

fn first_read(answer: TxnResponse) -> Option<KeyValue> {
    answer.responses.into_iter().find_map(|op| match op.response {
        Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
        _ => None,
    })
}

/// Sends what may be sent again, as long as the session may last.
async fn insist<A, F>(session: &Session, attempt: impl Fn() -> F) -> Result<A, Error>
where
    F: Future<Output = Result<A, Error>>,
{
    loop {
        match attempt().await {
            Err(Error::Unknown { .. } | Error::Unavailable { .. }) if !session.remaining().is_zero() => {
                rt::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

impl Place {
    /// Waits until the place is the first. The header is of the state that shows it.
    pub(crate) async fn turn(&self) -> Result<ResponseHeader, Error> {
        tokio::select! {
            biased;
            why = self.session.lost() => Err(why),
            turn = self.wait() => turn,
        }
    }

    async fn wait(&self) -> Result<ResponseHeader, Error> {
        loop {
            let RangeResponse { header, kvs, .. } = match self.look().await {
                Ok(seen) => seen,
                // Whether the session is lost is for its keeper to find out.
                Err(Error::Unavailable { .. }) => {
                    rt::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let header = header.unwrap_or_default();
            if !kvs.iter().any(|kv| kv.key == self.key && kv.create_revision == self.created) {
                return Err(Error::PlaceLost { key: self.key.escape_ascii().to_string() });
            }
            let Some(ahead) = kvs.into_iter().find(|kv| kv.create_revision < self.created) else { return Ok(header) };
            self.end_of(ahead, header.revision + 1).await?;
        }
    }

    /// This place, and the one before it.
    async fn look(&self) -> Result<RangeResponse, Error> {
        let queue = self.session.client().get(self.queue.clone()).prefix().max_create_revision(self.created);
        queue.sort(SortBy::CreateRevision, Order::Descending).limit(2).keys_only().await
    }

    /// Waits until the key is deleted, or until one has to look again for some other reason.
    async fn end_of(&self, ahead: KeyValue, from: i64) -> Result<(), Error> {
        let watch = self.session.client().watch(ahead.key).start_revision(from).without_puts().await;
        let mut updates = match watch {
            Ok(updates) => updates,
            Err(Error::Unavailable { .. } | Error::Compacted { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        loop {
            match updates.next().await {
                Some(Ok(Update::Progress { .. })) => {}
                Some(Ok(Update::Events { .. }) | Err(Error::Compacted { .. } | Error::Unavailable { .. })) | None => {
                    return Ok(());
                }
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// Gives the place up.
    pub(crate) async fn leave(mut self) -> Result<(), Error> {
        self.is_given_up = true;
        let gone = leave(&self.session, &self.key, self.created, self.ending);
        gone.await
    }
}

async fn leave(session: &Session, key: &[u8], created: i64, ending: Ending) -> Result<(), Error> {
    match ending {
        Ending::Session => insist(session, || session.revoke()).await,
        Ending::Key => {
            // Only the very key: its name may be in use again.
            let txn = Txn::new().when(Compare::create_revision(key).equal(created)).then(Delete::new(key));
            insist(session, || txn.clone().with(session.client()).into_future()).await.map(drop)
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_given_up {
            return;
        }
        let (session, key) = (self.session.clone(), std::mem::take(&mut self.key));
        let (created, ending) = (self.created, self.ending);
        rt::spawn_if_running(async move {
            if let Err(error) = leave(&session, &key, created, ending).await {
                tracing::debug!(%error, "a place could not be given up; it ends with its lease");
            }
        });
    }
}

impl Client {
    /// The oldest key of a queue.
    pub(crate) async fn first_of(&self, name: &[u8]) -> Result<(ResponseHeader, Option<KeyValue>), Error> {
        let queue = self.get(queue_of(name)).prefix().limit(1);
        let answer = queue.sort(SortBy::CreateRevision, Order::Ascending).await?;
        Ok((answer.header.unwrap_or_default(), answer.kvs.into_iter().next()))
    }
}
