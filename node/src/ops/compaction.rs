//! Dropping history: physically here, and by the clock for everybody.
//!
//! A compaction is logically done when its command is applied. Each member then sweeps the dropped versions out of its
//! own engine, step by step, at its own pace. The leader proposes compactions by itself, as etcd's auto-compaction
//! does: by age (the default) or by number of revisions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::etcdserverpb::CompactionRequest;
use tokio::sync::Notify;

use super::{AutoCompaction, Deadline, Ops, OpsError};
use crate::env::sometimes;
use crate::mvcc;
use crate::rt;
use crate::state::command;
use crate::types::Revision;

/// History rows looked at by one step of a sweep, between which other writes go on.
const SWEEP_ROWS_MAX: usize = 1000;
/// A sweep step's share of the time: after each step it rests this long.
const SWEEP_REST: Duration = Duration::from_millis(2);
/// How often a member looks whether there is something to sweep, when nobody tells it.
const SWEEP_TICK: Duration = Duration::from_secs(5);
/// Samples of "which revision was newest when" that a period is divided into.
const PERIOD_SAMPLES: u32 = 10;

/// Wakes the sweeper, and those who wait for it.
pub struct Sweeper {
    wanted: Arc<Notify>,
    stepped: Arc<Notify>,
}

/// The sweeper's side.
pub struct Sweeps {
    wanted: Arc<Notify>,
    stepped: Arc<Notify>,
}

impl Sweeper {
    pub fn new() -> (Self, Sweeps) {
        let (wanted, stepped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        (Self { wanted: Arc::clone(&wanted), stepped: Arc::clone(&stepped) }, Sweeps { wanted, stepped })
    }
}

impl Ops {
    /// Tells the sweeper that there is something to do.
    pub fn sweep_soon(&self) {
        self.inner.sweeper.wanted.notify_one();
    }

    /// Resolves when history before `revision` has left this member's engine.
    pub async fn swept(&self, revision: Revision, deadline: Deadline) -> Result<(), OpsError> {
        self.sweep_soon();
        let done = async {
            loop {
                let stepped = self.inner.sweeper.stepped.notified();
                let engine = self.store().engine();
                if mvcc::swept(engine.view().as_ref())? >= revision {
                    return Ok(());
                }
                stepped.await;
            }
        };
        match rt::timeout(deadline.left(), Box::pin(done)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(OpsError::Unknown),
        }
    }
}

/// Sweeps dropped history out of this member's engine, as long as the node.
pub async fn run_sweeps(ops: Ops, sweeps: Sweeps) {
    loop {
        match step(&ops).await {
            Ok(true) => {
                sweeps.stepped.notify_waiters();
                // Told or not, there may be something to do by then.
                let _told = rt::timeout(SWEEP_TICK, sweeps.wanted.notified()).await;
            }
            Ok(false) => {
                sometimes!(SweepInSteps);
                sweeps.stepped.notify_waiters();
                rt::sleep(SWEEP_REST).await;
            }
            Err(error) => {
                ops.inner.halt.now(&format!("compacted history cannot be swept: {error}"));
                return;
            }
        }
    }
}

/// One step; whether that was the last for now.
async fn step(ops: &Ops) -> Result<bool, OpsError> {
    let store = Arc::clone(ops.store());
    rt::blocking(move || {
        let engine = store.engine();
        let step = mvcc::sweep(engine.view().as_ref(), SWEEP_ROWS_MAX)?;
        if !step.batch.is_empty() {
            engine.write(step.batch)?;
        }
        Ok(step.done)
    })
    .await
    .map_err(|error| OpsError::Stopped(error.to_string()))?
}

/// Proposes compactions while this member leads.
pub async fn run_auto(ops: Ops) {
    let (tick, keep) = match ops.inner.auto_compaction {
        AutoCompaction::Off => return,
        AutoCompaction::Revisions { keep } => (Duration::from_secs(300), Keep::Revisions(keep)),
        AutoCompaction::Periodic { keep_ms } => {
            let tick = Duration::from_millis(keep_ms) / PERIOD_SAMPLES;
            (tick.max(Duration::from_millis(10)), Keep::Samples(VecDeque::new()))
        }
    };
    let mut keep = keep;
    loop {
        rt::sleep(tick).await;
        let Ok(newest) = ops.revision() else { continue };
        // Every member samples, so that a new leader knows what was new when.
        let Some(upto) = keep.horizon(newest) else { continue };
        if !ops.replica().leads() {
            continue;
        }
        match compact(&ops, upto).await {
            Ok(()) => tracing::info!(%upto, "history before this revision is dropped, as --auto-compaction says"),
            Err(error) => tracing::warn!(%upto, %error, "history could not be dropped and will be tried again"),
        }
    }
}

/// What is kept.
enum Keep {
    Revisions(i64),
    /// The newest revision at each of the last ticks, oldest first.
    Samples(VecDeque<Revision>),
}

impl Keep {
    /// The revision up to which history may go now.
    fn horizon(&mut self, newest: Revision) -> Option<Revision> {
        let upto = match self {
            Keep::Revisions(keep) => Revision(newest.0 - *keep),
            Keep::Samples(samples) => {
                samples.push_back(newest);
                if samples.len() <= PERIOD_SAMPLES as usize {
                    return None;
                }
                samples.pop_front()?
            }
        };
        (upto > Revision::FIRST).then_some(upto)
    }
}

async fn compact(ops: &Ops, upto: Revision) -> Result<(), OpsError> {
    let engine = ops.store().engine();
    if mvcc::compacted(engine.view().as_ref())? >= upto {
        return Ok(());
    }
    let request = CompactionRequest { revision: upto.0, physical: false };
    ops.propose(command::by_member(command::compact(request)), Deadline::after_ms(ops.limits().request_deadline_ms))
        .await?;
    ops.sweep_soon();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_keeps_what_is_younger() {
        let mut keep = Keep::Samples(VecDeque::new());
        for i in 1..=10 {
            assert_eq!(keep.horizon(Revision(i * 10)), None, "the first period is not over");
        }
        assert_eq!(keep.horizon(Revision(110)), Some(Revision(10)));
        assert_eq!(keep.horizon(Revision(120)), Some(Revision(20)));
    }

    #[test]
    fn a_number_of_revisions_is_kept() {
        assert_eq!(Keep::Revisions(100).horizon(Revision(90)), None);
        assert_eq!(Keep::Revisions(100).horizon(Revision(150)), Some(Revision(50)));
    }
}
