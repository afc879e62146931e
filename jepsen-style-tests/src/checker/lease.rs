//! Leases: never ended early, never alive again, and ended at last.
//!
//! Nobody but the leader knows when a lease begins; clients know bounds. It was granted or renewed after that was asked
//! for, so until a full TTL after the question it must live; and what an answer says was so before it came. Both are
//! times of the clients' clock. Where members' clocks may run fast, a TTL is shorter by as much.

use std::fmt;
use std::time::Duration;

/// One lease with one key, as its only client saw it. Times are the client's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    pub id: i64,
    /// Asked for.
    pub wanted: Duration,
    /// The grant, and each renewal.
    pub promises: Vec<Promise>,
    /// When the client first asked to revoke it, with whatever result.
    pub revoked: Option<Duration>,
    pub looks: Vec<Look>,
}

/// The server promised to keep the lease for that long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    pub asked: Duration,
    pub answered: Duration,
    pub ttl: Duration,
}

/// A linearizable answer that tells whether the lease was alive: its key is there, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub asked: Duration,
    pub answered: Duration,
    pub is_alive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Gone at that time, although promised to last longer.
    Early { id: i64, gone_at: Duration, promised_until: Duration },
    /// Alive, or renewed, after it was seen dead.
    Revived { id: i64, dead_at: Duration, alive_at: Duration },
    /// The TTL granted is shorter than what was asked for.
    Short { id: i64, wanted: Duration, granted: Duration },
    /// Still there, when nobody had renewed it for long and no member was in trouble.
    NeverEnds { id: i64, seen_at: Duration },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early { id, gone_at, promised_until } => {
                write!(out, "lease {id:x} was gone at {gone_at:?}, and promised until {promised_until:?}")
            }
            Self::Revived { id, dead_at, alive_at } => {
                write!(out, "lease {id:x} was dead at {dead_at:?} and alive at {alive_at:?}")
            }
            Self::Short { id, wanted, granted } => {
                write!(out, "lease {id:x} was granted for {granted:?}, and asked for {wanted:?}")
            }
            Self::NeverEnds { id, seen_at } => {
                write!(out, "lease {id:x} has run out and is still there at {seen_at:?}")
            }
        }
    }
}

const MILLION: u32 = 1_000_000;

/// `fast_ppm`: by how much a member's clock may run too fast, in millionths. `over_by`: when every lease that nobody
/// renews must have ended; looks asked after it find none.
#[must_use]
pub fn check(stories: &[Story], fast_ppm: u32, over_by: Duration) -> Vec<Violation> {
    stories.iter().flat_map(|story| of_one(story, fast_ppm, over_by)).collect()
}

fn of_one(story: &Story, fast_ppm: u32, over_by: Duration) -> Vec<Violation> {
    let mut violations = Vec::new();
    let id = story.id;
    if let Some(short) = story.promises.iter().find(|promise| promise.ttl < story.wanted) {
        violations.push(Violation::Short { id, wanted: story.wanted, granted: short.ttl });
    }
    let true_ttl = |promise: &Promise| promise.ttl * MILLION / (MILLION + fast_ppm);
    let dead = story.looks.iter().filter(|look| !look.is_alive);
    for look in dead.clone() {
        let gone_at = look.answered;
        if story.revoked.is_some_and(|revoked| revoked <= gone_at) {
            continue;
        }
        let until = story.promises.iter().map(|promise| promise.asked + true_ttl(promise)).max();
        if let Some(promised_until) = until.filter(|until| gone_at < *until) {
            violations.push(Violation::Early { id, gone_at, promised_until });
            break;
        }
    }
    if let Some(dead_at) = dead.map(|look| look.answered).min() {
        let seen = story.looks.iter().filter(|look| look.is_alive).map(|look| look.asked);
        let renewed = story.promises.iter().map(|promise| promise.asked);
        if let Some(alive_at) = seen.chain(renewed).find(|asked| *asked > dead_at) {
            violations.push(Violation::Revived { id, dead_at, alive_at });
        }
    }
    if let Some(look) = story.looks.iter().find(|look| look.is_alive && look.asked > over_by) {
        violations.push(Violation::NeverEnds { id, seen_at: look.asked });
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER_BY: Duration = Duration::from_secs(60);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn promise(asked: u64, answered: u64, ttl: u64) -> Promise {
        Promise { asked: seconds(asked), answered: seconds(answered), ttl: seconds(ttl) }
    }

    fn look(asked: u64, answered: u64, is_alive: bool) -> Look {
        Look { asked: seconds(asked), answered: seconds(answered), is_alive }
    }

    fn story(promises: Vec<Promise>, looks: Vec<Look>) -> Story {
        Story { id: 1, wanted: seconds(10), promises, revoked: None, looks }
    }

    fn judged(story: Story, fast_ppm: u32) -> Vec<Violation> {
        check(&[story], fast_ppm, OVER_BY)
    }

    #[test]
    fn within_the_bounds_anything_may_be_seen() {
        let promises = vec![promise(0, 1, 10), promise(5, 8, 10)];
        assert_eq!(judged(story(promises, vec![look(6, 7, true), look(16, 17, true), look(17, 18, false)]), 0), []);
        // Gone before its TTL, as a clock that runs fast has it.
        assert_eq!(judged(story(vec![promise(0, 1, 10)], vec![look(9, 10, false)]), 100_000), []);
        let revoked = Story { revoked: Some(seconds(2)), ..story(vec![promise(0, 1, 10)], vec![look(2, 3, false)]) };
        assert_eq!(judged(revoked, 0), []);
    }

    #[test]
    fn each_way_to_be_wrong_is_found() {
        let early = story(vec![promise(0, 1, 10), promise(5, 6, 10)], vec![look(12, 14, false)]);
        let found = Violation::Early { id: 1, gone_at: seconds(14), promised_until: seconds(15) };
        assert_eq!(judged(early, 0), [found]);
        let too_fast = story(vec![promise(0, 1, 10)], vec![look(8, 9, false)]);
        assert!(matches!(judged(too_fast, 100_000)[..], [Violation::Early { .. }]));
        let seen = story(vec![promise(0, 1, 10)], vec![look(10, 11, false), look(12, 13, true)]);
        assert!(matches!(judged(seen, 0)[..], [Violation::Revived { .. }]));
        let renewed = story(vec![promise(0, 1, 10), promise(12, 13, 10)], vec![look(10, 11, false)]);
        assert!(judged(renewed, 0).iter().any(|violation| matches!(violation, Violation::Revived { .. })));
        let short = story(vec![promise(0, 1, 9)], Vec::new());
        let found = Violation::Short { id: 1, wanted: seconds(10), granted: seconds(9) };
        assert_eq!(judged(short, 0), [found]);
        let never = story(vec![promise(0, 1, 10)], vec![look(61, 62, true)]);
        assert_eq!(judged(never, 0), [Violation::NeverEnds { id: 1, seen_at: seconds(61) }]);
    }
}
