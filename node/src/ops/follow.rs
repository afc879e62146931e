//! Following keys from inside of the node: what a watch stream is to a client, this is to a recipe.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::Notify;

use super::{Ops, OpsError};
use crate::rt;
use crate::watch::{Step, StreamOptions, WatchError, WatchStream};

/// Nobody here asks for progress notices, so their interval never comes.
const NO_PROGRESS: Duration = Duration::from_secs(3600);

/// Watchers of this node's own. Dropping it ends them.
pub struct Follow {
    ops: Ops,
    /// `None` only while a blocking thread has them.
    watchers: Option<WatchStream>,
    woken: Arc<Notify>,
    arrived: VecDeque<WatchResponse>,
}

impl Follow {
    /// Begins to watch.
    pub fn begin(ops: &Ops, what: Vec<WatchCreateRequest>) -> Result<Self, OpsError> {
        let woken = Arc::new(Notify::new());
        let wake = Arc::clone(&woken);
        let options = StreamOptions::new(ops.limits(), NO_PROGRESS);
        let mut watchers = ops.hub().open(options, Arc::new(move || wake.notify_one()));
        let mut arrived = VecDeque::new();
        let engine = ops.store().engine();
        for create in what {
            let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
            let reply = watchers.handle(request, &engine, Duration::ZERO)?;
            arrived.extend(reply.filter(|reply| reply.canceled));
        }
        Ok(Self { ops: ops.clone(), watchers: Some(watchers), woken, arrived })
    }

    /// Waits for the next events, or for the end of a watcher whose history was compacted. Not to be called again after
    /// a call that was given up.
    pub async fn next(&mut self) -> Result<WatchResponse, OpsError> {
        loop {
            if let Some(response) = self.arrived.pop_front() {
                return Ok(response);
            }
            match self.step().await? {
                Step::Responses(responses) => self.arrived.extend(responses),
                Step::Reading => {}
                Step::Idle { wake_at: _ } => self.woken.notified().await,
            }
        }
    }

    /// One step of the watchers. One that reads history is made on a blocking thread.
    async fn step(&mut self) -> Result<Step, OpsError> {
        let engine = self.ops.store().engine();
        let mut watchers = self.watchers.take().ok_or_else(|| OpsError::Stopped("the watchers are gone".to_owned()))?;
        let (watchers, step) = if watchers.is_lagging() {
            let work = move || {
                let step = watchers.next(&engine, Duration::ZERO);
                (watchers, step)
            };
            rt::blocking(work).await.map_err(|died| OpsError::Stopped(died.to_string()))?
        } else {
            let step = watchers.next(&engine, Duration::ZERO);
            (watchers, step)
        };
        self.watchers = Some(watchers);
        Ok(step?)
    }
}

impl From<WatchError> for OpsError {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::State(error) => OpsError::Read(error),
        }
    }
}
