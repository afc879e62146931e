//! The small record that says which entry stands at an index, kept far from the entry. The layout is in the folder's
//! head.

use bytes::{Buf, BufMut};

use super::frame::{FRAME_HEAD_BYTES, Frame, FrameHead};
use crate::types::LogId;

pub(super) const IDENTIFIER_BYTES: u64 = 64;
/// The frame's place, length, kind and crc are unknown; index and term are proven.
const FLAG_PLACE_UNKNOWN: u8 = 1;

/// What is known of one entry. Also the index of the log in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identifier {
    /// What the frame's own head says; length and kind are 0 if the place is unknown.
    pub head: FrameHead,
    /// The frame's crc; 0 if the place is unknown.
    pub crc: u32,
    /// What the next entry's previous crc must be.
    pub chain_crc: u32,
    /// Where the frame starts in the data area; none if only index and term are known.
    pub offset: Option<u64>,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Blank,
    Good(Identifier),
    /// Neither blank nor an identifier of this index.
    Bad,
}

impl Identifier {
    /// The identifier of a frame found at `offset`.
    pub fn of(frame: &Frame<'_>, offset: u64) -> Self {
        Self { head: frame.head, crc: frame.crc, chain_crc: frame.crc, offset: Some(offset) }
    }

    /// One byte past the frame, if its place is known.
    pub fn end(&self) -> Option<u64> {
        self.offset.map(|offset| offset.saturating_add(self.head.frame_bytes()))
    }

    /// The frame is the one that this identifies, and nothing but it.
    pub fn agrees(&self, frame: &Frame<'_>) -> bool {
        self.head == frame.head && self.crc == frame.crc
    }

    pub fn encode(&self) -> [u8; IDENTIFIER_BYTES as usize] {
        let mut bytes = Vec::with_capacity(IDENTIFIER_BYTES as usize);
        bytes.put_u64_le(self.head.log_id.index);
        bytes.put_u64_le(self.head.log_id.term);
        bytes.put_u64_le(self.offset.unwrap_or(0));
        bytes.put_u64_le(self.head.durable_before);
        bytes.put_u64_le(self.head.meta_version);
        bytes.put_u32_le(self.head.length);
        bytes.put_u32_le(self.crc);
        bytes.put_u32_le(self.head.prev_crc);
        bytes.put_u32_le(self.chain_crc);
        bytes.put_u8(self.head.kind);
        bytes.put_u8(if self.offset.is_none() { FLAG_PLACE_UNKNOWN } else { 0 });
        bytes.put_u16_le(0);
        bytes.put_u32_le(crc32fast::hash(&bytes));
        bytes.try_into().expect("the fields above are 64 bytes")
    }

    /// Reads the slot of `index`.
    pub fn decode(bytes: &[u8], index: u64) -> Slot {
        if bytes.iter().all(|byte| *byte == 0) {
            return Slot::Blank;
        }
        let Some((checked, mut crc)) = bytes.split_at_checked(IDENTIFIER_BYTES as usize - 4) else { return Slot::Bad };
        if crc.remaining() < 4 || crc.get_u32_le() != crc32fast::hash(checked) {
            return Slot::Bad;
        }
        let mut fields = checked;
        let found = fields.get_u64_le();
        let term = fields.get_u64_le();
        let offset = fields.get_u64_le();
        let durable_before = fields.get_u64_le();
        let meta_version = fields.get_u64_le();
        let length = fields.get_u32_le();
        let crc = fields.get_u32_le();
        let prev_crc = fields.get_u32_le();
        let chain_crc = fields.get_u32_le();
        let kind = fields.get_u8();
        let flags = fields.get_u8();
        let log_id = LogId { term, index: found };
        let head = FrameHead { log_id, kind, length, durable_before, meta_version, prev_crc };
        let offset = (flags & FLAG_PLACE_UNKNOWN == 0).then_some(offset);
        match offset {
            _ if found != index => Slot::Bad,
            Some(offset) if offset.checked_add(FRAME_HEAD_BYTES + u64::from(length)).is_none() => Slot::Bad,
            _ => Slot::Good(Identifier { head, crc, chain_crc, offset }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifier() -> Identifier {
        let log_id = LogId { term: 3, index: 7 };
        let head = FrameHead { log_id, kind: 2, length: 300, durable_before: 5, meta_version: 9, prev_crc: 11 };
        Identifier { head, crc: 12, chain_crc: 12, offset: Some(4096) }
    }

    #[test]
    fn the_bytes_are_these() {
        let bytes = identifier().encode();
        let mut expected = Vec::new();
        for field in [7u64, 3, 4096, 5, 9] {
            expected.extend_from_slice(&field.to_le_bytes());
        }
        for field in [300u32, 12, 11, 12] {
            expected.extend_from_slice(&field.to_le_bytes());
        }
        expected.extend_from_slice(&[2, 0, 0, 0]);
        expected.extend_from_slice(&crc32fast::hash(&expected).to_le_bytes());
        assert_eq!(bytes[..], expected);
        assert_eq!(Identifier::decode(&bytes, 7), Slot::Good(identifier()));
    }

    #[test]
    fn an_unknown_place_is_kept_apart_from_offset_zero() {
        for offset in [None, Some(0)] {
            let identifier = Identifier { offset, ..identifier() };
            assert_eq!(Identifier::decode(&identifier.encode(), 7), Slot::Good(identifier));
        }
    }

    #[test]
    fn any_flipped_bit_is_bad_and_so_is_another_slots_record() {
        let bytes = identifier().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Identifier::decode(&flipped, 7), Slot::Bad, "bit {bit}");
        }
        assert_eq!(Identifier::decode(&bytes, 8), Slot::Bad);
        assert_eq!(Identifier::decode(&[0; 64], 0), Slot::Blank);
    }
}
