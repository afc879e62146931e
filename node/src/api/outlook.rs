//! What every call asks about the cluster, kept at hand by one task.
//!
//! Whether this member is a learner, and whether it has been without a leader for so long that clients that want one
//! should go elsewhere, changes rarely and is asked with every request: looking it up in the membership each time would
//! cost more than a read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tonic::Status;

use super::status;
use crate::ops::Ops;
use crate::rt;
use crate::rt::watch::{WatchReceiver as _, WatchSender as _};

/// After this many election timeouts without a leader, watches that require one are ended. As in etcd.
const ELECTIONS_WITHOUT_LEADER: u32 = 3;

/// Clones share what the task finds out.
#[derive(Clone)]
pub struct Outlook {
    is_learner: Arc<AtomicBool>,
    /// False once there was no leader for too long.
    led: rt::watch::Receiver<bool>,
}

impl Outlook {
    /// Starts to look, for as long as Raft runs.
    pub fn start(ops: Ops) -> Self {
        let is_learner = Arc::new(AtomicBool::new(is_learner(&ops)));
        let (say_led, led) = rt::watch::channel(true);
        let patience = ops.timing().election_max() * ELECTIONS_WITHOUT_LEADER;
        rt::spawn(run(ops, Arc::clone(&is_learner), say_led, patience));
        Self { is_learner, led }
    }

    pub fn is_learner(&self) -> bool {
        self.is_learner.load(Ordering::Relaxed)
    }

    /// Refuses when there was no leader for too long.
    pub fn require_led(&self) -> Result<(), Status> {
        if *self.led.borrow_watched() { Ok(()) } else { Err(status::no_leader()) }
    }

    /// Resolves when there was no leader for too long.
    pub async fn leaderless(&mut self) {
        loop {
            if !*self.led.borrow_and_update() {
                return;
            }
            if self.led.changed().await.is_err() {
                // Raft has stopped: whoever waits is told so by the stop of the node.
                futures::future::pending::<()>().await;
            }
        }
    }
}

fn is_learner(ops: &Ops) -> bool {
    let members = ops.members();
    members.get(ops.me()).is_some_and(crate::raft::MemberView::is_learner)
}

async fn run(ops: Ops, is_learner_now: Arc<AtomicBool>, led: rt::watch::Sender<bool>, patience: Duration) {
    let mut standing = ops.replica().watch_standing();
    let mut leaderless_since = None;
    loop {
        is_learner_now.store(is_learner(&ops), Ordering::Relaxed);
        let is_led = if ops.replica().leader_in_touch().is_some() {
            leaderless_since = None;
            true
        } else {
            rt::since(*leaderless_since.get_or_insert_with(rt::now)) < patience
        };
        // Once it was too long, only a leader ends it.
        led.send_if_modified(|led| is_led != std::mem::replace(led, is_led));
        // That a quorum does not answer its leader any more is no change of standing: it is looked for.
        if let Ok(Err(_raft_has_stopped)) = rt::timeout(patience / 4, ops.replica().changed(&mut standing)).await {
            return;
        }
    }
}
