//! An entry as it lies in the data area. The layout is in the folder's head.

use bytes::{Buf, BufMut};

use crate::env::planted;
use crate::types::LogId;

/// Bytes in front of the payload.
pub(super) const FRAME_HEAD_BYTES: u64 = 48;
/// Bytes of the head that its checksum covers.
const CHECKED_BYTES: usize = 44;

/// What a frame says about its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub log_id: LogId,
    pub kind: u8,
    /// Bytes of payload.
    pub length: u32,
    /// Every index below was synced when this was written.
    pub durable_before: u64,
    /// Version of the meta record when this was written.
    pub meta_version: u64,
    /// Chain crc of the entry before; 0 if that was unknown.
    pub prev_crc: u32,
}

impl FrameHead {
    /// Bytes of the whole frame.
    pub fn frame_bytes(&self) -> u64 {
        FRAME_HEAD_BYTES + u64::from(self.length)
    }
}

/// A frame whose checksum was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub head: FrameHead,
    pub crc: u32,
    pub payload: &'a [u8],
}

/// Appends a frame to `out` and returns its crc.
pub(super) fn encode(head: &FrameHead, payload: &[u8], out: &mut Vec<u8>) -> u32 {
    debug_assert_eq!(head.length as usize, payload.len());
    let start = out.len();
    out.put_u32_le(head.length);
    out.put_u8(head.kind);
    out.put_bytes(0, 3);
    out.put_u64_le(head.log_id.term);
    out.put_u64_le(head.log_id.index);
    out.put_u64_le(head.durable_before);
    out.put_u64_le(head.meta_version);
    out.put_u32_le(head.prev_crc);
    let crc = checksum(&out[start..], payload);
    out.put_u32_le(crc);
    out.put_slice(payload);
    crc
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// The frame that `bytes` start with, if there is a whole and undamaged one.
pub(super) fn parse(bytes: &[u8]) -> Option<Frame<'_>> {
    let (mut head, rest) = bytes.split_at_checked(FRAME_HEAD_BYTES as usize)?;
    let checked = &head[..CHECKED_BYTES];
    let length = head.get_u32_le();
    let payload = rest.get(..length as usize)?;
    let kind = head.get_u8();
    head.advance(3);
    let term = head.get_u64_le();
    let index = head.get_u64_le();
    let durable_before = head.get_u64_le();
    let meta_version = head.get_u64_le();
    let prev_crc = head.get_u32_le();
    let crc = head.get_u32_le();
    let log_id = LogId { term, index };
    let head = FrameHead { log_id, kind, length, durable_before, meta_version, prev_crc };
    (planted!(TornEntryAccepted) || crc == checksum(checked, payload)).then_some(Frame { head, crc, payload })
}

/// The index that a frame here would have, without checking anything: a cheap question for a search.
pub(super) fn claimed_index(bytes: &[u8]) -> Option<u64> {
    let mut field = bytes.get(16..24)?;
    (bytes[5..8] == [0; 3]).then(|| field.get_u64_le())
}

/// No frame was ever written here, or a truncation erased it.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().take(FRAME_HEAD_BYTES as usize).all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(length: u32) -> FrameHead {
        let log_id = LogId { term: 3, index: 7 };
        FrameHead { log_id, kind: 1, length, durable_before: 5, meta_version: 9, prev_crc: 0xdead_beef }
    }

    #[test]
    fn the_bytes_are_these() {
        let mut bytes = Vec::new();
        let crc = encode(&head(2), b"xy", &mut bytes);
        let mut expected = b"\x02\0\0\0\x01\0\0\0\x03\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0".to_vec();
        expected.extend_from_slice(b"\x05\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\xef\xbe\xad\xde");
        expected.extend_from_slice(&crc.to_le_bytes());
        expected.extend_from_slice(b"xy");
        assert_eq!(bytes, expected);
        assert_eq!(parse(&bytes), Some(Frame { head: head(2), crc, payload: b"xy" }));
        assert_eq!(claimed_index(&bytes), Some(7));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_shows() {
        let mut bytes = Vec::new();
        encode(&head(5), b"hello", &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&flipped), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn zeros_are_blank_and_no_frame() {
        assert!(is_blank(&[0; 48]) && parse(&[0; 48]).is_none());
        let mut bytes = Vec::new();
        encode(
            &FrameHead {
                log_id: LogId::default(),
                kind: 0,
                length: 0,
                durable_before: 0,
                meta_version: 0,
                prev_crc: 0,
            },
            b"",
            &mut bytes,
        );
        assert!(!is_blank(&bytes) && parse(&bytes).is_some(), "the very first entry has no other field set");
    }
}
