//! Key ranges as the wire knows them: a key, and an exclusive end.
//!
//! ```text
//! range_end      meaning
//! (empty)        the one key
//! \0             every key from `key` on
//! anything else  key <= k < range_end
//! ```

use bytes::Bytes;

/// The end that means "no end".
pub(crate) const TO_THE_END: Bytes = Bytes::from_static(b"\0");

/// The end of the range of all keys that begin with `prefix`.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let Some(last) = prefix.iter().rposition(|&byte| byte < 0xff) else { return TO_THE_END };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Bytes::from(end)
}

/// Turns `key` into the range of the keys that begin with it. An empty key begins them all.
pub(crate) fn make_prefix(key: &mut Bytes, end: &mut Bytes) {
    *end = prefix_end(key);
    first_key_for_empty(key);
}

/// Turns `key` into the range of the keys that are not below it.
pub(crate) fn make_from(key: &mut Bytes, end: &mut Bytes) {
    *end = TO_THE_END;
    first_key_for_empty(key);
}

/// The wire has no empty key; the first one there can be stands for it.
fn first_key_for_empty(key: &mut Bytes) {
    if key.is_empty() {
        *key = Bytes::from_static(b"\0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_of_its_length_or_shorter() {
        let cases: [(&[u8], &[u8]); 6] =
            [(b"a", b"b"), (b"ab", b"ac"), (b"a\xff", b"b"), (b"a\xff\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")];
        for (prefix, end) in cases {
            assert_eq!(prefix_end(prefix), end, "{prefix:?}");
        }
    }

    #[test]
    fn an_empty_prefix_is_every_key() {
        let (mut key, mut end) = (Bytes::new(), Bytes::new());
        make_prefix(&mut key, &mut end);
        assert_eq!((key.as_ref(), end.as_ref()), (b"\0".as_ref(), b"\0".as_ref()));
    }
}
