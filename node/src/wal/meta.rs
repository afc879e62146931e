//! The vote and the few facts that the segments cannot prove about themselves, in two copies.
//!
//! ```text
//! payload of the meta record, 88 B and 16 B for each cut
//!   0 version u64 | 8 cluster u64 | 16 member u64
//!  24 vote term u64 | 32 vote node u64 | 40 purged term u64 | 48 purged index u64
//!  56 start u64 | 64 newest segment's first index u64 | 72 durable_before u64
//!  80 slots u32 | 84 flags u8 (1 vote, 2 vote committed, 4 purged, 8 start, 16 newest) | 85 cuts u8 | 86 zero u16
//!  88 cut*: index u64 | meta version u64, both ascending
//! ```
//!
//! A save writes and syncs `meta.a`, then `meta.b`: when it returns both hold the newest version, so either may rot, be
//! zeroed or come back as an old version. Opening takes the newer valid copy. The record fits a sector: a crash leaves
//! the old copy or the new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut};

use super::Identity;
use super::identifier::Identifier;
use super::segment::NEW_SUFFIX;
use crate::codec::record::{RecordError, RecordKind};
use crate::env::{Disk, DiskFile, OpenMode};
use crate::types::{ClusterId, LogId, MemberId, Vote};

pub(super) const META_NAMES: [&str; 2] = ["meta.a", "meta.b"];
const META: RecordKind = RecordKind { magic: *b"HFWALMET", version: 1 };
pub(super) const META_BYTES: usize = 512;
const FIXED_BYTES: usize = 88;
/// Truncations remembered. Together with the fixed part they fit the sector: 20 + 88 + 16 x 16 bytes.
const CUTS_MAX: usize = 16;

const HAS_VOTE: u8 = 1;
const VOTE_COMMITTED: u8 = 2;
const HAS_PURGED: u8 = 4;
const HAS_START: u8 = 8;
const HAS_NEWEST: u8 = 16;

/// A truncation: what was written at `index` or later under a meta version below this one is no part of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub index: u64,
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// Counts saves.
    pub version: u64,
    pub identity: Identity,
    pub vote: Option<Vote>,
    pub purged: Option<LogId>,
    /// The index at which the log begins; none before its first entry.
    pub start: Option<u64>,
    /// First index of the newest segment.
    pub newest: Option<u64>,
    /// Every index below was synced when this was saved.
    pub durable_before: u64,
    /// Slots of the newest segment: its layout can be proven with it when its header is rotten.
    pub slots: u32,
    /// Ascending by index and by version. Only the last [`CUTS_MAX`] are kept.
    pub cuts: Vec<Cut>,
}

impl Meta {
    pub fn fresh(identity: Identity, slots: u32) -> Self {
        Self {
            version: 0,
            identity,
            vote: None,
            purged: None,
            start: None,
            newest: None,
            durable_before: 0,
            slots,
            cuts: Vec::new(),
        }
    }

    /// Remembers that everything from `index` on was cut, as of the next save. Earlier cuts further on say less.
    pub fn cut(&mut self, index: u64) {
        self.cuts.retain(|cut| cut.index < index);
        self.cuts.push(Cut { index, version: self.version + 1 });
        if self.cuts.len() > CUTS_MAX {
            self.cuts.remove(0);
        }
    }

    /// A truncation has cut this record; only its erasure was lost.
    pub fn has_cut(&self, index: u64, meta_version: u64) -> bool {
        self.cuts.iter().any(|cut| index >= cut.index && meta_version < cut.version)
    }

    pub fn has_cut_record(&self, record: &Identifier) -> bool {
        self.has_cut(record.head.log_id.index, record.head.meta_version)
    }

    /// All 512 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let vote = self.vote.unwrap_or_default();
        let purged = self.purged.unwrap_or_default();
        let flag = |given: bool, flag: u8| if given { flag } else { 0 };
        let flags = flag(self.vote.is_some(), HAS_VOTE)
            | flag(vote.committed, VOTE_COMMITTED)
            | flag(self.purged.is_some(), HAS_PURGED)
            | flag(self.start.is_some(), HAS_START)
            | flag(self.newest.is_some(), HAS_NEWEST);
        let mut payload = Vec::with_capacity(FIXED_BYTES + self.cuts.len() * 16);
        payload.put_u64_le(self.version);
        payload.put_u64_le(self.identity.cluster.0);
        payload.put_u64_le(self.identity.member.0);
        payload.put_u64_le(vote.term);
        payload.put_u64_le(vote.node);
        payload.put_u64_le(purged.term);
        payload.put_u64_le(purged.index);
        payload.put_u64_le(self.start.unwrap_or(0));
        payload.put_u64_le(self.newest.unwrap_or(0));
        payload.put_u64_le(self.durable_before);
        payload.put_u32_le(self.slots);
        payload.put_u8(flags);
        payload.put_u8(self.cuts.len() as u8);
        payload.put_u16_le(0);
        for cut in &self.cuts {
            payload.put_u64_le(cut.index);
            payload.put_u64_le(cut.version);
        }
        let mut bytes = META.seal(&payload);
        assert!(bytes.len() <= META_BYTES, "the record must stay within a sector");
        bytes.resize(META_BYTES, 0);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut payload = META.open(bytes)?;
        if payload.len() < FIXED_BYTES {
            return Err(RecordError::Damaged);
        }
        let version = payload.get_u64_le();
        let identity = Identity { cluster: ClusterId(payload.get_u64_le()), member: MemberId(payload.get_u64_le()) };
        let vote_term = payload.get_u64_le();
        let vote_node = payload.get_u64_le();
        let purged = LogId { term: payload.get_u64_le(), index: payload.get_u64_le() };
        let start = payload.get_u64_le();
        let newest = payload.get_u64_le();
        let durable_before = payload.get_u64_le();
        let slots = payload.get_u32_le();
        let flags = payload.get_u8();
        let cut_count = usize::from(payload.get_u8());
        payload.advance(2);
        if payload.len() < cut_count * 16 {
            return Err(RecordError::Damaged);
        }
        let cuts = (0..cut_count).map(|_| Cut { index: payload.get_u64_le(), version: payload.get_u64_le() }).collect();
        let vote = Vote { term: vote_term, node: vote_node, committed: flags & VOTE_COMMITTED != 0 };
        Ok(Self {
            version,
            identity,
            vote: (flags & HAS_VOTE != 0).then_some(vote),
            purged: (flags & HAS_PURGED != 0).then_some(purged),
            start: (flags & HAS_START != 0).then_some(start),
            newest: (flags & HAS_NEWEST != 0).then_some(newest),
            durable_before,
            slots,
            cuts,
        })
    }
}

/// The two files, open for writing.
#[derive(Debug)]
pub(super) struct MetaFiles {
    copies: [Arc<dyn DiskFile>; 2],
    dir: PathBuf,
}

impl MetaFiles {
    /// Puts both copies in place under their names, whatever stood there. A name never shows half a record.
    pub fn create(disk: &dyn Disk, dir: &Path, meta: &Meta) -> std::io::Result<()> {
        let bytes = meta.encode();
        for name in META_NAMES {
            let new = dir.join(format!("{name}{NEW_SUFFIX}"));
            if disk.exists(&new)? {
                disk.remove_file(&new)?;
            }
            let file = disk.open(&new, OpenMode::CreateNew)?;
            file.write_all_at(&bytes, 0)?;
            file.sync()?;
            disk.rename(&new, &dir.join(name))?;
            disk.sync_dir(dir)?;
        }
        Ok(())
    }

    pub fn open(disk: &dyn Disk, dir: &Path) -> std::io::Result<Self> {
        let open = |name: &str| disk.open(&dir.join(name), OpenMode::ReadWrite);
        Ok(Self { copies: [open(META_NAMES[0])?, open(META_NAMES[1])?], dir: dir.to_owned() })
    }

    /// Saves `meta` under the next version, in both copies.
    pub fn save(&self, meta: &mut Meta) -> std::io::Result<()> {
        meta.version += 1;
        let bytes = meta.encode();
        for copy in &self.copies {
            copy.write_all_at(&bytes, 0)?;
            copy.sync()?;
        }
        Ok(())
    }

    pub fn path(&self) -> PathBuf {
        self.dir.join(META_NAMES[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            version: 41,
            vote: Some(Vote { term: 7, node: 3, committed: true }),
            purged: Some(LogId { term: 6, index: 99 }),
            start: Some(100),
            newest: Some(128),
            durable_before: 140,
            ..Meta::fresh(Identity { cluster: ClusterId(0xc1), member: MemberId(0x3e) }, 64)
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let mut meta = meta();
        meta.cut(130);
        let bytes = meta.encode();
        assert_eq!(&bytes[..16], b"HFWALMET\x01\0\0\0\x68\0\0\0");
        let mut expected = Vec::new();
        for field in [41u64, 0xc1, 0x3e, 7, 3, 6, 99, 100, 128, 140] {
            expected.extend_from_slice(&field.to_le_bytes());
        }
        expected.extend_from_slice(&64u32.to_le_bytes());
        expected.extend_from_slice(&[31, 1, 0, 0]);
        expected.extend_from_slice(&130u64.to_le_bytes());
        expected.extend_from_slice(&42u64.to_le_bytes());
        assert_eq!(bytes[16..120], expected);
        assert_eq!(bytes.len(), 512);
        assert_eq!(Meta::decode(&bytes), Ok(meta));
        let fresh = Meta::fresh(self::meta().identity, 1);
        assert_eq!(Meta::decode(&fresh.encode()), Ok(fresh));
    }

    #[test]
    fn cuts_form_a_staircase_and_stay_within_the_sector() {
        let mut meta = meta();
        for index in [150, 170, 160, 155] {
            meta.cut(index);
            meta.version += 1;
        }
        let steps: Vec<_> = meta.cuts.iter().map(|cut| (cut.index, cut.version)).collect();
        assert_eq!(steps, [(150, 42), (155, 45)]);
        assert!(meta.has_cut(155, 44) && !meta.has_cut(155, 45) && !meta.has_cut(154, 44) && meta.has_cut(154, 41));
        for index in 200..300 {
            meta.cut(index);
            meta.version += 1;
        }
        assert_eq!((meta.cuts.len(), meta.encode().len()), (CUTS_MAX, META_BYTES));
    }
}
