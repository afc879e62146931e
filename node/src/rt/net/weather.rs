//! Rough weather on the simulated links between nodes: what comes late, twice, out of turn, or never.
//!
//! gRPC runs over a transport that hides what happens to single packets, so the weather is what is left of it there: a
//! lost packet is sent again after a while, with twice the patience each time, and after some losses in a row the
//! connection is as good as dead; messages of one stream stay in order, calls overtake one another; and a message that
//! arrives twice is one that a retry of some layer below sent again, which Raft's own messages must bear.
//!
//! Clients' links stay fair: what clients must bear is cut links and lost answers.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use madsim::task::NodeId;
use madsim::time::TimeHandle;
use rand::{Rng, RngExt};

use crate::rt;

/// The first wait before what was lost is sent again; it doubles.
const RETRANSMIT: Duration = Duration::from_millis(200);
/// Losses in a row after which nothing comes any more.
const LOSSES_MAX: u32 = 5;
/// How late a second copy may come.
const COPY_LATE_MS_MAX: u64 = 1_000;
/// Calls of one request and one answer whose repetition a member must bear.
const REPEATABLE: [&str; 4] = [
    "/holdfast.peer.v1.Raft/Append",
    "/holdfast.peer.v1.Raft/Vote",
    "/holdfast.peer.v1.Raft/PreVote",
    "/holdfast.peer.v1.Raft/OfferSnapshot",
];

/// What happens to messages between nodes. By default, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    pub loss_per_mille: u16,
    /// Everything comes this much later, at least and at most.
    pub delay: Option<(Duration, Duration)>,
    pub duplicate_per_mille: u16,
    /// This share of calls is held back for up to that long.
    pub reorder: Option<(u16, Duration)>,
}

thread_local! {
    static WEATHER: RefCell<(Weather, BTreeSet<NodeId>)> = const { RefCell::new((
        Weather { loss_per_mille: 0, delay: None, duplicate_per_mille: 0, reorder: None },
        BTreeSet::new(),
    )) };
}

/// From now on, for what `nodes` send one another.
pub fn set_weather(weather: Weather, nodes: BTreeSet<NodeId>) {
    WEATHER.with(|place| *place.borrow_mut() = (weather, nodes));
}

/// The weather for calls of the node whose task this is; none if it is fair.
pub(super) fn of_caller() -> Option<Weather> {
    WEATHER.with(|place| {
        let (weather, nodes) = &*place.borrow();
        (*weather != Weather::default() && nodes.contains(&madsim::plugin::node())).then_some(*weather)
    })
}

/// The weather for an answer to a call that was exposed to it.
pub(super) fn of_answer() -> Option<Weather> {
    WEATHER.with(|place| Some(place.borrow().0))
}

fn happens(per_mille: u16) -> bool {
    rt::rng().random_range(0..1000) < u32::from(per_mille)
}

fn below(most: Duration) -> Duration {
    let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
    Duration::from_micros(rt::rng().next_u64() % most_us)
}

impl Weather {
    /// How late a message comes; none if never.
    pub(super) fn late(&self) -> Option<Duration> {
        let mut late = self.delay.map_or(Duration::ZERO, |(least, most)| least + below(most.saturating_sub(least)));
        for losses in 0.. {
            if !happens(self.loss_per_mille) {
                break;
            }
            if losses == LOSSES_MAX {
                return None;
            }
            late += RETRANSMIT * 2u32.pow(losses);
        }
        Some(late)
    }

    /// How long a call is held back before it is sent.
    pub(super) fn hold(&self) -> Duration {
        match self.reorder {
            Some((per_mille, hold)) if happens(per_mille) => below(hold),
            _ => Duration::ZERO,
        }
    }

    /// When a second copy of the call is sent, if one is.
    pub(super) fn copy(&self, path: &str) -> Option<Duration> {
        let copied = REPEATABLE.contains(&path) && happens(self.duplicate_per_mille);
        copied.then(|| below(Duration::from_millis(COPY_LATE_MS_MAX)))
    }
}

/// The world's own time, which no clock of a node shows.
pub(super) fn world_time() -> Duration {
    TimeHandle::current().elapsed()
}
