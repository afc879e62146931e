//! What a watch has delivered, and so where it must go on. Pure: responses in, steps out.

use holdfast_proto::etcdserverpb::{ResponseHeader, WatchResponse};
use holdfast_proto::mvccpb::Event;

use super::Update;
use crate::Error;

/// The id under which a server answers for all watches of a stream at once.
const EVERY_WATCH: i64 = -1;

/// What a response means for the watch.
#[derive(Debug)]
pub(super) enum Step {
    Created,
    Deliver(Update),
    /// Nothing to do until the next response.
    Wait,
    /// The watch is over here, but another endpoint, or a later moment, can go on with it.
    Reopen(String),
    End(Error),
}

/// The position of one watch in the history.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The first revision that was not delivered. `None` until a server has said what "from now on" means.
    next: Option<i64>,
    /// The beginning of a revision whose end has not arrived.
    held: Vec<Event>,
}

impl Cursor {
    /// `start_revision` as on the wire: 0 is "from now on".
    pub(super) fn new(start_revision: i64) -> Self {
        Self { next: (start_revision != 0).then_some(start_revision), held: Vec::new() }
    }

    pub(super) fn next_revision(&self) -> Option<i64> {
        self.next
    }

    /// What was held back will come again, from its beginning.
    pub(super) fn disconnected(&mut self) {
        self.held.clear();
    }

    pub(super) fn take(&mut self, response: WatchResponse) -> Step {
        if response.canceled {
            return canceled(&response);
        }
        let header = response.header.unwrap_or_default();
        if response.created {
            // From here on "now" has a number, and a later session continues instead of beginning at its own now.
            self.next.get_or_insert(header.revision + 1);
            return Step::Created;
        }
        if response.events.is_empty() && !response.fragment {
            return self.progress(header, response.watch_id);
        }
        self.held.extend(response.events);
        let complete = if response.fragment { self.whole_revisions() } else { self.held.len() };
        let events: Vec<Event> = self.held.drain(..complete).collect();
        self.deliver(header, events)
    }

    fn progress(&mut self, header: ResponseHeader, watch_id: i64) -> Step {
        // An answer for the whole stream has been seen to overtake events (etcd #15220), so it moves nothing.
        if watch_id != EVERY_WATCH {
            let next = self.next.unwrap_or_default();
            self.next = Some(next.max(header.revision + 1));
        }
        Step::Deliver(Update::Progress { header })
    }

    /// How many of the events held belong to revisions whose end is known to be there: all but the last revision's.
    fn whole_revisions(&self) -> usize {
        let last = self.held.last().map(revision_of);
        self.held.iter().take_while(|event| Some(revision_of(event)) != last).count()
    }

    fn deliver(&mut self, header: ResponseHeader, mut events: Vec<Event>) -> Step {
        let next = self.next.unwrap_or_default();
        let received = events.len();
        events.retain(|event| revision_of(event) >= next);
        if events.len() < received {
            tracing::warn!(next, dropped = received - events.len(), "server repeated events of a watch; dropped them");
        }
        let Some(last) = events.last().map(revision_of) else { return Step::Wait };
        self.next = Some(last + 1);
        Step::Deliver(Update::Events { header, events })
    }
}

fn canceled(response: &WatchResponse) -> Step {
    let reason = &response.cancel_reason;
    if response.compact_revision > 0 {
        return Step::End(Error::Compacted { compact_revision: response.compact_revision });
    }
    let passing = ["no leader", "server stopped", "leader changed"].iter().any(|words| reason.contains(words));
    if passing || reason.is_empty() {
        return Step::Reopen(if reason.is_empty() { "canceled without a reason".into() } else { reason.clone() });
    }
    Step::End(Error::WatchCanceled { reason: reason.clone() })
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

#[cfg(test)]
mod tests {
    use holdfast_proto::mvccpb::KeyValue;

    use super::*;

    fn header(revision: i64) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision, ..Default::default() })
    }

    fn created(revision: i64) -> WatchResponse {
        WatchResponse { header: header(revision), created: true, ..Default::default() }
    }

    fn events(revisions: &[i64]) -> WatchResponse {
        let event = |&mod_revision: &i64| Event {
            kv: Some(KeyValue { mod_revision, ..Default::default() }),
            ..Default::default()
        };
        WatchResponse { header: header(100), events: revisions.iter().map(event).collect(), ..Default::default() }
    }

    fn fragment(revisions: &[i64]) -> WatchResponse {
        WatchResponse { fragment: true, ..events(revisions) }
    }

    /// Revisions delivered by a response.
    fn take(cursor: &mut Cursor, response: WatchResponse) -> Vec<i64> {
        match cursor.take(response) {
            Step::Deliver(Update::Events { events, .. }) => events.iter().map(revision_of).collect(),
            Step::Wait => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn from_now_on_means_the_now_of_the_first_server() {
        let mut cursor = Cursor::new(0);
        assert_eq!(cursor.next_revision(), None);
        assert!(matches!(cursor.take(created(7)), Step::Created));
        assert_eq!(cursor.next_revision(), Some(8));
        // Nothing was delivered, the connection broke, the store went on to 20: the watch still begins at 8.
        cursor.disconnected();
        assert!(matches!(cursor.take(created(20)), Step::Created));
        assert_eq!(cursor.next_revision(), Some(8));
    }

    #[test]
    fn it_goes_on_after_the_last_event_and_not_after_the_header() {
        let mut cursor = Cursor::new(3);
        assert_eq!(take(&mut cursor, events(&[3, 3, 5])), [3, 3, 5]);
        assert_eq!(cursor.next_revision(), Some(6), "the header said 100");
    }

    #[test]
    fn repeated_events_are_dropped() {
        let mut cursor = Cursor::new(3);
        take(&mut cursor, events(&[3, 4]));
        assert_eq!(take(&mut cursor, events(&[3, 4, 5])), [5]);
        assert_eq!(take(&mut cursor, events(&[5])), [] as [i64; 0]);
        assert_eq!(cursor.next_revision(), Some(6));
    }

    #[test]
    fn a_revision_in_pieces_is_delivered_whole() {
        let mut cursor = Cursor::new(3);
        assert_eq!(take(&mut cursor, fragment(&[3, 4, 4])), [3], "of 4, more may follow");
        assert_eq!(cursor.next_revision(), Some(4));
        assert_eq!(take(&mut cursor, fragment(&[4])), [] as [i64; 0]);
        assert_eq!(take(&mut cursor, events(&[4, 5])), [4, 4, 4, 4, 5]);
        assert_eq!(cursor.next_revision(), Some(6));
    }

    #[test]
    fn a_disconnection_between_pieces_asks_for_the_whole_revision_again() {
        let mut cursor = Cursor::new(3);
        assert_eq!(take(&mut cursor, fragment(&[3, 4])), [3]);
        cursor.disconnected();
        assert_eq!(cursor.next_revision(), Some(4));
        assert_eq!(take(&mut cursor, fragment(&[4])), [] as [i64; 0]);
        assert_eq!(take(&mut cursor, events(&[4])), [4, 4]);
    }

    #[test]
    fn progress_moves_the_cursor_but_never_back_and_never_for_the_whole_stream() {
        let mut cursor = Cursor::new(50);
        let progress = |revision, watch_id| WatchResponse { header: header(revision), watch_id, ..Default::default() };
        assert!(matches!(cursor.take(progress(10, 0)), Step::Deliver(Update::Progress { .. })));
        assert_eq!(cursor.next_revision(), Some(50), "a watch of the future waits for it");
        cursor.take(progress(60, 0));
        assert_eq!(cursor.next_revision(), Some(61));
        cursor.take(progress(90, EVERY_WATCH));
        assert_eq!(cursor.next_revision(), Some(61));
    }

    #[test]
    fn a_cancellation_says_whether_going_on_makes_sense() {
        let canceled = |compact_revision, reason: &str| {
            let mut cursor = Cursor::new(1);
            cursor.take(WatchResponse {
                canceled: true,
                compact_revision,
                cancel_reason: reason.into(),
                ..Default::default()
            })
        };
        assert!(matches!(canceled(9, ""), Step::End(Error::Compacted { compact_revision: 9 })));
        assert!(matches!(canceled(0, "etcdserver: permission denied"), Step::End(Error::WatchCanceled { .. })));
        assert!(matches!(canceled(0, "etcdserver: no leader"), Step::Reopen(_)));
        assert!(matches!(canceled(0, ""), Step::Reopen(_)));
    }
}
