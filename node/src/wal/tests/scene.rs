//! A log on a faulty disk, and the means to harm it where it hurts.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use super::*;

/// A piece of the log on disk.
#[derive(Clone, Debug)]
pub struct Piece {
    pub path: PathBuf,
    pub range: Range<u64>,
}

/// What to do to a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    Flip,
    Zero,
    Junk,
    Unreadable,
}

/// Which half of an entry, or which part of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Identifier,
    Head,
    Payload,
    Frame,
}

#[derive(Clone, Debug)]
struct Whereabouts {
    identifier: Piece,
    frame: Option<Piece>,
}

/// Where the entries lay when they were last seen in good order.
#[derive(Debug)]
pub struct Scene {
    pub disk: FaultyDisk,
    pub log: Option<Log>,
    seen: BTreeMap<u64, Whereabouts>,
}

pub fn segment_path(first: u64) -> PathBuf {
    Path::new(DIR).join(format!("{first:020}.seg"))
}

impl Scene {
    pub fn new() -> Self {
        Self::on(FaultyDisk::new(7))
    }

    pub fn on(disk: FaultyDisk) -> Self {
        Self { disk, log: None, seen: BTreeMap::new() }
    }

    pub fn log(&self) -> &Log {
        self.log.as_ref().expect("the log is open")
    }

    pub fn open(&mut self) -> Result<Opened, OpenError> {
        self.open_as(IDENTITY)
    }

    pub fn open_as(&mut self, identity: Identity) -> Result<Opened, OpenError> {
        self.log = None;
        let (log, opened) = Log::open(Arc::new(self.disk.clone()), Path::new(DIR), small(), identity)?;
        self.log = Some(log);
        Ok(opened)
    }

    /// Remembers where everything is, then ends the process.
    pub fn close(&mut self) {
        self.look();
        self.log = None;
    }

    pub fn look(&mut self) {
        let Some(log) = &self.log else { return };
        let shared = log.shared.read();
        for index in &shared.segments {
            let segment = &index.segment;
            for record in &index.entries {
                let at = record.head.log_id.index;
                let piece = |from: u64, bytes: u64| Piece { path: segment.path.clone(), range: from..from + bytes };
                let identifier = piece(segment.slot_at(at), 64);
                let frame = record.offset.map(|offset| piece(segment.data_at(offset), record.head.frame_bytes()));
                self.seen.insert(at, Whereabouts { identifier, frame });
            }
        }
    }

    pub fn piece(&self, index: u64, part: Part) -> Piece {
        let seen = &self.seen[&index];
        let frame = || seen.frame.clone().expect("the entry's place is known");
        match part {
            Part::Identifier => seen.identifier.clone(),
            Part::Frame => frame(),
            Part::Head => Piece { range: frame().range.start..frame().range.start + 48, ..frame() },
            Part::Payload => Piece { range: frame().range.start + 48..frame().range.end, ..frame() },
        }
    }

    pub fn harm(&self, harm: Harm, piece: &Piece) {
        let (path, range) = (&piece.path, piece.range.clone());
        match harm {
            Harm::Flip => self.disk.flip_bit(path, (range.start + range.end) / 2, 3),
            Harm::Zero => self.disk.zero(path, range),
            Harm::Junk => self.disk.junk(path, range),
            Harm::Unreadable => self.disk.fail_reads(path, range),
        }
    }

    pub fn bytes(&self, piece: &Piece) -> Vec<u8> {
        let file = self.disk.contents(&piece.path).expect("the file is there");
        file[piece.range.start as usize..piece.range.end as usize].to_vec()
    }
}
