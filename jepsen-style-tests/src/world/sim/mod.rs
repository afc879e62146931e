//! A cluster in one thread: every node started by the server's own `Node::start`, over simulated links, clocks and
//! disks.
//!
//! ```text
//!   seed -> madsim's executor, timer, network, chance
//!             n1 10.0.0.1  FaultyDisk  memory engine  clock   \
//!             n2 10.0.0.2  FaultyDisk  memory engine  clock    }  real tonic, real protobuf, real openraft
//!             n3 10.0.0.3  FaultyDisk  memory engine  clock   /
//!             client 10.0.0.100
//!   every log line and every step of the story -> Trace, with the simulated time
//! ```
//!
//! The trace is the proof of determinism: equal seeds give equal traces, to the byte, in any process.

mod changes;
mod cluster;
mod register;
mod story;
mod trace;
mod world;

pub use changes::half_done;
pub use cluster::{Cluster, ClusterOptions};
pub use register::{Score, Writes, register_under_lock};
pub use story::{catch_up, failover};
pub use trace::Trace;
pub use world::SimWorld;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::campaign;
use crate::nemesis::Plan;
use crate::report::Report;
use crate::workload::Kind;

/// Simulated time that a campaign may take besides its faults: healing, last looks, clients that wait for answers.
const BESIDES_FAULTS: Duration = Duration::from_secs(600);

/// Runs a story under a seed, in a thread of its own, and returns its trace. A panic in the story or in any node is
/// the caller's panic, with the seed in its message.
pub fn run<F, Fut>(seed: u64, limit: Duration, story: F) -> Trace
where
    F: FnOnce(Trace) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let trace = Trace::default();
    let inside = trace.clone();
    // madsim seeds the hash maps of the standard library once a thread: a seed needs a fresh one.
    let thread = std::thread::Builder::new().name(format!("seed-{seed}")).spawn(move || {
        let _logs = inside.capture();
        let mut runtime = madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
        runtime.set_time_limit(limit);
        runtime.block_on(story(inside.clone()));
    });
    let joined = thread.expect("a thread for the seed").join();
    if let Err(panic) = joined {
        let said = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()))
            .unwrap_or_default();
        panic!("seed {seed} failed: {said}\nthe end of its trace:\n{}\nreplay: make sim SEED={seed}", trace.tail(60));
    }
    trace
}

/// Runs a plan with a workload, and returns the report and the trace.
pub fn campaign(plan: &Plan, kind: Kind) -> (Report, Trace) {
    let report = Arc::new(Mutex::new(None));
    let (inside, own) = (Arc::clone(&report), plan.clone());
    let trace = run(plan.seed, plan.faults + BESIDES_FAULTS, move |trace| async move {
        let world = Arc::new(SimWorld::start(&own.shape, trace));
        let done = campaign::run(world, &own, kind).await;
        *inside.lock() = Some(done);
    });
    let report = report.lock().take().expect("a campaign that ended has a report");
    (report, trace)
}
