//! A small record that proves that it is whole.
//!
//! ```text
//! magic 8 B | version u16 | zero u16 | payload length u32 | payload | crc u32
//! ```
//!
//! Integers are little-endian. crc is crc32 (IEEE) over everything before it. It stands where every version puts it, so
//! that a record of a newer version is recognised as one, and not taken for rot.

use bytes::BufMut;
use thiserror::Error;

/// Bytes in front of the payload.
const HEAD_BYTES: usize = 16;
const CRC_BYTES: usize = 4;

/// What names a kind of record, and the newest version of it that this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordKind {
    pub magic: [u8; 8],
    pub version: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Too short, another magic, or a wrong checksum: whatever this is, it cannot be trusted.
    #[error("the record is damaged")]
    Damaged,
    #[error("the record has format version {found}, this program knows up to {known}: run the version that wrote it")]
    Newer { found: u16, known: u16 },
}

impl RecordKind {
    /// The bytes of a record of this kind.
    pub fn seal(self, payload: &[u8]) -> Vec<u8> {
        let mut record = Vec::with_capacity(HEAD_BYTES + payload.len() + CRC_BYTES);
        record.put_slice(&self.magic);
        record.put_u16_le(self.version);
        record.put_u16_le(0);
        record.put_u32_le(u32::try_from(payload.len()).expect("records are small"));
        record.put_slice(payload);
        record.put_u32_le(crc32fast::hash(&record));
        record
    }

    /// The payload of the record that `bytes` start with. What follows it is not looked at.
    pub fn open(self, bytes: &[u8]) -> Result<&[u8], RecordError> {
        let head = bytes.get(..HEAD_BYTES).ok_or(RecordError::Damaged)?;
        let length = u32::from_le_bytes([head[12], head[13], head[14], head[15]]) as usize;
        let end = HEAD_BYTES.saturating_add(length);
        let sealed = bytes.get(..end).ok_or(RecordError::Damaged)?;
        let crc = bytes.get(end..end.saturating_add(CRC_BYTES)).ok_or(RecordError::Damaged)?;
        if head[..8] != self.magic || crc != crc32fast::hash(sealed).to_le_bytes() {
            return Err(RecordError::Damaged);
        }
        match u16::from_le_bytes([head[8], head[9]]) {
            found if found > self.version => Err(RecordError::Newer { found, known: self.version }),
            _ => Ok(&sealed[HEAD_BYTES..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: RecordKind = RecordKind { magic: *b"HFTEST\0\0", version: 2 };

    #[test]
    fn the_bytes_are_these() {
        let record = KIND.seal(b"xy");
        assert_eq!(&record[..18], b"HFTEST\0\0\x02\0\0\0\x02\0\0\0xy");
        assert_eq!(record[18..], crc32fast::hash(&record[..18]).to_le_bytes());
        assert_eq!(KIND.open(&record), Ok(&b"xy"[..]));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_damage() {
        let record = KIND.seal(b"payload");
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(KIND.open(&flipped), Err(RecordError::Damaged), "bit {bit}");
        }
        for length in 0..record.len() {
            assert_eq!(KIND.open(&record[..length]), Err(RecordError::Damaged), "cut to {length}");
        }
        assert_eq!(KIND.open(&[0; 64]), Err(RecordError::Damaged));
    }

    #[test]
    fn a_newer_version_is_not_damage_and_an_older_one_is_read() {
        let newer = RecordKind { version: 3, ..KIND }.seal(b"?");
        assert_eq!(KIND.open(&newer), Err(RecordError::Newer { found: 3, known: 2 }));
        let older = RecordKind { version: 1, ..KIND }.seal(b"!");
        assert_eq!(KIND.open(&older), Ok(&b"!"[..]));
        let other = RecordKind { magic: *b"HFOTHER\0", ..KIND }.seal(b"?");
        assert_eq!(KIND.open(&other), Err(RecordError::Damaged));
    }
}
