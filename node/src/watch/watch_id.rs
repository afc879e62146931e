//! The number by which a stream and its client call a watcher.

use std::fmt;

/// Unique among the live watchers of one stream. Never negative, but see [`WatchId::STREAM`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub i64);

impl WatchId {
    /// What answers carry that belong to no watcher: a refused create, and progress of the stream as a whole.
    pub const STREAM: WatchId = WatchId(-1);
}

impl fmt::Display for WatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
