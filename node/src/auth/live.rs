//! What every request wants to know first, without asking the engine: is authentication on, and did it change?

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::rows::AuthState;

/// A member's own copy of the newest [`AuthState`] in its state. It is renewed after the rows are written and before
/// anybody is told that they are.
#[derive(Debug, Default)]
pub struct Live {
    is_enabled: AtomicBool,
    /// Counts renewals that changed something.
    changes: AtomicU64,
}

impl Live {
    pub fn new(state: &AuthState) -> Self {
        let live = Self::default();
        live.renew(state);
        live
    }

    pub fn renew(&self, state: &AuthState) {
        self.is_enabled.store(state.is_enabled, Ordering::Release);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    pub fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Acquire)
    }

    /// Another number than before says that users, roles or the whole have changed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}
