//! How the keys of locks and elections are named. The names are etcd's, so that its clients' own recipes and our
//! services stand in one queue.
//!
//! ```text
//!   name "jobs", lease 0x7a   ->   queue "jobs/"   ->   place in it "jobs/7a"
//! ```

use bytes::Bytes;

use super::{KeyRange, RangeEnd};

/// What all keys of a lock or an election begin with.
pub fn of_name(name: &[u8]) -> Vec<u8> {
    [name, b"/"].concat()
}

/// The queue that a key would stand in. `None` if it is not named like a place.
pub fn of_key(key: &[u8]) -> Option<&[u8]> {
    let (queue, place) = key.split_at(key.iter().rposition(|byte| *byte == b'/')? + 1);
    let digits = place.strip_prefix(b"-").unwrap_or(place);
    let is_place = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    is_place.then_some(queue)
}

/// The place of a lease in a queue. Negative leases are written with a sign, as etcd does.
pub fn place(queue: &[u8], lease: i64) -> Vec<u8> {
    let sign = if lease < 0 { "-" } else { "" };
    [queue, format!("{sign}{:x}", lease.unsigned_abs()).as_bytes()].concat()
}

/// All places of a queue.
pub fn range(queue: &[u8]) -> KeyRange {
    // The last byte is the slash, so that there is a next one.
    let mut end = queue.to_vec();
    end.pop();
    end.push(b'/' + 1);
    KeyRange { start: Bytes::copy_from_slice(queue), end: RangeEnd::Before(Bytes::from(end)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_its_lease() {
        let queue = of_name(b"a/b");
        assert_eq!(queue, b"a/b/");
        assert_eq!(place(&queue, 0x694d), b"a/b/694d");
        assert_eq!(place(&queue, -1), b"a/b/-1");
        assert_eq!(of_key(b"a/b/694d"), Some(&b"a/b/"[..]));
        assert_eq!(of_key(b"a/b/-1"), Some(&b"a/b/"[..]));
        assert_eq!([of_key(b"plain"), of_key(b"a/leader"), of_key(b"a/")], [None; 3]);
    }

    #[test]
    fn a_queue_holds_its_places_and_nothing_beside() {
        let range = range(b"jobs/");
        for inside in [&b"jobs/"[..], b"jobs/7a", b"jobs/\xff\xff"] {
            assert!(range.contains(inside), "{}", inside.escape_ascii());
        }
        for outside in [&b"jobs"[..], b"jobs0", b"jobs.x", b"job/7a", b"jobsx/7a"] {
            assert!(!range.contains(outside), "{}", outside.escape_ascii());
        }
    }
}
