//! When the answer stops being of use. Work past its deadline is dropped, not done late.

use std::time::Duration;

use crate::rt;

/// A point on this node's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(rt::Instant);

impl Deadline {
    pub fn after(duration: Duration) -> Self {
        Self(rt::now() + duration)
    }

    pub fn after_ms(ms: u64) -> Self {
        Self::after(Duration::from_millis(ms))
    }

    /// Time left; zero when it has passed.
    pub fn left(self) -> Duration {
        let now = rt::now();
        if self.0 > now { self.0 - now } else { Duration::ZERO }
    }

    pub fn has_passed(self) -> bool {
        self.0 <= rt::now()
    }

    /// The later of the two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        if self.0 >= other.0 { self } else { other }
    }
}
