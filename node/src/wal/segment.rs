//! A segment file: its name, its header, and where things lie in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut};

use super::identifier::IDENTIFIER_BYTES;
use super::{Identity, LogOptions};
use crate::codec::record::{RecordError, RecordKind};
use crate::env::DiskFile;
use crate::types::{ClusterId, LogId, MemberId};

pub(super) const HEADER_BYTES: u64 = 4096;
const HEADER: RecordKind = RecordKind { magic: *b"HFWALSEG", version: 1 };
const PAYLOAD_BYTES: usize = 64;
const HAS_PREVIOUS: u32 = 1 << 31;
/// Slots share their word in the header with a flag.
pub(super) const SLOTS_MAX: u32 = HAS_PREVIOUS - 1;
/// Ends the name of a file that is being created.
pub(super) const NEW_SUFFIX: &str = ".new";

/// Identifiers that the medium writes as one.
pub(super) const SLOTS_PER_SECTOR: u32 = 8;

/// Slots are counted in whole sectors, so that no sector holds both an identifier and a piece of an entry.
pub(super) fn whole_sectors(slots: u32) -> u32 {
    slots.next_multiple_of(SLOTS_PER_SECTOR)
}

/// How large the areas of a segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub slots: u32,
    pub data_bytes: u64,
}

impl Geometry {
    pub fn of(options: &LogOptions) -> Self {
        Self {
            slots: whole_sectors(options.slots.clamp(1, SLOTS_MAX - SLOTS_PER_SECTOR)),
            data_bytes: options.data_bytes,
        }
    }

    pub fn data_start(self) -> u64 {
        HEADER_BYTES + u64::from(self.slots) * IDENTIFIER_BYTES
    }

    /// Bytes of the file, without a repair area.
    pub fn file_bytes(self) -> u64 {
        self.data_start() + self.data_bytes
    }
}

/// The entry in front of a segment: whom its first entry follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Previous {
    pub log_id: LogId,
    /// Its chain crc; 0 if that was unknown.
    pub crc: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub identity: Identity,
    pub first: u64,
    pub geometry: Geometry,
    pub meta_version: u64,
    /// None if the log began here.
    pub previous: Option<Previous>,
}

impl SegmentHeader {
    /// All 4096 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let previous = self.previous.unwrap_or(Previous { log_id: LogId::default(), crc: 0 });
        let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
        payload.put_u64_le(self.identity.cluster.0);
        payload.put_u64_le(self.identity.member.0);
        payload.put_u64_le(self.first);
        payload.put_u64_le(self.geometry.data_bytes);
        payload.put_u64_le(self.meta_version);
        payload.put_u64_le(previous.log_id.term);
        payload.put_u64_le(previous.log_id.index);
        payload.put_u32_le(previous.crc);
        payload.put_u32_le(self.geometry.slots | if self.previous.is_some() { HAS_PREVIOUS } else { 0 });
        let mut bytes = HEADER.seal(&payload);
        bytes.resize(HEADER_BYTES as usize, 0);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut payload = HEADER.open(bytes)?;
        if payload.len() < PAYLOAD_BYTES {
            return Err(RecordError::Damaged);
        }
        let cluster = ClusterId(payload.get_u64_le());
        let member = MemberId(payload.get_u64_le());
        let first = payload.get_u64_le();
        let data_bytes = payload.get_u64_le();
        let meta_version = payload.get_u64_le();
        let term = payload.get_u64_le();
        let index = payload.get_u64_le();
        let crc = payload.get_u32_le();
        let word = payload.get_u32_le();
        Ok(Self {
            identity: Identity { cluster, member },
            first,
            geometry: Geometry { slots: word & SLOTS_MAX, data_bytes },
            meta_version,
            previous: (word & HAS_PREVIOUS != 0).then_some(Previous { log_id: LogId { term, index }, crc }),
        })
    }
}

/// The name of the segment that starts at `first`.
pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// The first index, if this is a segment's name.
pub(super) fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub header: SegmentHeader,
}

impl Segment {
    pub fn first(&self) -> u64 {
        self.header.first
    }

    /// Where in the file the identifier of `index` lies.
    pub fn slot_at(&self, index: u64) -> u64 {
        HEADER_BYTES + (index - self.first()) * IDENTIFIER_BYTES
    }

    /// Where in the file an offset of the data area lies.
    pub fn data_at(&self, offset: u64) -> u64 {
        self.header.geometry.data_start() + offset
    }

    /// One past the last index that has a slot here.
    pub fn slots_end(&self) -> u64 {
        self.first() + u64::from(self.header.geometry.slots)
    }

    pub fn path_in(dir: &Path, first: u64) -> PathBuf {
        dir.join(file_name(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(previous: Option<Previous>) -> SegmentHeader {
        SegmentHeader {
            identity: Identity { cluster: ClusterId(0xc1), member: MemberId(0x3e) },
            first: 17,
            geometry: Geometry { slots: 64, data_bytes: 8192 },
            meta_version: 5,
            previous,
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let previous = Previous { log_id: LogId { term: 2, index: 16 }, crc: 0xabcd };
        let bytes = header(Some(previous)).encode();
        assert_eq!(&bytes[..16], b"HFWALSEG\x01\0\0\0\x40\0\0\0");
        let mut expected = Vec::new();
        for field in [0xc1u64, 0x3e, 17, 8192, 5, 2, 16] {
            expected.extend_from_slice(&field.to_le_bytes());
        }
        expected.extend_from_slice(&0xabcd_u32.to_le_bytes());
        expected.extend_from_slice(&(64 | 1u32 << 31).to_le_bytes());
        assert_eq!(bytes[16..80], expected);
        assert_eq!(bytes[80..84], crc32fast::hash(&bytes[..80]).to_le_bytes());
        assert!(bytes.len() == 4096 && bytes[84..].iter().all(|byte| *byte == 0));
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header(Some(previous))));
        assert_eq!(SegmentHeader::decode(&header(None).encode()), Ok(header(None)));
    }

    #[test]
    fn names() {
        assert_eq!(file_name(17), "00000000000000000017.seg");
        assert_eq!(first_of("00000000000000000017.seg"), Some(17));
        for other in
            ["17.seg", "00000000000000000017.seg.new", "0000000000000000001x.seg", "spare", "+0000000000000000017.seg"]
        {
            assert_eq!(first_of(other), None, "{other}");
        }
    }
}
