//! How a node ends when it must not go on.
//!
//! A failed fsync, a rotten state, a broken invariant: no part of the node may live on and answer. Whoever finds such a
//! thing calls [`Halt::now`] with the reason; what happens then (leave the process, or drop the simulated node) was
//! decided by whoever started the node.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A switch that can be thrown once.
#[derive(Clone)]
pub struct Halt {
    inner: Arc<Inner>,
}

struct Inner {
    thrown: AtomicBool,
    action: Box<dyn Fn(&str) + Send + Sync>,
}

impl Halt {
    pub fn new(action: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { inner: Arc::new(Inner { thrown: AtomicBool::new(false), action: Box::new(action) }) }
    }

    /// Ends the node. The first reason counts.
    pub fn now(&self, reason: &str) {
        if !self.inner.thrown.swap(true, Ordering::SeqCst) {
            super::sometimes!(NodeHalted);
            tracing::error!(reason, "this node stops: see docs/OPERATIONS.md, \"A node stopped by itself\"");
            (self.inner.action)(reason);
        }
    }

    pub fn is_thrown(&self) -> bool {
        self.inner.thrown.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Halt").field("thrown", &self.is_thrown()).finish()
    }
}
