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
mod disks;
mod founding;
mod members;
mod register;
mod rot;
mod story;
mod survey;
mod trace;
mod world;

pub use changes::half_done;
pub use cluster::{Cluster, ClusterOptions};
pub use disks::hung_disk;
pub use founding::{founding, lost_founder};
pub use register::{Score, Writes, register_under_lock};
pub use rot::{Rotten, rotten_leader};
pub use story::{catch_up, failover};
pub use survey::{Survey, survey};
pub use trace::Trace;
pub use world::SimWorld;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "museum")]
use holdfast_node::env::museum;
use holdfast_node::env::museum::Exhibit;
use holdfast_node::env::probe::{self, Probe};
use parking_lot::Mutex;

use crate::campaign;
use crate::checker::promises::Ledger;
use crate::nemesis::Plan;
use crate::report::{Report, Violation};
use crate::workload::Kind;
use crate::world::World;

/// Simulated time that a campaign may take besides its faults: healing, last looks, clients that wait for answers. More
/// than all its own limits together, which say what is wrong; this one cannot.
const BESIDES_FAULTS: Duration = Duration::from_secs(1_500);

/// Runs a story under a seed, in a thread of its own, and returns its trace. A panic in the story or in any node is
/// the caller's panic, with the seed in its message.
pub fn run<F, Fut>(seed: u64, limit: Duration, story: F) -> Trace
where
    F: FnOnce(Trace) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let Attempt { trace, panic, .. } = attempt(seed, limit, Plant::default(), story);
    if let Some(said) = panic {
        panic!("seed {seed} failed: {said}\nthe end of its trace:\n{}\nreplay: make sim SEED={seed}", trace.tail(60));
    }
    trace
}

/// What became of a story.
pub struct Attempt {
    pub trace: Trace,
    /// What was said, if it panicked: the story, or any node.
    pub panic: Option<String>,
    /// How often which rare path was taken.
    pub probes: BTreeMap<Probe, u64>,
    /// How long it took, in the world's time.
    pub simulated: Duration,
    /// ... and how much of a processor.
    pub cpu: Duration,
    /// How often nodes came by the bug that was planted.
    pub bug_reached: u64,
}

/// As [`run`], with a bug planted or not, and a panic is part of the answer.
pub fn attempt<F, Fut>(seed: u64, limit: Duration, plant: Plant, story: F) -> Attempt
where
    F: FnOnce(Trace) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let trace = Trace::default();
    let inside = trace.clone();
    let gathered = Arc::new(Mutex::new(Gathered::default()));
    let gather = Gather { into: Arc::clone(&gathered), trace: trace.clone() };
    // madsim seeds the hash maps of the standard library once a thread: a seed needs a fresh one.
    let thread = std::thread::Builder::new().name(format!("seed-{seed}")).spawn(move || {
        let _gathers_at_the_end = gather;
        plant.here();
        let _logs = inside.capture();
        let mut runtime = madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
        runtime.set_time_limit(limit);
        runtime.block_on(story(inside.clone()));
    });
    let joined = thread.expect("a thread for the seed").join();
    let panic = joined.err().map(|panic| match panic.downcast::<String>() {
        Ok(said) => *said,
        Err(panic) => panic.downcast_ref::<&str>().map(|said| (*said).to_owned()).unwrap_or_default(),
    });
    let Gathered { probes, simulated, cpu, bug_reached } = gathered.lock().clone();
    Attempt { trace, panic, probes, simulated, cpu, bug_reached }
}

/// See [`Attempt`].
#[derive(Clone, Default)]
struct Gathered {
    probes: BTreeMap<Probe, u64>,
    simulated: Duration,
    cpu: Duration,
    bug_reached: u64,
}

/// Takes what a thread has gathered, when the thread ends, in whichever way.
struct Gather {
    into: Arc<Mutex<Gathered>>,
    trace: Trace,
}

impl Drop for Gather {
    fn drop(&mut self) {
        *self.into.lock() = Gathered {
            probes: probe::take(),
            simulated: self.trace.last_at(),
            cpu: cpu_of_this_thread(),
            bug_reached: Plant::reached(),
        };
    }
}

/// Linux counts it, in nanoseconds; zero elsewhere.
fn cpu_of_this_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0);
    Duration::from_nanos(ns)
}

/// A bug of the node's museum, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plant(pub Option<Exhibit>);

impl Plant {
    /// For the clusters of this thread.
    #[cfg(feature = "museum")]
    fn here(self) {
        museum::plant(self.0);
    }

    #[cfg(feature = "museum")]
    fn reached() -> u64 {
        museum::reached()
    }

    #[cfg(not(feature = "museum"))]
    fn reached() -> u64 {
        0
    }

    #[cfg(not(feature = "museum"))]
    fn here(self) {
        assert!(self.0.is_none(), "bugs can be planted with the build feature `museum` only");
    }
}

/// A plan that was carried out.
pub struct Outcome {
    /// None if it panicked.
    pub report: Option<Report>,
    /// What was wrong; empty if all was right.
    pub troubles: Vec<Violation>,
    pub attempt: Attempt,
    /// In the beginning.
    pub nodes: usize,
}

/// Carries out a plan with a workload.
pub fn campaign(plan: &Plan, kind: Kind, plant: Plant) -> Outcome {
    let place = Arc::new(Mutex::new(None));
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (inside, heard, own) = (Arc::clone(&place), Arc::clone(&ledger), plan.clone());
    let attempt = attempt(plan.seed, plan.faults + BESIDES_FAULTS, plant, move |trace| async move {
        let world = SimWorld::start(&own, trace.clone(), heard);
        let done = campaign::run(Arc::clone(&world) as Arc<dyn World>, &own, kind).await;
        trace.say("the end");
        world.end().await;
        *inside.lock() = Some(done);
    });
    let report = place.lock().take();
    // Also of a run that came to no end.
    let mut troubles: Vec<Violation> =
        ledger.lock().broken().iter().map(|what| Violation::of("promises", what)).collect();
    troubles.extend(report.iter().flat_map(|report| report.violations.clone()));
    troubles.extend(attempt.panic.iter().map(|said| Violation::of("panic", said)));
    Outcome { report, troubles, attempt, nodes: plan.shape.zones.len() }
}
