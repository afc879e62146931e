//! The real world: tokio.

// This file is what the bans elsewhere point to.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::future::Future;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use openraft_rt_tokio::{TokioInstant as Instant, TokioRuntime as Rt};
pub use tokio::task::JoinHandle;
pub use tokio::time::error::Elapsed;
pub use tokio::time::{Sleep, Timeout};

pub fn sleep(duration: Duration) -> Sleep {
    tokio::time::sleep(duration)
}

pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    tokio::time::timeout(duration, future)
}

pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Lets everything else run that is ready, what has arrived on the network included.
pub async fn yield_now() {
    tokio::task::yield_now().await;
}

/// Runs work that blocks (disk, engine) away from the async threads. Fails only when the work panicked.
pub async fn blocking<F, T>(work: F) -> io::Result<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|error| io::Error::other(format!("blocking work died: {error}")))
}

/// Runs a loop that blocks most of the time on a thread of its own. It may wait on channels, but not sleep.
pub fn spawn_worker<F>(name: &str, work: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || futures::executor::block_on(work))
        .map(|_detached| ())
}

/// Blocking work inside of [`spawn_worker`]: done right here.
pub async fn on_worker<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// The wall clock, in Unix milliseconds. It may jump; nothing but stamps and displays may depend on it.
pub fn wall_unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
