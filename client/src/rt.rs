//! The runtime, and the only module of the library that knows it: spawning, time and chance.
//!
//! Everything else says `crate::rt::…`, so that a simulator can put its own clock and scheduler here.

use std::future::Future;

pub(crate) use tokio::time::{Instant, sleep, timeout};

/// A background task that ends with its handle.
#[derive(Debug)]
pub(crate) struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `future` until it ends or the handle is dropped.
#[must_use]
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task {
    Task(tokio::spawn(future))
}

/// Runs `future` to its end; it must be bounded by itself.
pub(crate) fn spawn_detached(future: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(future));
}

/// The same, where there may be no runtime any more, as in a destructor. Then nothing is run.
pub(crate) fn spawn_if_running(future: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        drop(runtime.spawn(future));
    }
}

/// A number in `[0, 1)`, for jitter and for the first choice of an endpoint.
pub(crate) fn chance() -> f64 {
    rand::random()
}
