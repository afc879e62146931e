//! The runtime: tasks, time, chance and connections. The only place that knows which world we are in.
//!
//! ```text
//!                     real                              simulated (cfg(madsim))
//!   spawn, sleep      tokio                             madsim's executor
//!   Instant, wall     the machine's clocks              one skewable clock for each node
//!   blocking          tokio's blocking threads          inline, after a pause as long as the disk would take
//!   worker            a thread of its own               a task
//!   chance            the thread's generator            madsim's seeded generator
//!   Channel, serve    tonic over TCP                    tonic over madsim links: same bytes, same streams
//! ```
//!
//! Everything else in the node says `rt::spawn`, `rt::sleep`, `rt::now`. The raw calls are banned by clippy.
//! Channels between tasks are `tokio::sync::{mpsc, oneshot, Notify}`: they are first-in-first-out and draw nothing
//! from chance. `tokio::sync::watch` does draw, so [`watch`] stands in for it.

use std::time::Duration;

pub mod net;

#[cfg(not(madsim))]
mod real;
#[cfg(not(madsim))]
use real as world;

#[cfg(madsim)]
mod sim;
#[cfg(madsim)]
mod sim_watch;
#[cfg(madsim)]
use sim as world;

/// What the simulator may do to a node's surroundings.
#[cfg(madsim)]
pub mod nemesis {
    pub use super::net::{Weather, set_weather};
    pub use super::sim::{bump_wall, set_blocking_pause, set_clock_rate, set_disk_hangs};
}

pub use net::{BoundListener, Channel, ClientCertificate, PeerTls, ServerTerms, ServerTls, bind, connect, serve};
pub use world::{
    Elapsed, Instant, JoinHandle, Rt, Sleep, Timeout, blocking, on_worker, sleep, spawn, spawn_worker, timeout,
    wall_unix_ms, yield_now,
};

use openraft_rt::{AsyncRuntime, Instant as _};

/// A channel that holds the newest value and says when it changed.
pub mod watch {
    use openraft_rt::{AsyncRuntime, Watch};

    use super::Rt;

    pub use openraft_rt::{WatchReceiver, WatchSender};

    pub type Sender<T> = <<Rt as AsyncRuntime>::Watch as Watch>::Sender<T>;
    pub type Receiver<T> = <<Rt as AsyncRuntime>::Watch as Watch>::Receiver<T>;

    pub fn channel<T: Send + Sync>(first: T) -> (Sender<T>, Receiver<T>) {
        <Rt as AsyncRuntime>::Watch::channel(first)
    }
}

/// This node's monotonic clock.
pub fn now() -> Instant {
    Instant::now()
}

/// Time since `start` on this node's monotonic clock.
pub fn since(start: Instant) -> Duration {
    now() - start
}

/// A random number generator: the thread's in the real world, the seed's in a simulation.
pub fn rng() -> impl rand::Rng {
    Rt::thread_rng()
}

/// Any 64 bits.
pub fn random_u64() -> u64 {
    rand::Rng::next_u64(&mut rng())
}
