//! Elections: a lock that says something. Its holder leads, and everybody can see what it proclaims.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use holdfast_proto::etcdserverpb::ResponseHeader;
use holdfast_proto::mvccpb::event::EventType;
use holdfast_proto::mvccpb::{Event, KeyValue};
use tonic::Code;

use crate::queue::{self, Ending, Place, queue_of};
use crate::{Client, Compare, Error, Guard, Guarded, Put, Session, Txn, Update, Watch};

/// A leadership. Dropping it resigns, in the background. What [`Lock`](crate::Lock) says of pauses holds here too.
#[derive(Debug)]
#[must_use = "the leadership is given up when this is dropped"]
pub struct Leadership {
    place: Place,
    header: ResponseHeader,
}

impl Client {
    /// Waits until it leads the election `name`, in a session of its own that ends with it.
    ///
    /// # Errors
    /// [`Error::LeaseGone`] if the session is lost while waiting. Giving up leaves the queue.
    pub async fn campaign(
        &self,
        name: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
        ttl_s: i64,
    ) -> Result<Leadership, Error> {
        stand(self.session(ttl_s).await?, name.into(), value.into(), Ending::Session).await
    }

    /// Who leads the election `name`: the key, and as its value what was proclaimed last. `None` if nobody does.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn leader(&self, name: impl Into<Vec<u8>>) -> Result<Option<KeyValue>, Error> {
        Ok(self.first_of(&name.into()).await?.1)
    }

    /// The leader now, what it proclaims from now on, and each leader after it. Ends with the first error.
    pub fn observe(&self, name: impl Into<Vec<u8>>) -> BoxStream<'static, Result<KeyValue, Error>> {
        let observer = Observer { client: self.clone(), name: name.into(), seen: Seen::Nothing, told: Vec::new() };
        let proclaimed = futures::stream::unfold(Some(observer), |observer| async move {
            let mut observer = observer?;
            match observer.next().await {
                Ok(leader) => Some((Ok(leader), Some(observer))),
                Err(error) => Some((Err(error), None)),
            }
        });
        proclaimed.boxed()
    }
}

impl Session {
    /// Waits until it leads the election `name`. If this session leads already, it proclaims `value`.
    ///
    /// # Errors
    /// [`Error::LeaseGone`] if the session is lost while waiting. Giving up leaves the queue.
    pub async fn campaign(&self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Result<Leadership, Error> {
        stand(self.clone(), name.into(), value.into(), Ending::Key).await
    }
}

async fn stand(session: Session, name: Vec<u8>, value: Vec<u8>, ending: Ending) -> Result<Leadership, Error> {
    let entered = queue::enter(session, name, value.clone(), ending).await?;
    let leadership = Leadership { place: entered.place, header: entered.header };
    if entered.present.is_some_and(|kv| kv.value != value) {
        leadership.proclaim(value).await?;
    }
    leadership.place.turn().await?;
    Ok(leadership)
}

impl Leadership {
    /// The key that exists as long as the leadership lasts.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.place.key
    }

    /// The fencing token: greater than that of every leader before.
    #[must_use]
    pub fn token(&self) -> i64 {
        self.place.created
    }

    /// Of the answer to the candidacy.
    #[must_use]
    pub fn header(&self) -> &ResponseHeader {
        &self.header
    }

    #[must_use]
    pub fn session(&self) -> &Session {
        &self.place.session
    }

    /// How long the leadership certainly still lasts. Zero does not say that it is lost, only that it may be.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.place.session.remaining()
    }

    /// Waits until the session, and the leadership with it, is lost, and says why.
    pub async fn lost(&self) -> Error {
        self.place.session.lost().await
    }

    /// Says "as long as I lead".
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard::key(self.key(), self.token())
    }

    /// Writes that are refused once the leadership is lost.
    #[must_use]
    pub fn guarded(&self) -> Guarded {
        self.place.session.client().guarded(self.guard())
    }

    /// Says something new to all who observe.
    ///
    /// # Errors
    /// [`Error::Refused`] with `election: not leader` if the leadership is lost.
    pub async fn proclaim(&self, value: impl Into<Vec<u8>>) -> Result<(), Error> {
        let put = Put::new(self.key(), value).lease(self.place.session.lease());
        let txn = Txn::new().when(Compare::create_revision(self.key()).equal(self.token())).then(put);
        let answer = txn.with(self.place.session.client()).await?;
        if answer.succeeded {
            return Ok(());
        }
        Err(Error::Refused { code: Code::FailedPrecondition, message: "election: not leader".to_owned() })
    }

    /// Gives the leadership up.
    ///
    /// # Errors
    /// If no server answered as long as the session lasted: it ends by itself, and the leadership with it.
    pub async fn resign(self) -> Result<(), Error> {
        self.place.leave().await
    }
}

/// Where an observer stands.
enum Seen {
    Nothing,
    /// Nobody leads: the first key that comes does.
    Nobody(Watch),
    /// A key leads, until it is deleted.
    Leader(Watch),
}

struct Observer {
    client: Client,
    name: Vec<u8>,
    seen: Seen,
    /// Proclaimed and not handed out yet, the oldest last.
    told: Vec<KeyValue>,
}

impl Observer {
    async fn next(&mut self) -> Result<KeyValue, Error> {
        loop {
            if let Some(leader) = self.told.pop() {
                return Ok(leader);
            }
            match &mut self.seen {
                Seen::Nothing => self.look().await?,
                Seen::Nobody(watch) => {
                    let come = events(watch).await?.and_then(|events| events.into_iter().find_map(put_of));
                    self.seen = Seen::Nothing;
                    if let Some(leader) = come {
                        self.follow(leader.clone(), leader.mod_revision).await?;
                    }
                }
                Seen::Leader(watch) => {
                    let Some(events) = events(watch).await? else {
                        self.seen = Seen::Nothing;
                        continue;
                    };
                    let is_over = events.iter().any(is_delete);
                    self.told = events.into_iter().take_while(|event| !is_delete(event)).filter_map(put_of).collect();
                    self.told.reverse();
                    if is_over {
                        self.seen = Seen::Nothing;
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let (header, leader) = self.client.first_of(&self.name).await?;
        match leader {
            Some(leader) => self.follow(leader, header.revision).await,
            None => {
                let watch = self.client.watch(queue_of(&self.name)).prefix().without_deletes();
                self.seen = Seen::Nobody(watch.start_revision(header.revision + 1).await?);
                Ok(())
            }
        }
    }

    async fn follow(&mut self, leader: KeyValue, revision: i64) -> Result<(), Error> {
        let watch = self.client.watch(leader.key.clone()).start_revision(revision + 1);
        self.seen = Seen::Leader(watch.await?);
        self.told = vec![leader];
        Ok(())
    }
}

/// The next events. `None` where one has to look again: history was compacted away under a slow observer.
async fn events(watch: &mut Watch) -> Result<Option<Vec<Event>>, Error> {
    loop {
        match watch.next().await {
            Some(Ok(Update::Events { events, .. })) => return Ok(Some(events)),
            Some(Ok(Update::Progress { .. })) => {}
            Some(Err(Error::Compacted { .. })) | None => return Ok(None),
            Some(Err(error)) => return Err(error),
        }
    }
}

fn is_delete(event: &Event) -> bool {
    event.r#type() == EventType::Delete
}

fn put_of(event: Event) -> Option<KeyValue> {
    if is_delete(&event) { None } else { event.kv }
}
