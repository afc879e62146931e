//! The simulated world: openraft's runtime over madsim, with a clock for each node that a nemesis can skew.
//!
//! madsim has one global clock. A node's own clock is piecewise linear over it: `local = l0 + (global - g0) * rate`.
//! That is enough to skew elections and leases, because openraft and we take all time from here.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use madsim::task::NodeId;
use madsim::time::TimeHandle;
use openraft_rt::{AsyncRuntime, OptionalSend};

use super::sim_watch::SimWatch;

pub use madsim::task::JoinHandle;
pub use madsim::time::Sleep;

const TRUE_RATE_PPM: u64 = 1_000_000;
/// How often the nodes of one world may look at their clocks within one of its seconds. Those that work look some ten
/// thousand times; those that spin in a circle, while time hardly moves, do it for as long as they are let.
const LOOKS_A_SECOND_MAX: u64 = 3_000_000;
/// How often work that waits for a hung disk looks whether it still hangs.
const HUNG_DISK_LOOK: Duration = Duration::from_millis(20);

/// What makes one node's surroundings differ from the next one's.
#[derive(Clone, Copy, Debug)]
struct Surroundings {
    /// Global nanoseconds at which the clock last changed its rate.
    since_global_ns: u64,
    /// What the node's clock showed then, in nanoseconds.
    since_local_ns: u64,
    /// Local nanoseconds for each million global ones.
    rate_ppm: u64,
    /// How far the wall clock was stepped.
    wall_offset_ms: i64,
    /// How long blocking work takes at most.
    blocking_pause: Duration,
    /// Blocking work does not begin at all.
    disk_hangs: bool,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            since_global_ns: 0,
            since_local_ns: 0,
            rate_ppm: TRUE_RATE_PPM,
            wall_offset_ms: 0,
            blocking_pause: Duration::from_micros(1500),
            disk_hangs: false,
        }
    }
}

impl Surroundings {
    fn local_ns(&self, global_ns: u64) -> u64 {
        let passed = u128::from(global_ns - self.since_global_ns) * u128::from(self.rate_ppm);
        self.since_local_ns + u64::try_from(passed / u128::from(TRUE_RATE_PPM)).unwrap_or(u64::MAX)
    }
}

// One simulation runs on one thread, so a thread-local is one world's.
thread_local! {
    static SURROUNDINGS: RefCell<BTreeMap<NodeId, Surroundings>> = const { RefCell::new(BTreeMap::new()) };
    /// The world's second, and how often clocks were looked at in it.
    static LOOKS: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

fn global_ns() -> u64 {
    ns_of(&TimeHandle::current())
}

fn ns_of(time: &TimeHandle) -> u64 {
    u64::try_from(time.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn surroundings_of(node: NodeId) -> Surroundings {
    SURROUNDINGS.with(|all| all.borrow().get(&node).copied().unwrap_or_default())
}

fn here() -> Surroundings {
    surroundings_of(madsim::plugin::node())
}

fn change(node: NodeId, change: impl FnOnce(&mut Surroundings)) {
    let mut surroundings = surroundings_of(node);
    change(&mut surroundings);
    SURROUNDINGS.with(|all| all.borrow_mut().insert(node, surroundings));
}

/// From now on `node`'s monotonic clock runs at `ppm` parts per million of true speed.
pub fn set_clock_rate(node: NodeId, ppm: u64) {
    let global_ns = global_ns();
    change(node, |s| {
        s.since_local_ns = s.local_ns(global_ns);
        s.since_global_ns = global_ns;
        s.rate_ppm = ppm;
    });
}

/// Steps `node`'s wall clock. The monotonic clock does not notice.
pub fn bump_wall(node: NodeId, ms: i64) {
    change(node, |s| s.wall_offset_ms += ms);
}

/// From now on blocking work on `node`, its disk above all, takes up to `longest`.
pub fn set_blocking_pause(node: NodeId, longest: Duration) {
    change(node, |s| s.blocking_pause = longest);
}

/// From now on no blocking work on `node` begins, its disk above all, or it goes on.
pub fn set_disk_hangs(node: NodeId, hangs: bool) {
    change(node, |s| s.disk_hangs = hangs);
}

pub fn wall_unix_ms() -> u64 {
    // As with the other clock.
    let Some(time) = TimeHandle::try_current() else { return 0 };
    let now = time.now_time().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    u64::try_from(ms.saturating_add(here().wall_offset_ms)).unwrap_or(0)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(as_ns(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(as_ns(duration)))
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;
    fn sub(self, other: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(other.0))
    }
}

impl openraft_rt::Instant for Instant {
    fn now() -> Self {
        // What is dropped after the world has ended may look at the clock yet, and a panic there would end the process.
        let Some(time) = TimeHandle::try_current() else { return Self(0) };
        let global_ns = ns_of(&time);
        assert_moves(global_ns / 1_000_000_000);
        Self(here().local_ns(global_ns))
    }
}

/// A run that spins for ever would never end, and so would never be seen to be wrong.
fn assert_moves(second: u64) {
    LOOKS.with(|looks| {
        let (of, count) = looks.get();
        let count = if of == second { count + 1 } else { 1 };
        looks.set((second, count));
        assert!(
            count < LOOKS_A_SECOND_MAX,
            "livelock: time stands still, {count} looks at the clock in second {second}"
        );
    });
}

/// Sleeps for `duration` of this node's own clock.
pub fn sleep(duration: Duration) -> Sleep {
    let global_ns = duration.as_nanos() * u128::from(TRUE_RATE_PPM) / u128::from(here().rate_ppm.max(1));
    madsim::time::sleep(Duration::from_nanos(u64::try_from(global_ns).unwrap_or(u64::MAX)))
}

#[derive(Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        match Pin::new(&mut self.sleep).poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(Elapsed)),
            Poll::Pending => Poll::Pending,
        }
    }
}

pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future: Box::pin(future), sleep: sleep(duration) }
}

pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    madsim::task::spawn(future)
}

/// Lets everything else run that is ready.
pub async fn yield_now() {
    madsim::task::yield_now().await;
}

/// Blocking work, run where it stands. The pause before it stands for the disk: a crash in it finds the work undone.
pub async fn blocking<F, T>(work: F) -> io::Result<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    pause().await;
    Ok(work())
}

/// The real world's threads are tasks here.
pub fn spawn_worker<F>(_name: &str, work: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    spawn(work);
    Ok(())
}

/// Blocking work inside of [`spawn_worker`]: it takes its time, as all blocking work does.
pub async fn on_worker<T>(work: impl FnOnce() -> T) -> T {
    pause().await;
    work()
}

/// As long as the disk would take.
async fn pause() {
    use madsim::rand::Rng;
    let longest_us = u64::try_from(here().blocking_pause.as_micros()).unwrap_or(u64::MAX);
    let pause_us = madsim::rand::thread_rng().gen_range(longest_us / 5..=longest_us);
    sleep(Duration::from_micros(pause_us)).await;
    while here().disk_hangs {
        sleep(HUNG_DISK_LOOK).await;
    }
}

/// madsim's seeded generator (rand 0.8) under the trait that openraft wants (rand 0.10).
pub struct SimRng;

impl rand_core::TryRng for SimRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        use madsim::rand::RngCore;
        Ok(madsim::rand::thread_rng().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        use madsim::rand::RngCore;
        Ok(madsim::rand::thread_rng().next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        use madsim::rand::RngCore;
        madsim::rand::thread_rng().fill_bytes(bytes);
        Ok(())
    }
}

#[derive(Debug)]
pub struct Rt;

impl AsyncRuntime for Rt {
    type JoinError = madsim::task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = SimRng;
    // First in, first out, and nothing drawn from chance.
    type Mpsc = openraft_rt_tokio::TokioMpsc;
    type Oneshot = openraft_rt_tokio::TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = openraft_rt_tokio::TokioMutex<T>;
    type Watch = SimWatch;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        sleep(duration)
    }

    fn sleep_until(deadline: Instant) -> Self::Sleep {
        sleep(deadline - super::now())
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Instant, future: F) -> Self::Timeout<R, F> {
        timeout(deadline - super::now(), future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        join_error.is_panic()
    }

    fn thread_rng() -> SimRng {
        SimRng
    }

    fn new(_threads: usize) -> Self {
        Self
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        // The simulator drives everything; inside it there is nothing to block.
        futures::executor::block_on(future)
    }

    // The default spawns a thread, which madsim refuses.
    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        blocking(work)
    }
}
