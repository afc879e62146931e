//! Waiting for one's turn in a queue: the heart of the recipes for locks and elections.
//!
//! ```text
//!   jobs/7a @12   jobs/9c @15   jobs/31 @19
//!      holds   <--- watches  <--- watches        each waits for the one before it, and for its own key
//! ```
//!
//! Whoever has the smallest create revision holds. Each waiter watches its predecessor only, so that an end wakes one
//! of them and not all.
//!
//! No round to the quorum is needed. Create revisions only grow, so the keys in front of a place can only become fewer,
//! and a place that is first in any state that has it stays first. This member's own state is therefore good enough,
//! however far it lags, and a change of leaders goes by unnoticed.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::WatchCreateRequest;
use holdfast_proto::etcdserverpb::watch_create_request::FilterType;

use super::follow::Follow;
use super::{Deadline, Ops, OpsError};
use crate::mvcc::{self, At, ReadError};
use crate::rt;
use crate::storage::View;
use crate::types::{Revision, queue};

/// How long one question to the quorum may take while this member catches up.
const CATCH_UP_MS: u64 = 5_000;
const CATCH_UP_PAUSE: Duration = Duration::from_millis(50);

/// A key in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub queue: Bytes,
    pub key: Bytes,
    pub created: Revision,
}

/// How the waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The place is the first of its queue, as this revision shows.
    Come(Revision),
    /// The key is gone: its lease has ended, or somebody deleted it.
    Lost,
}

/// What one look at the queue shows.
struct Survey {
    revision: Revision,
    is_there: bool,
    /// The key next in front.
    ahead: Option<Bytes>,
}

impl Ops {
    /// Resolves when the place is the first of its queue, or is gone. Lasts as long as it lasts: the caller gives up by
    /// dropping it.
    pub async fn wait_turn(&self, place: &Place) -> Result<Turn, OpsError> {
        self.catch_up(place.created).await?;
        loop {
            let survey = self.survey(place).await?;
            if !survey.is_there {
                return Ok(Turn::Lost);
            }
            let Some(ahead) = survey.ahead else { return Ok(Turn::Come(survey.revision)) };
            let from = survey.revision.next();
            let mut follow = Follow::begin(self, vec![end_of(ahead, from), end_of(place.key.clone(), from)])?;
            // Whatever it says: the queue has changed, or so much has happened that it must be looked at again.
            follow.next().await?;
        }
    }

    /// Resolves when this member's state is at `revision`, which was committed.
    async fn catch_up(&self, revision: Revision) -> Result<(), OpsError> {
        while self.revision()? < revision {
            match self.read_barrier(Deadline::after_ms(CATCH_UP_MS)).await {
                Ok(()) => {}
                Err(error @ (OpsError::Stopped(_) | OpsError::Repairing | OpsError::Read(_))) => return Err(error),
                Err(
                    OpsError::NoLeader
                    | OpsError::NotLeader { .. }
                    | OpsError::Overloaded
                    | OpsError::ExpiredWaiting
                    | OpsError::Unknown
                    | OpsError::Member(_),
                ) => rt::sleep(CATCH_UP_PAUSE).await,
            }
        }
        Ok(())
    }

    async fn survey(&self, place: &Place) -> Result<Survey, OpsError> {
        let engine = self.store().engine();
        let place = place.clone();
        let surveyed = rt::blocking(move || survey(&*engine.view(), &place)).await;
        Ok(surveyed.map_err(|died| OpsError::Stopped(died.to_string()))??)
    }
}

fn survey(view: &dyn View, place: &Place) -> Result<Survey, ReadError> {
    let mut survey = Survey { revision: mvcc::revision(view)?, is_there: false, ahead: None };
    let mut nearest = Revision(0);
    mvcc::walk(view, &queue::range(&place.queue), At::Newest, &mut |key, head| {
        if key == place.key.as_ref() {
            survey.is_there = head.create_revision == place.created;
        } else if head.create_revision < place.created && head.create_revision > nearest {
            nearest = head.create_revision;
            survey.ahead = Some(Bytes::copy_from_slice(key));
        }
        Ok::<_, ReadError>(ControlFlow::Continue(()))
    })?;
    Ok(survey)
}

/// A watch on the end of a key. What the holder proclaims meanwhile wakes nobody.
fn end_of(key: Bytes, from: Revision) -> WatchCreateRequest {
    let filters = vec![FilterType::Noput as i32];
    WatchCreateRequest { key, start_revision: from.0, filters, ..WatchCreateRequest::default() }
}
