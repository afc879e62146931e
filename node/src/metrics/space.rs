//! How often room ran short.

use prometheus::{IntCounter, Registry};

use super::register;

/// Handles for who watches the room.
#[derive(Clone, Debug)]
pub struct SpaceMetrics {
    pub raised: IntCounter,
    pub ended: IntCounter,
}

impl SpaceMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        Self {
            raised: counter("holdfast_space_alarms_raised_total", "NOSPACE alarms this member raised for itself."),
            ended: counter("holdfast_space_alarms_ended_total", "NOSPACE alarms this member ended by itself."),
        }
    }
}
