//! What a node promised its peers, told to whoever watches a whole cluster.
//!
//! Some rules hold between members, or between a member and its former self, and no member can check them: one leader
//! a term, equal entries at equal positions, a vote that is never forgotten. The simulator listens here and checks them
//! at every step. One thread is one simulated cluster; without a listener, and in every release build, nothing is told.

use std::cell::RefCell;

use crate::types::{LogId, MemberId, Vote};

/// Something that must hold from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The log was opened with this.
    Opened { vote: Option<Vote>, last: Option<LogId> },
    /// The vote is on disk, or should be.
    Voted { vote: Vote },
    /// The log has this entry, in memory at least; `checksum` is that of its kind and content.
    Appended { log_id: LogId, checksum: u32 },
    /// Everything up to here is on disk, or should be, and the leader was or will be told so.
    Acknowledged { last: LogId },
    /// Everything behind this is being cut off.
    Truncated { after: Option<LogId> },
    /// It is cut off on disk as well, or should be.
    Cut { after: Option<LogId> },
    /// The state has this entry.
    Applied { log_id: LogId, checksum: u32 },
    /// The state was replaced by one that is this far.
    Replaced { log_id: LogId },
}

type Listener = Box<dyn FnMut(MemberId, Promise)>;

thread_local! {
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// From now on this thread's nodes tell `listener`. It must not call into a node.
pub fn listen(listener: Option<Listener>) {
    LISTENER.with(|place| *place.borrow_mut() = listener);
}

/// Tells, if anybody listens. What is told is only put together then.
#[inline]
pub(crate) fn tell(member: MemberId, promise: impl FnOnce() -> Promise) {
    if cfg!(debug_assertions) {
        LISTENER.with(|place| {
            if let Some(listener) = place.borrow_mut().as_mut() {
                listener(member, promise());
            }
        });
    }
}

/// The checksum in a [`Promise`].
pub(crate) fn checksum(kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.finalize()
}
