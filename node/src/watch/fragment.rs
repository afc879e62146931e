//! Cutting an answer that is too large for one message, for clients that asked for it.

use holdfast_proto::etcdserverpb::WatchResponse;
use prost::Message;

/// What a header holds at most: ids of cluster and member, revision and term. The sender fills most of it in later, so
/// it is counted as if it were full.
const HEADER_BYTES_MAX: usize = 43;

/// Cuts `response` into messages of less than `bytes_max`, all but the last marked as fragments. A single event is
/// never cut: one that is too large travels alone.
pub(super) fn fragments(response: WatchResponse, bytes_max: usize) -> Vec<WatchResponse> {
    let header_bytes = response.header.as_ref().map_or(0, |header| header.encoded_len());
    let whole_bytes = response.encoded_len() - header_bytes + HEADER_BYTES_MAX;
    if whole_bytes < bytes_max || response.events.len() < 2 {
        return vec![response];
    }
    let WatchResponse { events, .. } = response;
    let empty = WatchResponse { fragment: true, events: Vec::new(), ..response };
    let empty_bytes = empty.encoded_len() - header_bytes + HEADER_BYTES_MAX;

    let mut cut = vec![empty.clone()];
    let mut bytes = empty_bytes;
    for event in events {
        let length = event.encoded_len();
        let event_bytes = 1 + prost::length_delimiter_len(length) + length;
        let last = cut.last_mut().expect("there is always one");
        if last.events.is_empty() || bytes + event_bytes < bytes_max {
            bytes += event_bytes;
            last.events.push(event);
        } else {
            bytes = empty_bytes + event_bytes;
            cut.push(WatchResponse { events: vec![event], ..empty.clone() });
        }
    }
    cut.last_mut().expect("there is always one").fragment = false;
    cut
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_proto::etcdserverpb::ResponseHeader;
    use holdfast_proto::mvccpb::{Event, KeyValue};

    use super::*;

    fn response(value_bytes: &[usize]) -> WatchResponse {
        let event = |length: &usize| Event {
            kv: Some(KeyValue { value: Bytes::from(vec![b'v'; *length]), ..KeyValue::default() }),
            ..Event::default()
        };
        let header = Some(ResponseHeader { revision: 7, ..ResponseHeader::default() });
        WatchResponse { header, watch_id: 3, events: value_bytes.iter().map(event).collect(), ..Default::default() }
    }

    fn filled(mut response: WatchResponse) -> WatchResponse {
        response.header =
            Some(ResponseHeader { cluster_id: u64::MAX, member_id: u64::MAX, revision: i64::MAX, raft_term: u64::MAX });
        response
    }

    #[test]
    fn fragments_fit_lose_nothing_and_only_the_last_ends_the_answer() {
        for bytes_max in 60..400 {
            let whole = response(&[100, 1, 0, 50, 128, 127, 30, 300, 5, 5]);
            let cut = fragments(whole.clone(), bytes_max);
            let rejoined: Vec<Event> = cut.iter().flat_map(|part| part.events.clone()).collect();
            assert_eq!(rejoined, whole.events, "{bytes_max}");
            for (at, part) in cut.iter().enumerate() {
                assert_eq!(part.fragment, at + 1 < cut.len(), "{bytes_max}");
                assert_eq!((part.watch_id, &part.header), (3, &whole.header));
                let fits = filled(part.clone()).encoded_len() < bytes_max;
                assert!(fits || part.events.len() == 1, "{bytes_max}: {}", filled(part.clone()).encoded_len());
            }
        }
    }

    #[test]
    fn the_room_left_for_the_header_is_what_a_full_one_takes() {
        let full = filled(response(&[])).header.expect("it was filled");
        assert_eq!(full.encoded_len(), HEADER_BYTES_MAX);
    }

    #[test]
    fn what_fits_stays_whole() {
        assert_eq!(fragments(response(&[10, 10]), 1000), vec![response(&[10, 10])]);
    }
}
