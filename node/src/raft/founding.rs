//! What a founder remembers of the founding: its own incarnation, and those of the founders it heard of while it had
//! taken part in nothing itself.
//!
//! A founder computes its identity, so one whose disk was lost computes the same one again, and could vote a second
//! time in a term. What tells the two lives apart is the *incarnation*: a number drawn once, kept beside the identity,
//! and said in the first words to the others. The rules that use it are in `node/founding.rs`; the reasons in
//! decisions/0014.
//!
//! `FOUNDING` in the data directory, integers little-endian:
//!
//! ```text
//! offset  size  what
//!      0     8  "HFFOUND1"; the last character is the version of the format
//!      8     8  this founder's incarnation, u64
//!     16     4  how many founders follow, u32
//!     20  16 n  member id u64, incarnation u64
//!          4  crc32 (IEEE) of everything before
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::env::{Disk, OpenMode};
use crate::types::{LogId, MemberId, Vote};
use crate::wal::Log;

const FILE: &str = "FOUNDING";
const MAGIC: &[u8; 8] = b"HFFOUND1";
const HEAD_BYTES: usize = 20;
const FOUNDER_BYTES: usize = 16;
const CRC_BYTES: usize = 4;
/// Founders beyond this are not remembered: no cluster has so many.
const FOUNDERS_MAX: usize = 1024;

/// One life of a founder's disk. Zero stands for a member that founded nothing, or long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incarnation(pub u64);

/// What a founder answers another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// It has taken part in nothing yet: no vote for another member, no entry of a leader.
    pub is_untouched: bool,
    /// The incarnation of the one who asks that it heard of while it was untouched.
    pub incarnation: Incarnation,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Record {
    incarnation: Incarnation,
    heard: BTreeMap<u64, u64>,
}

/// The founding as one member remembers it.
#[derive(Debug)]
pub struct Founding {
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    me: MemberId,
    record: Mutex<Record>,
    /// None until the log is open: without one this member has taken part in nothing.
    log: OnceLock<Arc<Log>>,
}

impl Founding {
    /// For a member that ran before, or that joins: what it remembers, if it was a founder.
    pub fn load(disk: Arc<dyn Disk>, data_dir: &Path, me: MemberId) -> io::Result<Self> {
        let record = read(disk.as_ref(), data_dir)?.unwrap_or_default();
        Ok(Self::new(disk, data_dir, me, record))
    }

    /// For a founder that starts for the first time, perhaps after an attempt that did not come to its end. `drawn` is
    /// its incarnation if it has none; that is on disk when this returns.
    pub fn begin(disk: Arc<dyn Disk>, data_dir: &Path, me: MemberId, drawn: Incarnation) -> io::Result<Self> {
        let record = match read(disk.as_ref(), data_dir)? {
            Some(record) => record,
            None => {
                let record = Record { incarnation: drawn, heard: BTreeMap::new() };
                write(disk.as_ref(), data_dir, &record)?;
                record
            }
        };
        Ok(Self::new(disk, data_dir, me, record))
    }

    fn new(disk: Arc<dyn Disk>, data_dir: &Path, me: MemberId, record: Record) -> Self {
        Self { disk, data_dir: data_dir.to_owned(), me, record: Mutex::new(record), log: OnceLock::new() }
    }

    pub fn incarnation(&self) -> Incarnation {
        self.record.lock().incarnation
    }

    /// From now on the log tells whether this member has taken part.
    pub fn watch_log(&self, log: Arc<Log>) {
        let first = self.log.set(log);
        debug_assert!(first.is_ok(), "a member has one log");
    }

    /// Whether this member has taken part in nothing: it granted nobody but itself a vote, and holds no entry of a
    /// leader. The entry at index 0 is every founder's own.
    pub fn is_untouched(&self) -> bool {
        self.log.get().is_none_or(|log| has_done_nothing(self.me, log.last(), log.purged(), log.vote()))
    }

    /// Another founder says which incarnation it is. If this member is untouched, that is on disk when this returns.
    pub fn hear(&self, founder: MemberId, incarnation: Incarnation) -> io::Result<Heard> {
        let mut record = self.record.lock();
        let known = record.heard.get(&founder.0).copied().unwrap_or(0);
        let is_new = known != incarnation.0 && record.heard.len() < FOUNDERS_MAX;
        if is_new && record.incarnation != Incarnation::default() && self.is_untouched() {
            let mut next = record.clone();
            next.heard.insert(founder.0, incarnation.0);
            write(self.disk.as_ref(), &self.data_dir, &next)?;
            if self.is_untouched() {
                *record = next;
            } else {
                // It took part while the disk was busy: what was written claims too much.
                write(self.disk.as_ref(), &self.data_dir, &record)?;
            }
        }
        let heard = record.heard.get(&founder.0).copied().unwrap_or(0);
        Ok(Heard { is_untouched: self.is_untouched(), incarnation: Incarnation(heard) })
    }
}

fn has_done_nothing(me: MemberId, last: Option<LogId>, purged: Option<LogId>, vote: Option<Vote>) -> bool {
    // Where the founding entry is purged, the state was restored with it: the log begins behind.
    let holds_only_the_first = purged.is_none_or(|purged| purged.index == 0) && last.is_none_or(|last| last.index == 0);
    // Of term 0 is what founding itself writes; a vote for itself that is not committed elected nobody yet.
    let voted_for_nobody = vote.is_none_or(|vote| vote.node == me.0 && (vote.term == 0 || !vote.committed));
    holds_only_the_first && voted_for_nobody
}

fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + record.heard.len() * FOUNDER_BYTES + CRC_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&record.incarnation.0.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(record.heard.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (founder, incarnation) in &record.heard {
        bytes.extend_from_slice(&founder.to_le_bytes());
        bytes.extend_from_slice(&incarnation.to_le_bytes());
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Record> {
    let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) || !body.starts_with(MAGIC) {
        return None;
    }
    let number = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
    let count = u32::from_le_bytes(body.get(16..HEAD_BYTES)?.try_into().ok()?) as usize;
    let founders = body.get(HEAD_BYTES..)?;
    if founders.len() != count * FOUNDER_BYTES {
        return None;
    }
    let places = (0..count).map(|place| HEAD_BYTES + place * FOUNDER_BYTES);
    let heard = places.map(|at| Some((number(at)?, number(at + 8)?))).collect::<Option<_>>()?;
    Some(Record { incarnation: Incarnation(number(8)?), heard })
}

fn read(disk: &dyn Disk, data_dir: &Path) -> io::Result<Option<Record>> {
    let path = data_dir.join(FILE);
    if !disk.exists(&path)? {
        return Ok(None);
    }
    let file = disk.open(&path, OpenMode::Read)?;
    let length_max = (HEAD_BYTES + FOUNDERS_MAX * FOUNDER_BYTES + CRC_BYTES) as u64;
    let mut bytes = vec![0; usize::try_from(file.len()?.min(length_max)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    let damaged = || {
        let what = format!("{} is damaged, or was written by a newer version", path.display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    decode(&bytes).map(Some).ok_or_else(damaged)
}

fn write(disk: &dyn Disk, data_dir: &Path, record: &Record) -> io::Result<()> {
    let temporary = data_dir.join("FOUNDING.tmp");
    if disk.exists(&temporary)? {
        disk.remove_file(&temporary)?;
    }
    let file = disk.open(&temporary, OpenMode::CreateNew)?;
    file.write_all_at(&encode(record), 0)?;
    file.sync()?;
    disk.rename(&temporary, &data_dir.join(FILE))?;
    disk.sync_dir(data_dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{CrashPolicy, FaultyDisk};

    const ME: MemberId = MemberId(1);
    const OTHER: MemberId = MemberId(2);

    fn data_dir(disk: &FaultyDisk) -> PathBuf {
        let dir = PathBuf::from("/data");
        disk.create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn an_incarnation_is_drawn_once_and_what_was_heard_survives_power_loss() {
        let disk = FaultyDisk::new(1);
        let dir = data_dir(&disk);
        let founding = Founding::begin(Arc::new(disk.clone()), &dir, ME, Incarnation(7)).unwrap();
        let heard = founding.hear(OTHER, Incarnation(9)).unwrap();
        assert_eq!(heard, Heard { is_untouched: true, incarnation: Incarnation(9) });
        drop(founding);
        disk.crash(CrashPolicy::LoseUnsynced);
        let founding = Founding::begin(Arc::new(disk.clone()), &dir, ME, Incarnation(8)).unwrap();
        assert_eq!(founding.incarnation(), Incarnation(7));
        // A later life of the other one takes the place of the earlier one, as long as nothing has happened.
        assert_eq!(founding.hear(OTHER, Incarnation(10)).unwrap().incarnation, Incarnation(10));
        assert_eq!(Founding::load(Arc::new(disk), &dir, ME).unwrap().record.lock().heard, BTreeMap::from([(2, 10)]));
    }

    #[test]
    fn a_member_that_founded_nothing_remembers_nobody() {
        let disk = FaultyDisk::new(1);
        let dir = data_dir(&disk);
        let joined = Founding::load(Arc::new(disk.clone()), &dir, ME).unwrap();
        assert_eq!(joined.hear(OTHER, Incarnation(9)).unwrap().incarnation, Incarnation::default());
        assert!(!disk.exists(&dir.join(FILE)).unwrap());
    }

    #[test]
    fn damage_is_noticed() {
        let good = encode(&Record { incarnation: Incarnation(5), heard: BTreeMap::from([(1, 2), (3, 4)]) });
        assert!(decode(&good).is_some());
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn a_vote_for_another_or_a_leaders_entry_is_taking_part() {
        let at = |term, index| Some(LogId { term, index });
        let vote = |term, node, committed| Some(Vote { term, node, committed });
        assert!(has_done_nothing(ME, None, None, None));
        assert!(has_done_nothing(ME, at(0, 0), None, vote(0, 1, true)));
        assert!(has_done_nothing(ME, None, at(0, 0), None), "it was restored");
        assert!(!has_done_nothing(ME, at(1, 1), at(0, 0), None));
        assert!(has_done_nothing(ME, at(0, 0), None, vote(3, 1, false)), "it stands for election in vain");
        assert!(!has_done_nothing(ME, at(0, 0), None, vote(1, 2, false)));
        assert!(!has_done_nothing(ME, at(0, 0), None, vote(1, 1, true)), "it was elected");
        assert!(!has_done_nothing(ME, at(1, 1), None, vote(0, 1, true)));
        assert!(!has_done_nothing(ME, None, at(5, 9), None));
    }
}
