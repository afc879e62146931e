//! Opening: from whatever is in the directory to a log, or to a refusal that says what to do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::cache::Cache;
use super::image::Image;
use super::judge::{self, Case, Fate, Judgement};
use super::layout;
use super::log::{HolePlace, Log, SegmentIndex, Shared, Writer};
use super::meta::{META_BYTES, META_NAMES, Meta, MetaFiles};
use super::repair::{Found, Repair};
use super::scan;
use super::segment::{Geometry, NEW_SUFFIX, SLOTS_MAX, Segment, file_name, first_of};
use super::spare::SPARE_NAME;
use super::verdict::{self, MetaCopy, MetaVerdict, SegmentFile, SegmentHead, SegmentPlace, SegmentVerdict, Segments};
use super::{Identity, LOCK_NAME, LogOptions, OpenError, Opened, Origin};
use crate::codec::record::RecordError;
use crate::env::witness::{self, Promise};
use crate::env::{Disk, OpenMode, sometimes};

impl Log {
    /// Opens the log in `dir`, or makes one if the directory is empty.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
        identity: Identity,
    ) -> Result<(Log, Opened), OpenError> {
        let mut opening = Opening {
            disk: disk.as_ref(),
            dir,
            identity,
            geometry: Geometry::of(&options),
            repaired: Vec::new(),
            rubbish: Vec::new(),
        };
        let listing = opening.list()?;
        let (mut meta, origin) = opening.meta(&listing)?;
        let mut survey = opening.survey(&listing, &meta)?;
        let judgement = judge::judge(&survey.cases, survey.start, &meta)?;
        opening.report(&survey, &judgement);

        let files = MetaFiles::open(opening.disk, dir).map_err(OpenError::io(dir))?;
        let segments = opening.settle(&mut meta, &files, &mut survey, &judgement)?;
        let holes = hole_places(&segments, &survey, &judgement);
        let shared = Shared {
            segments,
            holes,
            pending: Default::default(),
            pending_bytes: 0,
            cache: Cache::new(options.cache_bytes_max),
            start: meta.start,
            purged: meta.purged,
            vote: meta.vote,
            cuts: 0,
            poison: None,
        };
        let repaired = opening.repaired;
        let log = Log {
            disk: Arc::clone(&disk),
            dir: dir.to_owned(),
            options,
            member: identity.member,
            writer: Mutex::new(Writer::new(meta, files)),
            shared: RwLock::new(shared),
            spare: Mutex::new(None),
        };
        let (vote, purged, first, last) = (log.vote(), log.purged(), log.first(), log.last());
        let told_last = last.or(purged);
        witness::tell(identity.member, || Promise::Opened { vote, last: told_last });
        let opened = Opened { origin, vote, purged, first, last, holes: log.holes(), repaired };
        Ok((log, opened))
    }
}

/// Rotten frames are filled in place, unless the medium refuses to read there.
fn hole_places(segments: &[SegmentIndex], survey: &Survey, judgement: &Judgement) -> BTreeMap<u64, HolePlace> {
    let mut places = BTreeMap::new();
    for kept in judgement.kept.iter().filter(|kept| kept.fate == Fate::Hole) {
        let index = kept.record.head.log_id.index;
        let segment = segments.iter().rev().find(|segment| segment.base <= index);
        let readable = kept.record.offset.zip(segment).is_some_and(|(offset, segment)| {
            survey.readable_from.get(&segment.segment.first()).is_none_or(|from| offset >= *from)
        });
        places.insert(index, if readable { HolePlace::InPlace } else { HolePlace::RepairArea });
    }
    places
}

struct Listing {
    segments: Vec<u64>,
}

/// All segments of the log, in order and without gaps.
struct Survey {
    start: u64,
    cases: Vec<Case>,
    /// By first index; a case without one is missing.
    found: BTreeMap<u64, Found>,
    /// By first index, for segments with unreadable sectors: the offset from which on the data area can be read.
    readable_from: BTreeMap<u64, u64>,
}

struct Opening<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    identity: Identity,
    geometry: Geometry,
    repaired: Vec<String>,
    /// Files that are no part of the log, to be removed once it is certain that the directory is ours.
    rubbish: Vec<PathBuf>,
}

impl Opening<'_> {
    fn list(&mut self) -> Result<Listing, OpenError> {
        let failed = OpenError::io(self.dir);
        self.disk.create_dir_all(self.dir).map_err(&failed)?;
        let mut segments = Vec::new();
        for name in self.disk.list(self.dir).map_err(&failed)? {
            if let Some(first) = first_of(&name) {
                segments.push(first);
            } else if name == SPARE_NAME || name.ends_with(NEW_SUFFIX) {
                self.rubbish.push(self.dir.join(name));
            } else if !META_NAMES.contains(&name.as_str()) && name != LOCK_NAME {
                self.note(format!("{name}: not a file of the log, ignored"));
            }
        }
        Ok(Listing { segments })
    }

    fn note(&mut self, what: String) {
        tracing::warn!(dir = %self.dir.display(), what, "raft log");
        self.repaired.push(what);
    }

    // ---- the vote ----

    fn meta(&mut self, listing: &Listing) -> Result<(Meta, Origin), OpenError> {
        let [first, second] = [self.meta_copy(META_NAMES[0])?, self.meta_copy(META_NAMES[1])?];
        let state = |copy: &Result<Meta, MetaCopy>| match copy {
            Ok(meta) => MetaCopy::Version(meta.version),
            Err(state) => *state,
        };
        let states = [state(&first), state(&second)];
        let segments = if listing.segments.is_empty() { Segments::None } else { Segments::Some };
        let (chosen, other) = match verdict::meta(states[0], states[1], segments) {
            MetaVerdict::Agree => (first, None),
            MetaVerdict::UseFirst => (first, Some(1)),
            MetaVerdict::UseSecond => (second, Some(0)),
            MetaVerdict::Lost => return Err(OpenError::VoteLost { dir: self.dir.to_owned() }),
            MetaVerdict::Fresh => {
                let mut meta = Meta::fresh(self.identity, self.geometry.slots);
                meta.version = 1;
                MetaFiles::create(self.disk, self.dir, &meta).map_err(OpenError::io(self.dir))?;
                return Ok((meta, Origin::Created));
            }
        };
        let Ok(meta) = chosen else { return Err(OpenError::VoteLost { dir: self.dir.to_owned() }) };
        if let Some(other) = other {
            let name = META_NAMES[other];
            let how = match states[other] {
                MetaCopy::Version(version) => format!("was of version {version}, not {}", meta.version),
                MetaCopy::Damaged => "was damaged".to_owned(),
                MetaCopy::Missing => "was missing".to_owned(),
            };
            MetaFiles::create(self.disk, self.dir, &meta).map_err(OpenError::io(self.dir))?;
            sometimes!(VoteCopyRebuilt);
            self.note(format!("{name}: {how}, rebuilt from the other copy"));
        }
        Ok((meta, Origin::Found))
    }

    fn meta_copy(&self, name: &str) -> Result<Result<Meta, MetaCopy>, OpenError> {
        let path = self.dir.join(name);
        if !self.disk.exists(&path).map_err(OpenError::io(&path))? {
            return Ok(Err(MetaCopy::Missing));
        }
        let file = self.disk.open(&path, OpenMode::Read).map_err(OpenError::io(&path))?;
        let image = Image::read(file.as_ref()).map_err(OpenError::io(&path))?;
        let bytes = image.get(0, (META_BYTES as u64).min(image.len())).unwrap_or(&[]);
        match Meta::decode(bytes) {
            Ok(meta) if meta.identity == self.identity => Ok(Ok(meta)),
            Ok(meta) => Err(OpenError::Foreign { path, found: meta.identity, expected: self.identity }),
            Err(RecordError::Damaged) => Ok(Err(MetaCopy::Damaged)),
            Err(RecordError::Newer { found, known }) => Err(OpenError::Newer { path, found, known }),
        }
    }

    // ---- the segments ----

    fn survey(&mut self, listing: &Listing, meta: &Meta) -> Result<Survey, OpenError> {
        let start = meta.start.unwrap_or(0);
        let mut survey = Survey { start, cases: Vec::new(), found: BTreeMap::new(), readable_from: BTreeMap::new() };
        let mut evidence = Evidence { term_max: 0, version_max: 0 };
        let mut inside = Vec::new();
        for (place, first) in listing.segments.iter().enumerate() {
            let next = listing.segments.get(place + 1);
            let superseded = meta.newest.is_none_or(|newest| *first < newest)
                && *first < start
                && (meta.newest.is_none() || next.is_some_and(|next| *next <= start));
            match meta.newest {
                _ if superseded => self.rubbish.push(Segment::path_in(self.dir, *first)),
                Some(newest) if *first <= newest => inside.push(*first),
                _ => self.beyond(*first, meta)?,
            }
        }
        if let Some(newest) = meta.newest
            && inside.last() != Some(&newest)
        {
            let verdict = verdict::segment(SegmentPlace::Newest, SegmentFile::Missing, SegmentHead::Lost);
            debug_assert_eq!(verdict, SegmentVerdict::RefuseMissing);
            return Err(OpenError::SegmentMissing { path: Segment::path_in(self.dir, newest) });
        }
        for (place, first) in inside.iter().enumerate() {
            self.gap(&mut survey, *first);
            let next = inside.get(place + 1).copied();
            let place = if next.is_some() { SegmentPlace::Inside } else { SegmentPlace::Newest };
            let (case, found) = self.segment(*first, next.unwrap_or(u64::MAX), place, meta)?;
            evidence.term_max = evidence.term_max.max(case.scan.term_max);
            let created = found.segment.header.meta_version;
            evidence.version_max = evidence.version_max.max(case.scan.meta_version_max).max(created);
            if found.unreadable_end > 0 {
                survey.readable_from.insert(*first, found.unreadable_end);
            }
            survey.cases.push(case);
            survey.found.insert(*first, found);
        }
        self.check_vote(meta, &evidence)?;
        Ok(survey)
    }

    /// A segment that meta does not know: left behind by a crash, or proof that meta is old.
    fn beyond(&mut self, first: u64, meta: &Meta) -> Result<(), OpenError> {
        let (image, path) = self.image(first)?;
        let layout = layout::of(&image, first, meta, self.geometry);
        let place = match layout {
            Ok(layout) if layout.head != SegmentHead::Lost => {
                let scan = scan::scan(&image, &layout.header, meta, layout.header.geometry.slots as usize);
                if scan.valid_end() == 0 { SegmentPlace::Superseded } else { SegmentPlace::BeyondMeta }
            }
            _ => SegmentPlace::BeyondMeta,
        };
        match verdict::segment(place, SegmentFile::Whole, SegmentHead::Good) {
            SegmentVerdict::Remove => self.rubbish.push(path),
            _ => {
                let evidence = format!("{} holds entries that it knows nothing of", file_name(first));
                return Err(OpenError::VoteStale { dir: self.dir.to_owned(), evidence });
            }
        }
        Ok(())
    }

    /// Notes the indexes for which a segment must be missing, between what is surveyed and `first`.
    fn gap(&mut self, survey: &mut Survey, first: u64) {
        let mut from = match survey.cases.last() {
            Some(case) => case.first + case.scan.evidence.len() as u64,
            None => survey.start,
        };
        while from < first {
            let end = first.min(from + u64::from(SLOTS_MAX / 2));
            self.note(format!("{}: missing, its entries {from} to {} are holes", file_name(from), end - 1));
            survey.cases.push(judge::missing(Segment::path_in(self.dir, from), from, end));
            from = end;
        }
    }

    fn image(&self, first: u64) -> Result<(Image, PathBuf), OpenError> {
        let path = Segment::path_in(self.dir, first);
        let file = self.disk.open(&path, OpenMode::Read).map_err(OpenError::io(&path))?;
        let image = Image::read(file.as_ref()).map_err(OpenError::io(&path))?;
        Ok((image, path))
    }

    fn segment(&mut self, first: u64, next: u64, place: SegmentPlace, meta: &Meta) -> Result<(Case, Found), OpenError> {
        let (image, path) = self.image(first)?;
        let layout = match layout::of(&image, first, meta, self.geometry) {
            Ok(layout) => layout,
            Err(RecordError::Newer { found, known }) => return Err(OpenError::Newer { path, found, known }),
            Err(RecordError::Damaged) => return Err(OpenError::SegmentHeader { path }),
        };
        let header = layout.header;
        if header.identity != self.identity {
            return Err(OpenError::Foreign { path, found: header.identity, expected: self.identity });
        }
        match verdict::segment(place, layout.file, layout.head) {
            SegmentVerdict::Keep => {}
            _ => return Err(OpenError::SegmentHeader { path }),
        }
        let slots = u64::from(header.geometry.slots).min(next - first) as usize;
        let scan = scan::scan(&image, &header, meta, slots);
        self.note_segment(&path, &image, &layout, &scan);
        let previous = header.previous.filter(|_| layout.head == SegmentHead::Good);
        let file = self.disk.open(&path, OpenMode::ReadWrite).map_err(OpenError::io(&path))?;
        let found = Found {
            segment: Segment { path: path.clone(), file, header },
            head: layout.head,
            file: layout.file,
            unreadable_end: image.unreadable_end().saturating_sub(header.geometry.data_start()),
        };
        Ok((Case { path, first, previous, scan }, found))
    }

    fn note_segment(&mut self, path: &Path, image: &Image, layout: &layout::Layout, scan: &scan::Scan) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let geometry = layout.header.geometry;
        if layout.head == SegmentHead::Proven {
            self.note(format!("{name}: the header was damaged, rebuilt from the identifiers and entries"));
        }
        let ends = scan.evidence.iter().filter_map(|slot| slot.record?.end());
        let used = geometry.data_start() + ends.max().unwrap_or(0);
        match layout.file {
            SegmentFile::Short => {
                self.note(format!("{name}: had {} of {} bytes, grown again", image.len(), geometry.file_bytes()));
            }
            SegmentFile::Long if image.len() > used.max(geometry.file_bytes()) => {
                let excess = image.len() - used.max(geometry.file_bytes());
                self.note(format!("{name}: {excess} bytes too long, the excess is ignored"));
            }
            SegmentFile::Long | SegmentFile::Whole | SegmentFile::Missing => {}
        }
    }

    fn check_vote(&self, meta: &Meta, evidence: &Evidence) -> Result<(), OpenError> {
        let term = meta.vote.map_or(0, |vote| vote.term);
        let evidence = if evidence.term_max > term {
            format!("it is of term {term}, an entry of term {}", evidence.term_max)
        } else if evidence.version_max > meta.version {
            format!("it is version {}, the log was written under version {}", meta.version, evidence.version_max)
        } else {
            return Ok(());
        };
        Err(OpenError::VoteStale { dir: self.dir.to_owned(), evidence })
    }

    // ---- making it so ----

    fn report(&mut self, survey: &Survey, judgement: &Judgement) {
        for run in judgement.kept.chunk_by(|one, next| one.fate == next.fate) {
            let (first, last) = (run[0].record.head.log_id, run[run.len() - 1].record.head.log_id);
            match run[0].fate {
                Fate::Entry => {}
                Fate::Rebuilt => {
                    sometimes!(IdentifierRebuilt);
                    let which = if first == last { first.to_string() } else { format!("{first} to {last}") };
                    self.note(format!("identifier of {which}: damaged, rebuilt from the entry"));
                }
                Fate::Hole => {
                    sometimes!(HoleFound);
                    tracing::warn!(%first, %last, "log entries are damaged and wait for copies from a peer");
                }
            }
        }
        if let Some(from) = judgement.discard_from {
            sometimes!(TornTailDiscarded);
            let last = survey.cases.iter().map(|case| case.first + case.scan.valid_end() as u64).max().unwrap_or(0);
            let last = last.saturating_sub(1).max(from);
            self.note(format!("entries {from} to {last}: a write that the crash cut short, discarded"));
        }
    }

    fn settle(
        &mut self,
        meta: &mut Meta,
        files: &MetaFiles,
        survey: &mut Survey,
        judgement: &Judgement,
    ) -> Result<Vec<SegmentIndex>, OpenError> {
        let failed = OpenError::io(self.dir);
        if let Some(from) = judgement.discard_from {
            meta.cut(from);
            files.save(meta).map_err(&failed)?;
        }
        for path in self.rubbish.drain(..) {
            if self.disk.exists(&path).map_err(OpenError::io(&path))? {
                self.disk.remove_file(&path).map_err(OpenError::io(&path))?;
            }
        }
        let mut segments = Vec::with_capacity(survey.cases.len());
        let repair = Repair { disk: self.disk, dir: self.dir, meta, start: survey.start, judgement };
        for case in &survey.cases {
            segments.push(match survey.found.remove(&case.first) {
                Some(found) => repair.mend(found, &case.scan)?,
                None => repair.recreate(case)?,
            });
        }
        self.disk.sync_dir(self.dir).map_err(&failed)?;
        // Also without need: what the cache shows of a copy may never have reached the medium.
        meta.durable_before = survey.start + judgement.kept.len() as u64;
        files.save(meta).map_err(&failed)?;
        Ok(segments)
    }
}

/// What the segments prove about the age of the meta record.
struct Evidence {
    term_max: u64,
    version_max: u64,
}
