//! Guards: a write that is carried out only while a lock or a leadership is still held.
//!
//! ```text
//!   jobs/7a.. @12   holds           put config x   guard jobs, token 12   -> done
//!   jobs/9c.. @15   waits           put config x   guard jobs, token 15   -> refused: 12 holds
//!                                   put config x   guard jobs, token  8   -> refused: 12 holds, which is newer
//! ```
//!
//! The holder of a lock or an election is the key with the smallest create revision in its queue: all keys that begin
//! with `name/`. That revision is the fencing token. Revisions only grow, so each holder's token is greater than all
//! before it, and whoever was paused past the end of its lease is known by a token that no key has any more. The check
//! is made here, in apply, so nothing can come between it and the write.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use bytes::Bytes;
use holdfast_proto::log::Guard;
use holdfast_proto::log::guard::Held;
use holdfast_proto::log::refusal::Reason;

use super::halt::Halt;
use crate::env::sometimes;
use crate::mvcc::{self, At, Head};
use crate::storage::{EngineError, View};
use crate::types::{LeaseId, Revision, queue};

/// A key in a queue.
struct Place {
    key: Bytes,
    created: Revision,
}

/// Refuses the command unless what its guard names is held with its token.
pub(super) fn check(view: &dyn View, guard: &Guard) -> Result<(), Halt> {
    let token = Revision(guard.token);
    match &guard.held {
        Some(Held::Key(key)) => check_key(view, key, token),
        Some(Held::Name(name)) => check_name(view, name, token),
        // A guard of a kind that this version does not know cannot be judged, and must not be passed over.
        None => Err(Halt::Unknown),
    }
}

fn check_key(view: &dyn View, key: &[u8], token: Revision) -> Result<(), Halt> {
    let queue = queue::of_key(key);
    let Some(head) = mvcc::head(view, key)? else {
        let holder = queue.map(|queue| first(view, queue)).transpose()?.flatten();
        return Err(fenced(token, holder.as_ref()));
    };
    let holder = match queue.filter(|queue| is_of_recipe(queue, key, &head)) {
        Some(queue) => first(view, queue)?,
        // A key that no recipe made, such as a leader's key in an application's own folder, has no queue.
        None => Some(Place { key: Bytes::copy_from_slice(key), created: head.create_revision }),
    };
    match holder {
        Some(holder) if holder.created == token && head.create_revision == token => Ok(()),
        holder => Err(fenced(token, holder.as_ref())),
    }
}

fn check_name(view: &dyn View, name: &[u8], token: Revision) -> Result<(), Halt> {
    match first(view, &queue::of_name(name))? {
        Some(holder) if holder.created == token => Ok(()),
        holder => Err(fenced(token, holder.as_ref())),
    }
}

/// Whether the key is one of those that Lock and Campaign make: named by the lease it is attached to.
fn is_of_recipe(queue: &[u8], key: &[u8], head: &Head) -> bool {
    head.lease.is_some_and(|LeaseId(lease)| queue::place(queue, lease) == key)
}

/// The holder: the oldest key of a queue.
fn first(view: &dyn View, queue: &[u8]) -> Result<Option<Place>, EngineError> {
    let mut first: Option<Place> = None;
    mvcc::walk(view, &queue::range(queue), At::Newest, &mut |key, head| {
        if first.as_ref().is_none_or(|place| head.create_revision < place.created) {
            first = Some(Place { key: Bytes::copy_from_slice(key), created: head.create_revision });
        }
        Ok::<_, EngineError>(ControlFlow::Continue(()))
    })?;
    Ok(first)
}

fn fenced(token: Revision, holder: Option<&Place>) -> Halt {
    sometimes!(GuardRefused);
    let detail = match holder {
        None => format!("nobody holds what token {token} stood for: acquire it again"),
        Some(Place { key, created }) => {
            let since = match created.cmp(&token) {
                Ordering::Greater => "since the newer revision",
                Ordering::Less => "since the older revision",
                // A token of that number, but another key.
                Ordering::Equal => "since revision",
            };
            format!("token {token} does not hold it, {} does, {since} {created}", key.escape_ascii())
        }
    };
    Halt::refused(Reason::Fenced, detail)
}
