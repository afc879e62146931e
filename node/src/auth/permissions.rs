//! What a user's roles add up to: sets of keys, as intervals that do not touch.

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_proto::authpb;

use crate::types::{KeyRange, RangeEnd};

/// The keys a user may read and the keys it may write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    read: KeySet,
    write: KeySet,
}

impl Permissions {
    pub fn of(granted: impl IntoIterator<Item = authpb::Permission>) -> Self {
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for permission in granted {
            // A kind of permission that this version does not know permits nothing.
            let Ok(kind) = authpb::permission::Type::try_from(permission.perm_type) else { continue };
            let Some(keys) = interval_of(&KeyRange::from_wire(permission.key, permission.range_end)) else { continue };
            match kind {
                authpb::permission::Type::Read => read.push(keys),
                authpb::permission::Type::Write => write.push(keys),
                authpb::permission::Type::Readwrite => {
                    read.push(keys.clone());
                    write.push(keys);
                }
            }
        }
        Self { read: KeySet::of(read), write: KeySet::of(write) }
    }

    pub fn may_read(&self, keys: &KeyRange) -> bool {
        self.read.covers(keys)
    }

    pub fn may_write(&self, keys: &KeyRange) -> bool {
        self.write.covers(keys)
    }
}

/// From a key on, up to and without another; `None` is no end.
type Interval = (Bytes, Option<Bytes>);

/// Intervals in order, merged: two that overlap or meet have become one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct KeySet {
    intervals: Vec<Interval>,
}

impl KeySet {
    fn of(mut intervals: Vec<Interval>) -> Self {
        intervals.sort();
        let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
        for (start, end) in intervals {
            match merged.last_mut() {
                Some((_, before @ Some(_))) if before.as_ref().is_some_and(|before| *before >= start) => {
                    *before = match (before.take(), end) {
                        (Some(a), Some(b)) => Some(a.max(b)),
                        _ => None,
                    };
                }
                Some((_, None)) => {}
                _ => merged.push((start, end)),
            }
        }
        Self { intervals: merged }
    }

    /// As the intervals are merged, a range that is covered lies in one of them.
    fn covers(&self, keys: &KeyRange) -> bool {
        // A range that no key can lie in is asked for its start: nothing is for free.
        let (start, end) = interval_of(keys).unwrap_or_else(|| point(&keys.start));
        let behind = self.intervals.partition_point(|interval| interval.0 <= start);
        let Some((_, own_end)) = behind.checked_sub(1).and_then(|at| self.intervals.get(at)) else { return false };
        match (own_end, end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(asked)) => asked <= *own,
        }
    }
}

/// `None` for a range that no key can lie in.
fn interval_of(keys: &KeyRange) -> Option<Interval> {
    match &keys.end {
        RangeEnd::Single => Some(point(&keys.start)),
        RangeEnd::Unbounded => Some((keys.start.clone(), None)),
        RangeEnd::Before(_) if keys.is_empty() => None,
        RangeEnd::Before(end) => Some((keys.start.clone(), Some(end.clone()))),
    }
}

/// Behind a key comes the key with a zero byte added.
fn point(key: &Bytes) -> Interval {
    let mut end = BytesMut::with_capacity(key.len() + 1);
    end.put_slice(key);
    end.put_u8(0);
    (key.clone(), Some(end.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(kind: authpb::permission::Type, key: &str, end: &str) -> authpb::Permission {
        authpb::Permission { perm_type: kind as i32, key: key.to_owned().into(), range_end: end.to_owned().into() }
    }

    fn keys(key: &str, end: &str) -> KeyRange {
        KeyRange::from_wire(key.to_owned().into(), end.to_owned().into())
    }

    use authpb::permission::Type::{Read, Readwrite, Write};

    #[test]
    fn one_key_is_one_key() {
        let may = Permissions::of([granted(Read, "a", "")]);
        assert!(may.may_read(&keys("a", "")) && may.may_read(&keys("a", "a\0")));
        for (key, end) in [("a\0", ""), ("a", "b"), ("a", "\0"), ("", ""), ("b", "")] {
            assert!(!may.may_read(&keys(key, end)), "{key:?} {end:?}");
        }
        assert!(!may.may_write(&keys("a", "")));
    }

    #[test]
    fn ranges_that_meet_are_one() {
        let may = Permissions::of([granted(Read, "c", "e"), granted(Readwrite, "a", "c"), granted(Write, "e", "f")]);
        assert!(may.may_read(&keys("a", "e")) && may.may_read(&keys("b", "d")));
        assert!(!may.may_read(&keys("a", "f")) && !may.may_read(&keys("a", "\0")));
        assert!(!may.may_write(&keys("a", "d")) && may.may_write(&keys("a", "c")) && may.may_write(&keys("e", "")));
    }

    #[test]
    fn no_end_covers_everything_behind() {
        let may = Permissions::of([granted(Read, "b", "\0"), granted(Read, "c", "d")]);
        assert!(may.may_read(&keys("b", "\0")) && may.may_read(&keys("zzz", "")) && may.may_read(&keys("c", "\0")));
        assert!(!may.may_read(&keys("a", "\0")) && !may.may_read(&keys("\0", "\0")));
        let all = Permissions::of([granted(Read, "\0", "\0")]);
        assert!(all.may_read(&keys("\0", "\0")) && all.may_read(&keys("a", "\0")));
    }

    #[test]
    fn an_empty_range_is_not_for_free() {
        let may = Permissions::of([granted(Read, "a", "b")]);
        assert!(may.may_read(&keys("a", "a")) && !may.may_read(&keys("x", "c")));
    }

    #[test]
    fn a_range_that_holds_nothing_grants_nothing() {
        let may = Permissions::of([granted(Read, "b", "a")]);
        assert!(!may.may_read(&keys("b", "")) && !may.may_read(&keys("a", "b")));
    }

    #[test]
    fn an_unknown_kind_grants_nothing() {
        let may = Permissions::of([authpb::Permission { perm_type: 7, ..granted(Read, "a", "") }]);
        assert!(!may.may_read(&keys("a", "")) && !may.may_write(&keys("a", "")));
    }
}
