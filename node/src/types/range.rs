//! Key ranges, as etcd writes them on the wire and as the store walks them.

use bytes::Bytes;

/// Where a range stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeEnd {
    /// The range is its one start key.
    Single,
    /// Up to, and without, this key.
    Before(Bytes),
    /// Every key from the start on.
    Unbounded,
}

/// A set of keys that lie next to one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub start: Bytes,
    pub end: RangeEnd,
}

impl KeyRange {
    /// Reads the wire form: an empty end is a single key, a lone zero byte means "to the last key".
    pub fn from_wire(key: Bytes, range_end: Bytes) -> Self {
        let end = match range_end.as_ref() {
            [] => RangeEnd::Single,
            [0] => RangeEnd::Unbounded,
            _ => RangeEnd::Before(range_end),
        };
        Self { start: key, end }
    }

    /// Key and end, as the wire writes them.
    pub fn into_wire(self) -> (Bytes, Bytes) {
        let end = match self.end {
            RangeEnd::Single => Bytes::new(),
            RangeEnd::Before(end) => end,
            RangeEnd::Unbounded => Bytes::from_static(b"\0"),
        };
        (self.start, end)
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start,
            RangeEnd::Before(end) => key >= self.start.as_ref() && key < end.as_ref(),
            RangeEnd::Unbounded => key >= self.start.as_ref(),
        }
    }

    /// No key can lie in it: the end is not after the start.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, RangeEnd::Before(end) if end.as_ref() <= self.start.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static str, end: &'static [u8]) -> KeyRange {
        KeyRange::from_wire(Bytes::from_static(key.as_bytes()), Bytes::from_static(end))
    }

    #[test]
    fn wire_forms() {
        assert!(range("a", b"").contains(b"a") && !range("a", b"").contains(b"a\0"));
        assert!(range("a", b"c").contains(b"b") && !range("a", b"c").contains(b"c"));
        assert!(range("a", b"\0").contains(b"zzz") && !range("b", b"\0").contains(b"a"));
        assert!(range("b", b"a").is_empty() && !range("b", b"a").contains(b"b"));
    }
}
