//! What the log says about members that cannot be reached: once when that begins, then at most once a minute.
//!
//! openraft makes new connections whenever the leader, the members or an election change, so what was said already is
//! remembered here, for all connections of the node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::rt;
use crate::types::MemberId;

/// The pause before the same is said again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Which members are out of reach, and since when that is known to the log. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// When it was last said that a member cannot be reached.
    said: Arc<Mutex<BTreeMap<u64, rt::Instant>>>,
}

impl Reach {
    /// A call was answered.
    pub fn answered(&self, member: u64) {
        if self.said.lock().remove(&member).is_some() {
            tracing::info!(member = %MemberId(member), "the member can be reached again");
        }
    }

    /// A call failed.
    pub fn failed(&self, member: u64, urls: &[String], why: &str) {
        if self.is_news(member, rt::now()) {
            tracing::warn!(member = %MemberId(member), ?urls, why, "the member cannot be reached");
        }
    }

    fn is_news(&self, member: u64, now: rt::Instant) -> bool {
        let mut said = self.said.lock();
        if said.get(&member).is_some_and(|said| now - *said < AGAIN_AFTER) {
            return false;
        }
        said.insert(member, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_news_is_told_once_a_minute() {
        let reach = Reach::default();
        let other_connection = reach.clone();
        let start = rt::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(reach.is_news(2, at(0)));
        assert!(!other_connection.is_news(2, at(59)));
        assert!(other_connection.is_news(3, at(59)), "another member is other news");
        assert!(other_connection.is_news(2, at(60)));
        assert!(!reach.is_news(2, at(61)));
        reach.answered(2);
        assert!(reach.is_news(2, at(62)), "it changed in between");
    }
}
