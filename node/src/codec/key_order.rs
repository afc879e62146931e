//! Keys inside rows.
//!
//! ```text
//! key       61 00 62
//! escaped   61 00 FF 62 00 01        each 00 becomes 00 FF; 00 01 ends the key
//! ```
//!
//! The end mark sorts below an escaped zero and below every other byte that could follow, so `escape(a) < escape(b)`
//! whenever `a < b`, whatever is appended to either.

use thiserror::Error;

const ZERO: u8 = 0x00;
const ESCAPED: u8 = 0xff;
const END: u8 = 0x01;

/// The bytes do not start with an escaped key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an escaped key: {}", match self {
    KeyError::Unterminated => "it has no end mark",
    KeyError::Escape(_) => "a zero is followed by neither FF nor 01",
})]
pub enum KeyError {
    Unterminated,
    /// The byte that followed a zero.
    Escape(u8),
}

/// A key and what stood behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unescaped<'a> {
    pub key: Vec<u8>,
    pub rest: &'a [u8],
}

/// Appends `key` and its end mark to `row`.
pub fn escape(key: &[u8], row: &mut Vec<u8>) {
    row.reserve(key.len() + 2);
    for &byte in key {
        row.push(byte);
        if byte == ZERO {
            row.push(ESCAPED);
        }
    }
    row.extend_from_slice(&[ZERO, END]);
}

/// Takes the escaped key off the front of `row`.
pub fn unescape(row: &[u8]) -> Result<Unescaped<'_>, KeyError> {
    let mut key = Vec::with_capacity(row.len());
    let mut bytes = row.iter();
    while let Some(&byte) = bytes.next() {
        if byte != ZERO {
            key.push(byte);
            continue;
        }
        match bytes.next() {
            Some(&ESCAPED) => key.push(ZERO),
            Some(&END) => return Ok(Unescaped { key, rest: bytes.as_slice() }),
            Some(&other) => return Err(KeyError::Escape(other)),
            None => return Err(KeyError::Unterminated),
        }
    }
    Err(KeyError::Unterminated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(key: &[u8]) -> Vec<u8> {
        let mut row = Vec::new();
        escape(key, &mut row);
        row
    }

    /// Every key of up to four bytes out of five that matter: the two special ones, their neighbours, and one other.
    fn keys() -> Vec<Vec<u8>> {
        let mut keys = vec![Vec::new()];
        let mut longest = keys.clone();
        for _ in 0..4 {
            longest = longest
                .iter()
                .flat_map(|key| {
                    [0x00, 0x01, 0x02, 0xfe, 0xff].map(|byte| {
                        let mut key = key.clone();
                        key.push(byte);
                        key
                    })
                })
                .collect();
            keys.extend(longest.clone());
        }
        keys.sort();
        keys
    }

    #[test]
    fn order_survives_whatever_follows() {
        for pair in keys().windows(2) {
            let mut low = escaped(&pair[0]);
            let high = escaped(&pair[1]);
            assert!(low < high, "{pair:?}");
            low.extend_from_slice(&[0xff; 16]);
            assert!(low < high, "{pair:?} with a row's tail");
        }
    }

    #[test]
    fn a_key_comes_back_and_so_does_the_rest() {
        for key in keys() {
            let mut row = escaped(&key);
            row.extend_from_slice(b"\x00tail");
            assert_eq!(unescape(&row), Ok(Unescaped { key, rest: b"\x00tail" }));
        }
    }

    #[test]
    fn what_is_not_an_escaped_key_is_refused() {
        assert_eq!(unescape(b""), Err(KeyError::Unterminated));
        assert_eq!(unescape(b"abc"), Err(KeyError::Unterminated));
        assert_eq!(unescape(b"abc\x00"), Err(KeyError::Unterminated));
        assert_eq!(unescape(b"abc\x00\x02"), Err(KeyError::Escape(2)));
    }
}
